//! The commands about strings.

use super::build::{
    ACCESS, DELETE, DENYOOM, FAST, INSERT, OW, READONLY, RO, RW, UPDATE, VARIABLE, WRITE, all, counted_pairs, flags,
    one, pairs, two,
};
use crate::cmd::data::{condition, counter, lcs, string, substring};
use crate::cmd::spec::{Categories, CommandSpec, Group, Run};

/// Strings.
#[rustfmt::skip]
pub(super) static COMMANDS: [CommandSpec; 25] = [
    CommandSpec::new(1, "append", 3, flags(&[WRITE, DENYOOM, FAST]), Categories::STRING, &[one(1, &[RW, INSERT])], Run::Data(substring::append))
        .doc(Group::String, "2.0.0", "O(1)", "Appends to a string, which is made when absent."),
    CommandSpec::new(2, "decr", 2, flags(&[WRITE, DENYOOM, FAST]), Categories::STRING, &[one(1, &[RW, ACCESS, UPDATE])], Run::Data(counter::decr))
        .doc(Group::String, "1.0.0", "O(1)", "Subtracts one from a number."),
    CommandSpec::new(3, "decrby", 3, flags(&[WRITE, DENYOOM, FAST]), Categories::STRING, &[one(1, &[RW, ACCESS, UPDATE])], Run::Data(counter::decrby))
        .doc(Group::String, "1.0.0", "O(1)", "Subtracts from a number."),
    CommandSpec::new(4, "get", 2, flags(&[READONLY, FAST]), Categories::STRING, &[one(1, &[RO, ACCESS])], Run::Data(string::get))
        .doc(Group::String, "1.0.0", "O(1)", "The string at a key."),
    CommandSpec::new(5, "getdel", 2, flags(&[WRITE, FAST]), Categories::STRING, &[one(1, &[RW, ACCESS, DELETE])], Run::Data(string::getdel))
        .doc(Group::String, "6.2.0", "O(1)", "The string at a key, which is then deleted."),
    CommandSpec::new(6, "getex", -2, flags(&[WRITE, FAST]), Categories::STRING, &[one(1, &[RW, ACCESS, UPDATE]).noted("RW and UPDATE because it changes the TTL")], Run::Data(string::getex))
        .doc(Group::String, "6.2.0", "O(1)", "The string at a key, whose expiry is then changed."),
    CommandSpec::new(7, "getrange", 4, READONLY, Categories::STRING, &[one(1, &[RO, ACCESS])], Run::Data(substring::getrange))
        .doc(Group::String, "2.4.0", "O(N)", "A part of a string."),
    CommandSpec::new(8, "getset", 3, flags(&[WRITE, DENYOOM, FAST]), Categories::STRING, &[one(1, &[RW, ACCESS, UPDATE])], Run::Data(string::getset))
        .doc(Group::String, "1.0.0", "O(1)", "Sets a string and gives back the old one.")
        .deprecated("6.2.0", "`SET` with the `!GET` argument"),
    CommandSpec::new(9, "incr", 2, flags(&[WRITE, DENYOOM, FAST]), Categories::STRING, &[one(1, &[RW, ACCESS, UPDATE])], Run::Data(counter::incr))
        .doc(Group::String, "1.0.0", "O(1)", "Adds one to a number."),
    CommandSpec::new(10, "incrby", 3, flags(&[WRITE, DENYOOM, FAST]), Categories::STRING, &[one(1, &[RW, ACCESS, UPDATE])], Run::Data(counter::incrby))
        .doc(Group::String, "1.0.0", "O(1)", "Adds to a number."),
    CommandSpec::new(11, "incrbyfloat", 3, flags(&[WRITE, DENYOOM, FAST]), Categories::STRING, &[one(1, &[RW, ACCESS, UPDATE])], Run::Data(counter::incrbyfloat))
        .doc(Group::String, "2.6.0", "O(1)", "Adds to a floating point number."),
    CommandSpec::new(12, "lcs", -3, READONLY, Categories::STRING, &[two(1, &[RO, ACCESS])], Run::Data(lcs::lcs))
        .doc(Group::String, "7.0.0", "O(N*M)", "The longest common subsequence of two strings."),
    CommandSpec::new(13, "mget", -2, flags(&[READONLY, FAST]), Categories::STRING, &[all(1, &[RO, ACCESS])], Run::Data(string::mget))
        .doc(Group::String, "1.0.0", "O(N)", "The strings at several keys.")
        .tips(&["request_policy:multi_shard"]),
    CommandSpec::new(14, "mset", -3, flags(&[WRITE, DENYOOM]), Categories::STRING, &[pairs(1, &[OW, UPDATE])], Run::Data(string::mset))
        .doc(Group::String, "1.0.1", "O(N)", "Sets several strings.")
        .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"]),
    CommandSpec::new(15, "msetnx", -3, flags(&[WRITE, DENYOOM]), Categories::STRING, &[pairs(1, &[OW, INSERT])], Run::Data(string::msetnx))
        .doc(Group::String, "1.0.1", "O(N)", "Sets several strings, unless any of the keys exists.")
        .tips(&["request_policy:multi_shard", "response_policy:agg_min"]),
    CommandSpec::new(16, "psetex", 4, flags(&[WRITE, DENYOOM]), Categories::STRING, &[one(1, &[OW, UPDATE])], Run::Data(string::psetex))
        .doc(Group::String, "2.6.0", "O(1)", "Sets a string that expires after some milliseconds."),
    CommandSpec::new(17, "set", -3, flags(&[WRITE, DENYOOM]), Categories::STRING, &[one(1, &[RW, ACCESS, UPDATE, VARIABLE]).noted("RW and ACCESS due to the optional `GET` argument")], Run::Data(string::set))
        .doc(Group::String, "1.0.0", "O(1)", "Sets a string, on conditions and with an expiry if wanted."),
    CommandSpec::new(18, "setex", 4, flags(&[WRITE, DENYOOM]), Categories::STRING, &[one(1, &[OW, UPDATE])], Run::Data(string::setex))
        .doc(Group::String, "2.0.0", "O(1)", "Sets a string that expires after some seconds."),
    CommandSpec::new(19, "setnx", 3, flags(&[WRITE, DENYOOM, FAST]), Categories::STRING, &[one(1, &[OW, INSERT])], Run::Data(string::setnx))
        .doc(Group::String, "1.0.0", "O(1)", "Sets a string unless the key exists."),
    CommandSpec::new(20, "setrange", 4, flags(&[WRITE, DENYOOM]), Categories::STRING, &[one(1, &[RW, UPDATE])], Run::Data(substring::setrange))
        .doc(Group::String, "2.2.0", "O(1)", "Overwrites a part of a string."),
    CommandSpec::new(21, "strlen", 2, flags(&[READONLY, FAST]), Categories::STRING, &[one(1, &[RO])], Run::Data(substring::strlen))
        .doc(Group::String, "2.2.0", "O(1)", "The length of a string."),
    CommandSpec::new(22, "substr", 4, READONLY, Categories::STRING, &[one(1, &[RO, ACCESS])], Run::Data(substring::getrange))
        .doc(Group::String, "1.0.0", "O(N)", "A part of a string.")
        .deprecated("2.0.0", "`GETRANGE`"),
    CommandSpec::new(23, "delex", -2, flags(&[WRITE, FAST]), Categories::STRING, &[one(1, &[RW, DELETE, VARIABLE])], Run::Data(condition::delex))
        .doc(Group::String, "8.4.0", "O(1)", "Deletes a key if the string there, or its digest, is as expected."),
    CommandSpec::new(24, "digest", 2, flags(&[READONLY, FAST]), Categories::STRING, &[one(1, &[RO, ACCESS])], Run::Data(condition::digest))
        .doc(Group::String, "8.4.0", "O(N)", "The digest of a string."),
    CommandSpec::new(25, "msetex", -4, flags(&[WRITE, DENYOOM]), Categories::STRING, &[counted_pairs(1, &[OW, UPDATE])], Run::Data(condition::msetex))
        .doc(Group::String, "8.4.0", "O(N)", "Sets several strings, on conditions and with one expiry if wanted.")
        .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"]),
];
