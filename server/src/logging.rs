//! The log on standard error: one line an event, for people or as JSON; the level can change while running.
//!
//! Events that matter are variants of [`Event`]: what is logged can be tested and counted, and a field has one name.

use std::io::{self, IsTerminal as _};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use slotcore_engine::store::FileName;
use slotcore_netio::peer::LinkEnd;
use slotcore_rt::ids::{CoreId, LogIndex, Term};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer as _, Registry, fmt};

use crate::config::{Durability, LogFormat, LogLevel};
use crate::nodes::NodeNumber;

/// Changes the level of the running log.
#[derive(Clone, Debug)]
pub struct LogControl {
    level: reload::Handle<Targets, Registry>,
}

/// Starts the log of this process. To be called once, before the first event.
pub fn start(format: LogFormat, level: LogLevel) -> LogControl {
    let colours = std::io::stderr().is_terminal();
    let (subscriber, control) = subscriber(format, level, colours, std::io::stderr);
    subscriber.init();
    control
}

fn subscriber<W>(format: LogFormat, level: LogLevel, colours: bool, writer: W) -> (impl SubscriberInitExt, LogControl)
where
    W: for<'w> fmt::MakeWriter<'w> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(filter_of(level));
    let lines = fmt::layer().with_writer(writer).with_target(false).with_ansi(colours);
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    (
        tracing_subscriber::registry().with(filter).with(lines),
        LogControl { level: handle },
    )
}

impl LogControl {
    /// Puts another level into force.
    pub fn set_level(&self, level: LogLevel) {
        // Fails only when the subscriber is gone, which lives as long as the process.
        let _ = self.level.reload(filter_of(level));
    }
}

/// Libraries that narrate at `info` what only their own developers want to know, and warn of each message that a node which
/// is down does not answer: that it is down is an event of ours, told once.
const TALKATIVE: [&str; 2] = ["openraft", "glommio"];

fn filter_of(level: LogLevel) -> Targets {
    let (ours, theirs) = match level {
        LogLevel::Error => (LevelFilter::ERROR, LevelFilter::ERROR),
        LogLevel::Warn => (LevelFilter::WARN, LevelFilter::ERROR),
        LogLevel::Info => (LevelFilter::INFO, LevelFilter::ERROR),
        LogLevel::Debug => (LevelFilter::DEBUG, LevelFilter::INFO),
    };
    Targets::new()
        .with_default(ours)
        .with_targets(TALKATIVE.map(|target| (target, theirs)))
}

/// The milestones and troubles of a server's life.
#[derive(Debug)]
pub enum Event<'a> {
    /// A script logs.
    ScriptLog {
        /// It called that a warning.
        warns: bool,
        /// What it says.
        text: &'a str,
    },
    /// The configuration was accepted.
    Starting {
        /// Our version.
        version: &'a str,
        /// The data directory.
        dir: &'a Path,
        /// When writes are acknowledged.
        durability: Durability,
    },
    /// Something an operator should think about.
    Warning(&'a str),
    /// The log was read.
    Recovered {
        /// Keys held now.
        keys: u64,
        /// Bytes of log that were read.
        log_bytes: u64,
        /// How long it took.
        took: Duration,
    },
    /// Clients can connect.
    Listening {
        /// Where.
        address: SocketAddr,
    },
    /// The admin HTTP server answers.
    AdminListening {
        /// Where.
        address: SocketAddr,
    },
    /// A parameter was changed by a client.
    Reconfigured {
        /// Which one.
        name: &'a str,
    },
    /// One task ran longer than it should without yielding.
    Stall {
        /// Whose turn it was.
        queue: &'a str,
        /// How long.
        took: Duration,
    },
    /// A file of keys is damaged where nobody has read it since.
    ScrubDamage {
        /// Whose file.
        core: CoreId,
        /// Which one.
        file: FileName,
        /// Where, in bytes.
        offset: u64,
        /// Which keys it may concern, in words.
        keys: &'a str,
        /// What is wrong.
        what: &'a str,
    },
    /// The disk is full: writes are refused.
    DiskFull,
    /// There is space again: writes are accepted.
    DiskSpaceReturned,
    /// Somebody guesses passwords.
    AuthFlood {
        /// From where.
        peer: SocketAddr,
    },
    /// A core does not turn: its keys are not served, and whoever asks other cores for them waits.
    CoreStuck {
        /// Which one.
        core: CoreId,
        /// How long already.
        time: Duration,
    },
    /// A core has a link to another node.
    PeerUp {
        /// Which core; the other one has the same number.
        core: CoreId,
        /// Which node.
        node: NodeNumber,
    },
    /// It has lost it.
    PeerDown {
        /// Which core.
        core: CoreId,
        /// Which node.
        node: NodeNumber,
        /// Why.
        why: &'a LinkEnd,
    },
    /// A node may not be listened to.
    PeerTurnedAway {
        /// Which core.
        core: CoreId,
        /// Which node.
        node: NodeNumber,
        /// Why.
        error: &'a io::Error,
    },
    /// A node has another directory than the one that is known, and has forgotten what it promised with that.
    DirectoryLost {
        /// Which core.
        core: CoreId,
        /// Which node; `None`: this one.
        node: Option<NodeNumber>,
    },
    /// All other nodes know this node's directory: from now on it counts.
    TakesPart {
        /// Which core.
        core: CoreId,
    },
    /// This node asks to join a cluster, and has to ask again.
    AsksToJoin {
        /// Whom it asked.
        address: &'a str,
        /// What came of it.
        why: &'a str,
    },
    /// This node has become one of a cluster.
    Joined {
        /// Its number.
        node: NodeNumber,
        /// How many there are, with it.
        nodes: usize,
    },
    /// The metadata group has changed the list of nodes.
    NodesChanged {
        /// That of the list.
        epoch: u64,
        /// How many there are now.
        nodes: usize,
    },
    /// A node has been silent for too long.
    NodeLost {
        /// Which.
        node: NodeNumber,
        /// How many groups it replicates, or is to.
        groups: usize,
    },
    /// A replica does not have what most replicas of its group have.
    ReplicaDiffers {
        /// Of which group: that of this core.
        core: CoreId,
        /// Whose replica.
        node: NodeNumber,
        /// At which entry it was seen.
        at: LogIndex,
    },
    /// Replicas do not have the same, and it cannot be told which are right.
    ReplicasDisagree {
        /// Of which group.
        core: CoreId,
        /// At which entry it was seen.
        at: LogIndex,
    },
    /// What this node's replica has is wrong.
    Diverged {
        /// Of which group.
        core: CoreId,
        /// At which entry it was seen.
        at: LogIndex,
    },
    /// It has another replica's state now.
    Rebuilt {
        /// Of which group.
        core: CoreId,
        /// As of which entry.
        at: LogIndex,
    },
    /// A list of nodes could not be written down: it is tried again.
    ListNotKept {
        /// Why not.
        error: &'a std::io::Error,
    },
    /// This node was removed from its cluster.
    RemovedFromCluster,
    /// Another node has asked the leader of a group to hand over to it.
    HandOverAsked {
        /// The group's core.
        core: CoreId,
        /// Who asked.
        node: NodeNumber,
        /// False: it was refused.
        handed_over: bool,
    },
    /// All files of a snapshot have come.
    SnapshotCame {
        /// Which core.
        core: CoreId,
        /// How long its files are.
        bytes: u64,
    },
    /// A core was too far behind for the log, and has got a snapshot.
    SnapshotInstalled {
        /// Which core.
        core: CoreId,
        /// The last entry it stands for.
        at: LogIndex,
        /// How many keys there are now.
        keys: u64,
    },
    /// A snapshot that comes cannot be kept: it is sent again.
    SnapshotNotKept {
        /// Which core.
        core: CoreId,
        /// Why.
        error: String,
    },
    /// There is no link yet.
    PeerFailed {
        /// Which core.
        core: CoreId,
        /// Which node, if it has said so.
        node: Option<NodeNumber>,
        /// Why.
        why: &'a LinkEnd,
    },
    /// What another node has sent makes no sense.
    PeerUnreadable {
        /// Which core.
        core: CoreId,
        /// Which node.
        node: NodeNumber,
        /// What is wrong.
        error: &'a dyn std::error::Error,
    },
    /// Another node leads a core's group now, or this one.
    Leader {
        /// Whose group.
        core: CoreId,
        /// Who; `None`: nobody is known.
        node: Option<NodeNumber>,
        /// In which term.
        term: Term,
    },
    /// It turns again.
    CoreBack {
        /// Which one.
        core: CoreId,
        /// How long it did not.
        time: Duration,
    },
    /// The data directory was made for another number of cores than is wanted now.
    CoresAsLaidOut {
        /// As configured.
        wanted: u16,
        /// As it was made; these run.
        cores: u16,
    },
    /// The server stops on request.
    Stopping {
        /// Who asked: a signal, or a client.
        reason: &'a str,
    },
    /// Everything is sealed.
    Stopped,
    /// The process ends at once, because going on could lose or invent data.
    Fatal {
        /// Which core met it.
        core: CoreId,
        /// What it is.
        failure: &'a dyn std::error::Error,
    },
}

impl Event<'_> {
    /// Writes the event to the log.
    pub fn log(&self) {
        match *self {
            Event::Starting {
                version,
                dir,
                durability,
            } => {
                tracing::info!(version, dir = %dir.display(), %durability, "starting");
            }
            Event::Warning(text) => tracing::warn!("{text}"),
            Event::Recovered { keys, log_bytes, took } => {
                tracing::info!(keys, log_bytes, took_ms = millis(took), "recovered");
            }
            Event::Listening { address } => tracing::info!(%address, "ready to accept connections"),
            Event::AdminListening { address } => tracing::info!(%address, "serving /metrics, /health and /ready"),
            Event::Reconfigured { name } => tracing::info!(name, "parameter changed"),
            Event::Stall { queue, took } => tracing::warn!(queue, took_ms = millis(took), "a task held its core"),
            Event::ScriptLog { warns: true, text } => tracing::warn!("script: {text}"),
            Event::ScriptLog { warns: false, text } => tracing::info!("script: {text}"),
            Event::ScrubDamage {
                core,
                file,
                offset,
                keys,
                what,
            } => tracing::error!(
                core = core.0,
                %file,
                offset,
                "a file of keys is damaged: {what}; it concerns {keys}. Nothing wrong is served: the server ends when it \
                 needs that place. `slotcore check` on the stopped directory says more; restore a backup"
            ),
            Event::DiskFull => tracing::error!("the disk is full: writes are refused until there is space"),
            Event::DiskSpaceReturned => tracing::info!("there is disk space again: writes are accepted"),
            Event::AuthFlood { peer } => tracing::warn!(%peer, "too many wrong passwords from this address"),
            Event::CoreStuck { core, time } => {
                tracing::error!(core = core.0, stuck_ms = millis(time), "a core does not turn");
            }
            Event::PeerUp { core, node } => tracing::info!(core = core.0, node = node.0, "linked with another node"),
            Event::PeerDown { core, node, why } => {
                tracing::warn!(core = core.0, node = node.0, %why, "the link with another node is lost");
            }
            Event::PeerFailed { core, node, why } => {
                let node = node.map_or(0, |node| node.0);
                match why {
                    LinkEnd::Refused { .. } | LinkEnd::Tls(_) => {
                        tracing::warn!(core = core.0, node, %why, "no link with another node");
                    }
                    _ => tracing::debug!(core = core.0, node, %why, "no link with another node yet"),
                }
            }
            Event::DirectoryLost { core, node } => match node {
                Some(node) => tracing::error!(
                    core = core.0,
                    node = node.0,
                    "a node has lost its data directory, and with it what it had promised: it is refused"
                ),
                None => tracing::error!(
                    core = core.0,
                    "this node has lost its data directory: the others know another one under its number and refuse it"
                ),
            },
            Event::AsksToJoin { address, why } => {
                tracing::info!(address, why, "asking to join the cluster goes on");
            }
            Event::Joined { node, nodes } => tracing::info!(node = node.0, nodes, "this node has joined the cluster"),
            Event::TakesPart { core } => tracing::info!(core = core.0, "all other nodes know this one: it takes part"),
            Event::NodesChanged { epoch, nodes } => tracing::info!(epoch, nodes, "the list of nodes has changed"),
            Event::NodeLost { node, groups } => tracing::warn!(
                node = node.0,
                groups,
                "a node has not answered for as long as repair-after says: its replicas are rebuilt on others, if there are any"
            ),
            Event::ReplicaDiffers { core, node, at } => tracing::error!(
                core = core.0,
                node = node.0,
                at = at.0,
                "a replica does not have what most have: it is told, and gets its leader's state"
            ),
            Event::ReplicasDisagree { core, at } => tracing::error!(
                core = core.0,
                at = at.0,
                "replicas do not have the same, and too few answer to tell which are right: nobody is stopped"
            ),
            Event::Diverged { core, at } => tracing::error!(
                core = core.0,
                at = at.0,
                "what this node has of the group is not what most replicas have: it answers nothing until it has its leader's state. \
                 Broken memory or a fault of the program; what is on disk here was checked when it was read"
            ),
            Event::Rebuilt { core, at } => {
                tracing::warn!(
                    core = core.0,
                    at = at.0,
                    "this node has its leader's state now and takes part again"
                );
            }
            Event::ListNotKept { error } => {
                tracing::warn!(%error, "a new list of nodes cannot be written down, so it is not used yet");
            }
            Event::RemovedFromCluster => tracing::warn!(
                "this node was removed from its cluster and ends: it can join again with an empty directory"
            ),
            Event::HandOverAsked {
                core,
                node,
                handed_over: true,
            } => tracing::info!(
                core = core.0,
                node = node.0,
                "leadership is handed over to a node that asked for it"
            ),
            Event::HandOverAsked { core, node, .. } => tracing::warn!(
                core = core.0,
                node = node.0,
                "leadership was not handed over to the node that asked for it: it is behind, was not heard from, or has no vote"
            ),
            Event::SnapshotCame { core, bytes } => {
                tracing::info!(core = core.0, bytes, "a snapshot has come and is being installed");
            }
            Event::SnapshotInstalled { core, at, keys } => {
                tracing::info!(
                    core = core.0,
                    at = at.0,
                    keys,
                    "a snapshot from the leader was installed"
                );
            }
            Event::SnapshotNotKept { core, ref error } => {
                tracing::warn!(
                    core = core.0,
                    %error,
                    "a snapshot from the leader cannot be kept: it will be sent again"
                );
            }
            Event::PeerTurnedAway { core, node, error } => {
                tracing::error!(core = core.0, node = node.0, %error, "another node is turned away");
            }
            Event::PeerUnreadable { core, node, error } => {
                tracing::error!(core = core.0, node = node.0, %error, "another node sends what cannot be read");
            }
            Event::Leader { core, node, term } => match node {
                Some(node) => tracing::info!(core = core.0, node = node.0, term = term.0, "a leader is known"),
                None => tracing::info!(core = core.0, term = term.0, "no leader is known"),
            },
            Event::CoreBack { core, time } => {
                tracing::warn!(core = core.0, stuck_ms = millis(time), "the core turns again");
            }
            Event::CoresAsLaidOut { wanted, cores } => {
                tracing::info!(wanted, cores, "the data directory decides the number of cores");
            }
            Event::Stopping { reason } => tracing::info!(reason, "stopping"),
            Event::Stopped => tracing::info!("stopped; everything acknowledged is on disk"),
            Event::Fatal { core, failure } => tracing::error!(core = core.0, error = %failure, "ending at once"),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The lines logged while `body` ran.
    fn logged(format: LogFormat, level: LogLevel, body: impl FnOnce(&LogControl)) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let (subscriber, control) = subscriber(format, level, false, move || writer.clone());
        tracing::dispatcher::with_default(&subscriber.into(), || body(&control));
        String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn events_have_fields_in_both_forms() {
        let recovered = Event::Recovered {
            keys: 7,
            log_bytes: 4096,
            took: Duration::from_millis(12),
        };
        let text = logged(LogFormat::Text, LogLevel::Info, |_| recovered.log());
        assert!(
            text.contains("INFO") && text.contains("recovered") && text.contains('7'),
            "{text}"
        );
        let json = logged(LogFormat::Json, LogLevel::Info, |_| recovered.log());
        assert_eq!(json.lines().count(), 1, "{json}");
        for part in [
            "\"level\":\"INFO\"",
            "\"keys\":7",
            "\"log_bytes\":4096",
            "\"took_ms\":12",
        ] {
            assert!(json.contains(part), "{part} is missing in {json}");
        }
    }

    #[test]
    fn the_level_can_change_while_running() {
        let text = logged(LogFormat::Text, LogLevel::Warn, |control| {
            Event::Stopping { reason: "first" }.log();
            control.set_level(LogLevel::Info);
            Event::Stopping { reason: "second" }.log();
        });
        assert!(!text.contains("first") && text.contains("second"), "{text}");
    }

    #[test]
    fn libraries_are_heard_when_they_warn() {
        let talk = |level| {
            logged(LogFormat::Text, level, |_| {
                tracing::info!(target: "openraft::core", "chatter");
                tracing::error!(target: "openraft::core", "trouble");
            })
        };
        let text = talk(LogLevel::Info);
        assert!(!text.contains("chatter") && text.contains("trouble"), "{text}");
        assert!(talk(LogLevel::Debug).contains("chatter"));
    }
}
