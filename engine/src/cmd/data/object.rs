//! What is known of how a value is stored: OBJECT, MEMORY USAGE, and the data parts of DEBUG.

use crate::cmd::error::{CmdError, answer};
use crate::cmd::parse::{integer, is};
use crate::cmd::{Exec, Reply};
use crate::eviction::Measure;
use crate::keyspace::{Keyspace, Kind};
use crate::number::parse_i64;

/// Longest string that Redis stores in one piece with its header, in bytes.
const EMBSTR_BYTES_MAX: usize = 44;
/// Redis shares one object for each number below this.
const SHARED_INTEGERS: i64 = 10_000;
/// The reference count that Redis shows for a shared object.
const SHARED_REFCOUNT: i64 = i32::MAX as i64;

/// The encoding Redis would name. That of a string follows from its content, so one that APPEND made is not `raw` just
/// because of that.
fn encoding_of(ks: &mut Keyspace, key: &[u8]) -> Option<&'static str> {
    const SAME: &str = "the type was just asked";
    let limits = ks.encoding_limits();
    Some(match ks.kind(key)? {
        Kind::Str => {
            let text = ks.get_str(key).expect(SAME)?;
            match text.len() {
                _ if parse_i64(text).is_some() => "int",
                ..=EMBSTR_BYTES_MAX => "embstr",
                _ => "raw",
            }
        }
        Kind::List => "quicklist",
        Kind::Set => limits.of_set(ks.set(key).expect(SAME)?),
        Kind::Hash => limits.of_hash(ks.hash(key).expect(SAME)?),
        Kind::ZSet => limits.of_zset(ks.zset(key).expect(SAME)?),
        Kind::Stream => "stream",
    })
}

fn refcount_of(ks: &mut Keyspace, key: &[u8]) -> Option<i64> {
    ks.kind(key)?;
    let number = ks.get_str(key).ok().flatten().and_then(parse_i64);
    Some(if number.is_some_and(|n| (0..SHARED_INTEGERS).contains(&n)) {
        SHARED_REFCOUNT
    } else {
        1
    })
}

pub(in crate::cmd) fn encoding(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    match encoding_of(x.ks, x.args.get(2)) {
        Some(name) => reply.bulk(name.as_bytes()),
        None => reply.null(),
    }
}

pub(in crate::cmd) fn refcount(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    match refcount_of(x.ks, x.args.get(2)) {
        Some(count) => reply.int(count),
        None => reply.null(),
    }
}

/// OBJECT IDLETIME: seconds since the key was last used. 0 for every key unless the policy of eviction asks for that, and in
/// scripts, which must answer the same everywhere.
pub(in crate::cmd) fn idletime(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    let key = x.args.get(2);
    match x.ks.kind(key) {
        Some(_) if x.ks.uses_noted() == Some(Measure::Frequency) => reply.error(
            "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between \
             policies at runtime LRU and LFU data will take some time to adjust.",
        ),
        Some(_) => reply.int(i64::try_from(x.ks.idle_ms(key) / 1000).unwrap_or(i64::MAX)),
        None => reply.null(),
    }
}

/// OBJECT FREQ: Redis's counter, under a policy of eviction that counts.
pub(in crate::cmd) fn freq(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    let key = x.args.get(2);
    match x.ks.kind(key) {
        Some(_) if x.ks.uses_noted() == Some(Measure::Frequency) => reply.int(x.ks.frequency(key).into()),
        Some(_) => reply.error(
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching \
             between policies at runtime LRU and LFU data will take some time to adjust.",
        ),
        None => reply.null(),
    }
}

pub(in crate::cmd) fn help(_: &mut Exec<'_>, reply: &mut dyn Reply) {
    crate::cmd::introspect::help(crate::cmd::lookup(b"object").expect("in the table"), reply);
}

/// MEMORY USAGE key [SAMPLES count]: bytes of the key, its value and its share of the index. Sizes are kept exactly, so
/// the sample count only has to be a number.
pub(in crate::cmd) fn memory_usage(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        for i in (3..x.args.len()).step_by(2) {
            let samples = x
                .args
                .try_get(i + 1)
                .filter(|_| is(x.args.get(i), "SAMPLES"))
                .ok_or(CmdError::Syntax)?;
            if integer(samples)? < 0 {
                return Err(CmdError::Syntax);
            }
        }
        match x.ks.key_memory(x.args.get(2)) {
            Some(bytes) => reply.int(bytes as i64),
            None => reply.null(),
        }
        Ok(())
    });
}

/// DEBUG OBJECT: a status line in Redis's form. There is no address to show, and the length is that in memory.
pub fn debug_object(ks: &mut Keyspace, key: &[u8], reply: &mut dyn Reply) {
    let (encoding, refcount, memory) = (encoding_of(ks, key), refcount_of(ks, key), ks.key_memory(key));
    // Whether the key has expired by the wall clock is not this command's concern, nor that of the next one.
    ks.take_needs_tick();
    match (encoding, refcount, memory) {
        (Some(encoding), Some(refcount), Some(bytes)) => reply.simple(&format!(
            "Value at:0x0 refcount:{refcount} encoding:{encoding} serializedlength:{bytes} lru:0 lru_seconds_idle:0"
        )),
        _ => reply.error("ERR no such key"),
    }
}

/// DEBUG DIGEST: a fingerprint of all keys and values, in as many hexadecimal digits as Redis prints.
pub fn debug_digest(ks: &mut Keyspace, reply: &mut dyn Reply) {
    reply.simple(&format!("{:040x}", ks.digest()));
}

/// DEBUG DIGEST-VALUE: the same of each value alone, which does not depend on its key or expiry; zeros where there is none.
pub fn debug_digest_value<'a>(ks: &mut Keyspace, keys: impl ExactSizeIterator<Item = &'a [u8]>, reply: &mut dyn Reply) {
    reply.array(keys.len());
    for key in keys {
        reply.simple(&format!("{:040x}", ks.value_digest(key).unwrap_or(0)));
    }
}
