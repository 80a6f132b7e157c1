//! [`Output`]: records in order become files, which are written, synced and opened again.

use super::effect::FileName;
use super::error::StoreError;
use super::options::StoreOptions;
use super::outbox::{Flight, Job, Outbox};
use crate::manifest::{BlobFile, FileRef};
use crate::sst::{
    BlobBuilder, BlobPtr, Body, Family, FilterBits, Finished, Kind, Opening, Record, SstBuilder, SstKey, SstOptions,
    SstReader,
};
use slotcore_rt::ids::LogIndex;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Chunks under way beyond which no more records are taken: two megabytes keep a device busy.
const CHUNKS_UNDER_WAY: usize = 8;

/// What the files of an output are like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Make {
    pub(super) job: Job,
    pub(super) filter_bits: FilterBits,
    pub(super) compress: bool,
    pub(super) index_min: LogIndex,
    pub(super) index_max: LogIndex,
}

/// How far a file is.
enum Stage {
    /// It grows, or its last chunks are being written. The length once it is known.
    Writing(Option<u64>),
    Finishing,
    Opening(Opening),
    Done,
}

struct OutFile {
    stage: Stage,
    chunks_under_way: usize,
}

/// What came of it.
pub(super) struct Made {
    pub(super) files: Vec<FileRef>,
    pub(super) blobs: Vec<BlobFile>,
    pub(super) readers: Vec<Rc<SstReader>>,
    pub(super) bytes: u64,
}

/// See the module's text.
pub(super) struct Output {
    make: Make,
    file_bytes_target: u64,
    blob_file_bytes_target: u64,
    blob_value_bytes_min: usize,
    sorted: Option<(FileName, SstBuilder)>,
    blob: Option<(FileName, BlobBuilder)>,
    files: BTreeMap<FileName, OutFile>,
    finished: Vec<Finished>,
    blobs: Vec<BlobFile>,
    readers: Vec<Rc<SstReader>>,
    bytes: u64,
    ended: bool,
}

impl Output {
    pub(super) fn new(make: Make, options: &StoreOptions) -> Self {
        Self {
            make,
            file_bytes_target: options.file_bytes_target,
            blob_file_bytes_target: options.blob_file_bytes_target,
            blob_value_bytes_min: options.blob_value_bytes_min,
            sorted: None,
            blob: None,
            files: BTreeMap::new(),
            finished: Vec::new(),
            blobs: Vec::new(),
            readers: Vec::new(),
            bytes: 0,
            ended: false,
        }
    }

    /// Whether enough is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.files.values().map(|file| file.chunks_under_way).sum::<usize>() >= CHUNKS_UNDER_WAY
    }

    /// Appends a record, behind all others. A large value goes into a blob file; what is in one already stays there.
    pub(super) fn push(&mut self, record: &Record<'_>, outbox: &mut Outbox) {
        match record.body {
            Body::Inline(kind @ (Kind::Str | Kind::Packed), value) if value.len() >= self.blob_value_bytes_min => {
                self.push_blob(record.key, record.expire_ms, kind, value, outbox);
            }
            _ => self.push_sorted(record, outbox),
        }
    }

    /// Appends a record whose value goes into a blob file.
    pub(super) fn push_blob(
        &mut self,
        key: SstKey<'_>,
        expire_ms: Option<u64>,
        kind: Kind,
        value: &[u8],
        outbox: &mut Outbox,
    ) {
        let ptr = self.blob_builder(outbox).push(value);
        self.push_blob_record(key, expire_ms, kind, ptr, outbox);
    }

    /// Begins a value for a blob file that comes in parts; until its end no other record may come.
    pub(super) fn begin_value(&mut self, outbox: &mut Outbox) {
        self.blob_builder(outbox).begin();
    }

    /// Appends a part of the value.
    pub(super) fn part(&mut self, bytes: &[u8], outbox: &mut Outbox) {
        self.blob_builder(outbox).part(bytes);
        self.write_blob(outbox);
    }

    /// Ends the value, and appends its record.
    pub(super) fn end_value(&mut self, key: SstKey<'_>, expire_ms: Option<u64>, kind: Kind, outbox: &mut Outbox) {
        let ptr = self.blob_builder(outbox).end();
        self.push_blob_record(key, expire_ms, kind, ptr, outbox);
    }

    fn blob_builder(&mut self, outbox: &mut Outbox) -> &mut BlobBuilder {
        let (_, builder) = self.blob.get_or_insert_with(|| {
            let id = outbox.new_file();
            (FileName::blob(id), BlobBuilder::new(id))
        });
        builder
    }

    /// Writes what is complete of the blob file.
    fn write_blob(&mut self, outbox: &mut Outbox) {
        let Some((name, builder)) = &mut self.blob else { return };
        while let Some(chunk) = builder.take_chunk() {
            write(&mut self.files, self.make.job, *name, chunk, outbox);
        }
    }

    fn push_blob_record(
        &mut self,
        key: SstKey<'_>,
        expire_ms: Option<u64>,
        kind: Kind,
        ptr: BlobPtr,
        outbox: &mut Outbox,
    ) {
        self.write_blob(outbox);
        let body = Body::Blob(kind, ptr);
        self.push_sorted(&Record { key, expire_ms, body }, outbox);
        let target = self.blob_file_bytes_target;
        if self
            .blob
            .as_ref()
            .is_some_and(|(_, builder)| builder.file_bytes() >= target)
        {
            self.end_blob(outbox);
        }
    }

    fn push_sorted(&mut self, record: &Record<'_>, outbox: &mut Outbox) {
        if let Some((_, builder)) = &self.sorted
            && builder.is_full()
            && builder.may_end_before(record.key)
        {
            self.end_sorted(outbox);
        }
        let make = self.make;
        let file_bytes_target = self.file_bytes_target;
        let (name, builder) = self.sorted.get_or_insert_with(|| {
            let id = outbox.new_file();
            let options = SstOptions {
                file: id,
                family: Family::Keys,
                filter_bits: make.filter_bits,
                compress: make.compress,
                index_min: make.index_min,
                index_max: make.index_max,
                file_bytes_target,
            };
            (FileName::sorted(id), SstBuilder::new(options))
        });
        let pushed = builder.push(record);
        pushed.expect("keys are limited where they come in, and large values are elsewhere");
        while let Some(chunk) = builder.take_chunk() {
            write(&mut self.files, make.job, *name, chunk, outbox);
        }
    }

    fn end_sorted(&mut self, outbox: &mut Outbox) {
        let Some((name, mut builder)) = self.sorted.take() else {
            return;
        };
        let finished = builder.finish();
        while let Some(chunk) = builder.take_chunk() {
            write(&mut self.files, self.make.job, name, chunk, outbox);
        }
        let file = self.files.get_mut(&name).expect("a file has at least a footer");
        file.stage = Stage::Writing(Some(finished.file_bytes));
        self.bytes += finished.file_bytes;
        self.finished.push(finished);
    }

    fn end_blob(&mut self, outbox: &mut Outbox) {
        let Some((name, mut builder)) = self.blob.take() else {
            return;
        };
        let file_bytes = builder.finish();
        while let Some(chunk) = builder.take_chunk() {
            write(&mut self.files, self.make.job, name, chunk, outbox);
        }
        let file = self.files.get_mut(&name).expect("a file has at least a footer");
        file.stage = Stage::Writing(Some(file_bytes));
        self.bytes += file_bytes;
        let (_, value_bytes) = builder.values();
        self.blobs.push(BlobFile {
            file: name.id,
            file_bytes,
            value_bytes,
        });
    }

    /// There are no more records.
    pub(super) fn end(&mut self, outbox: &mut Outbox) {
        self.end_sorted(outbox);
        self.end_blob(outbox);
        self.ended = true;
    }

    /// A chunk was written.
    pub(super) fn on_written(&mut self, name: FileName, outbox: &mut Outbox) {
        let file = self.files.get_mut(&name).expect("a chunk belongs to a file");
        file.chunks_under_way -= 1;
        if let (0, Stage::Writing(Some(file_bytes))) = (file.chunks_under_way, &file.stage) {
            outbox.finish(self.make.job, name, *file_bytes);
            file.stage = Stage::Finishing;
        }
    }

    /// A file is durable.
    ///
    /// # Errors
    /// It is shorter than any sorted file.
    pub(super) fn on_finished(&mut self, name: FileName, outbox: &mut Outbox) -> Result<(), StoreError> {
        let file = self
            .files
            .get_mut(&name)
            .expect("only files of this output are finished");
        let sorted = self.finished.iter().find(|f| FileName::sorted(f.file) == name);
        let Some(finished) = sorted else {
            file.stage = Stage::Done;
            return Ok(());
        };
        let opening = Opening::new(name.id, finished.file_bytes)?;
        let job = self.make.job;
        outbox.read(Flight::Open { job, file: name }, name, opening.need());
        file.stage = Stage::Opening(opening);
        Ok(())
    }

    /// Pages of a file that is being opened.
    ///
    /// # Errors
    /// The disk does not hold what was written.
    pub(super) fn on_opened(&mut self, name: FileName, pages: &[u8], outbox: &mut Outbox) -> Result<(), StoreError> {
        let file = self.files.get_mut(&name).expect("only files of this output are opened");
        let Stage::Opening(opening) = &mut file.stage else {
            unreachable!("pages come to a file that is being opened")
        };
        let Some(reader) = opening.feed(pages)? else {
            let job = self.make.job;
            outbox.read(Flight::Open { job, file: name }, name, opening.need());
            return Ok(());
        };
        let written = self.finished.iter().find(|f| f.file == name.id);
        if written.is_none_or(|f| f.footer_crc != reader.footer_crc()) {
            return Err(StoreError::Foreign { file: name });
        }
        file.stage = Stage::Done;
        self.readers.push(Rc::new(reader));
        Ok(())
    }

    /// What came of it, once everything is durable and open.
    pub(super) fn take_made(&mut self) -> Option<Made> {
        let done = |file: &OutFile| matches!(file.stage, Stage::Done);
        if !self.ended || !self.files.values().all(done) {
            return None;
        }
        Some(Made {
            files: std::mem::take(&mut self.finished)
                .into_iter()
                .map(FileRef::from)
                .collect(),
            blobs: std::mem::take(&mut self.blobs),
            readers: std::mem::take(&mut self.readers),
            bytes: self.bytes,
        })
    }
}

fn write(
    files: &mut BTreeMap<FileName, OutFile>,
    job: Job,
    name: FileName,
    chunk: crate::sst::Chunk,
    outbox: &mut Outbox,
) {
    let file = files.entry(name).or_insert(OutFile {
        stage: Stage::Writing(None),
        chunks_under_way: 0,
    });
    file.chunks_under_way += 1;
    outbox.write(job, name, chunk.offset, chunk.buf);
}
