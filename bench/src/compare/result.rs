//! [`Comparison`]: what a suite gave, as its result file holds it.

use serde::{Deserialize, Serialize};

use crate::load::recorder::Second;
use crate::machine::{Machine, ServerFacts};

/// Tells a result file of `compare` from others.
pub const KIND: &str = "slotcore-bench compare";
/// Changed when a field changes its meaning or goes.
pub const FORMAT: u32 = 1;

/// A result file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Comparison {
    /// [`KIND`].
    pub kind: String,
    /// [`FORMAT`].
    pub format: u32,
    /// Name of the suite.
    pub suite: String,
    /// Version of the suite.
    pub version: u32,
    /// Its title.
    pub title: String,
    /// What it shows.
    pub about: String,
    /// Where it ran.
    pub machine: Machine,
    /// Rounds; figures are medians over them.
    pub rounds: u64,
    /// A hundredth of the work was done: the figures mean nothing.
    pub quick: bool,
    /// How servers and client shared the processors.
    pub placement: String,
    /// The servers, and what they said about themselves.
    pub servers: Vec<(String, ServerFacts)>,
    /// What the reader must know, such as a peer that is not installed.
    pub notes: Vec<String>,
    /// One for each stage.
    pub tables: Vec<Table>,
}

/// What a stage gave.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Table {
    /// Empty when the suite has only one.
    pub title: String,
    /// The server the others are compared with; none when there is only one.
    pub baseline: Option<String>,
    /// By workload, then by client, then by server.
    pub lines: Vec<Line>,
    /// Instead of lines, where loading keys was measured.
    pub footprints: Vec<Footprint>,
}

/// A figure of all rounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// The middle one; of an even number of rounds the mean of the two in the middle.
    pub median: f64,
    /// The lowest.
    pub low: f64,
    /// The highest.
    pub high: f64,
}

impl Figure {
    /// Of the values of all rounds; none when there are none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let middle = [values.len().checked_sub(1)? / 2, values.len() / 2].map(|at| values[at]);
        Some(Self {
            median: f64::midpoint(middle[0], middle[1]),
            low: *values.first()?,
            high: *values.last()?,
        })
    }

    /// Half the distance between the lowest and the highest, in percent of the median.
    pub fn spread_percent(&self) -> f64 {
        50.0 * (self.high - self.low) / self.median
    }
}

/// One workload on one server by one client.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Line {
    /// Name of the workload.
    pub workload: String,
    /// Its command.
    pub command: String,
    /// Its connections.
    pub connections: u32,
    /// Its pipeline.
    pub pipeline: u32,
    /// Name of the server.
    pub server: String,
    /// Who sent the requests.
    pub client: String,
    /// Replies per second.
    pub rate: Figure,
    /// Half of the latencies were below, in microseconds.
    pub p50_us: Figure,
    /// 99 % were below.
    pub p99_us: Figure,
    /// 99.9 % were below, where the client tells.
    pub p999_us: Option<Figure>,
    /// The server's processor time for each command, user and system, where it was started here.
    pub cpu_us: Option<Figure>,
    /// Percent of the time the client had work.
    pub client_busy_percent: Figure,
    /// The client's work for each request, in microseconds.
    pub client_us: Figure,
    /// The rate in percent of the echo's of the same shape, where it was measured.
    pub floor_percent: Option<f64>,
    /// Percentile curve of the round whose p99 is the median: percent, microseconds.
    pub curve: Vec<(f64, f64)>,
    /// The same round by the second, where it lasted some.
    pub series: Vec<Second>,
    /// Seconds of that round in which the server said it was at work in the background.
    pub background_s: Vec<f64>,
}

/// What loading keys cost one server. Figures are of those rounds in which they could be taken.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Footprint {
    /// Name of the server.
    pub server: String,
    /// Bytes of memory it took more for each key.
    pub memory_per_key: Option<Figure>,
    /// Bytes sent to the disk for each byte of key and value.
    pub written_per_byte: Option<Figure>,
    /// Seconds from start to the first answer about data, after it was killed.
    pub restart_s: Option<Figure>,
}

impl Comparison {
    /// The result file's text.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers and texts can be written as JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_the_middle_and_the_ends() {
        let figure = Figure::of([3.0, 1.0, 2.0]).unwrap();
        assert_eq!((figure.median, figure.low, figure.high), (2.0, 1.0, 3.0));
        assert_eq!(figure.spread_percent(), 50.0);
        assert_eq!(Figure::of([4.0, 1.0, 2.0, 9.0]).unwrap().median, 3.0);
        assert_eq!(Figure::of([7.0]).unwrap().median, 7.0);
        assert_eq!(Figure::of([]), None);
    }
}
