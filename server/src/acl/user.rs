//! [`User`]: who may come in, and what for.

use sha2::{Digest as _, Sha256};

use super::selector::Selector;
use crate::auth_guard::equal_in_constant_time;

/// SHA-256 of a password: all that is kept of it.
pub type Digest = [u8; 32];

/// The digest of a password.
pub fn digest(password: &[u8]) -> Digest {
    Sha256::digest(password).into()
}

/// See the module's text. A new one is off, has no password and may do nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// May come in.
    pub enabled: bool,
    /// Comes in with any password.
    pub needs_no_password: bool,
    /// Payloads of RESTORE are checked whatever this says; it is kept for those who read it back.
    pub(super) skips_sanitizing: bool,
    pub(super) passwords: Vec<Digest>,
    /// What he may do by rules of his own,
    pub(super) root: Selector,
    /// or by one of these.
    pub(super) others: Vec<Selector>,
}

impl User {
    /// On, without a password, with all rights.
    pub(super) fn all_powerful() -> Self {
        Self {
            enabled: true,
            needs_no_password: true,
            root: Selector::all(),
            ..Self::default()
        }
    }

    /// True when nothing is forbidden to him.
    pub fn may_do_everything(&self) -> bool {
        self.root.is_all()
    }

    /// Compares with every password, in the same time whichever fits.
    pub(super) fn has_password(&self, given: &Digest) -> bool {
        let fits = |known: &Digest| equal_in_constant_time(given, known);
        self.passwords.iter().fold(false, |found, known| fits(known) | found)
    }

    /// All selectors, his own rules first.
    pub(super) fn selectors(&self) -> impl Iterator<Item = &Selector> {
        std::iter::once(&self.root).chain(&self.others)
    }

    /// `on`, `nopass` and the like, as `ACL GETUSER` lists them.
    pub fn flags(&self) -> Vec<&'static str> {
        let mut flags = vec![if self.enabled { "on" } else { "off" }];
        if self.needs_no_password {
            flags.push("nopass");
        }
        if self.skips_sanitizing {
            flags.push("skip-sanitize-payload");
        }
        flags
    }

    /// Digests of his passwords as hexadecimal text.
    pub fn passwords(&self) -> impl ExactSizeIterator<Item = String> {
        self.passwords.iter().map(|digest| hex(digest))
    }

    /// Rules about commands, keys and channels of each selector, his own first.
    pub fn rules(&self) -> impl ExactSizeIterator<Item = [Vec<u8>; 3]> {
        let rules: Vec<_> = self
            .selectors()
            .map(|selector| {
                let mut rules = [Vec::new(), Vec::new(), Vec::new()];
                selector.commands.describe(&mut rules[0]);
                selector.describe_keys(&mut rules[1]);
                selector.describe_channels(&mut rules[2]);
                rules
            })
            .collect();
        rules.into_iter()
    }

    /// As a line of an ACL file and of `ACL LIST`.
    pub fn describe(&self, name: &[u8]) -> Vec<u8> {
        let mut out = [b"user ", name].concat();
        for flag in self.flags() {
            out.push(b' ');
            out.extend_from_slice(flag.as_bytes());
        }
        for password in self.passwords() {
            out.extend_from_slice(b" #");
            out.extend_from_slice(password.as_bytes());
        }
        out.push(b' ');
        self.describe_rights(&mut out);
        out
    }

    /// What he may do, as the rules that mean it.
    pub(super) fn describe_rights(&self, out: &mut Vec<u8>) {
        self.root.describe(out);
        for selector in &self.others {
            out.extend_from_slice(b" (");
            selector.describe(out);
            out.push(b')');
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
