//! [`Workload`]: what is asked: requests by name, or one written out, with gaps for what changes.

use slotcore_engine::ord::slot_of;
use slotcore_rt::rng::SeededRng;

use super::keys::Keys;

/// Random bytes from which values are cut.
const VALUE_POOL_BYTES: usize = 1 << 16;

/// Requests by name. `{key}` is `key:` and 12 digits, `{number}` 12 digits, both by the key distribution; `{value}` is
/// as many bytes as asked for. Collections are those of redis-benchmark where it has them, so both clients do the same
/// work; `hset_5` makes the hashes that `hgetall` reads, `hset_20` that of `hgetall_20`.
const COMMANDS: &[(&str, bool, &str)] = &[
    ("ping", true, "PING"),
    (PING_INLINE, true, "PING"),
    ("set", false, "SET {key} {value}"),
    ("get", true, "GET {key}"),
    ("incr", false, "INCR counter:{number}"),
    ("lpush", false, "LPUSH mylist {value}"),
    ("rpush", false, "RPUSH mylist {value}"),
    ("lpop", false, "LPOP mylist"),
    ("rpop", false, "RPOP mylist"),
    ("lrange_100", true, "LRANGE mylist 0 99"),
    ("lrange_300", true, "LRANGE mylist 0 299"),
    ("lrange_500", true, "LRANGE mylist 0 499"),
    ("lrange_600", true, "LRANGE mylist 0 599"),
    ("sadd", false, "SADD myset element:{number}"),
    ("sismember", true, "SISMEMBER myset element:{number}"),
    ("spop", false, "SPOP myset"),
    ("hset", false, "HSET myhash element:{number} {value}"),
    ("hget", true, "HGET myhash element:{number}"),
    (
        "hset_5",
        false,
        "HSET hash:{number} a {value} b {value} c {value} d {value} e {value}",
    ),
    ("hgetall", true, "HGETALL hash:{number}"),
    (
        "hset_20",
        false,
        "HSET hash_20 f01 {value} f02 {value} f03 {value} f04 {value} f05 {value} f06 {value} f07 {value} f08 {value} \
         f09 {value} f10 {value} f11 {value} f12 {value} f13 {value} f14 {value} f15 {value} f16 {value} f17 {value} \
         f18 {value} f19 {value} f20 {value}",
    ),
    ("hgetall_20", true, "HGETALL hash_20"),
    ("zadd", false, "ZADD myzset {number} element:{number}"),
    ("zscore", true, "ZSCORE myzset element:{number}"),
    ("zrange", true, "ZRANGE myzset 0 9"),
    ("zrangebyscore", true, "ZRANGEBYSCORE myzset {number} +inf LIMIT 0 10"),
    ("zpopmin", false, "ZPOPMIN myzset"),
    ("xadd", false, "XADD mystream MAXLEN ~ 10000 * field {value}"),
    ("xread_10", true, "XREAD COUNT 10 STREAMS mystream 0"),
    ("eval_get", true, "EVAL return(redis.call('get',KEYS[1])) 1 {key}"),
    (
        "mset",
        false,
        "MSET {key} {value} {key} {value} {key} {value} {key} {value} {key} {value} \
         {key} {value} {key} {value} {key} {value} {key} {value} {key} {value}",
    ),
];

/// The workload whose requests are lines of text, as a person types them.
const PING_INLINE: &str = "ping_inline";
/// The name under which SET and GET are mixed.
const MIXED: &str = "mixed";
/// The name of SET and WAIT in turn: a write is over when a replica has it. Ask for it with an even pipeline.
pub const SET_WAIT: &str = "set_wait";
const WAIT: &str = "WAIT 1 0";

/// One part of a request's argument.
#[derive(PartialEq)]
enum Piece {
    Text(String),
    Key,
    Number,
    Value,
}

/// A request with gaps for what changes.
struct Template {
    arguments: Vec<Vec<Piece>>,
    reads: bool,
    /// Words separated by spaces, in place of an array.
    inline: bool,
}

/// Requests to draw from.
pub struct Workload {
    templates: Vec<Template>,
    /// Of two templates, the first is taken that many times out of 100,
    first_percent: u64,
    /// or each in its turn.
    alternates: bool,
    value_bytes: usize,
}

impl Workload {
    /// `command` is a name of the table, `mixed` (GET `read_percent` times out of 100, SET otherwise), or a request with
    /// arguments separated by spaces, which may hold the table's placeholders. Values are of `value_bytes`.
    ///
    /// # Errors
    /// A text for the user: the name is unknown, or a placeholder is.
    pub fn new(command: &str, read_percent: u8, value_bytes: usize) -> Result<Self, String> {
        let named = |name: &str| COMMANDS.iter().find(|row| row.0.eq_ignore_ascii_case(name));
        let inline = command.eq_ignore_ascii_case(PING_INLINE);
        let rows: Vec<(bool, &str)> = if command.eq_ignore_ascii_case(MIXED) {
            ["get", "set"]
                .iter()
                .filter_map(|name| named(name))
                .map(|row| (row.1, row.2))
                .collect()
        } else if command.eq_ignore_ascii_case(SET_WAIT) {
            let set = named("set").map(|row| (row.1, row.2));
            set.into_iter().chain([(false, WAIT)]).collect()
        } else if let Some(row) = named(command) {
            vec![(row.1, row.2)]
        } else if command.contains(' ') {
            vec![(false, command)]
        } else {
            let names: Vec<&str> = COMMANDS.iter().map(|row| row.0).collect();
            return Err(format!(
                "no workload is called {command:?}: choose one of {}, {MIXED}, {SET_WAIT}, or write a request with its arguments",
                names.join(", ")
            ));
        };
        let templates = rows
            .into_iter()
            .map(|(reads, text)| Template::parse(text, reads, inline))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            templates,
            first_percent: u64::from(read_percent),
            alternates: command.eq_ignore_ascii_case(SET_WAIT),
            value_bytes,
        })
    }
}

impl Template {
    fn parse(text: &str, reads: bool, inline: bool) -> Result<Self, String> {
        let arguments = text.split_ascii_whitespace().map(pieces).collect::<Result<_, _>>()?;
        Ok(Self {
            arguments,
            reads,
            inline,
        })
    }
}

fn pieces(argument: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = argument;
    while let Some((text, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else {
            return Err(format!("{argument}: a {{ without }}"));
        };
        pieces.push(Piece::Text(text.to_owned()));
        pieces.push(match name {
            "key" => Piece::Key,
            "number" => Piece::Number,
            "value" => Piece::Value,
            _ => {
                return Err(format!(
                    "{{{name}}} is unknown: there are {{key}}, {{number}} and {{value}}"
                ));
            }
        });
        rest = after;
    }
    pieces.push(Piece::Text(rest.to_owned()));
    Ok(pieces)
}

/// Where the keys of a request lie among the slots of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It has no key: any node will do.
    Anywhere,
    /// All its keys are in this slot.
    Slot(u16),
    /// Its keys are in several slots: a cluster refuses it.
    Torn,
}

/// Draws one request of a workload after the other.
pub struct Drawing<'a> {
    workload: &'a Workload,
    keys: &'a mut Keys,
    rng: &'a mut SeededRng,
    pool: Vec<u8>,
    argument: Vec<u8>,
    /// Requests drawn.
    drawn: u64,
}

impl<'a> Drawing<'a> {
    /// Of `workload`, about `keys`; everything else is drawn from `rng`.
    pub fn new(workload: &'a Workload, keys: &'a mut Keys, rng: &'a mut SeededRng) -> Self {
        let mut pool = vec![0; VALUE_POOL_BYTES.max(workload.value_bytes)];
        rng.fill(&mut pool);
        // Printable, so that a request can be looked at on the wire.
        pool.iter_mut().for_each(|byte| *byte = b'a' + *byte % 26);
        Self {
            workload,
            keys,
            rng,
            pool,
            argument: Vec::new(),
            drawn: 0,
        }
    }

    /// Appends the bytes of the next request to `out`. Keys are the second word, and every word with `{key}` in it.
    pub fn next(&mut self, out: &mut Vec<u8>) -> Place {
        let templates = &self.workload.templates;
        let second = match self.workload.alternates {
            true => !self.drawn.is_multiple_of(2),
            false => templates.len() == 2 && !self.rng.chance(self.workload.first_percent, 100),
        };
        self.drawn += 1;
        let template = &templates[usize::from(second)];
        let mut place = Place::Anywhere;
        if !template.inline {
            push_header(out, b'*', template.arguments.len());
        }
        for (index, pieces) in template.arguments.iter().enumerate() {
            self.argument.clear();
            for piece in pieces {
                match piece {
                    Piece::Text(text) => self.argument.extend_from_slice(text.as_bytes()),
                    Piece::Key => push_number(&mut self.argument, "key:", draw(self.keys, template.reads)),
                    Piece::Number => push_number(&mut self.argument, "", draw(self.keys, template.reads)),
                    Piece::Value => {
                        let at = self.rng.index(self.pool.len() - self.workload.value_bytes + 1);
                        let value = &self.pool[at..at + self.workload.value_bytes];
                        self.argument.extend_from_slice(value);
                    }
                }
            }
            if index == 1 || pieces.contains(&Piece::Key) {
                let slot = Place::Slot(slot_of(&self.argument));
                place = if place == Place::Anywhere || place == slot {
                    slot
                } else {
                    Place::Torn
                };
            }
            if template.inline {
                out.extend_from_slice(if index == 0 { b"" } else { b" " });
                out.extend_from_slice(&self.argument);
            } else {
                push_header(out, b'$', self.argument.len());
                out.extend_from_slice(&self.argument);
                out.extend_from_slice(b"\r\n");
            }
        }
        if template.inline {
            out.extend_from_slice(b"\r\n");
        }
        place
    }
}

fn draw(keys: &mut Keys, reads: bool) -> u64 {
    if reads { keys.for_read() } else { keys.for_write() }
}

fn push_header(out: &mut Vec<u8>, kind: u8, count: usize) {
    out.push(kind);
    out.extend_from_slice(count.to_string().as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn push_number(out: &mut Vec<u8>, prefix: &str, number: u64) {
    out.extend_from_slice(format!("{prefix}{number:012}").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::super::keys::Distribution;
    use super::super::stream::tests::{decoded, generate};
    use super::*;

    #[test]
    fn every_named_workload_is_read_back_by_the_server() {
        for (name, _, text) in COMMANDS {
            let requests = decoded(&generate(name, 50, 20));
            assert_eq!(requests.len(), 20);
            for request in requests {
                assert_eq!(request.len(), text.split_ascii_whitespace().count());
                assert_eq!(Some(request[0].as_str()), text.split(' ').next());
                assert!(!request.iter().any(|argument| argument.contains('{')), "{request:?}");
            }
        }
    }

    #[test]
    fn mixed_reads_as_often_as_asked() {
        let requests = decoded(&generate("mixed", 90, 10_000));
        let reads = requests.iter().filter(|request| request[0] == "GET").count();
        assert!((8_800..9_200).contains(&reads), "{reads}");
        assert!(requests.iter().all(|request| request[1].starts_with("key:0000")));
        assert!(
            requests
                .iter()
                .filter(|request| request[0] == "SET")
                .all(|request| request[2].len() == 8)
        );
    }

    #[test]
    fn a_request_can_be_written_out() {
        let requests = decoded(&generate("XADD x{number}y * f {value}", 0, 1));
        assert_eq!(
            (requests[0].len(), requests[0][1].len(), requests[0][4].len()),
            (5, 14, 8)
        );
        for wrong in ["gett", "GET {kez}", "GET {key"] {
            assert!(Workload::new(wrong, 0, 1).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_request_knows_the_slot_of_its_keys() {
        let place = |command: &str| {
            let workload = Workload::new(command, 0, 1).unwrap();
            let mut keys = Keys::new(Distribution::Sequential, 100, SeededRng::new(1));
            Drawing::new(&workload, &mut keys, &mut SeededRng::new(2)).next(&mut Vec::new())
        };
        assert_eq!(place("ping"), Place::Anywhere);
        assert_eq!(place("lpush"), Place::Slot(slot_of(b"mylist")));
        assert_eq!(place("get"), Place::Slot(slot_of(b"key:000000000000")));
        assert_eq!(place("zadd"), Place::Slot(slot_of(b"myzset")));
        assert_eq!(place("mset"), Place::Torn);
    }
}
