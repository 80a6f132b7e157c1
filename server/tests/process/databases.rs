//! SELECT and what works in one database of several: on one core, on several, beyond memory, and after a kill.

use std::collections::BTreeMap;
use std::net::TcpStream;

use slotcore_rt::rng::SeededRng;

use crate::client::{Client, Reply};
use crate::scratch::Scratch;
use crate::server::Server;

/// What comes back for commands written with bars between them, on an empty server; line ends as `;`.
fn answers(server: &Server, commands: &str) -> String {
    server.client().ok(&["FLUSHALL"]);
    let mut client = server.client();
    let bytes: Vec<u8> = commands
        .split('|')
        .flat_map(|line| format!("{line}\r\n").into_bytes())
        .collect();
    client.send(&bytes).unwrap();
    client.send(b"quit\r\n").unwrap();
    let text = String::from_utf8(client.rest()).unwrap().replace("\r\n", ";");
    text.strip_suffix("+OK;").expect("the quit is answered").to_string()
}

/// Sessions in one packet each, and what redis-server 7.0.15 answers.
#[rustfmt::skip]
const SESSIONS: &[(&str, &str)] = &[
    (
        "select 1|set a 1|get a|select 0|get a|exists a|select 1|strlen a|del a|get a",
        "+OK;+OK;$1;1;+OK;$-1;:0;+OK;:1;:1;$-1;",
    ),
    (
        "select 16|select -1|select x|select 99999999999|select|select 15|select 015|select 0",
        "-ERR DB index is out of range;-ERR DB index is out of range;-ERR value is not an integer or out of range;-ERR value is out of range, value must between -2147483648 and 2147483647;-ERR wrong number of arguments for 'select' command;+OK;-ERR value is not an integer or out of range;+OK;",
    ),
    (
        "set a 0|select 3|mset b 1 c 2|dbsize|keys b*|scan 0 count 100 match b*|scan 0 count 100 match a*|select 0|dbsize|keys *",
        "+OK;+OK;+OK;:2;*1;$1;b;*2;$1;0;*1;$1;b;*2;$1;0;*0;+OK;:1;*1;$1;a;",
    ),
    (
        "randomkey|select 9|set only 1|randomkey|select 2|randomkey|scan 0|keys *|dbsize",
        "$-1;+OK;+OK;$4;only;+OK;$-1;*2;$1;0;*0;*0;:0;",
    ),
    (
        "set a 1|select 2|set a 2|flushdb|dbsize|select 0|get a|flushdb async|dbsize|flushdb now|select 2|set b 1|flushall|dbsize",
        "+OK;+OK;+OK;+OK;:0;+OK;$1;1;+OK;:0;-ERR syntax error;+OK;+OK;+OK;:0;",
    ),
    (
        "set a x|expire a 1000|move a 9|exists a|select 9|get a|ttl a|set b y|select 0|set b z|move b 9|get b|move nokey 9|move b 0|move b 16|move b x|move b -1",
        "+OK;:1;:1;:0;+OK;$1;x;:1000;+OK;+OK;+OK;:0;$1;z;:0;-ERR source and destination objects are the same;-ERR DB index is out of range;-ERR value is not an integer or out of range;-ERR DB index is out of range;",
    ),
    (
        "set a x|copy a a|copy a a db 5|copy a b db 5|copy a a db 5 replace|select 5|mget a b|copy a a db 0|copy a c db 0|select 0|get c|copy a b db 16|copy a b db x|copy a b db",
        "+OK;-ERR source and destination objects are the same;:1;:1;:1;+OK;*2;$1;x;$1;x;:0;:1;+OK;$1;x;-ERR DB index is out of range;-ERR value is not an integer or out of range;-ERR syntax error;",
    ),
    (
        "rpush l a b c|select 4|rpush l x|lmpop 2 k l left|blpop k l 1|blpop k l 0.01|select 0|llen l|blpop l 1|lmpop 1 l right",
        ":3;+OK;:1;*2;$1;l;*1;$1;x;*-1;*-1;+OK;:3;*2;$1;l;$1;a;*2;$1;l;*1;$1;c;",
    ),
    (
        "select 2|zadd z 1 a 2 b|zmpop 1 z min|bzpopmax z 1|xadd s 1-1 f v|xread count 5 streams s 0|xgroup create s g 0|xreadgroup group g me streams s >|xreadgroup group no me streams s >|xinfo stream nokey",
        "+OK;:2;*2;$1;z;*1;*2;$1;a;$1;1;*3;$1;z;$1;b;$1;2;$3;1-1;*1;*2;$1;s;*1;*2;$3;1-1;*2;$1;f;$1;v;+OK;*1;*2;$1;s;*1;*2;$3;1-1;*2;$1;f;$1;v;-NOGROUP No such key 's' or consumer group 'no' in XREADGROUP with GROUP option;-ERR no such key;",
    ),
    (
        "select 2|sort l|rpush l 2 1|set w1 b|set w2 a|sort l by w* alpha get w* get #|sort l store t|lrange t 0 -1|select 0|exists t|sort t by w*",
        "+OK;*0;:2;+OK;+OK;*4;$1;a;$1;2;$1;b;$1;1;:2;*2;$1;1;$1;2;+OK;:0;*0;",
    ),
    (
        "select 3|multi|set a 3|select 4|set a 4|get a|exec|get a|select 3|get a|multi|select 5|set a 5|discard|set b 3|get b|select 5|exists a b",
        "+OK;+OK;+QUEUED;+QUEUED;+QUEUED;+QUEUED;*4;+OK;+OK;+OK;$1;4;$1;4;+OK;$1;3;+OK;+QUEUED;+QUEUED;+OK;+OK;$1;3;+OK;:0;",
    ),
    (
        "watch a|select 1|set a 1|select 0|multi|ping|exec|watch a|set a 2|multi|ping|exec",
        "+OK;+OK;+OK;+OK;+OK;+QUEUED;*1;+PONG;+OK;+OK;+OK;+QUEUED;*-1;",
    ),
    (
        "select 1|watch a|select 0|set a 1|multi|get a|exec|select 1|watch a|set a 1|select 0|multi|get a|exec",
        "+OK;+OK;+OK;+OK;+OK;+QUEUED;*1;$1;1;+OK;+OK;+OK;+OK;+OK;+QUEUED;*-1;",
    ),
    (
        "set a 1|watch a|select 1|set x 1|flushdb|select 0|multi|ping|exec|watch a|flushdb|multi|ping|exec",
        "+OK;+OK;+OK;+OK;+OK;+OK;+OK;+QUEUED;*1;+PONG;+OK;+OK;+OK;+QUEUED;*-1;",
    ),
    (
        "set a 1|watch a|move a 3|multi|ping|exec|select 3|watch b|select 0|set b 1|move b 3|multi|ping|exec",
        "+OK;+OK;:1;+OK;+QUEUED;*-1;+OK;+OK;+OK;+OK;:1;+OK;+QUEUED;*-1;",
    ),
    (
        "select 7|eval \"return redis.call('set', KEYS[1], 'v')\" 1 a|eval \"return {KEYS[1], ARGV[1]}\" 1 a b|get a|select 0|exists a|eval \"redis.call('select', 7) return redis.call('get', 'a')\" 0|exists a|eval \"return redis.call('select', 16)\" 0|eval \"return redis.call('dbsize')\" 0",
        "+OK;+OK;*2;$1;a;$1;b;$1;v;+OK;:0;$1;v;:0;-ERR DB index is out of range script: 09aad80789a229d4be1b5f6ee25fdd1e782467f9, on @user_script:1.;:0;",
    ),
    (
        "select 7|set k v|eval \"redis.call('select', 2) redis.call('set', 'k', 'w') return redis.call('keys', '*')\" 0|get k|select 2|get k|eval_ro \"return redis.call('get', KEYS[1])\" 1 k|script load \"return redis.call('get', KEYS[1])\"|evalsha 4e6d8fc8bb01276962cce5371fa795a7763657ae 1 k",
        "+OK;+OK;*1;$1;k;$1;v;+OK;$1;w;$1;w;$40;4e6d8fc8bb01276962cce5371fa795a7763657ae;$1;w;",
    ),
    (
        "select 2|pfadd p a b|pfcount p|setbit b 7 1|bitop not c b|bitcount c|geoadd g 13 38 x|geosearchstore t g fromlonlat 13 38 byradius 1 km|object encoding g|type t|dbsize|touch p b|unlink p b c g t|dbsize",
        "+OK;:1;:2;:0;:1;:7;:1;:1;$8;listpack;+zset;:5;:2;:5;:0;",
    ),
    (
        "select 6|set a v|dump nokey|restore b 0 \"\\x00\\x01v\\n\\x00\"|memory usage nokey|rename a b|get b|renamenx b c|exists a b c|select 0|exists a b c",
        "+OK;+OK;$-1;-ERR DUMP payload version or checksum are wrong;$-1;+OK;$1;v;:1;:1;+OK;:0;",
    ),
    (
        "select 1|set s v|select 0|reset|get s|select 1|get s|client reply on|get s",
        "+OK;+OK;+OK;+RESET;$-1;+OK;$1;v;+OK;$1;v;",
    ),
    (
        "set \"\\x00a\" 1|get \"\\x00a\"|set \"\\x00\\x01a\" 2|keys \"\\x00a*\"|keys \"\\x00\\x01*\"|dbsize|select 1|get a|exists \"\\x00a\"|set a 3|set \"\\x00\\x01\" 4|keys a*|keys \"\\x00*\"|scan 0 count 100 match \"\\x00*\"|dbsize|select 0|mget \"\\x00a\" \"\\x00\\x01a\" a|scan 0 match \"\\x00\\x01*\" count 100|eval \"return {redis.call('get', KEYS[1]), ARGV[1], #ARGV}\" 1 \"\\x00a\" \"\\x00\\x01\"|rpush \"\\x00l\" e|blpop nothing \"\\x00l\" 1|flushdb|dbsize",
        "+OK;$1;1;+OK;*1;$2;\x00a;*1;$3;\x00\x01a;:2;+OK;$-1;:0;+OK;+OK;*1;$1;a;*1;$2;\x00\x01;*2;$1;0;*1;$2;\x00\x01;:2;+OK;*3;$1;1;$1;2;$-1;*2;$1;0;*1;$3;\x00\x01a;*3;$1;1;$2;\x00\x01;:1;:1;*2;$2;\x00l;$1;e;+OK;:0;",
    ),
    (
        "select 2|hset h f v|hgetall h|lpush l a|lmove l m left right|lrange m 0 -1|sadd s a b|smove s t a|sinterstore u s t|sunion s u|zadd z 1 a|zrangestore y z 0 -1|zrange y 0 -1|getdel nokey|append k x|setrange k 1 y|incr n|select 0|dbsize",
        "+OK;:1;*2;$1;f;$1;v;:1;$1;a;*1;$1;a;:2;:1;:0;*1;$1;b;:1;:1;*1;$1;a;$-1;:1;:2;:1;+OK;:0;",
    ),
    (
        "swapdb 0 16|swapdb -1 0|swapdb x 1|swapdb 0 y|swapdb 0|swapdb 99999999999 0|swapdb 0 99999999999|swapdb 3 3|swapdb 0 1|swapdb 0 1 2|swapdb 15 0",
        "-ERR DB index is out of range;-ERR DB index is out of range;-ERR invalid first DB index;-ERR invalid second DB index;-ERR wrong number of arguments for 'swapdb' command;-ERR invalid first DB index;-ERR invalid second DB index;+OK;+OK;-ERR wrong number of arguments for 'swapdb' command;+OK;",
    ),
    (
        "set a 0|set both x|rpush l 1 2|select 1|set b 1|rpush both y|hset h f v|swapdb 0 1|dbsize|exists a both l|lrange both 0 -1|get b|select 0|exists b both h|get b|hget h f|type both|dbsize|swapdb 1 0|get a|get both|lrange l 0 -1|select 1|type both|dbsize",
        "+OK;+OK;:2;+OK;+OK;:1;:1;+OK;:3;:3;-WRONGTYPE Operation against a key holding the wrong kind of value;$-1;+OK;:3;$1;1;$1;v;+list;:3;+OK;$1;0;$1;x;*2;$1;1;$1;2;+OK;+list;:3;",
    ),
    (
        "set a x|expire a 1000|select 3|set a y|swapdb 3 0|ttl a|get a|persist a|select 0|ttl a|get a|flushdb|swapdb 0 3|get a|select 3|dbsize",
        "+OK;:1;+OK;+OK;+OK;:1000;$1;x;:1;+OK;:-1;$1;y;+OK;+OK;$1;x;+OK;:0;",
    ),
    (
        "set a 1|multi|swapdb 0 2|get a|select 2|get a|set c 1|dbsize|exec|dbsize|select 0|dbsize|multi|swapdb 0 x|swapdb 2 2|exec|multi|swapdb 1|exec",
        "+OK;+OK;+QUEUED;+QUEUED;+QUEUED;+QUEUED;+QUEUED;+QUEUED;*6;+OK;$-1;+OK;$1;1;+OK;:2;:2;+OK;:0;+OK;+QUEUED;+QUEUED;*2;-ERR invalid second DB index;+OK;+OK;-ERR wrong number of arguments for 'swapdb' command;-EXECABORT Transaction discarded because of previous errors.;",
    ),
    (
        "set x 1|watch x|swapdb 0 1|multi|ping|exec|watch x|swapdb 0 1|multi|ping|exec|watch x|swapdb 2 3|multi|ping|exec|watch x|swapdb 0 0|multi|ping|exec|watch y|swapdb 0 1|multi|ping|exec|watch x|swapdb 0 16|multi|ping|exec",
        "+OK;+OK;+OK;+OK;+QUEUED;*-1;+OK;+OK;+OK;+QUEUED;*-1;+OK;+OK;+OK;+QUEUED;*1;+PONG;+OK;+OK;+OK;+QUEUED;*1;+PONG;+OK;+OK;+OK;+QUEUED;*1;+PONG;+OK;-ERR DB index is out of range;+OK;+QUEUED;*1;+PONG;",
    ),
    (
        "select 5|set k v|xadd s 1-1 f v|zadd z 1 a|sadd t m|pfadd p a|swapdb 5 6|dbsize|select 6|get k|xlen s|zrange z 0 -1|scard t|pfcount p|append k w|get k|swapdb 6 5|exists k|select 5|strlen k|rename k m|copy m n db 6|swapdb 5 6|dbsize|get n|select 6|get m|dbsize",
        "+OK;+OK;$3;1-1;:1;:1;:1;+OK;:0;+OK;$1;v;:1;*1;$1;a;:1;:1;:2;$2;vw;+OK;:0;+OK;:2;+OK;:1;+OK;:1;$2;vw;+OK;$2;vw;:5;",
    ),
    (
        "set {a}1 x|set {a}2 y|select 1|set {a}2 z|set {a}3 w|swapdb 0 1|mget {a}1 {a}2 {a}3|select 0|mget {a}1 {a}2 {a}3|dbsize",
        "+OK;+OK;+OK;+OK;+OK;+OK;*3;$1;x;$1;y;$-1;+OK;*3;$-1;$1;z;$1;w;:2;",
    ),
    // What looks at all keys waits for the writes before it, and what comes behind it is answered once.
    (
        "set a b|keys *1|exec|get x|select 1|set c d|randomkey|select 0|keys *|get a|set e f|keys e|select 1|dbsize|discard|keys *|select 0|del e|randomkey|exec",
        "+OK;*0;-ERR EXEC without MULTI;$-1;+OK;+OK;$1;c;+OK;*1;$1;a;$1;b;+OK;*1;$1;e;+OK;:1;-ERR DISCARD without MULTI;*1;$1;c;+OK;:1;$1;a;-ERR EXEC without MULTI;",
    ),
];

#[test]
fn sessions_are_those_of_redis() {
    // Every command of the second server is looked at as if its keys could be in files only; those of the third are.
    for options in [
        &["--cores", "1"][..],
        &["--cores", "1", "--memory", "64mb"],
        &["--cores", "1", "--memory", "32kb"],
    ] {
        let dir = Scratch::new();
        let server = Server::start(
            dir.path(),
            &[options, &["--durability", "everysec", "--enable-debug-command", "yes"]].concat(),
        );
        for (commands, wanted) in SESSIONS {
            assert_eq!(answers(&server, commands), *wanted, "{commands}");
        }
        server.stop();
    }
}

#[test]
fn sessions_on_several_cores_are_the_same() {
    let dir = Scratch::new();
    let options = [
        "--cores",
        "3",
        "--durability",
        "everysec",
        "--enable-debug-command",
        "yes",
    ];
    let server = Server::start(dir.path(), &options);
    for (commands, wanted) in SESSIONS {
        let found = answers(&server, commands);
        // Cursors are others, and what names keys by their contents, or not at all, finds those of one core.
        if !["scan 0", "sort l by", "eval"]
            .iter()
            .any(|word| commands.contains(word))
        {
            assert_eq!(found, *wanted, "{commands}");
        }
    }
    server.stop();
}

/// Databases that a test uses, and keys of each.
const USED: [&str; 4] = ["0", "1", "7", "15"];
const KEYS: u64 = 40;
/// Random steps between two kills.
const STEPS: u32 = 700;

/// What every key holds, by database and name.
type Model = BTreeMap<(usize, String), String>;

/// Takes some random steps, each answered as the model has it.
fn random_steps(client: &mut Client<TcpStream>, model: &mut Model, rng: &mut SeededRng, value_bytes: u64) {
    let text = |value: Option<&String>| value.map_or(Reply::Nil, |text| Reply::Bulk(text.clone().into_bytes()));
    for _ in 0..STEPS {
        let db = rng.below(4) as usize;
        client.ok(&["SELECT", USED[db]]);
        let key = format!("k{}", rng.below(KEYS));
        let (here, there) = ((db, key.clone()), rng.below(4) as usize);
        match rng.below(20) {
            0..=5 => {
                let value = format!("{}{}", rng.below(1 << 40), "v".repeat(rng.below(value_bytes) as usize));
                client.ok(&["SET", &key, &value]);
                model.insert(here, value);
            }
            6..=9 => assert_eq!(client.ok(&["GET", &key]), text(model.get(&here))),
            10 => {
                let was = i64::from(model.remove(&here).is_some());
                assert_eq!(client.ok(&["DEL", &key]), Reply::Integer(was));
            }
            11 | 12 if db != there => {
                let target = (there, key.clone());
                let moves = model.contains_key(&here) && !model.contains_key(&target);
                let found = client.ok(&["MOVE", &key, USED[there]]);
                assert_eq!(
                    found,
                    Reply::Integer(i64::from(moves)),
                    "MOVE {key} from {db} to {there}"
                );
                if moves && let Some(value) = model.remove(&here) {
                    model.insert(target, value);
                }
            }
            13 | 14 => {
                let target = (there, format!("k{}", rng.below(KEYS)));
                if target == here {
                    continue;
                }
                let value = model.get(&here).cloned();
                let copy = ["COPY", &key, &target.1, "DB", USED[there], "REPLACE"];
                assert_eq!(client.ok(&copy), Reply::Integer(i64::from(value.is_some())), "{copy:?}");
                if let Some(value) = value {
                    model.insert(target, value);
                }
            }
            15 if rng.chance(1, 8) => {
                client.ok(&["FLUSHDB"]);
                model.retain(|(other, _), _| *other != db);
            }
            16 => {
                let Reply::Bulk(found) = client.ok(&["RANDOMKEY"]) else {
                    assert!(!model.keys().any(|(other, _)| *other == db));
                    continue;
                };
                let found = String::from_utf8(found).unwrap();
                assert!(model.contains_key(&(db, found.clone())), "{found} in {db}");
            }
            17 => {
                let other = format!("k{}", rng.below(KEYS));
                let wanted = [text(model.get(&here)), text(model.get(&(db, other.clone())))];
                assert_eq!(client.ok(&["MGET", &key, &other]), Reply::Array(wanted.to_vec()));
            }
            18 if rng.chance(1, 2) => {
                client.ok(&["SWAPDB", USED[db], USED[there]]);
                let swapped = |key: (usize, String)| match key.0 {
                    at if at == db => (there, key.1),
                    at if at == there => (db, key.1),
                    at => (at, key.1),
                };
                *model = std::mem::take(model)
                    .into_iter()
                    .map(|(key, value)| (swapped(key), value))
                    .collect();
            }
            18 => {
                let get = "return redis.call('get', KEYS[1])";
                assert_eq!(client.ok(&["EVAL", get, "1", &key]), text(model.get(&here)));
            }
            _ => {
                client.ok(&["MULTI"]);
                client.ok(&["SELECT", USED[there]]);
                client.ok(&["GET", &key]);
                let wanted = [Reply::Simple("OK".into()), text(model.get(&(there, key.clone())))];
                assert_eq!(client.ok(&["EXEC"]), Reply::Array(wanted.to_vec()));
            }
        }
    }
}

/// Compares every key; the counts only where they are exact.
fn compare(client: &mut Client<TcpStream>, model: &Model, counts: bool) {
    for (db, number) in USED.iter().enumerate() {
        client.ok(&["SELECT", number]);
        let wanted: Vec<&String> = model
            .keys()
            .filter(|(other, _)| *other == db)
            .map(|(_, key)| key)
            .collect();
        if counts {
            assert_eq!(
                client.ok(&["DBSIZE"]),
                Reply::Integer(wanted.len() as i64),
                "of {number}"
            );
            let line = client.ok(&["INFO", "keyspace"]).text();
            let has = format!("db{number}:keys={},", wanted.len());
            assert_eq!(line.contains(&has), !wanted.is_empty(), "{line}");
        }
        let Reply::Array(found) = client.ok(&["KEYS", "*"]) else {
            panic!("no array")
        };
        let mut found: Vec<String> = found.iter().map(Reply::text).collect();
        found.sort();
        assert_eq!(found.iter().collect::<Vec<_>>(), wanted, "keys of {number}");
        let (mut cursor, mut scanned) = ("0".to_string(), Vec::new());
        loop {
            let Reply::Array(parts) = client.ok(&["SCAN", &cursor, "COUNT", "7"]) else {
                panic!("no array")
            };
            let Reply::Array(keys) = &parts[1] else {
                panic!("no array")
            };
            scanned.extend(keys.iter().map(Reply::text));
            cursor = parts[0].text();
            if cursor == "0" {
                break;
            }
        }
        scanned.sort();
        scanned.dedup();
        assert_eq!(scanned, found, "a scan of {number}");
        for key in &found {
            let value = model.get(&(db, key.clone())).cloned().unwrap_or_default();
            assert_eq!(client.ok(&["GET", key]).text(), value, "{key} of {number}");
        }
    }
    client.ok(&["SELECT", "0"]);
}

/// `value_bytes`: values have up to so many. Beyond memory the counts are not compared, as they may be wrong.
fn random_with_kills(options: &[&str], value_bytes: u64, counts: bool, seed: u64) {
    let dir = Scratch::new();
    let (mut model, mut rng) = (Model::new(), SeededRng::new(seed));
    for _ in 0..3 {
        let server = Server::start(dir.path(), options);
        let mut client = server.client();
        compare(&mut client, &model, counts);
        random_steps(&mut client, &mut model, &mut rng, value_bytes);
        compare(&mut client, &model, counts);
        server.kill();
    }
    let server = Server::start(dir.path(), options);
    compare(&mut server.client(), &model, counts);
    server.stop();
}

#[test]
fn a_model_of_several_databases_is_met_on_one_core() {
    random_with_kills(&["--cores", "1"], 900, true, 71);
}

#[test]
fn a_model_of_several_databases_is_met_on_two_cores() {
    random_with_kills(&["--cores", "2"], 900, true, 72);
}

#[test]
fn a_model_of_several_databases_is_met_beyond_memory() {
    let tiny = ["--memory", "16mb", "--segment-bytes", "1mb", "--log-target", "4mb"];
    random_with_kills(&tiny, 100_000, false, 73);
}

#[test]
fn a_node_of_a_cluster_has_one_database() {
    let dir = Scratch::new();
    let server = Server::start(dir.path(), &["--cores", "2", "--durability", "everysec"]);
    let mut client = server.client();
    let Reply::Array(shown) = client.ok(&["CLUSTER", "SLOTS"]) else {
        panic!("no array")
    };
    let Reply::Array(range) = &shown[0] else {
        panic!("no array")
    };
    let Reply::Array(node) = &range[2] else {
        panic!("no array")
    };
    let port: u16 = node[1].text().parse().unwrap();
    let mut core = Client::connect(port);
    assert_eq!(core.ok(&["SELECT", "0"]), Reply::Simple("OK".into()));
    for (command, name) in [(&["SELECT", "1"][..], "SELECT"), (&["SWAPDB", "0", "0"], "SWAPDB")] {
        let refused = Reply::Error(format!("ERR {name} is not allowed in cluster mode"));
        assert_eq!(core.call(command), refused);
    }
    server.stop();
}

#[test]
fn clients_are_shown_and_told_the_database() {
    for cores in ["1", "2"] {
        let dir = Scratch::new();
        let server = Server::start(dir.path(), &["--cores", cores, "--durability", "everysec"]);
        let (mut client, mut listener, mut monitor) = (server.client(), server.client(), server.client());
        client.ok(&["CONFIG", "SET", "notify-keyspace-events", "KEA"]);
        listener.ok(&["PSUBSCRIBE", "__key*@*__:*"]);
        client.ok(&["SELECT", "3"]);
        let line = client.ok(&["CLIENT", "INFO"]).text();
        assert!(line.contains(" db=3 "), "{line}");
        monitor.ok(&["MONITOR"]);
        client.ok(&["SET", "a", "1"]);
        client.ok(&["MOVE", "a", "4"]);
        let mut told = Vec::new();
        while told.len() < 6 {
            let Reply::Array(message) = listener.reply().unwrap() else {
                panic!("no array")
            };
            told.push(format!("{} {}", message[2].text(), message[3].text()));
        }
        let wanted = [
            "__keyspace@3__:a set",
            "__keyevent@3__:set a",
            "__keyspace@3__:a move_from",
            "__keyevent@3__:move_from a",
            "__keyspace@4__:a move_to",
            "__keyevent@4__:move_to a",
        ];
        assert_eq!(told, wanted);
        let shown = [(); 2].map(|()| monitor.reply().unwrap().text());
        assert!(
            shown[0].contains(" [3 ") && shown[0].ends_with("\"SET\" \"a\" \"1\""),
            "{shown:?}"
        );
        assert!(
            shown[1].contains(" [3 ") && shown[1].ends_with("\"MOVE\" \"a\" \"4\""),
            "{shown:?}"
        );
        let stats = client.ok(&["INFO", "commandstats"]).text();
        assert_eq!(stats.matches("cmdstat_move:").count(), 1, "{stats}");
        drop((listener, monitor));
        server.stop();
    }
}
