//! The rules of `ACL SETUSER`, one by one.

use std::fmt;

use super::commands_allowed::Unclear;
use super::pattern::{Access, KeyPattern};
use super::selector::Selector;
use super::user::{Digest, User, digest};

/// A rule that cannot be followed. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRule {
    /// As it was given.
    pub rule: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl fmt::Display for BadRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.why {
            UNMATCHED => write!(f, "{UNMATCHED} starting at '{}'.", self.rule),
            why => write!(f, "Error in ACL SETUSER modifier '{}': {why}", self.rule),
        }
    }
}

impl std::error::Error for BadRule {}

const UNMATCHED: &str = "Unmatched parenthesis in acl selector";
const SYNTAX: &str = "Syntax error";
const UNKNOWN: &str = "Unknown command or category name in ACL";
const AFTER_ALL_KEYS: &str = "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have \
                              any effect. Try 'resetkeys' to start with an empty list of patterns";
const AFTER_ALL_CHANNELS: &str = "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not \
                                  have any effect. Try 'resetchannels' to start with an empty list of channels";
const NO_SUCH_PASSWORD: &str = "The password you are trying to remove from the user does not exist";
const BAD_HASH: &str =
    "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters";
const SUBCOMMAND_ARGUMENT: &str = "Allowing first-arg of a subcommand is not supported";

/// Puts selectors that were cut at their spaces together again: from `(` to the argument that ends with `)`.
pub(super) fn joined(rules: &[&[u8]]) -> Result<Vec<Vec<u8>>, BadRule> {
    let mut whole: Vec<Vec<u8>> = Vec::with_capacity(rules.len());
    let mut is_open = false;
    for rule in rules {
        match whole.last_mut() {
            Some(selector) if is_open => {
                selector.push(b' ');
                selector.extend_from_slice(rule);
            }
            _ => whole.push(rule.to_vec()),
        }
        is_open = whole
            .last()
            .is_some_and(|last| last.first() == Some(&b'(') && last.last() != Some(&b')'));
    }
    match whole.last() {
        Some(last) if is_open => Err(BadRule {
            rule: String::from_utf8_lossy(last).into_owned(),
            why: UNMATCHED,
        }),
        _ => Ok(whole),
    }
}

/// Changes a user by one rule.
pub(super) fn apply(user: &mut User, rule: &[u8]) -> Result<(), &'static str> {
    let word = String::from_utf8_lossy(rule).to_ascii_lowercase();
    match (word.as_str(), rule) {
        ("on", _) => user.enabled = true,
        ("off", _) => user.enabled = false,
        ("nopass", _) => {
            user.needs_no_password = true;
            user.passwords.clear();
        }
        ("resetpass", _) => {
            user.needs_no_password = false;
            user.passwords.clear();
        }
        ("skip-sanitize-payload", _) => user.skips_sanitizing = true,
        ("sanitize-payload", _) => user.skips_sanitizing = false,
        ("clearselectors", _) => user.others.clear(),
        ("reset", _) => *user = User::default(),
        (_, [b'>', password @ ..]) => add_password(user, digest(password)),
        (_, [b'#', hash @ ..]) => add_password(user, from_hex(hash)?),
        (_, [b'<', password @ ..]) => remove_password(user, digest(password))?,
        (_, [b'!', hash @ ..]) => remove_password(user, from_hex(hash)?)?,
        (_, [b'(', inner @ .., b')']) => {
            let mut selector = Selector::default();
            for rule in inner.split(|byte| *byte == b' ').filter(|rule| !rule.is_empty()) {
                apply_to_selector(&mut selector, rule)?;
            }
            user.others.push(selector);
        }
        _ => apply_to_selector(&mut user.root, rule)?,
    }
    Ok(())
}

fn add_password(user: &mut User, password: Digest) {
    user.needs_no_password = false;
    if !user.passwords.contains(&password) {
        user.passwords.push(password);
    }
}

fn remove_password(user: &mut User, password: Digest) -> Result<(), &'static str> {
    let at = user.passwords.iter().position(|known| *known == password);
    user.passwords.remove(at.ok_or(NO_SUCH_PASSWORD)?);
    Ok(())
}

fn from_hex(text: &[u8]) -> Result<Digest, &'static str> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        _ => Err(BAD_HASH),
    };
    let mut digest = Digest::default();
    if text.len() != 2 * digest.len() {
        return Err(BAD_HASH);
    }
    for (byte, pair) in digest.iter_mut().zip(text.as_chunks::<2>().0) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Ok(digest)
}

fn apply_to_selector(selector: &mut Selector, rule: &[u8]) -> Result<(), &'static str> {
    let word = String::from_utf8_lossy(rule).to_ascii_lowercase();
    match (word.as_str(), rule) {
        ("allkeys" | "~*", _) => {
            selector.all_keys = true;
            selector.keys.clear();
        }
        ("resetkeys", _) => {
            selector.all_keys = false;
            selector.keys.clear();
        }
        ("allchannels" | "&*", _) => {
            selector.all_channels = true;
            selector.channels.clear();
        }
        ("resetchannels", _) => {
            selector.all_channels = false;
            selector.channels.clear();
        }
        ("allcommands" | "+@all", _) => selector.commands.set_all(true),
        ("nocommands" | "-@all", _) => selector.commands.set_all(false),
        (_, [b'~', glob @ ..]) => add_keys(selector, glob, Access::ALL)?,
        (_, [b'%', rest @ ..]) => {
            let at = rest.iter().position(|byte| *byte == b'~').ok_or(SYNTAX)?;
            let mut access = Access {
                read: false,
                write: false,
            };
            for kind in &rest[..at] {
                match kind.to_ascii_lowercase() {
                    b'r' if !access.read => access.read = true,
                    b'w' if !access.write => access.write = true,
                    _ => return Err(SYNTAX),
                }
            }
            if !access.read && !access.write {
                return Err(SYNTAX);
            }
            add_keys(selector, &rest[at + 1..], access)?;
        }
        (_, [b'&', channel @ ..]) => {
            if selector.all_channels {
                return Err(AFTER_ALL_CHANNELS);
            }
            if has_space(channel) {
                return Err(SYNTAX);
            }
            if !selector.channels.iter().any(|known| known == channel) {
                selector.channels.push(channel.to_vec());
            }
        }
        (_, [sign @ (b'+' | b'-'), name @ ..]) => {
            if has_space(name) {
                return Err(SYNTAX);
            }
            selector
                .commands
                .change(name, *sign == b'+')
                .map_err(|unclear| match unclear {
                    Unclear::Unknown => UNKNOWN,
                    Unclear::FirstArgumentOfSubcommand => SUBCOMMAND_ARGUMENT,
                    Unclear::Denied => SYNTAX,
                })?;
        }
        _ => return Err(SYNTAX),
    }
    Ok(())
}

fn add_keys(selector: &mut Selector, glob: &[u8], access: Access) -> Result<(), &'static str> {
    if selector.all_keys {
        return Err(AFTER_ALL_KEYS);
    }
    if has_space(glob) {
        return Err(SYNTAX);
    }
    if glob == b"*" && access == Access::ALL {
        selector.all_keys = true;
        selector.keys.clear();
        return Ok(());
    }
    match selector.keys.iter_mut().find(|known| known.glob == glob) {
        Some(known) => {
            known.access.read |= access.read;
            known.access.write |= access.write;
        }
        None => selector.keys.push(KeyPattern {
            glob: glob.to_vec(),
            access,
        }),
    }
    Ok(())
}

/// Spaces part rules in lists and files.
fn has_space(text: &[u8]) -> bool {
    text.iter().any(|byte| byte.is_ascii_whitespace() || *byte == 0)
}
