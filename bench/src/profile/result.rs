//! [`Instructions`]: the counts of a run as a result file, for `slotcore-bench report`.

use serde::{Deserialize, Serialize};

use crate::machine::Machine;

/// Tells a result file of `profile` from others.
pub const KIND: &str = "slotcore-bench profile";
/// Changed when a field changes its meaning or goes.
pub const FORMAT: u32 = 1;

/// A result file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Instructions {
    /// [`KIND`].
    pub kind: String,
    /// [`FORMAT`].
    pub format: u32,
    /// Where the program was built and ran.
    pub machine: Machine,
    /// In the order of counting.
    pub commands: Vec<Command>,
}

/// Instructions of one command, from its bytes to its reply's bytes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Command {
    /// Its name.
    pub command: String,
    /// All of them.
    pub instructions: u64,
    /// By what they are for, the most first.
    pub parts: Vec<(String, f64)>,
}

impl Instructions {
    /// The result file's text.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers and texts can be written as JSON")
    }
}
