//! The entry point of the fuzz target for frame recovery.

use slotcore_rt::buf::AlignedBuf;
use slotcore_rt::ids::{CoreId, SegmentId};

use super::frame::{BLOCK_BYTES_MIN, FRAME_HEADER_BYTES, FRAME_MAGIC, get32, put32};
use super::{CoreLog, LogOptions, SegmentSource};

/// Bytes of one segment of a fuzzed log.
pub const FUZZ_SEGMENT_BYTES: usize = 64 << 10;

struct Bytes(Vec<Vec<u8>>);

impl SegmentSource for Bytes {
    fn list(&mut self) -> std::io::Result<Vec<(SegmentId, u64)>> {
        Ok(self
            .0
            .iter()
            .enumerate()
            .map(|(at, s)| (SegmentId(at as u64 + 1), s.len() as u64))
            .collect())
    }

    fn read_at(&mut self, segment: SegmentId, offset: u64, buf: &mut AlignedBuf) -> std::io::Result<()> {
        let (from, len) = (offset as usize, buf.len());
        buf.copy_from_slice(&self.0[segment.0 as usize - 1][from..from + len]);
        Ok(())
    }
}

/// Options of a fuzzed log.
pub fn fuzz_options() -> LogOptions {
    LogOptions {
        block_bytes: 512,
        ..LogOptions::new(CoreId(0))
    }
    .with_segment_bytes(FUZZ_SEGMENT_BYTES as u64)
}

/// Recovers a log from arbitrary bytes: it may refuse, it may not panic, and it must do the same twice.
///
/// `data`: one byte of mode, then segments 1, 2, … of [`FUZZ_SEGMENT_BYTES`] each (the last one shorter). An odd mode
/// makes all checksums right first, so that mutations reach what lies behind them.
pub fn fuzz_recover(data: &[u8]) {
    let Some((mode, data)) = data.split_first() else { return };
    let mut segments: Vec<Vec<u8>> = data.chunks(FUZZ_SEGMENT_BYTES).map(<[u8]>::to_vec).collect();
    for segment in &mut segments {
        let whole = segment.len().next_multiple_of(4096);
        segment.resize(whole, 0);
        if mode & 1 == 1 {
            mend(segment);
        }
    }
    let mut src = Bytes(segments);
    let mut recover = || match CoreLog::recover(fuzz_options(), &mut src, &mut |_| {}) {
        Ok(log) => Ok((
            *log.recovery(),
            log.groups()
                .map(|(slot, g)| (slot, g.last(), g.vote()))
                .collect::<Vec<_>>(),
        )),
        Err(error) => Err(error.to_string()),
    };
    assert_eq!(
        recover(),
        recover(),
        "recovery must not depend on anything but the bytes"
    );
}

/// Recomputes the checksums of everything that looks like a frame.
fn mend(segment: &mut [u8]) {
    for at in (0..segment.len()).step_by(BLOCK_BYTES_MIN) {
        let (frame, body_start) = (&mut segment[at..], FRAME_HEADER_BYTES);
        if get32(frame, 0) != FRAME_MAGIC {
            continue;
        }
        let body_len = get32(frame, 40) as usize;
        if let Some(body) = frame.get(body_start..body_start.saturating_add(body_len)) {
            let crc = crc32c::crc32c(body);
            put32(frame, 36, crc);
        }
        let crc = crc32c::crc32c(&frame[8..FRAME_HEADER_BYTES]);
        put32(frame, 4, crc);
    }
}
