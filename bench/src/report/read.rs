//! [`Results`]: the result files of a directory.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::Value;

use super::tables::{self, Tables};
use crate::compare::result::{self as compare, Comparison};
use crate::load::report as load;
use crate::profile::result::{self as profile, Instructions};

/// What a directory holds, by the names of its files.
#[derive(Debug, Default)]
pub struct Results {
    /// Of `compare`.
    pub comparisons: Vec<Comparison>,
    /// Of `load`, with the name of the file.
    pub loads: Vec<(String, load::Report<Value>)>,
    /// Of `floor`, and of the comparison of stores.
    pub tables: Vec<Tables>,
    /// Of `profile`: the last one.
    pub instructions: Option<Instructions>,
}

/// Reads every `.json` file of `dir`.
///
/// # Errors
/// The directory or a file cannot be read; there is no result, or one of a newer format; a file is no result.
pub fn all(dir: &Path) -> io::Result<Results> {
    let cannot =
        |path: &Path, e: &dyn std::fmt::Display| io::Error::other(format!("cannot read {}: {e}", path.display()));
    let mut paths: Vec<_> = fs::read_dir(dir)
        .map_err(|e| cannot(dir, &e))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "json"));
    paths.sort_unstable();
    if paths.is_empty() {
        let what = format!(
            "{} has no results: make some by `slotcore-bench compare --out {}`",
            dir.display(),
            dir.display()
        );
        return Err(io::Error::new(io::ErrorKind::NotFound, what));
    }
    let mut results = Results::default();
    for path in paths {
        let text = fs::read_to_string(&path).map_err(|e| cannot(&path, &e))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        results.add(&name, &text).map_err(|what| cannot(&path, &what))?;
    }
    let order = |comparison: &Comparison| crate::compare::order(&comparison.suite);
    results.comparisons.sort_by_key(order);
    Ok(results)
}

impl Results {
    /// The name of a quick run among them.
    pub fn quick(&self) -> Option<&str> {
        let compared = self
            .comparisons
            .iter()
            .filter(|one| one.quick)
            .map(|one| &one.suite[..]);
        let shown = self.tables.iter().filter(|one| one.quick).map(|one| &one.name[..]);
        compared.chain(shown).next()
    }

    /// The commits they are of, each once.
    pub fn commits(&self) -> Vec<&str> {
        let compared = self.comparisons.iter().map(|one| &one.machine.commit[..]);
        let shown = self.tables.iter().map(|one| &one.commit[..]);
        let counted = self.instructions.iter().map(|one| &one.machine.commit[..]);
        let mut commits: Vec<&str> = compared.chain(shown).chain(counted).collect();
        commits.sort_unstable();
        commits.dedup();
        commits
    }

    fn add(&mut self, name: &str, text: &str) -> Result<(), String> {
        let value: Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
        let kind = value["kind"].as_str().unwrap_or_default().to_owned();
        let format = value["format"].as_u64().unwrap_or_default();
        let known = |newest: u32| match format {
            _ if format == u64::from(newest) => Ok(()),
            _ => Err(format!("format {format}, and this program reads {newest}")),
        };
        let wrong = |e: serde_json::Error| e.to_string();
        match kind.as_str() {
            compare::KIND => {
                known(compare::FORMAT)?;
                self.comparisons.push(serde_json::from_value(value).map_err(wrong)?);
            }
            load::KIND => {
                known(load::FORMAT)?;
                let load = serde_json::from_value(value).map_err(wrong)?;
                self.loads.push((name.to_owned(), load));
            }
            profile::KIND => {
                known(profile::FORMAT)?;
                self.instructions = Some(serde_json::from_value(value).map_err(wrong)?);
            }
            tables::KIND => {
                known(tables::FORMAT)?;
                self.tables.push(serde_json::from_value(value).map_err(wrong)?);
            }
            _ => return Err("it is no result of slotcore-bench".into()),
        }
        Ok(())
    }
}
