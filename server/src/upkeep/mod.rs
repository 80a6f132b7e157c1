//! Looking after a data directory: `slotcore inspect`, `check`, `backup` and `restore`.
//!
//! All but `backup` work on a directory that no server has, and take its lock. What they say goes to standard output, one
//! line a thing, for people or as JSON; progress goes to standard error. They end with code 0 when all is well, 1 when
//! something is damaged, and 2 when they could not do what was asked.

pub mod backup;
pub mod check;
pub mod inspect;
pub mod options;
mod out;
mod progress;
mod sources;
mod stopped;

use std::process::ExitCode;

pub use options::UpkeepCommand;
pub use out::{Line, Out};
pub use stopped::{CoreFiles, Stopped};

/// What a command found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All is well.
    Sound,
    /// Something is damaged: it was said what.
    Damaged,
}

/// Why a command could not do what was asked: one line, with file and cause.
pub type Failure = Box<dyn std::error::Error>;

/// Carries out a command.
pub fn run(command: &UpkeepCommand) -> ExitCode {
    let outcome = match command {
        UpkeepCommand::Inspect(options) => inspect::run(options),
        UpkeepCommand::Check(options) => check::run(options),
        UpkeepCommand::Backup(options) => backup::run(options),
        UpkeepCommand::Restore(options) => backup::restore(options),
    };
    match outcome {
        Ok(Outcome::Sound) => ExitCode::SUCCESS,
        Ok(Outcome::Damaged) => ExitCode::from(1),
        Err(error) => {
            eprintln!("slotcore: {error}");
            ExitCode::from(2)
        }
    }
}
