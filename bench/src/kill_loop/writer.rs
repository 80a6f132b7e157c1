//! [`Writer`]: writes keys of its own until the server is killed, and knows what each may hold afterwards.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use slotcore_rt::rng::SeededRng;

/// Commands a writer sends before it reads the replies.
const PIPELINE: usize = 16;
/// Reads of a check under way at a time.
const READS: u64 = 64;
/// One counter for so many keys.
const KEYS_A_COUNTER: u64 = 8;
/// What the text of values is cut from, and where in it each begins: odd, so that all places are used.
const TEXT_BYTES: usize = 1 << 16;
const TEXT_STEP: u64 = 7919;

/// The value of a key: a number that is never used again, 0 for a key that is not there.
type Number = u64;

/// See the module's text. Its connection is in order, so that a read shows what was last written.
pub struct Writer {
    number: u64,
    rng: SeededRng,
    value_bytes: usize,
    /// What values are cut from.
    text: Vec<u8>,
    last_used: Number,
    /// Of each key: what was acknowledged last, or found after a kill.
    acknowledged: Vec<Number>,
    /// What was sent since, oldest first: any of it may be there.
    pending: BTreeMap<u64, VecDeque<Number>>,
    /// Of each counter: increments acknowledged and sent.
    counters: Vec<(u64, u64)>,
    /// Writes acknowledged in all.
    pub acknowledged_total: u64,
}

/// A command under way.
enum Sent {
    Write { key: u64, value: Number },
    Count { counter: usize },
    Read { key: u64, expected: Number },
}

/// A reply, as far as they are understood here.
enum Answer {
    Line(String),
    Bulk(Option<Vec<u8>>),
}

impl Writer {
    /// Writer `number` of `keys` keys with values of `value_bytes` bytes on average, which are not there yet.
    pub fn new(number: u64, seed: u64, keys: u64, value_bytes: usize) -> Self {
        let mut rng = SeededRng::new(seed).derive(&format!("writer {number}"));
        let text = (0..TEXT_BYTES).map(|_| b'a' + rng.below(26) as u8).collect();
        Self {
            number,
            rng,
            value_bytes,
            text,
            last_used: 0,
            acknowledged: vec![0; keys as usize],
            pending: BTreeMap::new(),
            counters: vec![(0, 0); keys.div_ceil(KEYS_A_COUNTER) as usize],
            acknowledged_total: 0,
        }
    }

    /// Writes each key once.
    ///
    /// # Errors
    /// The connection broke, or something was refused.
    pub fn fill(&mut self, addr: SocketAddr) -> io::Result<()> {
        let mut link = Link::connect(addr)?;
        let keys = self.acknowledged.len() as u64;
        let mut from = 0;
        while from < keys {
            let to = keys.min(from + READS);
            let sent = (from..to).map(|key| self.set(&mut link, key)).collect();
            self.exchange(&mut link, sent)?;
            from = to;
        }
        Ok(())
    }

    /// Writes, counts, deletes and reads until the connection breaks.
    ///
    /// # Errors
    /// A wrong or unexpected answer: the connection's end is none.
    pub fn write_until_killed(&mut self, addr: SocketAddr) -> io::Result<()> {
        let Ok(mut link) = Link::connect(addr) else {
            return Ok(());
        };
        loop {
            let sent = (0..PIPELINE).map(|_| self.any(&mut link)).collect();
            match self.exchange(&mut link, sent) {
                Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(error),
                Err(_) => return Ok(()),
                Ok(()) => {}
            }
        }
    }

    fn any(&mut self, link: &mut Link) -> Sent {
        let key = self.rng.below(self.acknowledged.len() as u64);
        match self.rng.below(16) {
            0 => {
                link.push(&["DEL", &self.key(key)], None);
                self.sent(key, 0)
            }
            1..=3 => {
                let counter = (key / KEYS_A_COUNTER) as usize;
                link.push(&["INCR", &self.counter(counter)], None);
                self.counters[counter].1 += 1;
                Sent::Count { counter }
            }
            4..=6 => {
                link.push(&["GET", &self.key(key)], None);
                let last = self.pending.get(&key).and_then(|sent| sent.back().copied());
                let expected = last.unwrap_or(self.acknowledged[key as usize]);
                Sent::Read { key, expected }
            }
            _ => self.set(link, key),
        }
    }

    fn set(&mut self, link: &mut Link, key: u64) -> Sent {
        self.last_used += 1;
        let value = self.last_used;
        link.push(&["SET", &self.key(key)], Some(&self.value(value)));
        self.sent(key, value)
    }

    fn sent(&mut self, key: u64, value: Number) -> Sent {
        self.pending.entry(key).or_default().push_back(value);
        Sent::Write { key, value }
    }

    /// Sends what was pushed and takes the replies in.
    fn exchange(&mut self, link: &mut Link, sent: Vec<Sent>) -> io::Result<()> {
        link.send()?;
        for sent in sent {
            match (sent, link.answer()?) {
                (Sent::Write { key, value }, Answer::Line(line)) if line == "+OK" || line.starts_with(':') => {
                    self.acknowledge(key, value);
                }
                (Sent::Count { counter }, Answer::Line(line)) if line.starts_with(':') => {
                    self.counters[counter].0 += 1;
                    self.acknowledged_total += 1;
                }
                (Sent::Read { key, expected }, Answer::Bulk(found)) => {
                    let found = self.number_of(key, found)?;
                    if found != expected {
                        return Err(wrong(format!("{} is {found}, should be {expected}", self.key(key))));
                    }
                }
                (_, Answer::Line(line)) => return Err(wrong(format!("a command was answered {line}"))),
                (_, Answer::Bulk(_)) => return Err(wrong("a write was answered by a value".to_string())),
            }
        }
        Ok(())
    }

    fn acknowledge(&mut self, key: u64, value: Number) {
        self.acknowledged_total += 1;
        self.acknowledged[key as usize] = value;
        if let Some(sent) = self.pending.get_mut(&key) {
            sent.pop_front();
            if sent.is_empty() {
                self.pending.remove(&key);
            }
        }
    }

    /// Reads every key and counter; what is found counts from now on.
    ///
    /// # Errors
    /// Something acknowledged is lost, or something is there that never was sent.
    pub fn check(&mut self, addr: SocketAddr) -> io::Result<()> {
        let mut link = Link::connect(addr)?;
        let keys = self.acknowledged.len() as u64;
        for from in (0..keys).step_by(READS as usize) {
            let range = from..keys.min(from + READS);
            range.clone().for_each(|key| link.push(&["GET", &self.key(key)], None));
            link.send()?;
            for key in range {
                self.check_key(key, link.bulk()?)?;
            }
        }
        self.pending.clear();
        for counter in 0..self.counters.len() {
            link.push(&["GET", &self.counter(counter)], None);
            link.send()?;
            let text = link.bulk()?.unwrap_or_else(|| b"0".to_vec());
            let found = String::from_utf8_lossy(&text).parse::<u64>();
            let (low, high) = self.counters[counter];
            match found {
                Ok(found) if (low..=high).contains(&found) => self.counters[counter] = (found, found),
                _ => {
                    let (name, text) = (self.counter(counter), String::from_utf8_lossy(&text));
                    return Err(wrong(format!("{name} is {text}, acknowledged {low}, sent {high}")));
                }
            }
        }
        Ok(())
    }

    fn check_key(&mut self, key: u64, found: Option<Vec<u8>>) -> io::Result<()> {
        let found = self.number_of(key, found)?;
        let acknowledged = self.acknowledged[key as usize];
        let sent = self.pending.get(&key);
        if found != acknowledged && !sent.is_some_and(|sent| sent.contains(&found)) {
            let name = self.key(key);
            return Err(wrong(format!(
                "{name} is {found}, acknowledged {acknowledged}, sent {sent:?}"
            )));
        }
        self.acknowledged[key as usize] = found;
        Ok(())
    }

    /// The number of a value, all of which must be right.
    fn number_of(&self, key: u64, found: Option<Vec<u8>>) -> io::Result<Number> {
        let Some(bytes) = found else { return Ok(0) };
        let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = String::from_utf8_lossy(&bytes[..digits]).parse().unwrap_or(0);
        if number == 0 || self.value(number) != bytes {
            let what = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
            return Err(wrong(format!("{} holds what was never written: {what}", self.key(key))));
        }
        Ok(number)
    }

    /// The number, and text whose place and length it decides: up to twice the average.
    fn value(&self, number: Number) -> Vec<u8> {
        let place = (number.wrapping_mul(TEXT_STEP) % TEXT_BYTES as u64) as usize;
        let bytes = place % (2 * self.value_bytes).max(1);
        let mut value = number.to_string().into_bytes();
        value.extend(
            self.text
                .iter()
                .cycle()
                .skip(place)
                .take(bytes.saturating_sub(value.len())),
        );
        value
    }

    fn key(&self, key: u64) -> String {
        format!("w{}:{key}", self.number)
    }

    fn counter(&self, counter: usize) -> String {
        format!("c{}:{counter}", self.number)
    }
}

fn wrong(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// A connection with commands that are sent together.
struct Link {
    out: TcpStream,
    replies: BufReader<TcpStream>,
    request: Vec<u8>,
}

impl Link {
    fn connect(addr: SocketAddr) -> io::Result<Self> {
        let out = TcpStream::connect(addr)?;
        out.set_nodelay(true)?;
        let replies = BufReader::new(out.try_clone()?);
        let request = Vec::new();
        Ok(Self { out, replies, request })
    }

    fn push(&mut self, words: &[&str], value: Option<&[u8]>) {
        let count = words.len() + usize::from(value.is_some());
        self.request.extend_from_slice(format!("*{count}\r\n").as_bytes());
        for word in words.iter().map(|word| word.as_bytes()).chain(value) {
            self.request
                .extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            self.request.extend_from_slice(word);
            self.request.extend_from_slice(b"\r\n");
        }
    }

    fn send(&mut self) -> io::Result<()> {
        let sent = self.out.write_all(&self.request);
        self.request.clear();
        sent
    }

    fn answer(&mut self) -> io::Result<Answer> {
        let mut line = String::new();
        self.replies.read_line(&mut line)?;
        // A line that breaks off was not said.
        let Some(line) = line.strip_suffix("\r\n") else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let Some(length) = line.strip_prefix('$') else {
            return Ok(Answer::Line(line.to_string()));
        };
        let Ok(length) = length.parse::<usize>() else {
            return Ok(Answer::Bulk(None));
        };
        let mut bytes = vec![0; length + 2];
        self.replies.read_exact(&mut bytes)?;
        bytes.truncate(length);
        Ok(Answer::Bulk(Some(bytes)))
    }

    fn bulk(&mut self) -> io::Result<Option<Vec<u8>>> {
        match self.answer()? {
            Answer::Bulk(bytes) => Ok(bytes),
            Answer::Line(line) => Err(wrong(format!("GET was answered {line}"))),
        }
    }
}
