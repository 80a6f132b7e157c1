//! `slotcore backup`: a consistent copy of a running server's files, taken beside it.
//!
//! The server says up to which frame each core's log is durable, and keeps all files until the copy is done
//! ([`crate::saving`]). This program runs on the same machine, reads the files itself and with the lowest priority, and
//! copies what it does not have yet: of each log the frames up to that one, and the files that the manifest in those
//! frames names. A copied file never changes; the manifest of the backup is replaced at the end, as a whole, so a backup
//! that was broken off leaves the one before as it was.

mod copy;
mod manifest;
mod restore;

use std::path::{Path, PathBuf};

use slotcore_rt::clock::{Clock, SystemClock};
use slotcore_rt::disk::aside::names;
use slotcore_rt::disk::copying::{read_text, remove, write_text_durably};
use slotcore_rt::process::be_modest;

pub use manifest::{BackupCore, BackupFile, BackupManifest, MANIFEST_FILE};
pub use restore::run as restore;

use super::options::BackupOptions;
use super::out::{Line, Out};
use super::{Failure, Outcome};
use crate::operator_client::{Answer, Client};
use copy::Copying;

/// Holds the copied files, in a backup.
const FILES: &str = "files";

/// Takes a backup.
///
/// # Errors
/// The server cannot be reached, or its files not be read; the backup that was there before is as it was.
pub fn run(options: &BackupOptions) -> Result<Outcome, Failure> {
    be_modest();
    let password = std::env::var("SLOTCORE_PASSWORD").ok();
    let mut client = Client::connect(&options.from, options.user.as_deref(), password.as_deref())?;
    let at_ms = SystemClock.wall_ms();
    client.ask(&["BACKUP", "BEGIN"])?;
    let taken = take(options, &mut client, at_ms);
    let ended = client.ask(&["BACKUP", "END"]);
    let (manifest, copied) = taken?;
    ended?;
    let stored: u64 = manifest.files.iter().map(|file| file.bytes).sum();
    let mut out = Out::new(options.json, None);
    for core in &manifest.cores {
        let line = Line::new("core")
            .with("core", core.core)
            .with("frame", core.frame)
            .with("index", core.index);
        out.line(&line);
    }
    let line = Line::new("backup")
        .with("dir", options.to.display().to_string())
        .with("files", manifest.files.len())
        .with("bytes", stored)
        .with("copied_files", copied.files)
        .with("copied_bytes", copied.bytes);
    out.line(&line);
    out.finish()?;
    Ok(Outcome::Sound)
}

/// What had to be copied.
#[derive(Clone, Copy, Debug, Default)]
struct Copied {
    files: u64,
    bytes: u64,
}

fn take(options: &BackupOptions, client: &mut Client, at_ms: u64) -> Result<(BackupManifest, Copied), Failure> {
    let (dir, cores) = state(client)?;
    let last = manifest_of(&options.to)?.unwrap_or_default();
    let to = options.to.join(FILES);
    let mut copying = Copying::new(&dir, &to, &last.files, client)?;
    copying.layout()?;
    for core in &cores {
        copying.core(core)?;
    }
    let (files, copied) = copying.finish();
    let manifest = BackupManifest { at_ms, cores, files };
    write_text_durably(&options.to.join(MANIFEST_FILE), &manifest.format())?;
    // Only now nobody needs what the last one had and this one has not.
    for old in &last.files {
        if !manifest.files.iter().any(|file| file.stored == old.stored) {
            remove(&options.to.join(FILES).join(&old.stored))?;
        }
    }
    Ok((manifest, copied))
}

/// The server's directory, and how far each core's log belongs to the backup.
fn state(client: &mut Client) -> Result<(PathBuf, Vec<BackupCore>), Failure> {
    let odd = "the server's answer to BACKUP STATE makes no sense: it is of another version";
    let Answer::Texts(texts) = client.ask(&["BACKUP", "STATE"])? else {
        return Err(odd.into());
    };
    let (mut cores, mut dir) = (Vec::new(), PathBuf::new());
    for text in &texts {
        let mut words = text.splitn(4, ' ');
        let mut word = || words.next().ok_or(odd);
        cores.push(BackupCore {
            core: word()?.parse()?,
            frame: word()?.parse()?,
            index: word()?.parse()?,
        });
        dir = PathBuf::from(word()?);
    }
    cores.sort_by_key(|core| core.core);
    if !dir.is_dir() {
        let text = format!(
            "the server's directory {} is not on this machine: run the backup where the server runs, as the same user",
            dir.display()
        );
        return Err(text.into());
    }
    Ok((dir, cores))
}

/// The manifest of a backup; `None` where there is no backup yet.
fn manifest_of(dir: &Path) -> Result<Option<BackupManifest>, Failure> {
    let file = dir.join(MANIFEST_FILE);
    match read_text(&file)? {
        Some(text) => match BackupManifest::parse(&text) {
            Ok(manifest) => Ok(Some(manifest)),
            Err(what) => Err(format!("{} {what}", file.display()).into()),
        },
        // What a backup was doing that did not come to its end.
        None if names(dir)?
            .iter()
            .any(|name| ![FILES, "manifest.new"].contains(&name.as_str())) =>
        {
            Err(format!("{} holds something else than a backup", dir.display()).into())
        }
        None => Ok(None),
    }
}
