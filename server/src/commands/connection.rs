//! PING, ECHO, HELLO, AUTH, SELECT, QUIT, RESET.

use slotcore_engine::cmd::stored::selected;
use slotcore_engine::cmd::{Args, Reply};
use slotcore_engine::database::Database;
use slotcore_rt::ids::CoreId;

use super::acl::note_denial;
use super::arguments::{SYNTAX, integer, is, is_attribute, quoted, refuse};
use super::replication::hello_role;
use super::{Flow, REDIS_VERSION, ServerCtx};
use crate::acl::{Context, DEFAULT_USER};
use crate::clients::{ClientState, Endpoint};
use crate::leadership::ClusterView;
use crate::logging::Event;

const WRONGPASS: &str = "WRONGPASS invalid username-password pair or user is disabled.";
const TOO_MANY_GUESSES: &str = "ERR too many wrong passwords from this address, try again later";
const BAD_NAME: &str = "ERR Client names cannot contain spaces, newlines or special characters.";

/// `PING [message]`
pub(super) fn ping(conn: &ClientState, args: Args<'_>, out: &mut dyn Reply) -> Flow {
    match args.len() {
        1 | 2 if conn.only_listens() => {
            // Whoever reads messages reads this like one.
            out.array(2);
            out.bulk(b"pong");
            out.bulk(args.try_get(1).unwrap_or_default());
        }
        1 => out.simple("PONG"),
        2 => out.bulk(args.get(1)),
        _ => out.error("ERR wrong number of arguments for 'ping' command"),
    }
    Flow::Done
}

/// `ECHO message`
pub(super) fn echo(args: Args<'_>, out: &mut dyn Reply) -> Flow {
    out.bulk(args.get(1));
    Flow::Done
}

/// `HELLO [protover [AUTH username password] [SETNAME name]]`
///
/// On success nothing is written: the reply has the form of the new protocol version, see [`Flow::Hello`].
pub(super) fn hello(ctx: &mut ServerCtx<'_>, conn: &mut ClientState, args: Args<'_>, out: &mut dyn Reply) -> Flow {
    let proto = match args.try_get(1).map(integer) {
        None => conn.proto,
        Some(None) => return refuse(out, "ERR Protocol version is not an integer or out of range"),
        Some(Some(2)) => 2,
        Some(Some(3)) => 3,
        Some(Some(_)) => return refuse(out, "NOPROTO unsupported protocol version"),
    };
    let (mut credentials, mut name) = (None, None);
    let mut at = 2;
    while let Some(option) = args.try_get(at) {
        match (args.try_get(at + 1), args.try_get(at + 2)) {
            (Some(user), Some(password)) if is(option, "auth") => {
                credentials = Some((user, password));
                at += 3;
            }
            (Some(text), _) if is(option, "setname") => {
                if !is_attribute(text) {
                    return refuse(out, BAD_NAME);
                }
                name = Some(text);
                at += 2;
            }
            _ => return refuse(out, &format!("ERR Syntax error in HELLO option '{}'", quoted(option))),
        }
    }
    if let Some((user, password)) = credentials
        && let Err(error) = authenticate(ctx, conn, user, password)
    {
        return refuse(out, error);
    }
    if !conn.authenticated {
        return refuse(
            out,
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> \
             <pass> option can be used to authenticate the client and select the RESP protocol version at the same time",
        );
    }
    if let Some(name) = name {
        conn.name = name.to_vec();
    }
    conn.proto = proto;
    Flow::Hello
}

/// The answer to a HELLO that succeeded, for a writer of the connection's new protocol version.
pub fn hello_reply(conn: &ClientState, view: Option<&ClusterView>, core: CoreId, out: &mut dyn Reply) {
    out.map(7);
    for (name, value) in [("server", "redis"), ("version", REDIS_VERSION)] {
        out.bulk(name.as_bytes());
        out.bulk(value.as_bytes());
    }
    out.bulk(b"proto");
    out.int(i64::from(conn.proto));
    out.bulk(b"id");
    out.int(i64::try_from(conn.id.0).unwrap_or(i64::MAX));
    for (name, value) in [
        ("mode", mode(conn.endpoint)),
        ("role", hello_role(view, core, conn.endpoint)),
    ] {
        out.bulk(name.as_bytes());
        out.bulk(value.as_bytes());
    }
    out.bulk(b"modules");
    out.array(0);
}

/// What a server calls itself on such a port, in `HELLO` and `INFO server`.
pub(super) fn mode(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::AnySlot => "standalone",
        Endpoint::Core => "cluster",
    }
}

/// `AUTH [username] password`
pub(super) fn auth(ctx: &mut ServerCtx<'_>, conn: &mut ClientState, args: Args<'_>, out: &mut dyn Reply) -> Flow {
    let (user, password) = match (args.len(), args.try_get(1), args.try_get(2)) {
        (2, Some(password), _) => {
            if ctx
                .acl
                .get(DEFAULT_USER)
                .is_some_and(|user| user.enabled && user.needs_no_password)
            {
                return refuse(
                    out,
                    "ERR AUTH <password> called without any password configured for the default user. Are you sure your \
                     configuration is correct?",
                );
            }
            (DEFAULT_USER, password)
        }
        (3, Some(user), Some(password)) => (user, password),
        _ => return refuse(out, SYNTAX),
    };
    match authenticate(ctx, conn, user, password) {
        Ok(()) => out.ok(),
        Err(error) => out.error(error),
    }
    Flow::Done
}

fn authenticate(
    ctx: &mut ServerCtx<'_>,
    conn: &mut ClientState,
    user: &[u8],
    given: &[u8],
) -> Result<(), &'static str> {
    if !ctx.auth.allows(conn.peer.ip(), ctx.now) {
        ctx.metrics.net.auth_failures += 1;
        return Err(TOO_MANY_GUESSES);
    }
    if ctx.acl.lets_in(user, given) {
        conn.authenticated = true;
        conn.user = user.to_vec();
        conn.is_restricted = ctx.acl.get(user).is_none_or(|user| !user.may_do_everything());
        return Ok(());
    }
    ctx.metrics.net.auth_failures += 1;
    note_denial(
        ctx,
        conn,
        user,
        ("auth", conn.last_command.as_bytes()),
        Context::TopLevel,
    );
    if ctx.auth.wrong(conn.peer.ip(), ctx.now) {
        Event::AuthFlood { peer: conn.peer }.log();
    }
    Err(WRONGPASS)
}

/// `SELECT index`: a node of a cluster has one database.
pub(super) fn select(conn: &mut ClientState, args: Args<'_>, out: &mut dyn Reply) -> Flow {
    match selected(args.get(1)) {
        Err(text) => out.error(text),
        Ok(database) if database != Database::ZERO && conn.endpoint == Endpoint::Core => {
            out.error("ERR SELECT is not allowed in cluster mode");
        }
        Ok(database) => {
            conn.database = database;
            out.ok();
        }
    }
    Flow::Done
}

/// `QUIT`
pub(super) fn quit(conn: &mut ClientState, out: &mut dyn Reply) -> Flow {
    conn.close_after_reply = true;
    out.ok();
    Flow::Done
}

/// `RESET`
pub(super) fn reset(ctx: &mut ServerCtx<'_>, conn: &mut ClientState, out: &mut dyn Reply) -> Flow {
    conn.reset(ctx.acl.needs_login());
    conn.is_restricted = ctx.acl.get(DEFAULT_USER).is_none_or(|user| !user.may_do_everything());
    out.simple("RESET");
    Flow::Done
}
