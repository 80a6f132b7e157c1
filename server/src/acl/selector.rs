//! [`Selector`]: commands, and the keys and channels they may touch.

use slotcore_engine::cmd;

use super::commands_allowed::CommandsAllowed;
use super::pattern::{Access, KeyPattern};

/// See the module's text. A user may do what any of his selectors allows as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    pub(super) commands: CommandsAllowed,
    /// Any key, for anything.
    pub(super) all_keys: bool,
    pub(super) keys: Vec<KeyPattern>,
    pub(super) all_channels: bool,
    pub(super) channels: Vec<Vec<u8>>,
}

impl Selector {
    /// Everything.
    pub(super) fn all() -> Self {
        let mut selector = Self {
            all_keys: true,
            all_channels: true,
            ..Self::default()
        };
        selector.commands.set_all(true);
        selector
    }

    /// True when nothing is forbidden.
    pub(super) fn is_all(&self) -> bool {
        self.all_keys && self.all_channels && self.commands.is_all()
    }

    pub(super) fn allows_key(&self, key: &[u8], needed: Access) -> bool {
        self.all_keys || self.keys.iter().any(|pattern| pattern.allows(key, needed))
    }

    /// `literal`: the channel is itself a pattern, which must be allowed as it stands.
    pub(super) fn allows_channel(&self, channel: &[u8], literal: bool) -> bool {
        self.all_channels
            || self.channels.iter().any(|allowed| match literal {
                true => allowed == channel,
                false => cmd::matches(allowed, channel),
            })
    }

    /// The rules about keys.
    pub(super) fn describe_keys(&self, out: &mut Vec<u8>) {
        if self.all_keys {
            out.extend_from_slice(b"~*");
        }
        for (n, pattern) in self.keys.iter().enumerate() {
            if n > 0 {
                out.push(b' ');
            }
            pattern.describe(out);
        }
    }

    /// The rules about channels.
    pub(super) fn describe_channels(&self, out: &mut Vec<u8>) {
        if self.all_channels {
            out.extend_from_slice(b"&*");
        }
        for (n, channel) in self.channels.iter().enumerate() {
            if n > 0 {
                out.push(b' ');
            }
            out.push(b'&');
            out.extend_from_slice(channel);
        }
    }

    /// All rules, as `ACL LIST` shows them.
    pub(super) fn describe(&self, out: &mut Vec<u8>) {
        let before = out.len();
        self.describe_keys(out);
        if out.len() > before {
            out.push(b' ');
        }
        if self.all_channels || !self.channels.is_empty() {
            if !self.all_channels {
                out.extend_from_slice(b"resetchannels ");
            }
            self.describe_channels(out);
        } else {
            out.extend_from_slice(b"resetchannels");
        }
        out.push(b' ');
        self.commands.describe(out);
    }
}
