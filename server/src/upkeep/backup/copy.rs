//! [`Copying`]: which files a backup needs, and their way into it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use slotcore_engine::log::{CoreLog, LogOptions, SegmentSource, Surveyed, segment_file_name, survey_segment};
use slotcore_engine::manifest::Version;
use slotcore_engine::store::FileName;
use slotcore_rt::buf::AlignedBuf;
use slotcore_rt::clock::{Clock, SystemClock, Tick};
use slotcore_rt::disk::aside::names;
use slotcore_rt::disk::copying::{copy_durably, read_through};
use slotcore_rt::disk::{DirectIo, SegmentDir, SnapshotDir, StoreDir};
use slotcore_rt::ids::{CoreId, SegmentId};

use super::{BackupCore, BackupFile, Copied};
use crate::log_driver::SegmentReader;
use crate::operator_client::Client;
use crate::upkeep::Failure;
use crate::upkeep::progress::Progress;

/// The server hears so often that the backup goes on; it waits twelve times as long.
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// The file that says how many cores there are.
const LAYOUT: &str = "layout";
/// The file in which an older version kept the state of a group.
const SNAPSHOT: &str = "snapshot";

/// See the module's text.
pub(super) struct Copying<'a> {
    /// The server's directory.
    from: &'a Path,
    /// The backup's.
    to: &'a Path,
    /// What was stored before, and is there.
    before: &'a [BackupFile],
    client: &'a mut Client,
    renewed: Tick,
    progress: Progress,
    files: Vec<BackupFile>,
    copied: Copied,
}

impl<'a> Copying<'a> {
    /// Copies from the server's directory `from` to `to`.
    pub fn new(
        from: &'a Path,
        to: &'a Path,
        before: &'a [BackupFile],
        client: &'a mut Client,
    ) -> Result<Self, Failure> {
        let progress = Progress::new("backup", bytes_below(from)?);
        Ok(Self {
            from,
            to,
            before,
            client,
            renewed: SystemClock.tick(),
            progress,
            files: Vec::new(),
            copied: Copied::default(),
        })
    }

    /// All files of the backup, and what had to be copied.
    pub fn finish(self) -> (Vec<BackupFile>, Copied) {
        self.progress.finish();
        (self.files, self.copied)
    }

    /// The layout.
    pub fn layout(&mut self) -> Result<(), Failure> {
        let bytes = length(&self.from.join(LAYOUT))?;
        self.file(LAYOUT, bytes, bytes, None)
    }

    /// A core: its log up to the frame, and the files that its manifest names.
    pub fn core(&mut self, core: &BackupCore) -> Result<(), Failure> {
        let folder = format!("core-{}/log", core.core);
        let dir = SegmentDir::look(&self.from.join(&folder), DirectIo::Preferred);
        let id = CoreId(core.core);
        let mut cut = Cut {
            reader: SegmentReader::new(dir),
            ends: Vec::new(),
        };
        let mut listed = cut.reader.list()?;
        listed.sort_unstable();
        for (segment, length) in listed {
            let mut end = 0;
            let survey = survey_segment(&mut cut.reader, id, segment, length, &mut |found| {
                if let Surveyed::Frame { offset, header, .. } = found
                    && header.frame_no.0 <= core.frame
                {
                    end = offset + header.frame_bytes() as u64;
                }
            })?;
            self.renew()?;
            if survey.frames.is_some_and(|(first, _)| first.0 <= core.frame) && end > 0 {
                cut.ends.push((segment, end));
                self.file(&format!("{folder}/{}", segment_file_name(segment)), end, length, None)?;
            }
        }
        // The log as it is in the backup: what it names belongs to it, whatever the server has done since.
        let options = LogOptions {
            cache_bytes_max: 0,
            ..LogOptions::new(id)
        };
        let log = CoreLog::recover(options, &mut cut, &mut |_| {})?;
        let store = StoreDir::new(
            &self.from.join(format!("core-{}/store", core.core)),
            DirectIo::Preferred,
        );
        self.old_snapshot(core)?;
        for (_, group) in log.groups() {
            let version = Version::decode(group.manifest())?;
            for file in version.files() {
                let name = FileName::sorted(file.file);
                self.store_file(core.core, &store, name, file.file_bytes, Some(file.footer_crc))?;
            }
            for blob in &version.blobs {
                self.store_file(core.core, &store, FileName::blob(blob.file), blob.file_bytes, None)?;
            }
        }
        Ok(())
    }

    /// What an older version left of a cluster's group. It stays until a start finds that files have it.
    fn old_snapshot(&mut self, core: &BackupCore) -> Result<(), Failure> {
        let folder = format!("core-{}/snapshot", core.core);
        let dir = SnapshotDir::look(&self.from.join(&folder));
        let Some(file) = dir.read()? else { return Ok(()) };
        let bytes = file.as_ref().len() as u64;
        self.file(&format!("{folder}/{SNAPSHOT}"), bytes, bytes, None)
    }

    fn store_file(
        &mut self,
        core: u16,
        dir: &StoreDir,
        name: FileName,
        bytes: u64,
        footer: Option<u32>,
    ) -> Result<(), Failure> {
        let found = length(&dir.path().join(name.to_string()))?;
        if found != bytes {
            return Err(format!(
                "{} has {found} bytes instead of {bytes}",
                dir.path().join(name.to_string()).display()
            )
            .into());
        }
        self.file(&format!("core-{core}/store/{name}"), bytes, bytes, footer)
    }

    /// The first `bytes` bytes of a file. `contents`: a checksum that is known to stand for them; it is then not read when
    /// it is there already.
    fn file(&mut self, path: &str, bytes: u64, length: u64, contents: Option<u32>) -> Result<(), Failure> {
        let from = self.from.join(path);
        let before = self
            .before
            .iter()
            .filter(|file| file.path == path && file.bytes == bytes);
        let mut there =
            before.filter(|file| self::length(&self.to.join(&file.stored)).is_ok_and(|found| found == bytes));
        let known = match contents {
            Some(number) => there.find(|file| file.stored.ends_with(&format!(".{number:08x}"))),
            None => match there.next() {
                Some(file) => {
                    let crc = read_through(&from, bytes)?;
                    Some(file).filter(|file| file.crc == crc)
                }
                None => None,
            },
        };
        if let Some(known) = known {
            self.progress.add(length);
            self.files.push(BackupFile {
                length,
                ..known.clone()
            });
            return self.renew();
        }
        // Under a name of its own: what an earlier backup has under another stays whole until this one is.
        let tag = contents.map_or_else(
            || format!("{:x}-{bytes:x}", SystemClock.wall_ms()),
            |crc| format!("{crc:08x}"),
        );
        let stored = format!("{path}.{tag}");
        let (client, renewed, progress) = (&mut *self.client, &mut self.renewed, &mut self.progress);
        let mut lost = None;
        let crc = copy_durably(&from, &self.to.join(&stored), bytes, bytes, &mut |n| {
            progress.add(n);
            if lost.is_none() {
                lost = renew(client, renewed).err();
            }
        })?;
        if let Some(error) = lost {
            return Err(error);
        }
        self.copied.files += 1;
        self.copied.bytes += bytes;
        self.files.push(BackupFile {
            stored,
            path: path.to_string(),
            bytes,
            crc,
            length,
        });
        self.renew()
    }

    /// Tells the server now and then that files must be kept.
    fn renew(&mut self) -> Result<(), Failure> {
        renew(self.client, &mut self.renewed)
    }
}

fn renew(client: &mut Client, renewed: &mut Tick) -> Result<(), Failure> {
    let now = SystemClock.tick();
    if now.since(*renewed) >= RENEW_EVERY {
        *renewed = now;
        client.ask(&["BACKUP", "STATE"])?;
    }
    Ok(())
}

/// The log of a running server, as if it ended where the backup does.
struct Cut {
    reader: SegmentReader,
    ends: Vec<(SegmentId, u64)>,
}

impl SegmentSource for Cut {
    fn list(&mut self) -> io::Result<Vec<(SegmentId, u64)>> {
        Ok(self.ends.clone())
    }

    fn read_at(&mut self, segment: SegmentId, offset: u64, buf: &mut AlignedBuf) -> io::Result<()> {
        self.reader.read_at(segment, offset, buf)
    }
}

fn length(file: &Path) -> Result<u64, Failure> {
    match file.metadata() {
        Ok(found) => Ok(found.len()),
        Err(error) => Err(format!("{}: {error}", file.display()).into()),
    }
}

/// About how much there is to copy.
fn bytes_below(dir: &Path) -> Result<u64, Failure> {
    let mut bytes = 0;
    let mut folders: Vec<PathBuf> = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for name in names(&folder)? {
            let path = folder.join(name);
            if path.is_dir() {
                folders.push(path);
            } else {
                // It may be gone by now.
                bytes += path.metadata().map_or(0, |found| found.len());
            }
        }
    }
    Ok(bytes)
}
