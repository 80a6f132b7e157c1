//! [`Sample`]s of all rounds, and the table of their medians.

use std::fmt::Write as _;

/// What one run of a workload gave.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// Replies per second.
    pub rate: f64,
    /// Median latency.
    pub p50_ms: f64,
    /// 99 % of latencies were below.
    pub p99_ms: f64,
    /// The server's processor time for each command, user and system, in microseconds.
    pub cpu_us: f64,
    /// Percent of the time the client had work; not a number where it does not say.
    pub client_busy_percent: f64,
}

/// All samples of one workload: ours and the peer's.
#[derive(Clone, Debug, Default)]
pub struct Pair {
    /// Of Slotcore.
    pub ours: Vec<Sample>,
    /// Of the peer.
    pub theirs: Vec<Sample>,
}

/// The median of each figure.
pub fn median(samples: &[Sample]) -> Sample {
    let of = |get: fn(&Sample) -> f64| {
        let mut values: Vec<f64> = samples.iter().map(get).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    };
    Sample {
        rate: of(|s| s.rate),
        p50_ms: of(|s| s.p50_ms),
        p99_ms: of(|s| s.p99_ms),
        cpu_us: of(|s| s.cpu_us),
        client_busy_percent: of(|s| s.client_busy_percent),
    }
}

/// Half the distance between the lowest and the highest rate, in percent of the median.
fn spread_percent(samples: &[Sample]) -> f64 {
    let rates = || samples.iter().map(|sample| sample.rate);
    let (low, high) = (rates().fold(f64::INFINITY, f64::min), rates().fold(0.0, f64::max));
    50.0 * (high - low) / median(samples).rate
}

/// The head of the table.
pub const HEAD: &str = "\
| workload | rate | +- % | peer | +- % | ratio | p50 ms | peer | p99 ms | peer | CPU us/cmd | peer | ratio | client busy % \
| peer | % of floor | peer |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n";

/// Appends the line of one workload. `floor`: echoes per second of the same shape, where there is one.
pub fn push_line(out: &mut String, name: &str, pair: &Pair, floor: Option<f64>) {
    let (ours, theirs) = (median(&pair.ours), median(&pair.theirs));
    let _ = write!(
        out,
        "| {name} | {:.0} | {:.0} | {:.0} | {:.0} | **{:.2}** | {:.3} | {:.3} | {:.3} | {:.3} | {:.2} | {:.2} | **{:.2}** ",
        ours.rate,
        spread_percent(&pair.ours),
        theirs.rate,
        spread_percent(&pair.theirs),
        ours.rate / theirs.rate,
        ours.p50_ms,
        theirs.p50_ms,
        ours.p99_ms,
        theirs.p99_ms,
        ours.cpu_us,
        theirs.cpu_us,
        ours.cpu_us / theirs.cpu_us,
    );
    let of_floor = |sample: &Sample| floor.map_or(f64::NAN, |floor| 100.0 * sample.rate / floor);
    for figure in [
        ours.client_busy_percent,
        theirs.client_busy_percent,
        of_floor(&ours),
        of_floor(&theirs),
    ] {
        let _ = if figure.is_nan() {
            write!(out, "| ")
        } else {
            write!(out, "| {figure:.0} ")
        };
    }
    out.push_str("|\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(rate: f64, cpu_us: f64) -> Sample {
        Sample {
            rate,
            cpu_us,
            ..Sample::default()
        }
    }

    #[test]
    fn the_median_is_taken_of_each_figure() {
        let samples = [sample(1.0, 9.0), sample(3.0, 8.0), sample(2.0, 1.0)];
        let middle = median(&samples);
        assert_eq!((middle.rate, middle.cpu_us), (2.0, 8.0));
        assert_eq!(spread_percent(&samples), 50.0);
    }

    #[test]
    fn a_line_has_as_many_columns_as_the_head() {
        let pair = Pair {
            ours: vec![sample(300.0, 1.0)],
            theirs: vec![sample(100.0, 2.0)],
        };
        let columns = |line: &str| line.matches('|').count();
        for floor in [None, Some(600.0)] {
            let mut line = String::new();
            push_line(&mut line, "SET", &pair, floor);
            assert!(HEAD.lines().all(|head| columns(head) == columns(&line)), "{line}");
            assert!(line.contains("**3.00**") && line.contains("**0.50**"), "{line}");
            assert_eq!(line.contains("| 50 | 17 |"), floor.is_some(), "{line}");
        }
    }
}
