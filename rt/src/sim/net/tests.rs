//! What nodes hear over good links and bad ones.

use std::time::Duration;

use super::*;

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const LIMIT: Duration = Duration::from_secs(60);

/// Everything B hears while A sends `count` numbers with pauses, until a second of silence.
fn heard(seed: u64, quality: LinkQuality, count: u32) -> Vec<NetEvent<u32>> {
    let sim = Sim::new(seed);
    let net = SimNet::new(&sim);
    net.set_quality(quality);
    let (a, b) = (net.join(A), net.join(B));
    sim.spawn_on(A, async move {
        for number in 0..count {
            a.send(B, number);
            exec::sleep(Duration::from_micros(10)).await;
        }
        std::future::pending::<()>().await;
    });
    let events = async move {
        let mut events = Vec::new();
        while let Ok(event) = exec::timeout(Duration::from_secs(1), b.recv()).await {
            events.push(event);
        }
        events
    };
    sim.block_on(LIMIT, events).unwrap()
}

fn numbers(events: &[NetEvent<u32>]) -> Vec<u32> {
    let body = |event: &NetEvent<u32>| match event {
        NetEvent::Message { body, .. } => Some(*body),
        NetEvent::Reset { .. } => None,
    };
    events.iter().filter_map(body).collect()
}

#[test]
fn a_healthy_link_delivers_everything_in_order() {
    let events = heard(1, LinkQuality::default(), 100);
    assert_eq!(numbers(&events), (0..100).collect::<Vec<_>>());
    assert_eq!(events, heard(1, LinkQuality::default(), 100));
}

#[test]
fn a_lossy_link_loses_runs_and_says_so() {
    let events = heard(
        2,
        LinkQuality {
            reset: Rate::new(1, 20),
            ..LinkQuality::default()
        },
        400,
    );
    let numbers = numbers(&events);
    assert!(numbers.len() > 100 && numbers.len() < 400, "{}", numbers.len());
    assert!(numbers.is_sorted());
    assert!(events.contains(&NetEvent::Reset { peer: A }));
}

#[test]
fn duplicates_follow_their_original() {
    let numbers = numbers(&heard(
        3,
        LinkQuality {
            duplicate: Rate::new(1, 4),
            ..LinkQuality::default()
        },
        100,
    ));
    assert!(numbers.len() > 110 && numbers.is_sorted());
}

#[test]
fn a_one_way_block_silences_one_way_and_healing_ends_it() {
    let sim = Sim::new(4);
    let net = SimNet::new(&sim);
    net.block(A, B);
    let (a, b, healer) = (net.join(A), net.join(B), net.clone());
    let (at_a, at_b) = sim
        .block_on(LIMIT, async move {
            a.send(B, 1);
            b.send(A, 2);
            let mut at_a = vec![a.recv().await, a.recv().await];
            assert!(exec::timeout(Duration::from_secs(5), b.recv()).await.is_err());
            healer.heal();
            a.send(B, 3);
            let at_b = b.recv().await;
            at_a.extend(exec::timeout(Duration::from_secs(5), a.recv()).await);
            (at_a, at_b)
        })
        .unwrap();
    assert_eq!(
        at_a,
        [NetEvent::Message { from: B, body: 2 }, NetEvent::Reset { peer: B }]
    );
    assert_eq!(at_b, NetEvent::Message { from: A, body: 3 });
}

#[test]
fn a_partition_cuts_both_ways_and_a_node_that_is_down_resets() {
    let sim = Sim::new(5);
    let net = SimNet::new(&sim);
    let (a, b) = (net.join(A), net.join(B));
    net.partition(&[A], &[B]);
    let ended = sim.block_on(LIMIT, async move {
        a.send(B, 1);
        b.send(A, 2);
        assert_eq!(
            (a.recv().await, b.recv().await),
            (NetEvent::Reset { peer: B }, NetEvent::Reset { peer: A })
        );
        a.net.heal();
        drop(b);
        a.send(B, 3);
        assert_eq!(a.recv().await, NetEvent::Reset { peer: B });
        let b = a.net.join(B);
        a.send(B, 4);
        b.recv().await
    });
    assert_eq!(ended, Some(NetEvent::Message { from: A, body: 4 }));
    assert_eq!(net.delivered(), 1);
}

#[test]
fn a_slow_link_is_slow_alone() {
    let sim = Sim::new(6);
    let net = SimNet::new(&sim);
    let slow = Duration::from_secs(1);
    net.set_link_quality(
        A,
        B,
        LinkQuality {
            delay_min: slow,
            delay_max: slow,
            ..LinkQuality::default()
        },
    );
    let (a, b) = (net.join(A), net.join(B));
    let times = sim.block_on(LIMIT, async move {
        a.send(B, 1);
        b.send(A, 2);
        a.recv().await;
        let back = exec::now();
        b.recv().await;
        (back, exec::now())
    });
    let (back, there) = times.unwrap();
    assert!(back.since(Tick::ZERO) < Duration::from_millis(1) && there.since(Tick::ZERO) >= slow);
}
