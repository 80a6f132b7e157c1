//! Links within TLS, over real sockets: they are as links without it are, and those of the other kind are turned away.

#[allow(dead_code, reason = "what other tests need more of it")]
mod authority;
#[allow(dead_code, reason = "what other tests need more of it")]
mod nodes;

use std::collections::BTreeMap;

use authority::Authority;
use nodes::{Node, connected, frame, identity, turn_until};
use slotcore_netio::peer::{Identity, LinkEnd, PeerEvent, PeerId, PeerOptions, PeerTls, Refusal, TlsEnd};
use slotcore_rt::rng::SeededRng;

fn options(authority: &Authority) -> PeerOptions {
    let signed = authority.signs("127.0.0.1");
    let (certificate, key) = (signed.certificate.as_bytes(), signed.key.as_bytes());
    PeerOptions {
        tls: Some(PeerTls::from_pem(certificate, key, authority.pem.as_bytes()).unwrap()),
        ..PeerOptions::default()
    }
}

fn node(identity: Identity, options: PeerOptions) -> Node {
    Node::with(identity, options, "127.0.0.1:0".parse().unwrap())
}

#[test]
fn frames_of_all_sizes_arrive_whole_and_in_order_both_ways() {
    let authority = Authority::new("ours");
    let (mut a, mut b) = (
        node(identity(1), options(&authority)),
        node(identity(2), options(&authority)),
    );
    connected(&mut a, &mut b);
    let mut rng = SeededRng::new(5);
    let sizes: Vec<usize> = (0..400)
        .map(|n| match n % 40 {
            39 => 3 << 20,
            _ => rng.below(5000) as usize,
        })
        .collect();
    let (mut at_a, mut at_b) = (Vec::new(), Vec::new());
    for (n, &size) in sizes.iter().enumerate() {
        assert!(a.net.send(b.id, frame(size, n as u8)));
        assert!(b.net.send(a.id, frame(size / 2, n as u8)));
    }
    turn_until(&mut [&mut a, &mut b], "all frames", |nodes| {
        at_a.extend(nodes[0].frames());
        at_b.extend(nodes[1].frames());
        at_a.len() >= sizes.len() && at_b.len() >= sizes.len()
    });
    for (n, &size) in sizes.iter().enumerate() {
        assert!(at_b[n] == frame(size, n as u8), "frame {n} of {size} bytes");
        assert!(at_a[n] == frame(size / 2, n as u8), "frame {n} of {} bytes", size / 2);
    }
}

#[test]
fn a_peer_that_takes_nothing_is_given_up_at_the_limit_and_the_link_comes_back() {
    let authority = Authority::new("ours");
    let few = PeerOptions {
        unsent_bytes_max: 8 << 20,
        ..options(&authority)
    };
    let (mut a, mut b) = (node(identity(1), few), node(identity(2), options(&authority)));
    connected(&mut a, &mut b);
    let mut sent = 0;
    while a.net.send(b.id, frame(1 << 20, 1)) {
        a.turn();
        sent += 1;
        assert!(sent < 1000, "the kernel does not take a gigabyte");
    }
    a.turn();
    assert!(a.saw(|event| *event == PeerEvent::Down(PeerId(2), LinkEnd::Backlog)));
    turn_until(&mut [&mut a, &mut b], "a link again", |nodes| {
        nodes[0].net.open_count() == 1 && nodes[1].saw(|event| matches!(event, PeerEvent::Down(..)))
    });
    b.frames();
    assert!(a.net.send(b.id, frame(9, 9)));
    turn_until(&mut [&mut a, &mut b], "a frame", |nodes| {
        nodes[1].frames().contains(&frame(9, 9))
    });
}

#[test]
fn links_of_the_other_kind_are_refused_and_both_sides_know_why() {
    let authority = Authority::new("ours");
    for (one, other) in [
        (options(&authority), PeerOptions::default()),
        (PeerOptions::default(), options(&authority)),
    ] {
        let (mut a, mut b) = (node(identity(1), one), node(identity(2), other));
        a.wants(&[(b.id, b.address)]);
        b.wants(&[(a.id, a.address)]);
        let refused = |told| {
            move |event: &PeerEvent| {
                let why = Refusal::Tls;
                matches!(event, PeerEvent::Failed(_, end) if *end == LinkEnd::Refused { why, told })
            }
        };
        turn_until(&mut [&mut a, &mut b], "a refusal", |nodes| {
            nodes[0].saw(refused(true)) && nodes[1].saw(refused(false))
        });
        assert_eq!(a.net.open_count() + b.net.open_count(), 0);
    }
}

#[test]
fn nodes_of_different_authorities_open_no_link() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let (mut a, mut b) = (node(identity(1), options(&ours)), node(identity(2), options(&theirs)));
    a.wants(&[(b.id, b.address)]);
    b.wants(&[(a.id, a.address)]);
    turn_until(&mut [&mut a, &mut b], "a refusal", |nodes| {
        nodes[0].saw(|event| matches!(event, PeerEvent::Failed(_, LinkEnd::Tls(TlsEnd::NotAccepted(_)))))
            && nodes[1].saw(|event| matches!(event, PeerEvent::Failed(_, LinkEnd::Tls(TlsEnd::ToldNotAccepted(_)))))
    });
    assert_eq!(a.net.open_count() + b.net.open_count(), 0);
}

#[test]
fn questions_are_answered_and_secrets_are_proved_as_without_it() {
    let authority = Authority::new("ours");
    let mut answerer = node(identity(2 << 16), options(&authority));
    let asks = |secret: &[u8]| Identity {
        cluster: 0,
        secret: secret.to_vec(),
        known: BTreeMap::new(),
        ..identity(0)
    };
    // Long enough for several sends.
    let long = vec![b'x'; 1 << 20];
    let mut asker = node(asks(b"secret"), options(&authority));
    asker.net.ask(answerer.address, b"who is there?");
    turn_until(&mut [&mut asker, &mut answerer], "an answer", |nodes| {
        let asked = nodes[1]
            .events
            .iter()
            .position(|event| matches!(event, PeerEvent::Asked(..)));
        if let Some(PeerEvent::Asked(who, _)) = asked.and_then(|at| nodes[1].events.remove(at)) {
            nodes[1].net.answer(who, &long);
        }
        nodes[0].saw(|event| matches!(event, PeerEvent::Answered(Ok(answer)) if *answer == long))
    });
    let mut stranger = node(asks(b"another"), options(&authority));
    stranger.net.ask(answerer.address, b"who is there?");
    let refused = LinkEnd::Refused {
        why: Refusal::Proof,
        told: false,
    };
    turn_until(&mut [&mut stranger, &mut answerer], "a refusal", |nodes| {
        nodes[0].saw(|event| *event == PeerEvent::Answered(Err(refused.clone())))
    });
}
