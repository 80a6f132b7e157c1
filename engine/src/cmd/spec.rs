//! [`CommandSpec`]: everything there is to know about one command, in one value.
//!
//! The tables in `table/` are made of these. Lookup, dispatch, routing by key, COMMAND and its subcommands and the
//! per-family metrics all read them; nothing about a command is written down a second time.

use super::exec::DataFn;
use super::server_cmd::ServerCmd;
use super::transaction::Step;

/// The number by which a command is known in the log. On disk: never renumbered, never used again for another command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u16);

/// Properties of a command, as bits. The names and their order are those of the COMMAND reply of Redis 7.0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u32);

impl Flags {
    /// None of them.
    pub const NONE: Flags = Flags(0);
    /// May change the keyspace: goes through the log.
    pub const WRITE: Flags = Flags(1);
    /// Reads keys and changes nothing.
    pub const READONLY: Flags = Flags(1 << 1);
    /// Refused when memory is exhausted.
    pub const DENYOOM: Flags = Flags(1 << 2);
    /// For administrators.
    pub const ADMIN: Flags = Flags(1 << 3);
    /// Not to be called from scripts.
    pub const NOSCRIPT: Flags = Flags(1 << 4);
    /// May make the client wait.
    pub const BLOCKING: Flags = Flags(1 << 5);
    /// Works while the data is being loaded.
    pub const LOADING: Flags = Flags(1 << 6);
    /// Works on a replica that lost its leader.
    pub const STALE: Flags = Flags(1 << 7);
    /// Constant or logarithmic time.
    pub const FAST: Flags = Flags(1 << 8);
    /// Works before authentication.
    pub const NO_AUTH: Flags = Flags(1 << 9);
    /// Works while a script runs for too long.
    pub const ALLOW_BUSY: Flags = Flags(1 << 10);
    /// Not to be called inside MULTI.
    pub const NO_MULTI: Flags = Flags(1 << 11);
    /// Its keys are not all where first key, last key and step say. Follows from the key specs.
    pub const MOVABLE_KEYS: Flags = Flags(1 << 12);
    /// About publishing and subscribing.
    pub const PUBSUB: Flags = Flags(1 << 13);
    /// Never in the slow log: what it carries out is.
    pub const SKIP_SLOWLOG: Flags = Flags(1 << 14);
    /// Goes through the log although it need not write: a script. COMMAND does not show it.
    pub const LOGGED: Flags = Flags(1 << 16);
    /// MONITOR shows what it carries out, not the command itself.
    pub const SKIP_MONITOR: Flags = Flags(1 << 17);
    /// Its first argument that is no name is a script. COMMAND does not show it.
    pub const HAS_SCRIPT: Flags = Flags(1 << 19);
    /// Runs a script. COMMAND does not show it.
    pub const RUNS_SCRIPT: Flags = Flags(1 << 20);
    /// Does not work while a replica loads a copy beside its data.
    pub const NO_ASYNC_LOADING: Flags = Flags(1 << 21);
    /// May be called without any of the keys that it can have.
    pub const NO_MANDATORY_KEYS: Flags = Flags(1 << 18);

    /// Names a database besides its keys, or where one of them is. COMMAND does not show it.
    pub const NAMES_DATABASE: Flags = Flags(1 << 24);

    const NAMES: [(Flags, &'static str); 18] = [
        (Flags::WRITE, "write"),
        (Flags::READONLY, "readonly"),
        (Flags::DENYOOM, "denyoom"),
        (Flags::ADMIN, "admin"),
        (Flags::PUBSUB, "pubsub"),
        (Flags::NOSCRIPT, "noscript"),
        (Flags::BLOCKING, "blocking"),
        (Flags::LOADING, "loading"),
        (Flags::STALE, "stale"),
        (Flags::SKIP_MONITOR, "skip_monitor"),
        (Flags::SKIP_SLOWLOG, "skip_slowlog"),
        (Flags::FAST, "fast"),
        (Flags::NO_AUTH, "no_auth"),
        (Flags::NO_ASYNC_LOADING, "no_async_loading"),
        (Flags::NO_MULTI, "no_multi"),
        (Flags::NO_MANDATORY_KEYS, "no_mandatory_keys"),
        (Flags::MOVABLE_KEYS, "movablekeys"),
        (Flags::ALLOW_BUSY, "allow_busy"),
    ];

    /// Both sets together.
    pub const fn and(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// Whether all of `other` are set.
    #[inline]
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether one of `other` is set.
    #[inline]
    pub const fn has_any(self, other: Flags) -> bool {
        self.0 & other.0 != 0
    }

    /// The names of those set, in the order of the COMMAND reply.
    pub fn names(self) -> impl Iterator<Item = &'static str> + Clone {
        Self::NAMES.iter().filter(move |(f, _)| self.has(*f)).map(|(_, n)| *n)
    }
}

/// ACL categories of a command, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Categories(pub u32);

impl Categories {
    /// None stated; see [`CommandSpec::categories`] for those that follow from the flags.
    pub const NONE: Categories = Categories(0);
    /// Works on keys of any type.
    pub const KEYSPACE: Categories = Categories(1);
    /// Reads.
    pub const READ: Categories = Categories(1 << 1);
    /// Writes.
    pub const WRITE: Categories = Categories(1 << 2);
    /// Sets.
    pub const SET: Categories = Categories(1 << 3);
    /// Sorted sets.
    pub const SORTEDSET: Categories = Categories(1 << 4);
    /// Lists.
    pub const LIST: Categories = Categories(1 << 5);
    /// Hashes.
    pub const HASH: Categories = Categories(1 << 6);
    /// Strings.
    pub const STRING: Categories = Categories(1 << 7);
    /// Strings as arrays of bits.
    pub const BITMAP: Categories = Categories(1 << 8);
    /// HyperLogLogs.
    pub const HYPERLOGLOG: Categories = Categories(1 << 9);
    /// Places on earth.
    pub const GEO: Categories = Categories(1 << 10);
    /// Streams.
    pub const STREAM: Categories = Categories(1 << 11);
    /// Publishing and subscribing.
    pub const PUBSUB: Categories = Categories(1 << 12);
    /// For administrators.
    pub const ADMIN: Categories = Categories(1 << 13);
    /// Constant or logarithmic time.
    pub const FAST: Categories = Categories(1 << 14);
    /// Not fast.
    pub const SLOW: Categories = Categories(1 << 15);
    /// May make the client wait.
    pub const BLOCKING: Categories = Categories(1 << 16);
    /// Can do harm.
    pub const DANGEROUS: Categories = Categories(1 << 17);
    /// About the connection.
    pub const CONNECTION: Categories = Categories(1 << 18);
    /// Transactions.
    pub const TRANSACTION: Categories = Categories(1 << 19);
    /// Scripts.
    pub const SCRIPTING: Categories = Categories(1 << 20);

    const NAMES: [&'static str; 21] = [
        "@keyspace",
        "@read",
        "@write",
        "@set",
        "@sortedset",
        "@list",
        "@hash",
        "@string",
        "@bitmap",
        "@hyperloglog",
        "@geo",
        "@stream",
        "@pubsub",
        "@admin",
        "@fast",
        "@slow",
        "@blocking",
        "@dangerous",
        "@connection",
        "@transaction",
        "@scripting",
    ];

    /// Both sets together.
    pub const fn and(self, other: Categories) -> Categories {
        Categories(self.0 | other.0)
    }

    /// The names of those set, each with its `@`, in the order of the COMMAND reply.
    pub fn names(self) -> impl Iterator<Item = &'static str> + Clone {
        Self::NAMES
            .iter()
            .enumerate()
            .filter(move |(bit, _)| self.0 >> bit & 1 == 1)
            .map(|(_, n)| *n)
    }
}

/// What a command does with the keys of one [`KeySpec`], as bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyFlags(pub u16);

impl KeyFlags {
    /// Reads the value.
    pub const RO: KeyFlags = KeyFlags(1);
    /// Reads and changes the value.
    pub const RW: KeyFlags = KeyFlags(1 << 1);
    /// Overwrites the value without looking at it.
    pub const OW: KeyFlags = KeyFlags(1 << 2);
    /// Removes the key without looking at the value.
    pub const RM: KeyFlags = KeyFlags(1 << 3);
    /// Gives away what the value holds.
    pub const ACCESS: KeyFlags = KeyFlags(1 << 4);
    /// What it writes may depend on what was there.
    pub const UPDATE: KeyFlags = KeyFlags(1 << 5);
    /// Adds data, and never changes what is there.
    pub const INSERT: KeyFlags = KeyFlags(1 << 6);
    /// Deletes data on purpose.
    pub const DELETE: KeyFlags = KeyFlags(1 << 7);
    /// The flags depend on the arguments.
    pub const VARIABLE: KeyFlags = KeyFlags(1 << 8);
    /// Is no key, but belongs to a slot as one does: a channel of sharded publishing.
    pub const NOT_KEY: KeyFlags = KeyFlags(1 << 9);

    const NAMES: [&'static str; 10] = [
        "RO",
        "RW",
        "OW",
        "RM",
        "access",
        "update",
        "insert",
        "delete",
        "variable_flags",
        "not_key",
    ];

    /// Both sets together.
    pub const fn and(self, other: KeyFlags) -> KeyFlags {
        KeyFlags(self.0 | other.0)
    }

    /// Whether all of `other` are set.
    pub const fn has(self, other: KeyFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// The names of those set, in the order of the COMMAND reply.
    pub fn names(self) -> impl Iterator<Item = &'static str> + Clone {
        Self::NAMES
            .iter()
            .enumerate()
            .filter(move |(bit, _)| self.0 >> bit & 1 == 1)
            .map(|(_, n)| *n)
    }
}

/// Where the search for some keys of a command begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySearch {
    /// At this argument.
    Index(i32),
    /// Behind every argument that is `word`, from argument `from` on.
    Keyword {
        /// In upper case.
        word: &'static str,
        /// Argument number.
        from: i32,
    },
    /// Behind the STORE of a SORT, which is an option as long as it is no argument of another one. COMMAND calls it
    /// unknown.
    SortStore,
    /// Named by the contents of other keys.
    Unknown,
}

/// Which arguments are keys, once the search has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFind {
    /// Every `step`th argument up to `last`, which counts from the first key, or from the end if negative (-1 is the last
    /// argument).
    Range {
        /// The last key.
        last: i32,
        /// Distance between keys.
        step: i32,
    },
    /// As many as the first argument says; the first follows it.
    Counted {
        /// Distance between keys.
        step: i32,
    },
    /// The first half of all arguments that follow.
    FirstHalf,
    /// See [`KeySearch::Unknown`].
    Unknown,
}

/// Where some keys of a command are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// What is done with them.
    pub flags: KeyFlags,
    /// A remark for readers of COMMAND; empty for none.
    pub notes: &'static str,
    /// Where to begin.
    pub search: KeySearch,
    /// Which they are.
    pub find: KeyFind,
}

impl KeySpec {
    /// First key, last key and step, for keys at fixed places.
    const fn fixed(&self) -> Option<(i32, i32, i32)> {
        match (self.search, self.find) {
            (KeySearch::Index(first), KeyFind::Range { last, step }) => {
                Some((first, if last < 0 { last } else { first + last }, step))
            }
            _ => None,
        }
    }
}

/// The family a command belongs to in the documentation and in metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// Strings.
    String,
    /// Keys of any type.
    Generic,
    /// Lists.
    List,
    /// Sets.
    Set,
    /// Hashes.
    Hash,
    /// Sorted sets.
    SortedSet,
    /// Strings as arrays of bits.
    Bitmap,
    /// HyperLogLogs.
    HyperLogLog,
    /// Places on earth.
    Geo,
    /// Streams.
    Stream,
    /// Publishing and subscribing.
    PubSub,
    /// The connection.
    Connection,
    /// The server.
    Server,
    /// The cluster.
    Cluster,
    /// Transactions.
    Transactions,
    /// Scripts and functions.
    Scripting,
}

impl Group {
    /// All groups.
    pub const ALL: [Group; 16] = [
        Group::String,
        Group::Generic,
        Group::List,
        Group::Set,
        Group::Hash,
        Group::SortedSet,
        Group::Bitmap,
        Group::HyperLogLog,
        Group::Geo,
        Group::Stream,
        Group::PubSub,
        Group::Connection,
        Group::Server,
        Group::Cluster,
        Group::Transactions,
        Group::Scripting,
    ];

    /// The name as COMMAND DOCS prints it.
    pub const fn name(self) -> &'static str {
        match self {
            Group::String => "string",
            Group::Generic => "generic",
            Group::List => "list",
            Group::Set => "set",
            Group::Hash => "hash",
            Group::SortedSet => "sorted-set",
            Group::Bitmap => "bitmap",
            Group::HyperLogLog => "hyperloglog",
            Group::Geo => "geo",
            Group::Stream => "stream",
            Group::PubSub => "pubsub",
            Group::Connection => "connection",
            Group::Server => "server",
            Group::Cluster => "cluster",
            Group::Transactions => "transactions",
            Group::Scripting => "scripting",
        }
    }
}

/// Who carries a command out.
#[derive(Clone, Copy, Debug)]
pub enum Run {
    /// A function on the keyspace, here in the engine.
    Data(DataFn),
    /// The server, which knows connections, configuration and the cluster.
    Server(ServerCmd),
    /// The server, which keeps the transactions of connections, and the engine together.
    Transaction(Step),
    /// Nobody: its subcommands do ([`CommandSpec::subcommands`]).
    Container,
}

impl Run {
    /// True of an operation that holds others.
    #[inline]
    pub const fn is_carrier(self) -> bool {
        matches!(self, Run::Transaction(Step::Carry))
    }
}

/// One command or subcommand. See the module's text.
#[derive(Clone, Copy, Debug)]
pub struct CommandSpec {
    /// Its name in lower case; a subcommand's own part only.
    pub name: &'static str,
    /// The name with its container's, as in `object|encoding`; equal to `name` for top-level commands.
    pub full_name: &'static str,
    /// The number in the log.
    pub id: CommandId,
    /// Number of arguments, the name (and the subcommand's name) included; negative: at least so many.
    pub arity: i8,
    /// Properties.
    pub flags: Flags,
    /// ACL categories, those that follow from the flags included.
    pub categories: Categories,
    /// Argument number of the first key, 0 without keys.
    pub first_key: i32,
    /// Argument number of the last key, or negative from the end.
    pub last_key: i32,
    /// Distance between keys.
    pub key_step: i32,
    /// Where the keys are.
    pub key_specs: &'static [KeySpec],
    /// Hints for clients and proxies.
    pub tips: &'static [&'static str],
    /// The subcommands of a container.
    pub subcommands: &'static [CommandSpec],
    /// Family.
    pub group: Group,
    /// The Redis version that had it first.
    pub since: &'static str,
    /// Time complexity.
    pub complexity: &'static str,
    /// What it does, in a few words.
    pub summary: &'static str,
    /// Since which Redis version it is out of use and what replaces it.
    pub deprecated: Option<(&'static str, &'static str)>,
    /// What a client of Redis would find different; empty for nothing.
    pub differs: &'static str,
    /// Who carries it out.
    pub run: Run,
}

impl CommandSpec {
    /// A command with everything derived that can be: categories from the flags, the old-style key range from the key
    /// specs.
    pub(super) const fn new(
        id: u16,
        full_name: &'static str,
        arity: i8,
        flags: Flags,
        categories: Categories,
        keys: &'static [KeySpec],
        run: Run,
    ) -> Self {
        let (first_key, last_key, key_step) = legacy_range(keys);
        Self {
            name: own_part(full_name),
            full_name,
            id: CommandId(id),
            arity,
            flags: if movable(keys) {
                flags.and(Flags::MOVABLE_KEYS)
            } else {
                flags
            },
            categories: implied(flags, categories),
            first_key,
            last_key,
            key_step,
            key_specs: keys,
            tips: &[],
            subcommands: &[],
            group: Group::Generic,
            since: "",
            complexity: "",
            summary: "",
            deprecated: None,
            differs: "",
            run,
        }
    }

    pub(super) const fn doc(
        mut self,
        group: Group,
        since: &'static str,
        complexity: &'static str,
        summary: &'static str,
    ) -> Self {
        (self.group, self.since, self.complexity, self.summary) = (group, since, complexity, summary);
        self
    }

    pub(super) const fn tips(mut self, tips: &'static [&'static str]) -> Self {
        self.tips = tips;
        self
    }

    pub(super) const fn deprecated(mut self, since: &'static str, replaced_by: &'static str) -> Self {
        self.deprecated = Some((since, replaced_by));
        self
    }

    pub(super) const fn differs(mut self, differs: &'static str) -> Self {
        self.differs = differs;
        self
    }

    pub(super) const fn subcommands(mut self, subcommands: &'static [CommandSpec]) -> Self {
        self.subcommands = subcommands;
        self
    }

    /// The container's name, for a subcommand.
    pub fn container(&self) -> Option<&'static str> {
        self.full_name.split_once('|').map(|(container, _)| container)
    }

    /// Whether `arg_count` arguments (names included) are as many as the command takes.
    #[inline]
    pub const fn accepts(&self, arg_count: usize) -> bool {
        if self.arity >= 0 {
            arg_count == self.arity as usize
        } else {
            arg_count >= self.arity.unsigned_abs() as usize
        }
    }

    /// Whether it goes through the log.
    #[inline]
    pub const fn is_write(&self) -> bool {
        self.flags.0 & (Flags::WRITE.0 | Flags::LOGGED.0) != 0
    }

    /// The subcommand called `name`, upper or lower case.
    pub fn subcommand(&self, name: &[u8]) -> Option<&'static CommandSpec> {
        self.subcommands
            .iter()
            .find(|s| s.name.as_bytes().eq_ignore_ascii_case(name))
    }
}

/// What follows the `|`, or everything.
const fn own_part(full_name: &'static str) -> &'static str {
    let bytes = full_name.as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        if bytes[i] == b'|' {
            return full_name.split_at(i + 1).1;
        }
        i += 1;
    }
    full_name
}

/// Redis derives these categories from the flags when it starts (`setImplicitACLCategories`).
const fn implied(flags: Flags, stated: Categories) -> Categories {
    let mut c = stated;
    if flags.has(Flags::WRITE) {
        c = c.and(Categories::WRITE);
    }
    // What a script reads is its own business.
    if flags.has(Flags::READONLY) && stated.0 & Categories::SCRIPTING.0 == 0 {
        c = c.and(Categories::READ);
    }
    if flags.has(Flags::ADMIN) {
        c = c.and(Categories::ADMIN).and(Categories::DANGEROUS);
    }
    if flags.has(Flags::PUBSUB) {
        c = c.and(Categories::PUBSUB);
    }
    if flags.has(Flags::BLOCKING) {
        c = c.and(Categories::BLOCKING);
    }
    c.and(if flags.has(Flags::FAST) {
        Categories::FAST
    } else {
        Categories::SLOW
    })
}

/// Whether some keys are not at fixed places.
const fn movable(keys: &[KeySpec]) -> bool {
    let mut i = 0;
    while i < keys.len() {
        if keys[i].fixed().is_none() {
            return true;
        }
        i += 1;
    }
    false
}

/// First key, last key and step that cover all keys at fixed places.
const fn legacy_range(keys: &[KeySpec]) -> (i32, i32, i32) {
    let (mut range, mut i) = ((0, 0, 0), 0);
    while i < keys.len() {
        match keys[i].fixed() {
            Some(fixed) if range.0 == 0 => range = fixed,
            Some((_, last, _)) => range.1 = last,
            None => {}
        }
        i += 1;
    }
    range
}
