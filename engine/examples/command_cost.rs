//! What commands cost, without clocks: loops to count instructions of.
//!
//! ```text
//! valgrind --tool=callgrind --toggle-collect='*measured*' target/release/examples/command_cost lpush
//! ```
//! The commands are those of redis-benchmark's default set, from the parsed request to the reply in a buffer.

use slotcore_engine::cmd::{Args, Exec, Reply, Run, resolve};
use slotcore_engine::keyspace::{Keyspace, KeyspaceOptions};

/// Commands of a measured loop; divide the instructions counted by this.
const COMMANDS: u64 = 100_000;

/// A reply in a buffer that is reused, as a connection's is.
struct Buffer(Vec<u8>);

impl Reply for Buffer {
    fn simple(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }
    fn bulk(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
    fn verbatim(&mut self, text: &[u8]) {
        self.bulk(text);
    }
    fn null(&mut self) {
        self.0.push(b'_');
    }
    fn null_array(&mut self) {
        self.null();
    }
    fn int(&mut self, value: i64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    fn double_text(&mut self, text: &str) {
        self.bulk(text.as_bytes());
    }
    fn double(&mut self, value: f64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    fn bool(&mut self, value: bool) {
        self.int(value.into());
    }
    fn array(&mut self, len: usize) {
        self.int(len as i64);
    }
    fn map(&mut self, len: usize) {
        self.array(len);
    }
    fn set(&mut self, len: usize) {
        self.array(len);
    }
    fn error(&mut self, text: &str) {
        panic!("{text}");
    }
    fn proto(&self) -> u8 {
        2
    }
}

fn execute(
    ks: &mut Keyspace,
    words: &[&[u8]],
    buf: &mut Vec<u8>,
    spans: &mut Vec<(u32, u32)>,
    out: &mut Buffer,
    n: u64,
) {
    buf.clear();
    spans.clear();
    for word in words {
        spans.push((buf.len() as u32, word.len() as u32));
        buf.extend_from_slice(word);
    }
    out.0.clear();
    measured(ks, Args::new(buf, spans), out, n);
}

/// One command; a function of its own, so that instructions can be counted inside it alone.
#[inline(never)]
fn measured(ks: &mut Keyspace, args: Args<'_>, out: &mut Buffer, seed: u64) {
    let Ok(spec) = resolve(&args) else {
        panic!("no such command")
    };
    if let Run::Data(run) = spec.run {
        run(&mut Exec::new(ks, args, seed), out);
    }
}

fn main() {
    let name = std::env::args().nth(1).unwrap_or_default();
    let mut ks = Keyspace::new(KeyspaceOptions { hash_seed: 42 });
    let (mut buf, mut spans, mut out) = (Vec::new(), Vec::new(), Buffer(Vec::new()));
    let data = [b'x'; 3];
    if name.ends_with("pop") {
        let fill: &[u8] = if name == "spop" { b"sadd" } else { b"lpush" };
        for n in 0..COMMANDS {
            let element = format!("element:{n:012}");
            execute(
                &mut ks,
                &[fill, b"k", element.as_bytes()],
                &mut buf,
                &mut spans,
                &mut out,
                n,
            );
        }
    }
    for n in 0..COMMANDS {
        let element = format!("element:{:012}", slotcore_engine::cmd::op::op_seed(1, n) % COMMANDS);
        let element = element.as_bytes();
        let words: &[&[u8]] = match name.as_str() {
            "set" => &[b"SET", b"key:__rand_int__", &data],
            "get" => &[b"GET", b"key:__rand_int__"],
            "incr" => &[b"INCR", b"counter:__rand_int__"],
            "lpush" => &[b"LPUSH", b"k", &data],
            "rpop" => &[b"RPOP", b"k"],
            "spop" => &[b"SPOP", b"k"],
            "sadd" => &[b"SADD", b"k", b"element:__rand_int__"],
            "sadd-many" => &[b"SADD", b"k", element],
            "hset" => &[b"HSET", b"k", b"element:__rand_int__", &data],
            "hset-many" => &[b"HSET", b"k", element, &data],
            "zadd" => &[b"ZADD", b"k", b"0", b"element:__rand_int__"],
            "zadd-many" => &[b"ZADD", b"k", &element[8..], element],
            other => panic!("no loop for {other:?}"),
        };
        execute(&mut ks, words, &mut buf, &mut spans, &mut out, n);
    }
}
