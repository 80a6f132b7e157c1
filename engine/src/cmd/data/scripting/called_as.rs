//! Scripts of callers who may not do everything: an operation around the one that runs the script. No client can send it.
//!
//! Its arguments: the caller's rights, his name, the number of his connection in decimal, and the operation in it.
//! Format: `docs/formats/op.md`, "Scripts".

use std::rc::Rc;

use crate::cmd::op::{decode_op, encode_op};
use crate::cmd::{Args, CommandId, CommandSpec, Exec, Reply, Run, by_id};
use crate::script::Caller;

/// The operation around a script that may write; on disk: never renumbered.
pub const CALLED_AS: CommandId = CommandId(505);
/// The same around one that may not, which is never logged by itself.
pub const CALLED_AS_RO: CommandId = CommandId(506);

/// Who calls a script, as it is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerText {
    /// His rights, as whoever reads them understands it.
    pub rights: Vec<u8>,
    /// His name.
    pub user: Vec<u8>,
    /// His connection.
    pub client: u64,
}

/// Appends `operation`, which is encoded already, as one of `caller`. `writes`: it may.
pub fn encode_called_as(out: &mut Vec<u8>, caller: &CallerText, writes: bool, operation: &[u8]) {
    let client = caller.client.to_string();
    let words: [&[u8]; 5] = [b"", &caller.rights, &caller.user, client.as_bytes(), operation];
    let mut at = 0;
    let spans = words.map(|word| {
        let len = u32::try_from(word.len()).expect("an operation is below 4 GiB");
        at += len;
        (at - len, len)
    });
    let id = if writes { CALLED_AS } else { CALLED_AS_RO };
    encode_op(out, id, &Args::new(&words.concat(), &spans));
}

/// Takes it apart again: who calls, and the operation. `None` for any other command.
pub fn open_called_as<'a>(spec: &CommandSpec, args: &Args<'a>) -> Option<(CallerText, &'a [u8])> {
    if (spec.id != CALLED_AS && spec.id != CALLED_AS_RO) || args.len() != 5 {
        return None;
    }
    let client = std::str::from_utf8(args.get(3)).ok()?.parse().ok()?;
    let caller = CallerText {
        rights: args.get(1).to_vec(),
        user: args.get(2).to_vec(),
        client,
    };
    Some((caller, args.get(4)))
}

pub(in crate::cmd) fn called_as(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    let spec = by_id(CALLED_AS).expect("the table has it");
    let opened = open_called_as(spec, &x.args);
    let mut spans = Vec::new();
    let found = opened.and_then(|(caller, operation)| {
        let (id, _) = decode_op(operation, &mut spans).ok()?;
        Some((caller, operation, by_id(id)?))
    });
    let Some((text, operation, CommandSpec { run: Run::Data(f), .. })) = found else {
        panic!("an operation that runs a script cannot be read");
    };
    let caller = Caller {
        rights: x.ks.read_rights(&text.rights),
        user: text.user,
        client: text.client,
    };
    x.ks.scripts_mut().call_as(Some(Rc::new(caller)));
    let mut inner = Exec {
        ks: x.ks,
        args: Args::new(operation, &spans),
        seed: x.seed,
        waiting: x.waiting,
    };
    f(&mut inner, reply);
    x.ks.scripts_mut().call_as(None);
}
