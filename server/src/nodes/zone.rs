//! [`Zone`]: what fails together: a rack, a power feed, an availability zone.

use std::fmt;

/// Longest name of a zone, in bytes: it stands in every list of nodes.
const ZONE_BYTES_MAX: usize = 64;

/// The name that operators give it. Nodes that were given none count as zones of their own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Zone(String);

impl Zone {
    /// Reads a name: 1 to 64 printable characters of ASCII, no space among them, so that it can be a word of a line.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let is_word = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        match is_word && text.len() <= ZONE_BYTES_MAX {
            true => Ok(Self(text.to_owned())),
            false => Err(format!(
                "a zone has a name of 1 to {ZONE_BYTES_MAX} printable ASCII characters without spaces"
            )),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_short_word() {
        for name in ["a", "eu-west-1b", "rack/7#2", &"z".repeat(64)] {
            assert_eq!(Zone::parse(name).unwrap().name(), name);
        }
        for name in ["", "a b", "a\n", "\u{e9}", "\u{7f}", &"z".repeat(65)] {
            assert!(Zone::parse(name).is_err(), "{name:?}");
        }
    }
}
