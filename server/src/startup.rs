//! What can keep the server from starting, and what to do about each. What `rt` found says so itself; here is what
//! concerns sockets and the log. Texts are tested, because a person reads them at the worst moment.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use slotcore_rt::disk::data_dir::DataDirError;
use slotcore_rt::disk::{DiskError, LayoutError};
use slotcore_rt::kernel::{self, KernelProblem};
use slotcore_rt::process;

use crate::config::{Config, ConfigError};

/// Bytes of locked memory each core's rings need: glommio refuses to start with less than 512 KiB.
pub const MEMLOCK_BYTES_PER_CORE: u64 = 512 << 10;
/// Open files the server needs besides one per client: log segments, rings, eventfds, listeners.
pub const OPEN_FILES_RESERVED: u64 = 100;

/// Why the server did not start, or may not go on. The process prints it and ends with [`StartupError::EXIT_CODE`].
#[derive(Debug)]
pub enum StartupError {
    /// The configuration is wrong.
    Config(ConfigError),
    /// The kernel cannot, or does not let us, do what the server needs.
    Kernel(KernelProblem),
    /// The data directory is in use or unusable.
    DataDir(DataDirError),
    /// Its layout cannot be read.
    Layout(LayoutError),
    /// Somebody listens there already.
    PortTaken {
        /// The option that named the port.
        option: &'static str,
        /// Where.
        address: SocketAddr,
    },
    /// The address cannot be listened on for another reason.
    CannotListen {
        /// The option that named the port.
        option: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// What the node keeps of its cluster cannot be used.
    ClusterFile {
        /// Which file.
        file: PathBuf,
        /// Why not.
        what: String,
    },
    /// The ports of the cores would go beyond 65535.
    PortsBeyondRange {
        /// How many cores there are.
        cores: u16,
    },
    /// The data belong to another cluster, or to a node on its own.
    OtherCluster {
        /// Which directory.
        dir: PathBuf,
    },
    /// It cannot join a cluster.
    NotJoined {
        /// Who was asked.
        at: String,
        /// Why not.
        why: String,
    },
    /// The cluster that it would join has another number of cores.
    OtherCores {
        /// How many.
        cores: u16,
    },
    /// It was a node of a cluster, and was removed.
    Removed {
        /// Its data.
        dir: PathBuf,
    },
    /// A node of the cluster cannot be found.
    UnknownHost {
        /// Its name.
        host: String,
        /// What the system says.
        error: io::Error,
    },
    /// The file system has no O_DIRECT.
    NoDirectIo {
        /// Which directory.
        dir: PathBuf,
    },
    /// Not enough space for the first files of the log.
    DiskFull {
        /// Which directory.
        dir: PathBuf,
        /// Bytes the log needs at least.
        needed_bytes: u64,
    },
    /// The log is damaged in a place where no crash could have left it so.
    CorruptLog {
        /// Which file.
        file: PathBuf,
        /// Where in it, in bytes.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// A file of keys is missing, damaged, or not the one that the log means.
    DamagedStore {
        /// The directory of the core's files.
        dir: PathBuf,
        /// What is wrong, with the file.
        what: String,
    },
    /// The log was written by a version this one does not understand.
    UnknownFormat {
        /// Which file.
        file: PathBuf,
        /// The version found.
        found: u32,
        /// The newest version understood.
        known: u32,
    },
    /// A file of the data directory could not be read or written.
    Disk(DiskError),
    /// A thread or another resource of the system was refused.
    Resource {
        /// What was asked for.
        what: &'static str,
        /// Why not.
        error: io::Error,
    },
}

impl StartupError {
    /// The process's exit code.
    pub const EXIT_CODE: i32 = 1;

    /// From a refused `listen`; `option` is the flag that named the port.
    pub fn from_listen(option: &'static str, address: SocketAddr, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::AddrInUse => Self::PortTaken { option, address },
            _ => Self::CannotListen { option, address, error },
        }
    }
}

/// Checks kernel and limits before anything is opened, and raises the limits that may be raised. When fewer files may be
/// open than clients are allowed, `config` is lowered to what fits. Returns what an operator should think about.
///
/// # Errors
/// [`StartupError::Kernel`].
pub fn check_machine(config: &mut Config) -> Result<Vec<String>, StartupError> {
    kernel::check(memlock_needed(config.cores))?;
    let mut warnings = config.warnings();
    let wanted = config.settings.clients_max;
    let open_files = process::raise_open_files(u64::from(wanted) + OPEN_FILES_RESERVED);
    let fitting = clients_that_fit(open_files, wanted);
    if fitting < wanted {
        warnings.push(format!(
            "only {open_files} files may be open (`ulimit -n`): --maxclients is lowered from {wanted} to {fitting}"
        ));
        config.settings.clients_max = fitting;
    }
    Ok(warnings)
}

/// Bytes of locked memory that `cores` cores need, for [`slotcore_rt::kernel::check`].
pub fn memlock_needed(cores: u16) -> u64 {
    MEMLOCK_BYTES_PER_CORE * u64::from(cores)
}

/// How many clients fit when `open_files` files may be open at most; never more than `wanted`.
pub fn clients_that_fit(open_files: u64, wanted: u32) -> u32 {
    u32::try_from(open_files.saturating_sub(OPEN_FILES_RESERVED))
        .unwrap_or(u32::MAX)
        .clamp(1, wanted.max(1))
}

impl fmt::Display for StartupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => write!(f, "{error}"),
            Self::Kernel(problem) => write!(f, "{problem}"),
            Self::DataDir(error) => write!(f, "{error}"),
            Self::Layout(error) => write!(f, "{error}"),
            Self::Disk(error) => write!(
                f,
                "{error}: check the disk (`dmesg`, smartctl) and the directory's owner"
            ),
            Self::DamagedStore { dir, what } => write!(
                f,
                "the files of keys are damaged: {what} (in {}). This is not the mark of a crash; nothing was changed. Copy the \
                 data directory away before anything else, check the disk (`dmesg`, smartctl), and restore a backup",
                dir.display()
            ),
            Self::Resource { what, error } => write!(f, "cannot get {what} from the system: {error}"),
            Self::PortTaken { option, address } => write!(
                f,
                "port {} on {} is taken by another program: stop it (`ss -ltnp 'sport = :{}'` names it), or choose \
                 another port with --{option}",
                address.port(),
                address.ip(),
                address.port()
            ),
            Self::CannotListen { option, address, error } => write!(
                f,
                "cannot listen on {address}: {error}: check --{option}{}",
                if *option == "port" {
                    " and --bind, whose addresses must belong to this machine"
                } else {
                    ""
                }
            ),
            Self::PortsBeyondRange { cores } => write!(
                f,
                "each of {cores} cores listens on a port of its own, and these would go beyond 65535: choose a lower \
                 --core-port-base (without it they follow --port), or fewer --cores"
            ),
            Self::ClusterFile { file, what } => write!(
                f,
                "what this node keeps of its cluster, {}, cannot be used: {what}. It was written by the server, which \
                 must be able to replace it; restore it from a backup if it is damaged",
                file.display()
            ),
            Self::OtherCluster { dir } => write!(
                f,
                "the data in {} belong to another cluster, or to a node on its own: check --initial-cluster, --join \
                 and --cluster-secret, which must be what they were when the directory was made, or choose another --dir",
                dir.display()
            ),
            Self::NotJoined { at, why } => write!(
                f,
                "this node cannot join the cluster of {at}: {why}: check --join, which names the first of a node's ports for \
                 other nodes, --cluster-secret-file and --peer-tls-cert"
            ),
            Self::OtherCores { cores } => write!(
                f,
                "all nodes of that cluster run {cores} cores, as this one has to: start it with an empty --dir and --cores \
                 {cores}"
            ),
            Self::Removed { dir } => write!(
                f,
                "this node was removed from its cluster, and holds nothing that the others lack. To let this machine join \
                 again, empty {} and start it with --join",
                dir.display()
            ),
            Self::UnknownHost { host, error } => write!(
                f,
                "the address of node {host} cannot be found: {error}: check --initial-cluster and the name service"
            ),
            Self::NoDirectIo { dir } => write!(
                f,
                "the file system of {} does not support O_DIRECT, which durable writes need: put --dir on ext4, xfs or \
                 btrfs (tmpfs and some network and container file systems cannot)",
                dir.display()
            ),
            Self::DiskFull { dir, needed_bytes } => write!(
                f,
                "the disk of {} is full, and the log needs at least {needed_bytes} bytes: free some space, or choose \
                 another --dir",
                dir.display()
            ),
            Self::CorruptLog { file, offset, what } => write!(
                f,
                "the log is damaged: {what}, in {} at byte {offset}. This is not the mark of a crash, so slotcore does \
                 not guess and has changed nothing: copy the directory away, check the disk, and restore a backup",
                file.display()
            ),
            Self::UnknownFormat { file, found, known } => write!(
                f,
                "{} has format version {found}, and this slotcore understands up to {known}: run the version that \
                 wrote it, or a newer one",
                file.display()
            ),
        }
    }
}

impl std::error::Error for StartupError {}

impl From<ConfigError> for StartupError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<KernelProblem> for StartupError {
    fn from(problem: KernelProblem) -> Self {
        Self::Kernel(problem)
    }
}

impl From<DataDirError> for StartupError {
    fn from(error: DataDirError) -> Self {
        Self::DataDir(error)
    }
}

impl From<DiskError> for StartupError {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_address_is_explained() {
        let address: SocketAddr = "127.0.0.1:6379".parse().unwrap();
        let error =
            |number| StartupError::from_listen("port", address, io::Error::from_raw_os_error(number)).to_string();
        assert_eq!(
            error(libc::EADDRINUSE),
            "port 6379 on 127.0.0.1 is taken by another program: stop it (`ss -ltnp 'sport = :6379'` names it), or \
             choose another port with --port"
        );
        assert!(error(libc::EADDRNOTAVAIL).contains("--bind"));
    }

    #[test]
    fn trouble_on_disk_names_the_place_and_the_way_out() {
        let dir = PathBuf::from("/data");
        let says = |error: StartupError, words: &[&str]| {
            let text = error.to_string();
            assert!(words.iter().all(|word| text.contains(word)), "{text}");
        };
        says(
            DataDirError::InUse {
                path: dir.clone(),
                pid: Some(42),
            }
            .into(),
            &["/data", "process 42", "--dir"],
        );
        says(
            StartupError::NoDirectIo { dir: dir.clone() },
            &["/data", "O_DIRECT", "ext4"],
        );
        says(
            StartupError::DiskFull {
                dir: dir.clone(),
                needed_bytes: 9,
            },
            &["/data", "at least 9 bytes", "--dir"],
        );
        let file = PathBuf::from("/data/core-0/log/7.seg");
        says(
            StartupError::CorruptLog {
                file: file.clone(),
                offset: 4096,
                what: "bad checksum".into(),
            },
            &[
                "bad checksum, in /data/core-0/log/7.seg at byte 4096",
                "changed nothing",
            ],
        );
        says(
            StartupError::UnknownFormat {
                file,
                found: 9,
                known: 1,
            },
            &["version 9", "up to 1"],
        );
    }

    #[test]
    fn clients_are_limited_by_open_files() {
        assert_eq!(clients_that_fit(1024, 10_000), 924);
        assert_eq!(clients_that_fit(u64::MAX, 10_000), 10_000);
        assert_eq!(clients_that_fit(20, 10_000), 1);
    }
}
