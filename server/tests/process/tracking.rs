//! `CLIENT TRACKING`: clients that keep copies are told of every change, on whatever core it happens, and never before they
//! have the value that is out of date by it.

use std::collections::{BTreeMap, VecDeque};
use std::net::TcpStream;

use slotcore_engine::ord::slot_of;
use slotcore_rt::rng::SeededRng;

use crate::client::{Client, Reply, request};
use crate::scratch::Scratch;
use crate::server::Server;

fn server(dir: &Scratch, cores: u16) -> Server {
    let cores = cores.to_string();
    Server::start(dir.path(), &["--cores", &cores, "--durability", "everysec"])
}

/// A key of every core.
fn keys(cores: u16) -> Vec<String> {
    let owner = |key: &str| u32::from(slot_of(key.as_bytes())) * u32::from(cores) / 16_384;
    let of_core = |core: u16| (0..).map(|n| format!("k{n}")).find(|key| owner(key) == u32::from(core));
    (0..cores).filter_map(of_core).collect()
}

fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.as_bytes().to_vec())
}

fn ok() -> Reply {
    Reply::Simple("OK".into())
}

/// A client that is told of changes, pushes apart from replies.
struct Tracker {
    conn: Client<TcpStream>,
    pushes: VecDeque<Reply>,
}

impl Tracker {
    /// That speaks RESP3 and has said `CLIENT TRACKING` with these words.
    fn new(server: &Server, words: &[&str]) -> Self {
        let mut conn = server.client();
        conn.ok(&["HELLO", "3"]);
        let mut tracker = Self {
            conn,
            pushes: VecDeque::new(),
        };
        assert_eq!(tracker.call(&[&["CLIENT", "TRACKING"], words].concat()), ok());
        tracker
    }

    fn call(&mut self, words: &[&str]) -> Reply {
        self.conn.send(&request(words)).unwrap();
        self.reply()
    }

    fn reply(&mut self) -> Reply {
        loop {
            match self.conn.reply().unwrap() {
                push @ Reply::Push(_) => self.pushes.push_back(push),
                reply => return reply,
            }
        }
    }

    /// The next push.
    fn push(&mut self) -> Reply {
        self.pushes.pop_front().unwrap_or_else(|| self.conn.reply().unwrap())
    }

    /// The next push says that these keys have changed.
    fn told(&mut self, keys: &[&str]) {
        let keys = Reply::Array(keys.iter().map(|key| bulk(key)).collect());
        assert_eq!(self.push(), Reply::Push(vec![bulk("invalidate"), keys]));
    }

    /// No push comes any more but those about `fence`, which this client reads, and `writer` changes now.
    fn told_no_more(&mut self, writer: &mut Client<TcpStream>, fence: &str) {
        self.call(&["GET", fence]);
        writer.ok(&["SET", fence, "fence"]);
        self.told(&[fence]);
    }
}

#[test]
fn whoever_has_read_a_key_is_told_once_of_a_change_on_whatever_core() {
    for cores in [1, 2, 4] {
        let dir = Scratch::new();
        let server = server(&dir, cores);
        let mut writer = server.client();
        let keys = keys(cores);
        let mut trackers: Vec<Tracker> = (0..cores).map(|_| Tracker::new(&server, &["on"])).collect();
        for key in &keys {
            for tracker in &mut trackers {
                assert_eq!(tracker.call(&["GET", key]), Reply::Nil);
                tracker.call(&["GET", key]);
            }
            for _ in 0..2 {
                writer.ok(&["SET", key, "1"]);
            }
            for tracker in &mut trackers {
                tracker.told(&[key]);
                tracker.told_no_more(&mut writer, key);
            }
        }
        let tracker = &mut trackers[0];
        for key in &keys {
            // By whatever command it is read, and whatever changes it: here it expires.
            for read in [
                &[&["MGET", key][..]][..],
                &[&["SET", key, "a"], &["STRLEN", key]],
                &[&["MULTI"], &["GET", key], &["EXEC"]],
                &[&["MULTI"], &["SET", key, "b"], &["GET", key], &["EXEC"]],
                &[&["WATCH", key], &["MULTI"], &["GET", key], &["EXEC"]],
            ] {
                // In one piece: what is read behind a write is read when that is applied.
                let pipeline: Vec<u8> = read.iter().flat_map(|words| request(words)).collect();
                tracker.conn.send(&pipeline).unwrap();
                read.iter().for_each(|_| drop(tracker.reply()));
                tracker.pushes.clear();
                writer.ok(&["SET", key, "c", "PX", "1"]);
                tracker.told(&[key]);
                if tracker.call(&["GET", key]) != Reply::Nil {
                    tracker.told(&[key]);
                }
                // It may be told, too, of the end of a key that it has not seen any more; what follows shall find none.
                writer.ok(&["DEL", key]);
                let fence = format!("{{{key}}}fence");
                tracker.call(&["GET", &fence]);
                writer.ok(&["SET", &fence, "1"]);
                while told_of(&tracker.push()) != [fence.as_str()] {}
            }
            // What another one's transaction changes.
            tracker.call(&["GET", key]);
            for words in [&["MULTI"][..], &["INCR", key], &["INCR", key], &["EXEC"]] {
                writer.ok(words);
            }
            tracker.told(&[key]);
        }
        assert_eq!(writer.info("tracking_clients"), cores.to_string());
        tracker.call(&["GET", &keys[0]]);
        assert_eq!(writer.info("tracking_total_keys"), "1");
        assert_eq!(writer.info("tracking_total_items"), "1");
        tracker.call(&["CLIENT", "TRACKING", "off"]);
        writer.ok(&["SET", &keys[0], "1"]);
        assert_eq!(tracker.call(&["PING"]), Reply::Simple("PONG".into()));
        assert!(tracker.pushes.is_empty());
        drop(trackers);
        server.stop();
    }
}

#[test]
fn whoever_has_read_keys_of_all_cores_at_once_is_told_of_each() {
    let dir = Scratch::new();
    let server = server(&dir, 4);
    let mut writer = server.client();
    let keys = keys(4);
    let mut tracker = Tracker::new(&server, &["on"]);
    for _ in 0..50 {
        for key in &keys {
            writer.ok(&["INCR", key]);
        }
        tracker.call(&[&["MGET"], &keys.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat());
        for key in &keys {
            writer.ok(&["DEL", key]);
            tracker.told(&[key]);
        }
    }
    server.stop();
}

#[test]
fn a_cache_is_never_out_of_date_for_good() {
    for cores in [1, 2, 4] {
        let dir = Scratch::new();
        let server = server(&dir, cores);
        let names: Vec<String> = (0..12).map(|n| format!("name{n}")).collect();
        let mut writers: Vec<Client<TcpStream>> = (0..3).map(|_| server.client()).collect();
        let mut caches: Vec<(Tracker, BTreeMap<String, Reply>)> = (0..4)
            .map(|n| {
                (
                    Tracker::new(&server, [&["on"][..], &["on", "bcast"]][n % 2]),
                    BTreeMap::new(),
                )
            })
            .collect();
        let mut rng = SeededRng::new(u64::from(cores));
        for _ in 0..150 {
            // Everybody sends first, then everybody reads: reads and writes meet in any order.
            let mut asked = Vec::new();
            for (tracker, _) in &mut caches {
                let read: Vec<&String> = (0..rng.below(20)).map(|_| &names[rng.below(12) as usize]).collect();
                let pipeline: Vec<u8> = read.iter().flat_map(|name| request(&["GET", name])).collect();
                tracker.conn.send(&pipeline).unwrap();
                asked.push(read);
            }
            let writes: Vec<u64> = writers.iter().map(|_| rng.below(8)).collect();
            for (writer, count) in writers.iter_mut().zip(&writes) {
                let pipeline: Vec<u8> = (0..*count)
                    .flat_map(|_| request(&["INCR", &names[rng.below(12) as usize]]))
                    .collect();
                writer.send(&pipeline).unwrap();
            }
            for ((tracker, cache), asked) in caches.iter_mut().zip(asked) {
                for name in asked {
                    let mut reply = tracker.conn.reply().unwrap();
                    while let Reply::Push(_) = reply {
                        forget(cache, &reply);
                        reply = tracker.conn.reply().unwrap();
                    }
                    cache.insert(name.clone(), reply);
                }
            }
            for (writer, count) in writers.iter_mut().zip(writes) {
                (0..count).for_each(|_| assert!(matches!(writer.reply().unwrap(), Reply::Integer(_))));
            }
        }
        // Behind a change of a key of each core there is nothing under way.
        for (tracker, cache) in &mut caches {
            for fence in keys(cores) {
                tracker.call(&["GET", &fence]);
                writers[0].ok(&["SET", &fence, "x"]);
                loop {
                    let push = tracker.push();
                    // In broadcast mode it may tell of others that have changed in the same turn.
                    forget(cache, &push);
                    if told_of(&push).contains(&fence) {
                        break;
                    }
                }
            }
            for (name, value) in cache {
                assert_eq!(&writers[0].call(&["GET", name]), value, "{name}, with {cores} cores");
            }
        }
        server.stop();
    }
}

fn told_of(push: &Reply) -> Vec<String> {
    match push {
        Reply::Push(parts) => match &parts[1] {
            Reply::Array(keys) => keys.iter().map(Reply::text).collect(),
            other => panic!("told of {other:?}"),
        },
        other => panic!("{other:?} is no push"),
    }
}

fn forget(cache: &mut BTreeMap<String, Reply>, push: &Reply) {
    for key in told_of(push) {
        cache.remove(&key);
    }
}

#[test]
fn clients_in_broadcast_mode_are_told_of_their_prefixes_once_a_turn() {
    for cores in [1, 2, 4] {
        let dir = Scratch::new();
        let server = server(&dir, cores);
        let mut writer = server.client();
        let mut tracker = Tracker::new(&server, &["on", "bcast", "prefix", "k", "prefix", "other:"]);
        let mut loops = Tracker::new(&server, &["on", "bcast", "noloop"]);
        for key in keys(cores) {
            writer.ok(&["SET", "x", "1"]);
            loops.told(&["x"]);
            writer.ok(&["SET", &key, "1"]);
            tracker.told(&[&key]);
            loops.told(&[&key]);
            loops.call(&["SET", &key, "2"]);
            tracker.told(&[&key]);
            writer.ok(&["SET", "other:1", "1"]);
            tracker.told(&["other:1"]);
            loops.told(&["other:1"]);
        }
        assert_eq!(writer.info("tracking_clients"), "2");
        assert_eq!(writer.info("tracking_total_keys"), "0");
        tracker.call(&["CLIENT", "TRACKING", "off"]);
        tracker.call(&["CLIENT", "TRACKING", "on"]);
        writer.ok(&["SET", "k1", "1"]);
        tracker.told_no_more(&mut writer, "k2");
        server.stop();
    }
}

#[test]
fn a_client_says_what_it_keeps() {
    for cores in [1, 2] {
        let dir = Scratch::new();
        let server = server(&dir, cores);
        let mut writer = server.client();
        for key in keys(cores) {
            let other = format!("{{{key}}}other");
            let (mut opt_in, mut opt_out) = (
                Tracker::new(&server, &["on", "optin"]),
                Tracker::new(&server, &["on", "optout"]),
            );
            for (tracker, word, kept, not_kept) in
                [(&mut opt_in, "yes", &key, &other), (&mut opt_out, "no", &other, &key)]
            {
                // All at once, on one core or two: it is about the next command, whenever that is carried out.
                let pipeline = [
                    request(&["SET", "z", "1"]),
                    request(&["CLIENT", "CACHING", word]),
                    request(&["GET", &key]),
                    request(&["GET", &other]),
                ];
                tracker.conn.send(&pipeline.concat()).unwrap();
                (0..4).for_each(|_| assert!(!tracker.reply().is_error()));
                writer.ok(&["SET", not_kept, "1"]);
                writer.ok(&["SET", kept, "1"]);
                tracker.told(&[kept]);
            }
            // It is about a whole transaction.
            for words in [
                &["CLIENT", "CACHING", "yes"][..],
                &["MULTI"],
                &["GET", &key],
                &["GET", &other],
                &["EXEC"],
                &["GET", "x"],
            ] {
                assert!(!opt_in.call(words).is_error());
            }
            writer.ok(&["SET", "x", "1"]);
            for key in [&key, &other] {
                writer.ok(&["SET", key, "2"]);
                opt_in.told(&[key]);
            }
            assert!(opt_in.call(&["CLIENT", "CACHING", "no"]).is_error());
            // What it changes itself it knows.
            let mut no_loop = Tracker::new(&server, &["on", "noloop"]);
            no_loop.call(&["MGET", &key, &other]);
            no_loop.call(&["SET", &key, "3"]);
            writer.ok(&["SET", &other, "3"]);
            no_loop.told(&[&other]);
            // Unless it has read it since.
            for words in [&["MULTI"][..], &["SET", &key, "4"], &["GET", &key], &["EXEC"]] {
                no_loop.call(words);
            }
            writer.ok(&["SET", &key, "5"]);
            no_loop.told(&[&key]);
        }
        server.stop();
    }
}

#[test]
fn what_one_client_is_told_can_go_to_another_of_any_core() {
    for cores in [1, 2, 4] {
        let dir = Scratch::new();
        let server = server(&dir, cores);
        let mut writer = server.client();
        let listeners = (0..cores).map(|_| {
            let mut listener = server.client();
            let id = listener.ok(&["CLIENT", "ID"]).text();
            listener.ok(&["SUBSCRIBE", "__redis__:invalidate"]);
            (id, listener)
        });
        let mut listeners: Vec<_> = listeners.collect();
        let message = |keys: Reply| Reply::Array(vec![bulk("message"), bulk("__redis__:invalidate"), keys]);
        for (id, listener) in &mut listeners {
            let mut reader = server.client();
            // What follows at once is read in the new mode.
            let keys = keys(cores);
            let mut pipeline = request(&["CLIENT", "TRACKING", "on", "REDIRECT", id]);
            keys.iter().for_each(|key| pipeline.extend(request(&["GET", key])));
            reader.send(&pipeline).unwrap();
            assert_eq!(reader.reply().unwrap(), ok());
            keys.iter().for_each(|_| drop(reader.reply().unwrap()));
            for key in &keys {
                writer.ok(&["SET", key, "1"]);
                assert_eq!(listener.reply().unwrap(), message(Reply::Array(vec![bulk(key)])));
            }
            assert_eq!(reader.call(&["CLIENT", "GETREDIR"]).text(), *id);
            writer.ok(&["FLUSHALL"]);
            assert_eq!(listener.reply().unwrap(), message(Reply::Nil));
        }
        // It is gone: whoever understands pushes is told so.
        let (id, listener) = listeners.pop().unwrap();
        let mut reader = Tracker::new(&server, &["on", "redirect", &id]);
        assert_eq!(writer.call(&["CLIENT", "KILL", "ID", &id]), Reply::Integer(1));
        drop(listener);
        for key in keys(cores) {
            reader.call(&["GET", &key]);
            // It may still be closing.
            while reader.pushes.is_empty() {
                writer.ok(&["INCR", &key]);
                reader.call(&["GET", &key]);
            }
            let broken = vec![bulk("tracking-redir-broken"), Reply::Integer(id.parse().unwrap())];
            assert_eq!(reader.push(), Reply::Push(broken));
            reader.pushes.clear();
        }
        let info = reader.call(&["CLIENT", "TRACKINGINFO"]);
        let flags = Reply::Array(vec![bulk("on"), bulk("broken_redirect")]);
        assert!(matches!(&info, Reply::Map(parts) if parts[1] == flags), "{info:?}");
        let refused = reader.call(&["CLIENT", "TRACKING", "on", "REDIRECT", &id]);
        assert!(refused.text().contains("does not exist"), "{refused:?}");
        server.stop();
    }
}

#[test]
fn who_keeps_copies_is_told_that_all_keys_are_gone() {
    for cores in [1, 2, 4] {
        let dir = Scratch::new();
        let server = server(&dir, cores);
        let mut writer = server.client();
        let mut trackers = [Tracker::new(&server, &["on"]), Tracker::new(&server, &["on", "bcast"])];
        let keys = keys(cores);
        for key in &keys {
            writer.ok(&["SET", key, "1"]);
            trackers[0].call(&["GET", key]);
            trackers[1].told(&[key]);
        }
        writer.ok(&["FLUSHALL"]);
        for tracker in &mut trackers {
            assert_eq!(tracker.push(), Reply::Push(vec![bulk("invalidate"), Reply::Nil]));
        }
        server.stop();
    }
}

#[test]
fn the_table_of_copies_is_bounded() {
    for cores in [1, 2] {
        let dir = Scratch::new();
        let server = server(&dir, cores);
        let mut admin = server.client();
        let limit = 4 * u64::from(cores);
        admin.ok(&["CONFIG", "SET", "tracking-table-max-keys", &limit.to_string()]);
        let mut tracker = Tracker::new(&server, &["on"]);
        let names: Vec<String> = (0..100).map(|n| format!("name{n}")).collect();
        for name in &names {
            tracker.call(&["GET", name]);
        }
        // It is told of what is given up as if it had changed.
        let kept = loop {
            let kept: u64 = admin.info("tracking_total_keys").parse().unwrap();
            if kept <= limit {
                break kept;
            }
        };
        let told: std::collections::BTreeSet<String> = (0..100 - kept).flat_map(|_| told_of(&tracker.push())).collect();
        assert_eq!(told.len() as u64, 100 - kept);
        assert!(told.iter().all(|name| names.contains(name)));
        server.stop();
    }
}
