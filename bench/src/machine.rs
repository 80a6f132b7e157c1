//! [`Machine`] and [`ServerFacts`]: where and with what figures were taken. Without it they mean nothing.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use redis_protocol::resp2::types::OwnedFrame;
use serde::{Deserialize, Serialize};
use slotcore_rt::process::kernel_release;

use crate::ask::{Asker, text};
use stolen::Stolen;

pub mod stolen;

/// The machine and the source tree.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Commit of the working tree the program was started in, `+` behind it when there were changes; empty outside one.
    pub commit: String,
    /// As `uname -r`.
    pub kernel: String,
    /// Model of the processor.
    pub processor: String,
    /// Processors of the machine.
    pub processors: usize,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// File system and device of the directory measured in, such as `ext4 on /dev/vda`.
    pub disk: String,
    /// What others had of its processors meanwhile, where somebody looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stolen: Option<Stolen>,
}

impl Machine {
    /// This one, with the disk of `dir`, or of its nearest parent that exists.
    pub fn here(dir: &Path) -> Self {
        let git = |args: &[&str]| {
            let run = Command::new("git")
                .args(args)
                .output()
                .ok()
                .filter(|run| run.status.success());
            run.map(|run| String::from_utf8_lossy(&run.stdout).trim().to_owned())
        };
        let changed = git(&["status", "--porcelain", "-uno"]).is_some_and(|files| !files.is_empty());
        let mut commit = git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_default();
        if changed {
            commit.push('+');
        }
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let of = |name: &'static str| info.lines().filter(move |line| line.starts_with(name));
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kib = |line: &str| line.split_whitespace().nth(1)?.parse::<u64>().ok();
        Self {
            commit,
            kernel: kernel_release(),
            processor: of("model name")
                .next()
                .and_then(|line| line.split_once(':'))
                .map(|(_, name)| name.trim().to_owned())
                .unwrap_or_default(),
            processors: of("processor").count(),
            memory_bytes: memory.lines().next().and_then(kib).unwrap_or(0) * 1024,
            disk: disk(dir, &fs::read_to_string("/proc/self/mountinfo").unwrap_or_default()),
            stolen: None,
        }
    }

    /// One line about it.
    pub fn line(&self) -> String {
        let commit = if self.commit.is_empty() {
            "unknown"
        } else {
            &self.commit
        };
        let gib = self.memory_bytes as f64 / f64::from(1 << 30);
        let stolen = self
            .stolen
            .map_or_else(String::new, |stolen| format!("; {}", stolen.line()));
        format!(
            "commit {commit}, Linux {}, {} x {}, {gib:.0} GiB, {}{stolen}",
            self.kernel, self.processors, self.processor, self.disk
        )
    }
}

/// File system and device of the mount that holds `dir`. Format of `mounts`: proc_pid_mountinfo(5).
fn disk(dir: &Path, mounts: &str) -> String {
    let place = dir.ancestors().find_map(|dir| {
        // The empty path stands for the working directory.
        let dir = if dir.as_os_str().is_empty() {
            Path::new(".")
        } else {
            dir
        };
        fs::canonicalize(dir).ok()
    });
    let mount = mounts.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let point = before.split(' ').nth(4)?;
        let mut kind = after.split(' ');
        let (system, device) = (kind.next()?, kind.next()?);
        place
            .as_ref()?
            .starts_with(point)
            .then(|| (point.len(), format!("{system} on {device}")))
    });
    // The last of the longest is the one on top.
    mount
        .max_by_key(|mount| mount.0)
        .map(|mount| mount.1)
        .unwrap_or_default()
}

/// Settings that decide what a write costs.
const SETTINGS: &[&str] = &[
    "durability",
    "appendonly",
    "appendfsync",
    "save",
    "io-threads",
    "maxmemory",
    "cluster-enabled",
];

/// What a server says about itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerFacts {
    /// Fields of `INFO` that name it and its version.
    pub version: BTreeMap<String, String>,
    /// The settings that decide what a write costs.
    pub settings: BTreeMap<String, String>,
}

impl ServerFacts {
    /// Of the server at `addr`. A server that does not know `INFO` or `CONFIG` has none.
    ///
    /// # Errors
    /// The connection broke.
    pub fn ask(addr: SocketAddr, password: Option<&str>) -> io::Result<Self> {
        let mut asker = Asker::connect(addr)?;
        if let Some(password) = password {
            asker.demand(&["AUTH", password])?;
        }
        let info = text(&asker.ask(&["INFO", "server"])?);
        let version = info
            .lines()
            .filter_map(|line| line.split_once(':'))
            .filter(|(name, _)| name.ends_with("_version") || *name == "redis_mode" || *name == "server_name")
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        let mut settings = BTreeMap::new();
        for &name in SETTINGS {
            if let OwnedFrame::Array(pair) = asker.ask(&["CONFIG", "GET", name])?
                && let [_, value] = &pair[..]
            {
                settings.insert(name.to_owned(), text(value));
            }
        }
        Ok(Self { version, settings })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_is_that_of_the_innermost_mount() {
        let mounts = "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
                      23 22 0:21 / /proc rw - proc proc rw\n\
                      24 22 0:30 / /proc/self rw - tmpfs none rw\n";
        assert_eq!(disk(Path::new("/no/such/place"), mounts), "ext4 on /dev/vda");
        assert_eq!(disk(Path::new("/proc/sys"), mounts), "proc on proc");
        assert_eq!(disk(Path::new("nowhere"), ""), "");
    }

    #[test]
    fn this_machine_has_a_kernel_and_a_processor() {
        let machine = Machine::here(Path::new("."));
        assert!(!machine.kernel.is_empty() && machine.processors > 0 && machine.memory_bytes > 1 << 20);
        assert!(machine.line().contains(&machine.kernel));
    }
}
