//! [`CommandsAllowed`]: a set of commands, and the rules that made it.

use slotcore_engine::cmd::{Args, Categories, CommandSpec, commands, lookup};

/// Numbers of commands end below this.
const IDS: usize = 1024;
const WORDS: usize = IDS / 64;

/// See the module's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CommandsAllowed {
    /// By number.
    bits: [u64; WORDS],
    /// Commands yet unknown are allowed: the rules began with all.
    future: bool,
    /// Allowed with this first argument only: `+select|0`.
    first_arguments: Vec<(u16, Vec<u8>)>,
    /// The rules since all or none were allowed, in order.
    rules: Vec<String>,
}

impl Default for CommandsAllowed {
    fn default() -> Self {
        Self {
            bits: [0; WORDS],
            future: false,
            first_arguments: Vec::new(),
            rules: Vec::new(),
        }
    }
}

/// A rule about commands that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unclear {
    /// No such command or category.
    Unknown,
    /// `+config|get|x`: a subcommand has no first argument to allow.
    FirstArgumentOfSubcommand,
    /// `-select|0`: only allowing works by first argument.
    Denied,
}

fn each_with_subcommands() -> impl Iterator<Item = &'static CommandSpec> {
    commands().flat_map(|spec| std::iter::once(spec).chain(spec.subcommands))
}

impl CommandsAllowed {
    /// All that there are and will be, or none.
    pub fn set_all(&mut self, allowed: bool) {
        *self = Self {
            bits: [if allowed { u64::MAX } else { 0 }; WORDS],
            future: allowed,
            ..Self::default()
        };
    }

    /// True when every command may run, whatever its arguments.
    pub fn is_all(&self) -> bool {
        self.future && self.bits == [u64::MAX; WORDS]
    }

    fn put(&mut self, spec: &CommandSpec, allowed: bool) {
        let id = usize::from(spec.id.0);
        let bit = 1 << (id % 64);
        match allowed {
            true => self.bits[id / 64] |= bit,
            false => self.bits[id / 64] &= !bit,
        }
        self.first_arguments.retain(|(with, _)| *with != spec.id.0);
    }

    fn has(&self, spec: &CommandSpec) -> bool {
        let id = usize::from(spec.id.0);
        self.bits[id / 64] >> (id % 64) & 1 == 1
    }

    /// `+name`, `-name`, `+name|subcommand`, `+name|first-argument`, `+@category`.
    pub fn change(&mut self, name: &[u8], allowed: bool) -> Result<(), Unclear> {
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        if let Some(category) = name.strip_prefix('@') {
            self.change_category(category, allowed)?;
        } else {
            match name.split_once('|') {
                None => self.change_whole(lookup(name.as_bytes()).ok_or(Unclear::Unknown)?, allowed),
                Some((container, part)) => {
                    let spec = lookup(container.as_bytes()).ok_or(Unclear::Unknown)?;
                    self.change_part(spec, part, allowed)?;
                }
            }
        }
        self.note(name, allowed);
        Ok(())
    }

    fn change_whole(&mut self, spec: &'static CommandSpec, allowed: bool) {
        self.put(spec, allowed);
        spec.subcommands.iter().for_each(|sub| self.put(sub, allowed));
    }

    fn change_part(&mut self, spec: &'static CommandSpec, part: &str, allowed: bool) -> Result<(), Unclear> {
        if part.is_empty() {
            return Err(Unclear::Unknown);
        }
        if part.contains('|') {
            return Err(Unclear::FirstArgumentOfSubcommand);
        }
        match spec.subcommands.iter().find(|sub| sub.name == part) {
            Some(sub) => self.put(sub, allowed),
            None if !spec.subcommands.is_empty() => return Err(Unclear::Unknown),
            None if !allowed => return Err(Unclear::Denied),
            None => {
                let entry = (spec.id.0, part.as_bytes().to_vec());
                if !self.first_arguments.contains(&entry) {
                    self.first_arguments.push(entry);
                }
            }
        }
        Ok(())
    }

    fn change_category(&mut self, category: &str, allowed: bool) -> Result<(), Unclear> {
        let wanted = category_of(category).ok_or(Unclear::Unknown)?;
        each_with_subcommands()
            .filter(|spec| spec.categories.0 & wanted.0 != 0)
            .for_each(|spec| self.put(spec, allowed));
        Ok(())
    }

    /// The latest word on a command or category replaces the earlier ones.
    fn note(&mut self, name: String, allowed: bool) {
        let part_of_it = format!("{name}|");
        self.rules
            .retain(|rule| rule[1..] != name && !rule[1..].starts_with(&part_of_it));
        self.rules.push(format!("{}{name}", if allowed { '+' } else { '-' }));
    }

    /// Whether this command may run with these arguments.
    pub fn allows(&self, spec: &CommandSpec, args: &Args<'_>) -> bool {
        self.has(spec)
            || self.first_arguments.iter().any(|(id, wanted)| {
                *id == spec.id.0 && args.try_get(1).is_some_and(|arg| arg.eq_ignore_ascii_case(wanted))
            })
    }

    /// Rules that mean it.
    pub fn describe(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.future { b"+@all" } else { b"-@all" });
        for rule in &self.rules {
            out.push(b' ');
            out.extend_from_slice(rule.as_bytes());
        }
    }
}

/// The category of this name, without its `@`.
pub(super) fn category_of(name: &str) -> Option<Categories> {
    (0..u32::BITS)
        .map(|bit| Categories(1 << bit))
        .find(|category| category.names().next().is_some_and(|known| known[1..] == *name))
}

/// Names of all categories without their `@`, in the order of `ACL CAT`.
pub(super) fn categories() -> impl ExactSizeIterator<Item = &'static str> {
    let names: Vec<_> = Categories(u32::MAX).names().map(|name| &name[1..]).collect();
    names.into_iter()
}

/// Full names of the commands in a category.
pub(super) fn commands_in(category: Categories) -> Vec<&'static str> {
    each_with_subcommands()
        .filter(|spec| spec.categories.0 & category.0 != 0)
        .map(|spec| spec.full_name)
        .collect()
}
