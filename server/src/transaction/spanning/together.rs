//! [`Together`]: one command whose keys live on several cores and which cannot be taken apart (`RENAME`, `SINTERSTORE`,
//! `LMOVE`). Pure.
//!
//! It goes like a transaction: the cores concerned hold. Held, they are asked for copies of the values; the command is
//! carried out on these by the core of the connection (`engine::cmd::together`), and what has changed goes to the owners as
//! the parts of a transaction. So it is seen whole or not at all, also after a crash.

use slotcore_engine::cmd::op::{decode_op, encode_op};
use slotcore_engine::cmd::together::{Copied, asked_by, carry_out, places, stored_by};
use slotcore_engine::cmd::{Args, CommandSpec, Flags, Reply, by_id};
use slotcore_engine::ord::slot_of;

use super::Plan;
use crate::cluster_map::ClusterMap;
use crate::gathering::values;
use crate::reply::RespReply;

const UNREADABLE: &str = "ERR a value of another core could not be read";

/// See the module's text.
#[derive(Debug)]
pub struct Together {
    /// The command, encoded as an operation.
    operation: Vec<u8>,
    /// The places of its keys, each with the owner.
    keys: Vec<(u32, u16)>,
    /// Who stores what, once the command was carried out.
    pub stores: Option<Plan>,
    /// Its reply, from then on.
    pub reply: Vec<u8>,
}

impl Together {
    /// A command, and the plan by which the owners of its keys are asked for copies.
    pub fn new(map: &ClusterMap, spec: &'static CommandSpec, args: &Args<'_>) -> (Self, Plan) {
        let (mut operation, mut plan) = (Vec::new(), Plan::default());
        encode_op(&mut operation, spec.id, args);
        let mut keys = Vec::new();
        for place in places(spec, args) {
            let key = args.get(place as usize);
            let owner = map.owner_of(slot_of(key)).0;
            keys.push((place, owner));
            let words = [(0, 0), (0, key.len() as u32)];
            for asked in asked_by() {
                plan.part_of(owner).push(asked, &Args::new(key, &words));
            }
        }
        let together = Self {
            operation,
            keys,
            stores: None,
            reply: Vec::new(),
        };
        (together, plan)
    }

    /// What it is.
    pub fn spec(&self) -> &'static CommandSpec {
        self.with_args(|spec, _| spec)
    }

    /// Whether it writes, and whether it is refused when memory is exhausted.
    pub fn writes(&self) -> (bool, bool) {
        let spec = self.spec();
        (spec.is_write(), spec.flags.has(Flags::DENYOOM))
    }

    /// Bytes of the command.
    pub fn bytes(&self) -> usize {
        self.operation.len()
    }

    fn with_args<T>(&self, f: impl FnOnce(&'static CommandSpec, Args<'_>) -> T) -> T {
        let mut spans = Vec::new();
        let (number, _) = decode_op(&self.operation, &mut spans).expect("encoded by this core");
        let spec = by_id(number).expect("encoded by this core");
        f(spec, Args::new(&self.operation, &spans))
    }

    /// The owners have sent their copies: `replies`, by core. Carries out the command at this moment, for a client that
    /// speaks `proto`. Afterwards `stores` and `reply` are there.
    pub fn carry_out(&mut self, replies: &[(u16, &[u8])], proto: u8, now_ms: u64, seed: u64) {
        let (mut reply, mut stores) = (Vec::new(), Plan::default());
        match self.copies(replies) {
            Err(refusal) => reply.extend_from_slice(refusal),
            Ok(copies) => self.with_args(|spec, args| {
                let done = carry_out(
                    spec,
                    args,
                    &copies,
                    now_ms,
                    seed,
                    &mut RespReply::new(&mut reply, proto),
                );
                let failure = match done {
                    Ok(changes) => {
                        for change in changes {
                            let key = args.get(change.place as usize);
                            let (spec, words) = stored_by(&change, key);
                            push(&mut stores, self.owner_of(change.place), spec, &words);
                        }
                        stores.check_bytes().err()
                    }
                    Err(_) => Some(UNREADABLE.into()),
                };
                if let Some(text) = failure {
                    reply.clear();
                    RespReply::new(&mut reply, proto).error(&text);
                    stores = Plan::default();
                }
            }),
        }
        (self.reply, self.stores) = (reply, Some(stores));
    }

    fn owner_of(&self, place: u32) -> u16 {
        let found = self.keys.iter().find(|(other, _)| *other == place);
        found.expect("only keys change").1
    }

    /// The copies by place, or what an owner said instead.
    fn copies<'a>(&self, replies: &[(u16, &'a [u8])]) -> Result<Vec<(u32, Option<Copied>)>, &'a [u8]> {
        if let Some((_, error)) = replies.iter().find(|(_, reply)| reply.first() == Some(&b'-')) {
            return Err(error);
        }
        let mut each: Vec<(u16, _)> = replies.iter().map(|(core, reply)| (*core, values(reply))).collect();
        let mut copies = Vec::new();
        for &(place, owner) in &self.keys {
            let Some((_, values)) = each.iter_mut().find(|(core, _)| *core == owner) else {
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
            copies.push((place, copy));
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
