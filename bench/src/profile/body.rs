//! What is counted: commands from their bytes to their replies' bytes, as a core of the server carries them out.
//!
//! Reads are executed where they are parsed; writes are encoded as operations of a batch, and executed from it, as when
//! their entry is committed. The same code as the server's, without its sockets, its Raft and its disk.

use std::hint::black_box;
use std::io;

use slotcore_engine::cmd::op::{BATCH_HEADER_BYTES, BatchHeader, decode_op, encode_header, encode_op, op_seed};
use slotcore_engine::cmd::{Args, Exec, Run, by_id, resolve};
use slotcore_engine::keyspace::{Keyspace, KeyspaceOptions};
use slotcore_netio::resp::decode::{Decoder, Limits, Request};
use slotcore_rt::rng::SeededRng;
use slotcore_server::reply::RespReply;

use crate::load::keys::{Distribution, Keys};
use crate::load::stream::{Filling, Stream};
use crate::load::workload::Workload;

/// Requests that are counted.
pub const REQUESTS: u64 = 16_384;
/// Name of the function whose instructions are counted.
pub const MEASURED: &str = "measured_requests";
/// Requests of a batch, as of one turn.
const BATCH: usize = 16;
/// Keys there are: few, since valgrind is slow; instructions do not depend on it.
const KEYS: u64 = 10_000;
/// Bytes of a value.
const VALUE_BYTES: usize = 50;
/// Seed of hashes, and of what is random in commands.
const SEED: u64 = 1;
/// RESP2.
const PROTO: u8 = 2;

/// Prepares the state `command` works on, then executes [`REQUESTS`] of it once to warm up and once to be counted.
///
/// # Errors
/// An unknown command, or one answered with an error.
pub fn run(command: &str) -> io::Result<()> {
    let mut core = Core::new();
    for stream in Filling::new(KEYS, VALUE_BYTES, SEED) {
        core.requests(&stream, stream.len() as u64)?;
    }
    // What commands on collections read and take away: twice the list, for warming up takes half of it.
    for before in ["lpush", "lpush", "hset", "zadd"] {
        core.requests(&stream(before)?, REQUESTS)?;
    }
    let stream = stream(command)?;
    core.requests(&stream, REQUESTS)?;
    measured_requests(&mut core, &stream)
}

fn stream(command: &str) -> io::Result<Stream> {
    let workload = Workload::new(command, 0, VALUE_BYTES).map_err(io::Error::other)?;
    let mut keys = Keys::new(Distribution::Uniform, KEYS, SeededRng::new(SEED));
    Ok(Stream::generate(
        &workload,
        &mut keys,
        REQUESTS,
        &mut SeededRng::new(SEED),
    ))
}

#[inline(never)]
fn measured_requests(core: &mut Core, stream: &Stream) -> io::Result<()> {
    core.requests(stream, REQUESTS)
}

/// Keys and values, and the buffers of a turn.
struct Core {
    keyspace: Keyspace,
    decoder: Decoder,
    spans: Vec<(u32, u32)>,
    op_spans: Vec<(u32, u32)>,
    batch: Vec<u8>,
    out: Vec<u8>,
}

impl Core {
    fn new() -> Self {
        let mut keyspace = Keyspace::new(KeyspaceOptions { hash_seed: SEED });
        keyspace.set_time(1, 1);
        Self {
            keyspace,
            decoder: Decoder::default(),
            spans: Vec::new(),
            op_spans: Vec::new(),
            batch: Vec::new(),
            out: Vec::new(),
        }
    }

    /// Executes the first `count` requests, [`BATCH`] at a time.
    fn requests(&mut self, stream: &Stream, count: u64) -> io::Result<()> {
        let mut at = 0;
        while (at as u64) < count.min(stream.len() as u64) {
            let (bytes, taken) = stream.batch(at, BATCH);
            self.out.clear();
            self.turn(black_box(bytes))?;
            black_box(&self.out);
            at += taken;
        }
        Ok(())
    }

    fn turn(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.batch.clear();
        let header = BatchHeader {
            time_ms: 1,
            seed: SEED,
            origin: 0,
            batch_seq: 0,
        };
        encode_header(&mut self.batch, &header);
        let mut at = 0;
        while at < bytes.len() {
            self.spans.clear();
            let found = self.decoder.next(&bytes[at..], &Limits::default(), &mut self.spans);
            let Ok(Request::Complete(len)) = found else {
                return Err(io::Error::other(format!("a request of the stream is none: {found:?}")));
            };
            let args = Args::new(&bytes[at..], &self.spans);
            let spec = resolve(&args).map_err(io::Error::other)?;
            let Run::Data(execute) = spec.run else {
                return Err(io::Error::other(format!("{} is no command on data", spec.full_name)));
            };
            if spec.is_write() {
                encode_op(&mut self.batch, spec.id, &args);
            } else {
                let ks = &mut self.keyspace;
                let mut reply = RespReply::new(&mut self.out, PROTO);
                execute(&mut Exec::new(ks, args, SEED), &mut reply);
                refuse_errors(&reply)?;
            }
            at += len;
        }
        self.apply()
    }

    /// Executes the batch, as when its entry is committed.
    fn apply(&mut self) -> io::Result<()> {
        let (mut at, mut number) = (BATCH_HEADER_BYTES, 0);
        while at < self.batch.len() {
            let rest = &self.batch[at..];
            let (id, len) = decode_op(rest, &mut self.op_spans).map_err(io::Error::other)?;
            let Some(Run::Data(execute)) = by_id(id).map(|spec| spec.run) else {
                return Err(io::Error::other(format!("command {} is not known", id.0)));
            };
            let mut reply = RespReply::new(&mut self.out, PROTO);
            let args = Args::new(rest, &self.op_spans);
            let mut exec = Exec::logged(&mut self.keyspace, args, op_seed(SEED, number), number as u32);
            execute(&mut exec, &mut reply);
            refuse_errors(&reply)?;
            at += len;
            number += 1;
        }
        Ok(())
    }
}

fn refuse_errors(reply: &RespReply<'_>) -> io::Result<()> {
    if reply.failed() {
        return Err(io::Error::other("a command of the profile was answered with an error"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profiled_command_is_carried_out() {
        for command in super::super::COMMANDS {
            run(command).unwrap_or_else(|error| panic!("{command}: {error}"));
        }
    }

    #[test]
    fn replies_are_those_of_the_server() {
        let mut core = Core::new();
        let request = |words: &[&str]| {
            let mut bytes = format!("*{}\r\n", words.len());
            words
                .iter()
                .for_each(|word| bytes += &format!("${}\r\n{word}\r\n", word.len()));
            bytes
        };
        core.turn((request(&["SET", "a", "b"]) + &request(&["INCR", "n"])).as_bytes())
            .unwrap();
        core.turn(request(&["GET", "a"]).as_bytes()).unwrap();
        assert_eq!(String::from_utf8_lossy(&core.out), "+OK\r\n:1\r\n$1\r\nb\r\n");
        assert!(core.turn(request(&["INCR", "a"]).as_bytes()).is_err());
    }
}
