//! Keyspace notifications: what happens to keys of this core, as messages to whoever listens on any core.
//!
//! Events are noted by the commands while they are executed, and by the keyspace when something expires; after each
//! command they are taken and published. Only the core that answers clients for a key listens to its events, so a replica
//! publishes none.

use crate::batch::Who;
use crate::core_state::CoreState;
use crate::parcel::Cast;
use slotcore_engine::database::split;
use slotcore_engine::keyspace::EventClasses;
use slotcore_engine::ord::slot_of_bytes;

impl CoreState {
    /// To be called after anything that may have changed keys; by whom, if by a client.
    #[inline]
    pub(crate) fn after_changes(&mut self, who: Option<Who>) {
        if self.keyspace.has_events() {
            self.tell_events(who);
        }
    }

    /// The same on a core that answers no clients for these keys: only those are told that keep copies from when it did.
    #[inline]
    pub(crate) fn after_others_changes(&mut self) {
        if self.tracking.is_on && self.keyspace.has_events() {
            self.tell_copies();
        }
        self.keyspace.forget_events();
    }

    #[cold]
    fn tell_copies(&mut self) {
        let mut events = std::mem::take(&mut self.events);
        self.keyspace.take_events(&mut events);
        events.iter().for_each(|event| self.tell_change(&event, None));
        self.events = events;
    }

    #[cold]
    fn tell_events(&mut self, who: Option<Who>) {
        let me = self.mesh.me().0;
        let who = who.and_then(|who| match who {
            Who::Client(conn) => Some((me, conn)),
            Who::Core(core, asker, _) => Some((core, asker.conn)),
            Who::Waiter(_) | Who::Nobody => None,
        });
        let mut events = std::mem::take(&mut self.events);
        self.keyspace.take_events(&mut events);
        let notify = self.server.config.settings().notify_keyspace_events;
        for event in events.iter() {
            if self.tracking.is_on {
                self.tell_change(&event, who);
            }
            if !notify.wanted().has_any(event.class) {
                continue;
            }
            let (database, key) = split(event.key);
            if notify.by_key {
                let channel = [format!("__keyspace@{database}__:").as_bytes(), key].concat();
                self.broadcast(&channel, event.name.as_bytes());
            }
            if notify.by_event {
                let channel = format!("__keyevent@{database}__:{}", event.name);
                self.broadcast(channel.as_bytes(), key);
            }
        }
        self.events = events;
    }

    /// Publishes a message of the server's own.
    fn broadcast(&mut self, channel: &[u8], message: &[u8]) {
        let slot = slot_of_bytes(channel);
        for core in 0..self.mesh.cores() as u16 {
            if !self.pubsub.interest().may_hear(core, false, slot) {
                continue;
            }
            if core == self.mesh.me().0 {
                self.deliver(false, channel, message);
            } else {
                self.mesh.to(core).push_cast(Cast::Message, channel, message);
            }
        }
    }

    /// Takes in what another core tells without wanting an answer.
    pub(crate) fn take_casts(&mut self, casts: &[u8]) {
        for (cast, first, second) in crate::parcel::casts(casts) {
            match cast {
                Cast::Message => {
                    self.deliver(false, first, second);
                }
                Cast::Commands => self.show_here(first),
                cast => self.take_change(cast, first, second),
            }
        }
    }

    /// Has the keyspace note what somebody wants to know.
    pub(crate) fn listen_to_keys(&mut self) {
        let notify = self.server.config.settings().notify_keyspace_events;
        let copies = if self.tracking.is_on {
            EventClasses::CHANGES
        } else {
            EventClasses::NONE
        };
        self.keyspace.listen_to(notify.wanted().and(copies));
    }
}
