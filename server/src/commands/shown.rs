//! [`Shown`]: what the commands that show figures look at, of this core alone or of all cores together.

use slotcore_engine::cmd::{Args, Reply, ServerCmd};
use slotcore_rt::clock::Tick;
use slotcore_rt::ids::CoreId;

use super::{Around, Flow, ServerCtx, ServerIdentity, ServerState, info, latency, lifecycle, memory, slowlog};
use crate::clients::Endpoint;
use crate::cluster_map::ClusterMap;
use crate::config::ConfigRegistry;
use crate::leadership::ClusterView;
use crate::metrics::{ConnFacts, CoreFacts, CoreMetrics, CoreSnapshot, DataFacts};

/// See the module's text.
#[derive(Clone, Copy)]
pub(super) struct Shown<'a> {
    /// The configuration in force.
    pub config: &'a ConfigRegistry,
    /// What was counted.
    pub metrics: &'a CoreMetrics,
    /// What others counted.
    pub facts: &'a CoreFacts,
    /// What the keyspace tells.
    pub data: DataFacts,
    /// What connections hold.
    pub conns: ConnFacts,
    /// What stays the same.
    pub identity: &'a ServerIdentity,
    /// Who owns which slots.
    pub cluster: &'a ClusterMap,
    /// The other nodes; `None`: there are none.
    pub view: Option<&'a ClusterView>,
    /// The core that answers.
    pub core: CoreId,
    /// What kind of port the caller came in by.
    pub endpoint: Endpoint,
    /// Now.
    pub now: Tick,
    /// Now, in microseconds since 1970.
    pub wall_us: u64,
}

impl<'a> Shown<'a> {
    /// This core alone.
    pub fn of(ctx: &'a ServerCtx<'_>) -> Self {
        // The caller was taken out of the registry.
        let slots = ctx.clients.iter().map(|(slot, _)| slot).chain([ctx.slot]);
        Self {
            config: ctx.config,
            metrics: ctx.metrics,
            facts: ctx.facts,
            data: DataFacts::of(ctx.keyspace),
            conns: ConnFacts::of(ctx.clients.len(), slots.map(|slot| ctx.buffers.of(slot))),
            identity: ctx.identity,
            cluster: ctx.cluster,
            view: ctx.view,
            core: ctx.core,
            endpoint: ctx.endpoint,
            now: ctx.now,
            wall_us: ctx.wall_us,
        }
    }

    /// Seconds since 1970.
    pub fn wall_s(&self) -> u64 {
        self.wall_us / 1_000_000
    }
}

type Show = fn(&Shown<'_>, Args<'_>, &mut dyn Reply) -> Flow;

/// How a command shows figures, if that is what it does.
pub(super) fn shown_by(cmd: ServerCmd) -> Option<Show> {
    use ServerCmd as C;
    Some(match cmd {
        C::Info => info::info,
        C::LastSave => |shown, _, out| lifecycle::last_save(shown, out),
        C::SlowlogGet => slowlog::get,
        C::SlowlogLen => |shown, _, out| slowlog::len(shown, out),
        C::LatencyDoctor => |shown, _, out| latency::doctor(shown, out),
        C::LatencyGraph => latency::graph,
        C::LatencyHistogram => latency::histogram,
        C::LatencyHistory => latency::history,
        C::LatencyLatest => |shown, _, out| latency::latest(shown, out),
        C::MemoryDoctor => |shown, _, out| memory::doctor(shown, out),
        C::MemoryStats => |shown, _, out| memory::stats(shown, out),
        _ => return None,
    })
}

/// Whether a command shows figures that, on the any-slot port, are those of all cores together: it is then to be run by
/// [`ServerState::run_merged`].
pub fn shows_all_cores(cmd: ServerCmd) -> bool {
    shown_by(cmd).is_some()
}

impl ServerState {
    /// Carries out a command of which [`shows_all_cores`] is true, for the client in `slot`, over this core's figures
    /// merged with those of the `others`. [`ServerState::facts`] must be current. Copies this core's histograms (some
    /// hundred KiB). Any other command does nothing.
    pub fn run_merged(
        &mut self,
        cmd: ServerCmd,
        slot: usize,
        args: Args<'_>,
        around: Around<'_>,
        others: &[CoreSnapshot],
        out: &mut dyn Reply,
    ) -> Flow {
        let (Some(show), Some(conn)) = (shown_by(cmd), self.clients.take(slot)) else {
            debug_assert!(false, "{cmd:?} shows nothing, or nobody is in slot {slot}");
            return Flow::Done;
        };
        let ctx = self.ctx(slot, conn.endpoint, around);
        let mut shown = Shown::of(&ctx);
        let (mut metrics, mut facts) = (shown.metrics.clone(), shown.facts.clone());
        for other in others {
            metrics.merge(&other.metrics);
            facts.merge(&other.facts);
            shown.data.merge(&other.data);
            shown.conns.merge(&other.conns);
        }
        metrics.slow_log.limit(shown.config.settings().slow_log_len_max);
        let shown = Shown {
            metrics: &metrics,
            facts: &facts,
            ..shown
        };
        let flow = show(&shown, args, out);
        self.clients.put_back(slot, conn);
        flow
    }
}
