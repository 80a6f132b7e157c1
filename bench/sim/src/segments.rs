//! A core's log segments on the simulated disk: the same names, the same steps as `rt::disk` takes on a real one.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use slotcore_engine::log::{SegmentSource, segment_file_name};
use slotcore_rt::buf::AlignedBuf;
use slotcore_rt::clock::Tick;
use slotcore_rt::ids::SegmentId;
use slotcore_rt::sim::disk::{DiskOp, FileId, SimDisk};

/// Tokens of directory syncs have this bit; those of log writes never do (they are tickets, counted from small numbers).
const JOB_TOKEN: u64 = 1 << 63;

/// What the log asks for.
#[derive(Clone, Copy, Debug)]
pub enum Request {
    /// A new segment of so many zeroes.
    Create(SegmentId, u64),
    /// An old segment under a new name.
    Recycle(SegmentId, SegmentId),
    /// A segment that ends; it may be gone already.
    Delete(SegmentId),
}

/// Open segments, and the requests about them: carried out one after the other, as the real back end's thread does.
#[derive(Default)]
pub struct Segments {
    files: BTreeMap<SegmentId, FileId>,
    queue: VecDeque<Request>,
    /// The segment whose directory entry is being made durable.
    current: Option<SegmentId>,
}

impl Segments {
    /// Opens all segments there are.
    pub fn open(disk: &SimDisk) -> Self {
        let ids = disk.list().filter_map(|(name, _)| id_of(name)).collect::<Vec<_>>();
        let file = |id| disk.open(&segment_file_name(id)).expect("it was just listed");
        Self {
            files: ids.into_iter().map(|id| (id, file(id))).collect(),
            ..Self::default()
        }
    }

    /// The file of a segment that the log was told of.
    pub fn file(&self, id: SegmentId) -> FileId {
        self.files[&id]
    }

    /// Queues a request; [`Segments::advance`] begins it.
    pub fn request(&mut self, request: Request) {
        self.queue.push_back(request);
    }

    /// Begins what is queued, as far as nothing is under way. Segments that could not be made go to `failed`, with the
    /// errno.
    pub fn advance(&mut self, disk: &mut SimDisk, now: Tick, failed: &mut Vec<(SegmentId, i32)>) {
        while self.current.is_none()
            && let Some(request) = self.queue.pop_front()
        {
            let (id, made) = match request {
                Request::Create(id, bytes) => (id, self.create(disk, id, bytes)),
                Request::Recycle(from, to) => (to, self.recycle(disk, from, to)),
                Request::Delete(id) => {
                    self.files.remove(&id);
                    // Gone already is as good; the name becomes durable with the next directory sync.
                    let _ = disk.delete(&segment_file_name(id));
                    continue;
                }
            };
            match made {
                Ok(()) => {
                    self.current = Some(id);
                    disk.submit(now, JOB_TOKEN, DiskOp::SyncDir);
                }
                Err(errno) => failed.push((id, errno)),
            }
        }
    }

    fn create(&mut self, disk: &mut SimDisk, id: SegmentId, bytes: u64) -> Result<(), i32> {
        let name = segment_file_name(id);
        let name_new = format!("{name}.new");
        let file = disk.create(&name_new, bytes)?;
        disk.rename(&name_new, &name)?;
        self.files.insert(id, file);
        Ok(())
    }

    fn recycle(&mut self, disk: &mut SimDisk, from: SegmentId, to: SegmentId) -> Result<(), i32> {
        disk.rename(&segment_file_name(from), &segment_file_name(to))?;
        let file = self.files.remove(&from).expect("a file that has a name is open");
        self.files.insert(to, file);
        Ok(())
    }

    /// The segment that is ready now that the operation with `token` has completed; `None` for operations of the log.
    pub fn ready(&mut self, token: u64) -> Option<SegmentId> {
        if token == JOB_TOKEN { self.current.take() } else { None }
    }
}

fn id_of(name: &str) -> Option<SegmentId> {
    name.strip_suffix(".seg")
        .and_then(|stem| stem.parse().ok())
        .map(SegmentId)
}

/// What recovery reads from.
pub struct DiskSource<'a>(pub &'a mut SimDisk);

impl SegmentSource for DiskSource<'_> {
    fn list(&mut self) -> io::Result<Vec<(SegmentId, u64)>> {
        Ok(self
            .0
            .list()
            .filter_map(|(name, bytes)| Some((id_of(name)?, bytes)))
            .collect())
    }

    fn read_at(&mut self, segment: SegmentId, offset: u64, buf: &mut AlignedBuf) -> io::Result<()> {
        let file = self
            .0
            .open(&segment_file_name(segment))
            .ok_or(io::ErrorKind::NotFound)?;
        let bytes = self
            .0
            .read(file, offset, buf.len())
            .map_err(io::Error::from_raw_os_error)?;
        if bytes.len() < buf.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buf.copy_from_slice(&bytes);
        Ok(())
    }
}
