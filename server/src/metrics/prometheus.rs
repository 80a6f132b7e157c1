//! [`TextWriter`]: the Prometheus text format, version 0.0.4.
//!
//! Written by hand because the histograms are filled elsewhere (hdrhistogram, per core) and only turned into buckets when
//! somebody scrapes; a metrics library wants to own its counters.
//! Source: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::fmt::{Display, Write as _};

use super::latency_histogram::LatencyHistogram;

/// Upper bounds of the exported buckets, in nanoseconds: from 10 µs to 10 s in steps a dashboard can tell apart.
pub const BUCKETS_NS: [u64; 19] = [
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// What kind of number a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows, until the process restarts or counters are reset.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Buckets of times.
    Histogram,
}

/// Builds one page of metrics.
#[derive(Debug)]
pub struct TextWriter<'a> {
    prefix: &'a str,
    name: String,
    out: String,
}

impl<'a> TextWriter<'a> {
    /// An empty page; every name begins with `prefix` and an underscore.
    pub fn new(prefix: &'a str) -> Self {
        Self {
            prefix,
            name: String::new(),
            out: String::with_capacity(16 * 1024),
        }
    }

    /// Begins a metric: its help and type lines. Samples of it follow directly.
    pub fn metric(&mut self, name: &str, kind: MetricKind, help: &str) -> &mut Self {
        self.name = format!("{}_{name}", self.prefix);
        let kind = match kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        };
        line(
            &mut self.out,
            format_args!(
                "# HELP {} {}\n# TYPE {} {kind}",
                self.name,
                escaped(help, false),
                self.name
            ),
        );
        self
    }

    /// One number of the metric begun last.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) -> &mut Self {
        line(
            &mut self.out,
            format_args!("{}{} {value}", self.name, Labels { labels, bound: None }),
        );
        self
    }

    /// One distribution of the metric begun last, in seconds.
    pub fn histogram(&mut self, labels: &[(&str, &str)], times: &LatencyHistogram) -> &mut Self {
        for bound_ns in BUCKETS_NS {
            let bound = seconds(bound_ns);
            let labels = Labels {
                labels,
                bound: Some(&bound),
            };
            line(
                &mut self.out,
                format_args!("{}_bucket{labels} {}", self.name, times.count_up_to(bound_ns)),
            );
        }
        let all = Labels {
            labels,
            bound: Some("+Inf"),
        };
        line(
            &mut self.out,
            format_args!("{}_bucket{all} {}", self.name, times.count()),
        );
        let plain = Labels { labels, bound: None };
        line(
            &mut self.out,
            format_args!("{}_sum{plain} {}", self.name, seconds(times.sum_ns())),
        );
        line(
            &mut self.out,
            format_args!("{}_count{plain} {}", self.name, times.count()),
        );
        self
    }

    /// The page.
    pub fn finish(self) -> String {
        self.out
    }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(out, "{text}").expect("a String takes whatever is written to it");
}

struct Labels<'a> {
    labels: &'a [(&'a str, &'a str)],
    bound: Option<&'a str>,
}

impl Display for Labels<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bound = self.bound.map(|bound| ("le", bound));
        let mut separator = '{';
        for (name, value) in self.labels.iter().copied().chain(bound) {
            write!(f, "{separator}{name}=\"{}\"", escaped(value, true))?;
            separator = ',';
        }
        if separator == ',' { f.write_str("}") } else { Ok(()) }
    }
}

/// Nanoseconds as seconds, exactly.
fn seconds(ns: u64) -> String {
    let text = format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

fn escaped(text: &str, quotes: bool) -> String {
    let text = text.replace('\\', "\\\\").replace('\n', "\\n");
    if quotes { text.replace('"', "\\\"") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_the_form_prometheus_reads() {
        let mut times = LatencyHistogram::default();
        times.record(20_000, 3);
        times.record(2_000_000, 1);
        let mut page = TextWriter::new("x");
        page.metric("a_total", MetricKind::Counter, "back\\slash")
            .sample(&[], 3)
            .sample(&[("k", "q\"\n")], 4);
        page.metric("t_seconds", MetricKind::Histogram, "times")
            .histogram(&[("core", "0")], &times);
        let text = page.finish();
        assert!(text.starts_with(
            "# HELP x_a_total back\\\\slash\n# TYPE x_a_total counter\nx_a_total 3\nx_a_total{k=\"q\\\"\\n\"} 4\n"
        ));
        assert!(text.contains("x_t_seconds_bucket{core=\"0\",le=\"0.00001\"} 0\n"));
        assert!(text.contains("x_t_seconds_bucket{core=\"0\",le=\"0.000025\"} 3\n"));
        assert!(text.contains("x_t_seconds_bucket{core=\"0\",le=\"+Inf\"} 4\n"));
        assert!(text.contains("x_t_seconds_sum{core=\"0\"} 0.00206\nx_t_seconds_count{core=\"0\"} 4\n"));
    }
}
