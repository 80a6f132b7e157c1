//! [`Watches`]: who watches which keys of this core, and whether they have been changed. Pure.
//!
//! A write passes twice. When it is gathered into the batch it is noted at the watched keys that it may write
//! ([`Watches::gathered`]): until that batch has been applied, nobody knows whether they change. When it is applied, what
//! it did to them is judged ([`Watches::before`], [`Watches::after`]).
//!
//! What counts as a change is, as in Redis, what a command does and not what comes out: `SET k v` changes `k` even to the
//! value it had. A command that fails, or says that it did nothing (`SETNX` 0, `SREM` 0, `SET NX` nil), changes nothing, nor
//! does one that met no key and made none. Of a few others that may or may not change a key and do not say so (`GETEX`
//! without an option, `HSET` aside) it is assumed that they do: an EXEC fails once too often rather than once too rarely.
//!
//! A script may write any key of its core, named or not, and so may a write that lets a command go on which has waited. What
//! they changed the keyspace tells ([`Watches::after_unnamed`]).

use std::collections::BTreeMap;

use slotcore_engine::cmd::as_asked;
use slotcore_engine::cmd::stored::may_change;
use slotcore_engine::cmd::{Args, CommandSpec, Flags, KeyFlags, for_each_key, lookup};
use slotcore_engine::database::split;
use slotcore_engine::keyspace::{EventClasses, Keyspace};
use slotcore_netio::ConnId;

/// A connection, by its core and its number there.
pub type Watcher = (u16, (u32, u32));

/// Names a connection of a core.
pub fn watcher(core: u16, conn: ConnId) -> Watcher {
    (core, conn.parts())
}

/// Commands whose 0 says that they changed nothing.
const ZERO_IS_NOTHING: [&str; 31] = [
    "setnx",
    "msetnx",
    "msetex",
    "delex",
    "expire",
    "pexpire",
    "expireat",
    "pexpireat",
    "persist",
    "renamenx",
    "copy",
    "move",
    "lrem",
    "lpushx",
    "rpushx",
    "linsert",
    "sadd",
    "srem",
    "smove",
    "hdel",
    "hsetnx",
    "zrem",
    "zremrangebyrank",
    "zremrangebyscore",
    "zremrangebylex",
    "pfadd",
    "del",
    "unlink",
    "xack",
    "xdel",
    "xtrim",
];
/// Commands whose nil says the same.
const NIL_IS_NOTHING: [&str; 3] = ["set", "zadd", "spop"];

#[derive(Debug, Default)]
struct WatchedKey {
    watchers: Vec<Watcher>,
    /// The last batch that may write it.
    last_write: u64,
}

#[derive(Debug, Default)]
struct Watching {
    /// With whether they were there when the watching began.
    keys: BTreeMap<Box<[u8]>, bool>,
    changed: bool,
}

/// See the module's text.
#[derive(Debug)]
pub struct Watches {
    keys: BTreeMap<Box<[u8]>, WatchedKey>,
    watchers: BTreeMap<Watcher, Watching>,
    /// By command number: what its reply can say.
    zero_is_nothing: Vec<bool>,
    nil_is_nothing: Vec<bool>,
}

/// A watched key that a command is about to write.
#[derive(Debug)]
pub struct Touched {
    key: Box<[u8]>,
    was_there: bool,
}

impl Default for Watches {
    fn default() -> Self {
        Self {
            keys: BTreeMap::new(),
            watchers: BTreeMap::new(),
            zero_is_nothing: marked(&ZERO_IS_NOTHING),
            nil_is_nothing: marked(&NIL_IS_NOTHING),
        }
    }
}

fn marked(names: &[&str]) -> Vec<bool> {
    let ids = names
        .iter()
        .map(|name| lookup(name.as_bytes()).expect("a command of the table").id.0);
    let mut marks = Vec::new();
    for id in ids {
        let at = usize::from(id);
        if at >= marks.len() {
            marks.resize(at + 1, false);
        }
        marks[at] = true;
    }
    marks
}

impl Watches {
    /// True when nobody watches anything: then no write has to pass here.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Keys that somebody watches.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// `who` watches `key` from now on. `there`: the key is visible now. `gathered`: the last batch that commands were put
    /// into; any of them may be about this key.
    pub fn watch(&mut self, who: Watcher, key: &[u8], there: bool, gathered: u64) {
        let watching = self.watchers.entry(who).or_default();
        if watching.keys.contains_key(key) {
            return;
        }
        watching.keys.insert(key.into(), there);
        let watched = self.keys.entry(key.into()).or_default();
        watched.watchers.push(who);
        watched.last_write = watched.last_write.max(gathered);
    }

    /// Every watched key may have been changed by somebody who is not known here.
    pub fn all_changed(&mut self) {
        self.watchers.values_mut().for_each(|watching| watching.changed = true);
    }

    /// All who watch.
    pub fn watchers(&self) -> Vec<Watcher> {
        self.watchers.keys().copied().collect()
    }

    /// Makes known which of the keys that a write names are there, and for one that names none all that are watched: before
    /// [`Watches::before`] and what follows it, while some keys are only in files.
    #[cold]
    pub fn make_known(&self, ks: &mut Keyspace, spec: &CommandSpec, args: &Args<'_>) {
        if spec.key_specs.is_empty() {
            return self.make_all_known(ks);
        }
        for_each_key(spec, args, |_, at| ks.make_known(args.get(at)));
    }

    /// Makes all keys known that somebody watches: before [`Watches::is_unchanged`] and [`Watches::may_expire`], while some
    /// keys are only in files.
    #[cold]
    pub fn make_all_known(&self, ks: &mut Keyspace) {
        self.keys.keys().for_each(|key| ks.make_known(key));
    }

    /// `who` watches nothing any more.
    pub fn forget(&mut self, who: Watcher) {
        let Some(watching) = self.watchers.remove(&who) else {
            return;
        };
        for key in watching.keys.keys() {
            if let Some(watched) = self.keys.get_mut(key) {
                watched.watchers.retain(|other| *other != who);
                if watched.watchers.is_empty() {
                    self.keys.remove(key);
                }
            }
        }
    }

    /// A write is put into batch number `batch`.
    /// `waiters`: some command waits, which it may let go on.
    pub fn gathered(&mut self, spec: &CommandSpec, args: &Args<'_>, batch: u64, waiters: bool) {
        if waiters {
            return self.keys.values_mut().for_each(|watched| watched.last_write = batch);
        }
        self.for_each_touched(spec, args, |_, watched| watched.last_write = batch);
    }

    /// The last batch that may change a key which `who` watches.
    pub fn last_write(&self, who: Watcher) -> u64 {
        let Some(watching) = self.watchers.get(&who) else {
            return 0;
        };
        let writes = watching.keys.keys().filter_map(|key| self.keys.get(key));
        writes.map(|watched| watched.last_write).max().unwrap_or(0)
    }

    /// Before a write is applied: the watched keys it may write.
    pub fn before(&mut self, ks: &mut Keyspace, spec: &CommandSpec, args: &Args<'_>) -> Vec<Touched> {
        let mut touched = Vec::new();
        self.for_each_touched(spec, args, |key, _| {
            touched.push(Touched {
                key: key.into(),
                was_there: is_there(ks, key),
            });
        });
        touched
    }

    /// After it: whoever watches a key that was changed is told so. `reply`: what the command answered; empty when nobody
    /// has asked for an answer.
    pub fn after(&mut self, ks: &mut Keyspace, spec: &'static CommandSpec, touched: &[Touched], reply: &[u8]) {
        let did_nothing = self.says_nothing_done(spec, reply);
        for Touched { key, was_there } in touched {
            let changed = match (was_there, is_there(ks, key)) {
                (false, false) => false,
                (true, true) => !did_nothing,
                _ => true,
            };
            if changed {
                self.changed(key);
            }
        }
    }

    /// After something during which the keyspace noted all changes. Whether a key has expired is looked at later.
    pub fn after_unnamed(&mut self, ks: &Keyspace) {
        for event in ks.events().filter(|event| !event.class.has_any(EventClasses::EXPIRED)) {
            if event.class.has_any(EventClasses::CLEARED) {
                self.watchers.values_mut().for_each(|watching| watching.changed = true);
            } else if event.class.has_any(EventClasses::CHANGES) {
                self.changed(event.key);
            }
        }
    }

    fn changed(&mut self, key: &[u8]) {
        let Some(watched) = self.keys.get(key) else { return };
        for who in &watched.watchers {
            if let Some(watching) = self.watchers.get_mut(who) {
                watching.changed = true;
            }
        }
    }

    /// True when no key that `who` watches has been changed, or has expired by `now_ms`. Writes that are not applied yet
    /// are not seen: see [`Watches::last_write`].
    pub fn is_unchanged(&self, ks: &mut Keyspace, who: Watcher, now_ms: u64) -> bool {
        let Some(watching) = self.watchers.get(&who) else {
            return true;
        };
        !watching.changed
            && watching.keys.iter().all(|(key, was_there)| {
                !was_there
                    || ks
                        .expire_at(key)
                        .is_some_and(|expire| expire.is_none_or(|at| at > now_ms))
            })
    }

    /// True when a key that `who` watches will expire.
    pub fn may_expire(&self, ks: &mut Keyspace, who: Watcher) -> bool {
        let keys = self
            .watchers
            .get(&who)
            .into_iter()
            .flat_map(|watching| watching.keys.keys());
        keys.into_iter().any(|key| ks.expire_at(key).flatten().is_some())
    }

    fn says_nothing_done(&self, spec: &'static CommandSpec, reply: &[u8]) -> bool {
        let id = as_asked(spec).id;
        let marked = |marks: &[bool]| marks.get(usize::from(id.0)).copied().unwrap_or(false);
        match reply.first() {
            Some(b'-') => true,
            Some(b':') => marked(&self.zero_is_nothing) && matches!(reply, b":0\r\n" | b":-1\r\n"),
            Some(b'$' | b'_' | b'*') => {
                marked(&self.nil_is_nothing)
                    && (reply.starts_with(b"$-1") || reply.starts_with(b"_") || reply.starts_with(b"*0"))
            }
            _ => false,
        }
    }

    /// The watched keys that a command may write: those of its keys that it does not only read. One that has no keys may
    /// write any, and so may a script.
    fn for_each_touched(&mut self, spec: &CommandSpec, args: &Args<'_>, mut f: impl FnMut(&[u8], &mut WatchedKey)) {
        if spec.key_specs.is_empty() || spec.flags.has(Flags::LOGGED) {
            let concerned = |key: &[u8]| may_change(spec, args, split(key).0);
            let touched = self.keys.iter_mut().filter(|(key, _)| concerned(key));
            touched.for_each(|(key, watched)| f(key, watched));
            return;
        }
        for_each_key(spec, args, |keys, at| {
            if !keys.flags.has(KeyFlags::RO)
                && let Some(watched) = self.keys.get_mut(args.get(at))
            {
                f(args.get(at), watched);
            }
        });
    }
}

/// Whether a key is visible by the keyspace's clock. Counts as no read.
fn is_there(ks: &mut Keyspace, key: &[u8]) -> bool {
    ks.expire_at(key).is_some()
}

#[cfg(test)]
mod tests {
    use slotcore_engine::cmd::{Exec, Run, resolve};
    use slotcore_engine::keyspace::KeyspaceOptions;

    use super::*;
    use crate::parcel::{Asker, How};
    use crate::reply::RespReply;
    use crate::transaction::gate::{Gate, Passed};

    fn me() -> Watcher {
        watcher(0, ConnId::from_parts((7, 1)))
    }

    fn keyspace() -> Keyspace {
        let mut ks = Keyspace::new(KeyspaceOptions::default());
        ks.set_time(1000, 1000);
        ks
    }

    fn with_args<T>(line: &str, f: impl FnOnce(&'static CommandSpec, Args<'_>) -> T) -> T {
        let (mut at, mut spans) = (0, Vec::new());
        for word in line.split(' ') {
            spans.push((at, word.len() as u32));
            at += word.len() as u32 + 1;
        }
        let args = Args::new(line.as_bytes(), &spans);
        f(resolve(&args).unwrap(), args)
    }

    /// Applies a command; whether a watcher of `key` would be told of a change.
    fn changes(ks: &mut Keyspace, key: &str, line: &str) -> bool {
        let mut watches = Watches::default();
        let there = ks.expire_at(key.as_bytes()).is_some();
        watches.watch(me(), key.as_bytes(), there, 0);
        with_args(line, |spec, args| {
            let touched = watches.before(ks, spec, &args);
            let mut out = Vec::new();
            let Run::Data(f) = spec.run else { panic!("{line}") };
            f(&mut Exec::new(ks, args, 1), &mut RespReply::new(&mut out, 2));
            watches.after(ks, spec, &touched, &out);
        });
        !watches.is_unchanged(ks, me(), 1000)
    }

    #[test]
    fn a_change_is_what_a_command_does() {
        let mut ks = keyspace();
        for (line, changed) in [
            ("del k", false),
            ("append k a", true),
            ("set k a", true),
            ("set k a", true),
            ("set k b nx", false),
            ("setnx k b", false),
            ("lpush k b", false),
            ("get k", false),
            ("set other k", false),
            ("copy k other replace", false),
            ("copy other k", false),
            ("copy other k replace", true),
            ("rename k other", true),
            ("rename other k", true),
            ("mset other 1 k 1", true),
            ("incrby k 0", true),
            ("expire k 100 xx", false),
            ("expire k 100", true),
            ("persist k", true),
            ("persist k", false),
            ("del other k", true),
            ("sadd k a", true),
            ("sadd k a", false),
            ("srem k b", false),
            ("sunionstore other k", false),
            ("sdiffstore k k other", true),
            ("flushall", false),
            ("set k 1", true),
            ("flushall", true),
        ] {
            assert_eq!(changes(&mut ks, "k", line), changed, "{line}");
        }
    }

    #[test]
    fn a_key_that_has_expired_has_changed_if_it_was_there() {
        let mut ks = keyspace();
        with_args("set k 1 pxat 1500", |spec, args| {
            let Run::Data(f) = spec.run else { panic!("SET") };
            f(&mut Exec::new(&mut ks, args, 1), &mut slotcore_engine::cmd::NoReply);
        });
        for there in [true, false] {
            let mut watches = Watches::default();
            watches.watch(me(), b"k", there, 0);
            assert!(watches.is_unchanged(&mut ks, me(), 1499));
            assert_eq!(watches.is_unchanged(&mut ks, me(), 1500), !there);
            assert!(watches.may_expire(&mut ks, me()));
        }
    }

    #[test]
    fn who_forgets_leaves_nothing_behind() {
        let mut watches = Watches::default();
        let other = watcher(1, ConnId::from_parts((7, 1)));
        watches.watch(me(), b"a", true, 3);
        watches.watch(other, b"a", true, 5);
        watches.watch(other, b"b", true, 5);
        assert_eq!((watches.len(), watches.last_write(me())), (2, 5));
        watches.forget(other);
        assert_eq!((watches.len(), watches.is_empty()), (1, false));
        watches.forget(other);
        watches.forget(me());
        assert!(watches.is_empty() && watches.watchers.is_empty());
        assert_eq!(watches.last_write(me()), 0);
    }

    #[test]
    fn a_transaction_waits_for_writes_of_its_keys_but_not_for_ever() {
        let (mut watches, mut gate) = (Watches::default(), Gate::default());
        let asker = Asker::exec(ConnId::from_parts((7, 1)));
        watches.watch(me(), b"k", true, 0);
        let write = |watches: &mut Watches, batch| {
            with_args("setnx k 1", |spec, args| watches.gathered(spec, &args, batch, false))
        };
        write(&mut watches, 4);
        gate.hold(0, asker, How::unheard(), b"", 3);
        assert!(!gate.is_due(3) && gate.next(&watches, 3, |_| true).is_none());
        // Its own commands are applied, but not the write.
        assert!(gate.is_due(4) && gate.next(&watches, 4, |_| true).is_none());
        assert!(matches!(gate.next(&watches, 5, |_| true), Some(Passed::Go(_))) && gate.is_empty());
        // Written again each time before it may pass.
        gate.hold(0, asker, How::unheard(), b"", 0);
        let mut batch = 5;
        let passed = loop {
            write(&mut watches, batch);
            match gate.next(&watches, batch, |_| true) {
                Some(passed) => break passed,
                None => batch += 1,
            }
        };
        assert!(matches!(passed, Passed::Failed(_)) && batch < 20);
        // A change is known at once.
        gate.hold(0, asker, How::unheard(), b"", 0);
        assert!(matches!(gate.next(&watches, batch, |_| false), Some(Passed::Failed(_))));
    }
}
