//! [`Metadata`]: the replica of the metadata group on core 0 of a node, and what follows from its state there.
//!
//! Worked on a few times a second, in the core's chores: what was decided is written down and handed to all cores; what groups report
//! and operators ask for is proposed by the leader, and sent to it by everybody else; the leader plans, and takes the group itself to
//! the voters it shall have. The way of a command never meets it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use slotcore_engine::log::{CoreLog, EntryRead, GcAdvice, Record, decode_entry};
use slotcore_netio::peer::PeerPlace;
use slotcore_raft_shard::peer::{Links, PeerHub};
use slotcore_raft_shard::runtime::glommio::GlommioRuntime;
use slotcore_raft_shard::{
    Consensus, CoreLogHandle, Group, GroupOptions, GroupState, LogHub, Members, ReadFrames, Role,
};
use slotcore_rt::clock::Tick;
use slotcore_rt::ids::LogIndex;

use crate::cluster_file::ClusterFile;
use crate::core_loop::{CoreFailure, CoreLoop};
use crate::joining::{Asker, JoinAnswer, JoinRefusal, JoinRequest};
use crate::leadership::ClusterView;
use crate::logging::Event;
use crate::metadata::schedule::plan;
use crate::metadata::silence::Silence;
use crate::metadata::voters::members_wanted;
use crate::metadata::{CORE, Change, ClusterState, METADATA_GROUP, MetadataMachine, Refused, group_of};
use crate::nodes::{Node, NodeNumber, NodeState};
use crate::relay::metadata_message;
use crate::startup::StartupError;
use crate::steering::{Asked, Council};

/// A leader is heard from this often, and missed after so long: twice as long as in a group of keys, as nobody waits for it.
const HEARTBEAT: Duration = Duration::from_millis(100);
const ELECTION_MIN: Duration = Duration::from_millis(400);
const ELECTION_MAX: Duration = Duration::from_millis(800);
/// Whoever has led and is silent for longer may lead no more.
const LEADER_SILENT_MAX: Duration = Duration::from_millis(1600);
/// A snapshot is made at most this often, if anything has changed: what the log keeps of this group is that of so long.
const SNAPSHOT_EVERY: Duration = Duration::from_secs(10);
/// A node that asks to join is told to ask again after so long: it waits for longer.
const JOIN_PATIENCE: Duration = Duration::from_secs(2);
/// Nodes that may wait for an answer.
const JOINS_MAX: usize = 16;

/// See the module's text.
pub(crate) struct Metadata {
    group: Group<GlommioRuntime, MetadataMachine>,
    machine: Rc<RefCell<MetadataMachine>>,
    log: Rc<RefCell<CoreLog>>,
    reader: Rc<dyn ReadFrames>,
    view: ClusterView,
    kept: Arc<ClusterFile>,
    /// [`MetadataMachine::version`] of what the cores were handed.
    handed: u64,
    /// The newest snapshot, and the end of the one before.
    snapshots: (LogIndex, LogIndex),
    next_snapshot: Tick,
    joins: Vec<Join>,
    silence: Silence,
    /// Nodes whose replicas are to be rebuilt elsewhere, as far as this node leads.
    lost: BTreeSet<NodeNumber>,
    /// This node is no longer one of the cluster.
    left: bool,
}

/// A node that waits for a number.
struct Join {
    asker: Asker,
    request: JoinRequest,
    until: Tick,
}

/// What [`Metadata`] is made of.
pub(crate) struct Parts {
    /// The log of core 0.
    pub log: Rc<RefCell<CoreLog>>,
    /// Reads it.
    pub reader: Rc<dyn ReadFrames>,
    /// Who waits for it.
    pub hub: Rc<LogHub<GlommioRuntime>>,
    /// The core's messages to other nodes.
    pub messages: Rc<PeerHub<GlommioRuntime>>,
    /// The cluster.
    pub view: ClusterView,
    /// What this node keeps of it.
    pub kept: Arc<ClusterFile>,
}

fn no_group(error: impl std::error::Error + Send + Sync + 'static) -> StartupError {
    StartupError::Resource {
        what: "the metadata group",
        error: io::Error::other(error),
    }
}

impl Metadata {
    /// Opens the replica, beside the group of keys, which must be in the log already.
    ///
    /// # Errors
    /// The log holds another cluster's group, or its snapshot makes no sense.
    pub(crate) async fn open(parts: Parts) -> Result<Self, StartupError> {
        let Parts {
            log,
            reader,
            hub,
            messages,
            view,
            kept,
        } = parts;
        let (me, id) = (view.nodes.me.replica(CORE), group_of(view.nodes.cluster));
        let (machine, at) = MetadataMachine::open(log.clone()).map_err(no_group)?;
        let part = CoreLogHandle::open(log.clone(), id, reader.clone()).map_err(no_group)?;
        if part.slot() != METADATA_GROUP {
            return Err(no_group(io::Error::other("the log holds that of another cluster")));
        }
        let options = GroupOptions {
            heartbeat: HEARTBEAT,
            election_min: ELECTION_MIN,
            election_max: ELECTION_MAX,
            ..GroupOptions::among(me, view.nodes.first_replicas_of(CORE))
        };
        let links = Links {
            hub: messages.clone(),
            group: id,
        };
        let kept_at = machine.kept_at();
        let machine = Rc::new(RefCell::new(machine));
        let facts = Rc::new(GroupState::default());
        let group = Group::open(options, part, hub, links, machine.clone(), at, facts).await;
        let group = group.map_err(no_group)?;
        messages.serve(id, group.inbound());
        Ok(Self {
            group,
            machine,
            log,
            reader,
            view,
            kept,
            handed: 0,
            snapshots: (kept_at, LogIndex(0)),
            next_snapshot: Tick::ZERO,
            joins: Vec::new(),
            silence: Silence::default(),
            lost: BTreeSet::new(),
            left: false,
        })
    }

    /// A node has asked to join. It is answered by and by.
    pub(crate) fn asks_to_join(&mut self, asker: Asker, request: JoinRequest, now: Tick) {
        if self.joins.len() < JOINS_MAX {
            let until = now + JOIN_PATIENCE;
            self.joins.push(Join { asker, request, until });
        }
    }

    /// Who leads the group, if anybody is known to.
    fn leader(&self) -> Option<NodeNumber> {
        self.group.leader().map(NodeNumber::of)
    }

    /// Who decides, by what has been agreed upon.
    fn council(&self) -> Council {
        let members = self.group.state().stands_for().members().1;
        let voters = members.voters.iter().chain(&members.leaving);
        Council {
            voters: voters.copied().map(NodeNumber::of).collect(),
            leader: self.leader(),
        }
    }

    /// Why this node cannot go on, if it cannot.
    fn failure(&self) -> Option<String> {
        let unreadable = self.machine.borrow().unreadable();
        let newer = unreadable.map(|index| {
            format!("entry {index} of the metadata group was written by a newer version, which this node needs, too")
        });
        self.group.failure().or(newer)
    }

    /// Lets the log forget what nobody needs.
    fn tidy_up(&mut self, now: Tick) {
        let applied = self.group.progress().applied;
        self.log.borrow_mut().release(METADATA_GROUP, applied);
        let kept_at = self.machine.borrow().kept_at();
        if kept_at > self.snapshots.0 {
            self.snapshots = (kept_at, self.snapshots.0);
        }
        // Busy or failed: it is tried again, or noticed elsewhere.
        if applied > kept_at && now >= self.next_snapshot {
            self.next_snapshot = now + SNAPSHOT_EVERY;
            _ = self.group.take_snapshot();
        }
        let purged = self
            .log
            .borrow()
            .group(METADATA_GROUP)
            .map(|group| group.purged().index);
        if self.snapshots.1 > purged.unwrap_or_default() {
            _ = self.group.purge_log(self.snapshots.1);
        }
        self.write_again();
    }

    /// When nothing but entries of this group keeps the oldest segment of a log that is too long, they are written again: a leader's
    /// log forgets nothing that it would send to a node that is away.
    fn write_again(&self) {
        let advice = self.log.borrow().gc_advice();
        let GcAdvice::Rewrite(entries) = advice else { return };
        if entries.iter().any(|(slot, _)| *slot != METADATA_GROUP) {
            return;
        }
        for (group, index) in entries {
            let mut found = Vec::new();
            let end = LogIndex(index.0 + 1);
            self.log.borrow().entries(group, index, end, u64::MAX, &mut found);
            let (pos, payload) = match found.pop() {
                Some(EntryRead::Cached { pos, payload }) => (pos, payload),
                Some(EntryRead::Cold(cold)) => {
                    let frames: Option<io::Result<Vec<_>>> = futures_util::FutureExt::now_or_never(
                        futures_util::future::try_join_all(cold.frames.iter().map(|frame| self.reader.read(*frame))),
                    );
                    let Some(Ok(frames)) = frames else { return };
                    let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
                    let Ok(payload) = decode_entry(&cold, &frames) else {
                        return;
                    };
                    (cold.pos, payload)
                }
                None => continue,
            };
            // Without room it is tried again.
            if self
                .log
                .borrow_mut()
                .append(Record::Rewrite { group, pos, payload })
                .is_err()
            {
                return;
            }
        }
    }

    /// Hands the cores what was decided; the list of nodes is written down before.
    fn hand_out(&mut self) {
        let machine = self.machine.clone();
        let machine = machine.borrow();
        if machine.version() == self.handed {
            return;
        }
        let state = machine.state();
        let newest = self.view.lists.newest();
        if state.epoch > newest.epoch {
            let Some(mut list) = state.list_of(newest.me, newest.secret.clone()) else {
                self.left = true;
                return;
            };
            list.keep_addresses_of(&newest);
            if let Err(error) = self.kept.keep(&list) {
                // Tried again with the next chores.
                Event::ListNotKept { error: &error }.log();
                return;
            }
            Event::NodesChanged {
                epoch: list.epoch,
                nodes: list.nodes.len(),
            }
            .log();
            self.view.lists.publish(Arc::new(list));
        }
        self.view.renew();
        self.view.steering.decide(state);
        self.handed = machine.version();
    }

    /// What this node wants to be changed: what it was asked for, and what groups that it leads report. The second: not to be passed
    /// on.
    fn wishes(&self, state: &ClusterState) -> Vec<Asked> {
        let mut wishes = self.view.steering.take_asked();
        let me = self.view.nodes.me;
        wishes.extend(self.zone_to_tell(state));
        for (group, told) in self.view.steering.told() {
            let Some(record) = state.groups.get(&group) else {
                continue;
            };
            if record.is_changed_by(told.at, told.decision, &told.holders, me) {
                let change = Change::Report {
                    group,
                    at: told.at,
                    decision: told.decision,
                    holders: told.holders,
                    leader: me,
                };
                wishes.push(Asked {
                    change,
                    from_afar: false,
                });
            }
        }
        wishes
    }

    /// That this node is in another zone than the state says: it was told so when it was started.
    fn zone_to_tell(&self, state: &ClusterState) -> Option<Asked> {
        let node = self.view.nodes.me;
        let (known, zone) = (&state.nodes.get(&node)?.zone, self.kept.zone()?);
        let is_news = known.as_ref() != Some(&zone);
        let change = Change::SetZone { node, zone };
        let from_afar = false;
        is_news.then_some(Asked { change, from_afar })
    }

    /// The entry that begins the group: the list that all nodes were given.
    fn founding(&self) -> Option<Change> {
        let list = self.view.lists.newest();
        if list.epoch > 0 {
            return None;
        }
        let known = self.kept.known();
        let nodes = list.nodes.iter().map(|node| {
            let incarnation = match node.number == list.me {
                true => self.kept.incarnation(),
                false => *known.get(&node.number)?,
            };
            Some(Node {
                incarnation: Some(incarnation),
                ..node.clone()
            })
        });
        Some(Change::Found {
            cluster: list.cluster,
            cores: list.cores,
            nodes: nodes.collect::<Option<_>>()?,
        })
    }

    /// Proposes what is to be changed, once nothing that was proposed before is under way.
    fn propose(&mut self, wishes: Vec<Asked>) {
        let progress = self.group.progress();
        if progress.proposed > progress.digested || self.group.positions().last > progress.applied {
            // Whoever asked is not answered, and asks again.
            return;
        }
        let mut state = self.machine.borrow().state().clone();
        let joins = self.joins.iter().map(|join| join_of(&join.request));
        let mut changes: Vec<Change> = wishes.into_iter().map(|asked| asked.change).chain(joins).collect();
        if state.cluster == 0 {
            changes.extend(self.founding());
        }
        // Nobody who drains begins to vote, so it still holds when the entry is executed.
        let members = [self.group.members(), self.group.state().stands_for().members().1];
        changes.retain(|change| members.iter().all(|members| may_be_proposed(change, members)));
        changes.retain(|change| state.apply(change).is_ok());
        if state.cluster != 0 && changes.is_empty() {
            changes = plan(&state, |node| self.hears(node), |node| self.lost.contains(&node));
        }
        for change in changes {
            let payload = change.encode();
            let admitted = self.log.borrow_mut().admit(payload.len());
            // It stops leading, or has no room: all of it is found again.
            if admitted.is_err() || self.group.propose(payload).is_err() {
                return;
            }
        }
    }

    /// Looks who has been silent for longer than `repair_after`.
    fn look_for_lost(&mut self, now: Tick, repair_after: Option<Duration>) {
        let machine = self.machine.borrow();
        let nodes = machine.state().nodes.keys();
        let heard = nodes.map(|&node| (node, self.hears(node))).collect::<Vec<_>>();
        self.silence.look(now, self.group.term(), heard.into_iter());
        let lost: BTreeSet<NodeNumber> = self.silence.lost(repair_after).collect();
        for &node in lost.difference(&self.lost) {
            let groups = machine.state().groups_of(node).count();
            Event::NodeLost { node, groups }.log();
        }
        drop(machine);
        self.lost = lost;
    }

    /// Whether a node has answered this one, its leader, lately: all nodes have replicas of this group.
    fn hears(&self, node: NodeNumber) -> bool {
        node == self.view.nodes.me || self.group.hears(node.replica(CORE))
    }

    /// The leader takes the next step to the voters and learners that this group shall have.
    fn step(&mut self) {
        let (voters, learners) = {
            let machine = self.machine.borrow();
            if machine.state().cluster == 0 {
                return;
            }
            let lag = |node: NodeNumber| self.group.lag_of(node.replica(CORE));
            let now = (&self.group.members(), self.view.nodes.me);
            members_wanted(
                machine.state(),
                now,
                lag,
                |node| self.hears(node),
                |node| self.lost.contains(&node),
            )
        };
        if !voters.is_empty() {
            self.group.take_step(&voters, &learners);
        }
    }

    /// The answers to nodes that have asked to join, as far as there are any.
    fn answers(&mut self, now: Tick) -> Vec<(Asker, JoinAnswer)> {
        let (machine, leads) = (self.machine.borrow(), self.group.takes_proposals(now));
        let leader = self.group.leader().map(NodeNumber::of).filter(|_| !leads);
        let there = leader.and_then(|leader| Some(self.view.nodes.node(leader)?.peer_place(CORE)));
        let mut answers = Vec::new();
        self.joins.retain(|join| {
            let answer = answer(machine.state(), &join.request, leads, there.clone(), now >= join.until);
            let keep = answer.is_none();
            answers.extend(answer.map(|answer| (join.asker, answer)));
            keep
        });
        answers
    }
}

/// Whether `change` may be proposed to a metadata group of these replicas. Who still votes there stops voting before it is removed, as
/// in the groups of keys: so a node that is removed can make no quorum.
fn may_be_proposed(change: &Change, members: &Members) -> bool {
    let Change::Remove { node } = change else { return true };
    let replica = node.replica(CORE);
    !members.voters.contains(&replica) && !members.leaving.contains(&replica)
}

/// What is proposed for a node that asks.
fn join_of(request: &JoinRequest) -> Change {
    let node = Node {
        number: NodeNumber::ALONE,
        host: request.host.clone(),
        address: request.address,
        port: request.port,
        core_port_base: request.port + 1,
        peer_port_base: request.peer_port_base,
        state: NodeState::Up,
        incarnation: Some(request.incarnation),
        zone: request.zone.clone(),
    };
    let cores = request.cores;
    Change::Join { node, cores }
}

/// What a node that asks to join is answered; `None`: not yet. `there`: who leads instead. `late`: it has waited for long.
fn answer(
    state: &ClusterState,
    request: &JoinRequest,
    leads: bool,
    there: Option<PeerPlace>,
    late: bool,
) -> Option<JoinAnswer> {
    if let Some(there) = there {
        return Some(JoinAnswer::AskThere(there));
    }
    let again = late.then_some(JoinAnswer::AskAgain);
    if !leads || state.cluster == 0 {
        return again;
    }
    let refusal = match state.check(&join_of(request)) {
        // It is proposed.
        Ok(()) => return again,
        Err(Refused::Nothing) => {
            let number = state.number_of(request.incarnation)?;
            let list = state.list_of(number, Vec::new())?;
            return Some(JoinAnswer::Accepted(Box::new(list)));
        }
        Err(Refused::Removed) => JoinRefusal::Removed,
        Err(Refused::Cores) => JoinRefusal::Cores(state.cores),
        Err(Refused::AddressTaken) => JoinRefusal::AddressTaken,
        Err(other) => JoinRefusal::Other(other.to_string()),
    };
    Some(JoinAnswer::Refused(refusal))
}

impl CoreLoop {
    /// Does for the metadata group what is to be done a few times a second.
    pub(crate) fn work_on_metadata(&mut self, now: Tick) -> Result<(), CoreFailure> {
        let repair_after = self.state.borrow().server.config.settings().repair_after();
        let Some(metadata) = &mut self.metadata else {
            return Ok(());
        };
        if let Some(what) = metadata.failure() {
            return Err(match self.log.borrow().failure() {
                Some(failure) => CoreFailure::Log(failure),
                None => CoreFailure::Consensus(what),
            });
        }
        metadata.tidy_up(now);
        metadata.hand_out();
        metadata.view.steering.set_council(metadata.council());
        let left = metadata.left;
        let wishes = metadata.wishes(metadata.machine.clone().borrow().state());
        let Some(peers) = &mut self.peers else { return Ok(()) };
        let leader = metadata.leader();
        let is_heard = |leader| peers.driver.heard_lately(leader, now, LEADER_SILENT_MAX);
        let led = metadata.group.takes_proposals(now) || leader.is_some_and(is_heard);
        peers.driver.note_led(led);
        if metadata.group.role() == Role::Leader {
            if metadata.group.takes_proposals(now) {
                metadata.look_for_lost(now, repair_after);
                metadata.propose(wishes);
                metadata.step();
            }
        } else if let Some(leader) = metadata.leader() {
            for asked in wishes.into_iter().filter(|asked| !asked.from_afar) {
                peers.driver.carry(leader, metadata_message(&asked.change));
            }
        }
        for (asker, answer) in metadata.answers(now) {
            peers.driver.answer_join(asker, &answer);
        }
        if left {
            self.end_removed();
        }
        Ok(())
    }

    /// Before this core ends: if it leads the metadata group, another voter shall.
    pub(crate) fn hand_over_metadata(&mut self, now: Tick) {
        let Some(mut metadata) = self.metadata.take() else {
            return;
        };
        if let Some(heir) = self.heir(&metadata.group, now) {
            // If it cannot be sent, an election will do.
            _ = metadata.group.transfer_leader(heir);
        }
        self.metadata = Some(metadata);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::state::tests::{drain, founded, record};
    use crate::metadata::voters::tests::members;

    #[test]
    fn who_votes_in_the_metadata_group_is_not_removed() {
        let mut now = members(&[1, 2], &[4]);
        now.leaving = [NodeNumber(3).replica(CORE)].into();
        let may = |node| may_be_proposed(&Change::Remove { node: NodeNumber(node) }, &now);
        assert_eq!([1, 2, 3, 4, 5].map(may), [false, false, false, true, true]);
        assert!(may_be_proposed(&drain(1), &now));
    }

    fn request(number: u32, cores: u16) -> JoinRequest {
        let node = record(number);
        JoinRequest {
            incarnation: node.incarnation.unwrap(),
            host: node.host,
            address: node.address,
            port: node.port,
            peer_port_base: node.peer_port_base,
            cores,
            zone: node.zone,
        }
    }

    #[test]
    fn who_asks_to_join_is_answered_the_same_number_each_time() {
        let mut state = founded(3, 2);
        let asked = request(4, 2);
        assert_eq!(answer(&state, &asked, true, None, false), None, "it is proposed first");
        assert_eq!(answer(&state, &asked, true, None, true), Some(JoinAnswer::AskAgain));
        state.apply(&join_of(&asked)).unwrap();
        for _ in 0..2 {
            let Some(JoinAnswer::Accepted(list)) = answer(&state, &asked, true, None, false) else {
                panic!("it has a number")
            };
            assert_eq!((list.me, list.epoch, list.nodes.len()), (NodeNumber(4), 2, 4));
        }
        let there = PeerPlace::from(std::net::SocketAddr::from(([10, 0, 0, 1], 17000)));
        let elsewhere = answer(&state, &asked, false, Some(there.clone()), false);
        assert_eq!(elsewhere, Some(JoinAnswer::AskThere(there)));
        let refused = answer(&state, &request(5, 3), true, None, false);
        assert_eq!(refused, Some(JoinAnswer::Refused(JoinRefusal::Cores(2))));
        state.apply(&drain(4)).unwrap();
        state.apply(&Change::Remove { node: NodeNumber(4) }).unwrap();
        let refused = answer(&state, &asked, true, None, false);
        assert_eq!(refused, Some(JoinAnswer::Refused(JoinRefusal::Removed)));
    }
}
