//! From a change of a key to the clients that hold copies of it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use slotcore_engine::database::users_key;
use slotcore_engine::keyspace::{Event, EventClasses};
use slotcore_netio::ConnId;
use slotcore_netio::resp::encode::RespWriter;

use super::Holder;
use crate::core_state::{CoreState, lane_of};
use crate::parcel::Cast;
use crate::reply_order::Source;

/// The channel by which clients that speak RESP2 are told what others asked to have told to them.
const CHANNEL: &[u8] = b"__redis__:invalidate";

/// Keys that have changed, each with the only client that changed it, if it was one alone.
pub(super) type Changed = BTreeMap<Box<[u8]>, Option<Holder>>;

/// Bytes of a holder in a cast: core 2, connection number 4, its generation 4.
const HOLDER_BYTES: usize = 10;

fn encode(who: Option<Holder>) -> [u8; HOLDER_BYTES] {
    let (core, conn) = who.unwrap_or((u16::MAX, ConnId::from_parts((0, 0))));
    let (index, generation) = conn.parts();
    let mut bytes = [0; HOLDER_BYTES];
    bytes[..2].copy_from_slice(&core.to_le_bytes());
    bytes[2..6].copy_from_slice(&index.to_le_bytes());
    bytes[6..].copy_from_slice(&generation.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Holder> {
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes were cut"));
    let core = u16::from_le_bytes(bytes[..2].try_into().expect("two bytes were cut"));
    (core != u16::MAX).then(|| (core, ConnId::from_parts((number(2), number(6)))))
}

/// Keys as cores tell each other; all keys are nothing.
fn encode_keys(keys: Option<&[&[u8]]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for key in keys.unwrap_or_default() {
        let len = u32::try_from(key.len()).expect("a key is below 4 GiB");
        bytes.extend_from_slice(&len.to_le_bytes());
        bytes.extend_from_slice(key);
    }
    bytes
}

fn decode_keys(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut keys = Vec::new();
    while let Some((len, rest)) = bytes.split_first_chunk::<4>() {
        let (key, rest) = rest.split_at(u32::from_le_bytes(*len) as usize);
        keys.push(key);
        bytes = rest;
    }
    keys
}

impl CoreState {
    /// A key has changed, or all have gone, through `who`.
    pub(crate) fn tell_change(&mut self, event: &Event<'_>, who: Option<Holder>) {
        if event.class.has_any(EventClasses::CLEARED) {
            return self.tell_cleared();
        }
        if !event.class.has_any(EventClasses::CHANGES) {
            return;
        }
        // What expires, expires by itself, whatever made it show.
        let who = who.filter(|_| !event.class.has_any(EventClasses::EXPIRED));
        let key = users_key(event.key);
        let holders = self.tracking.keys.take(key);
        self.tell_holders(key, &holders, who);
        if let Some(holder) = self.tracking.rereads.filter(|holder| holders.contains(holder)) {
            self.tracking.note_key(key, holder);
        }
        self.tell_broadcasts(key, who);
    }

    /// Tells those who held `key`, which `who` has changed.
    pub(super) fn tell_holders(&mut self, key: &[u8], holders: &[Holder], who: Option<Holder>) {
        for &holder in holders {
            let own = who == Some(holder);
            if holder.0 == self.mesh.me().0 {
                self.invalidate_read(holder.1, key, own);
            } else {
                let cast = if own { Cast::InvalidateOwn } else { Cast::Invalidate };
                self.mesh.to(holder.0).push_cast(cast, &encode(Some(holder)), key);
            }
        }
    }

    /// Tells the cores with clients in broadcast mode.
    fn tell_broadcasts(&mut self, key: &[u8], who: Option<Holder>) {
        for core in 0..self.mesh.cores() as u16 {
            if !self.pubsub.interest().broadcasts(core) {
                continue;
            }
            if core == self.mesh.me().0 {
                self.note_changed(key, who);
            } else {
                self.mesh.to(core).push_cast(Cast::Changed, &encode(who), key);
            }
        }
    }

    /// All keys of this core are gone: tells its own clients, and those of others that held one or want to know of any.
    pub(crate) fn tell_cleared(&mut self) {
        let me = self.mesh.me().0;
        for holder in self.tracking.keys.take_all() {
            if holder.0 != me {
                let who = encode(Some(holder));
                self.mesh.to(holder.0).push_cast(Cast::InvalidateAll, &who, b"");
            }
        }
        for core in (0..self.mesh.cores() as u16).filter(|&core| core != me) {
            if self.pubsub.interest().broadcasts(core) {
                self.mesh.to(core).push_cast(Cast::Cleared, b"", b"");
            }
        }
        // Named one by one they would come behind.
        self.tracking.changed.clear();
        for id in self.tracking.trackers.clone() {
            self.invalidate(id, None);
        }
    }

    /// Takes in what another core tells about keys.
    pub(crate) fn take_change(&mut self, cast: Cast, first: &[u8], second: &[u8]) {
        match (cast, decode_first(cast, first)) {
            (Cast::Invalidate, Some((_, id))) => self.invalidate_read(id, second, false),
            (Cast::InvalidateOwn, Some((_, id))) => self.invalidate_read(id, second, true),
            (Cast::InvalidateAll, Some((_, id))) => self.invalidate(id, None),
            (Cast::Changed, who) => self.note_changed(second, who),
            (Cast::Cleared, _) => {
                for id in self.tracking.trackers.clone() {
                    if self.broadcasts_to(id) {
                        self.invalidate(id, None);
                    }
                }
            }
            (Cast::Redirected, Some((_, target))) => {
                let keys = decode_keys(second);
                if !self.push_invalidation(target, (!keys.is_empty()).then_some(&keys), true)
                    && let Some((core, from)) = decode(&first[HOLDER_BYTES..])
                {
                    let who = encode(Some((core, from)));
                    self.mesh.to(core).push_cast(Cast::RedirectionBroken, &who, b"");
                }
            }
            (Cast::RedirectionBroken, Some((_, id))) => self.redirection_broken(id),
            _ => {}
        }
    }

    /// A key has changed in this turn: clients in broadcast mode will be told.
    fn note_changed(&mut self, key: &[u8], who: Option<Holder>) {
        match self.tracking.changed.entry(key.into()) {
            Entry::Vacant(entry) => drop(entry.insert(who)),
            Entry::Occupied(mut entry) if *entry.get() != who => drop(entry.insert(None)),
            Entry::Occupied(_) => {}
        }
    }

    fn broadcasts_to(&self, id: ConnId) -> bool {
        let client = self.server.clients.get(id.index());
        client
            .and_then(|client| client.tracking.as_ref())
            .is_some_and(|mode| mode.broadcast)
    }

    /// Tells clients in broadcast mode what has changed in this turn: one message for each prefix.
    #[inline]
    pub(crate) fn tell_changed(&mut self) {
        if !self.tracking.changed.is_empty() {
            self.tell_changed_now();
        }
    }

    #[cold]
    fn tell_changed_now(&mut self) {
        let changed = std::mem::take(&mut self.tracking.changed);
        let me = self.mesh.me().0;
        for id in self.tracking.trackers.clone() {
            let client = self.server.clients.get(id.index());
            let mode = client.and_then(|client| client.tracking.as_deref());
            let Some(mode) = mode.filter(|mode| mode.broadcast) else {
                continue;
            };
            let no_loop = mode.no_loop;
            for prefix in mode.prefixes.clone() {
                let from = changed
                    .range(prefix.clone()..)
                    .take_while(|(key, _)| key.starts_with(&prefix));
                let others = from.filter(|(_, who)| !(no_loop && **who == Some((me, id))));
                let keys: Vec<&[u8]> = others.map(|(key, _)| &**key).collect();
                if !keys.is_empty() {
                    self.invalidate(id, Some(&keys));
                }
            }
        }
    }

    /// A key that a client of this core has read has changed. `own`: it has changed it itself.
    fn invalidate_read(&mut self, id: ConnId, key: &[u8], own: bool) {
        let client = self.server.clients.get(id.index());
        let Some(mode) = client.and_then(|client| client.tracking.as_deref()) else {
            return;
        };
        // A client in broadcast mode is told otherwise.
        let knows = own && mode.no_loop;
        if !mode.broadcast && !knows {
            self.invalidate(id, Some(&[key]));
        }
    }

    /// Tells a client of this core, or whom it has named, that these keys have changed; `None`: all of them.
    fn invalidate(&mut self, id: ConnId, keys: Option<&[&[u8]]>) {
        if self.net.conn(id).is_none() {
            return;
        }
        let client = self.server.clients.get(id.index());
        let Some(mode) = client.and_then(|client| client.tracking.as_deref()) else {
            return;
        };
        let me = self.mesh.me().0;
        match mode.redirect {
            None => drop(self.push_invalidation(id, keys, false)),
            Some((_, (core, target))) if core == me => {
                if !self.push_invalidation(target, keys, true) {
                    self.redirection_broken(id);
                }
            }
            Some((_, target)) => {
                let first = [encode(Some(target)), encode(Some((me, id)))].concat();
                self.mesh
                    .to(target.0)
                    .push_cast(Cast::Redirected, &first, &encode_keys(keys));
            }
        }
    }

    /// The client to whom `id` redirects is gone.
    fn redirection_broken(&mut self, id: ConnId) {
        let client = self.server.clients.get_mut(id.index());
        let Some(client) = client.filter(|_| self.net.conn(id).is_some()) else {
            return;
        };
        let proto = client.proto;
        let Some(mode) = client.tracking.as_deref_mut() else {
            return;
        };
        let Some((redirect, _)) = mode.redirect else { return };
        mode.is_broken = true;
        if proto > 2 {
            let mut bytes = Vec::new();
            let mut writer = RespWriter::new(&mut bytes, proto);
            writer.push(2);
            writer.bulk(b"tracking-redir-broken");
            writer.int(i64::try_from(redirect.0).unwrap_or(i64::MAX));
            self.push_behind(id, &bytes);
        }
    }

    /// Sends the message to `target` if it can understand it. False: there is no such connection any more.
    fn push_invalidation(&mut self, target: ConnId, keys: Option<&[&[u8]]>, redirected: bool) -> bool {
        let client = self.server.clients.get(target.index());
        let there = self.net.conn(target).is_some() && !self.lanes[target.index()].is_ending();
        let Some(client) = client.filter(|_| there) else {
            return false;
        };
        let proto = client.proto;
        if proto < 3 && !(redirected && client.listens) {
            return true;
        }
        let mut bytes = Vec::new();
        let mut writer = RespWriter::new(&mut bytes, proto);
        if proto > 2 {
            writer.push(2);
            writer.bulk(b"invalidate");
        } else {
            writer.push(3);
            writer.bulk(b"message");
            writer.bulk(CHANNEL);
        }
        match keys {
            Some(keys) => {
                writer.array(keys.len());
                keys.iter().for_each(|key| writer.bulk(key));
            }
            None => writer.null(),
        }
        self.push_behind(target, &bytes);
        true
    }

    /// Sends a push behind the replies of everything that `id` has asked for and another core has not answered: one of them
    /// may be a value that is out of date by what the push tells.
    fn push_behind(&mut self, id: ConnId, bytes: &[u8]) {
        let lane = lane_of(&mut self.lanes, id);
        let Some((_, out)) = self.net.io(id) else { return };
        match &mut lane.order {
            Some(order) => {
                order.expect(Source::Piece);
                order.arrive(Source::Piece, bytes, out);
            }
            None => out.extend_from_slice(bytes),
        }
    }
}

/// Whom a cast is about, where it says so.
fn decode_first(cast: Cast, first: &[u8]) -> Option<Holder> {
    match cast {
        Cast::Message | Cast::Commands | Cast::Cleared => None,
        _ => decode(first),
    }
}
