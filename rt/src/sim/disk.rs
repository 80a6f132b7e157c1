//! [`SimDisk`]: a disk that keeps its promises and not a bit more.
//!
//! Content is kept per sector of [`SECTOR_BYTES`], in three layers:
//!
//! ```text
//! in flight   operations handed over and not yet completed; they complete in seeded order after seeded delays
//! unsynced    sector versions whose write completed, but which no sync has covered
//! durable     what is there after every power cut
//! ```
//!
//! A write with `sync` is durable when it completes; a [`DiskOp::Sync`] makes durable every write to its file that had
//! *completed when the sync was submitted*. A [power cut](SimDisk::power_cut) picks, for each sector, the durable version
//! or any of the later ones: writes are lost, torn between sectors, and survive out of order. A sync that failed leaves
//! its versions readable but beyond the reach of later syncs, as page caches do. Creating, renaming and deleting files
//! take effect in order; until [`DiskOp::SyncDir`] a power cut keeps only a first part of them.
//!
//! The disk does nothing by itself: the driver submits, asks [`SimDisk::next_due`] when to look again, and takes what
//! has completed with [`SimDisk::poll`].

use std::collections::{BTreeMap, VecDeque};

use crate::buf::AlignedBuf;
use crate::clock::Tick;
use crate::rng::SeededRng;

pub use faults::{DiskFaults, Rate};

mod faults;

/// The unit that is written entirely or not at all.
pub const SECTOR_BYTES: usize = 512;

type Sector = [u8; SECTOR_BYTES];

/// A file, however it is called now. Numbers are not reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(u64);

/// Something for the disk to do.
#[derive(Debug)]
pub enum DiskOp {
    /// Writes `buf` at `offset`; both are whole sectors.
    Write {
        /// Into which file.
        file: FileId,
        /// Where, in bytes.
        offset: u64,
        /// What; comes back with the completion.
        buf: AlignedBuf,
        /// Durable on completion (RWF_DSYNC)?
        sync: bool,
    },
    /// fdatasync: makes durable what completed before this was submitted.
    Sync {
        /// Of which file.
        file: FileId,
    },
    /// Makes all creations, renames and deletions so far durable.
    SyncDir,
}

/// An operation that ended.
#[derive(Debug)]
pub struct DiskDone {
    /// The submitter's.
    pub token: u64,
    /// A write's buffer.
    pub buf: Option<AlignedBuf>,
    /// `Err` holds an errno.
    pub result: Result<(), i32>,
}

/// A version of a sector later than the durable one.
struct Version {
    bytes: Box<Sector>,
    /// In the order in which writes completed.
    completed: u64,
    /// A failed sync covered it: no later sync will make it durable.
    orphaned: bool,
}

struct File {
    durable: Vec<u8>,
    /// Later versions, oldest first.
    unsynced: BTreeMap<u64, Vec<Version>>,
}

enum Pending {
    Write {
        file: FileId,
        offset: u64,
        buf: AlignedBuf,
        sync: bool,
    },
    Sync {
        file: FileId,
        up_to: u64,
    },
    SyncDir {
        changes: usize,
    },
}

struct InFlight {
    token: u64,
    pending: Pending,
    result: Result<(), i32>,
}

enum DirChange {
    Create(String, FileId),
    Rename(String, String),
    Delete(String),
}

/// One machine's disk.
pub struct SimDisk {
    rng: SeededRng,
    faults: DiskFaults,
    files: BTreeMap<FileId, File>,
    names: BTreeMap<String, FileId>,
    names_durable: BTreeMap<String, FileId>,
    changes: VecDeque<DirChange>,
    /// Changes made durable so far, for [`Pending::SyncDir`].
    changes_done: usize,
    in_flight: BTreeMap<(Tick, u64), InFlight>,
    next_file: u64,
    next_op: u64,
    completed: u64,
}

impl SimDisk {
    /// An empty disk without faults.
    pub fn new(rng: SeededRng) -> Self {
        Self {
            rng,
            faults: DiskFaults::default(),
            files: BTreeMap::new(),
            names: BTreeMap::new(),
            names_durable: BTreeMap::new(),
            changes: VecDeque::new(),
            changes_done: 0,
            in_flight: BTreeMap::new(),
            next_file: 0,
            next_op: 0,
            completed: 0,
        }
    }

    /// What goes wrong from now on.
    pub fn faults(&mut self) -> &mut DiskFaults {
        &mut self.faults
    }

    /// Bytes taken by all files.
    pub fn used(&self) -> u64 {
        self.names
            .values()
            .map(|file| self.files[file].durable.len() as u64)
            .sum()
    }

    /// Creates a file of `bytes` zeroes, whole sectors, which are durable at once; its name is durable after a
    /// [`DiskOp::SyncDir`].
    ///
    /// # Errors
    /// `ENOSPC` beyond the capacity, `EEXIST`.
    pub fn create(&mut self, name: &str, bytes: u64) -> Result<FileId, i32> {
        assert!(
            bytes.is_multiple_of(SECTOR_BYTES as u64),
            "file of {bytes} bytes is not whole sectors"
        );
        if self.names.contains_key(name) {
            return Err(libc::EEXIST);
        }
        if self.used() + bytes > self.faults.capacity_bytes {
            return Err(libc::ENOSPC);
        }
        let id = FileId(self.next_file);
        self.next_file += 1;
        self.files.insert(
            id,
            File {
                durable: vec![0; bytes as usize],
                unsynced: BTreeMap::new(),
            },
        );
        self.change(DirChange::Create(name.to_owned(), id));
        Ok(id)
    }

    /// Renames a file, over another one if need be.
    ///
    /// # Errors
    /// `ENOENT`.
    pub fn rename(&mut self, from: &str, to: &str) -> Result<(), i32> {
        if !self.names.contains_key(from) {
            return Err(libc::ENOENT);
        }
        self.change(DirChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    /// Deletes a file.
    ///
    /// # Errors
    /// `ENOENT`.
    pub fn delete(&mut self, name: &str) -> Result<(), i32> {
        if !self.names.contains_key(name) {
            return Err(libc::ENOENT);
        }
        self.change(DirChange::Delete(name.to_owned()));
        Ok(())
    }

    /// The file called `name`.
    pub fn open(&self, name: &str) -> Option<FileId> {
        self.names.get(name).copied()
    }

    /// Names and lengths in bytes, in ascending order.
    pub fn list(&self) -> impl Iterator<Item = (&str, u64)> {
        self.names
            .iter()
            .map(|(name, file)| (name.as_str(), self.files[file].durable.len() as u64))
    }

    /// Reads what a program would see now (not: what would survive). Short at the end of the file.
    ///
    /// # Errors
    /// The errno of an injected fault.
    pub fn read(&mut self, file: FileId, offset: u64, len: usize) -> Result<Vec<u8>, i32> {
        if self.faults.read_error.strikes(&mut self.rng) {
            return Err(libc::EIO);
        }
        let file = &self.files[&file];
        let end = (offset + len as u64).min(file.durable.len() as u64);
        let start = offset.min(end);
        let mut bytes = file.durable[start as usize..end as usize].to_vec();
        for (&sector, versions) in file
            .unsynced
            .range(start / SECTOR_BYTES as u64..end.div_ceil(SECTOR_BYTES as u64))
        {
            let newest = versions.last().expect("a listed sector has a version");
            let at = sector * SECTOR_BYTES as u64;
            for (i, byte) in newest.bytes.iter().enumerate() {
                if let Some(place) = (at + i as u64)
                    .checked_sub(start)
                    .and_then(|i| bytes.get_mut(i as usize))
                {
                    *place = *byte;
                }
            }
        }
        Ok(bytes)
    }

    /// Hands an operation over; its [`DiskDone`] with this `token` comes from [`SimDisk::poll`].
    pub fn submit(&mut self, now: Tick, token: u64, op: DiskOp) {
        let (pending, result) = match op {
            DiskOp::Write {
                file,
                offset,
                buf,
                sync,
            } => {
                let whole = offset.is_multiple_of(SECTOR_BYTES as u64) && buf.len().is_multiple_of(SECTOR_BYTES);
                let inside = offset + buf.len() as u64 <= self.files[&file].durable.len() as u64;
                let result = match () {
                    () if !whole || !inside => Err(libc::EINVAL),
                    () if self.faults.write_error.strikes(&mut self.rng) => Err(libc::EIO),
                    () => Ok(()),
                };
                (
                    Pending::Write {
                        file,
                        offset,
                        buf,
                        sync,
                    },
                    result,
                )
            }
            DiskOp::Sync { file } => {
                let failed = self.faults.sync_error.strikes(&mut self.rng);
                (
                    Pending::Sync {
                        file,
                        up_to: self.completed,
                    },
                    if failed { Err(libc::EIO) } else { Ok(()) },
                )
            }
            DiskOp::SyncDir => (
                Pending::SyncDir {
                    changes: self.changes_done + self.changes.len(),
                },
                Ok(()),
            ),
        };
        let due = now + self.faults.delay(&mut self.rng);
        self.in_flight
            .insert((due, self.next_op), InFlight { token, pending, result });
        self.next_op += 1;
    }

    /// When the next operation completes; `None` when nothing is in flight.
    pub fn next_due(&self) -> Option<Tick> {
        self.in_flight.first_key_value().map(|((due, _), _)| *due)
    }

    /// Operations handed over and not completed.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Completes what is due at `now`.
    pub fn poll(&mut self, now: Tick, done: &mut Vec<DiskDone>) {
        while let Some(op) = self.in_flight.first_entry()
            && op.key().0 <= now
        {
            let op = op.remove();
            done.push(self.complete(op));
        }
    }

    fn complete(&mut self, op: InFlight) -> DiskDone {
        let InFlight { token, pending, result } = op;
        self.completed += 1;
        let buf = match pending {
            Pending::Write {
                file,
                offset,
                buf,
                sync,
            } => {
                self.complete_write(file, offset, &buf, sync, result);
                Some(buf)
            }
            Pending::Sync { file, up_to } => {
                if let Some(file) = self.files.get_mut(&file) {
                    file.sync(up_to, result.is_ok());
                }
                None
            }
            Pending::SyncDir { changes } => {
                while self.changes_done < changes {
                    self.make_change_durable();
                }
                None
            }
        };
        DiskDone { token, buf, result }
    }

    fn complete_write(&mut self, file: FileId, offset: u64, buf: &[u8], sync: bool, result: Result<(), i32>) {
        if result == Err(libc::EINVAL) {
            return;
        }
        let (file, offset) = match self.faults.misdirect.strikes(&mut self.rng) {
            true => self.elsewhere(file, buf.len()),
            false => (file, offset),
        };
        let Some(file) = self.files.get_mut(&file) else { return };
        let first = offset / SECTOR_BYTES as u64;
        for (sector, bytes) in (first..).zip(buf.as_chunks::<SECTOR_BYTES>().0) {
            // After a failed write anything may have reached the disk.
            if result.is_ok() || self.rng.chance(1, 2) {
                let version = Version {
                    bytes: Box::new(*bytes),
                    completed: self.completed,
                    orphaned: false,
                };
                file.unsynced.entry(sector).or_default().push(version);
                if sync && result.is_ok() {
                    file.sync_sector(sector);
                }
            }
        }
    }

    /// A wrong place for a write of `len` bytes: the firmware's mistake.
    fn elsewhere(&mut self, file: FileId, len: usize) -> (FileId, u64) {
        let room = (self.files[&file].durable.len() - len) / SECTOR_BYTES;
        (file, self.rng.below(room as u64 + 1) * SECTOR_BYTES as u64)
    }

    fn change(&mut self, change: DirChange) {
        apply(&mut self.names, &change);
        self.changes.push_back(change);
    }

    fn make_change_durable(&mut self) {
        let change = self
            .changes
            .pop_front()
            .expect("no more changes are made durable than were made");
        apply(&mut self.names_durable, &change);
        self.changes_done += 1;
    }

    /// The machine loses power: what is in flight is forgotten (its tokens never come back), and of everything not
    /// durable a seeded part survives.
    pub fn power_cut(&mut self) {
        // In some cuts everything or nothing survives, in most each sector decides for itself.
        let all = match self.rng.below(4) {
            0 => Some(Rate::NEVER),
            1 => Some(Rate::ALWAYS),
            _ => None,
        };
        let mut cut_off = std::mem::take(&mut self.in_flight).into_values().collect::<Vec<_>>();
        self.rng.shuffle(&mut cut_off);
        for op in cut_off {
            if let Pending::Write { file, offset, buf, .. } = op.pending {
                let survives = all.unwrap_or(Rate::new(1, 2));
                self.complete_cut_write(file, offset, &buf, survives);
                self.shear(file, offset, buf.len());
            }
        }
        let kept = match all {
            Some(rate) if rate == Rate::ALWAYS => self.changes.len(),
            Some(_) => 0,
            None => self.rng.index(self.changes.len() + 1),
        };
        for _ in 0..kept {
            self.make_change_durable();
        }
        self.changes_done += self.changes.len();
        self.changes.clear();
        self.names = self.names_durable.clone();
        self.drop_nameless();
        for file in self.files.values_mut() {
            for (sector, versions) in std::mem::take(&mut file.unsynced) {
                let choice = match all {
                    Some(rate) if rate == Rate::ALWAYS => versions.len(),
                    Some(_) => 0,
                    None => self.rng.index(versions.len() + 1),
                };
                if let Some(version) = choice.checked_sub(1).map(|i| &versions[i]) {
                    file.set_durable(sector, &version.bytes);
                }
            }
        }
    }

    fn complete_cut_write(&mut self, file: FileId, offset: u64, buf: &[u8], survives: Rate) {
        self.completed += 1;
        let Some(file) = self.files.get_mut(&file) else { return };
        let first = offset / SECTOR_BYTES as u64;
        for (sector, bytes) in (first..).zip(buf.as_chunks::<SECTOR_BYTES>().0) {
            if survives.strikes(&mut self.rng) {
                let version = Version {
                    bytes: Box::new(*bytes),
                    completed: self.completed,
                    orphaned: false,
                };
                file.unsynced.entry(sector).or_default().push(version);
            }
        }
    }

    /// A sector that was being written when the power went may hold neither the old bytes nor the new ones. At most one
    /// of a write: the device writes one after the other.
    fn shear(&mut self, file: FileId, offset: u64, len: usize) {
        if !self.faults.shorn.strikes(&mut self.rng) || len == 0 {
            return;
        }
        let sector = offset / SECTOR_BYTES as u64 + self.rng.index(len / SECTOR_BYTES) as u64;
        let mut garbage = Box::new([0; SECTOR_BYTES]);
        self.rng.fill(&mut garbage[..]);
        if let Some(file) = self.files.get_mut(&file) {
            file.unsynced.remove(&sector);
            file.set_durable(sector, &garbage);
        }
    }

    /// The process ends (kill -9) while the machine goes on: what is in flight is carried out, nobody hears of it.
    /// Returns false when some of it failed, which nobody hears of either.
    pub fn process_killed(&mut self) -> bool {
        let mut sound = true;
        for (_, op) in std::mem::take(&mut self.in_flight) {
            sound &= self.complete(op).result.is_ok();
        }
        self.drop_nameless();
        sound
    }

    /// Frees files without a name; open descriptors ended with the process.
    fn drop_nameless(&mut self) {
        let named = |id: &FileId| {
            self.names
                .values()
                .chain(self.names_durable.values())
                .any(|named| named == id)
        };
        let nameless: Vec<FileId> = self.files.keys().filter(|id| !named(id)).copied().collect();
        for id in nameless {
            self.files.remove(&id);
        }
    }

    /// Bit rot: flips bit `bit` (0 to 7) of the byte at `offset`, in every version.
    pub fn flip_bit(&mut self, file: FileId, offset: u64, bit: u8) {
        let file = self.files.get_mut(&file).expect("the caller names a file of this disk");
        let mask = 1 << bit;
        file.durable[offset as usize] ^= mask;
        let (sector, at) = (offset / SECTOR_BYTES as u64, offset as usize % SECTOR_BYTES);
        for version in file.unsynced.get_mut(&sector).into_iter().flatten() {
            version.bytes[at] ^= mask;
        }
    }

    /// A file disappears from the directory, durable or not: what a bad repair or an operator's slip does.
    pub fn lose_entry(&mut self, name: &str) -> bool {
        self.names_durable.remove(name);
        self.names.remove(name).is_some()
    }
}

fn apply(names: &mut BTreeMap<String, FileId>, change: &DirChange) {
    match change {
        DirChange::Create(name, id) => {
            names.insert(name.clone(), *id);
        }
        DirChange::Rename(from, to) => {
            if let Some(id) = names.remove(from) {
                names.insert(to.clone(), id);
            }
        }
        DirChange::Delete(name) => {
            names.remove(name);
        }
    }
}

impl File {
    fn set_durable(&mut self, sector: u64, bytes: &Sector) {
        let at = sector as usize * SECTOR_BYTES;
        self.durable[at..at + SECTOR_BYTES].copy_from_slice(bytes);
    }

    /// The newest version of one sector becomes durable.
    fn sync_sector(&mut self, sector: u64) {
        if let Some(newest) = self.unsynced.remove(&sector).and_then(|mut versions| versions.pop()) {
            self.set_durable(sector, &newest.bytes);
        }
    }

    /// What had completed at `up_to` becomes durable, or is orphaned when the sync failed.
    fn sync(&mut self, up_to: u64, succeeded: bool) {
        for (sector, mut versions) in std::mem::take(&mut self.unsynced) {
            let covered = versions.iter().take_while(|version| version.completed <= up_to).count();
            if !succeeded {
                versions[..covered]
                    .iter_mut()
                    .for_each(|version| version.orphaned = true);
            } else if let Some(newest) = versions[..covered].iter().rposition(|version| !version.orphaned) {
                let synced = versions
                    .drain(..=newest)
                    .next_back()
                    .expect("the range holds at least one version");
                self.set_durable(sector, &synced.bytes);
            }
            if !versions.is_empty() {
                self.unsynced.insert(sector, versions);
            }
        }
    }
}

#[cfg(test)]
mod tests;
