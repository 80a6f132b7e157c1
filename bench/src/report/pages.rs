//! Pages whose sections are written from results: tables, and pictures as files beside them.
//!
//! A section's name is that of a comparison, `floor`, `stores`, `summary`, or `pictures` with the names of pictures, which are
//! those of their files in the report.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::figures::Figure;
use super::read::Results;
use super::{WIDE, draw, markers, plot, summary};
use crate::compare::table;
use crate::output;

/// Pictures in a row.
const ROW: usize = 2;

/// See the module's text.
pub struct Pages<'a> {
    /// Where figures come from.
    pub results: &'a Results,
    /// All pictures they give.
    pub figures: &'a [Figure],
    /// Directory for the pictures that pages show.
    pub pictures: &'a Path,
    /// Everything is written below this directory instead, and figures need not be good.
    pub into: Option<&'a Path>,
}

impl Pages<'_> {
    /// Refuses figures that must not stand in a page: of a quick run, or of more than one commit.
    ///
    /// # Errors
    /// They are such.
    pub fn refuse_bad_figures(&self) -> io::Result<()> {
        if self.into.is_some() {
            return Ok(());
        }
        if let Some(quick) = self.results.quick() {
            let what = format!("the figures of a quick run of {quick} mean nothing, and go nowhere");
            return Err(io::Error::other(what));
        }
        let commits = self.results.commits();
        if commits.len() > 1 {
            let what = format!("the results are of different commits ({})", commits.join(", "));
            return Err(io::Error::other(what));
        }
        Ok(())
    }

    /// Writes a page anew, with its pictures. Returns the names of sections for which there are no results; they stay.
    ///
    /// # Errors
    /// It cannot be read or written, or has wrong marks.
    pub fn update(&self, page: &Path) -> io::Result<Vec<String>> {
        let before = fs::read_to_string(page)
            .map_err(|e| io::Error::new(e.kind(), format!("cannot read {}: {e}", page.display())))?;
        let wrong = |what: String| io::Error::other(format!("{}: {what}", page.display()));
        let mut shown = Vec::new();
        let after = markers::replace(&before, |name| self.section(page, name, &mut shown)).map_err(wrong)?;
        for figure in shown {
            let path = self.pictures.join(format!("{}.svg", figure.name));
            self.save(&path, &plot::alone(&draw(figure, WIDE)?))?;
        }
        self.save(page, &after.text)?;
        output::print(&format!("{}: {} sections\n", page.display(), after.replaced))?;
        Ok(after.unknown)
    }

    fn save(&self, path: &Path, text: &str) -> io::Result<()> {
        let path = self.into.map_or_else(|| path.to_owned(), |into| into.join(path));
        if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            fs::create_dir_all(dir)
                .map_err(|e| io::Error::new(e.kind(), format!("cannot make the directory {}: {e}", dir.display())))?;
        }
        output::save(&path, text)
    }

    /// The text of the section `name` of `page`; pictures in it are added to `shown`.
    fn section<'a>(&'a self, page: &Path, name: &str, shown: &mut Vec<&'a Figure>) -> Option<String> {
        if let Some(names) = name.strip_prefix("pictures ") {
            let figures = names
                .split_whitespace()
                .map(|name| self.figures.iter().find(|f| f.name == name));
            let figures = figures.collect::<Option<Vec<_>>>()?;
            shown.extend(&figures);
            return Some(self.pictures_of(page, &figures));
        }
        if name == "summary" {
            return summary::markdown(self.results);
        }
        let tables = self.results.tables.iter().find(|tables| tables.name == name);
        let comparison = self
            .results
            .comparisons
            .iter()
            .find(|comparison| comparison.suite == name);
        tables
            .map(|tables| tables.markdown())
            .or_else(|| comparison.map(table::markdown))
    }

    /// A table of pictures, their captions above them.
    fn pictures_of(&self, page: &Path, figures: &[&Figure]) -> String {
        let link = |figure: &Figure| {
            let path = from_page(page, &self.pictures.join(format!("{}.svg", figure.name)));
            format!("![{}]({})", figure.caption, path.display())
        };
        let mut rows = Vec::new();
        for row in figures.chunks(ROW) {
            let fill = |mut cells: Vec<String>| {
                cells.resize(ROW.min(figures.len()), String::new());
                cells
            };
            rows.push(fill(row.iter().map(|figure| figure.caption.clone()).collect()));
            rows.push(fill(row.iter().map(|figure| link(figure)).collect()));
        }
        table::markdown_of(&rows)
    }
}

/// `path` as a link of `page` names it: both are below the directory the program runs in.
fn from_page(page: &Path, path: &Path) -> PathBuf {
    let dir = page.parent().unwrap_or(Path::new(""));
    match path.strip_prefix(dir) {
        Ok(below) => below.to_owned(),
        Err(_) => dir
            .components()
            .map(|_| Path::new(".."))
            .collect::<PathBuf>()
            .join(path),
    }
}
