//! [`PeerTls`]: with which certificates links are secured, and [`TlsSession`], one link's part of it. Pure: bytes in, bytes out;
//! the ring moves them.
//!
//! TLS 1.3 by rustls, and both sides present a certificate that one of the given authorities has signed. Nothing of a link is kept for
//! the next one: no session is resumed, so that each link looks at the certificates anew. The handshake of links runs inside, as it
//! does without.

mod session;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::time_provider::TimeProvider;
use rustls::version::TLS13;
use rustls::{AlertDescription, ClientConfig, Error, InconsistentKeys, RootCertStore, ServerConfig};
use slotcore_rt::clock::{Clock, SystemClock};

pub(super) use session::TlsSession;

/// See the module's text. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PeerTls {
    dials: Arc<ClientConfig>,
    accepts: Arc<ServerConfig>,
}

/// What links are secured with, each a text in PEM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsPart {
    /// This node's certificate, and those between it and the authority.
    Certificate,
    /// The key of that certificate.
    Key,
    /// The certificates of authorities.
    Authorities,
}

/// Why certificates cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsUnusable {
    /// Which text.
    pub part: TlsPart,
    /// What is wrong with it.
    pub why: String,
}

/// Why TLS was not agreed upon, or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsEnd {
    /// The other side's certificate is not accepted.
    NotAccepted(String),
    /// The other side does not accept ours.
    ToldNotAccepted(String),
    /// No certificate can be good for this host.
    Host(String),
    /// These are not the bytes of TLS, or not what has to come.
    Failed(String),
}

impl TlsEnd {
    fn of(error: &Error) -> Self {
        match error {
            Error::InvalidCertificate(why) => Self::NotAccepted(why.to_string()),
            Error::NoCertificatesPresented => Self::NotAccepted("it has presented none".into()),
            Error::AlertReceived(
                alert @ (AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::CertificateRequired
                | AlertDescription::UnknownCA
                | AlertDescription::DecryptError),
            ) => Self::ToldNotAccepted(format!("{alert:?}")),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl fmt::Display for TlsEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAccepted(why) => write!(f, "the certificate of the other node is not accepted: {why}"),
            Self::ToldNotAccepted(alert) => {
                write!(
                    f,
                    "refused by the other side: it does not accept this node's certificate ({alert})"
                )
            }
            Self::Host(host) => write!(f, "no certificate can be good for the host '{host}'"),
            Self::Failed(why) => write!(f, "TLS with the other node failed: {why}"),
        }
    }
}

impl PeerTls {
    /// Reads texts in PEM: this node's certificate with those between it and the authority, its key, and authorities.
    ///
    /// # Errors
    /// The first text that cannot be used; of a pair that does not fit, the key.
    pub fn from_pem(certificate: &[u8], key: &[u8], authorities: &[u8]) -> Result<Self, TlsUnusable> {
        let chain = certificates(TlsPart::Certificate, certificate)?;
        let of_key = |why: String| TlsUnusable {
            part: TlsPart::Key,
            why,
        };
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| of_key("there is no private key in it".into()))?;
        let mut roots = RootCertStore::empty();
        for root in certificates(TlsPart::Authorities, authorities)? {
            roots
                .add(root)
                .map_err(|error| unusable(TlsPart::Authorities, &error))?;
        }
        let (roots, provider) = (Arc::new(roots), Arc::new(ring::default_provider()));
        let pair = |error: Error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                of_key("the key does not belong to the certificate".into())
            }
            Error::InvalidCertificate(_) => unusable(TlsPart::Certificate, &error),
            other => unusable(TlsPart::Key, &other),
        };
        Ok(Self {
            dials: Arc::new(dials(&provider, &roots, chain.clone(), key.clone_key()).map_err(pair)?),
            accepts: Arc::new(accepts(&provider, roots, chain, key).map_err(pair)?),
        })
    }
}

fn dials(
    provider: &Arc<CryptoProvider>,
    roots: &Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig, Error> {
    let mut config = ClientConfig::builder_with_details(provider.clone(), Arc::new(WallClock))
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots.clone())
        .with_client_auth_cert(chain, key)?;
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn accepts(
    provider: &Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, Error> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone()).build();
    let verifier = verifier.map_err(|error| Error::General(error.to_string()))?;
    let mut config = ServerConfig::builder_with_details(provider.clone(), Arc::new(WallClock))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// All certificates of a text, one at least.
fn certificates(part: TlsPart, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsUnusable> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match found {
        Ok(found) if found.is_empty() => Err(TlsUnusable {
            part,
            why: "there is no certificate in it".into(),
        }),
        Ok(found) => Ok(found),
        Err(error) => Err(TlsUnusable {
            part,
            why: format!("it is not a text of certificates (PEM): {error}"),
        }),
    }
}

fn unusable(part: TlsPart, error: &Error) -> TlsUnusable {
    let why = match error {
        Error::InvalidCertificate(why) => format!("the certificate cannot be used: {why}"),
        other => format!("it cannot be used: {other}"),
    };
    TlsUnusable { part, why }
}

/// By which it is told whether certificates hold at the moment.
#[derive(Debug)]
struct WallClock;

impl TimeProvider for WallClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_micros(SystemClock.wall_us())))
    }
}
