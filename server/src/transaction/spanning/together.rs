//! [`Together`]: commands whose keys live on several cores and which cannot be taken apart (`RENAME`, `SINTERSTORE`,
//! `LMOVE`): one by itself, or a transaction with one in it. Pure.
//!
//! It goes like any transaction over cores: the cores concerned hold. Held, they are asked for copies of the values; the
//! commands are carried out on these by the core of the connection (`engine::cmd::together`), and what has changed goes to
//! the owners as the parts of a transaction. So it is seen whole or not at all, also after a crash. Of commands that move
//! single elements no copies are made: [`Choice`].

use std::collections::BTreeMap;

use slotcore_engine::cmd::op::encode_op;
use slotcore_engine::cmd::together::{
    CarriedOut, Copied, Copies, Patience, asked_by, carry_out, stored_by, with, works_on_copies,
};
use slotcore_engine::cmd::{Args, CallerText, CommandSpec, Flags, Reply, encode_called_as, for_each_key};
use slotcore_engine::keyspace::Keyspace;
use slotcore_engine::ord::slot_of;
use slotcore_engine::script::Effects;
use slotcore_engine::waiters::Waiter;

use super::{Choice, Chosen, Plan};
use crate::cluster_map::ClusterMap;
use crate::gathering::values;
use crate::reply::RespReply;

/// Keys that may be brought together when a script asks for one that it has not declared: each may cost one more try.
const ASKED_FOR_MAX: usize = 1024;
const TOO_MANY_ASKED_FOR: &str =
    "ERR a script with keys of several cores attempted to access too many keys that were not declared";
const UNREADABLE: &str = "ERR a value of another core could not be read";

/// What carrying out has led to.
#[derive(Debug)]
pub enum Carried {
    /// `stores` and `reply` are there.
    Done,
    /// The command waits: as what, and for how many milliseconds, 0 for ever.
    Waits(Waiter, u64),
    /// It waits on.
    WaitsOn,
    /// A script wants to touch further keys, whose copies are to be fetched ([`Together::fetches`]): nothing has happened.
    Lacks,
}

/// See the module's text.
#[derive(Debug)]
pub struct Together {
    /// The commands, encoded as operations.
    operations: Vec<Vec<u8>>,
    /// What they are.
    specs: Vec<&'static CommandSpec>,
    /// It is a transaction: the replies are one array.
    pub is_transaction: bool,
    /// What becomes of commands that find nothing and would wait.
    pub patience: Patience,
    /// The owners are asked for what decides, and not for copies.
    choice: Option<Choice>,
    /// All keys, each once, with the owner.
    keys: Vec<(Vec<u8>, u16)>,
    /// How many of them are named by the commands.
    declared: usize,
    /// Copies of the first ones.
    copies: Copies,
    /// Who stores what, once the commands were carried out.
    pub stores: Option<Plan>,
    /// The reply, from then on.
    pub reply: Vec<u8>,
    /// In its place, this core's answer to the only command that it carries out.
    pub answered_by: Option<u16>,
    /// What scripts did besides changing keys.
    pub effects: Option<Effects>,
}

impl Together {
    /// One command. `caller`: who runs a script by it, if he may not do everything.
    pub fn command(map: &ClusterMap, spec: &'static CommandSpec, args: &Args<'_>, caller: Option<&CallerText>) -> Self {
        let mut operation = Vec::new();
        encode_op(&mut operation, spec.id, args);
        let mut together = Self::new(false);
        together.add(map, operation);
        if let Some(caller) = caller {
            let operation = &mut together.operations[0];
            let plain = std::mem::take(operation);
            encode_called_as(operation, caller, spec.is_write(), &plain);
        }
        together.choice = Choice::of(spec, args, |key| map.owner_of(slot_of(key)).0);
        together
    }

    fn new(is_transaction: bool) -> Self {
        Self {
            operations: Vec::new(),
            specs: Vec::new(),
            is_transaction,
            patience: if is_transaction { Patience::Never } else { Patience::May },
            choice: None,
            keys: Vec::new(),
            declared: 0,
            copies: Vec::new(),
            stores: None,
            reply: Vec::new(),
            answered_by: None,
            effects: None,
        }
    }

    /// A transaction of these operations; `None` if one of them is about more than its keys.
    pub fn transaction<'a>(map: &ClusterMap, operations: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let mut together = Self::new(true);
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
            for_each_key(spec, &args, |_, at| self.add_key(map, args.get(at)));
            self.specs.push(spec);
        });
        self.declared = self.keys.len();
        self.operations.push(operation);
    }

    fn add_key(&mut self, map: &ClusterMap, key: &[u8]) {
        if !self.keys.iter().any(|(other, _)| other == key) {
            self.keys.push((key.to_vec(), map.owner_of(slot_of(key)).0));
        }
    }

    /// The owners are not held any more: what their copies say may change.
    pub fn forget_copies(&mut self) {
        self.copies.clear();
    }

    /// The plan by which the owners of the keys are asked for copies that are not here yet.
    pub fn fetches(&self) -> Plan {
        if let Some(choice) = &self.choice {
            return choice.questions();
        }
        let mut plan = Plan::default();
        for (key, owner) in &self.keys[self.copies.len()..] {
            let words = [(0, 0), (0, key.len() as u32)];
            for asked in asked_by() {
                plan.part_of(*owner).push(asked, &Args::new(key, &words));
            }
        }
        plan
    }

    /// What its commands are.
    pub fn specs(&self) -> impl Iterator<Item = &'static CommandSpec> {
        self.specs.iter().copied()
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

    /// The command waits: from now on it is tried as what was registered.
    pub fn wait_as(&mut self, operation: &[u8]) {
        self.operations = vec![operation.to_vec()];
        self.patience = Patience::Again;
    }

    /// The owners have sent their copies: `replies`, by core. Carries out the commands at this moment, for a client that
    /// speaks `proto`. `lender`: this core's keyspace, whose scripts run.
    pub fn carry_out(
        &mut self,
        map: &ClusterMap,
        replies: &[(u16, &[u8])],
        proto: u8,
        now_ms: u64,
        seed: u64,
        lender: &mut Keyspace,
    ) -> Carried {
        if let Some(choice) = self.choice.take() {
            let carried = self.choose(&choice, replies, proto, now_ms, seed);
            self.choice = Some(choice);
            return carried;
        }
        let (mut out, mut stores) = (Vec::new(), Plan::default());
        match self.take_copies(replies) {
            Err(refusal) => out.extend_from_slice(refusal),
            Ok(()) => {
                let mut reply = RespReply::new(&mut out, proto);
                if self.is_transaction {
                    reply.array(self.operations.len());
                }
                let (operations, copies) = (&self.operations, &self.copies);
                let failure = match carry_out(
                    operations,
                    copies,
                    self.patience,
                    now_ms,
                    seed,
                    Some(lender),
                    &mut reply,
                ) {
                    Ok(CarriedOut::Waits(waiter, timeout_ms)) => {
                        self.copies.clear();
                        return Carried::Waits(waiter, timeout_ms);
                    }
                    Ok(CarriedOut::WaitsOn) => {
                        self.copies.clear();
                        return Carried::WaitsOn;
                    }
                    Ok(CarriedOut::Lacks(keys)) if self.keys.len() + keys.len() <= self.declared + ASKED_FOR_MAX => {
                        keys.iter().for_each(|key| self.add_key(map, key));
                        return Carried::Lacks;
                    }
                    Ok(CarriedOut::Lacks(_)) => Some(TOO_MANY_ASKED_FOR.into()),
                    Ok(CarriedOut::Answered(changes)) => {
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
        Carried::Done
    }

    /// The same for a command that needs no copies.
    fn choose(&mut self, choice: &Choice, replies: &[(u16, &[u8])], proto: u8, now_ms: u64, seed: u64) -> Carried {
        let (mut out, mut stores) = (Vec::new(), Plan::default());
        // What it says where there is nothing, above all what is wrong with it.
        let mut reply = RespReply::new(&mut out, proto);
        let idle = carry_out(&self.operations, &[], self.patience, now_ms, seed, None, &mut reply);
        let refused = replies.iter().find(|(_, reply)| reply.first() == Some(&b'-'));
        let mut each: Vec<(u16, _)> = replies.iter().map(|(core, reply)| (*core, values(reply))).collect();
        let answer = |owner: u16| {
            let own = each.iter_mut().find(|(core, _)| *core == owner);
            own.and_then(|(_, values)| values.next()).unwrap_or_default()
        };
        if out.first() != Some(&b'-') {
            let chosen = match refused {
                Some((_, refusal)) => Chosen::Answer(refusal.to_vec()),
                None => choice.decide(&self.operations[0], self.patience, proto, answer),
            };
            match (chosen, idle) {
                (Chosen::Answer(answer), _) => out = answer,
                (Chosen::Nothing, Ok(CarriedOut::Waits(waiter, timeout_ms))) => {
                    return Carried::Waits(waiter, timeout_ms);
                }
                (Chosen::Nothing, Ok(CarriedOut::WaitsOn)) => return Carried::WaitsOn,
                (Chosen::Nothing, _) => {}
                (Chosen::Stores(plan, Ok(reply)), _) => (stores, out) = (plan, reply),
                (Chosen::Stores(plan, Err(core)), _) => (stores, self.answered_by) = (plan, Some(core)),
            }
        }
        (self.reply, self.stores) = (out, Some(stores));
        Carried::Done
    }

    /// Those of `keys` that live on each core.
    pub fn by_owner(&self, keys: &[Box<[u8]>]) -> BTreeMap<u16, Vec<Box<[u8]>>> {
        let mut owned: BTreeMap<u16, Vec<Box<[u8]>>> = BTreeMap::new();
        for key in keys {
            owned.entry(self.owner_of(key)).or_default().push(key.clone());
        }
        owned
    }

    fn owner_of(&self, key: &[u8]) -> u16 {
        let found = self.keys.iter().find(|(other, _)| other == key);
        found.expect("only keys that were brought change").1
    }

    /// Takes in the copies that were fetched, or gives what an owner said instead.
    fn take_copies<'a>(&mut self, replies: &[(u16, &'a [u8])]) -> Result<(), &'a [u8]> {
        if let Some((_, error)) = replies.iter().find(|(_, reply)| reply.first() == Some(&b'-')) {
            return Err(error);
        }
        let mut each: Vec<(u16, _)> = replies.iter().map(|(core, reply)| (*core, values(reply))).collect();
        let mut copies = Copies::new();
        for (key, owner) in &self.keys[self.copies.len()..] {
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
        self.copies.append(&mut copies);
        Ok(())
    }
}

/// `owner` carries out this, too: `words` are the arguments behind the name.
pub(super) fn push(plan: &mut Plan, owner: u16, spec: &'static CommandSpec, words: &[impl AsRef<[u8]>]) {
    let (mut bytes, mut spans) = (Vec::new(), vec![(0, 0)]);
    for word in words.iter().map(AsRef::as_ref) {
        spans.push((bytes.len() as u32, word.len() as u32));
        bytes.extend_from_slice(word);
    }
    plan.part_of(owner).push(spec, &Args::new(&bytes, &spans));
}

/// The text of a bulk string; `None` for nil.
pub(super) fn bulk(value: &[u8]) -> Option<&[u8]> {
    let end = value.windows(2).position(|pair| pair == b"\r\n")?;
    let len: usize = std::str::from_utf8(value[..end].strip_prefix(b"$")?)
        .ok()?
        .parse()
        .ok()?;
    value.get(end + 2..end + 2 + len)
}

/// A number that is not negative.
pub(super) fn number(value: &[u8]) -> Option<u64> {
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
