//! The driver on a real ring with real sockets: what arrives is what was sent, whatever the peer does.

mod echo;

use echo::{Client, Got, Server, reply, request};
use slotcore_netio::{NetOptions, UnsentLimit};
use slotcore_rt::clock::Tick;
use slotcore_rt::rng::SeededRng;
use std::time::Duration;

fn server() -> Server {
    Server::new(NetOptions::default())
}

#[test]
fn requests_split_anywhere_are_answered() {
    let mut server = server();
    let mut client = server.connect();
    let args: [&[u8]; 3] = [b"SET", b"key", b"va\r\nlue"];
    let (bytes, expected) = (request(&args), reply(&args));
    for cut in 1..bytes.len() {
        assert_eq!(client.send(&bytes[..cut]), cut);
        // The first piece has arrived, and was no request.
        server.turn();
        assert_eq!(client.send(&bytes[cut..]), bytes.len() - cut);
        assert_eq!(server.read(&mut client, expected.len()), expected, "cut at {cut}");
    }
}

#[test]
fn quoted_lines_among_others_are_answered_in_order() {
    let mut server = server();
    let mut client = server.connect();
    let lines = b"A \"b c\"\r\n*1\r\n$1\r\nD\r\n'e\\'' \"\\x00\"\nF g\n";
    let words: [&[u8]; 7] = [b"A", b"b c", b"D", b"e'", b"\0", b"F", b"g"];
    let expected = reply(&words);
    for cut in 1..lines.len() {
        server.send(&mut client, &lines[..cut]);
        server.turn();
        server.send(&mut client, &lines[cut..]);
        assert_eq!(server.read(&mut client, expected.len()), expected, "cut at {cut}");
    }
    server.send(&mut client, b"\"a\"b\r\n");
    let error = b"-ERR Protocol error: unbalanced quotes in request\r\n";
    assert_eq!(server.read_to_end(&mut client), error);
}

#[test]
fn a_burst_of_requests_is_answered_in_order() {
    const COMMANDS: usize = 100_000;
    let mut server = server();
    let mut client = server.connect();
    let (mut sent, mut expected) = (Vec::new(), Vec::new());
    for n in 0..COMMANDS {
        let n = n.to_string();
        sent.extend_from_slice(&request(&[b"ECHO", n.as_bytes()]));
        expected.extend_from_slice(&reply(&[b"ECHO", n.as_bytes()]));
    }
    // All is sent before the first reply is read, as far as buffers allow.
    let (mut at, mut got, mut piece) = (0, Vec::new(), vec![0; 1 << 20]);
    while got.len() < expected.len() {
        let n = if at < sent.len() { client.send(&sent[at..]) } else { 0 };
        at += n;
        if n == 0 {
            match client.read(&mut piece) {
                Got::Bytes(n) => got.extend_from_slice(&piece[..n]),
                Got::Nothing => server.turn(),
                ended => panic!("{ended:?} after {} of {} bytes", got.len(), expected.len()),
            }
        }
    }
    assert!(got == expected, "replies are not those that were asked for, in order");
    assert_eq!(server.requests, COMMANDS as u64);
}

#[test]
fn ten_mebibytes_go_in_and_come_out() {
    let mut server = server();
    let mut client = server.connect();
    let mut value = vec![0; 10 << 20];
    SeededRng::new(3).fill(&mut value);
    let args: [&[u8]; 3] = [b"SET", b"k", &value];
    server.send(&mut client, &request(&args));
    let expected = reply(&args);
    assert!(server.read(&mut client, expected.len()) == expected);
}

#[test]
fn many_large_arguments_of_one_request_arrive() {
    let mut server = server();
    let mut client = server.connect();
    let value = vec![b'v'; (1 << 20) + 17];
    let args: Vec<&[u8]> = std::iter::once(&b"MSET"[..])
        .chain(std::iter::repeat_n(&value[..], 6))
        .collect();
    let bytes = request(&args);
    // Each piece ends between two arguments, where no length tells how much is still to come.
    for piece in bytes.chunks(value.len() + 12) {
        server.send(&mut client, piece);
        server.settle();
    }
    let expected = reply(&args);
    assert!(server.read(&mut client, expected.len()) == expected);
}

#[test]
fn delayed_replies_pass_over_so_many_flushes_and_no_more() {
    let mut server = server();
    let mut client = server.connect();
    let id = server.net.ids().next().expect("the client is connected");
    let (bytes, expected) = (request(&[b"one"]), reply(&[b"one"]));
    server.net.delay(id, 2);
    server.send(&mut client, &bytes);
    server.until(|server| server.requests == 1);
    let mut piece = [0; 64];
    for _ in 0..2 {
        assert!(server.net.has_delayed());
        assert_eq!(client.read(&mut piece), Got::Nothing);
        server.turn_at_once();
    }
    assert!(!server.net.has_delayed());
    assert_eq!(server.read(&mut client, expected.len()), expected);

    // What comes meanwhile goes along; and a delay that is taken back is over.
    server.net.delay(id, u8::MAX);
    for sent in 2..=3 {
        server.send(&mut client, &bytes);
        server.until(|server| server.requests == sent);
    }
    assert_eq!(client.read(&mut piece), Got::Nothing);
    server.net.delay(id, 0);
    server.turn_at_once();
    assert_eq!(server.read(&mut client, 2 * expected.len()), expected.repeat(2));

    // Much to send is sent.
    server.net.delay(id, u8::MAX);
    let big = [b'x'; 20_000];
    server.send(&mut client, &request(&[&big]));
    assert_eq!(server.read(&mut client, reply(&[&big]).len()), reply(&[&big]));
}

#[test]
fn whoever_never_reads_costs_little_and_gets_everything_later() {
    const REPLY: usize = 100_000;
    const REPLIES: usize = 3_000;
    let mut server = Server::new(NetOptions {
        unread_bytes_pause: 4 << 10,
        ..NetOptions::default()
    });
    let mut client = server.connect();
    let mut rest = request(&[b"BIG", b"100000"]).repeat(REPLIES);
    // Until the server has stopped reading and the kernel's buffers are full, or all is sent.
    loop {
        let n = client.send(&rest);
        rest.drain(..n);
        if (n == 0 || rest.is_empty()) && server.settle() == 0 {
            break;
        }
    }
    assert!(
        server.requests < REPLIES as u64 / 2,
        "{} were executed",
        server.requests
    );
    let pause = NetOptions::default().unsent_bytes_pause;
    assert!(
        server.unsent_peak <= pause + REPLY + 64,
        "{} unsent",
        server.unsent_peak
    );
    // What the kernel had received before it was stopped is taken over in one piece.
    let memory_max = 4 * pause + 2 * usize::from(NetOptions::default().buffers) * NetOptions::default().buffer_bytes;
    assert!(server.memory_peak < memory_max, "{} bytes", server.memory_peak);
    // Others are served meanwhile.
    let mut other = server.connect();
    server.send(&mut other, &request(&[b"PING"]));
    assert_eq!(server.read(&mut other, 10), reply(&[b"PING"]));

    let one = [format!("${REPLY}\r\n").as_bytes(), &vec![b'x'; REPLY], b"\r\n"].concat();
    let expected = one.len() * REPLIES;
    let (mut got, mut piece) = (0, vec![0; 1 << 20]);
    while got < expected {
        if !rest.is_empty() {
            let n = client.send(&rest);
            rest.drain(..n);
        }
        match client.read(&mut piece) {
            Got::Bytes(n) => {
                let wrong = piece[..n]
                    .iter()
                    .zip(one.iter().cycle().skip(got % one.len()))
                    .position(|(a, b)| a != b);
                assert_eq!(wrong, None, "after {got} bytes");
                got += n;
            }
            Got::Nothing => server.turn(),
            ended => panic!("{ended:?} after {got} of {expected} bytes"),
        }
    }
    assert_eq!(server.closed, 0);
    assert_eq!(client.read(&mut piece), Got::Nothing);
}

#[test]
fn replies_still_come_after_the_client_has_ended_its_side() {
    let mut server = server();
    let mut client = server.connect();
    server.send(&mut client, &request(&[b"BIG", b"5000000"]).repeat(3));
    client.end();
    let bytes = server.read_to_end(&mut client);
    assert_eq!(bytes.len(), 3 * 5_000_012);
    server.until(|server| server.closed == 1);
}

#[test]
fn a_half_request_before_the_end_is_dropped() {
    let mut server = server();
    let mut client = server.connect();
    server.send(&mut client, &request(&[b"A"]));
    server.send(&mut client, b"*2\r\n$3\r\nGE");
    client.end();
    assert_eq!(server.read_to_end(&mut client), reply(&[b"A"]));
    server.until(|server| server.closed == 1);
    assert_eq!(server.net.open_count(), 0);
}

#[test]
fn a_reset_in_mid_command_ends_that_connection_only() {
    let mut server = server();
    let mut other = server.connect();
    let mut client = server.connect();
    server.send(&mut client, b"*2\r\n$3\r\nGET\r\n$100\r\nabc");
    server.settle();
    client.reset();
    server.until(|server| server.closed == 1);
    // Also while replies are being sent.
    let mut client = server.connect();
    server.send(&mut client, &request(&[b"BIG", b"50000000"]));
    server.settle();
    client.reset();
    server.until(|server| server.closed == 2);
    server.send(&mut other, &request(&[b"PING"]));
    assert_eq!(server.read(&mut other, 10), reply(&[b"PING"]));
    assert_eq!((server.net.open_count(), server.net.unsent()), (1, 0));
}

#[test]
fn a_malformed_request_is_told_so_although_more_input_waits() {
    let mut server = server();
    let mut client = server.connect();
    // Enough behind it that the kernel holds unread input when the connection is closed: a plain close would reset it,
    // and with it the replies that are still on their way.
    let mut bytes = request(&[b"BIG", b"3000000"]);
    bytes.extend_from_slice(b"*1\r\n!bad\r\n");
    bytes.resize(8 << 20, b'z');
    let mut at = 0;
    while at < bytes.len() {
        let n = client.send(&bytes[at..]);
        at += n;
        if n == 0 && server.settle() == 0 {
            break;
        }
    }
    let got = server.read_to_end(&mut client);
    let error = b"-ERR Protocol error: expected '$', got '!'\r\n";
    assert_eq!(got.len(), 3_000_012 + error.len());
    assert!(got.ends_with(error));
    drop(client);
    server.until(|server| server.closed == 1);
}

#[test]
fn quit_is_answered_and_what_follows_is_not() {
    let mut server = server();
    let mut client = server.connect();
    let bytes = [request(&[b"A"]), request(&[b"QUIT"]), request(&[b"B"])].concat();
    server.send(&mut client, &bytes);
    let got = server.read_to_end(&mut client);
    assert_eq!(got, [reply(&[b"A"]), b"+OK\r\n".to_vec()].concat());
    drop(client);
    server.until(|server| server.closed == 1);
}

#[test]
fn hundreds_of_connections_come_and_go() {
    let mut server = server();
    let mut rng = SeededRng::new(5);
    let mut clients: Vec<Client> = Vec::new();
    let mut made = 0;
    while made < 600 {
        if clients.len() < 100 && rng.below(2) == 0 {
            clients.push(Client::connect(server.address));
            made += 1;
        }
        if !clients.is_empty() && rng.below(3) == 0 {
            let at = rng.index(clients.len());
            server.send(&mut clients[at], &request(&[b"PING"]));
            assert_eq!(server.read(&mut clients[at], 10), reply(&[b"PING"]));
        }
        if clients.len() > 50 && rng.below(2) == 0 {
            let client = clients.swap_remove(rng.index(clients.len()));
            match rng.below(2) {
                0 => client.reset(),
                _ => drop(client),
            }
        }
    }
    server.settle();
    // One that was reset before it was accepted was never there.
    assert!(server.opened <= made && server.opened > made / 2);
    assert_eq!(server.net.open_count(), clients.len());
    drop(clients);
    server.until(|server| server.closed == server.opened);
    assert_eq!(server.net.ids().count(), 0);
}

#[test]
fn one_connection_too_many_is_told_so() {
    let mut server = Server::new(NetOptions {
        clients_max: 1,
        ..NetOptions::default()
    });
    let first = server.connect();
    let mut second = Client::connect(server.address);
    assert_eq!(
        server.read_to_end(&mut second),
        b"-ERR max number of clients reached\r\n"
    );
    assert_eq!(server.net.stats().rejected, 1);
    drop(first);
    server.until(|server| server.closed == 1);
    let mut third = server.connect();
    server.send(&mut third, &request(&[b"PING"]));
    assert_eq!(server.read(&mut third, 10), reply(&[b"PING"]));
}

#[test]
fn a_request_above_the_limit_closes_its_connection_only() {
    let mut server = Server::new(NetOptions {
        request_bytes_max: 2 << 20,
        ..NetOptions::default()
    });
    let mut other = server.connect();
    let mut client = server.connect();
    // What waits although it is whole does not count.
    server.send(&mut client, &request(&[b"PING"]).repeat(400_000));
    server.read(&mut client, 400_000 * 10);
    server.send(&mut client, b"*2\r\n$3\r\nSET\r\n$9000000\r\n");
    let piece = vec![b'v'; 64 << 10];
    let mut sent = 0;
    while server.closed == 0 {
        assert!(sent < 64 << 20, "nobody ends this");
        sent += client.try_send(&piece).unwrap_or_default();
        server.turn_at_once();
    }
    assert_eq!(server.net.stats().closed_for_input, 1);
    server.send(&mut other, &request(&[b"PING"]));
    assert_eq!(server.read(&mut other, 10), reply(&[b"PING"]));
}

#[test]
fn replies_above_the_hard_limit_close_the_connection() {
    let mut server = Server::new(NetOptions {
        unsent_limit: UnsentLimit {
            hard_bytes: 8 << 20,
            ..UnsentLimit::default()
        },
        ..NetOptions::default()
    });
    let mut client = server.connect();
    server.send(&mut client, &request(&[b"BIG", b"8000000"]));
    server.read(&mut client, 8_000_012);
    assert_eq!(server.net.stats().closed_for_output, 0);
    server.send(&mut client, &request(&[b"BIG", b"9000000"]));
    server.until(|server| server.closed == 1);
    assert_eq!(server.net.stats().closed_for_output, 1);
}

#[test]
fn replies_above_the_soft_limit_close_the_connection_after_a_while() {
    let second = |s| Tick::ZERO + Duration::from_secs(s);
    let limit = UnsentLimit {
        hard_bytes: 0,
        soft_bytes: 100_000,
        soft_time: Duration::from_secs(10),
    };
    let mut server = Server::new(NetOptions {
        unsent_limit: limit,
        ..NetOptions::default()
    });
    let mut client = server.connect();
    // The kernel takes some megabytes; the rest is ours.
    server.send(&mut client, &request(&[b"BIG", b"30000000"]));
    server.until(|server| server.requests == 1);
    server.net.enforce_soft_limit(second(100));
    server.net.enforce_soft_limit(second(110));
    // A moment below the limit, and the time begins anew.
    server.read(&mut client, 30_000_013);
    server.net.enforce_soft_limit(second(111));
    server.send(&mut client, &request(&[b"BIG", b"30000000"]));
    server.until(|server| server.requests == 2);
    server.net.enforce_soft_limit(second(112));
    server.net.enforce_soft_limit(second(122));
    server.turn_at_once();
    assert_eq!(server.closed, 0);
    server.net.enforce_soft_limit(second(123));
    server.until(|server| server.closed == 1);
    assert_eq!(server.net.stats().closed_for_output, 1);
    // Without the limit nobody is closed.
    server
        .net
        .set_unsent_limits(UnsentLimit::default(), UnsentLimit::default());
    let mut client = server.connect();
    server.send(&mut client, &request(&[b"BIG", b"30000000"]));
    server.until(|server| server.requests == 3);
    server.net.enforce_soft_limit(second(200));
    server.net.enforce_soft_limit(second(300));
    server.read(&mut client, 30_000_013);
}

#[test]
fn receiving_goes_on_after_all_buffers_were_in_use() {
    let mut server = Server::new(NetOptions {
        buffers: 4,
        buffer_bytes: 4096,
        ..NetOptions::default()
    });
    let mut clients: Vec<Client> = (0..16).map(|_| server.connect()).collect();
    let value = vec![b'v'; 20_000];
    let args: [&[u8]; 2] = [b"ECHO", &value];
    let (bytes, expected) = (request(&args), reply(&args));
    for _ in 0..5 {
        for client in &mut clients {
            assert_eq!(client.send(&bytes), bytes.len());
        }
        for client in &mut clients {
            assert!(server.read(client, expected.len()) == expected);
        }
    }
    assert!(server.net.stats().buffer_shortages > 0, "the case was not met");
}
