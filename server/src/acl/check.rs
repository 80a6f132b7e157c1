//! Whether a user may run a command.

use slotcore_engine::cmd::{Args, CommandSpec, Flags, KeyFlags, Run, ServerCmd, for_each_key};

use super::pattern::Access;
use super::selector::Selector;
use super::user::User;

/// What a user may not do. Of several selectors the one that came furthest decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Denial {
    /// Run the command at all.
    Command,
    /// Touch the key that is this argument.
    Key(usize),
    /// Use the channel that is this argument.
    Channel(usize),
}

/// A denial, with the texts that go with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// What is denied.
    pub what: Denial,
    /// The command, key or channel.
    pub object: Vec<u8>,
}

impl Denied {
    /// `command`, `key` or `channel`.
    pub fn reason(&self) -> &'static str {
        match self.what {
            Denial::Command => "command",
            Denial::Key(_) => "key",
            Denial::Channel(_) => "channel",
        }
    }

    /// What the client hears.
    pub fn reply(&self) -> String {
        let what = match self.what {
            Denial::Command => {
                return format!(
                    "NOPERM this user has no permissions to run the '{}' command",
                    self.object()
                );
            }
            Denial::Key(_) => "keys",
            Denial::Channel(_) => "channels",
        };
        format!("NOPERM this user has no permissions to access one of the {what} used as arguments")
    }

    /// What `ACL DRYRUN` says.
    pub fn explain(&self) -> String {
        let (verb, what) = match self.what {
            Denial::Command => ("run", "command"),
            Denial::Key(_) => ("access", "key"),
            Denial::Channel(_) => ("access", "channel"),
        };
        format!("This user has no permissions to {verb} the '{}' {what}", self.object())
    }

    fn object(&self) -> String {
        String::from_utf8_lossy(&self.object).replace(['\r', '\n'], " ")
    }
}

impl User {
    /// Whether he may run this command with these arguments, whose number was checked.
    ///
    /// # Errors
    /// What is denied to him.
    pub fn check(&self, spec: &CommandSpec, args: &Args<'_>) -> Result<(), Denied> {
        // Coming in and going is everybody's right.
        if spec.flags.has(Flags::NO_AUTH) {
            return Ok(());
        }
        let mut furthest = Denial::Command;
        for selector in self.selectors() {
            match selector.check(spec, args) {
                Ok(()) => return Ok(()),
                Err(denial) => furthest = furthest.max(denial),
            }
        }
        let object = match furthest {
            Denial::Command => spec.full_name.as_bytes(),
            Denial::Key(at) | Denial::Channel(at) => args.get(at),
        };
        Err(Denied {
            what: furthest,
            object: object.to_vec(),
        })
    }
}

impl Selector {
    fn check(&self, spec: &CommandSpec, args: &Args<'_>) -> Result<(), Denial> {
        if !self.commands.allows(spec, args) {
            return Err(Denial::Command);
        }
        let mut denial = None;
        if !self.all_keys {
            for_each_key(spec, args, |keys, at| {
                let is_key = !keys.flags.has(KeyFlags::NOT_KEY);
                if is_key && denial.is_none() && !self.allows_key(args.get(at), Access::needed(keys.flags)) {
                    denial = Some(Denial::Key(at));
                }
            });
            denial = denial.or_else(|| self.check_sort(spec, args));
        }
        if denial.is_none() && !self.all_channels {
            let (mut channels, literal) = channels_of(spec, args);
            denial = channels
                .find(|&at| !self.allows_channel(args.get(at), literal))
                .map(Denial::Channel);
        }
        denial.map_or(Ok(()), Err)
    }

    /// BY and GET make SORT read keys whose names nobody can tell beforehand.
    fn check_sort(&self, spec: &CommandSpec, args: &Args<'_>) -> Option<Denial> {
        if spec.name != "sort" && spec.name != "sort_ro" {
            return None;
        }
        let is_option = |at: usize| {
            [&b"by"[..], b"get"]
                .iter()
                .any(|word| args.get(at).eq_ignore_ascii_case(word))
        };
        let reads_others = |at: usize| args.try_get(at + 1).is_some_and(|pattern| pattern.contains(&b'*'));
        (2..args.len())
            .find(|&at| is_option(at) && reads_others(at))
            .map(|at| Denial::Key(at + 1))
    }
}

/// Which arguments are channels, and whether they are patterns.
fn channels_of(spec: &CommandSpec, args: &Args<'_>) -> (std::ops::Range<usize>, bool) {
    use ServerCmd as C;
    match spec.run {
        Run::Server(C::Publish | C::SPublish) => (1..2, false),
        Run::Server(C::Subscribe | C::SSubscribe) => (1..args.len(), false),
        Run::Server(C::PSubscribe) => (1..args.len(), true),
        _ => (0..0, false),
    }
}
