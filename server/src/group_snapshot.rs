//! What another replica is sent of a group's state: the manifest, and the files that it names, one behind the other.
//!
//! Format: `docs/formats/group-snapshot.md`.

use std::io;

use slotcore_engine::manifest::Version;
use slotcore_engine::store::FileName;
use slotcore_rt::disk::joined_files::aligned;

const MAGIC: [u8; 4] = *b"SLGF";
const VERSION: u8 = 1;
/// Magic, version, three zeros, length of the manifest, its checksum.
const HEAD_BYTES: usize = 4 + 1 + 3 + 8 + 4;

/// What stands before the files of a manifest.
pub fn encode_head(manifest: &[u8]) -> Vec<u8> {
    let mut head = Vec::with_capacity(HEAD_BYTES + manifest.len());
    head.extend_from_slice(&MAGIC);
    head.extend_from_slice(&[VERSION, 0, 0, 0]);
    head.extend_from_slice(&(manifest.len() as u64).to_le_bytes());
    head.extend_from_slice(&crc32c::crc32c(manifest).to_le_bytes());
    head.extend_from_slice(manifest);
    head
}

/// The files that follow, each with its length in bytes, in this order.
pub fn files_of(version: &Version) -> Vec<(FileName, u64)> {
    let sorted = version
        .files()
        .map(|file| (FileName::sorted(file.file), file.file_bytes));
    let blobs = version
        .blobs
        .iter()
        .map(|blob| (FileName::blob(blob.file), blob.file_bytes));
    sorted.chain(blobs).collect()
}

/// Who is given the files as they come.
pub trait FileSink {
    /// The next file begins, which has so many bytes.
    ///
    /// # Errors
    /// Those of the device.
    fn begin(&mut self, file: FileName, bytes: u64) -> io::Result<()>;

    /// Its next bytes.
    ///
    /// # Errors
    /// Those of the device.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// Takes a snapshot in, in pieces of any length.
#[derive(Default)]
pub struct Unpacking {
    /// Of `total` bytes so many have come.
    come: u64,
    total: u64,
    /// What came before the first file.
    head: Vec<u8>,
    /// Once the head is whole.
    files: Option<Vec<(FileName, u64)>>,
    /// Which file comes, and how much of it and of the zeros behind it has.
    file: usize,
    of_file: u64,
}

impl Unpacking {
    /// One of `total` bytes.
    pub fn new(total: u64) -> Self {
        Self {
            total,
            ..Self::default()
        }
    }

    /// The next bytes.
    ///
    /// # Errors
    /// Those of `sink`; or the bytes are no snapshot.
    pub fn take(&mut self, mut bytes: &[u8], sink: &mut dyn FileSink) -> io::Result<()> {
        self.come += bytes.len() as u64;
        if self.files.is_none() {
            let Some(rest) = self.take_head(bytes)? else {
                return Ok(());
            };
            bytes = rest;
            self.begin_file(sink)?;
        }
        while !bytes.is_empty() {
            let Some(&(_, file_bytes)) = self.files.as_ref().and_then(|files| files.get(self.file)) else {
                return Err(malformed("it goes on behind its last file"));
            };
            let (end, is_file) = match self.of_file < file_bytes {
                true => (file_bytes, true),
                false => (aligned(file_bytes), false),
            };
            let len = bytes
                .len()
                .min(usize::try_from(end - self.of_file).unwrap_or(usize::MAX));
            let (now, later) = bytes.split_at(len);
            if is_file {
                sink.append(now)?;
            }
            (bytes, self.of_file) = (later, self.of_file + len as u64);
            if self.of_file == aligned(file_bytes) {
                (self.file, self.of_file) = (self.file + 1, 0);
                self.begin_file(sink)?;
            }
        }
        Ok(())
    }

    /// Takes what belongs to the head; returns the rest once the head is whole.
    fn take_head<'a>(&mut self, bytes: &'a [u8]) -> io::Result<Option<&'a [u8]>> {
        let whole = self.head_bytes()?.unwrap_or(HEAD_BYTES as u64);
        let missing = usize::try_from(whole).map_err(io::Error::other)? - self.head.len();
        let (now, later) = bytes.split_at(missing.min(bytes.len()));
        self.head.extend_from_slice(now);
        if now.len() < missing {
            return Ok(None);
        }
        if self.head.len() == HEAD_BYTES {
            return self.take_head(later);
        }
        let manifest = self.manifest_bytes();
        if crc32c::crc32c(manifest) != self.four(16) {
            return Err(malformed("its manifest is damaged"));
        }
        let version = Version::decode(manifest).map_err(|error| malformed(&error.to_string()))?;
        let files = files_of(&version);
        let bytes: u64 = files.iter().map(|(_, bytes)| aligned(*bytes)).sum();
        if bytes.checked_add(whole) != Some(self.total) {
            return Err(malformed("its length is not that of its files"));
        }
        self.files = Some(files);
        Ok(Some(later))
    }

    /// How much comes before the first file, once that is known.
    fn head_bytes(&self) -> io::Result<Option<u64>> {
        if self.head.len() < HEAD_BYTES {
            return Ok(None);
        }
        if !self.head.starts_with(&MAGIC) || self.head[MAGIC.len()] != VERSION {
            return Err(malformed("a node of another version has written it"));
        }
        let manifest = u64::from_le_bytes(self.head[8..16].try_into().expect("eight bytes"));
        let whole = manifest.checked_add(HEAD_BYTES as u64).map(aligned);
        let whole = whole.filter(|&whole| whole <= self.total && whole > HEAD_BYTES as u64);
        whole
            .map(Some)
            .ok_or_else(|| malformed("its manifest is longer than all of it"))
    }

    fn manifest_bytes(&self) -> &[u8] {
        let len = u64::from_le_bytes(self.head[8..16].try_into().expect("eight bytes"));
        &self.head[HEAD_BYTES..HEAD_BYTES + len as usize]
    }

    fn four(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.head[at..at + 4].try_into().expect("four bytes"))
    }

    /// The next file begins, and those without a byte end.
    fn begin_file(&mut self, sink: &mut dyn FileSink) -> io::Result<()> {
        while let Some(&(file, bytes)) = self.files.as_ref().and_then(|files| files.get(self.file)) {
            sink.begin(file, bytes)?;
            if bytes > 0 {
                break;
            }
            self.file += 1;
        }
        Ok(())
    }

    /// The manifest, when all has come.
    ///
    /// # Errors
    /// Something is missing.
    pub fn finish(self) -> io::Result<Vec<u8>> {
        if self.come != self.total || self.files.as_ref().is_none_or(|files| self.file < files.len()) {
            return Err(malformed("it ends too early"));
        }
        Ok(self.manifest_bytes().to_vec())
    }
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("no snapshot: {what}"))
}

#[cfg(test)]
mod tests {
    use slotcore_engine::manifest::{BlobFile, FileRef};
    use slotcore_engine::sst::{FileId, Props};

    use super::*;

    struct Sent {
        manifest: Vec<u8>,
        bytes: Vec<u8>,
        files: Vec<(FileName, Vec<u8>)>,
    }

    #[derive(Default)]
    struct Files(Vec<(FileName, Vec<u8>)>);

    impl FileSink for Files {
        fn begin(&mut self, file: FileName, _bytes: u64) -> io::Result<()> {
            self.0.push((file, Vec::new()));
            Ok(())
        }

        fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
            self.0.last_mut().expect("one has begun").1.extend_from_slice(bytes);
            Ok(())
        }
    }

    fn sent() -> Sent {
        let mut version = Version::default();
        let lengths = [(3, 8192), (5, 0), (9, 5000)];
        version.keys.bottom = lengths
            .map(|(id, file_bytes)| FileRef {
                file: FileId(id),
                file_bytes,
                props: Props {
                    ord_min: id,
                    ord_max: id,
                    ..Props::default()
                },
                ..FileRef::default()
            })
            .to_vec();
        version.blobs.push(BlobFile {
            file: FileId(7),
            file_bytes: 4097,
            value_bytes: 1,
        });
        let manifest = version.encode();
        let mut bytes = encode_head(&manifest);
        let mut files = Vec::new();
        for (number, (name, length)) in files_of(&version).into_iter().enumerate() {
            bytes.resize(aligned(bytes.len() as u64) as usize, 0);
            let file = vec![number as u8 + 1; length as usize];
            bytes.extend_from_slice(&file);
            files.push((name, file));
        }
        bytes.resize(aligned(bytes.len() as u64) as usize, 0);
        Sent { manifest, bytes, files }
    }

    #[test]
    fn the_files_come_out_in_pieces_of_any_length() {
        let Sent { manifest, bytes, files } = sent();
        for piece in [1, 7, 20, 4096, 5000, usize::MAX] {
            let (mut unpacking, mut found) = (Unpacking::new(bytes.len() as u64), Files::default());
            for part in bytes.chunks(piece.min(bytes.len())) {
                unpacking.take(part, &mut found).unwrap();
            }
            assert_eq!(found.0, files, "pieces of {piece}");
            assert_eq!(unpacking.finish().unwrap(), manifest);
        }
    }

    #[test]
    fn what_was_cut_or_changed_or_is_something_else_is_refused() {
        let Sent { bytes, .. } = sent();
        let unpack = |bytes: &[u8], total: usize| {
            let mut unpacking = Unpacking::new(total as u64);
            unpacking.take(bytes, &mut Files::default())?;
            unpacking.finish()
        };
        for end in [0, 5, 19, 20, 100, 4096, bytes.len() - 1] {
            assert!(unpack(&bytes[..end], bytes.len()).is_err(), "cut at {end}");
            assert!(unpack(&bytes[..end], end).is_err(), "{end} bytes and no more");
        }
        for at in 0..HEAD_BYTES + 40 {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            let zeros = 5..8;
            assert!(
                unpack(&changed, bytes.len()).is_err() || zeros.contains(&at),
                "byte {at}"
            );
        }
        let longer = [&bytes[..], &[0; 4096]].concat();
        assert!(unpack(&longer, longer.len()).is_err());
    }
}
