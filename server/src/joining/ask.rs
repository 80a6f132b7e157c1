//! A node that is started with `--join` asks until it is answered, before it opens anything.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use slotcore_netio::peer::{
    Identity, LinkEnd, PeerEvent, PeerId, PeerNet, PeerOptions, PeerPlace, PeerTls, Refusal, TlsEnd,
};
use slotcore_rt::clock::{Clock, SystemClock};
use slotcore_rt::ring::Ring;
use slotcore_rt::rng::SeededRng;
use slotcore_rt::{kernel, signal};

use super::{JoinAnswer, JoinRefusal, JoinRequest, Question, inquiry};
use crate::host_names;
use crate::logging::Event;
use crate::nodes::NodeList;
use crate::startup::{StartupError, memlock_needed};

/// How long nobody may be able to answer: longer than nodes that are started at the same time take.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two tries.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// How often in a row one node may send to another one: each knows who leads as well as it can.
const SENT_ON_MAX: u32 = 8;
/// Submission slots of the ring: one connection.
const RING_ENTRIES: u32 = 8;
/// Longest wait for the ring in one turn.
const WAIT: Duration = Duration::from_millis(20);

/// Asks nodes of a cluster, one at a time.
struct Questions {
    ring: Ring,
    net: PeerNet,
}

impl Questions {
    /// Of a node with this incarnation. `cluster`: the one it knows, or 0.
    fn new(
        cluster: u128,
        (secret, tls): (&[u8], Option<&PeerTls>),
        incarnation: u128,
        cores: u16,
    ) -> Result<Self, StartupError> {
        let ring = Ring::new(RING_ENTRIES);
        let ring = ring.map_err(|error| StartupError::Kernel(kernel::uring_problem(error, memlock_needed(cores))))?;
        let rng = SeededRng::from_os().map_err(resource("random numbers"))?;
        let identity = Identity {
            me: PeerId::NOBODY,
            cluster,
            secret: secret.to_vec(),
            incarnation,
            known: BTreeMap::new(),
            removed: BTreeSet::new(),
        };
        let options = PeerOptions {
            tls: tls.cloned(),
            ..PeerOptions::default()
        };
        let net = PeerNet::new(identity, options, rng);
        Ok(Self { ring, net })
    }

    /// What comes of asking there, which does not take for ever: links that lead nowhere are given up.
    fn ask(&mut self, place: PeerPlace, question: &[u8]) -> Result<Result<Bytes, LinkEnd>, StartupError> {
        let failed = resource("the connection with another node");
        self.net.ask(place, question);
        let mut completions = Vec::new();
        loop {
            self.net.flush(&mut self.ring, SystemClock.tick()).map_err(&failed)?;
            self.ring.submit_and_wait(1, WAIT).map_err(&failed)?;
            self.ring.reap(&mut completions);
            completions
                .drain(..)
                .for_each(|completion| self.net.on_completion(completion));
            while let Some(event) = self.net.next_event() {
                if let PeerEvent::Answered(answer) = event {
                    // Who asks may end now: whoever is refused by it is told so first.
                    self.net.flush(&mut self.ring, SystemClock.tick()).map_err(&failed)?;
                    self.ring.submit_and_wait(0, Duration::ZERO).map_err(&failed)?;
                    return Ok(answer);
                }
            }
        }
    }
}

/// Asks the nodes at `seeds`, hosts and first peer ports, until this node is one of theirs. `None`: the process is to end before that.
///
/// # Errors
/// It is refused, cannot prove the secret, or nobody can answer for two minutes.
pub fn join(
    seeds: &[(String, u16)],
    request: &JoinRequest,
    secret: &[u8],
    tls: Option<&PeerTls>,
) -> Result<Option<NodeList>, StartupError> {
    let mut questions = Questions::new(0, (secret, tls), request.incarnation, request.cores)?;
    let until = SystemClock.tick() + PATIENCE;
    let question = request.encode();
    let mut sent_on = 0;
    let mut next: VecDeque<(String, Option<PeerPlace>)> = VecDeque::new();
    let mut last = String::new();
    while SystemClock.tick() < until {
        if next.is_empty() {
            next.extend(seeds.iter().map(|(host, port)| (place(host, *port), None)));
        }
        let Some((there, known)) = next.pop_front() else { break };
        let why = match known.map_or_else(|| found(&there), Ok) {
            Err(error) => error.to_string(),
            Ok(place) => match questions.ask(place, &question)? {
                Err(end) => match refusal(&end) {
                    Some(why) => return Err(not_joined(&there, why)),
                    None => end.to_string(),
                },
                Ok(bytes) => match JoinAnswer::decode(&bytes, secret) {
                    Some(JoinAnswer::Accepted(list)) if is_of(&list, request) => return Ok(Some(*list)),
                    Some(JoinAnswer::Refused(JoinRefusal::Cores(cores))) => {
                        return Err(StartupError::OtherCores { cores });
                    }
                    Some(JoinAnswer::Refused(why)) => return Err(not_joined(&there, why.to_string())),
                    Some(JoinAnswer::AskThere(place)) => {
                        sent_on += 1;
                        if sent_on <= SENT_ON_MAX {
                            next.push_front((place.address.to_string(), Some(place)));
                            continue;
                        }
                        "the nodes do not agree who decides".to_owned()
                    }
                    Some(JoinAnswer::AskAgain) => "nobody can decide at the moment".to_owned(),
                    Some(JoinAnswer::Accepted(_)) | None => {
                        let what = "its answer makes no sense: it is of another version";
                        return Err(not_joined(&there, what.to_owned()));
                    }
                },
            },
        };
        sent_on = 0;
        // Each reason once: it may take a while.
        if last != why {
            Event::AsksToJoin {
                address: &there,
                why: &why,
            }
            .log();
            last = why;
        }
        let signal = signal::wait_for_ending_signal(ASK_EVERY);
        if signal.map_err(resource("signal handling"))?.is_some() {
            return Ok(None);
        }
    }
    let seeds: Vec<String> = seeds.iter().map(|(host, port)| place(host, *port)).collect();
    Err(not_joined(
        &seeds.join(","),
        format!("no answer for two minutes: {last}"),
    ))
}

/// What there is at the places that a node of a cluster is started with.
#[derive(Debug, PartialEq, Eq)]
pub enum AtSeeds {
    /// Another cluster.
    Another,
    /// A newer list of this one.
    Newer(Box<NodeList>),
    /// Nothing of which it has to know before it starts: none of them may be there, or belong to the list any more.
    Nothing,
}

/// For a node that is one of `list` and is started with `--join` again: asks there, unless they are known as nodes.
///
/// # Errors
/// There is no ring to ask with.
pub fn look_at(
    seeds: &[(String, u16)],
    list: &NodeList,
    incarnation: u128,
    tls: Option<&PeerTls>,
) -> Result<AtSeeds, StartupError> {
    let is_known = |host: &str, port: u16| {
        let address = host_names::look_up(host).ok();
        let mut nodes = list.nodes.iter().filter(|node| node.peer_port_base == port);
        nodes.any(|node| node.host == host || Some(node.address) == address)
    };
    if seeds.iter().any(|(host, port)| is_known(host, *port)) {
        return Ok(AtSeeds::Nothing);
    }
    let question = Question::AmIMember(incarnation).encode();
    let mut questions = Questions::new(list.cluster, (&list.secret, tls), incarnation, list.cores)?;
    for (host, port) in seeds {
        let Ok(place) = found(&place(host, *port)) else {
            continue;
        };
        match questions.ask(place, &question)? {
            Err(LinkEnd::Refused {
                why: Refusal::Cluster, ..
            }) => return Ok(AtSeeds::Another),
            Err(_) => {}
            Ok(bytes) => {
                if let Some(JoinAnswer::Accepted(told)) = JoinAnswer::decode(&bytes, &list.secret)
                    && let Some(newer) = inquiry::newer(*told, list)
                {
                    return Ok(AtSeeds::Newer(Box::new(newer)));
                }
            }
        }
    }
    Ok(AtSeeds::Nothing)
}

/// Whether this node is one of the list it was given.
fn is_of(list: &NodeList, request: &JoinRequest) -> bool {
    let me = list.node(list.me);
    list.cores == request.cores && me.is_some_and(|me| me.incarnation == Some(request.incarnation))
}

/// What time does not heal.
fn refusal(end: &LinkEnd) -> Option<String> {
    match end {
        LinkEnd::Refused { why, .. } => match why {
            // Removed nodes are answered; a core that is not the first one, or another program, may be a wrong port.
            Refusal::Proof
            | Refusal::Version
            | Refusal::Cluster
            | Refusal::WrongCore
            | Refusal::NotAPeer
            | Refusal::Tls => Some(end.to_string()),
            Refusal::Busy | Refusal::Removed | Refusal::Incarnation => None,
        },
        LinkEnd::Tls(TlsEnd::NotAccepted(_) | TlsEnd::ToldNotAccepted(_) | TlsEnd::Host(_)) => Some(end.to_string()),
        _ => None,
    }
}

fn place(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

fn found(place: &str) -> std::io::Result<PeerPlace> {
    let (host, port) = place.rsplit_once(':').unwrap_or((place, ""));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = port.parse().map_err(|_| std::io::ErrorKind::InvalidInput)?;
    Ok(PeerPlace {
        address: SocketAddr::new(host_names::look_up(host)?, port),
        host: host.to_owned(),
    })
}

fn not_joined(at: &str, why: String) -> StartupError {
    StartupError::NotJoined { at: at.to_owned(), why }
}

fn resource(what: &'static str) -> impl Fn(std::io::Error) -> StartupError {
    move |error| StartupError::Resource { what, error }
}
