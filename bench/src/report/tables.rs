//! [`Tables`]: a result that is tables and nothing else, ready to be shown: of `floor`, and of the comparison of stores, which
//! is a program of its own and writes the same JSON.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::compare::table;

/// Tells such a result file from others.
pub const KIND: &str = "slotcore-bench tables";
/// Changed when a field changes its meaning or goes.
pub const FORMAT: u32 = 1;

/// What a result file says beside its figures.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tables {
    /// [`KIND`].
    pub kind: String,
    /// [`FORMAT`].
    pub format: u32,
    /// Name of the section in a page.
    pub name: String,
    /// Its title.
    pub title: String,
    /// What was measured, how, and where, with the command that repeats it.
    pub about: String,
    /// Commit that was measured.
    pub commit: String,
    /// Done in a size that measures nothing.
    pub quick: bool,
    /// One after the other.
    pub tables: Vec<Plain>,
}

/// A table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plain {
    /// What stands above it.
    pub title: String,
    /// Cells, the head first.
    pub rows: Vec<Vec<String>>,
}

impl Plain {
    /// As Markdown, with its title.
    pub fn markdown(&self) -> String {
        let title = match &self.title[..] {
            "" => String::new(),
            title => format!("{title}:\n\n"),
        };
        title + &table::markdown_of(&self.rows)
    }
}

impl Tables {
    /// As Markdown.
    pub fn markdown(&self) -> String {
        let mut text = format!("### {}\n\n{}\n", self.title, self.about);
        if self.quick {
            let _ = writeln!(text, "\n{}", table::QUICK);
        }
        for table in &self.tables {
            let _ = write!(text, "\n{}", table.markdown());
        }
        text.push('\n');
        text
    }
}
