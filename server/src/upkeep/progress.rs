//! [`Progress`]: a bar on a terminal; elsewhere a line now and then. On standard error, so that output can be piped.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use slotcore_rt::clock::{Clock, SystemClock, Tick};

/// Without a terminal, a line this often.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// See the module's text.
pub struct Progress {
    what: &'static str,
    total: u64,
    done: u64,
    began: Tick,
    said: Tick,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Work on `total` bytes begins.
    pub fn new(what: &'static str, total: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style =
                ProgressStyle::with_template("{msg} [{bar:30}] {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left");
            let bar = ProgressBar::new(total);
            bar.set_style(style.expect("the template is one"));
            bar.set_message(what);
            bar
        });
        let now = SystemClock.tick();
        Self {
            what,
            total,
            done: 0,
            began: now,
            said: now,
            bar,
        }
    }

    /// So many more bytes are done.
    pub fn add(&mut self, bytes: u64) {
        self.done = (self.done + bytes).min(self.total);
        if let Some(bar) = &self.bar {
            bar.set_position(self.done);
            return;
        }
        let now = SystemClock.tick();
        if now.since(self.said) >= LINE_EVERY {
            self.said = now;
            eprintln!("{}", line(self.what, self.done, self.total, now.since(self.began)));
        }
    }

    /// The work is done.
    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

fn line(what: &str, done: u64, total: u64, took: Duration) -> String {
    let percent = (done * 100).checked_div(total).unwrap_or(100);
    let left = (took.as_secs() * (total - done)).checked_div(done);
    let left = left.map_or_else(String::new, |left| format!(", about {left} s left"));
    format!("{what}: {percent} % of {} MiB{left}", total >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_and_how_long() {
        let s = Duration::from_secs;
        assert_eq!(
            line("check", 50 << 20, 200 << 20, s(10)),
            "check: 25 % of 200 MiB, about 30 s left"
        );
        assert_eq!(line("check", 0, 0, s(0)), "check: 100 % of 0 MiB");
    }
}
