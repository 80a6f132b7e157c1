//! An ACL file: a line for each user, as `ACL LIST` shows it. Pure: others read and write the text.

use std::collections::BTreeMap;
use std::fmt;

use super::user::User;
use super::{AclTable, DEFAULT_USER};

/// A line that cannot be used. The users in force stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadFile {
    /// From 1.
    pub line: usize,
    /// What is wrong.
    pub why: String,
}

impl fmt::Display for BadFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}

impl std::error::Error for BadFile {}

/// True when a user can have this name: it must stand in a line.
pub(super) fn is_name(name: &[u8]) -> bool {
    !name.iter().any(|byte| byte.is_ascii_whitespace() || *byte == 0)
}

impl AclTable {
    /// The users of a file. Without a line for the default user he may do everything.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn from_file(text: &str) -> Result<Self, BadFile> {
        let mut table = Self { users: BTreeMap::new() };
        for (n, line) in text.lines().enumerate() {
            let bad = |why: String| BadFile { line: n + 1, why };
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mut words = line.split(' ').filter(|word| !word.is_empty());
            let (Some("user"), Some(name)) = (words.next(), words.next()) else {
                return Err(bad("should start with user keyword followed by the username".into()));
            };
            if table.get(name.as_bytes()).is_some() {
                return Err(bad(format!("user '{name}' is defined twice")));
            }
            let rules: Vec<_> = words.map(str::as_bytes).collect();
            let set = table.set(name.as_bytes(), &rules);
            set.map_err(|error| bad(format!("{} in '{}'", error.why, error.rule)))?;
        }
        table
            .users
            .entry(DEFAULT_USER.to_vec())
            .or_insert_with(User::all_powerful);
        Ok(table)
    }

    /// The text of a file with these users.
    ///
    /// # Errors
    /// A user whose name or patterns are not text: rules given by a client may be any bytes.
    pub fn to_file(&self) -> Result<String, std::string::FromUtf8Error> {
        let lines = self.iter().map(|(name, user)| String::from_utf8(user.describe(name)));
        lines.map(|line| line.map(|line| line + "\n")).collect()
    }

    /// True when a user can have this name.
    pub fn is_name(name: &[u8]) -> bool {
        is_name(name)
    }

    /// Names of all categories, without their `@`.
    pub fn categories() -> impl ExactSizeIterator<Item = &'static str> {
        super::commands_allowed::categories()
    }

    /// Full names of the commands in a category, which is named without its `@`.
    pub fn commands_in(category: &str) -> Option<Vec<&'static str>> {
        let category = super::commands_allowed::category_of(&category.to_ascii_lowercase())?;
        Some(super::commands_allowed::commands_in(category))
    }
}
