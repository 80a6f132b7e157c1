//! A client for etcd: PUTs by gRPC, as etcd's own clients send them. Each client has a connection of its own and waits for
//! its answer, as the connections of `slotcore-bench load` do.

mod message;

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use hdrhistogram::Histogram;
use http::{HeaderMap, Request};
use slotcore_rt::rng::SeededRng;
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::task::LocalSet;
use tokio::time::timeout;

pub use message::Status;

use crate::ask::cannot_connect;
use crate::cpu_time::of_thread;
use crate::load::client::Outcome;
use crate::load::recorder::histogram;
use crate::load::replies::Tally;

/// How long an answer may take before the run fails.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a node may take to say who leads.
const STATUS_PATIENCE: Duration = Duration::from_secs(2);
const PUT: &str = "/etcdserverpb.KV/Put";
const STATUS: &str = "/etcdserverpb.Maintenance/Status";

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub struct Puts {
    /// Clients, each with a connection.
    pub clients: u32,
    /// Keys, drawn evenly.
    pub keys: u64,
    /// Bytes of each value.
    pub value_bytes: usize,
    /// How long no answer keeps a client from sending the next.
    pub time: Duration,
}

/// Sends PUTs to the node at `addr`; each client sends one at least.
///
/// # Errors
/// Nobody there or no etcd, a broken connection, no answer for 30 s. Refusals are counted in the outcome.
pub fn put(addr: SocketAddr, puts: &Puts) -> io::Result<Outcome> {
    let seen = Rc::new(RefCell::new(Seen {
        latency_ns: histogram(),
        tally: Tally::default(),
    }));
    let mut took = (Duration::ZERO, Duration::ZERO);
    in_runtime(async {
        let mut clients = Vec::new();
        for _ in 0..puts.clients {
            clients.push(connect(addr).await?);
        }
        let (began, cpu) = (Instant::now(), of_thread());
        let rng = SeededRng::new(1);
        let tasks = clients.into_iter().enumerate().map(|(number, client)| {
            let (seen, puts) = (Rc::clone(&seen), *puts);
            let mut rng = rng.derive(&format!("client {number}"));
            tokio::task::spawn_local(async move {
                let value = vec![b'x'; puts.value_bytes];
                loop {
                    let key = format!("key:{:012}", rng.next_u64() % puts.keys);
                    let sent = Instant::now();
                    let call = call(&client, addr, PUT, message::put_request(key.as_bytes(), &value));
                    let answer = timeout(PATIENCE, call).await.map_err(|_| silent(addr))??;
                    seen.borrow_mut().add(sent.elapsed(), answer.err());
                    if began.elapsed() >= puts.time {
                        return Ok::<(), io::Error>(());
                    }
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.map_err(io::Error::other)??;
        }
        took = (began.elapsed(), of_thread() - cpu);
        Ok(())
    })?;
    let seen = Rc::into_inner(seen).expect("all clients have ended").into_inner();
    Ok(Outcome {
        replies: seen.latency_ns.len(),
        latency_ns: seen.latency_ns,
        seconds: Vec::new(),
        tally: seen.tally,
        moved: 0,
        elapsed: took.0,
        busy: took.1,
    })
}

/// Asks the node at `addr` who leads.
///
/// # Errors
/// Nobody there, no etcd, no answer within two seconds.
pub fn status(addr: SocketAddr) -> io::Result<Status> {
    in_runtime(async {
        let asked = async {
            let client = connect(addr).await?;
            call(&client, addr, STATUS, message::status_request()).await
        };
        let answer = timeout(STATUS_PATIENCE, asked).await.map_err(|_| silent(addr))??;
        let frame = answer.map_err(|error| io::Error::other(format!("{addr}: {error}")))?;
        message::status_response(&frame).ok_or_else(|| no_etcd(addr, "its status cannot be read"))
    })
}

/// What all clients saw.
struct Seen {
    latency_ns: Histogram<u64>,
    tally: Tally,
}

impl Seen {
    fn add(&mut self, latency: Duration, refusal: Option<String>) {
        self.latency_ns.saturating_record(latency.as_nanos() as u64);
        if let Some(refusal) = refusal {
            self.tally.errors += 1;
            self.tally.first_error.get_or_insert(refusal);
        }
    }
}

/// Runs `work` on this thread, with the tasks it starts.
fn in_runtime<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
    // Tasks left over, which keep connections, end with the runtime.
    LocalSet::new().block_on(&runtime, work)
}

async fn connect(addr: SocketAddr) -> io::Result<SendRequest<Bytes>> {
    let stream = TcpStream::connect(addr).await.map_err(|e| cannot_connect(addr, &e))?;
    stream.set_nodelay(true)?;
    let shaken = h2::client::handshake(stream).await.map_err(|e| no_etcd(addr, &e))?;
    let (client, connection) = shaken;
    // Its error is that of the request under way, too.
    tokio::task::spawn_local(async move { drop(connection.await) });
    Ok(client)
}

/// One call of a method: the answer's frame, or what it was refused with.
async fn call(
    client: &SendRequest<Bytes>,
    addr: SocketAddr,
    method: &str,
    frame: Vec<u8>,
) -> io::Result<Result<Vec<u8>, String>> {
    let broken = |e: h2::Error| no_etcd(addr, &e);
    let request = Request::post(format!("http://{addr}{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .map_err(io::Error::other)?;
    let mut client = client.clone().ready().await.map_err(broken)?;
    let (response, mut body) = client.send_request(request, false).map_err(broken)?;
    body.send_data(frame.into(), true).map_err(broken)?;
    let (head, mut body) = response.await.map_err(broken)?.into_parts();
    let mut answer = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk.map_err(broken)?;
        answer.extend_from_slice(&chunk);
        body.flow_control().release_capacity(chunk.len()).map_err(broken)?;
    }
    // A refusal may come without a body, and then its status stands in the head.
    let trailers = body.trailers().await.map_err(broken)?.unwrap_or(head.headers);
    let text = |name: &str| text(&trailers, name);
    match text("grpc-status").as_str() {
        "0" => Ok(Ok(answer)),
        "" => Err(no_etcd(addr, &format!("HTTP status {}, none of gRPC", head.status))),
        status => Ok(Err(format!("gRPC status {status}: {}", text("grpc-message")))),
    }
}

fn text(headers: &HeaderMap, name: &str) -> String {
    let value = headers.get(name).map(|value| value.as_bytes()).unwrap_or_default();
    String::from_utf8_lossy(value).into_owned()
}

fn no_etcd(addr: SocketAddr, what: &(impl std::fmt::Display + ?Sized)) -> io::Error {
    io::Error::other(format!("{addr} does not answer as etcd does: {what}"))
}

fn silent(addr: SocketAddr) -> io::Error {
    let what = format!("{addr} does not answer");
    io::Error::new(io::ErrorKind::TimedOut, what)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn who_is_no_etcd_is_told() {
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let said = status(nobody).unwrap_err().to_string();
        assert!(said.contains("nobody listens there"), "{said}");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let answering = thread::spawn(move || {
            use std::io::Write;
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"-ERR unknown command\r\n").unwrap();
            // Held until the client has read it and let go.
            std::io::copy(&mut stream, &mut std::io::sink()).ok();
        });
        let said = status(addr).unwrap_err().to_string();
        assert!(said.contains("does not answer as etcd does"), "{said}");
        answering.join().unwrap();
    }
}
