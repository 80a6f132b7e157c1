//! The commands about strings as arrays of bits.

use super::build::{ACCESS, DENYOOM, FAST, OW, READONLY, RO, RW, UPDATE, VARIABLE, WRITE, all, flags, one};
use crate::cmd::data::bitmap::{bits, field, op};
use crate::cmd::spec::{Categories, CommandSpec, Group, Run};

/// Bitmaps.
#[rustfmt::skip]
pub(super) static COMMANDS: [CommandSpec; 7] = [
    CommandSpec::new(256, "setbit", 4, flags(&[WRITE, DENYOOM]), Categories::BITMAP, &[one(1, &[RW, ACCESS, UPDATE])], Run::Data(bits::setbit))
        .doc(Group::Bitmap, "2.2.0", "O(1)", "Sets or clears a bit."),
    CommandSpec::new(257, "getbit", 3, flags(&[READONLY, FAST]), Categories::BITMAP, &[one(1, &[RO, ACCESS])], Run::Data(bits::getbit))
        .doc(Group::Bitmap, "2.2.0", "O(1)", "A bit."),
    CommandSpec::new(258, "bitcount", -2, READONLY, Categories::BITMAP, &[one(1, &[RO, ACCESS])], Run::Data(bits::bitcount))
        .doc(Group::Bitmap, "2.6.0", "O(N)", "The number of bits that are set."),
    CommandSpec::new(259, "bitpos", -3, READONLY, Categories::BITMAP, &[one(1, &[RO, ACCESS])], Run::Data(bits::bitpos))
        .doc(Group::Bitmap, "2.8.7", "O(N)", "The first bit that is set, or clear."),
    CommandSpec::new(260, "bitop", -4, flags(&[WRITE, DENYOOM]), Categories::BITMAP, &[one(2, &[OW, UPDATE]), all(3, &[RO, ACCESS])], Run::Data(op::bitop))
        .doc(Group::Bitmap, "2.6.0", "O(N)", "Combines strings bit by bit."),
    CommandSpec::new(261, "bitfield", -2, flags(&[WRITE, DENYOOM]), Categories::BITMAP, &[one(1, &[RW, ACCESS, UPDATE, VARIABLE]).noted("This command allows both access and modification of the key")], Run::Data(field::bitfield))
        .doc(Group::Bitmap, "3.2.0", "O(1)", "Reads and changes integers of any width within a string."),
    CommandSpec::new(262, "bitfield_ro", -2, flags(&[READONLY, FAST]), Categories::BITMAP, &[one(1, &[RO, ACCESS])], Run::Data(field::bitfield_ro))
        .doc(Group::Bitmap, "6.0.0", "O(1)", "Reads integers of any width within a string."),
];
