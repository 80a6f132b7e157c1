//! [`Gathering`]: one command that several cores carry out in parts, until the last part is there.
//!
//! The parts are RESP, in the protocol of the client; here they become one reply. An error of any part is the whole
//! command's error: the first one, by core.

use std::collections::BTreeSet;
use std::ops::Range;

use slotcore_engine::cmd::Reply;
use slotcore_netio::ConnId;

use crate::metrics::CoreSnapshot;
use crate::reply::RespReply;
use crate::route::{ByKey, Everywhere};

/// How the parts become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combine {
    /// By key.
    ByKey(ByKey),
    /// From all cores.
    Everywhere(Everywhere),
    /// Numbers of those who got a message, added.
    Receivers,
    /// Replies to the parts of a transaction over cores, which its plan puts together.
    Spanning,
    /// The one part is a scan's: when it says that the core is done, the scan goes on at this cursor.
    Scan(u64),
}

/// See the module's text.
pub struct Gathering {
    /// Who waits.
    pub conn: ConnId,
    /// Version of RESP it speaks.
    pub proto: u8,
    /// It wants no reply.
    pub silent: bool,
    /// What becomes of the parts.
    pub combine: Combine,
    /// The command, encoded as an operation, where in the end it is carried out on the figures of all cores.
    pub command: Vec<u8>,
    /// What other cores have counted.
    pub snapshots: Vec<CoreSnapshot>,
    parts: Vec<Part>,
    missing: usize,
}

struct Part {
    core: u16,
    /// The keys it is about, by their place in the command.
    places: Vec<u32>,
    reply: Vec<u8>,
}

impl Gathering {
    /// A command of `conn` without parts yet.
    pub fn new(conn: ConnId, proto: u8, silent: bool, combine: Combine) -> Self {
        Self {
            conn,
            proto,
            silent,
            combine,
            command: Vec::new(),
            snapshots: Vec::new(),
            parts: Vec::new(),
            missing: 0,
        }
    }

    /// One more part is asked for: of `core`, about the keys at `places`. At most one a core.
    pub fn ask(&mut self, core: u16, places: Vec<u32>) {
        self.missing += 1;
        self.parts.push(Part {
            core,
            places,
            reply: Vec::new(),
        });
    }

    /// A part has come. True when it was the last one.
    pub fn arrive(&mut self, core: u16, reply: &[u8]) -> bool {
        if let Some(part) = self.parts.iter_mut().find(|part| part.core == core) {
            part.reply.extend_from_slice(reply);
        }
        self.missing -= 1;
        self.missing == 0
    }

    /// What has come from each core.
    pub fn replies(&self) -> impl Iterator<Item = (u16, &[u8])> {
        self.parts.iter().map(|part| (part.core, part.reply.as_slice()))
    }

    /// Appends the whole command's reply.
    pub fn write(&mut self, out: &mut Vec<u8>) {
        self.parts.sort_unstable_by_key(|part| part.core);
        let error = self.parts.iter().find(|part| part.reply.first() == Some(&b'-'));
        if let Some(error) = error
            && self.combine != Combine::Everywhere(Everywhere::OneOk)
        {
            out.extend_from_slice(&error.reply);
            return;
        }
        match self.combine {
            Combine::ByKey(ByKey::Values) => self.write_values(out),
            Combine::ByKey(ByKey::Count) | Combine::Everywhere(Everywhere::Sum) | Combine::Receivers => {
                let sum = self.parts.iter().map(|part| number(&part.reply)).sum();
                RespReply::new(out, self.proto).int(sum);
            }
            Combine::ByKey(ByKey::Pairs | ByKey::Keys) | Combine::Everywhere(Everywhere::AllOk) => {
                self.write_first(out)
            }
            Combine::Everywhere(Everywhere::OneOk) => {
                let ok = self.parts.iter().find(|part| part.reply.first() == Some(&b'+'));
                match ok {
                    Some(part) => out.extend_from_slice(&part.reply),
                    None => self.write_first(out),
                }
            }
            Combine::Everywhere(Everywhere::AnyOf) => {
                let found = self.parts.iter().find(|part| !is_nil(&part.reply));
                match found {
                    Some(part) => out.extend_from_slice(&part.reply),
                    None => self.write_first(out),
                }
            }
            Combine::Everywhere(Everywhere::Concat) => self.write_concat(out),
            Combine::Everywhere(Everywhere::ClientList) => self.write_client_list(out),
            Combine::Everywhere(Everywhere::Least) => self.write_least(out),
            Combine::Everywhere(Everywhere::Union) => self.write_union(out),
            Combine::Everywhere(Everywhere::UnionLen) => {
                let count = self.union().len() as i64;
                RespReply::new(out, self.proto).int(count);
            }
            Combine::Everywhere(Everywhere::SumByName) => self.write_sums(out),
            Combine::Everywhere(Everywhere::Digest) => self.write_digest(out),
            // Written by the command itself, from what the parts say; and by the plan.
            Combine::Everywhere(Everywhere::Counters | Everywhere::Whereabouts) | Combine::Spanning => {}
            Combine::Scan(next) => self.write_scan(next, out),
        }
    }

    /// Where the client is that was looked for, as a core has told.
    pub fn whereabouts(&self) -> Option<(u16, ConnId)> {
        let part = self.parts.iter().find(|part| part.reply.starts_with(b"*2"))?;
        let mut numbers = values(&part.reply).map(|value| u32::try_from(number(value)));
        let (index, generation) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        Some((part.core, ConnId::from_parts((index, generation))))
    }

    fn write_first(&self, out: &mut Vec<u8>) {
        if let Some(part) = self.parts.first() {
            out.extend_from_slice(&part.reply);
        }
    }

    fn write_values(&self, out: &mut Vec<u8>) {
        let count = self.parts.iter().map(|part| part.places.len()).sum();
        let mut values: Vec<&[u8]> = vec![&[]; count];
        for part in &self.parts {
            let mut at = head(&part.reply).1;
            for &place in &part.places {
                let end = at + value_bytes(&part.reply[at..]);
                values[place as usize] = &part.reply[at..end];
                at = end;
            }
        }
        RespReply::new(out, self.proto).array(count);
        values.iter().for_each(|value| out.extend_from_slice(value));
    }

    fn write_concat(&self, out: &mut Vec<u8>) {
        let count: i64 = self.parts.iter().map(|part| head(&part.reply).0).sum();
        RespReply::new(out, self.proto).array(count as usize);
        for part in &self.parts {
            out.extend_from_slice(&part.reply[head(&part.reply).1..]);
        }
    }

    /// The different values of all arrays, in the order of bytes.
    fn union(&self) -> BTreeSet<&[u8]> {
        self.parts.iter().flat_map(|part| elements(&part.reply)).collect()
    }

    fn write_union(&self, out: &mut Vec<u8>) {
        let values = self.union();
        RespReply::new(out, self.proto).array(values.len());
        values.iter().for_each(|value| out.extend_from_slice(value));
    }

    /// Every part has the same names in the same order, each followed by its number.
    fn write_sums(&self, out: &mut Vec<u8>) {
        let parts: Vec<Vec<&[u8]>> = self.parts.iter().map(|part| elements(&part.reply).collect()).collect();
        let Some(first) = parts.first() else { return };
        RespReply::new(out, self.proto).array(first.len());
        for (at, value) in first.iter().enumerate() {
            if at % 2 == 0 {
                out.extend_from_slice(value);
            } else {
                let sum = parts
                    .iter()
                    .filter_map(|part| part.get(at))
                    .map(|value| number(value))
                    .sum();
                RespReply::new(out, self.proto).int(sum);
            }
        }
    }

    fn write_least(&self, out: &mut Vec<u8>) {
        let mut least: Vec<i64> = Vec::new();
        for part in &self.parts {
            let (len, mut at) = head(&part.reply);
            least.resize(usize::try_from(len).unwrap_or(0), i64::MAX);
            for place in &mut least {
                *place = number(&part.reply[at..]).min(*place);
                at += value_bytes(&part.reply[at..]);
            }
        }
        let mut reply = RespReply::new(out, self.proto);
        reply.array(least.len());
        least.iter().for_each(|&number| reply.int(number));
    }

    fn write_client_list(&self, out: &mut Vec<u8>) {
        let texts = self.parts.iter().map(|part| bulk(&part.reply));
        let mut lines: Vec<&[u8]> = texts
            .flat_map(|text| text.split_inclusive(|&byte| byte == b'\n'))
            .collect();
        lines.sort_by_key(|line| client_id(line));
        RespReply::new(out, self.proto).verbatim(&lines.concat());
    }

    fn write_digest(&self, out: &mut Vec<u8>) {
        let digests = self.parts.iter().map(|part| {
            let line = part.reply.get(1..).unwrap_or_default().trim_ascii();
            let text = std::str::from_utf8(line).unwrap_or_default();
            u128::from_str_radix(text.trim_start_matches('0'), 16).unwrap_or(0)
        });
        let sum = digests.fold(0u128, u128::wrapping_add);
        RespReply::new(out, self.proto).simple(&format!("{sum:040x}"));
    }

    fn write_scan(&self, next: u64, out: &mut Vec<u8>) {
        let Some(part) = self.parts.first() else { return };
        let (_, at) = head(&part.reply);
        let end = at + value_bytes(&part.reply[at..]);
        if bulk(&part.reply[at..end]) != b"0" {
            out.extend_from_slice(&part.reply);
            return;
        }
        let mut reply = RespReply::new(out, self.proto);
        reply.array(2);
        reply.bulk(next.to_string().as_bytes());
        out.extend_from_slice(&part.reply[end..]);
    }
}

/// The number in the first line of a value, behind its type, and where the next line starts.
fn head(value: &[u8]) -> (i64, usize) {
    let end = value.iter().position(|&byte| byte == b'\r').unwrap_or(value.len());
    let digits = value.get(1..end).unwrap_or_default();
    let number = std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok());
    (number.unwrap_or(0), end + 2)
}

/// The values of an array.
fn elements(array: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (len, mut at) = head(array);
    (0..len).map(move |_| {
        let start = at;
        at += value_bytes(&array[start..]);
        &array[start..at]
    })
}

fn number(value: &[u8]) -> i64 {
    head(value).0
}

fn is_nil(value: &[u8]) -> bool {
    value.starts_with(b"_") || value.starts_with(b"$-1") || value.starts_with(b"*-1")
}

/// The text of a bulk or verbatim string.
fn bulk(value: &[u8]) -> &[u8] {
    let (len, start) = head(value);
    // `=` has four bytes of format before the text.
    let skip = if value.first() == Some(&b'=') { 4 } else { 0 };
    let text: Range<usize> = start + skip..start + usize::try_from(len).unwrap_or(0);
    value.get(text).unwrap_or_default()
}

/// Bytes of the whole value at the start of `bytes`, which this process wrote.
fn value_bytes(bytes: &[u8]) -> usize {
    let (n, at) = head(bytes);
    let children = match bytes.first() {
        Some(b'$' | b'=' | b'!') => return at + usize::try_from(n).map_or(0, |len| len + 2),
        Some(b'*' | b'~' | b'>') => n.max(0),
        Some(b'%') => 2 * n,
        _ => 0,
    };
    (0..children).fold(at, |at, _| at + value_bytes(&bytes[at..]))
}

/// The values of an array that this process wrote.
pub fn values(array: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (count, mut at) = head(array);
    (0..count).map(move |_| {
        let start = at;
        at += value_bytes(&array[start..]);
        &array[start..at]
    })
}

/// The number in `id=7 addr=...`.
fn client_id(line: &[u8]) -> u64 {
    let digits = line.strip_prefix(b"id=").unwrap_or_default();
    digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0, |id, digit| id * 10 + u64::from(digit - b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn combined(combine: Combine, proto: u8, parts: &[(&[u32], &str)]) -> String {
        let mut gathering = Gathering::new(ConnId::from_parts((0, 0)), proto, false, combine);
        for (core, (places, _)) in parts.iter().enumerate() {
            gathering.ask(core as u16, places.to_vec());
        }
        // In any order: here backwards.
        for (core, (_, reply)) in parts.iter().enumerate().rev() {
            assert_eq!(gathering.arrive(core as u16, reply.as_bytes()), core == 0);
        }
        let mut out = Vec::new();
        gathering.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_come_in_the_order_of_the_keys() {
        let values = Combine::ByKey(ByKey::Values);
        let parts: &[(&[u32], &str)] = &[
            (&[1, 3], "*2\r\n$1\r\nb\r\n$-1\r\n"),
            (&[0, 2], "*2\r\n$0\r\n\r\n$2\r\ncc\r\n"),
        ];
        assert_eq!(
            combined(values, 2, parts),
            "*4\r\n$0\r\n\r\n$1\r\nb\r\n$2\r\ncc\r\n$-1\r\n"
        );
    }

    #[test]
    fn counts_are_added_and_an_error_is_everybodys() {
        let count = Combine::ByKey(ByKey::Count);
        assert_eq!(combined(count, 2, &[(&[0], ":1\r\n"), (&[1], ":41\r\n")]), ":42\r\n");
        assert_eq!(
            combined(count, 2, &[(&[0], ":1\r\n"), (&[1], "-OOM x\r\n")]),
            "-OOM x\r\n"
        );
        let ok = Combine::Everywhere(Everywhere::AllOk);
        assert_eq!(combined(ok, 2, &[(&[], "+OK\r\n"), (&[], "+OK\r\n")]), "+OK\r\n");
        let one = Combine::Everywhere(Everywhere::OneOk);
        assert_eq!(
            combined(one, 2, &[(&[], "-ERR No such client\r\n"), (&[], "+OK\r\n")]),
            "+OK\r\n"
        );
        assert_eq!(
            combined(one, 2, &[(&[], "-ERR a\r\n"), (&[], "-ERR a\r\n")]),
            "-ERR a\r\n"
        );
    }

    #[test]
    fn arrays_and_lists_are_put_together() {
        let concat = Combine::Everywhere(Everywhere::Concat);
        assert_eq!(
            combined(concat, 2, &[(&[], "*1\r\n$1\r\na\r\n"), (&[], "*0\r\n")]),
            "*1\r\n$1\r\na\r\n"
        );
        let least = Combine::Everywhere(Everywhere::Least);
        assert_eq!(
            combined(least, 2, &[(&[], "*2\r\n:1\r\n:1\r\n"), (&[], "*2\r\n:1\r\n:0\r\n")]),
            "*2\r\n:1\r\n:0\r\n"
        );
        let any = Combine::Everywhere(Everywhere::AnyOf);
        assert_eq!(combined(any, 3, &[(&[], "_\r\n"), (&[], "$1\r\nk\r\n")]), "$1\r\nk\r\n");
        assert_eq!(combined(any, 3, &[(&[], "_\r\n"), (&[], "_\r\n")]), "_\r\n");
        let digest = Combine::Everywhere(Everywhere::Digest);
        let (one, two) = (format!("+{:040x}\r\n", 10), format!("+{:040x}\r\n", 0xff));
        assert_eq!(
            combined(digest, 2, &[(&[], one.as_str()), (&[], two.as_str())]),
            format!("+{:040x}\r\n", 0x109)
        );
        let list = Combine::Everywhere(Everywhere::ClientList);
        let parts: &[(&[u32], &str)] = &[(&[], "$15\r\nid=10 x\nid=3 y\n\r\n"), (&[], "=11\r\ntxt:id=4 z\n\r\n")];
        assert_eq!(combined(list, 2, parts), "$22\r\nid=3 y\nid=4 z\nid=10 x\n\r\n");
    }

    #[test]
    fn a_scan_goes_on_with_the_next_core() {
        let done = "*2\r\n$1\r\n0\r\n*1\r\n$1\r\nk\r\n";
        assert_eq!(
            combined(Combine::Scan(77), 2, &[(&[], done)]),
            "*2\r\n$2\r\n77\r\n*1\r\n$1\r\nk\r\n"
        );
        assert_eq!(combined(Combine::Scan(0), 2, &[(&[], done)]), done);
        let more = "*2\r\n$2\r\n12\r\n*0\r\n";
        assert_eq!(combined(Combine::Scan(77), 2, &[(&[], more)]), more);
    }

    #[test]
    fn values_of_every_type_have_an_end() {
        for value in [
            "+OK\r\n",
            ":1\r\n",
            "$-1\r\n",
            "$3\r\nabc\r\n",
            "*2\r\n:1\r\n*1\r\n+x\r\n",
            "_\r\n",
            ",1.5\r\n",
            "#t\r\n",
            "%1\r\n+a\r\n:1\r\n",
            "~1\r\n:1\r\n",
            "=5\r\ntxt:a\r\n",
        ] {
            assert_eq!(
                value_bytes(format!("{value}+next\r\n").as_bytes()),
                value.len(),
                "{value:?}"
            );
        }
    }
}
