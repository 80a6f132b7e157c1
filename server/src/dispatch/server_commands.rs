//! Commands about the server and the connection.

use std::time::Duration;

use slotcore_engine::cmd::{Args, CommandSpec, ServerCmd};
use slotcore_netio::ConnId;
use slotcore_rt::clock::{Clock, SystemClock};

use super::note_error;
use crate::batch::Who;
use crate::blocked::Ending;
use crate::commands::{Around, Flow, hello_reply};
use crate::core_state::{CoreState, NetBuffers, lane_of};
use crate::pubsub;
use crate::reply::RespReply;

impl CoreState {
    /// Carries out a command about connection or server.
    pub(crate) fn run_server(&mut self, id: ConnId, spec: &'static CommandSpec, cmd: ServerCmd, args: Args<'_>) {
        if matches!(cmd, ServerCmd::Publish | ServerCmd::SPublish) {
            return self.run_publish(id, spec, cmd, args);
        }
        let began = self.times_all.then(|| SystemClock.tick());
        let slot = id.index();
        let Some(client) = self.server.clients.get_mut(slot) else {
            return;
        };
        client.begin_command(spec.full_name, self.now.tick);
        let mut out = std::mem::take(&mut self.scratch_out);
        out.clear();
        let is_push = self.run_subscription(id, cmd, args, &mut out);
        let Some(proto) = self.server.clients.get(slot).map(|client| client.proto) else {
            return;
        };
        self.server.facts.clients = self.net.open_count() as u64;
        self.count_tracked();
        self.count_listeners();
        let mut reply = RespReply::new(&mut out, proto);
        let flow = if is_push
            || self.run_tracking(id, cmd, args, None, &mut reply)
            || pubsub::answer(&self.pubsub, cmd, args, false, &mut reply)
        {
            Flow::Done
        } else {
            let around = Around {
                keyspace: &mut self.keyspace,
                buffers: &NetBuffers(&self.net),
                now: self.now.tick,
                wall_us: self.now.wall_us,
            };
            self.server.run(cmd, slot, args, around, &mut reply)
        };
        if matches!(cmd, ServerCmd::Reset | ServerCmd::Monitor) {
            self.set_monitors(id, cmd == ServerCmd::Monitor);
        }
        if cmd == ServerCmd::Reset {
            self.track(id, None);
            self.unsubscribe_silently(id);
        }
        if reply.failed() {
            note_error(&mut self.server.metrics, spec, &out, 0);
        }
        self.tally.note(spec);
        let sleeps = match &flow {
            Flow::Sleep(time) => *time,
            _ => Duration::ZERO,
        };
        if began.is_some() || !sleeps.is_zero() {
            let ran = began.map_or(Duration::ZERO, |began| SystemClock.tick().since(began));
            self.note_time(Who::Client(id), args, spec, ran + sleeps);
        }
        let Some(client) = self.server.clients.get_mut(slot) else {
            return;
        };
        if flow == Flow::Hello {
            let (view, core) = (self.server.view.as_ref(), self.server.core);
            hello_reply(client, view, core, &mut RespReply::new(&mut out, client.proto));
        }
        if (client.wants_reply() || is_push)
            && let Some((_, to)) = self.net.io(id)
        {
            to.extend_from_slice(&out);
        }
        client.end_command();
        if client.close_after_reply {
            // Other cores may still have replies that come first.
            let lane = lane_of(&mut self.lanes, id);
            lane.quits = true;
            if lane.order.is_none() {
                self.net.close_after_flush(id);
            }
        }
        self.scratch_out = out;
        self.carry_out(flow);
    }

    /// Does what a command about the server asks for besides its reply.
    pub(crate) fn carry_out(&mut self, flow: Flow) {
        match flow {
            Flow::Done | Flow::Hello => {}
            Flow::Kill(slots) => {
                for slot in slots {
                    if let Some(id) = self.net.id_at(slot) {
                        self.net.kill(id);
                    }
                }
            }
            Flow::Unblock { slot, error } => {
                if let Some(id) = self.net.id_at(slot) {
                    let ending = if error { Ending::Unblocked } else { Ending::TimeUp };
                    self.end_wait_of(id, ending);
                }
            }
            Flow::Pause(pause) => self.begin_pause(pause),
            Flow::Unpause => self.end_pause(),
            Flow::Reconfigure(settings) => {
                self.wishes.changed.extend(settings);
                self.take_over_settings();
            }
            Flow::Lead => self.wishes.lead = true,
            Flow::Sleep(time) => self.wishes.sleep = Some(time),
            Flow::Shutdown { now } => self.wishes.shutdown = Some(now),
        }
    }
}
