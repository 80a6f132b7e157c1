//! The file of `--config`: flat TOML, one `name = value` an option, the names being those of the flags.

use std::collections::BTreeMap;
use std::path::Path;

use clap::CommandFactory as _;
use slotcore_rt::config_file;

use super::ConfigError;
use super::command_line::CommandLine;

/// Line in front of what `CONFIG REWRITE` adds to the file.
const REWRITE_MARK: &str = "# Added by CONFIG REWRITE.";

/// The file's options as flags (`--name=value`), in the file's order.
///
/// # Errors
/// [`ConfigError::FileUnreadable`], or [`ConfigError::FileInvalid`] for what is no TOML, no option of ours, or nested.
pub fn as_flags(path: &Path) -> Result<Vec<String>, ConfigError> {
    let text = config_file::read(path).map_err(|error| ConfigError::FileUnreadable {
        path: path.to_path_buf(),
        error,
    })?;
    let invalid = |message| ConfigError::FileInvalid {
        path: path.to_path_buf(),
        message,
    };
    let table: toml::Table = text
        .parse()
        .map_err(|error: toml::de::Error| invalid(error.to_string()))?;
    let known = option_names();
    let mut flags = Vec::with_capacity(table.len());
    for (name, value) in &table {
        let there = |message: &str| invalid(format!("{}{message}", place_of(&text, name)));
        if name == "config" {
            return Err(there("'config' cannot stand in the file itself"));
        }
        if !known.contains(name) {
            return Err(there(&format!(
                "unknown option '{name}'; `slotcore --help` lists the names"
            )));
        }
        let value = value_text(value).map_err(|message| there(&format!("{name}: {message}")))?;
        flags.push(format!("--{name}={value}"));
    }
    Ok(flags)
}

/// Says of an option's refused value that it stands in the file, and in which line, if that is where it came from.
pub(super) fn blame(path: &Path, error: ConfigError) -> ConfigError {
    let ConfigError::Option { name, value, message } = &error else {
        return error;
    };
    let Ok(text) = config_file::read(path) else {
        return error;
    };
    let stands_there = text
        .parse::<toml::Table>()
        .is_ok_and(|table| table.get(*name).and_then(|found| value_text(found).ok()).as_ref() == Some(value));
    if !stands_there {
        return error;
    }
    ConfigError::FileInvalid {
        path: path.to_path_buf(),
        message: format!("{}{name}: {message} (got \"{value}\")", place_of(&text, name)),
    }
}

/// `line 7: `, where `text` sets option or opens table `name`; nothing when that cannot be told.
fn place_of(text: &str, name: &str) -> String {
    let sets_it = |line: &str| {
        let key = line.split_once('=').map_or(line, |(key, _)| key);
        key.trim().trim_matches(['[', ']']).trim().trim_matches(['"', '\'']) == name
    };
    let found = text.lines().position(sets_it);
    found.map_or_else(String::new, |at| format!("line {}: ", at + 1))
}

/// `text` with each option of `values` set to its value: a line that sets it already is replaced in place, other lines and
/// order stay, the rest is added at the end. The result is valid TOML that reads back as `values`.
///
/// # Errors
/// A sentence, when `text` spreads an option over several lines, which cannot be replaced line by line.
pub fn rewrite(text: &str, values: &BTreeMap<&'static str, String>) -> Result<String, String> {
    let mut left = values.clone();
    let mut out = String::with_capacity(text.len() + 256);
    for line in text.lines() {
        let name = line.split_once('=').map(|(name, _)| name.trim().trim_matches('"'));
        match name.and_then(|name| left.remove_entry(name)) {
            Some((name, value)) => out.push_str(&assignment(name, &value)),
            None => out.push_str(line),
        }
        out.push('\n');
    }
    if !left.is_empty() && !text.contains(REWRITE_MARK) {
        out.push_str(REWRITE_MARK);
        out.push('\n');
    }
    for (name, value) in &left {
        out.push_str(&assignment(name, value));
        out.push('\n');
    }
    let reads_back = out.parse::<toml::Table>().is_ok_and(|table| {
        values
            .iter()
            .all(|(&name, value)| table.get(name).and_then(|v| value_text(v).ok()).as_ref() == Some(value))
    });
    if reads_back {
        Ok(out)
    } else {
        Err("an option spans several lines of the file".to_string())
    }
}

/// Names of all options of the server, as in the file.
pub(super) fn option_names() -> Vec<String> {
    CommandLine::command()
        .get_arguments()
        .filter_map(|arg| arg.get_long().map(str::to_string))
        .collect()
}

fn assignment(name: &str, value: &str) -> String {
    match value.parse::<i64>() {
        Ok(number) if number.to_string() == value => format!("{name} = {value}"),
        _ => format!("{name} = {}", toml::Value::String(value.to_string())),
    }
}

fn value_text(value: &toml::Value) -> Result<String, String> {
    match value {
        toml::Value::String(text) => Ok(text.clone()),
        toml::Value::Integer(number) => Ok(number.to_string()),
        toml::Value::Boolean(yes) => Ok(if *yes { "yes" } else { "no" }.to_string()),
        toml::Value::Array(items) => {
            let words: Result<Vec<String>, String> = items.iter().map(value_text).collect();
            Ok(words?.join(" "))
        }
        other => Err(format!("a {} cannot be an option's value", other.type_str())),
    }
}
