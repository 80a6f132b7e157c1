//! `slotcore-bench report`: result files as one page with pictures, as tables, and as the tables inside other pages.

mod figures;
mod html;
pub mod markers;
pub mod plot;
pub mod read;
#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::compare::table;
use crate::output;
use figures::Figure;
use read::Results;

/// Size of a picture: two stand side by side on a wide screen.
const WIDE: plot::Size = (560, 340);
/// Size for a narrow screen: drawn again, for text that is shrunk cannot be read.
const NARROW: plot::Size = (350, 320);
/// Name of the page.
const PAGE: &str = "report.html";

/// What `report` is asked to do.
#[derive(clap::Args)]
pub struct Options {
    /// Directory with result files of `load --json`, `compare --out` and `profile --json`. The page and the pictures are
    /// written there, too.
    dir: PathBuf,
    /// Prints the tables as Markdown and writes nothing.
    #[arg(long, conflicts_with = "update")]
    text: bool,
    /// Pages whose tables are replaced, between `<!-- bench: NAME -->` and `<!-- bench: end -->`; writes nothing else. NAME
    /// is that of a comparison.
    #[arg(long, value_delimiter = ',')]
    update: Vec<PathBuf>,
}

/// Reads the results and writes what was asked for.
///
/// # Errors
/// No results, files that are none, a page with wrong marks, a disk that is full.
pub fn run(options: &Options) -> io::Result<()> {
    let results = read::all(&options.dir)?;
    if options.text {
        let tables: String = results.comparisons.iter().map(table::markdown).collect();
        return output::print(&tables);
    }
    if !options.update.is_empty() {
        return options.update.iter().try_for_each(|page| update(page, &results));
    }
    let figures = figures::of(&results);
    for figure in &figures {
        let path = options.dir.join(format!("{}.svg", figure.name));
        output::save(&path, &plot::alone(&draw(figure, WIDE)?))?;
    }
    let path = options.dir.join(PAGE);
    output::save(&path, &html::page(&results, &figures)?)?;
    output::print(&format!("{} and {} pictures\n", path.display(), figures.len()))
}

fn draw(figure: &Figure, size: plot::Size) -> io::Result<String> {
    figure
        .plot
        .svg(size)
        .map_err(|e| io::Error::other(format!("{} cannot be drawn: {e}", figure.name)))
}

fn update(page: &Path, results: &Results) -> io::Result<()> {
    let before = fs::read_to_string(page)
        .map_err(|e| io::Error::new(e.kind(), format!("cannot read {}: {e}", page.display())))?;
    let wrong = |what: String| io::Error::other(format!("{}: {what}", page.display()));
    if let Some(quick) = results.comparisons.iter().find(|comparison| comparison.quick) {
        return Err(wrong(format!(
            "the figures of a quick run of {} mean nothing, and go nowhere",
            quick.suite
        )));
    }
    let table = |name: &str| {
        let comparison = results.comparisons.iter().find(|comparison| comparison.suite == name)?;
        Some(table::markdown(comparison))
    };
    let after = markers::replace(&before, table).map_err(wrong)?;
    for name in &after.unknown {
        eprintln!("{}: there are no results of {name}; its table stays", page.display());
    }
    output::save(page, &after.text)?;
    output::print(&format!("{}: {} tables\n", page.display(), after.replaced))
}
