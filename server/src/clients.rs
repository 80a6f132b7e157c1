//! [`ClientRegistry`]: who is connected, as `CLIENT LIST`, `CLIENT KILL` and `INFO clients` see it. Data only: bytes and
//! buffers of a connection are `netio`'s, and the core loop feeds in what happens.

use std::net::SocketAddr;

use slotcore_engine::database::Database;
use slotcore_rt::clock::Tick;

use crate::acl::DEFAULT_USER;
use crate::replica_reads::ReadWish;
use crate::tracking::TrackingMode;

/// A connection's number towards clients: from 1, never reused while the server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

impl std::fmt::Display for ClientId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Whether a client wants replies (`CLIENT REPLY`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplyMode {
    /// Every reply.
    #[default]
    On,
    /// None until it asks for them again.
    Off,
    /// `CLIENT REPLY SKIP` was carried out just now: the next command's reply is dropped.
    SkipNext,
    /// This command's reply is dropped.
    Skipping,
}

/// What kind of port a connection came in by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Endpoint {
    /// Every key is answered, wherever it lives: one big Redis.
    #[default]
    AnySlot,
    /// One core's own: a node of a Redis Cluster, which answers for its slots and redirects for others.
    Core,
}

/// What the server knows of one connection.
#[derive(Clone, Debug)]
pub struct ClientState {
    /// Its number.
    pub id: ClientId,
    /// Who it is.
    pub peer: SocketAddr,
    /// Where it came in.
    pub local: SocketAddr,
    /// What kind of port that is.
    pub endpoint: Endpoint,
    /// File descriptor, for `CLIENT LIST` only.
    pub fd: i32,
    /// Set by `CLIENT SETNAME` or `HELLO`; empty = none.
    pub name: Vec<u8>,
    /// Set by `CLIENT SETINFO LIB-NAME`.
    pub lib_name: Vec<u8>,
    /// Set by `CLIENT SETINFO LIB-VER`.
    pub lib_ver: Vec<u8>,
    /// 2 or 3: the version of RESP that replies have.
    pub proto: u8,
    /// True when it may run commands: it gave the password, or none was needed when it came.
    pub authenticated: bool,
    /// The user it came in as.
    pub user: Vec<u8>,
    /// That user may not do everything: each command has to be looked at.
    pub is_restricted: bool,
    /// The database that its commands work in (`SELECT`).
    pub database: Database,
    /// Whether it wants replies.
    pub reply_mode: ReplyMode,
    /// When it connected.
    pub created_at: Tick,
    /// When its last command arrived.
    pub last_command_at: Tick,
    /// Its last command as `CLIENT LIST` prints it, a subcommand behind a bar (`client|list`).
    pub last_command: &'static str,
    /// Commands carried out for it.
    pub commands_total: u64,
    /// Channels, patterns and sharded channels it listens to.
    pub subscriptions: [u32; 3],
    /// True when there is one of them.
    pub listens: bool,
    /// Commands kept since MULTI; -1 outside of it.
    pub queued: i64,
    /// Bytes of memory that these take.
    pub queued_bytes: usize,
    /// Keys it watches.
    pub watched: usize,
    /// It is shown all commands.
    pub monitors: bool,
    /// How it is told of changes of keys, if it is.
    pub tracking: Option<Box<TrackingMode>>,
    /// It is told of them in place of other clients.
    pub is_told_for_others: bool,
    /// `CLIENT NO-EVICT on`.
    pub no_evict: bool,
    /// `CLIENT NO-TOUCH on`.
    pub no_touch: bool,
    /// `READONLY`: a replica may answer what only reads, from what it has.
    pub reads_replica: bool,
    /// How fresh what it reads has to be.
    pub read_wish: ReadWish,
    /// It waits for a key.
    pub blocked: bool,
    /// To be closed as soon as what was written for it has been sent.
    pub close_after_reply: bool,
}

impl ClientState {
    /// A connection that has just been accepted. `needs_password`: it must authenticate first.
    pub fn new(id: ClientId, peer: SocketAddr, local: SocketAddr, fd: i32, now: Tick, needs_password: bool) -> Self {
        Self {
            id,
            peer,
            local,
            endpoint: Endpoint::default(),
            fd,
            name: Vec::new(),
            lib_name: Vec::new(),
            lib_ver: Vec::new(),
            proto: 2,
            authenticated: !needs_password,
            user: DEFAULT_USER.to_vec(),
            is_restricted: false,
            database: Database::ZERO,
            reply_mode: ReplyMode::On,
            created_at: now,
            last_command_at: now,
            last_command: "NULL",
            commands_total: 0,
            subscriptions: [0; 3],
            listens: false,
            queued: -1,
            queued_bytes: 0,
            watched: 0,
            monitors: false,
            tracking: None,
            is_told_for_others: false,
            no_evict: false,
            no_touch: false,
            reads_replica: false,
            read_wish: ReadWish::default(),
            blocked: false,
            close_after_reply: false,
        }
    }

    /// A client of another core, for which one command is carried out here. It is in no registry, and no list shows it.
    pub fn visitor(proto: u8, local: bool, now: Tick) -> Self {
        let nowhere = SocketAddr::from((if local { [127, 0, 0, 1] } else { [0; 4] }, 0));
        Self {
            proto,
            ..Self::new(ClientId(0), nowhere, nowhere, -1, now, false)
        }
    }

    /// True for a [`ClientState::visitor`].
    pub fn is_visitor(&self) -> bool {
        self.id == ClientId(0)
    }

    /// True when it may do nothing but change what it listens to: RESP2 cannot tell messages from replies.
    #[inline]
    pub fn only_listens(&self) -> bool {
        self.listens && self.proto < 3
    }

    /// True when other connections or cores know it by its place: it cannot go to another core.
    pub fn is_pinned(&self) -> bool {
        self.listens || self.monitors || self.is_told_for_others || self.tracking.is_some()
    }

    /// True when it is sent more than it asked for: then other limits hold for what it leaves unread.
    pub fn gets_pushes(&self) -> bool {
        self.listens || self.monitors
    }

    /// Notes that a command begins.
    #[inline]
    pub fn begin_command(&mut self, name: &'static str, now: Tick) {
        self.last_command = name;
        self.last_command_at = now;
        self.commands_total += 1;
        if self.reply_mode == ReplyMode::SkipNext {
            self.reply_mode = ReplyMode::Skipping;
        }
    }

    /// Whether what the present command wrote goes to the client. To be asked after it ran: `CLIENT REPLY ON` is itself
    /// answered.
    #[inline]
    pub fn wants_reply(&self) -> bool {
        !matches!(self.reply_mode, ReplyMode::Off | ReplyMode::Skipping)
    }

    /// Notes that the command begun last is done. Every [`ClientState::begin_command`] is followed by one.
    #[inline]
    pub fn end_command(&mut self) {
        if self.reply_mode == ReplyMode::Skipping {
            self.reply_mode = ReplyMode::On;
        }
    }

    /// Back to the state of a new connection (`RESET`).
    pub fn reset(&mut self, needs_password: bool) {
        self.name.clear();
        self.proto = 2;
        self.authenticated = !needs_password;
        self.user = DEFAULT_USER.to_vec();
        self.database = Database::ZERO;
        self.reply_mode = ReplyMode::On;
        self.no_evict = false;
        self.no_touch = false;
        self.reads_replica = false;
        self.read_wish = ReadWish::default();
    }
}

/// What a connection's buffers hold right now, in bytes; asked of `netio` when somebody looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BufferUse {
    /// Received and not yet carried out.
    pub query_bytes: u64,
    /// Room left for more input.
    pub query_free_bytes: u64,
    /// Replies not yet taken by the kernel.
    pub output_bytes: u64,
    /// All memory of the connection.
    pub total_bytes: u64,
}

/// Tells what a connection's buffers hold.
pub trait Buffers {
    /// Of the connection in this slot of the registry; zeros when it is unknown.
    fn of(&self, slot: usize) -> BufferUse;
}

/// Everybody connected to one core. Slots are numbers below the count of connections, chosen by the caller (`netio` has
/// such numbers) and used again after [`ClientRegistry::remove`].
///
/// A client that runs a command about clients is taken out for that time ([`ClientRegistry::take`]), so that the command
/// can change it and look at the others.
#[derive(Debug)]
pub struct ClientRegistry {
    slots: Vec<Option<Box<ClientState>>>,
    connected: usize,
    next_id: u64,
    id_step: u64,
}

impl Default for ClientRegistry {
    fn default() -> Self {
        Self::new(1, 1)
    }
}

impl ClientRegistry {
    /// Client numbers are `first`, `first + step`, and so on: cores of one process must not give the same number twice.
    pub fn new(first: u64, step: u64) -> Self {
        Self {
            slots: Vec::new(),
            connected: 0,
            next_id: first,
            id_step: step,
        }
    }

    /// The next client number.
    pub fn issue_id(&mut self) -> ClientId {
        let id = ClientId(self.next_id);
        self.next_id += self.id_step;
        id
    }

    /// Enters a new connection; the slot must be empty.
    pub fn insert(&mut self, slot: usize, client: ClientState) {
        if slot >= self.slots.len() {
            self.slots.resize_with(slot + 1, || None);
        }
        let before = self.slots[slot].replace(Box::new(client));
        assert!(before.is_none(), "slot {slot} holds a client already");
        self.connected += 1;
    }

    /// Forgets a connection.
    pub fn remove(&mut self, slot: usize) -> Option<Box<ClientState>> {
        let client = self.slots.get_mut(slot)?.take()?;
        self.connected -= 1;
        Some(client)
    }

    /// Takes a connection out for the time of one command. Still counted as connected; give it back with
    /// [`ClientRegistry::put_back`].
    #[inline]
    pub fn take(&mut self, slot: usize) -> Option<Box<ClientState>> {
        self.slots.get_mut(slot)?.take()
    }

    /// Gives back what [`ClientRegistry::take`] took.
    #[inline]
    pub fn put_back(&mut self, slot: usize, client: Box<ClientState>) {
        debug_assert!(self.slots[slot].is_none(), "slot {slot} was filled meanwhile");
        self.slots[slot] = Some(client);
    }

    /// The connection in a slot.
    #[inline]
    pub fn get(&self, slot: usize) -> Option<&ClientState> {
        self.slots.get(slot)?.as_deref()
    }

    /// The connection in a slot.
    #[inline]
    pub fn get_mut(&mut self, slot: usize) -> Option<&mut ClientState> {
        self.slots.get_mut(slot)?.as_deref_mut()
    }

    /// How many are connected.
    pub fn len(&self) -> usize {
        self.connected
    }

    /// True when nobody is connected.
    pub fn is_empty(&self) -> bool {
        self.connected == 0
    }

    /// Everybody but whoever is taken out, with their slots, in the order of slots.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut ClientState> {
        self.slots.iter_mut().filter_map(|client| client.as_deref_mut())
    }

    /// All clients with their slots.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &ClientState)> {
        self.slots
            .iter()
            .enumerate()
            .filter_map(|(slot, client)| Some((slot, client.as_deref()?)))
    }

    /// Slots of clients that were silent for at least `idle_timeout_s` seconds (0 = never): appended to `out`. Looks at
    /// `budget` slots from `from` on and returns where to go on, 0 after the last.
    pub fn idle(&self, from: usize, budget: usize, now: Tick, idle_timeout_s: u32, out: &mut Vec<usize>) -> usize {
        if idle_timeout_s == 0 {
            return 0;
        }
        let end = (from + budget).min(self.slots.len());
        for slot in from..end {
            let waits_by_itself = self.get(slot).filter(|client| !client.blocked);
            let silent = waits_by_itself.map(|client| now.since(client.last_command_at).as_secs());
            if silent.is_some_and(|seconds| seconds > u64::from(idle_timeout_s)) {
                out.push(slot);
            }
        }
        if end >= self.slots.len() { 0 } else { end }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn client(registry: &mut ClientRegistry, now: Tick) -> ClientState {
        let any = "127.0.0.1:1".parse().unwrap();
        ClientState::new(registry.issue_id(), any, any, 3, now, false)
    }

    #[test]
    fn slots_are_used_again_and_numbers_are_not() {
        let mut registry = ClientRegistry::new(2, 4);
        for slot in [0, 5] {
            let new = client(&mut registry, Tick::ZERO);
            registry.insert(slot, new);
        }
        assert_eq!(registry.remove(0).unwrap().id, ClientId(2));
        assert!(registry.remove(0).is_none());
        let new = client(&mut registry, Tick::ZERO);
        registry.insert(0, new);
        assert_eq!(
            registry.iter().map(|(slot, c)| (slot, c.id.0)).collect::<Vec<_>>(),
            [(0, 10), (5, 6)]
        );
        let taken = registry.take(5).unwrap();
        assert_eq!((registry.len(), registry.iter().count()), (2, 1));
        registry.put_back(5, taken);
        assert_eq!((registry.len(), registry.iter().count()), (2, 2));
    }

    #[test]
    fn skipping_a_reply_lasts_for_one_command() {
        let mut registry = ClientRegistry::default();
        let mut c = client(&mut registry, Tick::ZERO);
        let mut heard = |set: Option<ReplyMode>| {
            c.begin_command("get", Tick::ZERO);
            c.reply_mode = set.unwrap_or(c.reply_mode);
            let heard = c.wants_reply();
            c.end_command();
            heard
        };
        assert!(heard(Some(ReplyMode::SkipNext)));
        assert!(!heard(None));
        assert!(heard(None));
        assert!(!heard(Some(ReplyMode::Off)));
        assert!(!heard(None));
        assert!(heard(Some(ReplyMode::On)));
    }

    #[test]
    fn silent_clients_are_found_piece_by_piece() {
        let mut registry = ClientRegistry::default();
        for slot in 0..5 {
            let new = client(&mut registry, Tick::ZERO + Duration::from_secs(slot));
            registry.insert(slot as usize, new);
        }
        let now = Tick::ZERO + Duration::from_secs(13);
        let mut out = Vec::new();
        let next = registry.idle(0, 2, now, 10, &mut out);
        assert_eq!((next, &out[..]), (2, &[0, 1][..]));
        assert_eq!(registry.idle(next, 99, now, 10, &mut out), 0);
        assert_eq!(out, [0, 1, 2]);
        assert_eq!(registry.idle(0, 99, now, 0, &mut out), 0);
    }
}
