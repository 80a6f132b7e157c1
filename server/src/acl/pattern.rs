//! [`KeyPattern`]: keys that may be read, written or both.

use slotcore_engine::cmd::{self, KeyFlags};

/// What may be done with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Access {
    /// Its value may be looked at.
    pub read: bool,
    /// It may be changed.
    pub write: bool,
}

impl Access {
    /// Everything.
    pub const ALL: Access = Access {
        read: true,
        write: true,
    };

    /// What a command needs that does this with a key.
    pub fn needed(flags: KeyFlags) -> Self {
        Self {
            read: flags.has(KeyFlags::ACCESS),
            write: flags.has(KeyFlags::INSERT) || flags.has(KeyFlags::DELETE) || flags.has(KeyFlags::UPDATE),
        }
    }

    /// True when this is enough for `needed`.
    pub fn covers(self, needed: Access) -> bool {
        (self.read || !needed.read) && (self.write || !needed.write)
    }
}

/// See the module's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyPattern {
    pub glob: Vec<u8>,
    pub access: Access,
}

impl KeyPattern {
    pub fn allows(&self, key: &[u8], needed: Access) -> bool {
        self.access.covers(needed) && cmd::matches(&self.glob, key)
    }

    /// As a rule that means it.
    pub fn describe(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(match (self.access.read, self.access.write) {
            (true, true) => b"~",
            (true, false) => b"%R~",
            _ => b"%W~",
        });
        out.extend_from_slice(&self.glob);
    }
}
