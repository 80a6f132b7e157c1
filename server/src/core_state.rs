//! [`CoreState`]: everything a core owns that a command can touch.
//!
//! The synchronous part of a turn is two files beside this one: `dispatch.rs` takes commands from connections, and
//! executes what may be executed at once; `apply.rs` proposes the rest as a batch, and executes it when its entry is
//! committed. From bytes in a connection's input to bytes in its output all of it is plain functions on `&mut self`.
//!
//! Order of replies: as long as a connection has commands in an unapplied batch (`waiting > 0`), everything it sends is
//! put into a batch too. So replies are simply appended, and there are no reply slots. Only while a connection waits for
//! another core it has a [`ReplyOrder`], which puts the replies of all cores into the order of the commands.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use slotcore_engine::cmd::lookup;
use slotcore_engine::keyspace::{Events, Keyspace};
use slotcore_engine::sessions::SessionId;
use slotcore_engine::store::{Store, StoreError};
use slotcore_netio::resp::decode::Limits;
use slotcore_netio::{ConnId, Net, NetEvent};
use slotcore_rt::clock::Tick;
use slotcore_rt::disk::StoreFileName;
use slotcore_rt::ids::CoreId;

use crate::acl::DEFAULT_USER;
use crate::batch::{Batch, Sealed};
use crate::belonging::Belonging;
use crate::blocked::{BlockedClients, Ending};
use crate::clients::{BufferUse, Buffers, ClientState, Endpoint};
use crate::cluster_turn::Replication;
use crate::cold::{ColdDesk, ColdLane};
use crate::commands::ServerState;
use crate::config::Setting;
use crate::copies::{CopyAsks, CopyWaits};
use crate::dataset::Dataset;
use crate::entry_ops::EntryOps;
use crate::gathering::Gathering;
use crate::mesh::Mesh;
use crate::monitor::Monitors;
use crate::nodes::NodeNumber;
use crate::pause::Pause;
use crate::pubsub::{Encoded, Interest, Subscriptions};
use crate::relay::Relay;
use crate::reply_order::ReplyOrder;
use crate::requests_ahead::RequestsAhead;
use crate::route::Router;
use crate::spin::Spin;
use crate::tally::Tally;
use crate::tracking::Tracking;
use crate::transaction::{Calls, Coordinated, Gate, Holds, Session, SpanningWaits, TransactionsKept, Watches};
use crate::window::Window;
use crate::write_gate::WriteGate;

/// Connections looked at for idleness in one turn's end.
const IDLE_CHECK_BUDGET: usize = 64;

/// The time a turn works with, taken once after its sockets were drained.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// Monotonic.
    pub tick: Tick,
    /// Microseconds since 1970.
    pub wall_us: u64,
}

impl Now {
    /// Milliseconds since 1970.
    #[inline]
    pub fn wall_ms(&self) -> u64 {
        self.wall_us / 1000
    }
}

/// Why writes are refused for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteBarrier {
    /// The log cannot grow: the disk is full.
    DiskFull,
    /// The data has reached `--dataset-limit`; or the keys of a core of a cluster, which keeps them all in memory, have reached
    /// its share of `--memory`.
    MemoryFull,
}

/// What the synchronous part of a turn asks of the core loop, beyond replies.
#[derive(Debug, Default)]
pub struct Wishes {
    /// End the process in order: `Some(true)` without waiting for clients to take their replies.
    pub shutdown: Option<bool>,
    /// Settings that changed and have an effect outside the commands.
    pub changed: Vec<Setting>,
    /// Hold the core for this long.
    pub sleep: Option<Duration>,
    /// Ask whoever leads this core's group to hand over to this node.
    pub lead: bool,
    /// That node asks this one to hand over.
    pub hand_over: Option<NodeNumber>,
}

/// What the server keeps of a connection for the sake of order.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    /// Commands in batches that are not applied yet.
    pub waiting: u32,
    /// Commands that another core, or several, have not answered yet.
    pub away: u32,
    /// Those of them whose effect has taken its place in the order of things already: messages published.
    pub publishes_away: u32,
    /// Set while there are such.
    pub order: Option<Box<ReplyOrder>>,
    /// The core that answers a command of its which may block: nothing more is taken until that is answered.
    pub blocks: Option<CoreId>,
    /// Where the connection would be better off.
    pub belonging: Belonging,
    /// Its input was taken up to a `QUIT`; what follows is nobody's business.
    pub said_quit: bool,
    /// It is to be closed behind its last reply.
    pub quits: bool,
    /// The input is malformed from here on: answered when nothing waits any more, then closed.
    pub broken: Option<String>,
    /// Input was left unparsed because too much waits.
    pub held: bool,
    /// Its transaction, and the keys it watches.
    pub session: Session,
    /// Its commands wait for keys in files, or have done so until now.
    pub cold: Option<Box<ColdLane>>,
    /// Input is left unparsed until other connections have got on.
    pub waits_later: bool,
    /// Where, in the input of the window under way, a command stands that must wait: it and what follows stay there.
    pub stop_at: Option<usize>,
}

impl Lane {
    /// True when nothing more is taken from the connection.
    pub fn is_ending(&self) -> bool {
        self.quits || self.broken.is_some()
    }

    /// True while keys in files are awaited.
    #[inline]
    pub fn is_stalled(&self) -> bool {
        self.cold.as_ref().is_some_and(|cold| cold.awaited > 0)
    }

    /// True when input that is there was left alone, and will be looked at again by itself.
    pub fn is_held_up(&self) -> bool {
        self.held || self.waits_later || self.cold.as_ref().is_some_and(|c| c.awaited > 0 || c.rerun.is_some())
    }

    /// Whether the command at `base` of the window under way stays in the input because one before it must wait.
    #[inline]
    pub fn stops_before(&mut self, base: usize) -> bool {
        if self.stop_at.is_none() && !self.is_stalled() {
            return false;
        }
        self.stop(base);
        true
    }

    /// The command at `base` of the window under way stays in the input, with all that follows it. They will be met again.
    pub fn stop(&mut self, base: usize) {
        self.stop_at.get_or_insert(base);
        self.said_quit = false;
        self.blocks = None;
    }
}

/// See the module's text.
pub struct CoreState {
    /// Keys and values.
    pub keyspace: Keyspace,
    /// Keys and values that do not fit the memory.
    pub store: Rc<RefCell<Store>>,
    /// A file that was asked for cannot be read: the process must end.
    pub store_failure: Option<StoreError>,
    pub(crate) cold: ColdDesk,
    /// Holds writes back while too much is not in files yet.
    pub write_gate: WriteGate,
    /// Any command may have to wait: set for a turn.
    pub(crate) wary: bool,
    /// Keys of batches are pinned: they may be evicted soon. From this batch on they all are.
    pub(crate) pins_from: Option<u64>,
    /// Connections.
    pub net: Net,
    /// What commands about connection and server work on.
    pub server: ServerState,
    /// What the core loop should do next.
    pub wishes: Wishes,
    /// Set by the core loop while writes cannot be taken.
    pub write_barrier: Option<WriteBarrier>,
    pub(crate) dataset: Dataset,
    /// Whether there is a limit to be looked at in each turn.
    pub(crate) minds_memory: bool,
    pub(crate) lanes: Vec<Lane>,
    /// Whether to look for work before sleeping.
    pub spin: Spin,
    pub(crate) window: Window,
    /// What goes to the other cores and comes from them.
    pub mesh: Mesh,
    pub(crate) router: Router,
    /// Commands that several cores carry out.
    pub(crate) gatherings: Vec<Option<Gathering>>,
    pub(crate) free_gatherings: Vec<u32>,
    /// By core and connection there: commands for it in batches that are not applied yet.
    pub(crate) foreign_waiting: Vec<Vec<u32>>,
    /// Connections left alone because a core they ask is behind.
    pub(crate) clogged: Vec<ConnId>,
    /// Who listens to what.
    pub(crate) pubsub: Subscriptions,
    pub(crate) encoded: Encoded,
    /// Clients that are shown all commands.
    pub(crate) monitors: Monitors,
    /// Clients that keep copies, and of what.
    pub(crate) tracking: Tracking,
    /// Stands in for the keyspace's while they are told.
    pub(crate) events: Events,
    /// The command being carried out will be answered later, by others.
    pub(crate) diverted: bool,
    /// Connections that would be better off on another core.
    pub(crate) movers: Vec<ConnId>,
    #[allow(
        clippy::vec_box,
        reason = "they move between here and the lanes, where they must be small"
    )]
    pub(crate) spare_orders: Vec<Box<ReplyOrder>>,
    /// The next core that a connection by the any-slot port is given to.
    pub(crate) next_home: u16,
    pub(crate) tally: Tally,
    /// `None`: this core is alone, and leads.
    pub(crate) replication: Option<Box<Replication>>,
    /// Files that were to be deleted may still be there.
    pub(crate) store_deletes: bool,
    /// Files whose names have gone to others with the same contents.
    pub(crate) store_replaced: Vec<StoreFileName>,
    /// Who waits for keys of this core.
    pub blocked: BlockedClients,
    /// Connections of this core that wait for copies of what they wrote.
    pub(crate) copy_waits: CopyWaits,
    /// Who wants to know of copies of this core's log.
    pub copy_asks: CopyAsks,
    /// Commands of clients are held.
    pub(crate) pause: Option<Pause>,
    /// Connections whose next command is held.
    pub(crate) paused: Vec<ConnId>,
    pub(crate) batch: Batch,
    /// Payloads that are ready to be proposed, in order.
    pub(crate) outbox: VecDeque<Bytes>,
    /// Batches sealed and not yet applied, in order; those in the outbox included.
    pub(crate) proposed: VecDeque<Sealed>,
    pub(crate) spare: Vec<Sealed>,
    pub(crate) origin: u64,
    pub(crate) seeds: u64,
    pub(crate) next_batch: u64,
    pub(crate) last_stamp_ms: u64,
    pub(crate) now: Now,
    pub(crate) reads_allowed: bool,
    pub(crate) limits: Limits,
    /// The longest of common commands without the `fast` flag: not worth a clock reading of its own.
    pub(crate) untimed_id: u16,
    /// The slow log wants commands that can hardly be slow, too: all are timed.
    pub(crate) times_all: bool,
    pub(crate) spans: Vec<(u32, u32)>,
    pub(crate) ops: EntryOps,
    pub(crate) requests_ahead: RequestsAhead,
    pub(crate) scratch_in: Vec<u8>,
    /// A script in the form in which it is logged.
    pub(crate) script_op: Vec<u8>,
    pub(crate) scratch_out: Vec<u8>,
    /// Stands in for a connection's output while a reply of it may have to wait.
    pub(crate) ordered_out: Vec<u8>,
    /// Numbers of the arguments that are keys.
    pub(crate) key_numbers: Vec<u32>,
    /// Who watches keys of this core.
    pub(crate) watches: Watches,
    /// Transactions that wait to hear whether watched keys were changed.
    pub(crate) gate: Gate,
    pub(crate) transactions_kept: TransactionsKept,
    /// For which transaction over cores this core is held.
    pub(crate) holds: Holds,
    /// Transactions over cores of this core's connections.
    pub(crate) coordinated: Vec<Coordinated>,
    /// Connections of this core that wait for keys of several cores.
    pub(crate) spanning_waits: SpanningWaits,
    /// Who waits for keys of this core and of others.
    pub(crate) calls: Calls,
    /// Where they get their numbers; set before the first of them.
    pub(crate) spanning_numbers: Arc<AtomicU64>,
    pub(crate) transaction_out: Vec<u8>,
    /// Commands may have to be carried out by another node.
    pub(crate) relays: bool,
    /// Those that are.
    pub(crate) relay: Relay,
}

/// Commands of constant or logarithmic time take less than this many microseconds: while the slow log asks for slower ones
/// only, they are not timed.
const QUICK_US: i64 = 1000;

impl CoreState {
    /// A core without connections. `origin` tells this run of this core from all others, `seed` feeds the random choices
    /// of commands.
    #[allow(
        clippy::too_many_arguments,
        reason = "each is a part that was built before and is owned from here on"
    )]
    pub fn new(
        keyspace: Keyspace,
        store: Rc<RefCell<Store>>,
        net: Net,
        server: ServerState,
        mesh: Mesh,
        interest: Arc<Interest>,
        origin: u64,
        seed: u64,
    ) -> Self {
        let spin_us = server.config.settings().spin_us;
        let mut state = Self {
            keyspace,
            store,
            store_failure: None,
            cold: ColdDesk::default(),
            write_gate: WriteGate::default(),
            wary: false,
            pins_from: None,
            net,
            wishes: Wishes::default(),
            write_barrier: None,
            dataset: Dataset::default(),
            minds_memory: false,
            lanes: Vec::new(),
            spin: Spin::new(Duration::from_micros(u64::from(spin_us))),
            window: Window::default(),
            router: Router::new(),
            gatherings: Vec::new(),
            free_gatherings: Vec::new(),
            foreign_waiting: vec![Vec::new(); mesh.cores()],
            clogged: Vec::new(),
            pubsub: Subscriptions::new(mesh.me(), interest),
            encoded: Encoded::default(),
            monitors: Monitors::default(),
            tracking: Tracking::default(),
            events: Events::default(),
            diverted: false,
            movers: Vec::new(),
            spare_orders: Vec::new(),
            next_home: 0,
            mesh,
            tally: Tally::default(),
            store_deletes: false,
            store_replaced: Vec::new(),
            replication: server.view.is_some().then(|| Box::new(Replication::new())),
            server,
            blocked: BlockedClients::default(),
            copy_waits: CopyWaits::default(),
            copy_asks: CopyAsks::default(),
            pause: None,
            paused: Vec::new(),
            batch: Batch::default(),
            outbox: VecDeque::new(),
            proposed: VecDeque::new(),
            spare: Vec::new(),
            origin,
            seeds: seed,
            next_batch: 1,
            last_stamp_ms: 0,
            now: Now::default(),
            reads_allowed: false,
            limits: Limits::default(),
            untimed_id: lookup(b"set").map_or(0, |spec| spec.id.0),
            times_all: false,
            spans: Vec::new(),
            ops: EntryOps::default(),
            requests_ahead: RequestsAhead::default(),
            scratch_in: Vec::new(),
            script_op: Vec::new(),
            scratch_out: Vec::new(),
            ordered_out: Vec::new(),
            key_numbers: Vec::new(),
            watches: Watches::default(),
            gate: Gate::default(),
            transactions_kept: TransactionsKept::default(),
            holds: Holds::default(),
            coordinated: Vec::new(),
            spanning_waits: SpanningWaits::default(),
            calls: Calls::default(),
            spanning_numbers: Arc::default(),
            transaction_out: Vec::new(),
            relays: false,
            relay: Relay::new(SessionId(u128::from(origin) << 64 | u128::from(seed))),
        };
        state.take_over_settings();
        state
    }

    /// Puts the settings that the synchronous part needs at every command where they are at hand.
    pub fn take_over_settings(&mut self) {
        let settings = self.server.config.settings();
        self.limits.bulk_bytes_max = settings.bulk_bytes_max;
        self.net.set_clients_max(settings.clients_max as usize);
        self.net.set_request_bytes_max(settings.query_buffer_bytes_max as usize);
        let limits = settings.output_buffer_limits;
        self.net
            .set_unsent_limits(limits.normal.for_connections(), limits.pubsub.for_connections());
        self.times_all = (0..QUICK_US).contains(&settings.slow_log_slower_than_us);
        self.server.metrics.slow_log.limit(settings.slow_log_len_max);
        self.keyspace.show_encodings_by(settings.encoding_limits());
        self.listen_to_keys();
        self.take_over_dataset_limit();
    }

    /// Notes connections that came and went.
    pub fn take_net_events(&mut self, now: Now) {
        // First of all: their numbers may be in use again.
        self.send_released();
        self.spread_arrivals();
        self.net.enforce_soft_limit(now.tick);
        while let Some(event) = self.net.next_event() {
            match event {
                NetEvent::Opened(id) => {
                    let needs_password = self.server.acl.needs_login();
                    let client_id = self.server.clients.issue_id();
                    let Some(conn) = self.net.conn(id) else { continue };
                    let mut client = ClientState::new(
                        client_id,
                        conn.peer(),
                        conn.local(),
                        conn.fd(),
                        now.tick,
                        needs_password,
                    );
                    client.is_restricted = self
                        .server
                        .acl
                        .get(DEFAULT_USER)
                        .is_none_or(|user| !user.may_do_everything());
                    let own_port = self.server.cluster.node(self.server.core).port;
                    if conn.local().port() == own_port {
                        client.endpoint = Endpoint::Core;
                    }
                    self.server.clients.insert(id.index(), client);
                    self.fresh_lane(id);
                    self.server.metrics.net.connections_total += 1;
                }
                NetEvent::Closed(id) => {
                    self.pubsub.forget(id);
                    self.end_session(id);
                    self.end_wait_of(id, Ending::Gone);
                    self.forget_paused(id);
                    if self.monitors.is_on {
                        self.set_monitors(id, false);
                    }
                    if self.tracking.is_on {
                        self.track(id, None);
                    }
                    self.forget_cold(id.index());
                    self.server.clients.remove(id.index());
                }
            }
        }
        let stats = self.net.stats();
        self.server.metrics.net.rejected_connections = stats.rejected;
        self.server.metrics.net.input_bytes = stats.bytes_in;
        self.server.metrics.net.output_bytes = stats.bytes_out;
        self.server.metrics.net.output_limit_disconnections = stats.closed_for_output;
        self.server.metrics.net.query_limit_disconnections = stats.closed_for_input;
    }

    /// Closes connections that were silent for too long, a few at a time. `from`: where the last call stopped; returns
    /// where the next one goes on.
    pub fn close_idle(&mut self, from: usize, now: Now) -> usize {
        let timeout_s = self.server.config.settings().idle_timeout_s;
        if timeout_s == 0 {
            return 0;
        }
        let mut idle = Vec::new();
        let next = self
            .server
            .clients
            .idle(from, IDLE_CHECK_BUDGET, now.tick, timeout_s, &mut idle);
        for slot in idle {
            if let Some(id) = self.net.id_at(slot) {
                self.net.kill(id);
            }
        }
        next
    }

    /// A connection begins here.
    pub(crate) fn fresh_lane(&mut self, id: ConnId) {
        if id.index() >= self.lanes.len() {
            self.lanes.resize_with(id.index() + 1, Lane::default);
        }
        self.forget_cold(id.index());
        self.lanes[id.index()] = Lane::default();
    }

    /// Sends what this turn has for other cores. False when some of it found no room: to be tried again soon.
    pub fn send_mail(&mut self) -> bool {
        self.tell_changed();
        let all = self.mesh.flush();
        if all {
            for id in self.clogged.drain(..) {
                self.net.mark_ready(id);
            }
        }
        all
    }

    /// True when nothing is under way: no command, no reply, no message.
    pub fn is_quiet(&self) -> bool {
        let gathers = self.gatherings.len() > self.free_gatherings.len() + self.spanning_waits.at_rest();
        // Who waits for a key is not waited for.
        let is_away = |lane: &Lane| lane.order.is_some() && (lane.blocks.is_none() || lane.away > 1);
        let away = self.lanes.iter().any(is_away);
        self.commands_in_flight() == 0
            && !self.net.has_ready()
            && self.net.unsent() == 0
            && self.mesh.is_quiet()
            && self.cold.is_quiet()
            && !gathers
            && !self.holds.is_wanted()
            && !away
    }

    /// Commands that wait for their entry.
    pub fn commands_in_flight(&self) -> u64 {
        self.proposed
            .iter()
            .map(|sealed| sealed.items.len() as u64)
            .sum::<u64>()
            + self.batch.len() as u64
    }
}

/// What connections hold, for `CLIENT LIST`.
pub(crate) struct NetBuffers<'a>(pub &'a Net);

impl Buffers for NetBuffers<'_> {
    fn of(&self, slot: usize) -> BufferUse {
        let Some(conn) = self.0.id_at(slot).and_then(|id| self.0.conn(id)) else {
            return BufferUse::default();
        };
        BufferUse {
            query_bytes: conn.unread() as u64,
            query_free_bytes: 0,
            output_bytes: conn.unsent() as u64,
            total_bytes: conn.memory() as u64,
        }
    }
}

/// Names a connection of the core in the order of things.
pub(crate) fn lane_of(lanes: &mut [Lane], id: ConnId) -> &mut Lane {
    &mut lanes[id.index()]
}
