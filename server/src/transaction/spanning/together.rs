//! [`Together`]: commands whose keys live on several cores and which cannot be taken apart (`RENAME`, `SINTERSTORE`,
//! `LMOVE`): one by itself, or a transaction with one in it. Pure.
//!
//! It goes like any transaction over cores: the cores concerned hold. Held, they are asked for copies of the values; the
//! commands are carried out on these by the core of the connection (`engine::cmd::together`), and what has changed goes to
//! the owners as the parts of a transaction. So it is seen whole or not at all, also after a crash.

use slotcore_engine::cmd::op::encode_op;
use slotcore_engine::cmd::together::{Copied, Copies, asked_by, carry_out, stored_by, with, works_on_copies};
use slotcore_engine::cmd::{Args, CommandSpec, Flags, Reply, for_each_key};
use slotcore_engine::ord::slot_of;

use super::Plan;
use crate::cluster_map::ClusterMap;
use crate::gathering::values;
use crate::reply::RespReply;

const UNREADABLE: &str = "ERR a value of another core could not be read";

/// See the module's text.
#[derive(Debug, Default)]
pub struct Together {
    /// The commands, encoded as operations.
    operations: Vec<Vec<u8>>,
    /// It is a transaction: the replies are one array.
    pub is_transaction: bool,
    /// All keys, each once, with the owner.
    keys: Vec<(Vec<u8>, u16)>,
    /// Who stores what, once the commands were carried out.
    pub stores: Option<Plan>,
    /// The reply, from then on.
    pub reply: Vec<u8>,
}

impl Together {
    /// One command.
    pub fn command(map: &ClusterMap, spec: &'static CommandSpec, args: &Args<'_>) -> Self {
        let mut operation = Vec::new();
        encode_op(&mut operation, spec.id, args);
        let mut together = Self::default();
        together.add(map, operation);
        together
    }

    /// A transaction of these operations; `None` if one of them is about more than its keys.
    pub fn transaction<'a>(map: &ClusterMap, operations: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let mut together = Self {
            is_transaction: true,
            ..Self::default()
        };
        for operation in operations {
            together.add(map, operation.to_vec());
            let named = with(operation, |spec, args| {
                let mut named = false;
                for_each_key(spec, &args, |_, _| named = true);
                named && works_on_copies(spec, &args)
            });
            if !named {
                return None;
            }
        }
        Some(together)
    }

    fn add(&mut self, map: &ClusterMap, operation: Vec<u8>) {
        with(&operation, |spec, args| {
            for_each_key(spec, &args, |_, at| {
                let key = args.get(at);
                if !self.keys.iter().any(|(other, _)| other == key) {
                    self.keys.push((key.to_vec(), map.owner_of(slot_of(key)).0));
                }
            });
        });
        self.operations.push(operation);
    }

    /// The plan by which the owners of the keys are asked for copies.
    pub fn fetches(&self) -> Plan {
        let mut plan = Plan::default();
        for (key, owner) in &self.keys {
            let words = [(0, 0), (0, key.len() as u32)];
            for asked in asked_by() {
                plan.part_of(*owner).push(asked, &Args::new(key, &words));
            }
        }
        plan
    }

    /// What its commands are.
    pub fn specs(&self) -> impl Iterator<Item = &'static CommandSpec> {
        self.operations.iter().map(|operation| with(operation, |spec, _| spec))
    }

    /// Whether something in it writes, and whether something is refused when memory is exhausted.
    pub fn writes(&self) -> (bool, bool) {
        let writes = self.specs().any(CommandSpec::is_write);
        (writes, self.specs().any(|spec| spec.flags.has(Flags::DENYOOM)))
    }

    /// Bytes of the commands.
    pub fn bytes(&self) -> usize {
        self.operations.iter().map(Vec::len).sum()
    }

    /// The owners have sent their copies: `replies`, by core. Carries out the commands at this moment, for a client that
    /// speaks `proto`. Afterwards `stores` and `reply` are there.
    pub fn carry_out(&mut self, replies: &[(u16, &[u8])], proto: u8, now_ms: u64, seed: u64) {
        let (mut out, mut stores) = (Vec::new(), Plan::default());
        match self.copies(replies) {
            Err(refusal) => out.extend_from_slice(refusal),
            Ok(copies) => {
                let mut reply = RespReply::new(&mut out, proto);
                if self.is_transaction {
                    reply.array(self.operations.len());
                }
                let failure = match carry_out(&self.operations, &copies, now_ms, seed, &mut reply) {
                    Ok(changes) => {
                        for change in changes {
                            let (spec, words) = stored_by(&change);
                            push(&mut stores, self.owner_of(&change.key), spec, &words);
                        }
                        stores.check_bytes().err()
                    }
                    Err(_) => Some(UNREADABLE.into()),
                };
                if let Some(text) = failure {
                    out.clear();
                    RespReply::new(&mut out, proto).error(&text);
                    stores = Plan::default();
                }
            }
        }
        (self.reply, self.stores) = (out, Some(stores));
    }

    fn owner_of(&self, key: &[u8]) -> u16 {
        let found = self.keys.iter().find(|(other, _)| other == key);
        found.expect("only keys that were brought change").1
    }

    /// The copies by key, or what an owner said instead.
    fn copies<'a>(&self, replies: &[(u16, &'a [u8])]) -> Result<Copies, &'a [u8]> {
        if let Some((_, error)) = replies.iter().find(|(_, reply)| reply.first() == Some(&b'-')) {
            return Err(error);
        }
        let mut each: Vec<(u16, _)> = replies.iter().map(|(core, reply)| (*core, values(reply))).collect();
        let mut copies = Copies::new();
        for (key, owner) in &self.keys {
            let Some((_, values)) = each.iter_mut().find(|(core, _)| core == owner) else {
                continue;
            };
            let (payload, moment) = (values.next().unwrap_or_default(), values.next().unwrap_or_default());
            for value in [payload, moment] {
                if value.first() == Some(&b'-') {
                    return Err(value);
                }
            }
            let copy = bulk(payload).map(|payload| Copied {
                payload: payload.to_vec(),
                expires_at_ms: number(moment),
            });
            copies.push((key.clone(), copy));
        }
        Ok(copies)
    }
}

fn push(plan: &mut Plan, owner: u16, spec: &'static CommandSpec, words: &[Vec<u8>]) {
    let (mut bytes, mut spans) = (Vec::new(), vec![(0, 0)]);
    for word in words {
        spans.push((bytes.len() as u32, word.len() as u32));
        bytes.extend_from_slice(word);
    }
    plan.part_of(owner).push(spec, &Args::new(&bytes, &spans));
}

/// The text of a bulk string; `None` for nil.
fn bulk(value: &[u8]) -> Option<&[u8]> {
    let end = value.windows(2).position(|pair| pair == b"\r\n")?;
    let len: usize = std::str::from_utf8(value[..end].strip_prefix(b"$")?)
        .ok()?
        .parse()
        .ok()?;
    value.get(end + 2..end + 2 + len)
}

/// A number that is not negative.
fn number(value: &[u8]) -> Option<u64> {
    let digits = value.strip_prefix(b":")?.strip_suffix(b"\r\n")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_in_both_protocols() {
        assert_eq!(bulk(b"$3\r\na\r\n\r\n"), Some(&b"a\r\n"[..]));
        assert_eq!(
            (bulk(b"$-1\r\n"), bulk(b"_\r\n"), bulk(b"$0\r\n\r\n")),
            (None, None, Some(&b""[..]))
        );
        assert_eq!(
            (number(b":17\r\n"), number(b":-1\r\n"), number(b":-2\r\n")),
            (Some(17), None, None)
        );
    }
}
