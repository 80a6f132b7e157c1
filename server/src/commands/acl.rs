//! ACL and its subcommands.

use slotcore_engine::cmd::{self, Args, CommandSpec, Reply};
use slotcore_rt::{config_file, rng};

use super::arguments::{integer, is, quoted, refuse};
use super::{Around, Flow, ServerCtx, ServerState};
use crate::acl::{AclTable, Context, DEFAULT_USER, Denial, LogEntry, User};
use crate::clients::ClientState;

const NO_FILE: &str = "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the \
                       ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file \
                       set) in order to store users in the Redis configuration.";
const BAD_BITS: &str =
    "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096";
/// Bits of a password that is made without being told how many.
const PASSWORD_BITS: i64 = 256;
const PASSWORD_BITS_MAX: i64 = 4096;
/// Entries that `ACL LOG` shows without being told how many.
const LOG_SHOWN: i64 = 10;

/// `ACL WHOAMI`
pub(super) fn whoami(conn: &ClientState, out: &mut dyn Reply) -> Flow {
    out.bulk(&conn.user);
    Flow::Done
}

/// `ACL USERS`
pub(super) fn users(ctx: &ServerCtx<'_>, out: &mut dyn Reply) -> Flow {
    let users = ctx.acl.iter();
    out.array(users.len());
    users.for_each(|(name, _)| out.bulk(name));
    Flow::Done
}

/// `ACL LIST`
pub(super) fn list(ctx: &ServerCtx<'_>, out: &mut dyn Reply) -> Flow {
    let users = ctx.acl.iter();
    out.array(users.len());
    users.for_each(|(name, user)| out.bulk(&user.describe(name)));
    Flow::Done
}

/// `ACL GETUSER name`
pub(super) fn get_user(ctx: &ServerCtx<'_>, args: Args<'_>, out: &mut dyn Reply) -> Flow {
    match ctx.acl.get(args.get(2)) {
        Some(user) => show(user, out),
        None => out.null(),
    }
    Flow::Done
}

fn show(user: &User, out: &mut dyn Reply) {
    let mut rules = user.rules();
    let own = rules.next().unwrap_or_default();
    out.map(6);
    out.bulk(b"flags");
    let flags = user.flags();
    out.set(flags.len());
    flags.iter().for_each(|flag| out.bulk(flag.as_bytes()));
    out.bulk(b"passwords");
    let passwords = user.passwords();
    out.array(passwords.len());
    passwords.for_each(|password| out.bulk(password.as_bytes()));
    show_rules(&own, out);
    out.bulk(b"selectors");
    out.array(rules.len());
    for selector in rules {
        out.map(3);
        show_rules(&selector, out);
    }
}

fn show_rules(rules: &[Vec<u8>; 3], out: &mut dyn Reply) {
    for (name, text) in ["commands", "keys", "channels"].iter().zip(rules) {
        out.bulk(name.as_bytes());
        out.bulk(text);
    }
}

/// `ACL SETUSER name [rule ...]`: all rules or none.
pub(super) fn set_user(ctx: &mut ServerCtx<'_>, conn: &mut ClientState, args: Args<'_>, out: &mut dyn Reply) -> Flow {
    let name = args.get(2);
    if !AclTable::is_name(name) {
        return refuse(out, "ERR Usernames can't contain spaces or null characters");
    }
    let rules: Vec<_> = args.iter_from(3).collect();
    if let Err(error) = ctx.acl.set(name, &rules) {
        let text = format!("ERR {error}");
        return refuse(out, &text.replace(['\r', '\n'], " "));
    }
    refresh(ctx, conn);
    out.ok();
    Flow::Done
}

/// Connections learn what their users may do now.
fn refresh(ctx: &mut ServerCtx<'_>, conn: &mut ClientState) {
    let acl = &*ctx.acl;
    let know = |client: &mut ClientState| {
        client.is_restricted = acl.get(&client.user).is_none_or(|user| !user.may_do_everything());
    };
    ctx.clients.iter_mut().for_each(know);
    know(conn);
}

/// `ACL DELUSER name [name ...]`: their connections are closed. On several cores each answers the same number.
pub(super) fn del_user(ctx: &mut ServerCtx<'_>, conn: &mut ClientState, args: Args<'_>, out: &mut dyn Reply) -> Flow {
    if args.iter_from(2).any(|name| name == DEFAULT_USER) {
        return refuse(out, "ERR The 'default' user cannot be removed");
    }
    let mut gone = Vec::new();
    for name in args.iter_from(2) {
        if ctx.acl.remove(name) {
            gone.push(name);
        }
    }
    out.int(gone.len() as i64);
    let is_gone = |client: &ClientState| gone.contains(&&client.user[..]);
    conn.close_after_reply |= is_gone(conn);
    let slots = ctx
        .clients
        .iter()
        .filter(|(_, client)| is_gone(client))
        .map(|(slot, _)| slot)
        .collect();
    Flow::Kill(slots)
}

/// `ACL CAT [category]`
pub(super) fn cat(args: Args<'_>, out: &mut dyn Reply) -> Flow {
    let Some(category) = args.try_get(2) else {
        let names = AclTable::categories();
        out.array(names.len());
        names.for_each(|name| out.bulk(name.as_bytes()));
        return Flow::Done;
    };
    match AclTable::commands_in(&String::from_utf8_lossy(category)) {
        Some(names) => {
            out.array(names.len());
            names.iter().for_each(|name| out.bulk(name.as_bytes()));
        }
        None => out.error(&format!("ERR Unknown category '{}'", quoted(category))),
    }
    Flow::Done
}

/// `ACL GENPASS [bits]`
pub(super) fn gen_pass(args: Args<'_>, out: &mut dyn Reply) -> Flow {
    let bits = match args.try_get(2).map(integer) {
        None => PASSWORD_BITS,
        Some(Some(bits @ 1..=PASSWORD_BITS_MAX)) => bits,
        Some(_) => return refuse(out, BAD_BITS),
    };
    let digits = (bits as usize).div_ceil(4);
    let mut random = vec![0u8; digits.div_ceil(2)];
    if let Err(error) = rng::os_entropy(&mut random) {
        return refuse(out, &format!("ERR the system has no randomness: {error}"));
    }
    let mut password: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    password.truncate(digits);
    out.bulk(password.as_bytes());
    Flow::Done
}

/// `ACL LOG [count | RESET]`: of the connections of this core, or of all of them put together.
pub(super) fn log(ctx: &mut ServerCtx<'_>, args: Args<'_>, out: &mut dyn Reply) -> Flow {
    let count = match args.try_get(2) {
        None => LOG_SHOWN,
        Some(word) if is(word, "reset") => {
            ctx.acl_log.clear();
            out.ok();
            return Flow::Done;
        }
        Some(word) => match integer(word) {
            Some(count @ 0..) => count,
            _ => return refuse(out, "ERR value is out of range, must be positive"),
        },
    };
    let now_ms = ctx.wall_us / 1000;
    let entries: Vec<_> = ctx.acl_log.iter().take(count as usize).collect();
    out.array(entries.len());
    for entry in entries {
        show_entry(entry, now_ms, out);
    }
    Flow::Done
}

fn show_entry(entry: &LogEntry, now_ms: u64, out: &mut dyn Reply) {
    let age_s = now_ms.saturating_sub(entry.last_ms) as f64 / 1000.0;
    out.map(10);
    out.bulk(b"count");
    out.int(entry.count as i64);
    for (name, text) in [
        ("reason", entry.reason.as_bytes()),
        ("context", entry.context.name().as_bytes()),
        ("object", &entry.object),
        ("username", &entry.user),
    ] {
        out.bulk(name.as_bytes());
        out.bulk(text);
    }
    out.bulk(b"age-seconds");
    out.double(age_s);
    out.bulk(b"client-info");
    out.bulk(entry.client.as_bytes());
    for (name, number) in [
        ("entry-id", entry.id),
        ("timestamp-created", entry.first_ms),
        ("timestamp-last-updated", entry.last_ms),
    ] {
        out.bulk(name.as_bytes());
        out.int(number as i64);
    }
}

/// Notes that a connection was denied something.
pub(super) fn note_denial(
    ctx: &mut ServerCtx<'_>,
    conn: &ClientState,
    user: &[u8],
    (reason, object): (&'static str, &[u8]),
    context: Context,
) {
    let entry = LogEntry {
        id: 0,
        count: 1,
        reason,
        context,
        object: object.to_vec(),
        user: user.to_vec(),
        client: super::client::line_of(ctx, conn),
        first_ms: 0,
        last_ms: ctx.wall_us / 1000,
    };
    let longest = ctx.config.settings().acl_log_len_max;
    ctx.acl_log.note(entry, longest);
}

/// `ACL DRYRUN user command [arg ...]`
pub(super) fn dry_run(ctx: &ServerCtx<'_>, args: Args<'_>, out: &mut dyn Reply) -> Flow {
    let name = args.get(2);
    let Some(user) = ctx.acl.get(name) else {
        return refuse(out, &format!("ERR User '{}' not found", quoted(name)));
    };
    let command = args.tail(3);
    let spec = match cmd::resolve(&command) {
        Ok(spec) => spec,
        Err(_) if cmd::lookup(command.get(0)).is_none() => {
            return refuse(out, &format!("ERR Command '{}' not found", quoted(command.get(0))));
        }
        Err(text) => return refuse(out, &text),
    };
    match user.check(spec, &command) {
        Ok(()) => out.ok(),
        Err(denied) => out.bulk(denied.explain().as_bytes()),
    }
    Flow::Done
}

/// `ACL LOAD`: the users of the file, or those in force if there is anything wrong with it. Connections of users that are
/// gone or have changed are closed.
pub(super) fn load(ctx: &mut ServerCtx<'_>, conn: &mut ClientState, out: &mut dyn Reply) -> Flow {
    let Some(path) = &ctx.config.config().acl_file else {
        return refuse(out, NO_FILE);
    };
    let loaded = config_file::read(path)
        .map_err(|error| error.to_string())
        .and_then(|text| AclTable::from_file(&text).map_err(|error| error.to_string()));
    let table = match loaded {
        Ok(table) => table,
        Err(error) => {
            let text = format!("ERR {}: {error}", path.display());
            return refuse(out, &text.replace(['\r', '\n'], " "));
        }
    };
    let changed =
        |client: &ClientState| client.user != DEFAULT_USER && table.get(&client.user) != ctx.acl.get(&client.user);
    conn.close_after_reply |= changed(conn);
    let slots = ctx
        .clients
        .iter()
        .filter(|(_, client)| changed(client))
        .map(|(slot, _)| slot)
        .collect();
    *ctx.acl = table;
    refresh(ctx, conn);
    out.ok();
    Flow::Kill(slots)
}

/// `ACL SAVE`: holds the core until the file is on disk, some milliseconds, as CONFIG REWRITE does.
pub(super) fn save(ctx: &ServerCtx<'_>, out: &mut dyn Reply) -> Flow {
    let Some(path) = &ctx.config.config().acl_file else {
        return refuse(out, NO_FILE);
    };
    let saved = ctx
        .acl
        .to_file()
        .map_err(|error| error.to_string())
        .and_then(|text| config_file::replace(path, &text).map_err(|error| error.to_string()));
    match saved {
        Ok(()) => out.ok(),
        Err(error) => out.error(&format!(
            "ERR Writing the ACL file: {}",
            error.replace(['\r', '\n'], " ")
        )),
    }
    Flow::Done
}

impl ServerState {
    /// A connection of this core as CLIENT LIST shows it; empty when it is gone, or another core's.
    pub fn line_of_client(&mut self, number: u64, around: Around<'_>) -> String {
        let found = self.clients.iter().find(|(_, client)| client.id.0 == number);
        let Some(slot) = found.map(|(slot, _)| slot) else {
            return String::new();
        };
        let Some(conn) = self.clients.take(slot) else {
            return String::new();
        };
        let ctx = self.ctx(slot, conn.endpoint, around);
        let line = super::client::line_of(&ctx, &conn);
        self.clients.put_back(slot, conn);
        line
    }

    /// What the client in `slot` hears when its user may not run this command, whose number of arguments was checked.
    pub fn denied(&mut self, slot: usize, spec: &CommandSpec, args: &Args<'_>, around: Around<'_>) -> Option<String> {
        let conn = self.clients.take(slot)?;
        let checked = match self.acl.get(&conn.user) {
            _ if !conn.authenticated => Ok(()),
            Some(user) => user.check(spec, args),
            None => Ok(()),
        };
        let said = checked.err().map(|denied| {
            let counters = &mut self.metrics.net.denials;
            match denied.what {
                Denial::Command => counters.commands += 1,
                Denial::Key(_) => counters.keys += 1,
                Denial::Channel(_) => counters.channels += 1,
            }
            let mut ctx = self.ctx(slot, conn.endpoint, around);
            let user = conn.user.clone();
            note_denial(
                &mut ctx,
                &conn,
                &user,
                (denied.reason(), &denied.object),
                Context::TopLevel,
            );
            denied.reply()
        });
        self.clients.put_back(slot, conn);
        said
    }
}
