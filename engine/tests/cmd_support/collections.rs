//! Lists, sets and hashes: commands for random comparison with Redis.

use super::random::Family;

/// All three families.
pub const COLLECTIONS: &[Family] = &[Family {
    keys: "l",
    commands: &[
        "rpush K V V V",
        "lpush K V a b a c",
        "rpush K V",
        "lpushx K V V",
        "rpushx K V",
        "lpop K",
        "rpop K O(0|1|2|-1)",
        "lindex K N",
        "lset K N V",
        "linsert K O(BEFORE|AFTER) V V",
        "linsert K BEFORE a V",
        "lrem K O(0|1|2|-3|100|x|1.5) V",
        "lrem K O(1|-1|-2) a",
        "ltrim K N N",
        "ltrim K O(1|0) O(-2|-1|20)",
        "lrange K N N",
        "lrange K 0 -1",
        "llen K",
        "lpos K V",
        "lpos K a RANK O(0|1|2|-1|-3|x) COUNT O(0|1|3)",
        "lpos K a MAXLEN N RANK O(1|-1|2|-2)",
        "lpos K V COUNT N MAXLEN N",
        "lmove K K O(LEFT|RIGHT|UP) O(LEFT|RIGHT)",
        "rpoplpush K K",
        "lmpop 2 K K O(LEFT|RIGHT) COUNT N",
        "lmpop 1 K LEFT",
        "set K V",
        "del K",
        "expire K 1000",
        "ttl K",
        "rename K K",
        "object encoding K",
    ],
}];
