//! The read lease, told as stories: `scripts/lease.txt`. `SLOTCORE_UPDATE=1 cargo test` rewrites the answers.

use std::collections::BTreeMap;
use std::time::Duration;

use slotcore_raft_shard::{Lease, LeaseEffect, LeaseInput};
use slotcore_rt::clock::Tick;
use slotcore_rt::ids::{LogIndex, Term};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts/lease.txt");

/// Plays one line; `None` for lines without an answer.
fn play(lease: &mut Lease, line: &str) -> Option<&'static str> {
    let mut words = line.split_whitespace();
    let verb = words.next()?;
    let numbers: BTreeMap<&str, u64> = words
        .filter_map(|word| word.split_once('='))
        .map(|(name, number)| (name, number.parse().unwrap()))
        .collect();
    let number = |name| {
        *numbers
            .get(name)
            .unwrap_or_else(|| panic!("{name}= is missing in: {line}"))
    };
    let term = || Term(number("term"));
    let input = match verb {
        "#" => return None,
        "lease" => {
            *lease = Lease::new(
                Duration::from_nanos(number("promise")),
                Duration::from_nanos(number("drift")),
            );
            return None;
        }
        "leading" => LeaseInput::Leading {
            term: term(),
            alone: false,
        },
        "leading-alone" => LeaseInput::Leading {
            term: term(),
            alone: true,
        },
        "not-leading" => LeaseInput::NotLeading,
        "quorum-ack" => LeaseInput::QuorumAck {
            term: term(),
            asked_at: Tick(number("asked-at")),
        },
        "applied" => LeaseInput::Applied {
            index: LogIndex(number("index")),
            term: term(),
        },
        "commit-sent" => LeaseInput::CommitSent {
            index: LogIndex(number("index")),
        },
        "transfer-begins" => LeaseInput::TransferBegins,
        "timer" => LeaseInput::TimerFired,
        _ => panic!("unknown line: {line}"),
    };
    let mut effects = Vec::new();
    lease.step(Tick(number("now")), input, &mut effects);
    match effects[..] {
        [LeaseEffect::ServeReads] => Some("serve-reads"),
        [LeaseEffect::StopReads] => Some("stop-reads"),
        _ => panic!("one answer per input: {effects:?}"),
    }
}

#[test]
#[allow(clippy::disallowed_methods)] // The script is a file of this repository.
fn the_lease_tells_its_stories() {
    let script = String::from_utf8(std::fs::read(SCRIPT).unwrap()).unwrap();
    let mut lease = Lease::new(Duration::ZERO, Duration::ZERO);
    let mut played = String::new();
    for line in script.lines() {
        let said = line.split("->").next().unwrap().trim_end();
        match play(&mut lease, said) {
            Some(answer) => played.push_str(&format!("{said:40} -> {answer}\n")),
            None => played.push_str(&format!("{said}\n")),
        }
    }
    if std::env::var_os("SLOTCORE_UPDATE").is_some() {
        return std::fs::write(SCRIPT, played).unwrap();
    }
    assert_eq!(
        script, played,
        "SLOTCORE_UPDATE=1 rewrites the script; read the difference"
    );
}

#[test]
fn a_read_waits_for_an_answer_to_what_was_asked_after_it() {
    let mut lease = Lease::new(Duration::from_nanos(10), Duration::ZERO);
    let term = Term(3);
    lease.learn(LeaseInput::Leading { term, alone: false });
    lease.learn(LeaseInput::QuorumAck {
        term,
        asked_at: Tick(50),
    });
    assert!(!lease.confirms(Tick(50)), "no entry of its term is executed");
    let index = LogIndex(7);
    lease.learn(LeaseInput::Applied { index, term });
    assert!(lease.confirms(Tick(50)) && !lease.confirms(Tick(51)));
    // Handing over does not matter: at 50 it led.
    lease.learn(LeaseInput::TransferBegins);
    assert!(lease.confirms(Tick(50)) && !lease.holds(Tick(51)));
    // An answer to an earlier leadership of its own says nothing.
    let asked_at = Tick(90);
    lease.learn(LeaseInput::QuorumAck {
        term: Term(2),
        asked_at,
    });
    assert!(!lease.confirms(Tick(90)));
    lease.learn(LeaseInput::CommitSent { index: LogIndex(8) });
    assert!(!lease.confirms(Tick(50)), "what others may have shown is not executed");
    let index = LogIndex(8);
    lease.learn(LeaseInput::Applied { index, term });
    assert!(lease.confirms(Tick(50)));
    lease.learn(LeaseInput::Leading {
        term: Term(4),
        alone: false,
    });
    assert!(!lease.confirms(Tick(1)), "another term, another quorum");
    lease.learn(LeaseInput::Leading {
        term: Term(5),
        alone: true,
    });
    lease.learn(LeaseInput::Applied {
        index: LogIndex(9),
        term: Term(5),
    });
    assert!(lease.confirms(Tick(500)));
}
