//! [`Shown`]: the result file, which `slotcore-bench report` takes for tables and nothing else (`bench/src/report/tables.rs`).

use std::fmt::Write as _;
use std::process::Command;

use serde::Serialize;
use slotcore_rt::process::kernel_release;

use crate::Options;
use crate::measure::{Figures, KEY_BYTES, Sizes, rows};

/// See the module's text. Fields are those of the report's `Tables`; the figures stand beside them.
#[derive(Serialize)]
pub struct Shown {
    kind: &'static str,
    format: u32,
    name: &'static str,
    title: &'static str,
    about: String,
    commit: String,
    quick: bool,
    tables: Vec<Plain>,
    figures: Vec<Figures>,
}

#[derive(Serialize)]
struct Plain {
    title: &'static str,
    rows: Vec<Vec<String>>,
}

impl Shown {
    /// Of the medians of so many rounds.
    pub fn new(options: &Options, sizes: &Sizes, rounds: u16, figures: Vec<Figures>) -> Self {
        let commit = commit();
        let about = format!(
            "{} keys of {KEY_BYTES} + {} bytes in random order, {} MiB of memory, one thread; medians of {rounds} rounds; in brackets: \
             Slotcore's figure as a multiple. `slotcore-bench-stores --keys {} --memory-mib {} --rounds {rounds}`; commit {}, \
             Linux {}.",
            sizes.keys,
            sizes.value_bytes,
            options.memory_mib,
            sizes.keys,
            options.memory_mib,
            if commit.is_empty() { "unknown" } else { &commit },
            kernel_release(),
        );
        Self {
            kind: "slotcore-bench tables",
            format: 1,
            name: "stores",
            title: "The engine beside other stores",
            about,
            commit,
            quick: options.quick,
            tables: vec![Plain {
                title: "",
                rows: rows(&figures),
            }],
            figures,
        }
    }

    /// For the terminal, as Markdown.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n\n", self.about);
        for (at, row) in self.tables.iter().flat_map(|table| &table.rows).enumerate() {
            let _ = writeln!(text, "| {} |", row.join(" | "));
            if at == 0 {
                let _ = writeln!(text, "|{}", "---|".repeat(row.len()));
            }
        }
        text
    }
}

/// The commit of the working tree it runs in, `+` behind it when there were changes; empty outside one.
fn commit() -> String {
    let git = |args: &[&str]| {
        let run = Command::new("git")
            .args(args)
            .output()
            .ok()
            .filter(|run| run.status.success());
        run.map(|run| String::from_utf8_lossy(&run.stdout).trim().to_owned())
    };
    let mut commit = git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_default();
    if git(&["status", "--porcelain", "-uno"]).is_some_and(|files| !files.is_empty()) {
        commit.push('+');
    }
    commit
}
