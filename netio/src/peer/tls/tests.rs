//! Both sides of links, with bytes passed between them by hand.

#[path = "../../../tests/authority/mod.rs"]
mod authority;

use super::*;
use crate::peer::event::LinkEnd;
use crate::peer::refusal::Refusal;
use authority::{Authority, Signed};
use bytes::BytesMut;

fn tls(authority: &Authority, signed: &Signed) -> PeerTls {
    let Signed { certificate, key } = signed;
    PeerTls::from_pem(certificate.as_bytes(), key.as_bytes(), authority.pem.as_bytes()).unwrap()
}

fn node(authority: &Authority) -> PeerTls {
    tls(authority, &authority.signs("10.0.0.1"))
}

/// One side, and what it has heard.
struct Side {
    session: TlsSession,
    heard: BytesMut,
}

impl Side {
    fn pair(dials: &PeerTls, host: &str, accepts: &PeerTls) -> (Self, Self) {
        let (dialer, acceptor) = (TlsSession::dial(dials, host), TlsSession::accept(accepts));
        let side = |session: Result<TlsSession, TlsEnd>| Self {
            session: session.unwrap(),
            heard: BytesMut::new(),
        };
        (side(dialer), side(acceptor))
    }

    fn hears(&mut self, bytes: &[u8]) -> Result<(), LinkEnd> {
        self.session.room()[..bytes.len()].copy_from_slice(bytes);
        self.session.open(bytes.len(), &mut self.heard)
    }

    /// Says what TLS has to say, and `words`, to the other side, in pieces. True: there was something.
    fn says(&mut self, words: &[u8], other: &mut Self, piece: usize) -> Result<bool, LinkEnd> {
        let (mut left, mut any) = (words, false);
        loop {
            self.session.seal(std::iter::once(left)).unwrap();
            let records = self.session.unsent().to_vec();
            if records.is_empty() {
                return Ok(any);
            }
            any = true;
            left = &left[self.session.took(records.len())..];
            for piece in records.chunks(piece) {
                other.hears(piece)?;
            }
        }
    }
}

/// Passes everything on until nobody has anything to say. What each side's failure was.
fn agree(dialer: &mut Side, acceptor: &mut Side, piece: usize) -> (Result<(), LinkEnd>, Result<(), LinkEnd>) {
    let (mut here, mut there) = (Ok(()), Ok(()));
    for _ in 0..8 {
        there = there.and(dialer.says(b"", acceptor, piece).map(drop));
        here = here.and(acceptor.says(b"", dialer, piece).map(drop));
    }
    (here, there)
}

fn not_accepted(result: &Result<(), LinkEnd>) -> &str {
    match result {
        Err(LinkEnd::Tls(TlsEnd::NotAccepted(why))) => why,
        other => panic!("{other:?}"),
    }
}

fn told(result: &Result<(), LinkEnd>) -> &str {
    match result {
        Err(LinkEnd::Tls(TlsEnd::ToldNotAccepted(alert))) => alert,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_said_arrives_whole_in_pieces_of_any_size() {
    let authority = Authority::new("ours");
    let (one, two) = (node(&authority), node(&authority));
    for piece in [1, 7, 1000, 64 << 10] {
        let (mut dialer, mut acceptor) = Side::pair(&one, "10.0.0.1", &two);
        assert_eq!(agree(&mut dialer, &mut acceptor, piece), (Ok(()), Ok(())));
        assert!(dialer.session.is_agreed() && acceptor.session.is_agreed());
        for word in [&b"hello"[..], b"x", &[7; 40_000]] {
            assert!(dialer.says(word, &mut acceptor, piece).unwrap());
            assert_eq!(acceptor.heard.split(), word);
            assert!(acceptor.says(word, &mut dialer, piece).unwrap());
            assert_eq!(dialer.heard.split(), word);
        }
    }
}

#[test]
fn a_long_frame_goes_in_several_sends_and_is_counted_until_it_is_sent() {
    let authority = Authority::new("ours");
    let (mut dialer, mut acceptor) = Side::pair(&node(&authority), "10.0.0.1", &node(&authority));
    assert_eq!(agree(&mut dialer, &mut acceptor, 64 << 10), (Ok(()), Ok(())));
    let long: Vec<u8> = (0..3_000_000_u32).map(|n| (n / 7) as u8).collect();
    let (mut sent, mut sends) = (0, 0);
    while sent < long.len() {
        // As frames do: a short one before it.
        dialer
            .session
            .seal([&long[sent..][..1], &long[sent + 1..]].into_iter())
            .unwrap();
        let records = dialer.session.unsent().to_vec();
        assert!(records.len() < 300 << 10, "{}", records.len());
        let (first, rest) = records.split_at(records.len() / 2);
        assert_eq!(dialer.session.took(first.len()), 0, "none is sent before all are");
        dialer.session.seal([&b"not now"[..]].into_iter()).unwrap();
        assert_eq!(dialer.session.unsent(), rest);
        sent += dialer.session.took(rest.len());
        for piece in records.chunks(64 << 10) {
            acceptor.hears(piece).unwrap();
        }
        sends += 1;
    }
    assert!(sends > 10, "{sends}");
    assert!(acceptor.heard == long);
}

#[test]
fn certificates_of_another_authority_are_refused_by_both() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let (mut dialer, mut acceptor) = Side::pair(&node(&ours), "10.0.0.1", &node(&theirs));
    let (here, there) = agree(&mut dialer, &mut acceptor, 1000);
    assert!(not_accepted(&here).contains("UnknownIssuer"), "{here:?}");
    assert_eq!(told(&there), "UnknownCA");
    assert!(!acceptor.session.is_agreed());

    // The dialer knows both, the acceptor knows its own alone.
    let signed = ours.signs("10.0.0.1");
    let both = format!("{}{}", ours.pem, theirs.pem);
    let dials = PeerTls::from_pem(signed.certificate.as_bytes(), signed.key.as_bytes(), both.as_bytes()).unwrap();
    let (mut dialer, mut acceptor) = Side::pair(&dials, "10.0.0.1", &node(&theirs));
    let (here, there) = agree(&mut dialer, &mut acceptor, 1000);
    assert!(not_accepted(&there).contains("UnknownIssuer"), "{there:?}");
    assert_eq!(told(&here), "UnknownCA");

    // Once the acceptor knows both, too, certificates of either are good: so one authority can take the place of another.
    let signed = theirs.signs("10.0.0.1");
    let accepts = PeerTls::from_pem(signed.certificate.as_bytes(), signed.key.as_bytes(), both.as_bytes()).unwrap();
    let (mut dialer, mut acceptor) = Side::pair(&dials, "10.0.0.1", &accepts);
    assert_eq!(agree(&mut dialer, &mut acceptor, 1000), (Ok(()), Ok(())));
}

#[test]
fn who_presents_no_certificate_is_refused() {
    let authority = Authority::new("ours");
    let ours = node(&authority);
    let mut roots = RootCertStore::empty();
    for root in certificates(TlsPart::Authorities, authority.pem.as_bytes()).unwrap() {
        roots.add(root).unwrap();
    }
    let dials = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let without = PeerTls {
        dials: Arc::new(dials),
        ..ours.clone()
    };
    let (mut dialer, mut acceptor) = Side::pair(&without, "10.0.0.1", &ours);
    let (here, there) = agree(&mut dialer, &mut acceptor, 1000);
    assert!(not_accepted(&there).contains("none"), "{there:?}");
    assert_eq!(told(&here), "CertificateRequired");
}

#[test]
fn the_certificate_has_to_be_good_for_the_host_and_for_now() {
    let authority = Authority::new("ours");
    let ours = node(&authority);
    for host in ["10.0.0.2", "10.0.0.1.example", "db-1.example"] {
        let (mut dialer, mut acceptor) = Side::pair(&ours, host, &ours);
        let (here, there) = agree(&mut dialer, &mut acceptor, 1000);
        assert!(not_accepted(&here).contains("not valid for"), "{here:?}");
        assert_eq!(told(&there), "BadCertificate");
    }
    let named = tls(&authority, &authority.signs("db-1.example"));
    let (mut dialer, mut acceptor) = Side::pair(&ours, "db-1.example", &named);
    assert_eq!(agree(&mut dialer, &mut acceptor, 1000), (Ok(()), Ok(())));
    assert!(matches!(TlsSession::dial(&ours, "no host"), Err(TlsEnd::Host(_))));

    let old = tls(&authority, &authority.signs_until("10.0.0.1", 2020));
    let (mut dialer, mut acceptor) = Side::pair(&ours, "10.0.0.1", &old);
    let (here, there) = agree(&mut dialer, &mut acceptor, 1000);
    assert!(not_accepted(&here).contains("expired"), "{here:?}");
    assert_eq!(told(&there), "CertificateExpired");
    let (mut dialer, mut acceptor) = Side::pair(&old, "10.0.0.1", &ours);
    let (here, there) = agree(&mut dialer, &mut acceptor, 1000);
    assert!(not_accepted(&there).contains("expired"), "{there:?}");
    assert_eq!(told(&here), "CertificateExpired");
}

#[test]
fn who_speaks_without_tls_is_known_by_the_first_byte() {
    let ours = node(&Authority::new("ours"));
    let refused = |told| {
        Err(LinkEnd::Refused {
            why: Refusal::Tls,
            told,
        })
    };
    let (mut dialer, mut acceptor) = Side::pair(&ours, "10.0.0.1", &ours);
    assert_eq!(acceptor.hears(b"S"), refused(false));
    assert_eq!(dialer.hears(b"SLNO\x09"), refused(true));
    let (_, mut acceptor) = Side::pair(&ours, "10.0.0.1", &ours);
    let heard = acceptor.hears(b"*1\r\n$4\r\nPING\r\n");
    assert!(matches!(heard, Err(LinkEnd::Tls(TlsEnd::Failed(_)))), "{heard:?}");
}

#[test]
fn a_record_that_is_cut_off_or_changed_says_nothing() {
    let authority = Authority::new("ours");
    let (mut dialer, mut acceptor) = Side::pair(&node(&authority), "10.0.0.1", &node(&authority));
    assert_eq!(agree(&mut dialer, &mut acceptor, 1000), (Ok(()), Ok(())));
    dialer.session.seal([&[5; 1000][..]].into_iter()).unwrap();
    let mut records = dialer.session.unsent().to_vec();
    let last = records.len() - 1;
    acceptor.hears(&records[..last]).unwrap();
    assert!(acceptor.heard.is_empty());
    records[last] ^= 1;
    let changed = acceptor.hears(&records[last..]);
    assert!(matches!(changed, Err(LinkEnd::Tls(TlsEnd::Failed(_)))), "{changed:?}");
    assert!(acceptor.heard.is_empty());
}

#[test]
fn nothing_is_sent_once_a_link_is_silent() {
    let authority = Authority::new("ours");
    let (mut dialer, mut acceptor) = Side::pair(&node(&authority), "10.0.0.1", &node(&authority));
    assert!(dialer.session.has_last_word(false), "its hello");
    assert_eq!(agree(&mut dialer, &mut acceptor, 1000), (Ok(()), Ok(())));
    assert!(!dialer.session.has_last_word(false) && dialer.session.has_last_word(true));
    dialer.session.seal([&b"word"[..]].into_iter()).unwrap();
    dialer.session.took(3);
    dialer.session.silence();
    assert!(dialer.session.unsent().is_empty() && !dialer.session.has_last_word(true));
}

#[test]
fn texts_that_cannot_be_used_are_named() {
    let authority = Authority::new("ours");
    let (one, two) = (authority.signs("10.0.0.1"), authority.signs("10.0.0.1"));
    let check = |certificate: &str, key: &str, authorities: &str, part: TlsPart, words: &str| {
        let found = PeerTls::from_pem(certificate.as_bytes(), key.as_bytes(), authorities.as_bytes());
        let error = found.expect_err(words);
        assert_eq!(error.part, part, "{error:?}");
        assert!(error.why.contains(words), "{error:?}");
    };
    let no_base64 = "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n";
    let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    check(
        "",
        &one.key,
        &authority.pem,
        TlsPart::Certificate,
        "no certificate in it",
    );
    check(
        &one.key,
        &one.key,
        &authority.pem,
        TlsPart::Certificate,
        "no certificate",
    );
    check(no_base64, &one.key, &authority.pem, TlsPart::Certificate, "PEM");
    check(
        no_certificate,
        &one.key,
        &authority.pem,
        TlsPart::Certificate,
        "cannot be used",
    );
    check(&one.certificate, "", &authority.pem, TlsPart::Key, "no private key");
    check(
        &one.certificate,
        &two.key,
        &authority.pem,
        TlsPart::Key,
        "does not belong",
    );
    check(
        &one.certificate,
        &one.key,
        "nothing",
        TlsPart::Authorities,
        "no certificate",
    );
    check(
        &one.certificate,
        &one.key,
        no_certificate,
        TlsPart::Authorities,
        "cannot be used",
    );
}
