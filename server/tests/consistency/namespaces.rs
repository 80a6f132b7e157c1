//! [`Namespaces`]: a network namespace for each node and one bridge between them, so that single directions between two nodes
//! can be cut while clients, who sit at the bridge, reach every node; and a small disk for each.
//!
//! A direction is cut by a wrong hardware address for the receiver in the sender's table: its packets leave and nobody takes
//! them. That needs no firewall, is silent as a broken cable is, and works for connections that are there already.
//!
//! Needs root, the program `ip`, and a kernel that lets us; the test is ignored without `.ci/cluster-faults`.

use std::cell::RefCell;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cluster::{Cluster, Place};
use crate::faults::Fault;
use crate::run::{fault_count, run, seeds};

/// Nodes, and so namespaces.
const NODES: usize = 3;
/// Nobody has this hardware address.
const NOBODY: &str = "02:00:00:00:00:01";
/// Room on each node's disk, in MiB: for what a run writes, and then some.
const DISK_MIB: u64 = 1_500;
/// Each start of a node begins a new file of the log for each core: with files of the usual size a long run would fill the disks by
/// itself.
const SEGMENT_BYTES: &str = "1mb";
/// What each core's log may take: so little that keys are flushed, logs forget, and nodes that were away are sent files.
const LOG_TARGET: &str = "8mb";
/// Faults when nobody asks for more.
const FAULTS: usize = 30;
/// After so many there is another cluster, and what the one before was told is checked: disks and histories stay small.
const FAULTS_OF_A_CLUSTER: usize = 50;

/// See the module. All of it goes away when dropped.
pub struct Namespaces {
    /// Begins the names of all devices and namespaces; at most 15 bytes with what follows.
    name: String,
    /// The second number of all addresses, 10.x.0.y.
    net: u32,
    /// Where disks are mounted.
    disks: RefCell<Vec<PathBuf>>,
}

fn ip(words: &str) -> bool {
    let output = Command::new("ip").args(words.split(' ')).stdin(Stdio::null()).output();
    output.is_ok_and(|output| output.status.success())
}

impl Namespaces {
    /// Sets them up; `None` where this is not permitted.
    pub fn set_up() -> Option<Self> {
        let id = std::process::id();
        let it = Self {
            name: format!("sc{}", id % 100_000),
            net: 64 + id % 64,
            disks: RefCell::default(),
        };
        let (name, net) = (&it.name, it.net);
        let bridge = ip(&format!("link add {name} type bridge"))
            && ip(&format!("addr add 10.{net}.0.254/24 dev {name}"))
            && ip(&format!("link set {name} up"));
        let node = |n: usize| {
            let (space, outer, inner) = (it.space(n), format!("{name}o{n}"), format!("{name}i{n}"));
            ip(&format!("netns add {space}"))
                && ip(&format!("link add {outer} type veth peer name {inner}"))
                && ip(&format!("link set {inner} netns {space}"))
                && ip(&format!("link set {outer} master {name}"))
                && ip(&format!("link set {outer} up"))
                && ip(&format!("-n {space} link set lo up"))
                && ip(&format!("-n {space} addr add {}/24 dev {inner}", it.host(n)))
                && ip(&format!("-n {space} link set {inner} up"))
        };
        // What was set up in part goes away with `it`.
        (bridge && (0..NODES).all(node)).then_some(it)
    }

    fn space(&self, node: usize) -> String {
        format!("{}n{node}", self.name)
    }

    fn host(&self, node: usize) -> IpAddr {
        [10, self.net as u8, 0, node as u8 + 1].into()
    }

    /// Where the nodes run.
    pub fn places(&self) -> Vec<Place> {
        let place = |node| Place {
            host: self.host(node),
            before: ["ip", "netns", "exec", &self.space(node)].map(String::from).into(),
            options: ["--segment-bytes", SEGMENT_BYTES, "--log-target", LOG_TARGET]
                .map(String::from)
                .into(),
        };
        (0..NODES).map(place).collect()
    }

    /// What `from` sends `to` is lost.
    pub fn cut(&self, from: usize, to: usize) {
        let (space, device, to) = (self.space(from), format!("{}i{from}", self.name), self.host(to));
        let cut = format!("-n {space} neigh replace {to} lladdr {NOBODY} dev {device} nud permanent");
        assert!(ip(&cut), "{cut}");
    }

    /// `node` and all others do not hear each other.
    pub fn cut_off(&self, node: usize) {
        for other in (0..NODES).filter(|&other| other != node) {
            self.cut(node, other);
            self.cut(other, node);
        }
    }

    /// All hear each other.
    pub fn heal(&self) {
        for from in 0..NODES {
            let (space, device) = (self.space(from), format!("{}i{from}", self.name));
            for to in (0..NODES).filter(|&to| to != from) {
                // There is none when the direction was not cut.
                ip(&format!("-n {space} neigh del {} dev {device}", self.host(to)));
            }
        }
    }

    /// A disk of its own at `dir`; false where this is not permitted.
    fn mount(&self, dir: &Path) -> bool {
        fs::create_dir_all(dir).unwrap();
        let mut command = Command::new("mount");
        command
            .args(["-t", "tmpfs", "-o", &format!("size={DISK_MIB}m"), "tmpfs"])
            .arg(dir);
        let mounted = command.status().is_ok_and(|status| status.success());
        if mounted {
            self.disks.borrow_mut().push(dir.into());
        }
        mounted
    }

    /// Takes the disks away; no process uses them any more.
    fn unmount(&self) {
        // What cannot be undone is left to the machine: the test's result is the other matter.
        for disk in self.disks.take() {
            let _ = Command::new("umount").arg(&disk).status();
            let _ = fs::remove_dir(&disk);
            let _ = disk.parent().map(fs::remove_dir);
        }
    }

    /// Takes all room on a node's disk.
    pub fn fill_disk(&self, dir: &Path) {
        let ballast = fs::File::create(dir.join("ballast")).unwrap();
        let piece = vec![1; 1 << 20];
        while std::io::Write::write_all(&mut &ballast, &piece).is_ok() {}
    }

    /// Gives it back.
    pub fn free_disk(&self, dir: &Path) {
        fs::remove_file(dir.join("ballast")).unwrap();
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        self.unmount();
        for node in 0..NODES {
            ip(&format!("netns del {}", self.space(node)));
        }
        // The devices inside have gone with their namespaces.
        ip(&format!("link del {}", self.name));
    }
}

#[test]
#[ignore = "needs root, and minutes: .ci/cluster-faults"]
fn no_acknowledged_write_is_lost_between_namespaces() {
    // Dropped after the cluster: its processes have ended then.
    let Some(namespaces) = Namespaces::set_up() else {
        println!("left out: this machine does not let us make network namespaces (root and `ip` are needed)");
        return;
    };
    let mut seed = *seeds().last().expect("there is a fresh one at least");
    let mut left = fault_count(FAULTS);
    while left > 0 {
        let count = left.min(FAULTS_OF_A_CLUSTER);
        let mut cluster = Cluster::prepare_at(namespaces.places(), 2);
        if !(0..NODES).all(|node| namespaces.mount(&cluster.node_dir(node))) {
            println!("left out: this machine does not let us mount file systems");
            return;
        }
        (0..NODES).for_each(|node| cluster.start_node(node));
        let test = "namespaces -- --ignored";
        run(test, seed, count, &mut cluster, Some(&namespaces), Fault::of_all);
        drop(cluster);
        namespaces.unmount();
        (seed, left) = (seed + 1, left - count);
    }
}
