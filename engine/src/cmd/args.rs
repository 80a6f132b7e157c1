//! [`Args`]: a command's arguments, borrowed from wherever their bytes lie.

/// A command with its arguments: the command name is number 0. Copies nothing.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    buf: &'a [u8],
    /// `(offset, length)` in bytes within `buf`, one per argument.
    spans: &'a [(u32, u32)],
}

impl<'a> Args<'a> {
    /// `spans` name parts of `buf`; every one must lie inside.
    pub fn new(buf: &'a [u8], spans: &'a [(u32, u32)]) -> Self {
        Self { buf, spans }
    }

    /// How many arguments there are, the command name included.
    #[inline]
    #[allow(clippy::len_without_is_empty, reason = "a command always has a name")]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Argument `i`; panics when there is none (arity was checked against the command table).
    #[inline]
    pub fn get(&self, i: usize) -> &'a [u8] {
        let (at, len) = self.spans[i];
        &self.buf[at as usize..at as usize + len as usize]
    }

    /// Argument `i`, if there is one.
    #[inline]
    pub fn try_get(&self, i: usize) -> Option<&'a [u8]> {
        (i < self.spans.len()).then(|| self.get(i))
    }

    /// The arguments from number `from` on, as a command of their own.
    pub fn tail(&self, from: usize) -> Args<'a> {
        Args {
            buf: self.buf,
            spans: &self.spans[from.min(self.spans.len())..],
        }
    }

    /// The arguments before number `end`.
    pub(crate) fn head(&self, end: usize) -> Args<'a> {
        Args {
            buf: self.buf,
            spans: &self.spans[..end],
        }
    }

    /// All arguments from number `from` on.
    pub fn iter_from(&self, from: usize) -> impl ExactSizeIterator<Item = &'a [u8]> + Clone + use<'a> {
        let (buf, spans) = (self.buf, &self.spans[from.min(self.spans.len())..]);
        spans
            .iter()
            .map(move |&(at, len)| &buf[at as usize..at as usize + len as usize])
    }
}
