//! [`RequestsAhead`]: the requests of a parcel, decoded some way ahead of their execution.
//!
//! As `entry_ops.rs` does for the operations of an entry: while a window of requests is decoded, the index buckets of
//! their keys are fetched, then the records, so that both are near when the requests are executed.

use slotcore_engine::cmd::op::decode_next_op;
use slotcore_engine::cmd::{Args, CommandSpec, by_id};
use slotcore_engine::keyspace::Keyspace;
use slotcore_engine::ord::KeyHash;
use slotcore_engine::sessions::Once;

use crate::parcel::{Asker, How, once_at, request_at};

/// Requests of a window: enough to hide a miss behind the work on the others.
const WINDOW_REQUESTS: usize = 32;

/// See the module's text. Its buffers serve one parcel after the other.
#[derive(Default)]
pub struct RequestsAhead {
    window: Vec<Request>,
    /// Positions of their arguments, each relative to its operation.
    spans: Vec<(u32, u32)>,
}

/// One request, ready to be executed.
pub struct Request {
    /// Who waits for the reply.
    pub asker: Asker,
    /// How it is to be answered.
    pub how: How,
    /// What is asked for.
    pub spec: &'static CommandSpec,
    /// The operation's place in the parcel's requests.
    pub op: (usize, usize),
    /// What makes it count once.
    pub once: Option<Box<Once>>,
    /// Hash of the first key of a command that reads, if that is in a fixed place. (Writes only go into the batch now.)
    pub key: Option<KeyHash>,
    spans: (u32, u32),
}

impl Request {
    /// One that came alone.
    pub fn alone(asker: Asker, how: How, spec: &'static CommandSpec) -> Self {
        Self {
            asker,
            how,
            spec,
            op: (0, 0),
            once: None,
            key: None,
            spans: (0, 0),
        }
    }

    /// The same request for another command.
    pub fn for_command(&self, spec: &'static CommandSpec) -> Self {
        Self {
            spec,
            once: self.once.clone(),
            ..*self
        }
    }
}

impl RequestsAhead {
    /// Decodes the requests from `at` on, as many as make a window. False: there are no more.
    pub fn look(&mut self, ks: &Keyspace, requests: &[u8], mut at: usize) -> bool {
        self.window.clear();
        self.spans.clear();
        while at < requests.len() && self.window.len() < WINDOW_REQUESTS {
            let (asker, how, mut op_at) = request_at(requests, at);
            let mut once = None;
            if how.once {
                let (found, behind) = once_at(requests, op_at);
                (once, op_at) = (Some(Box::new(found)), behind);
            }
            let rest = &requests[op_at..];
            let first = self.spans.len();
            let (id, bytes) =
                decode_next_op(rest, &mut self.spans).expect("encoded by a core, or checked when it came");
            let spec = by_id(id).expect("encoded by a core, or checked when it came");
            let key = (spec.first_key > 0 && !spec.is_write()).then(|| {
                let hash = ks.key_hash(Args::new(rest, &self.spans[first..]).get(spec.first_key as usize));
                ks.prefetch_bucket(hash);
                hash
            });
            at = op_at + bytes;
            self.window.push(Request {
                asker,
                how,
                spec,
                op: (op_at, at),
                once,
                key,
                spans: (first as u32, self.spans.len() as u32),
            });
        }
        for key in self.window.iter().filter_map(|request| request.key) {
            ks.prefetch_record(key);
        }
        !self.window.is_empty()
    }

    /// The requests of the window, each with the positions of its arguments.
    #[inline]
    pub fn requests(&self) -> impl Iterator<Item = (&Request, &[(u32, u32)])> {
        let spans = |request: &Request| &self.spans[request.spans.0 as usize..request.spans.1 as usize];
        self.window.iter().map(move |request| (request, spans(request)))
    }
}
