//! RocksDB, as the system has it, by its C interface.

mod ffi;

use std::ffi::{CStr, CString, c_char};
use std::path::Path;
use std::ptr;

use crate::contestant::{Contestant, Failure};
use ffi::Object;

/// How it is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tuning {
    /// As it comes, with nothing changed but that a missing database is made: 8 MiB of cache, no filters, page cache.
    Default,
    /// Within the same memory as the others: a cache, filters of 10 bits a key, direct reads and writes, no compression.
    Tuned,
}

/// No compression, as `rocksdb_no_compression` says.
const NO_COMPRESSION: i32 = 0;
/// Bits of a filter for each key: what RocksDB's tuning guide starts with.
const FILTER_BITS: f64 = 10.0;

/// See the module's text.
pub struct RocksDb {
    db: Object,
    read: Object,
    /// Not synced, synced.
    write: [Object; 2],
    batch: Object,
    tuning: Tuning,
    memory: u64,
}

impl RocksDb {
    /// `memory`: in bytes, half for the cache and half for what is not written yet, when tuned.
    pub fn open(dir: &Path, memory: u64, tuning: Tuning) -> Result<Self, Failure> {
        let name = CString::new(dir.to_str().ok_or("the directory's name is no text")?)?;
        // SAFETY: every object is made by the library right here, is what each call wants, and is left to the end of the
        // process; the name ends with a zero.
        unsafe {
            let options = ffi::rocksdb_options_create();
            ffi::rocksdb_options_set_create_if_missing(options, 1);
            if tuning == Tuning::Tuned {
                ffi::rocksdb_options_set_write_buffer_size(options, memory as usize / 4);
                ffi::rocksdb_options_set_use_direct_reads(options, 1);
                ffi::rocksdb_options_set_use_direct_io_for_flush_and_compaction(options, 1);
                ffi::rocksdb_options_set_compression(options, NO_COMPRESSION);
                let table = ffi::rocksdb_block_based_options_create();
                ffi::rocksdb_block_based_options_set_block_cache(
                    table,
                    ffi::rocksdb_cache_create_lru(memory as usize / 2),
                );
                let filter = ffi::rocksdb_filterpolicy_create_bloom_full(FILTER_BITS);
                ffi::rocksdb_block_based_options_set_filter_policy(table, filter);
                ffi::rocksdb_options_set_block_based_table_factory(options, table);
            }
            let write = [false, true].map(|sync| {
                let write = ffi::rocksdb_writeoptions_create();
                ffi::rocksdb_writeoptions_set_sync(write, sync.into());
                write
            });
            let mut error = ptr::null_mut();
            let db = ffi::rocksdb_open(options, name.as_ptr(), &raw mut error);
            told(error)?;
            Ok(Self {
                db,
                read: ffi::rocksdb_readoptions_create(),
                write,
                batch: ffi::rocksdb_writebatch_create(),
                tuning,
                memory,
            })
        }
    }
}

/// What the library says went wrong, if it does.
fn told(error: *mut c_char) -> Result<(), Failure> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: the library gives a text that ends with a zero, and leaves it to us.
    unsafe {
        let text = CStr::from_ptr(error).to_string_lossy().into_owned();
        ffi::rocksdb_free(error.cast());
        Err(text.into())
    }
}

impl Contestant for RocksDb {
    fn name(&self) -> String {
        match self.tuning {
            Tuning::Default => "RocksDB, as it comes, reads by the page cache".into(),
            Tuning::Tuned => format!("RocksDB, cache {} MiB, filters, direct I/O", self.memory >> 21),
        }
    }

    fn set(&mut self, pairs: &[(Vec<u8>, Vec<u8>)], durable: bool) -> Result<(), Failure> {
        let mut error = ptr::null_mut();
        // SAFETY: objects of this database; keys and values are copied by the call that is given them.
        unsafe {
            ffi::rocksdb_writebatch_clear(self.batch);
            for (key, value) in pairs {
                let (k, v) = (key.as_ptr().cast(), value.as_ptr().cast());
                ffi::rocksdb_writebatch_put(self.batch, k, key.len(), v, value.len());
            }
            ffi::rocksdb_write(self.db, self.write[usize::from(durable)], self.batch, &raw mut error);
        }
        told(error)
    }

    fn get(&mut self, key: &[u8], value: &mut Vec<u8>) -> Result<bool, Failure> {
        value.clear();
        let (mut len, mut error) = (0, ptr::null_mut());
        // SAFETY: the key is only read; what is found is `len` bytes that are left to us.
        unsafe {
            let found = ffi::rocksdb_get(
                self.db,
                self.read,
                key.as_ptr().cast(),
                key.len(),
                &raw mut len,
                &raw mut error,
            );
            told(error)?;
            if found.is_null() {
                return Ok(false);
            }
            value.extend_from_slice(std::slice::from_raw_parts(found.cast(), len));
            ffi::rocksdb_free(found.cast());
        }
        Ok(true)
    }

    fn walk(&mut self) -> Result<u64, Failure> {
        let mut count = 0;
        // SAFETY: the iterator is used only while it lives, and values only before it moves on.
        unsafe {
            let iterator = ffi::rocksdb_create_iterator(self.db, self.read);
            ffi::rocksdb_iter_seek_to_first(iterator);
            while ffi::rocksdb_iter_valid(iterator) != 0 {
                let mut len = 0;
                std::hint::black_box(ffi::rocksdb_iter_value(iterator, &raw mut len));
                count += 1;
                ffi::rocksdb_iter_next(iterator);
            }
            ffi::rocksdb_iter_destroy(iterator);
        }
        Ok(count)
    }

    fn settle(&mut self) -> Result<(), Failure> {
        let mut error = ptr::null_mut();
        // SAFETY: both ends of the range are absent, which means everything.
        unsafe {
            ffi::rocksdb_flush(self.db, ffi::rocksdb_flushoptions_create(), &raw mut error);
            told(error)?;
            ffi::rocksdb_compact_range(self.db, ptr::null(), 0, ptr::null(), 0);
        }
        Ok(())
    }
}

impl Drop for RocksDb {
    fn drop(&mut self) {
        // SAFETY: nothing of it is used afterwards.
        unsafe { ffi::rocksdb_close(self.db) }
    }
}
