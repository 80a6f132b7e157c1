//! `slotcore restore`: a backup becomes a data directory, or nothing at all.

use slotcore_rt::disk::aside::names;
use slotcore_rt::disk::copying::{copy_durably, publish_dir, remove_unfinished};

use super::{FILES, MANIFEST_FILE, manifest_of};
use crate::upkeep::options::RestoreOptions;
use crate::upkeep::out::{Line, Out};
use crate::upkeep::progress::Progress;
use crate::upkeep::{Failure, Outcome};

/// Restores a backup. Every byte is checked on the way; the directory gets its name when all are there.
///
/// # Errors
/// The directory is not empty; a file of the backup is missing or damaged, which is named. Nothing is left behind.
pub fn run(options: &RestoreOptions) -> Result<Outcome, Failure> {
    if !names(&options.dir)?.is_empty() {
        return Err(format!(
            "{} is not empty: a backup is restored into a new directory",
            options.dir.display()
        )
        .into());
    }
    let Some(manifest) = manifest_of(&options.from)? else {
        return Err(format!("{} has no {MANIFEST_FILE}: it holds no backup", options.from.display()).into());
    };
    let mut unfinished = options.dir.clone().into_os_string();
    unfinished.push(".restoring");
    let unfinished = std::path::PathBuf::from(unfinished);
    remove_unfinished(&unfinished)?;
    let total = manifest.files.iter().map(|file| file.bytes).sum();
    let mut progress = Progress::new("restore", total);
    for file in &manifest.files {
        let stored = options.from.join(FILES).join(&file.stored);
        let to = unfinished.join(&file.path);
        let copied = copy_durably(&stored, &to, file.bytes, file.length, &mut |bytes| progress.add(bytes));
        let problem = match copied {
            Ok(crc) if crc == file.crc => continue,
            Ok(crc) => format!(
                "{} is damaged: its checksum is {crc:08x} instead of {:08x}",
                stored.display(),
                file.crc
            ),
            Err(error) => error.to_string(),
        };
        remove_unfinished(&unfinished)?;
        return Err(problem.into());
    }
    progress.finish();
    publish_dir(&unfinished, &options.dir)?;
    let mut out = Out::new(options.json, None);
    let line = Line::new("restored")
        .with("dir", options.dir.display().to_string())
        .with("files", manifest.files.len())
        .with("bytes", total)
        .with("backup_of_ms", manifest.at_ms);
    out.line(&line);
    out.finish()?;
    Ok(Outcome::Sound)
}
