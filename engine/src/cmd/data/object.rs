//! What is known of how a value is stored: OBJECT, MEMORY USAGE.

use crate::cmd::{Exec, Reply};

/// MEMORY USAGE key [SAMPLES count]: bytes of the key, its value and its share of the index. Sizes are kept exactly, so
/// the sample count only has to be a number.
pub(in crate::cmd) fn memory_usage(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    match x.ks.key_memory(x.args.get(2)) {
        Some(bytes) => reply.int(bytes as i64),
        None => reply.null(),
    }
}
