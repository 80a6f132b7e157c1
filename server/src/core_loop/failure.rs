//! [`CoreFailure`]: why a core ended by itself.

use std::io;

use slotcore_engine::log::{AppendError, LogFailure};

use crate::store_driver::{DriverError, StoreFailure};

/// Why a core ended by itself. Nothing more may be acknowledged: the process ends.
#[derive(Debug)]
pub enum CoreFailure {
    /// The log's device failed.
    Log(LogFailure),
    /// A file of keys is damaged, or its device failed.
    Store(Box<StoreFailure>),
    /// The group's consensus has stopped.
    Consensus(String),
    /// The ring failed.
    Ring(io::Error),
    /// A transaction over cores, which others have, cannot be brought to this one: its log takes nothing.
    Unfinished(AppendError),
}

impl std::fmt::Display for CoreFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Log(failure) => write!(
                f,
                "{failure}. Nothing written since can be relied on, so the process ends; what was acknowledged is safe. \
                 Check the device, then start again"
            ),
            Self::Store(failure) => write!(
                f,
                "{failure}. What would be answered could not be relied on, so the process ends; what was acknowledged is in \
                 the files and the log. Check the device; `slotcore check` says what is damaged"
            ),
            Self::Consensus(what) => write!(f, "consensus has stopped: {what}"),
            Self::Ring(error) => write!(f, "io_uring failed: {error}"),
            Self::Unfinished(error) => write!(
                f,
                "a transaction over several cores is missing on this one, and its log takes nothing: {error}. Make room on \
                 the disk, then start again; nothing is lost"
            ),
        }
    }
}

impl std::error::Error for CoreFailure {}

impl From<LogFailure> for CoreFailure {
    fn from(failure: LogFailure) -> Self {
        Self::Log(failure)
    }
}

impl From<DriverError> for CoreFailure {
    fn from(error: DriverError) -> Self {
        match error {
            DriverError::Failed(failure) => Self::Store(failure),
            DriverError::Ring(error) => Self::Ring(error),
        }
    }
}

impl From<io::Error> for CoreFailure {
    fn from(error: io::Error) -> Self {
        Self::Ring(error)
    }
}
