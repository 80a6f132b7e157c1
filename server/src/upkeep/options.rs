//! What the commands are told. The doc comments are what `--help` prints.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// A command that is not the server.
#[derive(Clone, Debug)]
pub enum UpkeepCommand {
    /// `slotcore inspect`.
    Inspect(InspectOptions),
    /// `slotcore check`.
    Check(CheckOptions),
    /// `slotcore backup`.
    Backup(BackupOptions),
    /// `slotcore restore`.
    Restore(RestoreOptions),
}

/// What to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Inspected {
    /// Segments, frames, records and commands of the log.
    Log,
    /// Sorted files and blob files: blocks and records.
    Sst,
    /// Which files hold a group's state, up to which entry.
    Manifest,
    /// Every key with its type, size and expiry.
    Keys,
}

/// `slotcore inspect`.
#[derive(Args, Clone, Debug)]
pub struct InspectOptions {
    /// What to look at.
    #[arg(value_enum)]
    pub what: Inspected,

    /// Data directory of a server that does not run.
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,

    /// Only this core; all by default.
    #[arg(long, value_name = "N")]
    pub core: Option<u16>,

    /// One JSON object a line.
    #[arg(long)]
    pub json: bool,

    /// Lines printed at most; whether there would be more is said.
    #[arg(long, value_name = "COUNT")]
    pub limit: Option<u64>,
}

/// `slotcore check`.
#[derive(Args, Clone, Debug)]
pub struct CheckOptions {
    /// Data directory of a server that does not run.
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,

    /// One JSON object a line.
    #[arg(long)]
    pub json: bool,

    /// Mend what can be mended without losing anything acknowledged.
    ///
    /// Files that nothing needs are moved to DIR/damaged; nothing is deleted.
    #[arg(long)]
    pub repair: bool,

    /// Together with --repair: give up what this file holds and cannot be read, and everything of the log behind it.
    ///
    /// FILE as the check names it, for example core-0/log/00000000000000000007.seg; may be given several times. What is
    /// lost is said. The file, or a copy of it, goes to DIR/damaged.
    #[arg(long, value_name = "FILE", requires = "repair")]
    pub lose: Vec<String>,
}

/// `slotcore backup`.
#[derive(Args, Clone, Debug)]
pub struct BackupOptions {
    /// Port of a running server on this machine that answers for every key (--port).
    ///
    /// The files are read from its directory, so this runs as the same user. A password is taken from the environment
    /// variable SLOTCORE_PASSWORD.
    #[arg(long, value_name = "HOST:PORT")]
    pub from: String,

    /// Directory of the backup, new or with an earlier backup of the same server.
    ///
    /// Files that are there already are not copied again. The earlier backup gives way when this one is complete.
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,

    /// User of the server; by default its default user.
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,

    /// One JSON object a line.
    #[arg(long)]
    pub json: bool,
}

/// `slotcore restore`.
#[derive(Args, Clone, Debug)]
pub struct RestoreOptions {
    /// Directory of the backup.
    #[arg(long, value_name = "DIR")]
    pub from: PathBuf,

    /// Data directory to be made: it must not be there, or be empty.
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,

    /// One JSON object a line.
    #[arg(long)]
    pub json: bool,
}
