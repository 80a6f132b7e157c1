//! Users and what they may do.
//!
//! [`AclTable`] holds the users, each with passwords and [`Selector`]s: sets of commands with the keys and channels they
//! may touch. Every core has a table of its own, and all are told the same. A connection whose user may do everything is
//! never looked up: that is one bit of [`crate::clients::ClientState`]. Rules and texts are those of Redis
//! 7.0, rules about commands are described in the order in which they were given, as in 7.2 (<https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/>).

mod check;
mod commands_allowed;
mod file;
mod log;
mod pattern;
mod rights;
mod rules;
mod selector;
mod user;

use std::collections::BTreeMap;

pub use check::{Denial, Denied};
pub use file::BadFile;
pub use log::{AclLog, Context, LogEntry};
pub use rights::{read_rights, rights_text};
pub use rules::BadRule;
pub use selector::Selector;
pub use user::{Digest, User, digest};

/// The user of whoever has not said who he is.
pub const DEFAULT_USER: &[u8] = b"default";

/// All users of a core.
#[derive(Clone, Debug)]
pub struct AclTable {
    users: BTreeMap<Vec<u8>, User>,
}

impl AclTable {
    /// The default user alone, who may do everything, with this password or, if that is empty, without.
    pub fn new(password: &str) -> Self {
        let mut table = Self { users: BTreeMap::new() };
        table.users.insert(DEFAULT_USER.to_vec(), User::all_powerful());
        table.set_default_password(password);
        table
    }

    /// What `requirepass` means: the default user has this password and no other; empty: he needs none.
    pub fn set_default_password(&mut self, password: &str) {
        let user = self.users.entry(DEFAULT_USER.to_vec()).or_default();
        user.passwords.clear();
        user.needs_no_password = password.is_empty();
        if !password.is_empty() {
            user.passwords.push(digest(password.as_bytes()));
        }
    }

    /// A user by name.
    pub fn get(&self, name: &[u8]) -> Option<&User> {
        self.users.get(name)
    }

    /// True when there is such a user.
    pub fn has(&self, name: &[u8]) -> bool {
        self.users.contains_key(name)
    }

    /// All users by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &User)> {
        self.users.iter().map(|(name, user)| (&name[..], user))
    }

    /// True when new connections must say who they are: the default user is off or has a password.
    pub fn needs_login(&self) -> bool {
        self.get(DEFAULT_USER)
            .is_none_or(|user| !user.enabled || !user.needs_no_password)
    }

    /// True when this password lets `name` in. Takes as long whether the user exists or not.
    pub fn lets_in(&self, name: &[u8], password: &[u8]) -> bool {
        let given = digest(password);
        self.get(name)
            .is_some_and(|user| user.enabled && (user.needs_no_password || user.has_password(&given)))
    }

    /// Changes a user by rules, or makes a new one: all rules are applied, or none.
    ///
    /// # Errors
    /// The first rule that is wrong, and why.
    pub fn set(&mut self, name: &[u8], rules: &[&[u8]]) -> Result<(), BadRule> {
        let mut user = self.users.get(name).cloned().unwrap_or_default();
        for rule in rules::joined(rules)? {
            rules::apply(&mut user, &rule).map_err(|why| BadRule {
                rule: String::from_utf8_lossy(&rule).into_owned(),
                why,
            })?;
        }
        self.users.insert(name.to_vec(), user);
        Ok(())
    }

    /// Removes a user, not the default one. True: he existed.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        name != DEFAULT_USER && self.users.remove(name).is_some()
    }
}
