//! [`Load`]: connections that write as fast as they are answered, and know exactly what they were promised.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

use crate::PATIENCE;
use crate::client::{Client, Reply, request};

/// Keys of each writer: few, so that each is overwritten often.
const KEYS: u64 = 20;
/// Commands sent before the replies are read.
const PIPELINE: u64 = 8;

/// What one writer knows of its keys. Values of a key only rise.
#[derive(Clone, Default)]
pub struct Ledger {
    writer: u64,
    last: u64,
    acknowledged: BTreeMap<u64, u64>,
    sent: BTreeMap<u64, u64>,
    /// `INCR`s of its counter: acknowledged and sent.
    counted: (u64, u64),
}

impl Ledger {
    /// Compares with what a server holds now, which becomes the new truth.
    pub fn check<S: Read + Write>(&mut self, client: &mut Client<S>) {
        let mut number = |key: &str| match client.ok(&["GET", key]) {
            Reply::Nil => 0,
            reply => reply.text().parse::<u64>().unwrap(),
        };
        for key in 0..KEYS {
            let low = self.acknowledged.get(&key).copied().unwrap_or(0);
            let high = self.sent.get(&key).copied().unwrap_or(0);
            let name = format!("w{}:{key}", self.writer);
            let found = number(&name);
            assert!(
                (low..=high).contains(&found),
                "{name} is {found}: {low} was acknowledged, {high} was sent"
            );
            self.acknowledged.insert(key, found);
            self.sent.insert(key, found);
        }
        let name = format!("c{}", self.writer);
        let ((low, high), found) = (self.counted, number(&name));
        assert!(
            (low..=high).contains(&found),
            "{name} is {found}: {low} was acknowledged, {high} was sent"
        );
        self.counted = (found, found);
    }

    /// Writes until the connection breaks. An error reply is a failure.
    fn write(&mut self, port: u16, progress: &Sender<u64>) {
        let Ok(mut client) = Client::try_connect(port) else {
            return;
        };
        loop {
            let mut bytes = Vec::new();
            let mut values = Vec::new();
            for _ in 0..PIPELINE {
                self.last += 1;
                let key = self.last % KEYS;
                let name = format!("w{}:{key}", self.writer);
                bytes.extend(request(&["SET", &name, &self.last.to_string()]));
                bytes.extend(request(&["INCR", &format!("c{}", self.writer)]));
                self.sent.insert(key, self.last);
                values.push((key, self.last));
            }
            self.counted.1 += PIPELINE;
            if client.send(&bytes).is_err() {
                return;
            }
            for (key, value) in values {
                match client.reply() {
                    Ok(reply) => assert_eq!(reply, Reply::Simple("OK".into())),
                    Err(_) => return,
                }
                self.acknowledged.insert(key, value);
                match client.reply() {
                    Ok(reply) => assert!(matches!(reply, Reply::Integer(_)), "{reply:?}"),
                    Err(_) => return,
                }
                self.counted.0 += 1;
            }
            if progress.send(2 * PIPELINE).is_err() {
                return;
            }
        }
    }
}

/// Writers at work.
pub struct Load {
    writers: Vec<JoinHandle<Ledger>>,
    progress: Receiver<u64>,
}

/// Fresh ledgers for `writers` writers.
pub fn ledgers(writers: u64) -> Vec<Ledger> {
    let ledger = |writer| Ledger {
        writer,
        ..Ledger::default()
    };
    (0..writers).map(ledger).collect()
}

impl Load {
    /// Goes on where `ledgers` stand, one connection each.
    pub fn start(port: u16, ledgers: Vec<Ledger>) -> Self {
        let (sender, progress) = mpsc::channel();
        let writer = |mut ledger: Ledger| {
            let sender = sender.clone();
            thread::spawn(move || {
                ledger.write(port, &sender);
                ledger
            })
        };
        let writers = ledgers.into_iter().map(writer).collect();
        Self { writers, progress }
    }

    /// Waits until so many more commands are acknowledged, over all writers.
    pub fn acknowledged(&self, commands: u64) {
        let mut seen = 0;
        while seen < commands {
            seen += self.progress.recv_timeout(PATIENCE).expect("the writers get on");
        }
    }

    /// Waits until every connection is broken by the other side; what the writers know.
    pub fn broken(self) -> Vec<Ledger> {
        self.writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    }
}

/// A client that hears `words` answered whatever else happens on the server.
pub fn assert_answers(client: &mut Client<TcpStream>) {
    assert_eq!(client.call(&["PING"]), Reply::Simple("PONG".into()));
}
