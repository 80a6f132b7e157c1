//! Which command a request is, who may send it, and where it is carried out.

use slotcore_engine::cmd::stored::swaps_databases;
use slotcore_engine::cmd::waiting::may_wait;
use slotcore_engine::cmd::{Args, CommandSpec, Flags, Run, ServerCmd, resolve};
use slotcore_engine::database::Database;
use slotcore_netio::ConnId;

use super::FIRST_SERVER_ID;
use super::refusing::{changes_connection, changes_database, is_about_session};
use crate::clients::{ClientState, Endpoint};
use crate::commands::Around;
use crate::copy_waits::asks_for_copies;
use crate::core_state::{CoreState, NetBuffers, lane_of};
use crate::route::{CROSSSLOT, NOT_IN_CLUSTER, Route};
use crate::scripts;
use crate::window::{Parsed, Window};

impl CoreState {
    /// Finds out what the request is whose spans start at `first`, and asks for its memory.
    #[inline]
    pub(super) fn look_up(
        &mut self,
        window: &mut Window,
        id: ConnId,
        base: usize,
        first: usize,
        endpoint: Option<Endpoint>,
    ) -> Route {
        let input = self.net.input(id);
        let resolved = resolve(&Args::new(&input[base..], &window.spans[first..]));
        let (resolved, stored) = match resolved {
            Ok(spec) => {
                let (spec, stored) = window.store(spec, input, base, first);
                (Ok(spec), stored)
            }
            Err(text) => (Err(text), None),
        };
        let (mut route, mut urgent) = (Route::Here, false);
        let (spec, key) = match resolved {
            Ok(spec) => {
                let args = Args::new(window.bytes_at(input, base, stored), &window.spans[first..]);
                let mut own_way = None;
                if spec.id.0 >= FIRST_SERVER_ID {
                    if self.must_wait(window, id, spec) {
                        return Route::Wait;
                    }
                    if swaps_databases(spec) {
                        (own_way, urgent) = (Some(Route::AllAtOnce), true);
                    }
                    // Behind an EXEC that has to wait nothing must be parsed.
                    urgent |= changes_connection(spec) || changes_database(spec);
                    lane_of(&mut self.lanes, id).said_quit |= matches!(spec.run, Run::Server(ServerCmd::Quit));
                    if is_about_session(spec) {
                        own_way = Some(Route::Session);
                    } else if asks_for_copies(spec) && self.lanes[id.index()].session.queue.is_none() {
                        own_way = Some(Route::Copies);
                        lane_of(&mut self.lanes, id).blocks = Some(self.server.core);
                    }
                }
                let reads = spec.flags.has(Flags::READONLY) && spec.first_key > 0;
                let hash = reads.then(|| self.keyspace.key_hash(args.get(spec.first_key as usize)));
                if let Some(endpoint) = endpoint {
                    let (map, me) = (&self.server.cluster, self.server.core);
                    let slot = hash.map(|hash| hash.slot);
                    route = self
                        .router
                        .route_of(map, me, endpoint, spec, &args, slot, &mut self.key_numbers);
                    if spec.flags.has(Flags::RUNS_SCRIPT)
                        && endpoint == Endpoint::AnySlot
                        && matches!(route, Route::Here | Route::Core(_))
                        && self.mesh.cores() > 1
                        && self.replication.is_none()
                        && scripts::may_wander(&mut self.keyspace, spec, &args)
                    {
                        route = Route::Together;
                    }
                    if matches!(route, Route::Together | Route::AllAtOnce) {
                        // Nothing behind it must be parsed; and groups on several nodes are not held together.
                        urgent = true;
                        if self.replication.is_some() {
                            route = if route == Route::Together {
                                Route::CrossSlot
                            } else {
                                Route::OneDatabase
                            };
                        }
                    }
                    if endpoint == Endpoint::AnySlot && spec.first_key > 0 {
                        let owner = if let Route::Core(core) = route { core } else { me };
                        let belonging = &mut lane_of(&mut self.lanes, id).belonging;
                        belonging.note(owner, me);
                        if belonging.wishes_now() {
                            self.movers.push(id);
                        }
                    }
                }
                if self.relays && route == Route::Here && endpoint.is_some() && self.may_relay(id, spec) {
                    route = Route::Core(self.server.core);
                }
                if may_wait(spec, &args) {
                    let owner = if let Route::Core(core) = route {
                        core
                    } else {
                        self.server.core
                    };
                    lane_of(&mut self.lanes, id).blocks = Some(owner);
                }
                let key = hash.filter(|_| route == Route::Here);
                if let Some(key) = key {
                    self.keyspace.prefetch_bucket(key);
                }
                (Ok((spec, own_way)), key)
            }
            Err(text) => {
                window.refusals.push(text);
                (Err(window.refusals.len() as u32 - 1), None)
            }
        };
        window.urgent |= urgent;
        let (route, spec) = match self.redirection(route) {
            Some(text) => {
                if let Ok((spec, _)) = spec {
                    self.server.metrics.commands.rejected(spec.id.0, spec.full_name);
                }
                window.refusals.push(text);
                (Route::Here, Err(window.refusals.len() as u32 - 1))
            }
            None => match spec {
                Ok((spec, Some(own_way))) => (own_way, Ok(spec)),
                Ok((spec, None)) => (route, Ok(spec)),
                Err(at) => (route, Err(at)),
            },
        };
        let spans = (first as u32, window.spans.len() as u32);
        window.commands.push(Parsed {
            conn: id,
            base,
            spans,
            stored,
            spec,
            route,
            key,
        });
        route
    }

    /// [`CoreState::look_up`] for a client whose user may not do everything.
    #[cold]
    pub(super) fn look_up_restricted(
        &mut self,
        window: &mut Window,
        id: ConnId,
        base: usize,
        first: usize,
        endpoint: Option<Endpoint>,
    ) -> Route {
        let input = &self.net.input(id)[base..];
        let found = resolve(&Args::new(input, &window.spans[first..]));
        let denial = found.ok().and_then(|spec| {
            self.denied(id, spec, &window.spans[first..], base)
                .map(|text| (spec, text))
        });
        let Some((spec, text)) = denial else {
            return self.look_up(window, id, base, first, endpoint);
        };
        self.server.metrics.commands.rejected(spec.id.0, spec.full_name);
        window.refusals.push(text);
        window.commands.push(Parsed {
            conn: id,
            base,
            spans: (first as u32, window.spans.len() as u32),
            stored: None,
            spec: Err(window.refusals.len() as u32 - 1),
            route: Route::Here,
            key: None,
        });
        Route::Here
    }

    /// The database that a connection's next command works in.
    pub(super) fn database_of(&self, id: ConnId) -> Database {
        let queue = self.lanes.get(id.index()).and_then(|lane| lane.session.queue.as_ref());
        if let Some(selected) = queue.and_then(|queue| queue.selected) {
            return selected;
        }
        self.server
            .clients
            .get(id.index())
            .map_or(Database::ZERO, |client| client.database)
    }

    /// What a client hears whose user may not do this, if so; it is noted in the log of denials.
    #[cold]
    pub(super) fn denied(
        &mut self,
        id: ConnId,
        spec: &CommandSpec,
        spans: &[(u32, u32)],
        base: usize,
    ) -> Option<String> {
        let args = Args::new(&self.net.input(id)[base..], spans);
        let around = Around {
            keyspace: &mut self.keyspace,
            buffers: &NetBuffers(&self.net),
            now: self.now.tick,
            wall_us: self.now.wall_us,
        };
        self.server.denied(id.index(), spec, &args, around)
    }

    /// False for a connection that listens in RESP2: it is refused most commands, wherever they would go.
    pub(super) fn may_do_anything(&self, id: ConnId) -> bool {
        !self
            .server
            .clients
            .get(id.index())
            .is_some_and(ClientState::only_listens)
    }

    /// True when a command must not be carried out before other things of its connection are done: one that changes what
    /// the connection hears stands alone, and a message is published after everything that was asked for before it.
    #[cold]
    pub(super) fn must_wait(&self, window: &Window, id: ConnId, spec: &CommandSpec) -> bool {
        let lane = &self.lanes[id.index()];
        let mut before = window.commands.iter().filter(|command| command.conn == id);
        match spec.run {
            _ if changes_connection(spec) || asks_for_copies(spec) => {
                lane.waiting > 0 || lane.order.is_some() || before.next().is_some()
            }
            Run::Server(ServerCmd::Publish | ServerCmd::SPublish) => {
                lane.away > lane.publishes_away || before.any(|command| command.route != Route::Here)
            }
            _ => false,
        }
    }

    /// What a client is told whose command cannot be carried out on this core, if so.
    pub(super) fn redirection(&self, route: Route) -> Option<String> {
        match route {
            Route::Moved(slot, core) => Some(match &self.server.view {
                Some(view) => view.moved(slot, core),
                None => {
                    let map = &self.server.cluster;
                    format!("MOVED {slot} {}:{}", map.host, map.node(core).port)
                }
            }),
            Route::CrossSlot => Some(CROSSSLOT.to_string()),
            Route::OneDatabase => Some(NOT_IN_CLUSTER.to_string()),
            _ => None,
        }
    }
}
