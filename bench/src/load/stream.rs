//! [`Stream`]: the bytes of many requests, made before the clock runs; [`Streams`]: one for each node of a cluster.

use std::net::SocketAddr;

use slotcore_rt::rng::SeededRng;

use super::keys::{Distribution, Keys};
use super::topology::Topology;
use super::workload::{Drawing, Place, Workload};

/// Bytes of requests made beforehand. Larger would only cost memory: at 90 bytes a request these are 700,000 of them
/// before the first repeats. Tests come to the end of it.
const STREAM_BYTES_MAX: usize = if cfg!(test) { 1 << 20 } else { 64 << 20 };

/// Requests as they go to the socket, one after the other in one piece of memory: a batch of them is a slice, and costs
/// its sender nothing. After the last comes the first again.
pub struct Stream {
    bytes: Vec<u8>,
    /// Where request `i` starts; one more for the end of the last.
    starts: Vec<u32>,
}

impl Stream {
    fn empty() -> Self {
        Self {
            bytes: Vec::new(),
            starts: vec![0],
        }
    }

    /// Makes at most `requests` (> 0), fewer if they would take more than [`STREAM_BYTES_MAX`], but at least one.
    pub fn generate(workload: &Workload, keys: &mut Keys, requests: u64, rng: &mut SeededRng) -> Self {
        let (mut stream, mut largest) = (Self::empty(), 0);
        let mut drawing = Drawing::new(workload, keys, rng);
        while (stream.len() as u64) < requests && stream.bytes.len() + largest <= STREAM_BYTES_MAX {
            let before = stream.bytes.len();
            drawing.next(&mut stream.bytes);
            stream.end_request();
            largest = largest.max(stream.bytes.len() - before);
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

    fn end_request(&mut self) {
        let end = u32::try_from(self.bytes.len()).expect("a stream is far below 4 GiB");
        self.starts.push(end);
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

/// The requests for each node; a server that is no cluster is one node. A node may have none.
pub struct Streams {
    of_node: Vec<Stream>,
}

impl Streams {
    /// Of one server.
    pub fn one(stream: Stream) -> Self {
        Self { of_node: vec![stream] }
    }

    /// As [`Stream::generate`], each request in the stream of the node of `topology` that owns its key.
    ///
    /// # Errors
    /// A text for the user: keys of one request lie in different slots.
    pub fn generate(
        topology: &Topology,
        workload: &Workload,
        keys: &mut Keys,
        requests: u64,
        rng: &mut SeededRng,
    ) -> Result<Self, String> {
        let mut of_node: Vec<Stream> = topology.nodes().iter().map(|_| Stream::empty()).collect();
        let mut drawing = Drawing::new(workload, keys, rng);
        let (mut request, mut made, mut bytes, mut largest) = (Vec::new(), 0, 0, 0);
        while made < requests && bytes + largest <= STREAM_BYTES_MAX {
            request.clear();
            let node = match drawing.next(&mut request) {
                Place::Anywhere => made as usize % of_node.len(),
                Place::Slot(slot) => topology.node_of(slot),
                Place::Torn => {
                    return Err("a cluster refuses requests with keys of different slots".to_owned());
                }
            };
            let stream = &mut of_node[node];
            stream.bytes.extend_from_slice(&request);
            stream.end_request();
            made += 1;
            bytes += request.len();
            largest = largest.max(request.len());
        }
        Ok(Self { of_node })
    }

    /// The stream of node `node`.
    #[inline]
    pub fn of(&self, node: usize) -> &Stream {
        &self.of_node[node]
    }

    /// Nodes, those without requests included.
    pub fn nodes(&self) -> usize {
        self.of_node.len()
    }

    /// Requests in all streams.
    pub fn len(&self) -> u64 {
        self.of_node.iter().map(|stream| stream.len() as u64).sum()
    }

    /// How many of `connections` each of `nodes` gets: by its share of the requests, at least one where it has any.
    pub fn share(&self, nodes: &[SocketAddr], connections: usize) -> Vec<(SocketAddr, usize)> {
        let all = self.len().max(1);
        let mut shares: Vec<usize> = self
            .of_node
            .iter()
            .map(|stream| match stream.len() {
                0 => 0,
                n => ((connections as f64 * n as f64 / all as f64).round() as usize).max(1),
            })
            .collect();
        // Rounding must not change how many there are, as far as each node keeps one.
        while let Some(largest) = (0..shares.len()).max_by_key(|&node| shares[node])
            && shares.iter().sum::<usize>() > connections
            && shares[largest] > 1
        {
            shares[largest] -= 1;
        }
        while let Some(smallest) = (0..shares.len()).filter(|&n| shares[n] > 0).min_by_key(|&n| shares[n])
            && shares.iter().sum::<usize>() < connections
        {
            shares[smallest] += 1;
        }
        nodes.iter().copied().zip(shares).collect()
    }
}

/// A write of every key in turn: what is loaded before reads are measured. Each call of [`Filling::next`] goes on.
pub struct Filling {
    workload: Workload,
    keys: Keys,
    left: u64,
    rng: SeededRng,
}

impl Filling {
    /// SET of the first `keys` keys, with values of `value_bytes`.
    pub fn new(keys: u64, value_bytes: usize, seed: u64) -> Self {
        let set = Workload::new("set", 0, value_bytes).expect("the table has it");
        Self::with(set, keys, seed)
    }

    /// The same by another request.
    pub fn with(workload: Workload, keys: u64, seed: u64) -> Self {
        let rng = SeededRng::new(seed).derive("fill");
        Self {
            workload,
            keys: Keys::new(Distribution::Sequential, keys.max(1), rng.derive("keys")),
            left: keys,
            rng,
        }
    }

    /// The next streams of all nodes of a cluster; none when every key has been set.
    pub fn next_of(&mut self, topology: &Topology) -> Option<Streams> {
        if self.left == 0 {
            return None;
        }
        let streams = Streams::generate(topology, &self.workload, &mut self.keys, self.left, &mut self.rng)
            .expect("what is filled with has one key");
        self.left -= streams.len();
        Some(streams)
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
pub mod tests {
    use slotcore_engine::ord::slot_of;
    use slotcore_netio::resp::decode::{Decoder, Limits, Request};

    use super::*;

    /// Every request of a stream, as the server's own decoder reads it.
    pub fn decoded(stream: &Stream) -> Vec<Vec<String>> {
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

    /// Requests of a workload with values of 8 bytes and 100 keys.
    pub fn generate(command: &str, read_percent: u8, requests: u64) -> Stream {
        let workload = Workload::new(command, read_percent, 8).unwrap();
        let mut keys = Keys::new(Distribution::Uniform, 100, SeededRng::new(1));
        Stream::generate(&workload, &mut keys, requests, &mut SeededRng::new(2))
    }

    fn three_nodes() -> Topology {
        let node = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        Topology::new(&[(0..=5460, node(1)), (5461..=10922, node(2)), (10923..=16383, node(3))]).unwrap()
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

    #[test]
    fn every_request_goes_to_the_owner_of_its_key() {
        let topology = three_nodes();
        let mut filling = Filling::new(3_000, 20, 1);
        let mut keys = Vec::new();
        while let Some(streams) = filling.next_of(&topology) {
            for node in 0..3 {
                for request in decoded(streams.of(node)) {
                    assert_eq!(topology.node_of(slot_of(request[1].as_bytes())), node);
                    keys.push(request[1].clone());
                }
            }
        }
        keys.sort_unstable();
        assert_eq!(keys.len(), 3_000);
        assert!(keys.iter().enumerate().all(|(i, key)| *key == format!("key:{i:012}")));
    }

    #[test]
    fn connections_are_shared_by_the_requests() {
        let topology = three_nodes();
        let share = |of: [usize; 3], connections| -> Vec<usize> {
            let of_node = of.map(|n| Stream::of(b"x", n)).into();
            let shares = Streams { of_node }.share(topology.nodes(), connections);
            shares.into_iter().map(|(_, n)| n).collect()
        };
        assert_eq!(share([100, 100, 100], 50).iter().sum::<usize>(), 50);
        assert_eq!(share([0, 700, 0], 50), [0, 50, 0]);
        assert_eq!(share([1, 700, 1], 10), [1, 8, 1]);
        assert_eq!(share([5, 5, 5], 1), [1, 1, 1]);
    }
}
