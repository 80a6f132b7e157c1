//! [`Plan`]: which core carries out what of a transaction, and how their replies become one. Pure.

use slotcore_engine::cmd::op::encode_op;
use slotcore_engine::cmd::spanning::{Part, Spanning};
use slotcore_engine::cmd::stored::swaps_databases;
use slotcore_engine::cmd::transaction::carrier;
use slotcore_engine::cmd::{Args, CommandSpec, Flags, Reply, keys};
use slotcore_engine::ord::slot_of;
use slotcore_netio::ConnId;

use crate::cluster_map::ClusterMap;
use crate::gathering::{Combine, Gathering, values};
use crate::parcel::How;
use crate::reply::RespReply;
use crate::route::{ByKey, CROSSSLOT, Everywhere, Route, scan_next};

/// Bytes of commands that a transaction over several cores may have: every core that writes logs all of them in one entry.
pub const SPANNING_BYTES_MAX: usize = 64 << 20;

/// What one core carries out.
#[derive(Debug)]
pub struct CorePart {
    /// The core.
    pub core: u16,
    /// Something in it writes.
    pub writes: bool,
    /// Something in it is refused when memory is exhausted.
    pub grows: bool,
    /// It exchanges databases.
    pub swaps: bool,
    /// Its operations, back to back.
    bytes: Vec<u8>,
    /// Where each lies; the first place stands for a name.
    spans: Vec<(u32, u32)>,
}

/// One command about keys, and who carries it out.
#[derive(Debug)]
struct Planned {
    /// The cores, each with the places of its keys among all keys of the command.
    cores: Vec<(u16, Vec<u32>)>,
    /// How their replies become one; `None`: there is one.
    combine: Option<Combine>,
}

/// One core's keys of a command.
struct Share<'a> {
    core: u16,
    /// Their places among all keys.
    places: Vec<u32>,
    /// The keys, each with what belongs to it.
    words: Vec<&'a [u8]>,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct Plan {
    /// By core.
    parts: Vec<CorePart>,
    commands: Vec<Planned>,
}

impl Plan {
    /// Adds the next command, which `route` says who carries out; `me` is this core.
    ///
    /// # Errors
    /// What the client is told: it cannot be taken apart, or there is too much.
    pub fn add(
        &mut self,
        map: &ClusterMap,
        me: u16,
        route: Route,
        spec: &'static CommandSpec,
        args: &Args<'_>,
    ) -> Result<(), String> {
        let (cores, combine) = match route {
            Route::Here => (vec![(me, Vec::new())], None),
            Route::Core(core) => (vec![(core.0, Vec::new())], None),
            Route::Scan(core) => {
                let combine = Combine::Scan(scan_next(map, core));
                (vec![(core.0, Vec::new())], Some(combine))
            }
            Route::Everywhere(kind) => {
                let all = (0..map.nodes.len() as u16).map(|core| (core, Vec::new()));
                (all.collect(), Some(Combine::Everywhere(kind)))
            }
            Route::AllAtOnce => {
                let all = (0..map.nodes.len() as u16).map(|core| (core, Vec::new()));
                (all.collect(), Some(Combine::Everywhere(Everywhere::AllOk)))
            }
            Route::ByKey(by) => {
                let cores = self.add_by_key(map, by, spec, args);
                self.commands.push(Planned {
                    cores,
                    combine: Some(Combine::ByKey(by)),
                });
                return self.check_bytes();
            }
            // Whoever plans has brought the keys together instead.
            Route::Session
            | Route::Copies
            | Route::Moved(..)
            | Route::OneDatabase
            | Route::CrossSlot
            | Route::Together
            | Route::Wait => {
                return Err(CROSSSLOT.into());
            }
        };
        for (core, _) in &cores {
            self.part_of(*core).push(spec, args);
        }
        self.commands.push(Planned { cores, combine });
        self.check_bytes()
    }

    /// Gives every core its keys of a command.
    fn add_by_key(
        &mut self,
        map: &ClusterMap,
        by: ByKey,
        spec: &'static CommandSpec,
        args: &Args<'_>,
    ) -> Vec<(u16, Vec<u32>)> {
        let mut numbers = Vec::new();
        keys(spec, args, &mut numbers);
        let arguments_each = if by == ByKey::Pairs { 2 } else { 1 };
        let mut shares: Vec<Share<'_>> = Vec::new();
        for (place, &number) in numbers.iter().enumerate() {
            let number = number as usize;
            let core = map.owner_of(slot_of(args.get(number))).0;
            let at = match shares.iter().position(|share| share.core == core) {
                Some(at) => at,
                None => {
                    shares.push(Share {
                        core,
                        places: Vec::new(),
                        words: Vec::new(),
                    });
                    shares.len() - 1
                }
            };
            shares[at].places.push(place as u32);
            let words = (number..number + arguments_each).map(|number| args.get(number));
            shares[at].words.extend(words);
        }
        for share in &shares {
            let (mut bytes, mut spans) = (Vec::new(), vec![(0, 0)]);
            for word in &share.words {
                spans.push((bytes.len() as u32, word.len() as u32));
                bytes.extend_from_slice(word);
            }
            self.part_of(share.core).push(spec, &Args::new(&bytes, &spans));
        }
        shares.into_iter().map(|share| (share.core, share.places)).collect()
    }

    /// A core takes part, whether it has something to carry out or only to check.
    pub fn part_of(&mut self, core: u16) -> &mut CorePart {
        let at = match self.parts.binary_search_by_key(&core, |part| part.core) {
            Ok(at) => at,
            Err(at) => {
                self.parts.insert(at, CorePart::new(core));
                at
            }
        };
        &mut self.parts[at]
    }

    /// All that take part, by core.
    pub fn parts(&self) -> &[CorePart] {
        &self.parts
    }

    /// How many of them write.
    pub fn writers(&self) -> usize {
        self.parts.iter().filter(|part| part.writes).count()
    }

    /// Bytes of all parts.
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.bytes.len()).sum()
    }

    /// Whether there is too much of it.
    ///
    /// # Errors
    /// What the client is told then.
    pub fn check_bytes(&self) -> Result<(), String> {
        if self.bytes() <= SPANNING_BYTES_MAX {
            return Ok(());
        }
        let mib = SPANNING_BYTES_MAX >> 20;
        Err(format!(
            "ERR a transaction over several cores may have {mib} MiB of commands"
        ))
    }

    /// The parts of all that write, under a number.
    pub fn spanning(&self, number: u64) -> Spanning {
        let writers = self.parts.iter().filter(|part| part.writes);
        Spanning {
            number,
            parts: writers
                .map(|part| Part {
                    core: part.core,
                    operation: part.carrier(),
                })
                .collect(),
        }
    }

    /// Puts the replies of the cores together, by core: to that of `EXEC`.
    pub fn compose(&self, conn: ConnId, how: How, replies: &[(u16, &[u8])], out: &mut Vec<u8>) {
        if let Some((_, error)) = replies.iter().find(|(_, reply)| reply.first() == Some(&b'-')) {
            return out.extend_from_slice(error);
        }
        let mut each: Vec<(u16, _)> = replies.iter().map(|(core, reply)| (*core, values(reply))).collect();
        RespReply::new(out, how.proto).array(self.commands.len());
        for command in &self.commands {
            let mut gathering = command
                .combine
                .map(|combine| Gathering::new(conn, how.proto, false, combine));
            if let Some(gathering) = &mut gathering {
                command
                    .cores
                    .iter()
                    .for_each(|(core, places)| gathering.ask(*core, places.clone()));
            }
            for (core, _) in &command.cores {
                let own = each.iter_mut().find(|(other, _)| other == core);
                let value = own.and_then(|(_, values)| values.next()).unwrap_or_default();
                match &mut gathering {
                    Some(gathering) => {
                        gathering.arrive(*core, value);
                    }
                    None => out.extend_from_slice(value),
                }
            }
            if let Some(mut gathering) = gathering {
                gathering.write(out);
            }
        }
    }
}

impl CorePart {
    fn new(core: u16) -> Self {
        Self {
            core,
            writes: false,
            grows: false,
            swaps: false,
            bytes: Vec::new(),
            spans: vec![(0, 0)],
        }
    }

    /// It carries out this, too.
    pub fn push(&mut self, spec: &'static CommandSpec, args: &Args<'_>) {
        let at = self.bytes.len();
        encode_op(&mut self.bytes, spec.id, args);
        self.spans.push((at as u32, (self.bytes.len() - at) as u32));
        self.writes |= spec.is_write();
        self.grows |= spec.flags.has(Flags::DENYOOM);
        self.swaps |= swaps_databases(spec);
    }

    /// True when it only checks.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What it carries out, as one operation.
    pub fn carrier(&self) -> Vec<u8> {
        let mut operation = Vec::with_capacity(self.bytes.len() + 16);
        let args = Args::new(&self.bytes, &self.spans);
        encode_op(&mut operation, carrier(self.writes, self.grows).id, &args);
        operation
    }
}

#[cfg(test)]
mod tests {
    use slotcore_engine::cmd::op::decode_op;
    use slotcore_engine::cmd::resolve;
    use slotcore_engine::cmd::transaction::for_each_operation;
    use slotcore_rt::ids::CoreId;

    use super::*;
    use crate::clients::Endpoint;
    use crate::cluster_map::{CoreNode, node_id};
    use crate::route::Router;

    /// Two cores; of the keys b and c live on core 0, a and foo on core 1.
    fn map() -> ClusterMap {
        let nodes = (0..2).map(|core| CoreNode {
            id: node_id(1, CoreId(core)),
            port: 7000 + core,
        });
        ClusterMap {
            host: "h".into(),
            any_slot_port: 6379,
            nodes: nodes.collect(),
        }
    }

    fn plan(lines: &[&str]) -> Result<Plan, String> {
        let (map, router, mut plan) = (map(), Router::new(), Plan::default());
        for line in lines {
            let (mut at, mut spans) = (0, Vec::new());
            for word in line.split(' ') {
                spans.push((at, word.len() as u32));
                at += word.len() as u32 + 1;
            }
            let args = Args::new(line.as_bytes(), &spans);
            let spec = resolve(&args).unwrap();
            let route = router.route(&map, CoreId(0), Endpoint::AnySlot, spec, &args, &mut Vec::new());
            plan.add(&map, 0, route, spec, &args)?;
        }
        Ok(plan)
    }

    /// The operations of a core, as text.
    fn of(plan: &Plan, core: u16) -> Vec<String> {
        let Some(part) = plan.parts().iter().find(|part| part.core == core) else {
            return Vec::new();
        };
        let (carrier, mut spans, mut lines) = (part.carrier(), Vec::new(), Vec::new());
        decode_op(&carrier, &mut spans).unwrap();
        for_each_operation(&Args::new(&carrier, &spans), 1, |spec, args, _| {
            let words = args.iter_from(1).map(|word| String::from_utf8_lossy(word).into_owned());
            let words: Vec<String> = std::iter::once(spec.name.to_string()).chain(words).collect();
            lines.push(words.join(" "));
        });
        lines
    }

    #[test]
    fn every_core_gets_what_its_keys_are_asked_for() {
        let plan = plan(&["incr a", "mset a 1 b 2 foo 3", "get b", "dbsize", "mget c a"]).unwrap();
        assert_eq!(of(&plan, 0), ["mset b 2", "get b", "dbsize", "mget c"]);
        assert_eq!(of(&plan, 1), ["incr a", "mset a 1 foo 3", "dbsize", "mget a"]);
        assert_eq!(plan.writers(), 2);
        assert_eq!(plan.spanning(3).parts.len(), 2);
        let conn = ConnId::from_parts((0, 0));
        let replies: [(u16, &[u8]); 2] = [
            (0, b"*4\r\n+OK\r\n$1\r\n2\r\n:4\r\n*1\r\n$-1\r\n"),
            (1, b"*4\r\n:1\r\n+OK\r\n:5\r\n*1\r\n$1\r\n1\r\n"),
        ];
        let mut out = Vec::new();
        plan.compose(conn, How::unheard(), &replies, &mut out);
        let whole = "*5\r\n:1\r\n+OK\r\n$1\r\n2\r\n:9\r\n*2\r\n$-1\r\n$1\r\n1\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), whole);
    }

    #[test]
    fn who_only_reads_is_no_writer_and_what_cannot_be_divided_is_refused() {
        let reads = plan(&["get a", "set b 1"]).unwrap();
        assert_eq!(reads.writers(), 1);
        assert!(plan(&["rename a b"]).is_err());
    }
}
