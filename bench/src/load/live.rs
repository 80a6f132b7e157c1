//! [`Live`]: what a run shows while it lasts: one line, drawn again each second on a terminal; a line a second elsewhere.

use std::io::{self, IsTerminal, Write};

use super::recorder::Second;

/// Characters of the progress bar.
const BAR_CHARS: usize = 24;

/// See the module's text.
pub struct Live {
    terminal: bool,
    quiet: bool,
    name: String,
}

impl Live {
    /// Shows a run called `name` on standard error; nothing when `quiet`.
    pub fn new(name: &str, quiet: bool) -> Self {
        Self {
            terminal: io::stderr().is_terminal(),
            quiet,
            name: name.to_owned(),
        }
    }

    /// Shows a second, and how far the run is: `done` of 1.
    pub fn second(&self, second: &Second, done: f64) {
        if self.quiet {
            return;
        }
        let line = line(&self.name, second, done, self.terminal);
        // Nobody may be there to see it: that is no reason to stop measuring.
        let _ = if self.terminal {
            write!(io::stderr(), "\r\x1b[2K{line}")
        } else {
            writeln!(io::stderr(), "{line}")
        };
    }

    /// Takes the line away.
    pub fn end(&self) {
        if self.terminal && !self.quiet {
            let _ = write!(io::stderr(), "\r\x1b[2K");
        }
    }
}

fn line(name: &str, second: &Second, done: f64, bar: bool) -> String {
    let done = done.clamp(0.0, 1.0);
    let mut line = format!("{name} ");
    if bar {
        let full = (done * BAR_CHARS as f64) as usize;
        line += &format!("[{}{}] ", "=".repeat(full), " ".repeat(BAR_CHARS - full));
    }
    line += &format!(
        "{:3.0} % {:9.0}/s  p50 {}  p99 {}  p99.9 {}  errors {}",
        done * 100.0,
        second.rate,
        time(second.p50_us),
        time(second.p99_us),
        time(second.p999_us),
        second.errors
    );
    line
}

fn time(us: f64) -> String {
    if us < 10_000.0 {
        format!("{us:.0} us")
    } else {
        format!("{:.0} ms", us / 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_progress_rate_latencies_and_errors() {
        let second = Second {
            at_s: 1.0,
            rate: 123_456.0,
            p50_us: 250.4,
            p99_us: 990.0,
            p999_us: 12_345.0,
            max_us: 20_000.0,
            errors: 7,
        };
        assert_eq!(
            line("set", &second, 0.5, true),
            "set [============            ]  50 %    123456/s  p50 250 us  p99 990 us  p99.9 12 ms  errors 7"
        );
        assert!(line("set", &second, 1.7, false).starts_with("set 100 %"));
    }
}
