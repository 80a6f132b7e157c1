//! [`Question`] and [`JoinAnswer`] as bytes: lines of text behind a version. Format: `docs/formats/peer.md`, "Joining".

use std::fmt::Write as _;
use std::net::SocketAddr;

use slotcore_netio::peer::PeerPlace;

use super::{JoinAnswer, JoinRefusal, JoinRequest, Question};
use crate::config::host;
use crate::nodes::lines::{self, Line};
use crate::nodes::{NodeNumber, Zone};

const REQUEST: &str = "slotcore join 1";
const INQUIRY: &str = "slotcore inquiry 1";
const ANSWER: &str = "slotcore joined 1";

impl Question {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Join(request) => request.encode(),
            Self::AmIMember(incarnation) => format!("{INQUIRY}\n{incarnation:032x}\n").into_bytes(),
        }
    }

    /// `None`: these are not the bytes of a question that can be answered.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        match text.strip_prefix(INQUIRY) {
            Some(rest) => {
                let word = rest.strip_prefix('\n')?.strip_suffix('\n')?;
                lines::incarnation(word).map(Self::AmIMember)
            }
            None => JoinRequest::decode(bytes).map(Self::Join),
        }
    }
}

impl JoinRequest {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let Self {
            incarnation,
            host,
            address,
            port,
            peer_port_base,
            cores,
            zone,
        } = self;
        // Older versions understand it without a zone.
        let zone = zone.as_ref().map_or(String::new(), |zone| format!(" {zone}"));
        format!("{REQUEST}\n{incarnation:032x} {host} {address} {port} {peer_port_base} {cores}{zone}\n").into_bytes()
    }

    /// `None`: these are not the bytes of a request that can be met.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let rest = std::str::from_utf8(bytes)
            .ok()?
            .strip_prefix(REQUEST)?
            .strip_prefix('\n')?;
        let mut words = rest.strip_suffix('\n')?.split(' ');
        let request = Self {
            incarnation: lines::incarnation(words.next()?)?,
            host: words.next().filter(|host| is_host(host))?.to_owned(),
            address: words.next()?.parse().ok()?,
            port: words.next()?.parse().ok()?,
            peer_port_base: words.next()?.parse().ok()?,
            cores: words.next()?.parse().ok().filter(|&cores| cores > 0)?,
            zone: match words.next() {
                None => None,
                Some(name) => Some(Zone::parse(name).ok()?),
            },
        };
        // All ports of its cores are ports.
        request.port.checked_add(request.cores)?;
        request.peer_port_base.checked_add(request.cores - 1)?;
        (words.next().is_none() && request.port > 0 && request.peer_port_base > 0).then_some(request)
    }
}

/// What clients can read from `CLUSTER NODES`: it becomes a word of a line.
fn is_host(text: &str) -> bool {
    !text.is_empty() && host(text).is_ok()
}

impl JoinAnswer {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = format!("{ANSWER}\n");
        let written = match self {
            Self::Accepted(list) => {
                lines::put(list, &mut text);
                writeln!(text, "number {}", list.me)
            }
            Self::Refused(JoinRefusal::Removed) => writeln!(text, "refused-removed"),
            Self::Refused(JoinRefusal::Cores(cores)) => writeln!(text, "refused-cores {cores}"),
            Self::Refused(JoinRefusal::AddressTaken) => writeln!(text, "refused-address"),
            Self::Refused(JoinRefusal::Other(why)) => writeln!(text, "refused {}", why.replace('\n', " ")),
            // Who is named by its address is told as it was before names were.
            Self::AskThere(there) if *there == PeerPlace::from(there.address) => {
                writeln!(text, "ask-there {}", there.address)
            }
            Self::AskThere(PeerPlace { address, host }) => writeln!(text, "ask-there {address} {host}"),
            Self::AskAgain => writeln!(text, "ask-again"),
        };
        written.expect("a String takes what is written to it");
        text.into_bytes()
    }

    /// The answer to one who knows this secret. `None`: these are not the bytes of an answer.
    pub fn decode(bytes: &[u8], secret: &[u8]) -> Option<Self> {
        let rest = std::str::from_utf8(bytes)
            .ok()?
            .strip_prefix(ANSWER)?
            .strip_prefix('\n')?;
        let mut list = lines::Reader::default();
        let mut lines = rest.strip_suffix('\n')?.split('\n');
        let last = loop {
            let line = lines.next()?;
            match list.take(line) {
                Line::Taken => {}
                Line::Malformed => return None,
                Line::Other => break line,
            }
        };
        if lines.next().is_some() {
            return None;
        }
        let (word, rest) = last.split_once(' ').unwrap_or((last, ""));
        Some(match word {
            "number" => Self::Accepted(Box::new(list.finish(NodeNumber(rest.parse().ok()?), secret.to_vec())?)),
            "refused-removed" => Self::Refused(JoinRefusal::Removed),
            "refused-cores" => Self::Refused(JoinRefusal::Cores(rest.parse().ok()?)),
            "refused-address" => Self::Refused(JoinRefusal::AddressTaken),
            "refused" => Self::Refused(JoinRefusal::Other(rest.to_owned())),
            "ask-there" => Self::AskThere(match rest.split_once(' ') {
                None => PeerPlace::from(rest.parse::<SocketAddr>().ok()?),
                Some((address, host)) => PeerPlace {
                    address: address.parse().ok()?,
                    host: Some(host).filter(|host| is_host(host))?.to_owned(),
                },
            }),
            "ask-again" => Self::AskAgain,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::list_for_tests;

    fn request() -> JoinRequest {
        JoinRequest {
            incarnation: 0xabc,
            host: "n4.example".into(),
            address: "::1".parse().unwrap(),
            port: 7000,
            peer_port_base: 17000,
            cores: 2,
            zone: None,
        }
    }

    fn request_of_zone() -> JoinRequest {
        JoinRequest {
            zone: Zone::parse("rack-7").ok(),
            ..request()
        }
    }

    #[test]
    fn what_is_said_comes_back() {
        for question in [
            Question::Join(request()),
            Question::Join(request_of_zone()),
            Question::AmIMember(0xabc),
        ] {
            assert_eq!(Question::decode(&question.encode()), Some(question));
        }
        let inquiry = Question::AmIMember(0xabc).encode();
        assert_eq!(JoinRequest::decode(&inquiry), None, "nobody joins by it");
        assert!((0..inquiry.len()).all(|len| Question::decode(&inquiry[..len]).is_none()));
        let list = list_for_tests(3, 3);
        for answer in [
            JoinAnswer::Accepted(Box::new(list)),
            JoinAnswer::Refused(JoinRefusal::Removed),
            JoinAnswer::Refused(JoinRefusal::Cores(7)),
            JoinAnswer::Refused(JoinRefusal::AddressTaken),
            JoinAnswer::Refused(JoinRefusal::Other("not today".into())),
            JoinAnswer::AskThere("[::1]:17000".parse::<SocketAddr>().unwrap().into()),
            JoinAnswer::AskThere(PeerPlace {
                address: "[::1]:17000".parse().unwrap(),
                host: "n1.example".into(),
            }),
            JoinAnswer::AskAgain,
        ] {
            assert_eq!(JoinAnswer::decode(&answer.encode(), b"s"), Some(answer));
        }
    }

    #[test]
    fn cut_or_malformed_it_is_refused() {
        let whole = request().encode();
        assert!((0..whole.len()).all(|len| JoinRequest::decode(&whole[..len]).is_none()));
        for (good, bad) in [
            ("n4.example", "n4\nnode"),
            ("n4.example", "n4/"),
            (" 7000", " 65535"),
            ("17000", "65535"),
            (" 7000", " 0"),
            (" 2\n", " 0\n"),
            (" 2\n", " 2 \n"),
            (" 2\n", " 2 rack 7\n"),
        ] {
            let text = String::from_utf8(whole.clone()).unwrap();
            assert!(text.contains(good));
            assert_eq!(
                JoinRequest::decode(text.replacen(good, bad, 1).as_bytes()),
                None,
                "{bad}"
            );
        }
        let whole = JoinAnswer::Accepted(Box::new(list_for_tests(3, 3))).encode();
        assert!((0..whole.len()).all(|len| JoinAnswer::decode(&whole[..len], b"s").is_none()));
    }
}
