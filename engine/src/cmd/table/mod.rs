//! The table of all commands, and finding a command in it by name or by number.
//!
//! One file a family. The numbers are on disk: a new command takes the next free number of its family's range, and the
//! number of a removed command stays unused.

mod bitmap;
mod blocking;
mod build;
mod cluster;
mod connection;
mod generic;
mod geo;
mod hash;
mod hyperloglog;
mod list;
mod pubsub;
mod scripting;
mod server;
mod set;
mod stream;
mod string;
mod transaction;
mod zset;

pub use blocking::END_WAIT;
pub use generic::{COMPARE, EVICT};

use super::spec::{CommandId, CommandSpec, Flags};
use super::stored::MOVED;

static FAMILIES: [&[CommandSpec]; 17] = [
    &string::COMMANDS,
    &generic::COMMANDS,
    &list::COMMANDS,
    &blocking::COMMANDS,
    &set::COMMANDS,
    &hash::COMMANDS,
    &zset::COMMANDS,
    &bitmap::COMMANDS,
    &hyperloglog::COMMANDS,
    &geo::COMMANDS,
    &stream::COMMANDS,
    &pubsub::COMMANDS,
    &connection::COMMANDS,
    &server::COMMANDS,
    &cluster::COMMANDS,
    &transaction::COMMANDS,
    &scripting::COMMANDS,
];

/// All top-level commands, family by family; subcommands hang below their containers.
pub fn commands() -> impl Iterator<Item = &'static CommandSpec> + Clone {
    FAMILIES.iter().flat_map(|family| family.iter())
}

/// Longest name of a top-level command, in bytes.
const NAME_BYTES_MAX: usize = 24;
/// Longest name that its [`NameKey`] tells in full.
const KEY_BYTES_MAX: usize = 16;

/// A name in any case as a number: its first and its last lower-cased bytes, overlapping if they can. Together with the
/// length that is unique for names of letters of up to [`KEY_BYTES_MAX`] bytes; others are compared in full.
type NameKey = (u64, u64);

/// OR with 0x20 lower-cases letters, and makes no other byte look like a letter.
const LOWER: u64 = 0x2020_2020_2020_2020;

const fn window(bytes: &[u8], from: usize, len: usize) -> u64 {
    let (mut n, mut i) = (0u64, 0);
    while i < len {
        n |= (bytes[from + i] as u64 | 0x20) << (8 * i);
        i += 1;
    }
    n
}

const fn name_key_slow(name: &[u8]) -> NameKey {
    let len = name.len();
    if len >= 8 {
        (window(name, 0, 8), window(name, len - 8, 8))
    } else {
        (window(name, 0, len), 0)
    }
}

#[inline]
fn name_key(name: &[u8]) -> NameKey {
    let u64_at = |i: usize| u64::from_le_bytes(name[i..i + 8].try_into().expect("eight bytes were cut"));
    let u32_at = |i: usize| {
        u64::from(u32::from_le_bytes(
            name[i..i + 4].try_into().expect("four bytes were cut"),
        ))
    };
    match name.len() {
        len @ 8.. => (u64_at(0) | LOWER, u64_at(len - 8) | LOWER),
        len @ 4.. => {
            // The two halves overlap where the bytes agree; only `len` bytes are set.
            let n = u32_at(0) | u32_at(len - 4) << (8 * (len - 4));
            (n | LOWER >> (8 * (8 - len)), 0)
        }
        len => (window(name, 0, len), 0),
    }
}

const SLOT_BITS: u32 = 10;
const SLOTS: usize = 1 << SLOT_BITS;

#[inline]
const fn slot_of(key: NameKey, len: usize) -> usize {
    let mixed = (key.0 ^ key.1.rotate_left(29) ^ len as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> (64 - SLOT_BITS)) as usize
}

#[derive(Clone, Copy)]
struct Slot {
    key: NameKey,
    /// Key and length leave no doubt.
    exact: bool,
    spec: Option<&'static CommandSpec>,
}

/// Whether `key` and length tell a name in full.
const fn is_exact(name: &[u8]) -> bool {
    let mut i = 0;
    while i < name.len() {
        if !name[i].is_ascii_lowercase() {
            return false;
        }
        i += 1;
    }
    name.len() <= KEY_BYTES_MAX
}

/// Open addressing, filled at compile time, a third full at most.
static BY_NAME: [Slot; SLOTS] = {
    let mut slots = [Slot {
        key: (0, 0),
        exact: false,
        spec: None,
    }; SLOTS];
    let (mut f, mut filled) = (0, 0);
    while f < FAMILIES.len() {
        let mut i = 0;
        while i < FAMILIES[f].len() {
            let spec = &FAMILIES[f][i];
            let name = spec.name.as_bytes();
            assert!(!name.is_empty() && name.len() <= NAME_BYTES_MAX);
            let key = name_key_slow(name);
            let mut at = slot_of(key, name.len());
            while slots[at].spec.is_some() {
                at = (at + 1) % SLOTS;
            }
            slots[at] = Slot {
                key,
                exact: is_exact(name),
                spec: Some(spec),
            };
            filled += 1;
            i += 1;
        }
        f += 1;
    }
    assert!(filled * 3 <= SLOTS);
    slots
};

/// The top-level command called `name`, in upper or lower case.
#[inline]
pub fn lookup(name: &[u8]) -> Option<&'static CommandSpec> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return None;
    }
    let key = name_key(name);
    let mut at = slot_of(key, name.len());
    loop {
        let slot = &BY_NAME[at];
        let spec = slot.spec?;
        let same = slot.key == key && spec.name.len() == name.len();
        if same && (slot.exact || spec.name.as_bytes().eq_ignore_ascii_case(name)) {
            return Some(spec);
        }
        at = (at + 1) % SLOTS;
    }
}

/// One more than the highest number in use.
const ID_END: usize = 1024;

static BY_ID: [Option<&'static CommandSpec>; ID_END] = {
    let mut ids: [Option<&'static CommandSpec>; ID_END] = [None; ID_END];
    let mut f = 0;
    while f < FAMILIES.len() {
        let mut i = 0;
        while i < FAMILIES[f].len() {
            let spec = &FAMILIES[f][i];
            place(&mut ids, spec);
            let mut s = 0;
            while s < spec.subcommands.len() {
                place(&mut ids, &spec.subcommands[s]);
                s += 1;
            }
            i += 1;
        }
        f += 1;
    }
    let mut i = 0;
    while i < transaction::OPERATIONS.len() {
        place(&mut ids, &transaction::OPERATIONS[i]);
        i += 1;
    }
    place(&mut ids, &END_WAIT);
    place(&mut ids, &EVICT);
    place(&mut ids, &COMPARE);
    place(&mut ids, &generic::MOVED);
    let mut h = 0;
    while h < scripting::HIDDEN.len() {
        place(&mut ids, &scripting::HIDDEN[h]);
        place(&mut ids, &scripting::CALLED_AS[h]);
        h += 1;
    }
    ids
};

const fn place(ids: &mut [Option<&'static CommandSpec>; ID_END], spec: &'static CommandSpec) {
    let id = spec.id.0 as usize;
    assert!(ids[id].is_none(), "two commands have one number");
    ids[id] = Some(spec);
}

/// How `spec` is logged while memory is exhausted, if in another way than else.
pub fn when_scarce(spec: &CommandSpec) -> Option<&'static CommandSpec> {
    scripting::HIDDEN
        .iter()
        .find(|hidden| hidden.container() == Some(spec.name))
}

/// What a client has sent that is carried out as `spec`: the reverse of [`when_scarce`] and of [`super::stored::store`], for
/// those who count commands.
pub fn as_asked(spec: &'static CommandSpec) -> &'static CommandSpec {
    if spec.id == MOVED {
        return lookup(spec.name.as_bytes()).unwrap_or(spec);
    }
    if !spec.flags.has(Flags::RUNS_SCRIPT) {
        return spec;
    }
    let is_hidden = scripting::HIDDEN.iter().any(|hidden| hidden.id == spec.id);
    let asked = spec.container().filter(|_| is_hidden);
    asked.and_then(|name| lookup(name.as_bytes())).unwrap_or(spec)
}

/// The command or subcommand with this number, or what the log has in a command's place.
#[inline]
pub fn by_id(id: CommandId) -> Option<&'static CommandSpec> {
    BY_ID.get(usize::from(id.0)).copied().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found_by_name_in_any_case_and_by_number() {
        for spec in commands() {
            let upper = spec.name.to_ascii_uppercase();
            let mixed: String = spec
                .name
                .chars()
                .enumerate()
                .map(|(i, c)| if i % 2 == 0 { c.to_ascii_uppercase() } else { c })
                .collect();
            for name in [spec.name, &upper, &mixed] {
                assert_eq!(lookup(name.as_bytes()).map(|s| s.id), Some(spec.id), "{name}");
            }
            for s in std::iter::once(spec).chain(spec.subcommands) {
                assert_eq!(by_id(s.id).map(|s| s.full_name), Some(s.full_name));
            }
            for sub in spec.subcommands {
                assert_eq!(sub.container(), Some(spec.name));
                assert_eq!(
                    spec.subcommand(sub.name.to_ascii_uppercase().as_bytes()).map(|s| s.id),
                    Some(sub.id)
                );
            }
        }
    }

    #[test]
    fn near_misses_are_not_found() {
        for name in [
            "",
            "ge",
            "gett",
            "ge\x14",
            "get\0",
            "pingx",
            "expiretimex",
            "incrbyfloatincrby",
            "g\u{e9}t",
            "object|help",
        ] {
            assert!(lookup(name.as_bytes()).is_none(), "{name:?}");
        }
        for spec in commands() {
            for i in 0..spec.name.len() {
                let mut name = spec.name.as_bytes().to_vec();
                name[i] = b'!';
                assert!(lookup(&name).is_none());
            }
        }
        assert!(by_id(CommandId(0)).is_none() && by_id(CommandId(u16::MAX)).is_none());
    }
}
