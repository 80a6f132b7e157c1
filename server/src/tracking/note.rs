//! [`Tracking`]: what a core knows of clients that keep copies; and the noting of what they read.
//!
//! Whether a command's keys are noted is decided when it is taken from its connection, in the order in which commands came:
//! `CLIENT CACHING` is about the next one. It travels with the command: as a mark of its item in the batch, or in `How` to
//! another core.

use slotcore_engine::cmd::transaction::{Step, for_each_operation};
use slotcore_engine::cmd::{Args, CommandSpec, Flags, Run, for_each_key, spanning};
use slotcore_engine::database::users_key;
use slotcore_netio::ConnId;

use super::tell::Changed;
use super::{Holder, TrackedKeys};
use crate::core_state::{CoreState, lane_of};
use crate::scripts;

/// See the module's text.
#[derive(Debug, Default)]
pub struct Tracking {
    /// Some client of some core tracks, as last seen.
    pub(crate) is_on: bool,
    /// The command that is carried out now reads for a client of this core that keeps copies.
    pub(crate) copies: bool,
    /// Which clients hold which keys of this core.
    pub(crate) keys: TrackedKeys,
    /// A key that has too many holders.
    crowded: Option<Box<[u8]>>,
    /// The command that is carried out now reads and changes keys for this client: what it changes it may have read
    /// afterwards.
    pub(super) rereads: Option<Holder>,
    /// Clients of this core that track.
    pub(super) trackers: Vec<ConnId>,
    /// Keys that have changed in this turn, for those of them in broadcast mode.
    pub(super) changed: Changed,
}

impl Tracking {
    /// A command is carried out for `who`, who keeps copies of what it reads.
    #[cold]
    pub(crate) fn note(&mut self, who: Holder, spec: &'static CommandSpec, args: &Args<'_>) {
        if let Some((spec, operation, spans)) = scripts::opened(spec, args) {
            return self.note(who, spec, &Args::new(operation, &spans));
        }
        // A script may read any key it was given.
        let is_script = spec.flags.has(Flags::LOGGED);
        if matches!(spec.run, Run::Transaction(Step::CarryPart)) {
            return spanning::with_own_part(args, |spec, args| self.note(who, spec, &args));
        }
        let carries = matches!(spec.run, Run::Transaction(Step::Carry));
        if (is_script || carries) && spec.is_write() {
            self.rereads = Some(who);
        }
        if carries {
            for_each_operation(args, 0, |spec, args, _| self.note(who, spec, &args));
        } else if is_script || spec.flags.has(Flags::READONLY) {
            // As in Redis, a copy is one of the key in any database.
            for_each_key(spec, args, |_, at| self.note_key(users_key(args.get(at)), who));
        }
    }

    /// `key`: as its user wrote it.
    pub(super) fn note_key(&mut self, key: &[u8], who: Holder) {
        if !self.keys.note(key, who) {
            self.crowded = Some(key.into());
        }
    }

    /// The next command.
    pub(crate) fn command_done(&mut self) {
        (self.copies, self.rereads) = (false, None);
    }
}

impl CoreState {
    /// A command was taken from a connection: whether its keys are to be noted, should it read.
    #[cold]
    pub(crate) fn keeps_copies(&mut self, id: ConnId, spec: Option<&'static CommandSpec>) -> bool {
        let in_multi = lane_of(&mut self.lanes, id).session.queue.is_some();
        let client = self.server.clients.get_mut(id.index());
        let Some(mode) = client.and_then(|client| client.tracking.as_deref_mut()) else {
            return false;
        };
        match spec.map(|spec| spec.run) {
            Some(Run::Transaction(Step::Exec | Step::Discard)) => mode.notes_next(),
            // What is kept is carried out with EXEC, and what was said before MULTI is about all of it.
            Some(Run::Transaction(Step::Multi)) => false,
            _ if in_multi => false,
            Some(Run::Server(_)) if spec.is_some_and(|spec| spec.container() == Some("client")) => false,
            _ => mode.notes_next(),
        }
    }

    /// A command is carried out for a client of another core, or for a part of one of this core's, which keeps copies.
    #[cold]
    pub(crate) fn note_for(&mut self, who: Holder, spec: &'static CommandSpec, args: &Args<'_>) {
        if !self.tracking.is_on {
            // Its core has seen the counter raised, this one not yet.
            self.turn_tracking(true);
        }
        self.tracking.note(who, spec, args);
    }

    /// To be called in each turn, before commands are taken from connections and from other cores.
    #[inline]
    pub(crate) fn tend_tracking(&mut self) {
        let on = self.pubsub.interest().anybody_tracks();
        if on || self.tracking.is_on {
            self.turn_tracking(on);
            self.give_up_copies();
        }
    }

    /// Begins or ends looking at changes.
    #[cold]
    pub(super) fn turn_tracking(&mut self, on: bool) {
        if on == self.tracking.is_on {
            return;
        }
        self.tracking.is_on = on;
        if !on {
            self.tracking.keys = TrackedKeys::default();
        }
        self.listen_to_keys();
    }

    /// Keeps what is noted within its limits.
    #[cold]
    fn give_up_copies(&mut self) {
        if let Some(key) = self.tracking.crowded.take() {
            let holders = self.tracking.keys.take(&key);
            self.tell_holders(&key, &holders, None);
        }
        let cores = self.mesh.cores() as u64;
        let keys_max = self.server.config.settings().tracking_keys_max.div_ceil(cores);
        let keys_max = usize::try_from(keys_max).unwrap_or(usize::MAX);
        while let Some((key, holders)) = self.tracking.keys.take_excess(keys_max) {
            self.tell_holders(&key, &holders, None);
        }
    }

    /// Brings what `INFO` shows up to date.
    pub(crate) fn count_tracked(&mut self) {
        let prefixes = self.tracking.trackers.iter().filter_map(|id| {
            let client = self.server.clients.get(id.index())?;
            Some(client.tracking.as_ref()?.prefixes.iter())
        });
        let prefixes: std::collections::BTreeSet<_> = prefixes.flatten().collect();
        self.server.facts.tracking_prefixes = prefixes.len() as u64;
        self.server.facts.tracking_clients = self.tracking.trackers.len() as u64;
        self.server.facts.tracked_keys = self.tracking.keys.len() as u64;
        self.server.facts.tracked_items = self.tracking.keys.items() as u64;
    }
}
