//! [`Workload`]: what is asked, and [`Stream`]: the bytes of many such requests, made before the clock runs.

use slotcore_rt::rng::SeededRng;

use super::keys::{Distribution, Keys};

/// Bytes of requests made beforehand. Larger would only cost memory: at 90 bytes a request these are 700,000 of them
/// before the first repeats. Tests come to the end of it.
const STREAM_BYTES_MAX: usize = if cfg!(test) { 1 << 20 } else { 64 << 20 };
/// Random bytes from which values are cut.
const VALUE_POOL_BYTES: usize = 1 << 16;

/// Requests by name. `{key}` is `key:` and 12 digits, `{number}` 12 digits, both by the key distribution; `{value}` is
/// as many bytes as asked for. Collections are those of redis-benchmark, so both clients do the same work.
const COMMANDS: &[(&str, bool, &str)] = &[
    ("ping", true, "PING"),
    ("set", false, "SET {key} {value}"),
    ("get", true, "GET {key}"),
    ("incr", false, "INCR counter:{number}"),
    ("lpush", false, "LPUSH mylist {value}"),
    ("rpush", false, "RPUSH mylist {value}"),
    ("lpop", false, "LPOP mylist"),
    ("rpop", false, "RPOP mylist"),
    ("sadd", false, "SADD myset element:{number}"),
    ("hset", false, "HSET myhash element:{number} {value}"),
    ("hget", true, "HGET myhash element:{number}"),
    ("spop", false, "SPOP myset"),
    ("zadd", false, "ZADD myzset {number} element:{number}"),
    ("zscore", true, "ZSCORE myzset element:{number}"),
    ("lrange_600", true, "LRANGE mylist 0 599"),
    (
        "mset",
        false,
        "MSET {key} {value} {key} {value} {key} {value} {key} {value} {key} {value} \
         {key} {value} {key} {value} {key} {value} {key} {value} {key} {value}",
    ),
];

/// The name under which SET and GET are mixed.
const MIXED: &str = "mixed";

/// One part of a request's argument.
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
}

/// Requests to draw from.
pub struct Workload {
    templates: Vec<Template>,
    /// Of two templates, the first is taken that many times out of 100.
    first_percent: u64,
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
        let rows: Vec<(bool, &str)> = if command.eq_ignore_ascii_case(MIXED) {
            ["get", "set"]
                .iter()
                .filter_map(|name| named(name))
                .map(|row| (row.1, row.2))
                .collect()
        } else if let Some(row) = named(command) {
            vec![(row.1, row.2)]
        } else if command.contains(' ') {
            vec![(false, command)]
        } else {
            let names: Vec<&str> = COMMANDS.iter().map(|row| row.0).collect();
            return Err(format!(
                "no workload is called {command:?}: choose one of {}, {MIXED}, or write a request with its arguments",
                names.join(", ")
            ));
        };
        let templates = rows
            .into_iter()
            .map(|(reads, text)| Template::parse(text, reads))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            templates,
            first_percent: u64::from(read_percent),
            value_bytes,
        })
    }
}

impl Template {
    fn parse(text: &str, reads: bool) -> Result<Self, String> {
        let arguments = text.split_ascii_whitespace().map(pieces).collect::<Result<_, _>>()?;
        Ok(Self { arguments, reads })
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

/// Requests as they go to the socket, one after the other in one piece of memory: a batch of them is a slice, and costs
/// its sender nothing. After the last comes the first again.
pub struct Stream {
    bytes: Vec<u8>,
    /// Where request `i` starts; one more for the end of the last.
    starts: Vec<u32>,
}

impl Stream {
    /// Makes at most `requests` (> 0), fewer if they would take more than [`STREAM_BYTES_MAX`], but at least one.
    pub fn generate(workload: &Workload, keys: &mut Keys, requests: u64, rng: &mut SeededRng) -> Self {
        let mut pool = vec![0; VALUE_POOL_BYTES.max(workload.value_bytes)];
        rng.fill(&mut pool);
        // Printable, so that a request can be looked at on the wire.
        pool.iter_mut().for_each(|byte| *byte = b'a' + *byte % 26);
        let mut stream = Self {
            bytes: Vec::new(),
            starts: vec![0],
        };
        let mut argument = Vec::new();
        let mut largest = 0;
        while (stream.len() as u64) < requests && stream.bytes.len() + largest <= STREAM_BYTES_MAX {
            let second = workload.templates.len() == 2 && !rng.chance(workload.first_percent, 100);
            let template = &workload.templates[usize::from(second)];
            let before = stream.bytes.len();
            push_header(&mut stream.bytes, b'*', template.arguments.len());
            for pieces in &template.arguments {
                argument.clear();
                for piece in pieces {
                    match piece {
                        Piece::Text(text) => argument.extend_from_slice(text.as_bytes()),
                        Piece::Key => push_key(&mut argument, "key:", draw(keys, template.reads)),
                        Piece::Number => push_key(&mut argument, "", draw(keys, template.reads)),
                        Piece::Value => {
                            let at = rng.index(pool.len() - workload.value_bytes + 1);
                            argument.extend_from_slice(&pool[at..at + workload.value_bytes]);
                        }
                    }
                }
                push_header(&mut stream.bytes, b'$', argument.len());
                stream.bytes.extend_from_slice(&argument);
                stream.bytes.extend_from_slice(b"\r\n");
            }
            largest = largest.max(stream.bytes.len() - before);
            let end = u32::try_from(stream.bytes.len()).expect("a stream is far below 4 GiB");
            stream.starts.push(end);
        }
        stream
    }

    /// Requests that are all the same bytes.
    pub fn of(request: &[u8], requests: usize) -> Self {
        let end = |i: usize| u32::try_from(i * request.len()).expect("a stream is far below 4 GiB");
        Self {
            bytes: request.repeat(requests),
            starts: (0..=requests).map(end).collect(),
        }
    }

    /// Requests before the first comes again.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// The bytes of requests from `first` on: `count` of them, or those that are left before the end. `first` is below
    /// [`Stream::len`]. Returns how many they are.
    #[inline]
    pub fn batch(&self, first: usize, count: usize) -> (&[u8], usize) {
        let last = (first + count).min(self.len());
        let range = self.starts[first] as usize..self.starts[last] as usize;
        (&self.bytes[range], last - first)
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

fn push_key(out: &mut Vec<u8>, prefix: &str, number: u64) {
    out.extend_from_slice(format!("{prefix}{number:012}").as_bytes());
}

/// Sets of every key in turn: what is loaded before reads are measured. `next` goes on from stream to stream.
pub struct Filling {
    workload: Workload,
    keys: Keys,
    left: u64,
    rng: SeededRng,
}

impl Filling {
    /// Of the first `keys` keys, with values of `value_bytes`.
    pub fn new(keys: u64, value_bytes: usize, seed: u64) -> Self {
        let rng = SeededRng::new(seed).derive("fill");
        Self {
            workload: Workload::new("set", 0, value_bytes).expect("the table has it"),
            keys: Keys::new(Distribution::Sequential, keys.max(1), rng.derive("keys")),
            left: keys,
            rng,
        }
    }
}

impl Iterator for Filling {
    type Item = Stream;

    fn next(&mut self) -> Option<Stream> {
        if self.left == 0 {
            return None;
        }
        let stream = Stream::generate(&self.workload, &mut self.keys, self.left, &mut self.rng);
        self.left -= stream.len() as u64;
        Some(stream)
    }
}

#[cfg(test)]
mod tests {
    use slotcore_netio::resp::decode::{Decoder, Limits, Request};

    use super::*;

    /// Every request of a stream, as the server's own decoder reads it.
    fn decoded(stream: &Stream) -> Vec<Vec<String>> {
        let mut requests = Vec::new();
        for i in 0..stream.len() {
            let (bytes, count) = stream.batch(i, 1);
            assert_eq!(count, 1);
            let mut spans = Vec::new();
            let found = Decoder::default().next(bytes, &Limits::default(), &mut spans).unwrap();
            assert_eq!(found, Request::Complete(bytes.len()));
            let text =
                |&(at, len): &(u32, u32)| String::from_utf8_lossy(&bytes[at as usize..][..len as usize]).into_owned();
            requests.push(spans.iter().map(text).collect());
        }
        requests
    }

    fn generate(command: &str, read_percent: u8, requests: u64) -> Stream {
        let workload = Workload::new(command, read_percent, 8).unwrap();
        let mut keys = Keys::new(Distribution::Uniform, 100, SeededRng::new(1));
        Stream::generate(&workload, &mut keys, requests, &mut SeededRng::new(2))
    }

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
        let requests = decoded(&generate("EXPIRE x{number}y 100", 0, 1));
        assert_eq!((requests[0].len(), requests[0][1].len()), (3, 14));
        for wrong in ["gett", "GET {kez}", "GET {key"] {
            assert!(Workload::new(wrong, 0, 1).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        assert_eq!(generate("set", 0, 50).bytes, generate("set", 0, 50).bytes);
    }

    #[test]
    fn batches_end_where_the_stream_ends() {
        let stream = generate("get", 0, 10);
        assert_eq!(stream.batch(8, 4).1, 2);
        let (all, count) = stream.batch(0, 10);
        assert_eq!((all.len(), count), (stream.bytes.len(), 10));
        assert_eq!(Stream::of(b"+OK\r\n", 3).batch(1, 5), (&b"+OK\r\n+OK\r\n"[..], 2));
    }

    #[test]
    fn filling_sets_every_key_once() {
        let keys: Vec<String> = Filling::new(12_000, 200, 1)
            .flat_map(|stream| decoded(&stream).into_iter().map(|request| request[1].clone()))
            .collect();
        assert_eq!(keys.len(), 12_000);
        assert!(keys.iter().enumerate().all(|(i, key)| *key == format!("key:{i:012}")));
    }
}
