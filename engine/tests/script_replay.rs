//! Scripts on a second replica: another interpreter, other scripts before, and the same state in the end.

mod cmd_support;

use cmd_support::machine::Machine;
use cmd_support::wire::Value;
use slotcore_engine::cmd::op::op_seed;

fn words(parts: &[&str]) -> Vec<Vec<u8>> {
    parts.iter().map(|part| part.as_bytes().to_vec()).collect()
}

const LIBRARY: &str = "#!lua name=lib
local seen = {}
redis.register_function('note', function(keys, args)
  seen[#seen + 1] = args[1]
  return redis.call('rpush', keys[1], #seen, tostring(seen), math.random(1000000))
end)";

/// Scripts that would differ between replicas if anything but the entry came in.
const SCRIPTS: [&str; 10] = [
    "return redis.call('set', KEYS[1], math.random(1e9))",
    "return redis.call('rpush', KEYS[1], tostring({}), tostring(print_or_nil), tostring(function() end))",
    "return redis.call('set', KEYS[1], redis.call('time')[1] .. '.' .. redis.call('time')[2])",
    "redis.call('sadd', KEYS[1] .. 's', 1, 2, 3, 4, 5, 6, 7, 8) return redis.call('set', KEYS[1], redis.call('spop', KEYS[1] .. 's'))",
    "local t = {} for i = 1, 200 do t['k' .. (i * 7919 % 211)] = i end local o = {} for k in pairs(t) do o[#o + 1] = k end return redis.call('set', KEYS[1], table.concat(o, ','))",
    "redis.call('incr', KEYS[1]) cjson.encode_number_precision(3) redis.call('append', KEYS[1], cjson.encode(math.random()))",
    "redis.call('set', KEYS[1], 'before') while true do redis.call('append', KEYS[1], 'x') end",
    "redis.call('set', KEYS[1], collectgarbage('count') .. ' ' .. os.clock()) error('half-way')",
    "local co = coroutine.wrap(function() for i = 1, 3 do coroutine.yield(math.random(100)) end end) return redis.call('rpush', KEYS[1], co(), co(), co())",
    "return redis.call('set', KEYS[1], cmsgpack.pack({a = 1, b = 2, c = {1, 2, 3}, d = 0.1}))",
];

/// The commands of a run, by its seed.
fn commands(seed: u64) -> Vec<Vec<Vec<u8>>> {
    let mut all = vec![words(&["function", "load", LIBRARY])];
    for n in 0..30 {
        let key = format!("k{}", op_seed(seed, 2 * n) % 9);
        let pick = op_seed(seed, 2 * n + 1) % 12;
        all.push(match SCRIPTS.get(pick as usize) {
            Some(script) => words(&["eval", script, "1", &key]),
            None => words(&["fcall", "note", "1", &key, "x"]),
        });
    }
    all
}

#[test]
fn replicas_with_different_pasts_compute_the_same() {
    for seed in 0..4 {
        let (mut leader, mut follower) = (Machine::new(), Machine::new());
        for (n, command) in commands(seed).into_iter().enumerate() {
            // What each replica has run by itself before must not matter: reads, and scripts of its own.
            if n % 3 == 0 {
                follower.local(&words(&[
                    "eval_ro",
                    "local t = {} for i = 1, 3000 do t[i] = i .. 'x' end return #t",
                    "0",
                ]));
            }
            if n % 17 == 0 {
                follower.local(&words(&["script", "flush"]));
            }
            leader.execute(&command);
            follower.apply(&command);
            assert_eq!(
                leader.ks.digest(),
                follower.ks.digest(),
                "seed {seed}, command {n}: {command:?}"
            );
        }
        assert!(leader.ks.len() > 3);
    }
}

#[test]
fn exported_functions_are_imported_elsewhere() {
    let (mut leader, mut other) = (Machine::new(), Machine::new());
    assert_eq!(leader.ks.export_functions(), None);
    leader.execute(&words(&["function", "load", LIBRARY]));
    let two = "#!lua name=two\nredis.register_function{function_name='two', callback=function() return 2 end, flags={'no-writes'}}";
    leader.execute(&words(&["function", "load", two]));
    other.execute(&words(&[
        "function",
        "load",
        "#!lua name=old\nredis.register_function('old', function() end)",
    ]));
    let bytes = leader.ks.export_functions().unwrap();
    other.ks.import_functions(&bytes).unwrap();
    assert_eq!(other.ks.digest(), leader.ks.digest());
    assert_eq!(other.execute(&words(&["fcall_ro", "two", "0"])), Value::Int(2));
    let listed = |machine: &mut Machine| machine.execute(&words(&["function", "list", "withcode"]));
    assert_eq!(listed(&mut other), listed(&mut leader));
    for damaged in [&bytes[..bytes.len() - 1], b"", b"\x02\x00", b"\x01\x01\x03abc"] {
        assert!(other.ks.import_functions(damaged).is_err());
        assert_eq!(other.ks.digest(), leader.ks.digest(), "nothing changes");
    }
}

#[test]
fn a_script_without_memory_may_free_some_and_write_no_more() {
    let mut machine = Machine::new();
    machine.execute(&words(&["set", "k", "v"]));
    let run = |machine: &mut Machine, script: &str| machine.execute_scarce(&words(&["eval", script, "0"])).to_string();
    assert!(run(&mut machine, "return redis.call('set', 'a', 'b')").starts_with("-OOM command not allowed"));
    assert_eq!(run(&mut machine, "return redis.call('get', 'k')"), "\"v\"");
    // Once it has written, half a script would be worse.
    assert_eq!(
        run(
            &mut machine,
            "redis.call('del', 'k') return redis.call('set', 'a', 'b')"
        ),
        "OK"
    );
    assert!(run(&mut machine, "#!lua\nreturn 1").starts_with("-OOM allow-oom flag is not set"));
    assert_eq!(
        run(
            &mut machine,
            "#!lua flags=allow-oom\nreturn redis.call('set', 'a', 'c')"
        ),
        "OK"
    );
    assert_eq!(
        run(&mut machine, "#!lua flags=no-writes\nreturn redis.call('get', 'a')"),
        "\"c\""
    );
}
