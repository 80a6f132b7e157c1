//! [`Landing`]: where a snapshot goes while it comes, part by part.

use std::io;

use bytes::Bytes;

use crate::state_machine::Applied;

/// Takes the bytes of a snapshot in order. One snapshot comes at a time.
///
/// After an error nothing of it is there, and it is sent again from its beginning, or another one.
pub trait Landing: 'static {
    /// A snapshot of `total` bytes begins to come, which stands for `at`; what came before and was not finished is dropped.
    /// What was finished may still be about to be installed.
    ///
    /// # Errors
    /// There is no room for it, or not now.
    fn begin(&mut self, at: &Applied, total: u64) -> io::Result<()>;

    /// The next bytes.
    ///
    /// # Errors
    /// They cannot be kept, or make no sense.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// All of it has come, and the checksum is right: now it is looked at, before anything counts on it. Called again, with
    /// pauses, until it says something else than [`Landed::More`]; each call takes little time. Another one may
    /// begin to come meanwhile, in place of this one.
    ///
    /// # Errors
    /// It cannot be kept, or makes no sense.
    fn finish(&mut self) -> io::Result<Landed>;

    /// One that was finished has been installed, or is not needed: what nobody has any more may go.
    fn settle(&mut self) {}
}

/// How far [`Landing::finish`] has come.
#[derive(Debug, PartialEq, Eq)]
pub enum Landed {
    /// To be called again.
    More,
    /// What [`StateMachine::install`](crate::StateMachine::install) is given.
    Whole(Bytes),
}

/// Keeps a snapshot in memory.
#[derive(Default)]
pub struct InMemory(Vec<u8>);

impl Landing for InMemory {
    fn begin(&mut self, _at: &Applied, total: u64) -> io::Result<()> {
        self.0 = Vec::new();
        // Growing would copy all of it. Without so much room in one piece it is tried nevertheless.
        let _ = self.0.try_reserve_exact(usize::try_from(total).unwrap_or(0));
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(&mut self) -> io::Result<Landed> {
        Ok(Landed::Whole(std::mem::take(&mut self.0).into()))
    }
}
