//! A node of a cluster that was away for longer than the others' logs go back.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::TcpStream;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use crate::PATIENCE;
use crate::client::{Client, Reply};
use crate::cluster::{Cluster, Follower, wait_until};
use crate::damaged_copies::check;

/// Keys are flushed after every 2 MiB of log or so.
const SMALL: &[&str] = &["--segment-bytes", "1mb", "--log-target", "8mb"];
/// Values of this many bytes, under so many keys: less than comes between two flushes.
const VALUE_BYTES: usize = 32 << 10;
const KEYS: usize = 40;
/// Flushes of each node after which its log has forgotten what was before the first.
const FLUSHES: u64 = 3;

/// What the log of a node may take for longer, in bytes: about three times the data of these tests, which is more than the target, and some
/// files that are prepared.
const LOG_BYTES_MAX: u64 = 32 << 20;

fn log_bytes(cluster: &Cluster, node: usize) -> u64 {
    let files = fs::read_dir(cluster.node_dir(node).join("core-0/log")).unwrap();
    // Segments come and go meanwhile.
    files.filter_map(|file| Some(file.ok()?.metadata().ok()?.len())).sum()
}

/// How often a node has flushed since it was started.
fn flushes(client: &mut Client<TcpStream>) -> u64 {
    client.info("flushes").parse().unwrap()
}

/// The names of what is in a folder; files come and go meanwhile.
fn files_in(folder: &Path) -> impl Iterator<Item = String> {
    let files = fs::read_dir(folder).into_iter().flatten();
    files.filter_map(|file| file.ok()?.file_name().into_string().ok())
}

/// Whether another node than number `me` has made a file: the upper bits of its number say so.
fn is_of_another(name: &str, me: u64) -> bool {
    let number = name.split('.').next().and_then(|number| number.parse::<u64>().ok());
    number.is_some_and(|number| number >> 48 != me)
}

/// Sets a key, again if the node that was asked cannot tell whether it has: the leader may change at any time.
fn set(client: &mut Follower, key: &str, value: &str) {
    let until = Instant::now() + PATIENCE;
    loop {
        match client.call(&["SET", key, value]) {
            Reply::Error(error) => assert!(Instant::now() < until, "{error}"),
            _ => return,
        }
    }
}

/// Writes until the log of each of `nodes` has forgotten what was in it.
fn outgrow_the_log(cluster: &Cluster, client: &mut Follower, nodes: &[usize]) {
    let mut watched: Vec<Client<TcpStream>> = nodes
        .iter()
        .map(|&node| Client::connect(cluster.core_port(node, 0)))
        .collect();
    let before: Vec<u64> = watched.iter_mut().map(flushes).collect();
    let mut enough = false;
    let (mut number, mut written) = (0, 0);
    // Who leads keeps its log until it has handed over, which may take two tries of a second, and everybody keeps it from the
    // flush before the last: this writes tens of megabytes in that time. With what comes then it must go back.
    let mut large_since = None;
    while written < 2 * LOG_BYTES_MAX || large_since.is_some() || !enough {
        let (key, value) = (format!("k:{}", number % KEYS), format!("{number:0>VALUE_BYTES$}"));
        set(client, &key, &value);
        let flushed = |(client, before): (&mut Client<TcpStream>, &u64)| flushes(client) >= before + FLUSHES;
        enough = enough || watched.iter_mut().zip(&before).all(flushed);
        let largest = nodes.iter().map(|&node| log_bytes(cluster, node)).max().unwrap_or(0);
        match largest > LOG_BYTES_MAX {
            true => {
                let since = *large_since.get_or_insert_with(Instant::now);
                assert!(since.elapsed() < PATIENCE, "a log has {largest} bytes");
            }
            false => large_since = None,
        }
        number += 1;
        written += VALUE_BYTES as u64;
        assert!(number < 20_000, "nothing is flushed");
    }
}

/// What each node has.
fn digests(cluster: &Cluster) -> BTreeSet<String> {
    let digest = |node| {
        Client::connect(cluster.core_port(node, 0))
            .ok(&["DEBUG", "DIGEST"])
            .text()
    };
    cluster.running().into_iter().map(digest).collect()
}

fn wait_until_all_agree(cluster: &Cluster) {
    wait_until("the nodes have the same keys", || digests(cluster).len() == 1);
}

#[test]
fn a_node_that_was_away_for_longer_than_the_log_gets_a_snapshot_whenever_it_is_killed() {
    let mut cluster = Cluster::prepare_with(3, 1, SMALL);
    (0..3).for_each(|node| cluster.start_node(node));
    let mut client = cluster.client();
    for words in [
        &["SADD", "set", "a", "b", "1"][..],
        &["ZADD", "zset", "1", "a", "2", "b"],
        &["HSET", "hash", "f", "v"],
        &["RPUSH", "list", "a", "b", "c"],
        &["SET", "volatile", "v", "EX", "100000"],
    ] {
        assert!(!client.call(words).is_error(), "{words:?}");
    }
    cluster.stop_node(2);
    outgrow_the_log(&cluster, &mut client, &[0, 1]);

    // Killed at once, when it has found the others, when a snapshot begins to come, and when it is being installed.
    cluster.start_node(2);
    cluster.kill_node(2);
    cluster.start_node(2);
    cluster.wait_for_line(2, "linked with another node");
    cluster.kill_node(2);
    // If the machine stands still for long enough it has all of it by then.
    let core = cluster.node_dir(2).join("core-0");
    let comes = || files_in(&core.join("snapshot")).next().is_some();
    let is_installed = || files_in(&core.join("store")).any(|name| is_of_another(&name, 3));
    for has_begun in [&comes as &dyn Fn() -> bool, &is_installed] {
        cluster.start_node(2);
        wait_until("a snapshot comes, and is installed", || {
            has_begun() || digests(&cluster).len() == 1
        });
        cluster.kill_node(2);
    }
    cluster.start_node(2);
    wait_until_all_agree(&cluster);

    // What it has got is as good as what others have: it can lead with it, also after all were killed.
    assert_eq!(client.call(&["INCR", "n"]), Reply::Integer(1));
    (0..3).for_each(|node| drop(cluster.kill_node(node)));
    (1..3).for_each(|node| cluster.start_node(node));
    assert_eq!(client.call(&["INCR", "n"]), Reply::Integer(2));
    assert_eq!(client.call(&["LINDEX", "list", "1"]), Reply::Bulk(b"b".to_vec()));
    cluster.start_node(0);
    wait_until_all_agree(&cluster);

    // A directory that has another node's files, and a log that begins behind them, is sound.
    cluster.stop_node(2);
    let (code, said) = check(&cluster.node_dir(2));
    assert_eq!(code, Some(0), "{said}");
}

/// Keys of which a snapshot is a few MiB, and goes in many parts.
const MANY_KEYS: usize = 150;
/// Keys written while a node catches up.
const LOAD_KEYS: usize = 50;

#[test]
fn a_node_catches_up_under_load_although_whoever_sends_it_a_snapshot_is_killed() {
    let mut cluster = Cluster::prepare_with(3, 1, SMALL);
    (0..3).for_each(|node| cluster.start_node(node));
    let mut client = cluster.client();
    // A new cluster begins when all of it is there.
    cluster.leader_of(0);
    cluster.stop_node(2);
    let value = "v".repeat(VALUE_BYTES);
    for number in 0..MANY_KEYS {
        set(&mut client, &format!("many:{number}"), &value);
    }
    outgrow_the_log(&cluster, &mut client, &[0, 1]);

    let (ended, written) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut writer = cluster.client();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                let number = written.fetch_add(1, Ordering::Relaxed);
                let key = format!("under load:{}", number as usize % LOAD_KEYS);
                set(&mut writer, &key, &number.to_string());
            }
        });
        // With two of three there is no majority without the one that is behind: it must take part at once, and get its
        // snapshot from whoever leads by then.
        let leader = cluster.leader_of(0);
        cluster.start_node(2);
        cluster.wait_for_line(2, "linked with another node");
        cluster.kill_node(leader);
        cluster.start_node(leader);
        cluster.wait_for_line(2, "a snapshot from the leader was installed");
        let then = written.load(Ordering::Relaxed);
        wait_until("clients go on", || {
            written.load(Ordering::Relaxed) > then + 2 * LOAD_KEYS as u64
        });
        ended.store(true, Ordering::Relaxed);
    });
    wait_until_all_agree(&cluster);
    // And the key by which the leader was found.
    let keys = KEYS + MANY_KEYS + LOAD_KEYS + 1;
    assert_eq!(client.call(&["DBSIZE"]), Reply::Integer(keys as i64));
}

/// Changes a byte of each page of a node's blob files, or changes it back. Where files lie does not change.
fn flip_blobs(cluster: &Cluster, node: usize) {
    let folder = cluster.node_dir(node).join("core-0/store");
    for name in files_in(&folder).filter(|name| name.ends_with(".blob")) {
        let file = File::options().read(true).write(true).open(folder.join(name)).unwrap();
        for at in (100..file.metadata().unwrap().len()).step_by(4096) {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[!byte[0]], at).unwrap();
        }
    }
}

#[test]
fn files_that_are_damaged_where_they_come_from_are_not_kept_and_stop_nobody() {
    let mut cluster = Cluster::prepare_with(3, 1, SMALL);
    (0..3).for_each(|node| cluster.start_node(node));
    let mut client = cluster.client();
    set(&mut client, "k", "v");
    cluster.stop_node(2);
    outgrow_the_log(&cluster, &mut client, &[0, 1]);
    // What is merged is read by those who have it, too.
    for node in [0, 1] {
        let folder = cluster.node_dir(node).join("core-0/store");
        let mut watched = Client::connect(cluster.core_port(node, 0));
        let (mut seen, mut quiet) = ((String::new(), BTreeSet::new()), 0);
        wait_until("files come and go", || {
            let now = (watched.info("merges"), files_in(&folder).collect());
            let before = std::mem::replace(&mut seen, now);
            quiet = if before == seen { quiet + 1 } else { 0 };
            quiet == 2000
        });
    }
    (0..2).for_each(|node| flip_blobs(&cluster, node));
    cluster.start_node(2);
    cluster.wait_for_line(2, "cannot be kept");
    // Others are served, and what has come is gone.
    set(&mut client, "k", "w");
    (0..2).for_each(|node| flip_blobs(&cluster, node));
    cluster.wait_for_line(2, "a snapshot from the leader was installed");
    wait_until_all_agree(&cluster);
    let (code, said) = {
        cluster.stop_node(2);
        check(&cluster.node_dir(2))
    };
    assert_eq!(code, Some(0), "{said}");
}
