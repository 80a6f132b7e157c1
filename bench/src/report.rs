//! `slotcore-bench report`: result files as one page with pictures, as tables, and as the tables inside other pages.

mod figures;
mod html;
pub mod markers;
mod pages;
pub mod plot;
pub mod read;
mod summary;
pub mod tables;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;

use crate::compare::table;
use crate::output;
use figures::Figure;
use pages::Pages;

/// Size of a picture: two stand side by side on a wide screen.
const WIDE: plot::Size = (560, 340);
/// Size for a narrow screen: drawn again, for text that is shrunk cannot be read.
const NARROW: plot::Size = (350, 320);
/// Name of the page.
const PAGE: &str = "report.html";

/// What `report` is asked to do.
#[derive(clap::Args)]
pub struct Options {
    /// Directory with result files of `load --json`, `compare --out`, `floor --json`, `profile --json` and of the comparison of
    /// stores. The page and the pictures are written there, too.
    dir: PathBuf,
    /// Prints the tables as Markdown and writes nothing.
    #[arg(long, conflicts_with = "update")]
    text: bool,
    /// Pages whose sections are replaced, between `<!-- bench: NAME -->` and `<!-- bench: end -->`; writes nothing else. NAME is
    /// that of a comparison, `floor`, `stores`, `summary`, or `pictures` with names of pictures.
    #[arg(long, value_delimiter = ',')]
    update: Vec<PathBuf>,
    /// Directory for the pictures that pages show.
    #[arg(long, default_value = "docs/pictures")]
    pictures: PathBuf,
    /// With --update: pages and pictures are written below this directory instead, and may be of a quick run.
    #[arg(long, requires = "update")]
    into: Option<PathBuf>,
    /// With --update: fails when a section of a page has no results.
    #[arg(long, requires = "update")]
    complete: bool,
}

/// Reads the results and writes what was asked for.
///
/// # Errors
/// No results, files that are none, a page with wrong marks, a disk that is full.
pub fn run(options: &Options) -> io::Result<()> {
    let results = read::all(&options.dir)?;
    if options.text {
        let compared = results.comparisons.iter().map(table::markdown);
        let tables = compared.chain(results.tables.iter().map(tables::Tables::markdown));
        return output::print(&tables.collect::<String>());
    }
    let figures = figures::of(&results);
    if !options.update.is_empty() {
        let pages = Pages {
            results: &results,
            figures: &figures,
            pictures: &options.pictures,
            into: options.into.as_deref(),
        };
        return update(options, &pages);
    }
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

fn update(options: &Options, pages: &Pages<'_>) -> io::Result<()> {
    pages.refuse_bad_figures()?;
    let mut missing = Vec::new();
    for page in &options.update {
        let unknown = pages.update(page)?;
        missing.extend(
            unknown
                .into_iter()
                .map(|name| format!("{} of {}", name, page.display())),
        );
    }
    match &missing[..] {
        [] => Ok(()),
        names if options.complete => {
            let what = format!("there are no results for {}", names.join(", "));
            Err(io::Error::other(what))
        }
        names => {
            eprintln!("there are no results for {}: those sections stay", names.join(", "));
            Ok(())
        }
    }
}
