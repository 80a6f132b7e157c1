//! `slotcore-bench profile`: instructions of each command, counted by callgrind, beside those written down before.
//!
//! Time on a shared machine moves by a third; the number of instructions of the same work on the same binary does not
//! move at all. What is counted is `body.rs`: a command from its bytes to its reply's bytes, without sockets, Raft and disk.

mod body;
mod callgrind;
mod page;
mod parts;
pub mod result;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;

use crate::machine::Machine;
use crate::output;
use page::{BUILDS, Counts, Page};
use parts::parts;
use result::Instructions;

/// Commands counted, by the load generator's names.
const COMMANDS: &[&str] = &[
    "get", "set", "incr", "mset", "lpush", "rpop", "sadd", "hset", "hget", "zadd", "zscore",
];
/// Functions shown of each command.
const FUNCTIONS_SHOWN: usize = 8;

/// What `profile` is asked to do.
#[derive(clap::Args)]
pub struct Options {
    /// The page with the counts to compare with.
    #[arg(long, default_value = "docs/instructions.md")]
    page: PathBuf,
    /// Counts only these.
    #[arg(long, value_delimiter = ',')]
    command: Vec<String>,
    /// Writes the new counts to the page.
    #[arg(long)]
    update: bool,
    /// Shows where the instructions of each command are.
    #[arg(long)]
    functions: bool,
    /// A file for the counts by part as JSON; `slotcore-bench report` reads it.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Executes the requests of this command and nothing else: what is run under callgrind.
    #[arg(long, hide = true)]
    body: Option<String>,
}

/// Counts and prints the differences.
///
/// # Errors
/// valgrind is missing or fails; no such command; `--update` by a build whose counts are not kept.
pub fn run(options: &Options) -> io::Result<()> {
    if let Some(command) = &options.body {
        return body::run(command);
    }
    let unknown = options.command.iter().find(|name| !COMMANDS.contains(&name.as_str()));
    if let Some(unknown) = unknown {
        let what = format!("{unknown:?} is not counted: there are {}", COMMANDS.join(", "));
        return Err(io::Error::other(what));
    }
    let build = build();
    if options.update && build.is_none() {
        let builds = BUILDS.join(" and ");
        return Err(io::Error::other(format!(
            "only the counts of the builds {builds} are kept: cargo run --release"
        )));
    }
    let mut page = match fs::read_to_string(&options.page) {
        Ok(text) => page::parse(&text),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Page::default(),
        Err(e) => return Err(e),
    };
    let mut after = Counts::new();
    let mut commands = Vec::new();
    for &command in COMMANDS {
        if !options.command.is_empty() && !options.command.iter().any(|wanted| wanted == command) {
            continue;
        }
        let profile = under_callgrind(command)?;
        after.insert(command.to_owned(), profile.total / body::REQUESTS);
        let each = |instructions: u64| instructions as f64 / body::REQUESTS as f64;
        commands.push(result::Command {
            command: command.to_owned(),
            instructions: profile.total / body::REQUESTS,
            parts: parts(&profile.costs)
                .into_iter()
                .map(|(part, instructions)| (part, each(instructions)))
                .collect(),
        });
        if options.functions {
            println!("{command}:");
            for (name, instructions) in profile.functions().iter().take(FUNCTIONS_SHOWN) {
                println!("{:>8.1}  {name}", each(*instructions));
            }
        }
    }
    let kept = build.map(|build| &mut page[build]);
    let none = Counts::new();
    output::print(&page::difference(kept.as_deref().unwrap_or(&none), &after))?;
    if let Some(path) = &options.json {
        let result = Instructions {
            kind: result::KIND.to_owned(),
            format: result::FORMAT,
            machine: Machine::here(path),
            commands,
        };
        output::save(path, &result.to_json())?;
    }
    if let Some(counts) = kept.filter(|_| options.update) {
        counts.extend(after);
        output::save(&options.page, &page::render(&page))?;
    }
    Ok(())
}

/// Which of [`BUILDS`] this program is of: cargo puts a build into a directory of its name.
fn build() -> Option<usize> {
    let program = std::env::current_exe().ok()?;
    let dir = program.parent()?.file_name()?;
    BUILDS.iter().position(|build| dir == *build)
}

/// Runs this program again, as the body of `command`, under callgrind.
fn under_callgrind(command: &str) -> io::Result<callgrind::Profile> {
    let out = std::env::temp_dir().join(format!("slotcore-bench.{}.callgrind", std::process::id()));
    let run = Command::new("valgrind")
        .args([
            "--tool=callgrind",
            "--collect-atstart=no",
            "--compress-strings=no",
            "--compress-pos=no",
        ])
        .arg(format!("--toggle-collect=*{}*", body::MEASURED))
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(std::env::current_exe()?)
        .args(["profile", "--body", command])
        .output()
        .map_err(|e| io::Error::other(format!("valgrind cannot be run ({e}): install it (Debian: valgrind)")))?;
    let text = fs::read_to_string(&out);
    let _ = fs::remove_file(&out);
    if !run.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&run.stderr).into_owned()));
    }
    let profile = callgrind::parse(&text?);
    if profile.total == 0 {
        return Err(io::Error::other(
            "callgrind counted nothing: the program has no symbols",
        ));
    }
    Ok(profile)
}
