//! Links between cores of different nodes, over real sockets: they open, carry frames whole and in order, turn strangers
//! away and come back.
#![allow(clippy::disallowed_methods, reason = "strangers are ordinary sockets")]

mod nodes;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use bytes::Bytes;
use nodes::{HANG, Node, connected, frame, identity, turn_until};
use slotcore_netio::peer::{Identity, LinkEnd, PeerEvent, PeerId, PeerOptions, Refusal};
use slotcore_rt::rng::SeededRng;

#[test]
fn frames_of_all_sizes_arrive_whole_and_in_order_both_ways() {
    let (mut a, mut b) = (Node::new(1), Node::new(2));
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
    assert!(!a.net.send(PeerId(3), frame(1, 1)), "nobody knows 3");
}

#[test]
fn a_lost_link_comes_back_whoever_was_lost() {
    for lost in [1, 2] {
        let (mut a, mut b) = (Node::new(1), Node::new(2));
        connected(&mut a, &mut b);
        let (gone, mut left) = if lost == 1 { (a, b) } else { (b, a) };
        let id = gone.id;
        drop(gone);
        turn_until(&mut [&mut left], "the loss", |nodes| {
            nodes[0].saw(|event| matches!(event, PeerEvent::Down(peer, _) if *peer == id))
        });
        assert!(!left.net.send(id, frame(1, 1)));
        // It comes back at another address.
        let mut back = Node::new(id.0);
        back.wants(&[(left.id, left.address)]);
        left.wants(&[(back.id, back.address)]);
        turn_until(&mut [&mut back, &mut left], "a link again", |nodes| {
            nodes.iter().all(|node| node.net.open_count() == 1)
        });
        assert!(left.net.send(id, frame(9, 9)));
        turn_until(&mut [&mut back, &mut left], "a frame", |nodes| {
            nodes[0].frames() == [frame(9, 9)]
        });
    }
}

#[test]
fn strangers_are_turned_away_and_told_why() {
    let mut node = Node::new(2);
    node.wants(&[(PeerId(1), "127.0.0.1:1".parse().unwrap())]);
    // A client of the wrong port.
    let mut client = TcpStream::connect(node.address).unwrap();
    client.write_all(b"*1\r\n$4\r\nPING\r\n").unwrap();
    let refused = LinkEnd::Refused {
        why: Refusal::NotAPeer,
        told: false,
    };
    turn_until(&mut [&mut node], "a refusal", |nodes| {
        nodes[0].saw(|event| *event == PeerEvent::Failed(None, refused.clone()))
    });
    (0..5).for_each(|_| node.turn());
    let mut said = Vec::new();
    client.set_read_timeout(Some(HANG)).unwrap();
    // It may end with a reset: what the client sent was not read to the end.
    let _ = client.read_to_end(&mut said);
    assert_eq!(said, b"SLNO\x01");

    for (other, why) in [
        (
            Identity {
                secret: b"?".to_vec(),
                ..identity(1)
            },
            Refusal::Proof,
        ),
        (
            Identity {
                cluster: 1,
                ..identity(1)
            },
            Refusal::Cluster,
        ),
    ] {
        let mut other = Node::with(other, PeerOptions::default(), "127.0.0.1:0".parse().unwrap());
        other.wants(&[(node.id, node.address)]);
        turn_until(&mut [&mut node, &mut other], "a refusal", |nodes| {
            let refused =
                |event: &PeerEvent| matches!(event, PeerEvent::Failed(_, LinkEnd::Refused { why: w, .. }) if *w == why);
            nodes.iter().all(|node| node.saw(refused))
        });
        assert_eq!(node.net.open_count() + other.net.open_count(), 0);
    }

    // One of the cluster whom nobody has announced.
    let mut unknown = Node::new(0);
    unknown.wants(&[(node.id, node.address)]);
    turn_until(&mut [&mut node, &mut unknown], "no link", |nodes| {
        nodes[0].saw(|event| matches!(event, PeerEvent::Failed(_, LinkEnd::Unwanted)))
    });
}

#[test]
fn a_frame_that_cannot_be_ends_the_link_and_nothing_else() {
    let options = PeerOptions {
        frame_bytes_max: 1000,
        ..PeerOptions::default()
    };
    let mut a = Node::new(1);
    let mut b = Node::with(identity(2), options, "127.0.0.1:0".parse().unwrap());
    connected(&mut a, &mut b);
    assert!(a.net.send(b.id, frame(996, 1)));
    assert!(a.net.send(b.id, frame(997, 2)));
    turn_until(&mut [&mut a, &mut b], "the end", |nodes| {
        nodes[1].saw(|event| *event == PeerEvent::Down(PeerId(1), LinkEnd::FrameLength(1001)))
    });
    assert_eq!(b.frames(), [frame(996, 1)]);
    turn_until(&mut [&mut a, &mut b], "a link again", |nodes| {
        nodes[0].net.open_count() == 1
    });
}

#[test]
fn a_peer_that_takes_nothing_is_given_up_at_the_limit() {
    let options = PeerOptions {
        unsent_bytes_max: 8 << 20,
        ..PeerOptions::default()
    };
    let mut a = Node::with(identity(1), options, "127.0.0.1:0".parse().unwrap());
    let mut b = Node::new(2);
    connected(&mut a, &mut b);
    // The other one does not turn: what the kernel does not take stays here.
    let mut sent = 0;
    while a.net.send(b.id, frame(1 << 20, 1)) {
        a.turn();
        sent += 1;
        assert!(sent < 1000, "the kernel does not take a gigabyte");
    }
    assert!(a.events.is_empty() || a.saw(|event| matches!(event, PeerEvent::Up(_))));
    a.turn();
    assert!(a.saw(|event| *event == PeerEvent::Down(PeerId(2), LinkEnd::Backlog)));
}

#[test]
fn who_is_wanted_no_more_is_let_go() {
    let (mut a, mut b) = (Node::new(1), Node::new(2));
    connected(&mut a, &mut b);
    b.wants(&[]);
    turn_until(&mut [&mut a, &mut b], "the end", |nodes| {
        nodes[1].saw(|event| *event == PeerEvent::Down(PeerId(1), LinkEnd::Unwanted))
            && nodes[0].saw(|event| matches!(event, PeerEvent::Down(PeerId(2), _)))
    });
    // It tries again, with less and less haste, and is turned away.
    turn_until(&mut [&mut a, &mut b], "two more tries", |nodes| {
        let away = |event: &&PeerEvent| {
            matches!(
                event,
                PeerEvent::Failed(Some(PeerId(2)), LinkEnd::Closed | LinkEnd::Io(_))
            )
        };
        let up = nodes[0]
            .events
            .iter()
            .filter(|event| matches!(event, PeerEvent::Up(_)))
            .count();
        nodes[0].events.iter().filter(away).count() + up > 2
    });
    assert_eq!(b.net.open_count(), 0);
}

/// Core 0 of a node of a cluster.
fn answerer() -> Node {
    Node::new(2 << 16)
}

/// One who knows the secret, and of no cluster.
fn asker() -> Node {
    asker_like(Identity {
        cluster: 0,
        ..identity(0)
    })
}

fn asker_like(identity: Identity) -> Node {
    Node::with(identity, PeerOptions::default(), "127.0.0.1:0".parse().unwrap())
}

/// What comes of a question to `node`, which answers what it is asked in capitals.
fn ask(asker: &mut Node, node: &mut Node, question: &[u8]) -> Result<Bytes, LinkEnd> {
    asker.net.ask(node.address, question);
    let mut answered = None;
    turn_until(&mut [asker, node], "an answer", |nodes| {
        while let Some(at) = nodes[1]
            .events
            .iter()
            .position(|event| matches!(event, PeerEvent::Asked(..)))
        {
            if let Some(PeerEvent::Asked(who, said)) = nodes[1].events.remove(at) {
                nodes[1].net.answer(who, &said.to_ascii_uppercase());
            }
        }
        nodes[0].events.retain(|event| match event {
            PeerEvent::Answered(answer) => {
                answered = Some(answer.clone());
                false
            }
            _ => true,
        });
        answered.is_some()
    });
    answered.unwrap()
}

#[test]
fn who_knows_the_secret_asks_and_is_answered() {
    let (mut asker, mut node) = (asker(), answerer());
    for len in [0, 1, 4096] {
        let answer = ask(&mut asker, &mut node, &vec![b'a'; len]);
        assert_eq!(answer, Ok(vec![b'A'; len].into()));
    }
    // A member, too, can ask.
    let mut member = Node::new(7 << 16);
    assert_eq!(ask(&mut member, &mut node, b"who?"), Ok("WHO?".into()));
    assert_eq!(node.net.open_count() + asker.net.open_count(), 0);
    assert!(
        !node.saw(|event| matches!(event, PeerEvent::Failed(..))),
        "{:?}",
        node.events
    );
}

#[test]
fn who_may_not_ask_is_told_why_and_nothing_is_heard_of_him() {
    let refused = |why, told| Err(LinkEnd::Refused { why, told });
    let mut node = answerer();
    let mut ignorant = asker_like(Identity {
        secret: b"?".to_vec(),
        ..identity(0)
    });
    assert_eq!(ask(&mut ignorant, &mut node, b"x"), refused(Refusal::Proof, false));
    let mut foreign = asker_like(Identity {
        cluster: 1,
        ..identity(0)
    });
    assert_eq!(ask(&mut foreign, &mut node, b"x"), refused(Refusal::Cluster, true));
    let mut second_core = Node::new(2 << 16 | 1);
    assert_eq!(
        ask(&mut asker(), &mut second_core, b"x"),
        refused(Refusal::WrongCore, true)
    );
    assert!(
        ask(&mut asker(), &mut Node::new(0), b"x").is_err(),
        "who has no number cannot tell"
    );
    // Nobody listens there.
    let mut lonely = asker();
    let nowhere: SocketAddr = "127.0.0.1:1".parse().unwrap();
    lonely.net.ask(nowhere, b"x");
    turn_until(&mut [&mut lonely], "a failure", |nodes| {
        nodes[0].saw(|event| *event == PeerEvent::Answered(Err(LinkEnd::Io(libc::ECONNREFUSED))))
    });
}

#[test]
fn a_node_that_was_removed_is_told_so() {
    let (mut node, mut gone) = (answerer(), Node::new(1 << 16));
    node.net.set_removed([identity(gone.id.0).incarnation].into());
    node.wants(&[(gone.id, gone.address)]);
    gone.wants(&[(node.id, node.address)]);
    turn_until(&mut [&mut node, &mut gone], "a refusal", |nodes| {
        nodes[1].saw(|event| {
            let (why, told) = (Refusal::Removed, true);
            matches!(event, PeerEvent::Failed(_, end) if *end == LinkEnd::Refused { why, told })
        })
    });
    // Which nothing has proved; but it may ask.
    assert_eq!(ask(&mut gone, &mut node, b"removed?"), Ok("REMOVED?".into()));
}

#[test]
fn bytes_that_are_no_hello_reach_nobody() {
    let mut node = answerer();
    let mut hello = b"SLPR\x03".to_vec();
    hello.resize(69, 0);
    let long = [&hello[..], &[7; 60_000]].concat();
    let of_version_4 = [b"SLPR\x04", &hello[5..]].concat();
    let refusals = [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], 1),
        (&of_version_4, 2),
        (&long, 5),
        (&[&b"SLPR\x03"[..], &[9; 64]].concat(), 3),
    ];
    for (bytes, reason) in refusals.iter() {
        let mut stranger = TcpStream::connect(node.address).unwrap();
        stranger.write_all(bytes).unwrap();
        turn_until(&mut [&mut node], "a refusal", |nodes| {
            let refused = |event: &PeerEvent| matches!(event, PeerEvent::Failed(None, LinkEnd::Refused { why, .. }) if *why as u8 == *reason);
            nodes[0].saw(refused)
        });
        node.events.clear();
    }
    // Cut off anywhere.
    for len in [0, 4, 5, 68, 69] {
        let mut stranger = TcpStream::connect(node.address).unwrap();
        stranger.write_all(&hello[..len]).unwrap();
        drop(stranger);
        turn_until(&mut [&mut node], "the end", |nodes| {
            nodes[0].saw(|event| matches!(event, PeerEvent::Failed(None, LinkEnd::Closed | LinkEnd::Io(_))))
        });
        node.events.clear();
    }
    assert_eq!(ask(&mut asker(), &mut node, b"still there?"), Ok("STILL THERE?".into()));
}

#[test]
fn a_flood_of_askers_and_strangers_is_bounded_and_keeps_nobody_out() {
    let (mut node, mut asker) = (answerer(), asker());
    for _ in 0..40 {
        asker.net.ask(node.address, b"me first");
    }
    let ends = |node: &Node| {
        node.events
            .iter()
            .filter(|e| matches!(e, PeerEvent::Answered(_)))
            .count()
    };
    turn_until(&mut [&mut asker, &mut node], "refusals", |nodes| ends(nodes[0]) >= 32);
    let heard: Vec<_> = (node.events.iter())
        .filter_map(|event| match event {
            PeerEvent::Asked(who, _) => Some(*who),
            _ => None,
        })
        .collect();
    assert_eq!(heard.len(), 8);
    for who in heard {
        node.net.answer(who, b"yes");
        node.net.answer(who, b"and once more, which nobody hears");
    }
    turn_until(&mut [&mut asker, &mut node], "answers", |nodes| ends(nodes[0]) == 40);
    let yes = |event: &&PeerEvent| **event == PeerEvent::Answered(Ok("yes".into()));
    assert_eq!(asker.events.iter().filter(yes).count(), 8);
    asker.events.clear();

    // More connections that say nothing than are kept: the oldest go, and peers and askers get in all the same.
    let silent: Vec<TcpStream> = (0..100)
        .map(|_| {
            let stream = TcpStream::connect(node.address).unwrap();
            node.turn();
            stream
        })
        .collect();
    turn_until(&mut [&mut node], "the end of the oldest", |nodes| {
        let crowded = |event: &&PeerEvent| **event == PeerEvent::Failed(None, LinkEnd::Crowded);
        nodes[0].events.iter().filter(crowded).count() >= 36
    });
    assert_eq!(ask(&mut asker, &mut node, b"may i?"), Ok("MAY I?".into()));
    let mut peer = Node::new(1 << 16);
    connected(&mut peer, &mut node);
    drop(silent);
}
