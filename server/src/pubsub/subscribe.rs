//! `SUBSCRIBE` and its relatives: one confirmation for each name, of the form of the messages to come.

use slotcore_engine::cmd::{Args, ServerCmd};
use slotcore_netio::ConnId;
use slotcore_netio::resp::encode::RespWriter;

use super::Kind;
use crate::core_state::CoreState;

/// What a command does, to names of which kind, and the first word of its confirmations.
#[derive(Clone, Copy)]
struct Change {
    kind: Kind,
    listens: bool,
    word: &'static [u8],
}

impl Change {
    fn of(cmd: ServerCmd) -> Option<Self> {
        let (kind, listens, word): (_, _, &[u8]) = match cmd {
            ServerCmd::Subscribe => (Kind::Channel, true, b"subscribe"),
            ServerCmd::Unsubscribe => (Kind::Channel, false, b"unsubscribe"),
            ServerCmd::PSubscribe => (Kind::Pattern, true, b"psubscribe"),
            ServerCmd::PUnsubscribe => (Kind::Pattern, false, b"punsubscribe"),
            ServerCmd::SSubscribe => (Kind::Shard, true, b"ssubscribe"),
            ServerCmd::SUnsubscribe => (Kind::Shard, false, b"sunsubscribe"),
            _ => return None,
        };
        Some(Self { kind, listens, word })
    }
}

impl CoreState {
    /// For INFO: what the clients of this core listen to.
    pub(crate) fn count_listeners(&mut self) {
        let facts = &mut self.server.facts;
        facts.channels = self.pubsub.active_len(Kind::Channel) as u64;
        facts.patterns = self.pubsub.active_len(Kind::Pattern) as u64;
    }

    /// Carries out a command that changes what `id` listens to, and writes its confirmations. False: it is another
    /// command. The client is told even when it wants no replies: these are pushes.
    pub(crate) fn run_subscription(&mut self, id: ConnId, cmd: ServerCmd, args: Args<'_>, out: &mut Vec<u8>) -> bool {
        let Some(change) = Change::of(cmd) else { return false };
        let Some(client) = self.server.clients.get(id.index()) else {
            return true;
        };
        let mut writer = RespWriter::new(out, client.proto);
        for name in args.iter_from(1) {
            if change.listens {
                self.pubsub.add(id, change.kind, name);
            } else {
                self.pubsub.remove(id, change.kind, name);
            }
            self.confirm(id, change, Some(name), &mut writer);
        }
        if args.len() == 1 {
            let names = self.pubsub.names(id, change.kind);
            for name in &names {
                self.pubsub.remove(id, change.kind, name);
                self.confirm(id, change, Some(name), &mut writer);
            }
            if names.is_empty() {
                self.confirm(id, change, None, &mut writer);
            }
        }
        self.subscriptions_changed(id);
        true
    }

    /// Ends everything that `id` listens to, without a word (`RESET`).
    pub(crate) fn unsubscribe_silently(&mut self, id: ConnId) {
        self.pubsub.forget(id);
        self.subscriptions_changed(id);
    }

    fn confirm(&self, id: ConnId, change: Change, name: Option<&[u8]>, writer: &mut RespWriter<'_>) {
        let [channels, patterns, shard] = self.pubsub.counts(id);
        let count = match change.kind {
            Kind::Shard => shard,
            Kind::Channel | Kind::Pattern => channels + patterns,
        };
        writer.push(3);
        writer.bulk(change.word);
        match name {
            Some(name) => writer.bulk(name),
            None => writer.null(),
        }
        writer.int(i64::from(count));
    }

    /// Notes with the client, and with its connection, whether it listens to anything.
    fn subscriptions_changed(&mut self, id: ConnId) {
        if let Some(client) = self.server.clients.get_mut(id.index()) {
            client.subscriptions = self.pubsub.counts(id);
            client.listens = client.subscriptions != [0; 3];
            self.net.set_gets_pushes(id, client.gets_pushes());
        }
    }
}
