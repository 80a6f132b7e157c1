//! Clients that wait for keys of several cores: they are answered what one core answers, whatever comes in which order, and
//! no element is lost or given twice when clients or the server go.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use crate::blocking::{Conn, blocked, bulk, id_of, key_on, pair, server, until_blocked};
use crate::client::{Reply, request};
use crate::pubsub::speaking;
use crate::scratch::Scratch;
use crate::server::Server;

/// Lines of a session: `>` a command of the client that waits, answered at once; `!` one that waits from then on; `+` a
/// command of another client, answered; `?` the answer of who waited; `-` nothing of the kind: it waits still.
const SESSION: &[&str] = &[
    "> BLPOP q1 q2 q3 q4 0.01",
    "+ RPUSH q3 a b c",
    "> BLPOP q1 q2 q3 q4 0",
    "> BRPOP q1 q2 q3 q4 0",
    "> BLMPOP 0 4 q1 q2 q3 q4 RIGHT COUNT 5",
    "> LMPOP 4 q1 q2 q3 q4 LEFT",
    "+ EXISTS q1 q2 q3 q4",
    // What is wrong is said at once.
    "> BLPOP q1 q2 q3 x",
    "> BLPOP q1 q2 q3 -1",
    "> BLMPOP 0 4 q1 q2 q3 q4 MIDDLE",
    "> BLMPOP 0 4 q1 q2 q3 q4 LEFT COUNT 0",
    "> BLMOVE q1 q2 LEFT NOWHERE 0",
    "> XREAD BLOCK x STREAMS x1 x2 0 0",
    // Another type is an error at first, and no concern of who waits.
    "+ SET q2 text",
    "> BRPOP q1 q2 q3 q4 0",
    "> BLMOVE q2 q1 LEFT LEFT 0",
    "+ DEL q2",
    "! BRPOP q1 q2 q3 q4 0",
    "+ SET q2 text",
    "+ ZADD q1 1 a",
    "-",
    "+ RPUSH q4 x y",
    "?",
    "+ DEL q1 q2 q4",
    "! BLPOP q1 q2 q3 q4 0",
    "+ LPUSH q1 1",
    "?",
    "! BZPOPMIN z1 z2 z3 z4 0",
    "+ ZADD z2 2 b 1 a",
    "?",
    "> BZPOPMAX z1 z2 z3 z4 0",
    "! BZMPOP 0 4 z1 z2 z3 z4 MAX COUNT 9",
    "+ ZADD z4 2.5 b 1 a",
    "?",
    // Moved between cores, and what has become of the lists.
    "> BLMOVE m1 m2 LEFT RIGHT 0.01",
    "> LMOVE m1 m2 LEFT RIGHT",
    "! BLMOVE m1 m2 LEFT RIGHT 0",
    "+ RPUSH m1 a b c",
    "?",
    "> BLMOVE m1 m2 RIGHT LEFT 0",
    "> BRPOPLPUSH m1 m3 0",
    "+ LRANGE m2 0 -1",
    "+ LRANGE m3 0 -1",
    "+ EXISTS m1",
    "! BRPOPLPUSH m1 m4 0",
    "+ SET m4 text",
    "+ RPUSH m1 stays",
    "?",
    "+ LRANGE m1 0 -1",
    // Who pops again at once gets nothing: the transaction is one command, and the first key counts.
    "! BLPOP t1 t2 t3 0",
    "+ MULTI",
    "+ RPUSH t3 gone",
    "+ RPOP t3",
    "+ RPUSH t2 b",
    "+ RPUSH t1 a",
    "+ EXEC",
    "?",
    "+ EXISTS t1 t2 t3",
    "+ DEL t1 t2",
    // In a transaction nobody waits.
    "> MULTI",
    "> BLPOP q1 q2 q3 0",
    "> BLMOVE m1 m2 LEFT LEFT 0",
    "> BRPOP m2 m3 q1 0",
    "> EXEC",
    // Streams.
    "+ XADD x1 1-1 f v",
    "> XREAD BLOCK 0 STREAMS x1 x2 x3 0 0 0",
    "> XREAD BLOCK 10 STREAMS x1 x2 x3 $ $ $",
    "! XREAD BLOCK 0 STREAMS x1 x2 x3 $ $ $",
    "+ XADD x3 1-1 g w",
    "?",
    "! XREAD BLOCK 0 STREAMS x1 x2 5-0 1-1",
    "+ XADD x1 2-1 f early",
    "+ XADD x2 1-1 f early",
    "-",
    "+ XADD x2 1-2 f v",
    "?",
    "+ XGROUP CREATE x1 g $",
    "+ XGROUP CREATE x2 g $",
    "! XREADGROUP GROUP g me BLOCK 0 NOACK STREAMS x1 x2 > >",
    "+ XADD x2 2-1 f v",
    "?",
    "! XREADGROUP GROUP g me BLOCK 0 STREAMS x1 x2 > >",
    "+ DEL x1",
    "?",
    "> PING",
];

/// What is answered to everybody, line by line.
fn transcript(cores: u16, proto: u8) -> Vec<String> {
    let dir = Scratch::new();
    let server = server(&dir, cores);
    let (mut waits, mut other, mut watcher) = (speaking(&server, proto), server.client(), server.client());
    let mut lines = Vec::new();
    for line in SESSION {
        let words: Vec<&str> = line.split(' ').skip(1).collect();
        let reply = match line.as_bytes()[0] {
            b'>' => waits.call(&words),
            b'+' => other.call(&words),
            b'!' => {
                waits.send(&request(&words)).unwrap();
                until_blocked(&mut watcher, 1);
                Reply::Nil
            }
            b'?' => {
                let reply = waits.reply().unwrap();
                until_blocked(&mut watcher, 0);
                reply
            }
            _ => {
                until_blocked(&mut watcher, 1);
                Reply::Nil
            }
        };
        lines.push(format!("{line}: {reply:?}"));
    }
    server.stop();
    lines
}

#[test]
fn whoever_waits_is_answered_as_by_one_core() {
    for proto in [2, 3] {
        let expected = transcript(1, proto);
        for cores in [2, 3, 4] {
            for (got, expected) in transcript(cores, proto).iter().zip(&expected) {
                assert_eq!(got, expected, "{cores} cores, RESP{proto}");
            }
        }
    }
}

const QUEUES: [&str; 5] = ["BRPOP", "q1", "q2", "q3", "q4"];

/// `BRPOP` of four queues on all cores.
fn pop(timeout: &str) -> Vec<&str> {
    [&QUEUES[..], &[timeout]].concat()
}

#[test]
fn each_element_goes_to_whoever_has_waited_longest() {
    let dir = Scratch::new();
    let server = server(&dir, 3);
    let (mut watcher, mut pusher) = (server.client(), server.client());
    let mut clients: Vec<Conn> = (0..20)
        .map(|n| blocked(&server, &mut watcher, &pop("0"), n + 1))
        .collect();
    let (first, second) = clients.split_at_mut(10);
    for (n, client) in first.iter_mut().enumerate() {
        let (queue, element) = (format!("q{}", n % 4 + 1), n.to_string());
        pusher.ok(&["LPUSH", &queue, &element]);
        assert_eq!(client.reply().unwrap(), pair(&queue, &element));
    }
    // Many at once: each gets one, and what is left stays.
    let elements: Vec<String> = (0..12).map(|n| n.to_string()).collect();
    let mut push = vec!["LPUSH", "q2"];
    push.extend(elements.iter().map(String::as_str));
    pusher.ok(&push);
    let got: BTreeSet<String> = second
        .iter_mut()
        .map(|client| match client.reply().unwrap() {
            Reply::Array(parts) => parts[1].text(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(got, elements[..10].iter().cloned().collect());
    assert_eq!(pusher.call(&["LLEN", "q2"]), Reply::Integer(2));
    until_blocked(&mut watcher, 0);
    server.stop();
}

#[test]
fn a_wait_ends_in_time_by_others_and_with_its_client() {
    let dir = Scratch::new();
    let server = server(&dir, 4);
    let mut watcher = server.client();
    for _ in 0..4 {
        let mut client = server.client();
        let began = Instant::now();
        assert_eq!(client.call(&pop("0.02")), Reply::Nil);
        assert!(began.elapsed() >= Duration::from_millis(20));
        let id = id_of(&mut client);
        for (reason, expected) in [
            (&["TIMEOUT"][..], Reply::Nil),
            (
                &["ERROR"],
                Reply::Error("UNBLOCKED client unblocked via CLIENT UNBLOCK".into()),
            ),
        ] {
            client.send(&request(&pop("0"))).unwrap();
            client.send(&request(&["PING"])).unwrap();
            until_blocked(&mut watcher, 1);
            let list = watcher.ok(&["CLIENT", "LIST"]).text();
            assert!(list.lines().any(|line| line.contains(" flags=b ")), "{list}");
            let words = [&["CLIENT", "UNBLOCK", &id], reason].concat();
            assert_eq!(watcher.call(&words), Reply::Integer(1));
            assert_eq!(client.reply().unwrap(), expected);
            assert_eq!(client.reply().unwrap(), Reply::Simple("PONG".into()));
        }
        // Whoever is gone takes nothing with it.
        let gone = blocked(&server, &mut watcher, &pop("0"), 1);
        let mut stays = blocked(&server, &mut watcher, &pop("0"), 2);
        drop(gone);
        until_blocked(&mut watcher, 1);
        watcher.ok(&["LPUSH", "q3", "a", "b"]);
        assert_eq!(stays.reply().unwrap(), pair("q3", "a"));
        assert_eq!(watcher.ok(&["RPOP", "q3"]), bulk("b"));
        until_blocked(&mut watcher, 0);
    }
    // Nobody who ends the server waits for those who wait.
    let mut last = blocked(&server, &mut watcher, &pop("0"), 1);
    let began = Instant::now();
    server.stop();
    assert!(began.elapsed() < crate::PATIENCE);
    assert!(last.reply().is_err());
}

#[test]
fn who_waits_for_one_core_and_who_waits_for_several_share_what_comes() {
    let dir = Scratch::new();
    let server = server(&dir, 2);
    let (mut watcher, key) = (server.client(), key_on(1, 2));
    let both = ["BLPOP", &key_on(0, 2), &key, "0"];
    let mut spans = blocked(&server, &mut watcher, &both, 1);
    let mut alone = blocked(&server, &mut watcher, &["BLPOP", &key, "0"], 2);
    watcher.ok(&["RPUSH", &key, "a", "b"]);
    assert_eq!(alone.reply().unwrap(), pair(&key, "a"));
    assert_eq!(spans.reply().unwrap(), pair(&key, "b"));
    server.stop();
}

/// Takes jobs until the connection breaks, at times with a time limit, at times going away in the middle of a wait.
fn take(server_port: u16, worker: usize, taken: &Mutex<Vec<u64>>) -> u64 {
    let mut untold = 0;
    for round in 0.. {
        let Ok(mut client) = Conn::try_connect(server_port) else {
            return untold;
        };
        for n in 0..20 {
            let timeout = if (n + worker).is_multiple_of(3) { "0.005" } else { "0" };
            if client.send(&request(&pop(timeout))).is_err() {
                return untold;
            }
            // What was on its way to whoever goes away is lost with it, as in Redis.
            if n == 19 && (round + worker).is_multiple_of(4) {
                untold += 1;
                break;
            }
            match client.reply() {
                Ok(Reply::Array(parts)) => taken.lock().unwrap().push(parts[1].text().parse().unwrap()),
                Ok(Reply::Nil) => {}
                Ok(other) => panic!("{other:?}"),
                Err(_) => return untold + 1,
            }
        }
    }
    untold
}

#[test]
fn no_job_is_lost_or_done_twice_when_workers_or_the_server_go() {
    const WORKERS: usize = 5;
    const JOBS: u64 = 150;
    let dir = Scratch::new();
    let start = || Server::start(dir.path(), &["--cores", "3", "--durability", "always"]);
    let (mut next, mut untold) = (0u64, 0);
    let (mut pushed, mut all) = (BTreeSet::new(), Vec::new());
    for round in 0..3 {
        let server = start();
        let taken = Mutex::new(Vec::new());
        thread::scope(|scope| {
            let (port, taken) = (server.port, &taken);
            let workers: Vec<_> = (0..WORKERS)
                .map(|worker| scope.spawn(move || take(port, worker, taken)))
                .collect();
            let mut client = server.client();
            for _ in 0..JOBS {
                let queue = format!("q{}", next % 4 + 1);
                client.ok(&["LPUSH", &queue, &next.to_string()]);
                pushed.insert(next);
                next += 1;
            }
            let enough = (next * 2 / 3) as usize - all.len();
            let began = Instant::now();
            while taken.lock().unwrap().len() < enough.min(JOBS as usize / 2) {
                assert!(began.elapsed() < crate::PATIENCE);
                thread::yield_now();
            }
            server.kill_at_once();
            untold += workers.into_iter().map(|worker| worker.join().unwrap()).sum::<u64>();
        });
        server.kill();
        all.extend(taken.into_inner().unwrap());
        let server = start();
        let mut client = server.client();
        let mut there = all.clone();
        for queue in &QUEUES[1..] {
            let Reply::Array(left) = client.ok(&["LRANGE", queue, "0", "-1"]) else {
                panic!("no array")
            };
            there.extend(left.iter().map(|job| job.text().parse::<u64>().unwrap()));
        }
        let found: BTreeSet<u64> = there.iter().copied().collect();
        assert_eq!(found.len(), there.len(), "round {round}: a job was given twice");
        let lost = pushed.difference(&found).count() as u64;
        assert!(lost <= untold, "round {round}: {lost} are lost, {untold} may be");
        server.kill();
    }
}
