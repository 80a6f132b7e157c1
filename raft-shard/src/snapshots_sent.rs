//! [`SnapshotsSent`]: which snapshots are on their way to other replicas, so that the log keeps what has to follow them.
//!
//! openraft lets the log forget what is behind a snapshot that is being sent. If that goes on for longer than it takes to make
//! the next one, the replica that has got the first needs the next at once, and so on as long as there are writes.

use std::time::Duration;

use slotcore_rt::clock::Tick;
use slotcore_rt::ids::{LogIndex, ReplicaId};

/// How long the log is kept after one has come: by then the replica has what follows, or entries are on their way, which openraft
/// keeps itself.
const FOLLOWS_WITHIN: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct SnapshotsSent {
    sent: Vec<Sent>,
}

#[derive(Clone, Debug)]
struct Sent {
    to: ReplicaId,
    index: LogIndex,
    /// `None`: it is on its way.
    ended: Option<Tick>,
}

impl SnapshotsSent {
    /// One that stands for the entry at `index` begins to be sent to this replica, in place of any other.
    pub fn begins(&mut self, to: ReplicaId, index: LogIndex) {
        self.sent.retain(|sent| sent.to != to);
        let ended = None;
        self.sent.push(Sent { to, index, ended });
    }

    /// It has come, or is given up.
    pub fn ended(&mut self, to: ReplicaId, index: LogIndex, now: Tick) {
        let sent = self.sent.iter_mut().find(|sent| (sent.to, sent.index) == (to, index));
        if let Some(sent) = sent {
            sent.ended = Some(now);
        }
    }

    /// The log must keep the entries behind this one.
    pub fn keep_behind(&mut self, now: Tick) -> Option<LogIndex> {
        self.sent
            .retain(|sent| sent.ended.is_none_or(|ended| now.since(ended) < FOLLOWS_WITHIN));
        self.sent.iter().map(|sent| sent.index).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_keeps_what_follows_the_oldest_one_on_its_way_and_a_little_longer() {
        let mut sent = SnapshotsSent::default();
        let at = |seconds| Tick::ZERO + Duration::from_secs(seconds);
        let (one, other) = (ReplicaId(1), ReplicaId(2));
        assert_eq!(sent.keep_behind(at(1)), None);
        sent.begins(one, LogIndex(50));
        sent.begins(other, LogIndex(70));
        assert_eq!(sent.keep_behind(at(1000)), Some(LogIndex(50)));
        sent.ended(one, LogIndex(50), at(1000));
        assert_eq!(sent.keep_behind(at(1059)), Some(LogIndex(50)));
        assert_eq!(sent.keep_behind(at(1060)), Some(LogIndex(70)));
        sent.begins(other, LogIndex(90));
        sent.ended(other, LogIndex(70), at(1061));
        assert_eq!(
            sent.keep_behind(at(2000)),
            Some(LogIndex(90)),
            "the end of another one is none of it"
        );
    }
}
