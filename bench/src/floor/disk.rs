//! The disk's floor: appends of one block that survive a power cut, several in flight, as the log writes them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use hdrhistogram::Histogram;
use io_uring::{opcode, squeue, types};
use slotcore_rt::buf::AlignedBuf;
use slotcore_rt::clock::{Clock, SystemClock, Tick};
use slotcore_rt::ring::{Class, Ring};

use crate::output::cannot_write;

/// Appends in flight at once.
pub const DEPTHS: [usize; 4] = [1, 2, 4, 8];
/// Bytes of an append.
const BLOCK_BYTES: usize = 4096;
/// Size of the file; after its end comes its beginning. Written with zeros before, so that no append changes metadata.
const FILE_BYTES: usize = if cfg!(test) { 1 << 20 } else { 64 << 20 };
/// Bit of a token that tells the write of a pair from its fdatasync.
const WRITE_BIT: u64 = 1 << 8;
/// Longest wait for one append: a disk that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// What one way of appending gave.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Appends {
    /// Durable appends per second.
    pub rate: f64,
    /// Half of them took less, in microseconds.
    pub p50_us: f64,
    /// 99 % took less.
    pub p99_us: f64,
}

/// How an append is made durable.
#[derive(Clone, Copy, PartialEq)]
enum Sync {
    /// The write itself is (`RWF_DSYNC`).
    WithWrite,
    /// By an fdatasync linked behind it.
    AfterWrite,
}

/// Appends for `time` each way, to a file in `dir` that is removed afterwards: `RWF_DSYNC`, and a linked fdatasync.
///
/// # Errors
/// The directory cannot be written, or its file system has no O_DIRECT.
pub fn appends(dir: &Path, depth: usize, time: Duration) -> io::Result<[Appends; 2]> {
    fs::create_dir_all(dir).map_err(|e| cannot_write(dir, &e))?;
    let path = dir.join("floor");
    let prepared = prepare(&path).map_err(|e| cannot_write(&path, &e));
    let measured = prepared.and_then(|file| {
        Ok([
            append(&file, depth, time, Sync::WithWrite)?,
            append(&file, depth, time, Sync::AfterWrite)?,
        ])
    });
    let _ = fs::remove_file(&path);
    measured
}

fn prepare(path: &Path) -> io::Result<File> {
    let mut zeros = File::create(path)?;
    let megabyte = vec![0; 1 << 20];
    for _ in 0..FILE_BYTES / megabyte.len() {
        zeros.write_all(&megabyte)?;
    }
    zeros.sync_all()?;
    OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(path)
}

fn append(file: &File, depth: usize, time: Duration, sync: Sync) -> io::Result<Appends> {
    let mut ring = Ring::new(64)?;
    let mut block = AlignedBuf::with_capacity(BLOCK_BYTES);
    block.set_len(BLOCK_BYTES);
    block.fill(b'x');
    let mut latency_ns = Histogram::<u64>::new_with_bounds(100, 60_000_000_000, 3).expect("bounds are far apart");
    let mut begun = [Tick::ZERO; DEPTHS[DEPTHS.len() - 1]];
    let mut idle: Vec<usize> = (0..depth).collect();
    let (mut at, mut in_flight, mut finished) = (0, 0, Vec::new());
    let start = SystemClock.tick();
    let mut now = start;
    while in_flight > 0 || now.since(start) < time {
        while let Some(slot) = idle.pop_if(|_| now.since(start) < time) {
            begun[slot] = now;
            push(&mut ring, file, &block, at, slot as u64, sync)?;
            at = (at + BLOCK_BYTES) % FILE_BYTES;
            in_flight += 1;
        }
        ring.submit_and_wait(1, PATIENCE)?;
        ring.reap(&mut finished);
        now = SystemClock.tick();
        for completion in finished.drain(..) {
            if completion.result < 0 {
                return Err(io::Error::from_raw_os_error(-completion.result));
            }
            if completion.token & WRITE_BIT == 0 {
                let slot = completion.token as usize;
                latency_ns.saturating_record(now.since(begun[slot]).as_nanos() as u64);
                idle.push(slot);
                in_flight -= 1;
            }
        }
    }
    Ok(Appends {
        rate: latency_ns.len() as f64 / now.since(start).as_secs_f64(),
        p50_us: latency_ns.value_at_quantile(0.5) as f64 / 1e3,
        p99_us: latency_ns.value_at_quantile(0.99) as f64 / 1e3,
    })
}

/// One append. Its last completion carries `slot` as token.
fn push(ring: &mut Ring, file: &File, block: &AlignedBuf, at: usize, slot: u64, sync: Sync) -> io::Result<()> {
    let fd = types::Fd(file.as_raw_fd());
    let write = opcode::Write::new(fd, block.as_ptr(), BLOCK_BYTES as u32).offset(at as u64);
    // SAFETY: the block is only read, and outlives the ring's operations: the caller waits for each. A pair is not torn
    // apart by a full queue: it has room for many times what is in flight.
    unsafe {
        if sync == Sync::WithWrite {
            return ring.push(Class::Log, slot, write.rw_flags(libc::RWF_DSYNC).build());
        }
        ring.push(
            Class::Log,
            slot | WRITE_BIT,
            write.build().flags(squeue::Flags::IO_LINK),
        )?;
        let fsync = opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build();
        ring.push(Class::Log, slot, fsync)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appends_are_counted_at_every_depth_and_leave_nothing_behind() {
        // Not in the temporary directory: a file system in memory has no O_DIRECT.
        let dir = &Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tmp/disk-floor");
        for depth in DEPTHS {
            for appends in appends(dir, depth, Duration::from_millis(20)).unwrap() {
                assert!(
                    appends.rate > 0.0 && appends.p50_us > 0.0 && appends.p50_us <= appends.p99_us,
                    "{appends:?}"
                );
            }
        }
        assert!(!dir.join("floor").exists());
    }
}
