//! `CLIENT TRACKING`, `CLIENT CACHING`, `CLIENT TRACKINGINFO`, `CLIENT GETREDIR`; and what they change for a connection.
//!
//! Where a client is to whom another one redirects only its core knows. By the any-slot port of several cores all of them
//! are asked ([`Everywhere::Whereabouts`]), and the command is carried out when they have answered.
//!
//! [`Everywhere::Whereabouts`]: crate::route::Everywhere::Whereabouts

use slotcore_engine::cmd::{Args, Reply, ServerCmd};
use slotcore_netio::ConnId;

use super::{Holder, TrackingMode};
use crate::clients::ClientId;
use crate::core_state::CoreState;

impl CoreState {
    /// Carries out one of the commands of this file for `id`. `elsewhere`: where the client is that it names, when another
    /// core has it. False: it is another command.
    pub(crate) fn run_tracking(
        &mut self,
        id: ConnId,
        cmd: ServerCmd,
        args: Args<'_>,
        elsewhere: Option<Holder>,
        out: &mut dyn Reply,
    ) -> bool {
        let client = self.server.clients.get_mut(id.index());
        let mut mode = client.and_then(|client| client.tracking.as_deref_mut());
        match cmd {
            ServerCmd::ClientTracking => {
                let now = mode.map(|mode| mode.clone());
                match TrackingMode::parse(&args, now.as_ref(), |other| self.find_client(other).or(elsewhere)) {
                    Ok(mode) => {
                        self.track(id, mode);
                        out.ok();
                    }
                    Err(text) => out.error(&text),
                }
            }
            ServerCmd::ClientCaching => match TrackingMode::caching(mode.as_deref_mut(), args.get(2)) {
                Ok(()) => out.ok(),
                Err(text) => out.error(text),
            },
            ServerCmd::ClientTrackingInfo => TrackingMode::describe(mode.as_deref(), out),
            ServerCmd::ClientGetRedir => out.int(TrackingMode::redirection(mode.as_deref())),
            _ => return false,
        }
        true
    }

    /// Another core's client asks where the client is to whom it wants to redirect: if it is here, answers its connection
    /// and keeps it here.
    pub(crate) fn answer_whereabouts(&mut self, args: &Args<'_>, out: &mut dyn Reply) {
        match TrackingMode::redirect_asked(args).and_then(|id| self.find_client(id)) {
            Some((_, conn)) => {
                if let Some(client) = self.server.clients.get_mut(conn.index()) {
                    client.is_told_for_others = true;
                }
                let (index, generation) = conn.parts();
                out.array(2);
                out.int(i64::from(index));
                out.int(i64::from(generation));
            }
            None => out.null(),
        }
    }

    /// The client of this core with this number.
    fn find_client(&self, id: ClientId) -> Option<Holder> {
        let (slot, _) = self.server.clients.iter().find(|(_, client)| client.id == id)?;
        Some((self.mesh.me().0, self.net.id_at(slot)?))
    }

    /// Puts a client into a mode of tracking, or ends it.
    pub(crate) fn track(&mut self, id: ConnId, mode: Option<TrackingMode>) {
        let me = self.mesh.me();
        if let Some((_, (core, conn))) = mode.as_ref().and_then(|mode| mode.redirect)
            && core == me.0
            && let Some(target) = self.server.clients.get_mut(conn.index())
        {
            target.is_told_for_others = true;
        }
        let Some(client) = self.server.clients.get_mut(id.index()) else {
            return;
        };
        let was = std::mem::replace(&mut client.tracking, mode.map(Box::new));
        let is = client.tracking.as_deref();
        if let Some(mode) = is {
            self.pubsub.interest().begin_tracking(me, mode.broadcast);
        }
        self.tracking.trackers.retain(|&other| other != id);
        self.tracking.trackers.extend(is.map(|_| id));
        if let Some(was) = was {
            self.pubsub.interest().end_tracking(me, was.broadcast);
        }
        self.turn_tracking(self.pubsub.interest().anybody_tracks());
        self.count_tracked();
    }
}
