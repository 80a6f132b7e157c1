//! The disk's floor for cold keys: random reads of one page, several in flight.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use hdrhistogram::Histogram;
use io_uring::{opcode, types};
use slotcore_rt::buf::AlignedBuf;
use slotcore_rt::clock::{Clock, SystemClock, Tick};
use slotcore_rt::ring::{Class, Ring};
use slotcore_rt::rng::SeededRng;

use crate::output::cannot_write;

/// Reads in flight at once.
pub const DEPTHS: [usize; 4] = [1, 4, 16, 64];
/// Bytes of a read: a page of a sorted file.
const PAGE_BYTES: usize = 4096;
/// Longest wait for one read: a disk that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// What reads at one depth gave.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Reads {
    /// In flight at once.
    pub depth: usize,
    /// Per second.
    pub rate: f64,
    /// Half of them took less, in microseconds.
    pub p50_us: f64,
    /// 99 % took less.
    pub p99_us: f64,
}

/// Reads at each depth for `time`, by O_DIRECT from a file of `file_bytes`, whole MiB, in `dir`; it is removed afterwards.
///
/// # Errors
/// The directory cannot be written, the disk is full, or the file system has no O_DIRECT.
pub fn reads(dir: &Path, file_bytes: usize, time: Duration) -> io::Result<Vec<Reads>> {
    fs::create_dir_all(dir).map_err(|e| cannot_write(dir, &e))?;
    let path = dir.join("floor-reads");
    let prepared = prepare(&path, file_bytes).map_err(|e| cannot_write(&path, &e));
    let measured = prepared.and_then(|file| {
        DEPTHS
            .map(|depth| read(&file, file_bytes, depth, time))
            .into_iter()
            .collect()
    });
    let _ = fs::remove_file(&path);
    measured
}

fn prepare(path: &Path, file_bytes: usize) -> io::Result<File> {
    let mut file = File::create(path)?;
    let mut rng = SeededRng::new(1);
    // No zeros: what nobody wrote, or what compresses, some disks need not read.
    let noise: Vec<u8> = (0..1 << 20).map(|_| rng.next_u64() as u8).collect();
    for _ in 0..file_bytes / noise.len() {
        file.write_all(&noise)?;
    }
    file.sync_all()?;
    OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path)
}

fn read(file: &File, file_bytes: usize, depth: usize, time: Duration) -> io::Result<Reads> {
    let mut ring = Ring::new(256)?;
    let mut pages: Vec<AlignedBuf> = (0..depth).map(|_| AlignedBuf::with_capacity(PAGE_BYTES)).collect();
    let mut latency_ns = Histogram::<u64>::new_with_bounds(100, 60_000_000_000, 3).expect("bounds are far apart");
    let mut begun = vec![Tick::ZERO; depth];
    let mut idle: Vec<usize> = (0..depth).collect();
    let (mut rng, mut in_flight, mut finished) = (SeededRng::new(2), 0, Vec::new());
    let start = SystemClock.tick();
    let mut now = start;
    while in_flight > 0 || now.since(start) < time {
        while let Some(slot) = idle.pop_if(|_| now.since(start) < time) {
            begun[slot] = now;
            let page = rng.next_u64() % (file_bytes / PAGE_BYTES) as u64;
            let fd = types::Fd(file.as_raw_fd());
            let read = opcode::Read::new(fd, pages[slot].as_mut_ptr(), PAGE_BYTES as u32)
                .offset(page * PAGE_BYTES as u64)
                .build();
            // SAFETY: the page belongs to this read until it has completed, which the loop waits for.
            unsafe { ring.push(Class::Store, slot as u64, read)? };
            in_flight += 1;
        }
        ring.submit_and_wait(1, PATIENCE)?;
        ring.reap(&mut finished);
        now = SystemClock.tick();
        for completion in finished.drain(..) {
            match completion.result {
                n if n == PAGE_BYTES as i32 => {}
                n if n < 0 => return Err(io::Error::from_raw_os_error(-n)),
                n => return Err(io::Error::other(format!("a read of a page gave {n} bytes"))),
            }
            let slot = completion.token as usize;
            latency_ns.saturating_record(now.since(begun[slot]).as_nanos() as u64);
            idle.push(slot);
            in_flight -= 1;
        }
    }
    Ok(Reads {
        depth,
        rate: latency_ns.len() as f64 / now.since(start).as_secs_f64(),
        p50_us: latency_ns.value_at_quantile(0.5) as f64 / 1e3,
        p99_us: latency_ns.value_at_quantile(0.99) as f64 / 1e3,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_are_counted_at_every_depth_and_leave_nothing_behind() {
        // Not in the temporary directory: a file system in memory has no O_DIRECT.
        let dir = &Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tmp/read-floor");
        let measured = reads(dir, 1 << 20, Duration::from_millis(20)).unwrap();
        assert_eq!(measured.iter().map(|r| r.depth).collect::<Vec<_>>(), DEPTHS);
        for reads in measured {
            assert!(
                reads.rate > 0.0 && reads.p50_us > 0.0 && reads.p50_us <= reads.p99_us,
                "{reads:?}"
            );
        }
        assert!(!dir.join("floor-reads").exists());
    }
}
