//! The part of RocksDB's C interface (`rocksdb/c.h`) that the comparison uses.

use std::ffi::{c_char, c_int, c_uchar, c_void};

/// Every object of the interface is opaque.
pub type Object = *mut c_void;

#[link(name = "rocksdb")]
unsafe extern "C" {
    pub fn rocksdb_options_create() -> Object;
    pub fn rocksdb_options_set_create_if_missing(options: Object, yes: c_uchar);
    pub fn rocksdb_options_set_write_buffer_size(options: Object, bytes: usize);
    pub fn rocksdb_options_set_use_direct_reads(options: Object, yes: c_uchar);
    pub fn rocksdb_options_set_use_direct_io_for_flush_and_compaction(options: Object, yes: c_uchar);
    pub fn rocksdb_options_set_compression(options: Object, kind: c_int);
    pub fn rocksdb_options_set_block_based_table_factory(options: Object, table: Object);
    pub fn rocksdb_block_based_options_create() -> Object;
    pub fn rocksdb_block_based_options_set_block_cache(table: Object, cache: Object);
    pub fn rocksdb_block_based_options_set_filter_policy(table: Object, policy: Object);
    pub fn rocksdb_filterpolicy_create_bloom_full(bits_per_key: f64) -> Object;
    pub fn rocksdb_cache_create_lru(bytes: usize) -> Object;
    pub fn rocksdb_writeoptions_create() -> Object;
    pub fn rocksdb_writeoptions_set_sync(options: Object, yes: c_uchar);
    pub fn rocksdb_readoptions_create() -> Object;
    pub fn rocksdb_flushoptions_create() -> Object;
    pub fn rocksdb_open(options: Object, name: *const c_char, error: *mut *mut c_char) -> Object;
    pub fn rocksdb_close(db: Object);
    pub fn rocksdb_writebatch_create() -> Object;
    pub fn rocksdb_writebatch_clear(batch: Object);
    pub fn rocksdb_writebatch_put(
        batch: Object,
        key: *const c_char,
        key_len: usize,
        value: *const c_char,
        value_len: usize,
    );
    pub fn rocksdb_write(db: Object, options: Object, batch: Object, error: *mut *mut c_char);
    pub fn rocksdb_get(
        db: Object,
        options: Object,
        key: *const c_char,
        key_len: usize,
        value_len: *mut usize,
        error: *mut *mut c_char,
    ) -> *mut c_char;
    pub fn rocksdb_create_iterator(db: Object, options: Object) -> Object;
    pub fn rocksdb_iter_seek_to_first(iterator: Object);
    pub fn rocksdb_iter_valid(iterator: Object) -> c_uchar;
    pub fn rocksdb_iter_next(iterator: Object);
    pub fn rocksdb_iter_value(iterator: Object, len: *mut usize) -> *const c_char;
    pub fn rocksdb_iter_destroy(iterator: Object);
    pub fn rocksdb_flush(db: Object, options: Object, error: *mut *mut c_char);
    pub fn rocksdb_compact_range(
        db: Object,
        start: *const c_char,
        start_len: usize,
        end: *const c_char,
        end_len: usize,
    );
    pub fn rocksdb_free(memory: *mut c_void);
}
