//! [`BackupManifest`]: what a backup consists of. Text, with a checksum, replaced as a whole.
//!
//! Format: `docs/formats/backup.md`.

use std::fmt::Write as _;

/// The file's name.
pub const MANIFEST_FILE: &str = "manifest";
const HEADING: &str = "slotcore backup, version 1";

/// A core's part of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupCore {
    /// Which core.
    pub core: u16,
    /// The last frame of its log that is in the backup.
    pub frame: u64,
    /// The last entry that had been applied when the backup began; later ones may be in the backup, too.
    pub index: u64,
}

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupFile {
    /// Where it is in the backup, below `files`. Its contents never change under that name.
    pub stored: String,
    /// Where it belongs in a data directory.
    pub path: String,
    /// Bytes stored.
    pub bytes: u64,
    /// CRC32C of them.
    pub crc: u32,
    /// Bytes of the file in a data directory: behind those stored there are zeroes.
    pub length: u64,
}

/// See the module's text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackupManifest {
    /// When the backup began, in milliseconds since 1970.
    pub at_ms: u64,
    /// Cores, by number.
    pub cores: Vec<BackupCore>,
    /// Files, in the order in which they were copied.
    pub files: Vec<BackupFile>,
}

impl BackupManifest {
    /// As text.
    pub fn format(&self) -> String {
        let mut text = format!("{HEADING}\nat {}\n", self.at_ms);
        for core in &self.cores {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "core {} frame {} index {}", core.core, core.frame, core.index);
        }
        for file in &self.files {
            let BackupFile {
                stored,
                path,
                bytes,
                crc,
                length,
            } = file;
            let _ = writeln!(text, "file {stored} {path} {bytes} {crc:08x} {length}");
        }
        let crc = crc32c::crc32c(text.as_bytes());
        let _ = writeln!(text, "crc32c {crc:08x}");
        text
    }

    /// Reads what [`BackupManifest::format`] wrote.
    ///
    /// # Errors
    /// What is wrong, as the end of a sentence that begins with the file's name.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const DAMAGED: &str = "is damaged";
        if text.lines().next() != Some(HEADING) {
            return Err("is of no backup that this version knows");
        }
        let (body, last) = text.trim_end().rsplit_once('\n').ok_or(DAMAGED)?;
        let body = &text[..body.len() + 1];
        let crc = last.strip_prefix("crc32c ").ok_or(DAMAGED)?;
        if u32::from_str_radix(crc, 16).ok() != Some(crc32c::crc32c(body.as_bytes())) {
            return Err(DAMAGED);
        }
        let mut manifest = Self::default();
        for line in body.lines().skip(1) {
            let words: Vec<&str> = line.split(' ').collect();
            let number = |at: usize| words[at].parse::<u64>().map_err(|_| DAMAGED);
            match words[..] {
                ["at", _] => manifest.at_ms = number(1)?,
                ["core", core, "frame", _, "index", _] => manifest.cores.push(BackupCore {
                    core: core.parse().map_err(|_| DAMAGED)?,
                    frame: number(3)?,
                    index: number(5)?,
                }),
                ["file", stored, path, _, crc, _] => manifest.files.push(BackupFile {
                    stored: safe(stored).ok_or(DAMAGED)?,
                    path: safe(path).ok_or(DAMAGED)?,
                    bytes: number(3)?,
                    crc: u32::from_str_radix(crc, 16).map_err(|_| DAMAGED)?,
                    length: number(5)?,
                }),
                _ => return Err(DAMAGED),
            }
        }
        Ok(manifest)
    }
}

/// A path that does not lead out of the folder that it is in.
fn safe(path: &str) -> Option<String> {
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    path.split('/').all(plain).then(|| path.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> BackupManifest {
        BackupManifest {
            at_ms: 5,
            cores: vec![BackupCore {
                core: 1,
                frame: 7,
                index: 9,
            }],
            files: vec![BackupFile {
                stored: "core-1/log/1.seg.0000abcd-4096".into(),
                path: "core-1/log/1.seg".into(),
                bytes: 4096,
                crc: 0xabcd,
                length: 8192,
            }],
        }
    }

    #[test]
    fn what_was_written_is_read_and_damage_is_noticed() {
        let text = sample().format();
        assert_eq!(BackupManifest::parse(&text), Ok(sample()));
        for at in 0..text.len() - 1 {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let damaged = String::from_utf8(bytes).unwrap();
            assert!(BackupManifest::parse(&damaged).is_err(), "{damaged}");
        }
    }

    #[test]
    fn no_path_leads_out_of_the_folder() {
        for path in ["../x", "/x", "a//b", "a/../../b", "a/."] {
            let mut manifest = sample();
            manifest.files[0].path = path.into();
            assert!(BackupManifest::parse(&manifest.format()).is_err(), "{path}");
        }
    }
}
