//! What a script may use: one place for all bounds, each with its reason.
//!
//! The first of them decide what a script does, so they are part of what an entry of the log means: whoever changes one
//! changes what a replay computes (`docs/formats/op.md`).

/// Work that one script may do before it is stopped: instructions of the interpreter, with what its functions do at once
/// converted into them. Under a second of a core, which serves nobody meanwhile.
pub const SCRIPT_WORK_MAX: u64 = 100_000_000;
/// Work that loading a library of functions may do. It only registers functions.
pub const LOAD_WORK_MAX: u64 = 10_000_000;
/// Instructions after which the interpreter reports; a thread that does less than that is not seen.
pub(super) const REPORT_EVERY: u32 = 1_000;
/// Work that one call of a command counts for, whatever it does; about the time it takes.
pub(super) const CALL_WORK: u64 = 50;
/// Bytes, of arguments, results and texts, that count as much as one instruction.
pub(super) const BYTES_PER_WORK: u64 = 8;
/// Heap of one core's interpreter, in bytes: scripts, and what the one that runs has made. Beyond, a script fails with
/// "not enough memory".
pub const HEAP_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Heap above which garbage is collected at once behind a script, in bytes.
pub(super) const HEAP_BYTES_KEPT: usize = 8 * 1024 * 1024;
/// Scripts in the cache that came by EVAL; the oldest goes first. Those that were loaded stay, as in Redis.
pub const EVAL_SCRIPTS_MAX: usize = 500;
/// Bytes of code of all libraries of functions of a group: they are written with every change of its list of files.
pub const LIBRARIES_BYTES_MAX: usize = 32 << 20;
/// Tables within tables of a script's result.
pub(super) const RESULT_DEPTH_MAX: usize = 1_000;
/// Nesting of JSON and MessagePack that is followed, whatever a script asks for: each level takes stack.
pub(super) const NESTING_MAX: usize = 1_000;
