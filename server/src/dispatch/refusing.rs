//! What is refused before it is looked at, and what must not be parsed or carried out beside other commands.

use slotcore_engine::cmd::transaction::Step;
use slotcore_engine::cmd::{CommandSpec, Flags, Run, ServerCmd};

use crate::clients::ClientState;
use crate::commands::NOAUTH;
use crate::commands::refusals::{DISK_FULL, ONLY_LISTENS, OOM};
use crate::core_state::WriteBarrier;

/// Why a command that exists and has the right number of arguments is not carried out now, if so.
#[inline]
pub(crate) fn refuse(spec: &CommandSpec, client: &ClientState, barrier: Option<WriteBarrier>) -> Option<&'static str> {
    if (!client.authenticated || client.listens)
        && let Some(text) = refuse_client(spec, client)
    {
        return Some(text);
    }
    refuse_now(spec, barrier)
}

#[cold]
pub(crate) fn refuse_client(spec: &CommandSpec, client: &ClientState) -> Option<&'static str> {
    use ServerCmd as C;
    if !client.authenticated && !spec.flags.has(Flags::NO_AUTH) {
        return Some(NOAUTH);
    }
    let allowed = matches!(
        spec.run,
        Run::Server(
            C::Subscribe
                | C::Unsubscribe
                | C::PSubscribe
                | C::PUnsubscribe
                | C::SSubscribe
                | C::SUnsubscribe
                | C::Ping
                | C::Quit
                | C::Reset
        )
    );
    (client.only_listens() && !allowed).then_some(ONLY_LISTENS)
}

/// The same, as far as it does not depend on who asks.
#[inline]
pub(crate) fn refuse_now(spec: &CommandSpec, barrier: Option<WriteBarrier>) -> Option<&'static str> {
    match barrier? {
        WriteBarrier::DiskFull => spec.is_write().then_some(DISK_FULL),
        WriteBarrier::MemoryFull => spec.flags.has(Flags::DENYOOM).then_some(OOM),
    }
}

/// True for a step of a transaction, and for the command that ends one like everything else.
pub(super) fn is_about_session(spec: &CommandSpec) -> bool {
    matches!(spec.run, Run::Transaction(_) | Run::Server(ServerCmd::Reset))
}

/// True for a command after which its connection hears other things, or is answered in another way. It is carried out
/// when nothing else of the connection is under way, so that confirmations and messages have one order.
pub(super) fn changes_connection(spec: &CommandSpec) -> bool {
    use ServerCmd as C;
    matches!(
        spec.run,
        Run::Server(
            C::Subscribe
                | C::Unsubscribe
                | C::PSubscribe
                | C::PUnsubscribe
                | C::SSubscribe
                | C::SUnsubscribe
                | C::Auth
                | C::AclSetUser
                | C::AclDelUser
                | C::AclLoad
                | C::Hello
                | C::Reset
                | C::Select
                | C::ClientTracking
                | C::ClientCaching
        )
    )
}

/// True for a step after which the next command may work in another database, or has to wait: behind it nothing must be
/// parsed.
pub(super) fn changes_database(spec: &CommandSpec) -> bool {
    matches!(spec.run, Run::Transaction(Step::Exec | Step::Discard))
}
