//! The request decoder: split anywhere it finds the same, and what it finds is what redis-protocol finds.

mod differential;

use differential::{Found, bulk_strings, decode};
use redis_protocol::resp2::decode::decode as oracle;
use redis_protocol::resp2::types::OwnedFrame;
use slotcore_netio::resp::decode::Limits;
use slotcore_rt::rng::SeededRng;

fn every_split(input: &[u8], limits: &Limits) -> Found {
    let whole = decode(input, [], limits);
    for cut in 0..=input.len() {
        assert_eq!(
            decode(input, [cut], limits),
            whole,
            "cut at {cut} of {:?}",
            String::from_utf8_lossy(input)
        );
    }
    assert_eq!(decode(input, 0..input.len(), limits), whole, "byte by byte");
    whole
}

#[test]
fn requests_split_anywhere_are_the_same_requests() {
    let limits = Limits::default();
    let corpus: &[(&[u8], usize)] = &[
        (b"*1\r\n$4\r\nPING\r\n", 1),
        (
            b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nva\r\nl\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n",
            2,
        ),
        (b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n", 1),
        (b"PING\r\nSET a  b\nGET a\r\n", 3),
        (b"\r\n*0\r\n*-1\r\nPING\r\n", 1),
        (b"*1\r\n$12\r\nabcdefghijkl\r\n*1\r\n$2\r\nxy\r\n", 2),
    ];
    for (input, count) in corpus {
        let (requests, error) = every_split(input, &limits);
        assert_eq!(
            (requests.len(), error),
            (*count, None),
            "{:?}",
            String::from_utf8_lossy(input)
        );
    }
}

/// A line, and the words that redis-server 7.0 finds in it (`None`: unbalanced quotes).
type Line = (&'static [u8], Option<&'static [&'static [u8]]>);

const LINES: &[Line] = &[
    (b"ECHO \"a b\"", Some(&[b"ECHO", b"a b"])),
    (b"ECHO 'a b'\r", Some(&[b"ECHO", b"a b"])),
    (
        b"ECHO \"\\x41\\xfF\\n\\r\\t\\b\\a\\\\\\\"\\q\\xg1\"",
        Some(&[b"ECHO", b"A\xff\n\r\t\x08\x07\\\"qxg1"]),
    ),
    (b"ECHO '\\n\\''", Some(&[b"ECHO", b"\\n'"])),
    (b"ECHO \"\"", Some(&[b"ECHO", b""])),
    (b"  ECHO\t\x0bfoo\"bar\"  ", Some(&[b"ECHO", b"foobar"])),
    (b"\"ECHO\"\x0b'x'", Some(&[b"ECHO", b"x"])),
    (b"ECHO a\x0bb", Some(&[b"ECHO", b"a\x0bb"])),
    (b"ECHO \"it's\"", Some(&[b"ECHO", b"it's"])),
    (b"ECHO \"a\"b", None),
    (b"ECHO \"a", None),
    (b"ECHO 'a", None),
    (b"ECHO \"a\\\"", None),
    (b"ECHO 'a\\'", None),
    (b"ECHO ''x", None),
    (b"\"", None),
];

#[test]
fn inline_words_are_quoted_as_in_redis() {
    for (line, words) in LINES {
        let (requests, error) = every_split(&[line, &b"\n"[..]].concat(), &Limits::default());
        let expected = words.map(|words| words.iter().map(|w| w.to_vec()).collect::<Vec<_>>());
        assert_eq!(
            requests,
            Vec::from_iter(expected),
            "{:?}",
            String::from_utf8_lossy(line)
        );
        let unbalanced = "ERR Protocol error: unbalanced quotes in request".to_string();
        assert_eq!(error, words.is_none().then_some(unbalanced));
    }
}

#[test]
fn malformed_requests_get_the_words_of_redis() {
    let limits = Limits::default();
    let strict = Limits {
        authenticated: false,
        ..limits
    };
    let corpus: &[(&[u8], &Limits, &str)] = &[
        (b"*x\r\n", &limits, "invalid multibulk length"),
        (b"*10000000\r\n", &limits, "invalid multibulk length"),
        (b"*1\r\n:4\r\n", &limits, "expected '$', got ':'"),
        (b"*1\r\n$x\r\n", &limits, "invalid bulk length"),
        (b"*1\r\n$-1\r\n", &limits, "invalid bulk length"),
        (b"*1\r\n$536870913\r\n", &limits, "invalid bulk length"),
        (b"SET \"a\r\n", &limits, "unbalanced quotes in request"),
        (b"*11\r\n", &strict, "unauthenticated multibulk length"),
        (b"*1\r\n$16385\r\n", &strict, "unauthenticated bulk length"),
    ];
    for (input, limits, text) in corpus {
        let (_, error) = every_split(input, limits);
        assert_eq!(
            error,
            Some(format!("ERR Protocol error: {text}")),
            "{:?}",
            String::from_utf8_lossy(input)
        );
    }
    let endless = vec![b'a'; 70_000];
    assert_eq!(
        decode(&endless, [], &limits).1.as_deref(),
        Some("ERR Protocol error: too big inline request")
    );
    let endless: Vec<u8> = b"*".iter().copied().chain(vec![b'1'; 70_000]).collect();
    assert_eq!(
        decode(&endless, [], &limits).1.as_deref(),
        Some("ERR Protocol error: too big mbulk count string")
    );
}

#[test]
fn random_commands_are_what_another_decoder_finds() {
    let mut rng = SeededRng::new(7);
    for _ in 0..300 {
        let mut input = Vec::new();
        let mut expected: Vec<Vec<Vec<u8>>> = Vec::new();
        for _ in 0..1 + rng.below(5) {
            let args: Vec<Vec<u8>> = (0..1 + rng.below(6))
                .map(|_| {
                    let mut arg = vec![0; rng.below(40) as usize];
                    rng.fill(&mut arg);
                    arg
                })
                .collect();
            input.extend_from_slice(format!("*{}\r\n", args.len()).as_bytes());
            for arg in &args {
                input.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
                input.extend_from_slice(arg);
                input.extend_from_slice(b"\r\n");
            }
            expected.push(args);
        }
        let mut found = Vec::new();
        let mut rest = &input[..];
        while let Some((frame, bytes)) = oracle(rest).unwrap() {
            let OwnedFrame::Array(parts) = frame else {
                panic!("an array was encoded")
            };
            found.push(bulk_strings(parts).expect("bulk strings were encoded"));
            rest = &rest[bytes..];
        }
        assert_eq!(found, expected);
        let cuts: Vec<usize> = {
            let mut cuts: Vec<_> = (0..rng.below(8)).map(|_| rng.index(input.len())).collect();
            cuts.sort_unstable();
            cuts
        };
        assert_eq!(decode(&input, cuts, &Limits::default()), (expected, None));
    }
}

#[test]
fn wild_bytes_never_panic_and_never_reach_outside() {
    let mut rng = SeededRng::new(11);
    let seeds: [&[u8]; 4] = [
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nvalue\r\n",
        b"GET a\r\n",
        b"*-1\r\n",
        b"*2\r\n$1\r\n",
    ];
    for _ in 0..20_000 {
        let mut input = seeds[rng.index(seeds.len())].to_vec();
        for _ in 0..1 + rng.below(6) {
            let at = rng.index(input.len());
            match rng.below(3) {
                0 => input[at] = rng.next_u64() as u8,
                1 => input.insert(at, b"*$\r\n0123456789- "[rng.index(16)]),
                _ => drop(input.drain(at..)),
            }
            if input.is_empty() {
                input.push(b'*');
            }
        }
        let whole = decode(&input, [], &Limits::default());
        let cut = rng.index(input.len() + 1);
        assert_eq!(
            decode(&input, [cut], &Limits::default()),
            whole,
            "{:?} cut at {cut}",
            String::from_utf8_lossy(&input)
        );
    }
}

/// The seeds of the fuzz target, and what it has found, without the fuzzer.
#[test]
#[allow(clippy::disallowed_methods, reason = "a corpus is files")]
fn the_corpus_of_the_fuzz_target_holds() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/resp_decode");
    let mut count = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        differential::check(&std::fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count > 10, "{count} files");
}
