//! [`CommandLine`]: what the program is told to do, and how. The doc comments here are what `slotcore --help` prints.

use clap::{Parser, Subcommand};

use super::options::RawOptions;
use crate::ctl::options::CtlOptions;
use crate::upkeep::options::{BackupOptions, CheckOptions, InspectOptions, RestoreOptions};

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "slotcore",
    version,
    about = "Durable, linearizable key-value store that speaks the Redis protocol",
    after_help = "Sizes take the units b, k (1000), kb (1024), m, mb, g, gb, in any case.\n\
                  Every option can stand in the file of --config as `name = value`; the command line wins.\n\
                  Options marked (live) can be changed by CONFIG SET while the server runs.",
    args_conflicts_with_subcommands = true,
    args_override_self = true,
    max_term_width = 120
)]
pub struct CommandLine {
    /// What to do; `server` when nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The server's options, when no subcommand is named.
    #[command(flatten)]
    pub server: RawOptions,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs the server (this is what happens without a subcommand).
    #[command(args_override_self = true)]
    Server(Box<RawOptions>),
    /// Prints what a stopped directory holds: its log, sorted files, manifests or keys.
    Inspect(InspectOptions),
    /// Reads every byte of a stopped directory and says what is damaged.
    Check(CheckOptions),
    /// Copies a running server's files, consistently, into a directory; only what is new since the last time.
    Backup(BackupOptions),
    /// Makes a data directory of a backup.
    Restore(RestoreOptions),
    /// Looks at a running cluster through one of its nodes, and says who leads.
    Ctl(CtlOptions),
}
