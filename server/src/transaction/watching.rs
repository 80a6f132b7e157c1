//! WATCH where the connection is: which keys it watches, and that their owners forget them again.

use slotcore_engine::cmd::{Args, CommandSpec, lookup};
use slotcore_engine::ord::slot_of;
use slotcore_netio::ConnId;

use super::queue::WATCHED_KEYS_MAX;
use super::watches::watcher;
use crate::clients::Endpoint;
use crate::core_state::{CoreState, lane_of};
use crate::parcel::{Asker, How};
use crate::route::ByKey;
use crate::window::{Parsed, Window};

impl CoreState {
    /// `WATCH key [key ...]`
    pub(super) fn watch(&mut self, window: &Window, c: &Parsed, spec: &'static CommandSpec) {
        let id = c.conn;
        let me = self.server.core.0;
        let any_slot = self.server.clients.get(id.index()).map(|client| client.endpoint) == Some(Endpoint::AnySlot);
        let Some((input, _)) = self.net.io(id) else { return };
        let args = window.args(c, input);
        let watched = &mut lane_of(&mut self.lanes, id).session.watched;
        if watched.keys.len() + args.len() - 1 > WATCHED_KEYS_MAX {
            let text = format!("ERR a connection may watch {WATCHED_KEYS_MAX} keys");
            return self.say_error(id, &text);
        }
        for key in args.iter_from(1) {
            let core = if any_slot {
                self.server.cluster.owner_of(slot_of(key)).0
            } else {
                me
            };
            watched.keys.insert(key.into());
            if !watched.cores.contains(&core) {
                watched.cores.push(core);
            }
        }
        let count = watched.keys.len();
        let relays = self.relays && self.may_relay_of(id);
        let Some((input, _)) = self.net.io(id) else { return };
        let args = window.args(c, input);
        let here = !relays
            && args
                .iter_from(1)
                .all(|key| !any_slot || self.server.cluster.owner_of(slot_of(key)).0 == me);
        if let Some(client) = self.server.clients.get_mut(id.index()) {
            self.server.facts.watching_clients += u64::from(client.watched == 0);
            client.watched = count;
        }
        if here {
            return self.run_as_ever(window, c);
        }
        let Some(client) = self.server.clients.get_mut(id.index()) else {
            return;
        };
        client.begin_command(spec.full_name, self.now.tick);
        let how = How::of(client);
        client.end_command();
        self.take_apart(window, c, how, spec, ByKey::Keys);
        self.take_own_mail();
    }

    pub(in crate::transaction) fn forget_watched_here(&mut self, id: ConnId) {
        let watched = &mut lane_of(&mut self.lanes, id).session.watched;
        watched.keys.clear();
        watched.cores.clear();
        if let Some(client) = self.server.clients.get_mut(id.index()) {
            self.server.facts.watching_clients -= u64::from(client.watched > 0);
            client.watched = 0;
        }
    }

    /// The connection watches nothing any more. The owners of the keys are told behind whatever they were asked before.
    pub(crate) fn forget_watched(&mut self, id: ConnId) {
        let session = &mut lane_of(&mut self.lanes, id).session;
        if session.watched.cores.is_empty() {
            return;
        }
        let cores = std::mem::take(&mut session.watched.cores);
        self.forget_watched_here(id);
        let spec = lookup(b"unwatch").expect("a command of the table");
        let how = How::unheard();
        let me = self.mesh.me().0;
        for core in cores {
            if core == me {
                self.forget_own(id);
                continue;
            }
            let args = Args::new(&[], &[(0, 0)]);
            self.mesh.to(core).push_request(Asker::whole(id), how, spec.id, &args);
        }
    }

    /// This core forgets them, too, behind a WATCH that may be in a batch.
    fn forget_own(&mut self, id: ConnId) {
        if self.relays {
            self.forget_relayed(self.mesh.me().0, id);
        }
        if lane_of(&mut self.lanes, id).waiting > 0 {
            self.batch.push_forget(id);
        } else {
            self.forget_here(watcher(self.mesh.me().0, id));
        }
    }
}
