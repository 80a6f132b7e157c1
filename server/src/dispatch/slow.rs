//! Commands that took long.

use std::time::Duration;

use slotcore_engine::cmd::stored::users_words;
use slotcore_engine::cmd::{Args, CommandSpec};
use slotcore_rt::clock::{Clock, SystemClock, Tick};

use crate::batch::Who;
use crate::core_state::CoreState;
use crate::metrics::{LatencyKind, SlowLog, slow_log};
use crate::scripts;

impl CoreState {
    /// Puts a command that took long into the slow log and the latency events.
    pub(crate) fn note_slow(&mut self, who: Who, args: Args<'_>, spec: &'static CommandSpec, began: Tick) {
        self.note_time(who, args, spec, SystemClock.tick().since(began));
    }

    /// [`CoreState::note_slow`] for a command that took this long, or will have taken.
    pub(super) fn note_time(&mut self, who: Who, args: Args<'_>, spec: &'static CommandSpec, took: Duration) {
        let took_us = took.as_micros() as u64;
        let settings = self.server.config.settings();
        let at_s = self.now.wall_us / 1_000_000;
        if SlowLog::is_slow(took_us, settings.slow_log_slower_than_us) {
            let mut words = Vec::with_capacity(args.len());
            let opened = scripts::opened(spec, &args);
            let (spec, args) = opened
                .as_ref()
                .map_or((spec, args), |(spec, op, spans)| (*spec, Args::new(op, spans)));
            words.push(spec.container().unwrap_or(spec.name).as_bytes());
            words.extend(users_words(spec, &args));
            slow_log::redact(spec, &mut words);
            let (peer, name) = match who {
                Who::Client(id) => match self.server.clients.get(id.index()) {
                    Some(client) => (client.peer.to_string(), client.name.clone()),
                    None => return,
                },
                // The client is another core's, which knows it.
                Who::Core(core, ..) => (format!("core-{core}"), Vec::new()),
                Who::Waiter(_) | Who::Nobody => return,
            };
            let len_max = settings.slow_log_len_max;
            self.server
                .metrics
                .slow_log
                .push(at_s, took_us, words.into_iter(), peer, &name, len_max);
        }
        let ms = (took_us / 1000) as u32;
        self.server
            .metrics
            .latency
            .note(LatencyKind::Command, at_s, ms, settings.latency_threshold_ms);
    }
}
