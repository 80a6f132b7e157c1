//! CLIENT ID, GETNAME, SETNAME, SETINFO, INFO, LIST, KILL, NO-EVICT, NO-TOUCH, REPLY.

use std::fmt::Write as _;
use std::time::Duration;

use slotcore_engine::cmd::{Args, Reply};
use slotcore_rt::clock::Tick;

use super::arguments::{NOT_AN_INTEGER, SYNTAX, integer, is, is_attribute, on_off, quoted, refuse};
use super::{Flow, ServerCtx};
use crate::acl::AclTable;
use crate::clients::{BufferUse, ClientId, ClientState, ReplyMode};
use crate::pause::Pause;
use crate::replica_reads::ReadWish;
use crate::tracking::TrackingMode;

/// `CLIENT ID`
pub(super) fn id(conn: &ClientState, out: &mut dyn Reply) -> Flow {
    out.int(i64::try_from(conn.id.0).unwrap_or(i64::MAX));
    Flow::Done
}

/// `CLIENT GETNAME`
pub(super) fn get_name(conn: &ClientState, out: &mut dyn Reply) -> Flow {
    if conn.name.is_empty() {
        out.null()
    } else {
        out.bulk(&conn.name)
    }
    Flow::Done
}

/// `CLIENT SETNAME name`: the empty name takes it away.
pub(super) fn set_name(conn: &mut ClientState, args: Args<'_>, out: &mut dyn Reply) -> Flow {
    let name = args.get(2);
    if !is_attribute(name) {
        return refuse(
            out,
            "ERR Client names cannot contain spaces, newlines or special characters.",
        );
    }
    conn.name = name.to_vec();
    out.ok();
    Flow::Done
}

/// `CLIENT SETINFO LIB-NAME|LIB-VER value`
pub(super) fn set_info(conn: &mut ClientState, args: Args<'_>, out: &mut dyn Reply) -> Flow {
    let (attribute, value) = (args.get(2), args.get(3));
    let place = if is(attribute, "lib-name") {
        &mut conn.lib_name
    } else if is(attribute, "lib-ver") {
        &mut conn.lib_ver
    } else {
        return refuse(out, &format!("ERR Unrecognized option '{}'", quoted(attribute)));
    };
    if !is_attribute(value) {
        let text = format!(
            "ERR {} cannot contain spaces, newlines or special characters.",
            quoted(attribute)
        );
        return refuse(out, &text);
    }
    *place = value.to_vec();
    out.ok();
    Flow::Done
}

/// `CLIENT INFO`
pub(super) fn info(ctx: &ServerCtx<'_>, conn: &ClientState, out: &mut dyn Reply) -> Flow {
    let line = line(conn, ctx.buffers.of(ctx.slot), ctx.now) + "\n";
    out.verbatim(line.as_bytes());
    Flow::Done
}

/// `CLIENT LIST [TYPE type | ID id...]`
pub(super) fn list(ctx: &ServerCtx<'_>, conn: &ClientState, args: Args<'_>, out: &mut dyn Reply) -> Flow {
    let mut ids = Vec::new();
    let mut class = Class::Any;
    match args.try_get(2) {
        None => {}
        Some(word) if is(word, "type") && args.len() == 4 => match Class::parse(args.get(3)) {
            Some(wanted) => class = wanted,
            None => return refuse(out, &unknown_class(args.get(3))),
        },
        Some(word) if is(word, "id") && args.len() > 3 => {
            for arg in args.iter_from(3) {
                match client_id(arg) {
                    Some(id) => ids.push(id),
                    None => return refuse(out, "ERR Invalid client ID"),
                }
            }
        }
        Some(_) => return refuse(out, SYNTAX),
    }
    let wanted = |client: &ClientState| {
        !client.is_visitor() && (ids.is_empty() || ids.contains(&client.id)) && class.has(client)
    };
    let mut clients: Vec<(usize, &ClientState)> = ctx.clients.iter().chain([(ctx.slot, conn)]).collect();
    clients.retain(|(_, client)| wanted(client));
    clients.sort_unstable_by_key(|(_, client)| client.id);
    let mut text = String::with_capacity(clients.len() * 320);
    for (slot, client) in clients {
        text.push_str(&line(client, ctx.buffers.of(slot), ctx.now));
        text.push('\n');
    }
    out.verbatim(text.as_bytes());
    Flow::Done
}

/// `CLIENT KILL addr:port`, or `CLIENT KILL [ID id] [TYPE type] [ADDR a] [LADDR a] [USER u] [SKIPME yes|no] ...`
pub(super) fn kill(ctx: &ServerCtx<'_>, conn: &mut ClientState, args: Args<'_>, out: &mut dyn Reply) -> Flow {
    let old_form = args.len() == 3;
    let filter = if old_form {
        KillFilter {
            addr: Some(args.get(2)),
            skip_me: false,
            ..KillFilter::default()
        }
    } else {
        match KillFilter::parse(args, ctx.acl) {
            Ok(filter) => filter,
            Err(error) => return refuse(out, &error),
        }
    };
    let slots: Vec<usize> = ctx
        .clients
        .iter()
        .filter(|(_, c)| filter.matches(c))
        .map(|(slot, _)| slot)
        .collect();
    let me = !filter.skip_me && !conn.is_visitor() && filter.matches(conn);
    conn.close_after_reply |= me;
    match slots.len() + usize::from(me) {
        0 if old_form => out.error("ERR No such client"),
        _ if old_form => out.ok(),
        count => out.int(count as i64),
    }
    Flow::Kill(slots)
}

/// `CLIENT UNBLOCK id [TIMEOUT|ERROR]`: 1 if the client waits for a key. What it is told is decided in the order of the
/// log: a push that comes first is served.
pub(super) fn unblock(ctx: &ServerCtx<'_>, args: Args<'_>, out: &mut dyn Reply) -> Flow {
    if args.len() > 4 {
        return refuse(
            out,
            "ERR unknown subcommand or wrong number of arguments for 'UNBLOCK'. Try CLIENT HELP.",
        );
    }
    let error = match args.try_get(3) {
        None => false,
        Some(word) if is(word, "timeout") => false,
        Some(word) if is(word, "error") => true,
        Some(_) => return refuse(out, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"),
    };
    let Some(id) = integer(args.get(2)) else {
        return refuse(out, NOT_AN_INTEGER);
    };
    let waits = |client: &ClientState| client.blocked && i64::try_from(client.id.0) == Ok(id);
    match ctx.clients.iter().find(|(_, client)| waits(client)) {
        Some((slot, _)) => {
            out.int(1);
            Flow::Unblock { slot, error }
        }
        None => {
            out.int(0);
            Flow::Done
        }
    }
}

/// `CLIENT PAUSE timeout [WRITE|ALL]`: in milliseconds. While a pause is in force, another one can only make it longer
/// and wider.
pub(super) fn pause(ctx: &ServerCtx<'_>, args: Args<'_>, out: &mut dyn Reply) -> Flow {
    if args.len() > 4 {
        return refuse(
            out,
            "ERR unknown subcommand or wrong number of arguments for 'PAUSE'. Try CLIENT HELP.",
        );
    }
    let all = match args.try_get(3) {
        None => true,
        Some(word) if is(word, "all") => true,
        Some(word) if is(word, "write") => false,
        Some(_) => return refuse(out, "ERR CLIENT PAUSE mode must be WRITE or ALL"),
    };
    let ms = match integer(args.get(2)) {
        None => return refuse(out, "ERR timeout is not an integer or out of range"),
        Some(ms) => match u64::try_from(ms) {
            Ok(ms) => ms,
            Err(_) => return refuse(out, "ERR timeout is negative"),
        },
    };
    out.ok();
    let until = ctx.now + Duration::from_millis(ms);
    Flow::Pause(Pause { until, all })
}

/// `CLIENT UNPAUSE`
pub(super) fn unpause(out: &mut dyn Reply) -> Flow {
    out.ok();
    Flow::Unpause
}

/// `CLIENT NO-EVICT on|off`
pub(super) fn no_evict(conn: &mut ClientState, args: Args<'_>, out: &mut dyn Reply) -> Flow {
    switch(&mut conn.no_evict, args, out)
}

/// `CLIENT NO-TOUCH on|off`
pub(super) fn no_touch(conn: &mut ClientState, args: Args<'_>, out: &mut dyn Reply) -> Flow {
    switch(&mut conn.no_touch, args, out)
}

/// `CLIENT READMODE [linearizable|lease|bounded ms|any]`: how fresh what the connection reads has to be, or how fresh it is to be
/// now.
pub(super) fn read_mode(conn: &mut ClientState, args: Args<'_>, out: &mut dyn Reply) -> Flow {
    let wish = match (args.try_get(2), args.try_get(3)) {
        (None, _) => {
            let bounded;
            let text = match conn.read_wish {
                ReadWish::Lease => "lease",
                ReadWish::Linearizable => "linearizable",
                ReadWish::Any => "any",
                ReadWish::Bounded(ms) => {
                    bounded = format!("bounded {ms}");
                    &bounded
                }
            };
            out.bulk(text.as_bytes());
            return Flow::Done;
        }
        (Some(word), None) if is(word, "lease") => ReadWish::Lease,
        (Some(word), None) if is(word, "linearizable") => ReadWish::Linearizable,
        (Some(word), None) if is(word, "any") => ReadWish::Any,
        (Some(word), Some(ms)) if is(word, "bounded") && args.len() == 4 => {
            match integer(ms).and_then(|ms| u32::try_from(ms).ok()) {
                Some(ms) => ReadWish::Bounded(ms),
                None => return refuse(out, "ERR staleness is not a number of milliseconds or out of range"),
            }
        }
        _ => return refuse(out, SYNTAX),
    };
    conn.read_wish = wish;
    out.ok();
    Flow::Done
}

/// `CLIENT REPLY on|off|skip`: only `on` is answered.
pub(super) fn reply(conn: &mut ClientState, args: Args<'_>, out: &mut dyn Reply) -> Flow {
    let word = args.get(2);
    if is(word, "on") {
        conn.reply_mode = ReplyMode::On;
        out.ok();
    } else if is(word, "off") {
        conn.reply_mode = ReplyMode::Off;
    } else if is(word, "skip") {
        // When replies are off already, there is none to skip.
        if conn.reply_mode != ReplyMode::Off {
            conn.reply_mode = ReplyMode::SkipNext;
        }
    } else {
        return refuse(out, SYNTAX);
    }
    Flow::Done
}

fn switch(place: &mut bool, args: Args<'_>, out: &mut dyn Reply) -> Flow {
    match on_off(args.get(2)) {
        Some(on) => {
            *place = on;
            out.ok();
        }
        None => out.error(SYNTAX),
    }
    Flow::Done
}

/// Kinds of clients in `TYPE` filters. There are normal ones only: replication does not come through client connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Any,
    Normal,
    PubSub,
    Other,
}

impl Class {
    fn parse(word: &[u8]) -> Option<Self> {
        if is(word, "normal") {
            return Some(Self::Normal);
        }
        if is(word, "pubsub") {
            return Some(Self::PubSub);
        }
        ["master", "replica", "slave"]
            .iter()
            .any(|class| is(word, class))
            .then_some(Self::Other)
    }

    fn has(self, client: &ClientState) -> bool {
        match self {
            Self::Any => true,
            Self::Normal => !client.listens,
            Self::PubSub => client.listens,
            Self::Other => false,
        }
    }
}

fn unknown_class(word: &[u8]) -> String {
    format!("ERR Unknown client type '{}'", quoted(word))
}

fn client_id(text: &[u8]) -> Option<ClientId> {
    integer(text)
        .and_then(|id| u64::try_from(id).ok())
        .filter(|&id| id > 0)
        .map(ClientId)
}

/// Which clients to close: those that pass every filter given.
#[derive(Debug)]
struct KillFilter<'a> {
    id: Option<ClientId>,
    class: Class,
    addr: Option<&'a [u8]>,
    laddr: Option<&'a [u8]>,
    user: Option<&'a [u8]>,
    skip_me: bool,
}

impl Default for KillFilter<'_> {
    fn default() -> Self {
        Self {
            id: None,
            class: Class::Any,
            addr: None,
            laddr: None,
            user: None,
            skip_me: true,
        }
    }
}

impl<'a> KillFilter<'a> {
    fn parse(args: Args<'a>, users: &AclTable) -> Result<Self, String> {
        let mut filter = Self::default();
        let mut at = 2;
        while let Some(option) = args.try_get(at) {
            let value = args.try_get(at + 1).ok_or_else(|| SYNTAX.to_string())?;
            if is(option, "id") {
                let id = client_id(value).ok_or_else(|| "ERR client-id should be greater than 0".to_string())?;
                filter.id = Some(id);
            } else if is(option, "type") {
                filter.class = Class::parse(value).ok_or_else(|| unknown_class(value))?;
            } else if is(option, "addr") {
                filter.addr = Some(value);
            } else if is(option, "laddr") {
                filter.laddr = Some(value);
            } else if is(option, "user") {
                if !users.has(value) {
                    return Err(format!("ERR No such user '{}'", quoted(value)));
                }
                filter.user = Some(value);
            } else if is(option, "skipme") && (is(value, "yes") || is(value, "no")) {
                filter.skip_me = is(value, "yes");
            } else {
                return Err(SYNTAX.to_string());
            }
            at += 2;
        }
        Ok(filter)
    }

    fn matches(&self, client: &ClientState) -> bool {
        self.id.is_none_or(|id| id == client.id)
            && self.class.has(client)
            && self.addr.is_none_or(|addr| addr == client.peer.to_string().as_bytes())
            && self
                .laddr
                .is_none_or(|laddr| laddr == client.local.to_string().as_bytes())
            && self.user.is_none_or(|user| user == client.user)
    }
}

/// The same, of a client that runs a command.
pub(super) fn line_of(ctx: &ServerCtx<'_>, conn: &ClientState) -> String {
    line(conn, ctx.buffers.of(ctx.slot), ctx.now)
}

/// One client as CLIENT LIST and CLIENT INFO print it: the fields of Redis 7.2, in its order, and behind them `watch`, which
/// came later and which who reads by place must not meet in between.
fn line(client: &ClientState, buffers: BufferUse, now: Tick) -> String {
    let mut flags = String::new();
    for (flag, set) in [
        ('O', client.monitors),
        ('P', client.listens),
        ('x', client.queued >= 0),
        ('b', client.blocked),
        ('t', client.tracking.is_some()),
        ('R', client.tracking.as_ref().is_some_and(|mode| mode.is_broken)),
        ('B', client.tracking.as_ref().is_some_and(|mode| mode.broadcast)),
        ('c', client.close_after_reply),
        ('r', client.reads_replica),
        ('e', client.no_evict),
        ('T', client.no_touch),
    ] {
        if set {
            flags.push(flag);
        }
    }
    if flags.is_empty() {
        flags.push('N');
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut line = String::with_capacity(320);
    write!(
        line,
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={flags} db={} sub={} psub={} ssub={} multi={} \
         qbuf={} qbuf-free={} argv-mem=0 multi-mem={} rbs=0 rbp=0 obl={} oll=0 omem={} tot-mem={} events={} cmd={} user={} \
         redir={} resp={} lib-name={} lib-ver={} watch={}",
        client.id,
        client.peer,
        client.local,
        client.fd,
        text(&client.name),
        now.since(client.created_at).as_secs(),
        now.since(client.last_command_at).as_secs(),
        client.database,
        client.subscriptions[0],
        client.subscriptions[1],
        client.subscriptions[2],
        client.queued,
        buffers.query_bytes,
        buffers.query_free_bytes,
        client.queued_bytes,
        buffers.output_bytes,
        buffers.output_bytes,
        buffers.total_bytes + client.queued_bytes as u64,
        if buffers.output_bytes > 0 { "rw" } else { "r" },
        client.last_command,
        text(&client.user),
        TrackingMode::redirection(client.tracking.as_deref()),
        client.proto,
        text(&client.lib_name),
        text(&client.lib_ver),
        client.watched,
    )
    .expect("a String takes whatever is written to it");
    line
}
