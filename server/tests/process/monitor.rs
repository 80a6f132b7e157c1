//! `MONITOR`: every command, of whatever core's client, in Redis's words.

use std::net::TcpStream;

use slotcore_engine::ord::slot_of;

use crate::client::{Client, Reply, request};
use crate::scratch::Scratch;
use crate::server::Server;

/// A key of every core.
fn keys(cores: u16) -> Vec<String> {
    let owner = |key: &str| u32::from(slot_of(key.as_bytes())) * u32::from(cores) / 16_384;
    let of_core = |core: u16| (0..).map(|n| format!("k{n}")).find(|key| owner(key) == u32::from(core));
    (0..cores).filter_map(of_core).collect()
}

/// The next line, without the time and who.
fn line(monitor: &mut Client<TcpStream>) -> String {
    let text = monitor.reply().unwrap().text();
    let (time, rest) = text.split_once(" [0 127.0.0.1:").unwrap_or_else(|| panic!("{text}"));
    assert!(
        time.split_once('.')
            .is_some_and(|(s, us)| s.len() == 10 && us.len() == 6),
        "{text}"
    );
    rest.split_once("] ").unwrap().1.to_string()
}

#[test]
fn every_command_is_shown_to_monitors_of_every_core() {
    for cores in [1, 2, 4] {
        let dir = Scratch::new();
        let server = Server::start(dir.path(), &["--cores", &cores.to_string(), "--durability", "everysec"]);
        let mut monitors: Vec<Client<TcpStream>> = (0..cores).map(|_| server.client()).collect();
        for monitor in &mut monitors {
            assert_eq!(monitor.call(&["MONITOR"]), Reply::Simple("OK".into()));
        }
        let mut clients: Vec<Client<TcpStream>> = (0..cores).map(|_| server.client()).collect();
        for client in &mut clients {
            for key in keys(cores) {
                // Administrators' commands, and what is refused, are not shown.
                client.ok(&["CONFIG", "GET", "timeout"]);
                client.call(&["NOSUCH", "x"]);
                client.call(&["GET"]);
                let pipeline = [
                    request(&["set", &key, "a \"b\"\n"]),
                    request(&["Get", &key]),
                    request(&["MULTI"]),
                    request(&["incr", &format!("{{{key}}}n")]),
                    request(&["PING"]),
                    request(&["EXEC"]),
                    request(&["MGET", "a", "b", "c"]),
                ];
                client.send(&pipeline.concat()).unwrap();
                pipeline.iter().for_each(|_| drop(client.reply().unwrap()));
                for monitor in &mut monitors {
                    for expected in [
                        format!(r#""set" "{key}" "a \"b\"\n""#),
                        format!(r#""Get" "{key}""#),
                        r#""MULTI""#.to_string(),
                        format!(r#""incr" "{{{key}}}n""#),
                        r#""ping""#.to_string(),
                        r#""EXEC""#.to_string(),
                        r#""MGET" "a" "b" "c""#.to_string(),
                    ] {
                        assert_eq!(line(monitor), expected);
                    }
                }
            }
        }
        // A transaction that fails is shown without what it would have carried out.
        for words in [&["MULTI"][..], &["SET", "a", "1"], &["NOSUCH"], &["EXEC"]] {
            clients[0].call(words);
        }
        for monitor in &mut monitors {
            assert_eq!(line(monitor), r#""MULTI""#);
            assert_eq!(line(monitor), r#""EXEC""#);
        }
        clients[0].call(&["AUTH", "secret"]);
        clients[0].call(&["HELLO", "2", "AUTH", "user", "secret"]);
        for monitor in &mut monitors {
            assert_eq!(line(monitor), r#""AUTH" "(redacted)""#);
            assert_eq!(line(monitor), r#""HELLO" "2" "AUTH" "(redacted)" "(redacted)""#);
        }
        let list = clients[0].ok(&["CLIENT", "LIST"]).text();
        assert_eq!(
            list.lines().filter(|line| line.contains(" flags=O ")).count(),
            usize::from(cores)
        );
        // RESET is its end.
        let mut last = monitors.remove(0);
        assert_eq!(last.call(&["RESET"]).text(), "RESET");
        clients[0].ok(&["GET", "k"]);
        assert_eq!(last.call(&["PING"]), Reply::Simple("PONG".into()));
        server.stop();
    }
}

#[test]
fn what_scripts_and_functions_call_is_shown_behind_them() {
    for cores in [1, 3] {
        let dir = Scratch::new();
        let server = Server::start(dir.path(), &["--cores", &cores.to_string(), "--durability", "off"]);
        let mut client = server.client();
        let library = "#!lua name=lib\nredis.register_function('f', function(k) return redis.call('incr', k[1]) end)";
        client.ok(&["FUNCTION", "LOAD", library]);
        let mut monitors: Vec<Client<TcpStream>> = (0..cores).map(|_| server.client()).collect();
        for monitor in &mut monitors {
            assert_eq!(monitor.call(&["MONITOR"]), Reply::Simple("OK".into()));
        }
        for key in keys(cores) {
            let script = "redis.call('Set', KEYS[1], ARGV[1]) redis.pcall('get') return redis.call('GET', KEYS[1])";
            assert_eq!(client.ok(&["EVAL", script, "1", &key, "5"]).text(), "5");
            // One that only reads is carried out by another way.
            let reads = "return redis.call('get', KEYS[1])";
            client.ok(&["EVAL_RO", reads, "1", &key]);
            client.ok(&["FCALL", "f", "1", &key]);
            let mut expected = vec![
                format!(r#"client "EVAL" "{script}" "1" "{key}" "5""#),
                format!(r#"lua "Set" "{key}" "5""#),
                format!(r#"lua "GET" "{key}""#),
                format!(r#"client "EVAL_RO" "{reads}" "1" "{key}""#),
                format!(r#"lua "get" "{key}""#),
                format!(r#"client "FCALL" "f" "1" "{key}""#),
                format!(r#"lua "incr" "{key}""#),
            ];
            if cores > 1 {
                // Lines of different cores have no order.
                expected.sort();
            }
            for monitor in &mut monitors {
                let mut lines: Vec<String> = expected.iter().map(|_| with_caller(monitor)).collect();
                if cores > 1 {
                    lines.sort();
                }
                assert_eq!(lines, expected);
            }
        }
        drop(monitors);
        server.stop();
    }
}

/// The next line, without the time: who and what.
fn with_caller(monitor: &mut Client<TcpStream>) -> String {
    let text = monitor.reply().unwrap().text();
    match text.split_once(" [0 lua] ") {
        Some((_, words)) => format!("lua {words}"),
        None => format!("client {}", text.split_once("] ").unwrap_or_else(|| panic!("{text}")).1),
    }
}
