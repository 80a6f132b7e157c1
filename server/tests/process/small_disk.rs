//! Disks that are small, and disks that fill up: a file system of the test's own, where the machine lets us mount one.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::PATIENCE;
use crate::client::{Client, Reply, request};
use crate::scratch::Scratch;
use crate::server::Server;

/// Bytes of each value written while the disk fills.
const VALUE_BYTES: usize = 100_000;
/// Space that is given back when the disk is to have room again, in bytes.
const BALLAST_BYTES: u64 = 20 << 20;

/// A mounted file system, unmounted at the end.
struct SmallDisk {
    scratch: Scratch,
}

#[derive(Clone, Copy)]
enum FileSystem {
    /// In memory.
    Tmpfs,
    /// In a file, as a real disk would be.
    Ext4,
}

impl SmallDisk {
    /// A disk of `mib` MiB; `None`, with the reason printed, when this machine does not let us.
    fn mount(kind: FileSystem, mib: u64) -> Option<Self> {
        let disk = Self {
            scratch: Scratch::new(),
        };
        fs::create_dir(disk.path()).unwrap();
        let size = format!("size={mib}m");
        let mounted = match kind {
            FileSystem::Tmpfs => {
                let args = ["-t", "tmpfs", "-o", &size, "tmpfs"].map(Path::new);
                run("mount", &args, &disk)
            }
            FileSystem::Ext4 => {
                let image = disk.scratch.join("image");
                fs::File::create(&image).unwrap().set_len(mib << 20).unwrap();
                let made = Command::new("mkfs.ext4")
                    .args(["-q", "-F", "-m", "0"])
                    .arg(&image)
                    .status();
                made.is_ok_and(|status| status.success())
                    && run("mount", &["-o".as_ref(), "loop".as_ref(), image.as_ref()], &disk)
            }
        };
        if !mounted {
            eprintln!("left out: no file system can be mounted here (root is needed, and loop devices for ext4)");
        }
        mounted.then_some(disk)
    }

    fn path(&self) -> PathBuf {
        self.scratch.join("disk")
    }

    fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// Takes space away.
    fn add_ballast(&self) {
        fs::write(self.path().join("ballast"), vec![1; BALLAST_BYTES as usize]).unwrap();
    }

    /// Gives it back.
    fn drop_ballast(&self) {
        fs::remove_file(self.path().join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Fails when it was never mounted.
        let _ = Command::new("umount").arg(self.path()).stderr(Stdio::null()).status();
    }
}

/// Runs a program with the disk's directory as its last argument; whether it succeeded.
fn run(program: &str, args: &[&Path], disk: &SmallDisk) -> bool {
    let mut command = Command::new(program);
    command.args(args).arg(disk.path()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Sets `key:<n>` to a big value.
fn put<S: Read + Write>(client: &mut Client<S>, n: usize) -> Reply {
    client.call(&["SET", &format!("key:{n}"), &value(n)])
}

fn value(n: usize) -> String {
    format!("{n:010}").repeat(VALUE_BYTES / 10)
}

/// Writes from `from` on until a write is refused; the number of the refused one.
fn fill<S: Read + Write>(client: &mut Client<S>, from: usize) -> usize {
    for n in from.. {
        match put(client, n) {
            Reply::Simple(_) => {}
            Reply::Error(text) => {
                assert!(
                    text.starts_with("MISCONF ") && text.contains("No space left on device"),
                    "{text}"
                );
                return n;
            }
            other => panic!("{other:?}"),
        }
        assert!(n < 10_000, "the disk never gets full");
    }
    unreachable!("the range has no end")
}

/// Fills the disk, gives space back, and looks at everything that was promised.
fn fills_and_recovers(kind: FileSystem, mode: &str) {
    let Some(disk) = SmallDisk::mount(kind, 64) else { return };
    disk.add_ballast();
    let options = ["--segment-bytes", "1mb", "--durability", mode];
    let mut server = Server::start(&disk.data(), &options);
    let mut client = server.client();
    let full = fill(&mut client, 0);
    assert!(full > 50, "only {full} values fitted");
    server.next_line_with("the disk is full").expect("the log says it");
    assert!(put(&mut client, full).is_error(), "it stays full");

    // Reads go on, in order with what is refused; nothing refused was executed.
    let mut pipelined = server.client();
    let mut bytes = request(&["GET", "key:0"]);
    bytes.extend(request(&["SET", "key:0", "x"]));
    bytes.extend(request(&["DEL", "key:0"]));
    bytes.extend(request(&["GET", "key:0"]));
    pipelined.send(&bytes).unwrap();
    let replies: Vec<Reply> = (0..4).map(|_| pipelined.reply().unwrap()).collect();
    assert_eq!(replies[0], Reply::Bulk(value(0).into_bytes()));
    assert!(replies[1].is_error() && replies[2].is_error(), "{replies:?}");
    assert_eq!(replies[3], replies[0]);
    assert_eq!(client.ok(&["DBSIZE"]), Reply::Integer(full as i64));

    disk.drop_ballast();
    let began = Instant::now();
    while put(&mut client, full).is_error() {
        assert!(
            began.elapsed() < PATIENCE,
            "writes stay refused although there is space"
        );
    }
    server
        .next_line_with("there is disk space again")
        .expect("the log says it");
    let full_again = fill(&mut client, full + 1);
    assert!(full_again > full + 50, "only {} values found room", full_again - full);
    let digest = client.ok(&["DEBUG", "DIGEST"]);
    match mode {
        "always" => drop(server.kill()),
        _ => server.stop(),
    }

    // A log goes on in a new file: on a full disk the start says what is missing, and harms nothing.
    let ended = Server::refused(&disk.data(), &options);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
    for words in ["is full", "free some space", "--dir"] {
        assert!(ended.log.contains(words), "'{words}' is not said:\n{}", ended.log);
    }
    let bigger = Scratch::new();
    let copied = Command::new("cp")
        .arg("-r")
        .arg(disk.data())
        .arg(bigger.path())
        .status();
    assert!(copied.unwrap().success());
    let server = Server::start(&bigger.join("data"), &options);
    let mut client = server.client();
    assert_eq!(client.ok(&["DEBUG", "DIGEST"]), digest);
    for n in [0, full - 1, full, full_again - 1] {
        assert_eq!(
            client.ok(&["GET", &format!("key:{n}")]),
            Reply::Bulk(value(n).into_bytes()),
            "{n}"
        );
    }
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_space_in_always() {
    fills_and_recovers(FileSystem::Ext4, "always");
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_space_in_everysec() {
    fills_and_recovers(FileSystem::Tmpfs, "everysec");
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_space_in_off() {
    fills_and_recovers(FileSystem::Tmpfs, "off");
}

#[test]
fn a_disk_without_room_for_the_first_file_is_refused() {
    let Some(disk) = SmallDisk::mount(FileSystem::Tmpfs, 8) else {
        return;
    };
    let ended = Server::refused(&disk.data(), &[]);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
    let name = disk.data();
    for words in [name.to_str().unwrap(), "is full", "at least 67108864 bytes", "--dir"] {
        assert!(ended.log.contains(words), "'{words}' is not said:\n{}", ended.log);
    }
    // A smaller file fits.
    let server = Server::start(&disk.data(), &["--segment-bytes", "1mb"]);
    assert!(!server.client().ok(&["SET", "k", "v"]).is_error());
    server.stop();
}

#[test]
fn a_disk_of_512_mib_is_enough_as_it_comes() {
    let Some(disk) = SmallDisk::mount(FileSystem::Tmpfs, 512) else {
        return;
    };
    // With the default size of segments; started twice, because each start begins a new one.
    for start in 0..2 {
        let server = Server::start(&disk.data(), &[]);
        let mut client = server.client();
        for n in 0..100 {
            assert_eq!(put(&mut client, n), Reply::Simple("OK".into()), "start {start}");
        }
        server.stop();
    }
}
