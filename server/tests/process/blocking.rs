//! Clients that wait for keys: who is served, when they are told that their time is up, and what becomes of elements when
//! clients or the server go.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use slotcore_engine::ord::slot_of;

use crate::client::{Client, Reply, request};
use crate::scratch::Scratch;
use crate::server::Server;

pub type Conn = Client<TcpStream>;

pub fn server(dir: &Scratch, cores: u16) -> Server {
    let cores = cores.to_string();
    Server::start(dir.path(), &["--cores", &cores, "--durability", "everysec"])
}

/// A key that lives on `core` of `cores`.
pub fn key_on(core: u16, cores: u16) -> String {
    let owned = |key: &String| u32::from(slot_of(key.as_bytes())) * u32::from(cores) / 16_384 == u32::from(core);
    (0..).map(|n| format!("queue:{n}")).find(owned).unwrap()
}

/// Waits until so many clients wait for keys.
pub fn until_blocked(client: &mut Conn, count: usize) {
    let began = Instant::now();
    while client.info("blocked_clients") != count.to_string() {
        assert!(
            began.elapsed() < crate::PATIENCE,
            "there are never {count} blocked clients"
        );
    }
}

/// A connection that waits for `words`, as the `count`th.
pub fn blocked(server: &Server, watcher: &mut Conn, words: &[&str], count: usize) -> Conn {
    let mut client = server.client();
    client.send(&request(words)).unwrap();
    until_blocked(watcher, count);
    client
}

pub fn pair(key: &str, element: &str) -> Reply {
    Reply::Array(vec![bulk(key), bulk(element)])
}

pub fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.as_bytes().to_vec())
}

pub fn id_of(client: &mut Conn) -> String {
    client.ok(&["CLIENT", "ID"]).text()
}

#[test]
fn many_clients_are_served_in_the_order_they_came() {
    for cores in [1, 3] {
        let dir = Scratch::new();
        let server = server(&dir, cores);
        let (mut watcher, mut pusher) = (server.client(), server.client());
        let mut clients: Vec<Conn> = (0..30)
            .map(|n| blocked(&server, &mut watcher, &["BLPOP", "none{q}", "{q}", "0"], n + 1))
            .collect();
        let elements: Vec<String> = (0..31).map(|n| n.to_string()).collect();
        let mut push = vec!["RPUSH", "{q}"];
        push.extend(elements.iter().map(String::as_str));
        assert_eq!(pusher.call(&push), Reply::Integer(31));
        for (client, element) in clients.iter_mut().zip(&elements) {
            assert_eq!(client.reply().unwrap(), pair("{q}", element));
        }
        assert_eq!(pusher.call(&["LLEN", "{q}"]), Reply::Integer(1));
        until_blocked(&mut watcher, 0);
        server.stop();
    }
}

#[test]
fn a_wait_ends_when_its_time_is_up_and_takes_nothing_then() {
    let dir = Scratch::new();
    let server = server(&dir, 2);
    let mut client = server.client();
    for key in [key_on(0, 2), key_on(1, 2)] {
        for command in [
            &["BLPOP", &key, "0.02"][..],
            &["BRPOPLPUSH", &key, &key, "0.02"],
            &["BLMPOP", "0.02", "1", &key, "LEFT"],
            &["BZPOPMIN", &key, "0.02"],
        ] {
            let began = Instant::now();
            assert_eq!(client.call(command), Reply::Nil);
            assert!(began.elapsed() >= Duration::from_millis(20));
        }
        client.ok(&["RPUSH", &key, "a"]);
        assert_eq!(client.call(&["LLEN", &key]), Reply::Integer(1));
    }
    assert_eq!(client.info("blocked_clients"), "0");
    server.stop();
}

#[test]
fn what_follows_a_blocking_command_waits_for_it() {
    for cores in [1, 3] {
        let dir = Scratch::new();
        let server = server(&dir, cores);
        let mut watcher = server.client();
        for core in 0..cores {
            let (key, other) = (key_on(core, cores), key_on((core + 1) % cores, cores) + "s");
            let mut client = server.client();
            let pipeline = [
                request(&["SET", &other, "1"]),
                request(&["GET", &other]),
                request(&["BLPOP", &key, "0"]),
                request(&["GET", &other]),
                request(&["BLPOP", &key, "0.01"]),
                request(&["INCR", &other]),
            ];
            client.send(&pipeline.concat()).unwrap();
            assert_eq!(client.reply().unwrap(), Reply::Simple("OK".into()));
            assert_eq!(client.reply().unwrap(), bulk("1"));
            until_blocked(&mut watcher, 1);
            let list = watcher.ok(&["CLIENT", "LIST"]).text();
            assert_eq!(
                list.lines().filter(|line| line.contains(" flags=b ")).count(),
                1,
                "{list}"
            );
            watcher.ok(&["SET", &other, "7"]);
            watcher.ok(&["RPUSH", &key, "x"]);
            assert_eq!(client.reply().unwrap(), pair(&key, "x"));
            assert_eq!(client.reply().unwrap(), bulk("7"));
            assert_eq!(client.reply().unwrap(), Reply::Nil);
            assert_eq!(client.reply().unwrap(), Reply::Integer(8));
        }
        server.stop();
    }
}

#[test]
fn a_client_is_unblocked_by_another() {
    let dir = Scratch::new();
    let server = server(&dir, 2);
    let mut watcher = server.client();
    for key in [key_on(0, 2), key_on(1, 2)] {
        let mut client = server.client();
        let id = id_of(&mut client);
        assert_eq!(watcher.call(&["CLIENT", "UNBLOCK", &id]), Reply::Integer(0));
        for (reason, expected) in [
            (&["TIMEOUT"][..], Reply::Nil),
            (&[], Reply::Nil),
            (
                &["ERROR"],
                Reply::Error("UNBLOCKED client unblocked via CLIENT UNBLOCK".into()),
            ),
        ] {
            client.send(&request(&["BRPOP", &key, "0"])).unwrap();
            until_blocked(&mut watcher, 1);
            let words = [&["CLIENT", "UNBLOCK", &id], reason].concat();
            assert_eq!(watcher.call(&words), Reply::Integer(1));
            assert_eq!(client.reply().unwrap(), expected);
        }
        watcher.ok(&["RPUSH", &key, "a"]);
        assert_eq!(client.call(&["BRPOP", &key, "0"]), pair(&key, "a"));
    }
    server.stop();
}

#[test]
fn whoever_is_gone_takes_nothing_with_it() {
    let dir = Scratch::new();
    let server = server(&dir, 2);
    let mut watcher = server.client();
    for key in [key_on(0, 2), key_on(1, 2)] {
        let gone = blocked(&server, &mut watcher, &["BLPOP", &key, "0"], 1);
        let mut killed = blocked(&server, &mut watcher, &["BLPOP", &key, "0"], 2);
        let mut stays = blocked(&server, &mut watcher, &["BLPOP", &key, "0"], 3);
        drop(gone);
        until_blocked(&mut watcher, 2);
        let list = watcher.ok(&["CLIENT", "LIST"]).text();
        let line = list.lines().find(|line| line.contains(" flags=b ")).unwrap();
        let id = line.strip_prefix("id=").unwrap().split(' ').next().unwrap();
        assert_eq!(watcher.call(&["CLIENT", "KILL", "ID", id]), Reply::Integer(1));
        until_blocked(&mut watcher, 1);
        assert!(killed.reply().is_err());
        watcher.ok(&["RPUSH", &key, "a", "b"]);
        assert_eq!(stays.reply().unwrap(), pair(&key, "a"));
        assert_eq!(watcher.call(&["LLEN", &key]), Reply::Integer(1));
        watcher.ok(&["DEL", &key]);
    }
    // Clients that wait hold up nobody who ends the server.
    let began = Instant::now();
    let mut last: Vec<Conn> = (0..2)
        .map(|core| {
            blocked(
                &server,
                &mut watcher,
                &["BLPOP", &key_on(core, 2), "0"],
                usize::from(core) + 1,
            )
        })
        .collect();
    server.stop();
    assert!(began.elapsed() < crate::PATIENCE);
    last.iter_mut().for_each(|client| assert!(client.reply().is_err()));
}

#[test]
fn one_core_waits_for_keys_of_all_slots() {
    let dir = Scratch::new();
    let server = server(&dir, 1);
    let mut watcher = server.client();
    let mut client = blocked(&server, &mut watcher, &["BZPOPMAX", "a", "b", "c", "0"], 1);
    watcher.ok(&["ZADD", "b", "1", "x", "2", "y"]);
    assert_eq!(
        client.reply().unwrap(),
        Reply::Array(vec![bulk("b"), bulk("y"), bulk("2")])
    );
    server.stop();
}

const PRODUCERS: usize = 2;
const CONSUMERS: usize = 4;

/// Pushes numbers until the server is gone: those that were acknowledged.
fn produce(mut client: Conn, queue: &str, next: &AtomicU64) -> Vec<u64> {
    let mut pushed = Vec::new();
    loop {
        let number = next.fetch_add(1, Ordering::SeqCst);
        if client.send(&request(&["RPUSH", queue, &number.to_string()])).is_err() {
            return pushed;
        }
        match client.reply() {
            Ok(Reply::Integer(_)) => pushed.push(number),
            Ok(other) => panic!("RPUSH was answered {other:?}"),
            Err(_) => return pushed,
        }
    }
}

/// Takes numbers until the server is gone.
fn consume(mut client: Conn, words: &[&str], enough: &AtomicU64) -> Vec<u64> {
    let mut taken = Vec::new();
    while client.send(&request(words)).is_ok()
        && let Ok(reply) = client.reply()
    {
        let element = match &reply {
            Reply::Array(parts) => &parts[1],
            reply => reply,
        };
        taken.push(element.text().parse().unwrap());
        enough.fetch_add(1, Ordering::SeqCst);
    }
    taken
}

fn numbers(client: &mut Conn, key: &str) -> Vec<u64> {
    let Reply::Array(elements) = client.ok(&["LRANGE", key, "0", "-1"]) else {
        panic!("LRANGE answers an array")
    };
    elements.iter().map(|element| element.text().parse().unwrap()).collect()
}

#[test]
fn nothing_is_lost_and_nothing_comes_twice_when_the_server_is_killed() {
    let (dir, cores) = (Scratch::new(), 2);
    let start = || Server::start(dir.path(), &["--cores", "2", "--durability", "always"]);
    let queues = [key_on(0, cores), key_on(1, cores)];
    let next = AtomicU64::new(0);
    let (mut pushed, mut taken) = ([BTreeSet::new(), BTreeSet::new()], Vec::new());
    // How many elements of the second queue may have gone to a consumer that was not told.
    let mut untold = 0;
    let mut digest: Option<String> = None;
    for round in 0..4 {
        let server = start();
        if let Some(before) = digest.take() {
            assert_eq!(server.client().ok(&["DEBUG", "DIGEST"]).text(), before);
        }
        let served = AtomicU64::new(0);
        thread::scope(|scope| {
            let (next, served) = (&next, &served);
            let mut producers = Vec::new();
            let mut consumers = Vec::new();
            for (n, queue) in queues.iter().enumerate() {
                let done = format!("{{{queue}}}done");
                for _ in 0..PRODUCERS {
                    let client = server.client();
                    producers.push((n, scope.spawn(move || produce(client, queue, next))));
                }
                for _ in 0..CONSUMERS {
                    let (client, done) = (server.client(), done.clone());
                    consumers.push(scope.spawn(move || match n {
                        // Of these the element remains on the server, until the consumer says that it is done.
                        0 => {
                            consume(client, &["BLMOVE", queue, &done, "LEFT", "RIGHT", "0"], served);
                            Vec::new()
                        }
                        _ => consume(client, &["BLPOP", queue, "0"], served),
                    }));
                }
            }
            while served.load(Ordering::SeqCst) < 300 {
                thread::yield_now();
            }
            server.kill();
            for (n, producer) in producers {
                pushed[n].extend(producer.join().unwrap());
            }
            for consumer in consumers {
                taken.extend(consumer.join().unwrap());
            }
        });
        untold += CONSUMERS;
        let server = start();
        let mut client = server.client();
        digest = Some(client.ok(&["DEBUG", "DIGEST"]).text());
        let mut count: BTreeMap<u64, u32> = BTreeMap::new();
        let held = [&queues[0], &queues[1], &format!("{{{}}}done", queues[0])];
        let held: Vec<u64> = held.iter().flat_map(|key| numbers(&mut client, key)).collect();
        for number in held.iter().chain(&taken) {
            *count.entry(*number).or_default() += 1;
        }
        assert!(
            count.values().all(|count| *count == 1),
            "round {round}: something came twice"
        );
        let lost = pushed
            .each_ref()
            .map(|pushed| pushed.iter().filter(|number| !count.contains_key(number)).count());
        assert_eq!(lost[0], 0, "round {round}");
        assert!(
            lost[1] <= untold,
            "round {round}: {} elements are lost, {untold} may be",
            lost[1]
        );
        server.kill();
    }
}
