//! The commands about connection and server: plain functions over everything they may look at or change, which
//! [`ServerState`] and [`Around`] hold. They touch no socket and no clock; what must happen outside is their [`Flow`].
//!
//! Answers and error texts are those of Redis 7.0, and of 7.2 for the few commands that came with it. Source: each
//! command's page on <https://redis.io/commands>, and the wire of redis-server 7.0.15.

use std::sync::Arc;
use std::time::Duration;

use slotcore_engine::cmd::{Args, Reply, ServerCmd};
use slotcore_engine::keyspace::Keyspace;
use slotcore_rt::clock::Tick;
use slotcore_rt::ids::CoreId;

use crate::acl::{AclLog, AclTable};
use crate::auth_guard::AuthGuard;
use crate::clients::{Buffers, ClientRegistry, ClientState, Endpoint};
use crate::cluster_map::ClusterMap;
use crate::config::{Config, ConfigRegistry, Setting};
use crate::leadership::ClusterView;
use crate::metrics::{ConnFacts, CoreFacts, CoreMetrics, CoreSnapshot, DataFacts};
use crate::pause::Pause;
use crate::saving::Saving;
use arguments::refuse;
use shown::Shown;

mod acl;
mod arguments;
mod client;
mod cluster;
mod command;
mod config;
mod connection;
mod copies;
mod debug;
mod failover;
mod growing;
mod help;
mod info;
mod latency;
mod lifecycle;
mod membership;
mod memory;
pub mod refusals;
mod replication;
mod saving;
mod shown;
mod slowlog;

pub use connection::hello_reply;
pub(crate) use copies::{CopyWish, certain_copies, write_copies};
pub use refusals::{Conditions, NOAUTH, refusal};
pub use shown::shows_all_cores;

/// The Redis version that clients are told: they choose features by it. Ours is in `INFO server` as `slotcore_version`.
///
/// 7.2 is the last version under the BSD licence; what of it is missing here answers "unknown command", which clients take
/// for a server that lacks the feature.
pub use slotcore_engine::script::REDIS_VERSION;

/// What stays the same while the process lives.
#[derive(Clone, Debug)]
pub struct ServerIdentity {
    /// Random for each start: 40 hexadecimal digits.
    pub run_id: String,
    /// `uname -r`.
    pub kernel_release: String,
    /// This process.
    pub process_id: u32,
    /// Where the Redis port really is (it may have been asked for as 0).
    pub port: u16,
    /// Path of the program.
    pub executable: String,
    /// Bytes of memory the machine has.
    pub machine_memory_bytes: u64,
    /// When the server was ready.
    pub started_at: Tick,
}

impl ServerIdentity {
    /// Of this process, which serves on `port` from now on.
    ///
    /// # Errors
    /// When the system has no randomness, or `/proc` is not mounted.
    pub fn of_this_process(port: u16, started_at: Tick) -> std::io::Result<Self> {
        let mut random = [0u8; 20];
        slotcore_rt::rng::os_entropy(&mut random)?;
        Ok(Self {
            run_id: random.iter().map(|byte| format!("{byte:02x}")).collect(),
            kernel_release: slotcore_rt::process::kernel_release(),
            process_id: std::process::id(),
            port,
            executable: slotcore_rt::process::executable(),
            machine_memory_bytes: slotcore_rt::mem::machine_bytes()?,
            started_at,
        })
    }
}

/// What server commands work on, apart from the data: one of these a core.
#[derive(Debug)]
pub struct ServerState {
    /// The configuration in force.
    pub config: ConfigRegistry,
    /// Everybody connected.
    pub clients: ClientRegistry,
    /// What was counted.
    pub metrics: CoreMetrics,
    /// What others counted; to be brought up to date before a command that shows it ([`shows_facts`]).
    pub facts: CoreFacts,
    /// Whoever guesses passwords.
    pub auth: AuthGuard,
    /// Users and what they may do.
    pub acl: AclTable,
    /// What they were denied.
    pub acl_log: AclLog,
    /// What stays the same.
    pub identity: ServerIdentity,
    /// Who owns which slots.
    pub cluster: Arc<ClusterMap>,
    /// The other nodes; `None`: there are none.
    pub view: Option<ClusterView>,
    /// This core.
    pub core: CoreId,
    /// False when expired keys are removed only as they are met (`DEBUG SET-ACTIVE-EXPIRE 0`).
    pub active_expire: bool,
    /// What is to be made durable, and kept for a backup.
    pub saving: Saving,
}

impl ServerState {
    /// A core without clients.
    pub fn new(config: Config, identity: ServerIdentity, cluster: Arc<ClusterMap>, core: CoreId) -> Self {
        let (first_client, cores) = (u64::from(core.0) + 1, cluster.cores() as u64);
        Self {
            acl: config.users.clone(),
            acl_log: AclLog::default(),
            config: ConfigRegistry::new(config),
            clients: ClientRegistry::new(first_client, cores),
            metrics: CoreMetrics::of_core(core, cluster.cores()),
            facts: CoreFacts::default(),
            auth: AuthGuard::default(),
            identity,
            cluster,
            view: None,
            core,
            active_expire: true,
            saving: Saving::default(),
        }
    }

    /// What this core counted, for others to look at. Copies every histogram (some hundred KiB): for the asking, or once a
    /// second, not for a turn. [`ServerState::facts`] must be current.
    pub fn snapshot(&self, keyspace: &Keyspace, buffers: &dyn Buffers) -> CoreSnapshot {
        let held = self.clients.iter().map(|(slot, _)| buffers.of(slot));
        CoreSnapshot {
            core: self.core,
            metrics: self.metrics.clone(),
            facts: self.facts.clone(),
            data: DataFacts::of(keyspace),
            conns: ConnFacts::of(self.clients.len(), held),
            group: None,
        }
    }

    /// Carries out one command, whose arity was checked, for the client in `slot`.
    pub fn run(
        &mut self,
        cmd: ServerCmd,
        slot: usize,
        args: Args<'_>,
        around: Around<'_>,
        out: &mut dyn Reply,
    ) -> Flow {
        let Some(mut conn) = self.clients.take(slot) else {
            debug_assert!(false, "nobody is in slot {slot}");
            return Flow::Done;
        };
        let mut ctx = self.ctx(slot, conn.endpoint, around);
        let flow = run(cmd, &mut ctx, &mut conn, args, out);
        self.clients.put_back(slot, conn);
        flow
    }
}

impl ServerState {
    /// Carries out a command for a client of another core. `local`: it is on this machine.
    pub fn run_visiting(
        &mut self,
        cmd: ServerCmd,
        args: Args<'_>,
        local: bool,
        around: Around<'_>,
        out: &mut dyn Reply,
    ) -> Flow {
        let mut visitor = ClientState::visitor(out.proto(), local, around.now);
        let mut ctx = self.ctx(usize::MAX, visitor.endpoint, around);
        run(cmd, &mut ctx, &mut visitor, args, out)
    }

    /// For a command of the client that was taken out of `slot`.
    fn ctx<'a>(&'a mut self, slot: usize, endpoint: Endpoint, around: Around<'a>) -> ServerCtx<'a> {
        ServerCtx {
            config: &mut self.config,
            clients: &mut self.clients,
            buffers: around.buffers,
            metrics: &mut self.metrics,
            facts: &self.facts,
            auth: &mut self.auth,
            acl: &mut self.acl,
            acl_log: &mut self.acl_log,
            keyspace: around.keyspace,
            identity: &self.identity,
            cluster: &self.cluster,
            view: self.view.as_ref(),
            core: self.core,
            endpoint,
            active_expire: &mut self.active_expire,
            saving: &mut self.saving,
            slot,
            now: around.now,
            wall_us: around.wall_us,
        }
    }
}

/// What a command may look at besides [`ServerState`].
pub struct Around<'a> {
    /// The data.
    pub keyspace: &'a mut Keyspace,
    /// What connections hold in their buffers.
    pub buffers: &'a dyn Buffers,
    /// Now.
    pub now: Tick,
    /// Now, in microseconds since 1970.
    pub wall_us: u64,
}

/// The slot whose owner must carry out this command, when its answer depends on that: on the any-slot port it is sent
/// there, on a core's port the core answers for what it holds.
pub fn slot_asked(cmd: ServerCmd, args: &Args<'_>) -> Option<u16> {
    cluster::slot_asked(cmd, args)
}

/// Whether a command shows [`ServerState::facts`], which are worth gathering only then.
pub fn shows_facts(cmd: ServerCmd) -> bool {
    matches!(cmd, ServerCmd::Info | ServerCmd::LastSave | ServerCmd::Role)
}

/// Everything a server command may look at or change.
struct ServerCtx<'a> {
    /// The configuration in force.
    pub config: &'a mut ConfigRegistry,
    /// Everybody connected, the caller excepted (it was taken out of the registry).
    pub clients: &'a mut ClientRegistry,
    /// What connections hold in their buffers.
    pub buffers: &'a dyn Buffers,
    /// What was counted.
    pub metrics: &'a mut CoreMetrics,
    /// What others counted, as of now.
    pub facts: &'a CoreFacts,
    /// Whoever guesses passwords.
    pub auth: &'a mut AuthGuard,
    /// Users and what they may do.
    pub acl: &'a mut AclTable,
    /// What they were denied.
    pub acl_log: &'a mut AclLog,
    /// The data, for commands that count or measure it.
    pub keyspace: &'a mut Keyspace,
    /// What stays the same.
    pub identity: &'a ServerIdentity,
    /// Who owns which slots.
    pub cluster: &'a ClusterMap,
    /// The other nodes.
    pub view: Option<&'a ClusterView>,
    /// This core.
    pub core: CoreId,
    /// What kind of port the caller came in by.
    pub endpoint: Endpoint,
    /// False when expired keys are removed only as they are met (`DEBUG SET-ACTIVE-EXPIRE 0`).
    pub active_expire: &'a mut bool,
    /// What is to be made durable, and kept for a backup.
    pub saving: &'a mut Saving,
    /// The registry's slot of the connection that runs the command.
    pub slot: usize,
    /// Now.
    pub now: Tick,
    /// Now, in microseconds since 1970.
    pub wall_us: u64,
}

impl ServerCtx<'_> {
    /// Seconds since 1970.
    pub(crate) fn wall_s(&self) -> u64 {
        self.wall_us / 1_000_000
    }
}

/// What must happen after a command, besides sending what it wrote and, when [`ClientState::close_after_reply`] is set,
/// closing the connection after that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Nothing.
    Done,
    /// Nothing was written yet: `ClientState::proto` may have changed; make a writer for it and call [`hello_reply`].
    Hello,
    /// Close the connections in these slots at once.
    Kill(Vec<usize>),
    /// End the wait of the connection in this slot, with an error or as if its time were up.
    Unblock {
        /// Its slot.
        slot: usize,
        /// As an error.
        error: bool,
    },
    /// Hold commands of clients.
    Pause(Pause),
    /// Hold them no longer.
    Unpause,
    /// Put changed settings into force.
    Reconfigure(Vec<Setting>),
    /// Ask the node that leads this core's group to hand over to this one.
    Lead,
    /// Hold the whole core for this long before anything is sent (`DEBUG SLEEP`).
    Sleep(Duration),
    /// Drain, seal and end; the client gets no reply.
    Shutdown {
        /// Do not wait for clients to take their replies.
        now: bool,
    },
}

fn run(cmd: ServerCmd, ctx: &mut ServerCtx<'_>, conn: &mut ClientState, args: Args<'_>, out: &mut dyn Reply) -> Flow {
    use ServerCmd as C;
    match cmd {
        C::Ping => connection::ping(conn, args, out),
        C::Echo => connection::echo(args, out),
        C::Hello => connection::hello(ctx, conn, args, out),
        C::Auth => connection::auth(ctx, conn, args, out),
        C::Select => connection::select(conn, args, out),
        C::Quit => connection::quit(conn, out),
        C::Reset => connection::reset(ctx, conn, out),
        C::AclCat => acl::cat(args, out),
        C::AclDelUser => acl::del_user(ctx, conn, args, out),
        C::AclDryRun => acl::dry_run(ctx, args, out),
        C::AclGenPass => acl::gen_pass(args, out),
        C::AclGetUser => acl::get_user(ctx, args, out),
        C::AclHelp => help::write("ACL", help::ACL, out),
        C::AclList => acl::list(ctx, out),
        C::AclLoad => acl::load(ctx, conn, out),
        C::AclLog => acl::log(ctx, args, out),
        C::AclSave => acl::save(ctx, out),
        C::AclSetUser => acl::set_user(ctx, conn, args, out),
        C::AclUsers => acl::users(ctx, out),
        C::AclWhoami => acl::whoami(conn, out),
        C::ClientId => client::id(conn, out),
        C::ClientGetName => client::get_name(conn, out),
        C::ClientSetName => client::set_name(conn, args, out),
        C::ClientSetInfo => client::set_info(conn, args, out),
        C::ClientInfo => client::info(ctx, conn, out),
        C::ClientList => client::list(ctx, conn, args, out),
        C::ClientKill => client::kill(ctx, conn, args, out),
        C::ClientNoEvict => client::no_evict(conn, args, out),
        C::ClientNoTouch => client::no_touch(conn, args, out),
        C::ClientReadMode => client::read_mode(conn, args, out),
        C::Monitor => {
            out.ok();
            Flow::Done
        }
        C::ClientTracking | C::ClientCaching | C::ClientTrackingInfo | C::ClientGetRedir => Flow::Done,
        C::ClientReply => client::reply(conn, args, out),
        C::ClientPause => client::pause(ctx, args, out),
        C::ClientUnpause => client::unpause(out),
        C::ClientUnblock => client::unblock(ctx, args, out),
        C::ClientHelp => help::write("CLIENT", help::CLIENT, out),
        C::PubsubHelp => help::write("PUBSUB", help::PUBSUB, out),
        // Carried out where the connections are.
        C::Subscribe | C::Unsubscribe | C::PSubscribe | C::PUnsubscribe | C::SSubscribe | C::SUnsubscribe => Flow::Done,
        C::Publish | C::SPublish => Flow::Done,
        C::PubsubChannels | C::PubsubNumSub | C::PubsubNumPat | C::PubsubShardChannels | C::PubsubShardNumSub => {
            Flow::Done
        }
        C::Info => info::info(&Shown::of(ctx), args, out),
        C::ConfigGet => config::get(ctx, args, out),
        C::ConfigSet => config::set(ctx, args, out),
        C::ConfigRewrite => config::rewrite(ctx, out),
        C::ConfigResetStat => config::reset_stat(ctx, out),
        C::ConfigHelp => help::write("CONFIG", help::CONFIG, out),
        C::Command => command::all(out),
        C::CommandCount => command::count(out),
        C::CommandDocs => command::docs(args, out),
        C::CommandGetKeys => command::get_keys(args, false, out),
        C::CommandGetKeysAndFlags => command::get_keys(args, true, out),
        C::CommandInfo => command::info(args, out),
        C::CommandList => command::list(args, out),
        C::CommandHelp => help::write("COMMAND", help::COMMAND, out),
        C::Time => lifecycle::time(ctx, out),
        C::LastSave => lifecycle::last_save(&Shown::of(ctx), out),
        C::Save => saving::save(ctx, out),
        C::BgSave => saving::save_in_background(ctx, args, out),
        C::BgRewriteAof => saving::rewrite_log(ctx, out),
        C::Backup => saving::backup(ctx, args, out),
        C::Shutdown => lifecycle::shutdown(args, out),
        C::Wait | C::WaitAof => copies::at_once(ctx, cmd, args, out),
        C::Debug => debug::debug(ctx, conn, args, out),
        C::SlowlogGet => slowlog::get(&Shown::of(ctx), args, out),
        C::SlowlogLen => slowlog::len(&Shown::of(ctx), out),
        C::SlowlogReset => slowlog::reset(ctx, out),
        C::SlowlogHelp => help::write("SLOWLOG", help::SLOWLOG, out),
        C::LatencyDoctor => latency::doctor(&Shown::of(ctx), out),
        C::LatencyGraph => latency::graph(&Shown::of(ctx), args, out),
        C::LatencyHistogram => latency::histogram(&Shown::of(ctx), args, out),
        C::LatencyHistory => latency::history(&Shown::of(ctx), args, out),
        C::LatencyLatest => latency::latest(&Shown::of(ctx), out),
        C::LatencyReset => latency::reset(ctx, args, out),
        C::LatencyHelp => help::write("LATENCY", help::LATENCY, out),
        C::MemoryDoctor => memory::doctor(&Shown::of(ctx), out),
        C::MemoryMallocStats => memory::malloc_stats(out),
        C::MemoryPurge => memory::purge(out),
        C::MemoryStats => memory::stats(&Shown::of(ctx), out),
        C::MemoryHelp => help::write("MEMORY", help::MEMORY, out),
        C::ClusterInfo => cluster::info(ctx, out),
        C::ClusterMyId | C::ClusterMyShardId => cluster::my_id(ctx, out),
        C::ClusterKeySlot => cluster::key_slot(args, out),
        C::ClusterSlots => cluster::slots(ctx, out),
        C::ClusterShards => cluster::shards(ctx, out),
        C::ClusterNodes => cluster::nodes(ctx, out),
        C::ClusterLinks => cluster::links(out),
        C::ClusterCountFailureReports => cluster::count_failure_reports(ctx, args, out),
        C::ClusterCountKeysInSlot => cluster::count_keys_in_slot(ctx, args, out),
        C::ClusterGetKeysInSlot => cluster::get_keys_in_slot(ctx, args, out),
        C::ClusterReplicas => cluster::replicas(ctx, args, out),
        C::ClusterDrain => growing::drain(ctx, args, out),
        C::ClusterRemoveNode => growing::remove_node(ctx, args, out),
        C::ClusterSetReplicas => growing::set_replicas(ctx, args, out),
        C::ClusterMeet => membership::meet(ctx, args, out),
        C::ClusterForget => membership::forget(ctx, args, out),
        C::ClusterReplicate => refuse(out, membership::NO_PLACES),
        C::ClusterReset => refuse(out, membership::NO_RESET),
        C::ClusterAddSlots | C::ClusterDelSlots | C::ClusterFlushSlots => refuse(out, membership::NO_SLOTS),
        C::ClusterSetSlot => refuse(out, membership::NO_MOVES),
        C::ClusterSetConfigEpoch => refuse(out, membership::NO_EPOCHS),
        C::ClusterBumpEpoch => cluster::bump_epoch(ctx, out),
        // The list of nodes is written down before it is used.
        C::ClusterSaveConfig => cluster::accepted(out),
        C::ClusterFailover => failover::failover(ctx, args, out),
        C::ClusterHelp => help::write("CLUSTER", help::CLUSTER, out),
        C::Role => replication::role(ctx, out),
        C::ReplicaOf => replication::replica_of(ctx, args, out),
        C::Lolwut => lifecycle::lolwut(out),
        C::ModuleList => {
            out.array(0);
            Flow::Done
        }
        C::ModuleHelp => help::write("MODULE", help::MODULE, out),
        C::Readonly => cluster::reads_replica(conn, true, out),
        C::Readwrite => cluster::reads_replica(conn, false, out),
        C::Asking => cluster::accepted(out),
    }
}
