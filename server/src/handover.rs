//! Connections that come in for any core, and connections that move to the core where their keys live.

use std::os::fd::{AsRawFd, OwnedFd};

use crate::clients::ClientState;
use crate::core_state::{CoreState, lane_of};
use crate::parcel::Note;

impl CoreState {
    /// Deals new connections of the any-slot port out to the cores, in turn.
    pub(crate) fn spread_arrivals(&mut self) {
        while let Some(fd) = self.net.next_arrival() {
            let home = self.next_home;
            self.next_home = (home + 1) % self.mesh.cores() as u16;
            if home == self.mesh.me().0 {
                self.net.accept(fd);
            } else {
                self.mesh.to(home).notes.push(Note::Arrival(fd));
            }
        }
    }

    /// Gives up connections that belong elsewhere, at a moment when nothing of them is under way: what they have sent and
    /// nobody has read goes with them. Others are asked again at the next turn.
    pub(crate) fn release_movers(&mut self) {
        let mut at = 0;
        while at < self.movers.len() {
            let id = self.movers[at];
            let lane = lane_of(&mut self.lanes, id);
            let gone = self.net.conn(id).is_none();
            let pinned = self.server.clients.get(id.index()).is_some_and(ClientState::is_pinned);
            if gone || pinned || lane.belonging.wish().is_none() || lane.is_ending() {
                self.movers.swap_remove(at);
                continue;
            }
            let quiet = lane.waiting == 0
                && lane.blocks.is_none()
                && lane.order.is_none()
                && !lane.is_held_up()
                && lane.cold.is_none()
                && !lane.session.is_bound();
            if quiet && self.net.release(id) {
                self.movers.swap_remove(at);
            } else {
                at += 1;
            }
        }
    }

    /// Sends off what the ring has let go of.
    pub(crate) fn send_released(&mut self) {
        while let Some(released) = self.net.next_released() {
            self.forget_paused(released.id);
            let lane = lane_of(&mut self.lanes, released.id);
            let home = lane.belonging.wish();
            if let (Some(home), Some(client)) = (home, self.server.clients.remove(released.id.index())) {
                self.server.metrics.net.connections_given += 1;
                let note = Note::HandOver(released.fd, released.input, client);
                self.mesh.to(home.0).notes.push(note);
            }
        }
    }

    /// Goes on with a connection that another core has given up.
    pub(crate) fn take_over(&mut self, fd: OwnedFd, input: Vec<u8>, mut client: ClientState) {
        client.fd = fd.as_raw_fd();
        if let Some(id) = self.net.adopt(fd, input) {
            self.server.metrics.net.connections_taken += 1;
            self.server.clients.insert(id.index(), client);
            self.fresh_lane(id);
        }
    }
}
