//! Random commands over few keys, rich in wrong types, wrong numbers and options that exclude each other.

use slotcore_engine::cmd::op::op_seed;

/// Seeded random choices.
pub struct Random(u64, u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed, 0)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        self.1 += 1;
        (op_seed(self.0, self.1) % limit as u64) as usize
    }

    pub fn one<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }
}

/// (No lifetimes of milliseconds: they would end at another command here than there.) Commands with `K` for a key, `N` for a number, `V` for a value, `F` for a score, `O(a|b)` for maybe one of these words.
const COMMANDS: &[&str] = &[
    "set K V",
    "set K V O(EX|EXAT|PXAT|NX|XX|KEEPTTL|GET) N",
    "set K V O(NX|XX|GET) O(GET|KEEPTTL|NX)",
    "set K N EX 1000 O(GET|NX|KEEPTTL)",
    "get K",
    "getdel K",
    "getex K",
    "getex K O(PERSIST|EX) O(1000|PERSIST)",
    "getset K V",
    "setnx K V",
    "setex K N V",
    "psetex K 100000 V",
    "append K V",
    "strlen K",
    "getrange K N N",
    "substr K N N",
    "setrange K N V",
    "incr K",
    "decr K",
    "incrby K N",
    "decrby K N",
    "incrbyfloat K F",
    "mget K K K",
    "mset K V K V",
    "mset K V K",
    "msetnx K V K V",
    "lcs K K",
    "lcs K K LEN",
    "lcs K K IDX O(WITHMATCHLEN|LEN)",
    "lcs K K IDX MINMATCHLEN N WITHMATCHLEN",
    "del K",
    "del K K",
    "unlink K K",
    "exists K K K",
    "expire K 1000",
    "expire K N O(NX|XX)",
    "pexpire K 100000 O(NX|XX)",
    "expireat K 9000000000 O(NX|XX|GT|LT) O(NX|XX|GT|LT)",
    "expireat K 9000000001 O(GT|LT)",
    "pexpireat K N O(GT|LT)",
    "ttl K",
    "expiretime K",
    "persist K",
    "type K",
    "touch K K",
    "keys *",
    "keys k[1-3]",
    "scan 0 COUNT 1000",
    "scan 0 COUNT 1000 TYPE O(list|hash|set|zset|string|foo)",
    "scan 0 MATCH k? COUNT 1000",
    "rename K K",
    "renamenx K K",
    "copy K K",
    "copy K K REPLACE",
    "object encoding K",
    "object refcount K",
    "lpush K V V V",
    "rpush K V V",
    "lpush K V",
    "lpop K",
    "rpop K",
    "lpop K N",
    "rpop K N",
    "lrange K N N",
    "lrange K 0 -1",
    "llen K",
    "sadd K N N V",
    "sadd K N",
    "sadd K V V",
    "scard K",
    "smembers K",
    "sismember K V",
    "spop K 100000",
    "hset K V V",
    "hset K V N V V",
    "hget K V",
    "hgetall K",
    "hdel K V V",
    "hlen K",
    "zadd K F V F V",
    "zadd K O(NX|XX|GT|LT|CH|INCR) F V",
    "zadd K O(NX|XX|CH) O(GT|LT|CH|INCR) F V",
    "zrangebyscore K -inf F",
    "zunionstore K 2 K K",
    "zrem K V V",
    "zpopmin K",
    "zpopmin K N",
    "zcard K",
    "zscore K V",
    "zrange K N N",
    "zrange K 0 -1 WITHSCORES",
    "zrange K N N REV WITHSCORES",
    "zadd K F V",
];
/// Integers, nearly integers and the limits.
pub const NUMBERS: &[&str] = &[
    "0",
    "1",
    "2",
    "3",
    "5",
    "10",
    "-1",
    "-2",
    "-5",
    "100",
    "007",
    "x",
    "9223372036854775807",
    "-9223372036854775808",
    "1.5",
    "4",
    "6",
    "7",
];
/// Values of strings and elements.
const VALUES: &[&str] = &[
    "a",
    "b",
    "c",
    "d",
    "abc",
    "ohmytext",
    "mynewtext",
    "10",
    "-3",
    "3.25",
    "\"\"",
    "\"x y\\x00z\"",
    "hello",
];
/// Scores; no -0, which Redis keeps or loses depending on the size of the set.
const SCORES: &[&str] = &[
    "0", "1", "-1", "1.5", "2.25", "inf", "-inf", "1e3", "x", "3", "0.1", "1e20",
];

/// Ends of ranges of scores, and of members.
const SCORE_BOUNDS: &[&str] = &[
    "-inf", "+inf", "(1", "1", "(2.25", "0", "3", "\"\"", "x", "(x", "(-inf", "5", "0x2",
];
const LEX_BOUNDS: &[&str] = &["-", "+", "[a", "(a", "[c", "(d", "[ohmy", "x", "[", "("];

/// One command line.
pub fn random_command(r: &mut Random) -> String {
    random_line(r, COMMANDS, "k")
}

/// One line of a family of commands, on keys that mostly hold that family's type.
pub fn random_of_family(r: &mut Random, family: &Family) -> String {
    let prefix = if r.below(40) == 0 { "k" } else { family.keys };
    random_line(r, family.commands, prefix)
}

/// Ids grow as the story goes on.
const DRAWS_PER_ID: u64 = 40;

/// A family of commands: how its keys begin, and its commands as [`COMMANDS`]; `B` is a score's bound, `L` a member's, `E`
/// one of many elements, `I` the id of a new entry and `J` of one that may be there, `X` and `Y` places anywhere, `x` and `y` near each other.
pub struct Family {
    pub keys: &'static str,
    pub commands: &'static [&'static str],
}

fn random_line(r: &mut Random, commands: &[&str], keys: &str) -> String {
    let words = r.one(commands).split(' ').map(|word| match word {
        "K" => format!("{keys}{}", r.below(6)),
        "N" => r.one(NUMBERS).to_string(),
        "V" => match r.below(30) {
            0 => "long".repeat(r.below(60)) + "x",
            1 => "huge".repeat(r.below(3000)) + "x",
            _ => r.one(VALUES).to_string(),
        },
        "F" => r.one(SCORES).to_string(),
        "E" => r.below(100_000).to_string(),
        "X" => format!("{}.{}", r.below(360) as i32 - 180, r.below(1000)),
        "Y" => format!("{}.{}", r.below(170) as i32 - 85, r.below(1000)),
        "x" => format!("1{}.{}", r.below(3), r.below(1000)),
        "y" => format!("4{}.{}", r.below(3), r.below(1000)),
        "I" => match (r.1 / DRAWS_PER_ID + r.below(3) as u64, r.below(4)) {
            (ms, 0) => format!("{ms}-*"),
            (ms, seq) => format!("{ms}-{seq}"),
        },
        "J" => match ((r.1 / DRAWS_PER_ID).saturating_sub(r.below(12) as u64), r.below(5)) {
            (ms, 0) => ms.to_string(),
            (ms, seq) => format!("{ms}-{seq}"),
        },
        "B" => r.one(SCORE_BOUNDS).to_string(),
        "L" => r.one(LEX_BOUNDS).to_string(),
        word => match word.strip_prefix("O(").and_then(|w| w.strip_suffix(')')) {
            Some(choices) if r.below(4) > 0 => r.one(&choices.split('|').collect::<Vec<_>>()).to_string(),
            Some(_) => String::new(),
            None => word.to_string(),
        },
    });
    words.collect::<Vec<_>>().join(" ")
}
