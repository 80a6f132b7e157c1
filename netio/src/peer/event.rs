//! [`PeerEvent`] and [`LinkEnd`]: what links tell of themselves; and [`PeerOptions`], what they may use.

use std::fmt;
use std::io;
use std::time::Duration;

use bytes::Bytes;

use super::handshake::PeerId;
use super::refusal::Refusal;
use super::tls::{PeerTls, TlsEnd};

/// A link that is not open after this long is given up.
pub(super) const OPEN_WITHIN: Duration = Duration::from_secs(2);

/// What links may use.
#[derive(Clone, Debug)]
pub struct PeerOptions {
    /// Longest frame that is taken in, in bytes.
    pub frame_bytes_max: usize,
    /// Unsent bytes of a link above which it is given up: the peer does not keep up, and will be sent a snapshot.
    pub unsent_bytes_max: usize,
    /// With which certificates links are secured; `None`: nothing is encrypted.
    pub tls: Option<PeerTls>,
}

impl Default for PeerOptions {
    fn default() -> Self {
        Self {
            frame_bytes_max: 256 << 20,
            unsent_bytes_max: 512 << 20,
            tls: None,
        }
    }
}

/// Why a link was lost or not opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEnd {
    /// One side refused.
    Refused {
        /// Why.
        why: Refusal,
        /// By the other side.
        told: bool,
    },
    /// TLS was not agreed upon, or ended.
    Tls(TlsEnd),
    /// What the system says.
    Io(i32),
    /// The peer has closed it.
    Closed,
    /// It has not opened within two seconds.
    Late,
    /// The peer has opened another one.
    Replaced,
    /// A frame of impossible length.
    FrameLength(usize),
    /// The peer takes nothing, and too much waits for it.
    Backlog,
    /// Whoever reads the frames could make nothing of one.
    Unreadable,
    /// The peer is not among those wanted any more.
    Unwanted,
    /// Another connection came, and too many have not said yet who they are.
    Crowded,
}

impl LinkEnd {
    /// Whether the other side is told by something that is still to be sent.
    pub(super) fn is_to_be_told(&self) -> bool {
        matches!(
            self,
            Self::Refused { told: false, .. } | Self::Tls(TlsEnd::NotAccepted(_) | TlsEnd::Failed(_))
        )
    }
}

impl fmt::Display for LinkEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { why, told: true } => write!(f, "refused by the other side: {why}"),
            Self::Refused { why, told: false } => write!(f, "{why}"),
            Self::Tls(end) => write!(f, "{end}"),
            Self::Io(errno) => write!(f, "{}", io::Error::from_raw_os_error(*errno)),
            Self::Closed => f.write_str("closed by the other side"),
            Self::Late => write!(f, "not open after {} s", OPEN_WITHIN.as_secs()),
            Self::Replaced => f.write_str("the other side has opened another one"),
            Self::FrameLength(n) => write!(f, "a frame of {n} bytes is not possible"),
            Self::Backlog => f.write_str("the other side does not keep up"),
            Self::Unreadable => f.write_str("a frame could not be read"),
            Self::Crowded => f.write_str("too many connections that do not say who they are"),
            Self::Unwanted => f.write_str("the other side is no peer any more"),
        }
    }
}

/// What happened to a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerEvent {
    /// Frames flow.
    Up(PeerId),
    /// A whole frame, its length included.
    Frame(PeerId, Bytes),
    /// No more frames come, and what was not sent is lost. Whoever dialed tries again.
    Down(PeerId, LinkEnd),
    /// A try failed, or a stranger was turned away.
    Failed(Option<PeerId>, LinkEnd),
    /// One who knows the secret asks this, and waits for [`PeerNet::answer`].
    Asked(AskerId, Bytes),
    /// What came of [`PeerNet::ask`].
    Answered(Result<Bytes, LinkEnd>),
}

/// One who asks. Never used again for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskerId(pub u64);
