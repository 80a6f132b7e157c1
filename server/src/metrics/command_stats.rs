//! [`CommandStats`]: calls, time and failures of every command (`INFO commandstats`, `latencystats`, `LATENCY HISTOGRAM`,
//! `/metrics`).

use super::latency_histogram::LatencyHistogram;

/// What one command did.
#[derive(Clone, Debug)]
pub struct CommandCount {
    /// Its name, a subcommand behind a bar (`client|list`).
    pub name: &'static str,
    /// How often it ran.
    pub calls: u64,
    /// How often it was refused before it ran (arity, authentication, memory).
    pub rejected_calls: u64,
    /// How often it ran and answered with an error.
    pub failed_calls: u64,
    /// How long it ran; waiting for the disk does not count.
    pub run_time: LatencyHistogram,
}

/// What every command did, by the command's number in the command table. A command takes memory (about 15 KiB) once it
/// has been called.
#[derive(Clone, Debug, Default)]
pub struct CommandStats {
    by_id: Vec<Option<Box<CommandCount>>>,
    calls_total: u64,
}

impl CommandStats {
    /// Counts `times` runs of `run_ns` nanoseconds each.
    #[inline]
    pub fn ran(&mut self, id: u16, name: &'static str, run_ns: u64, times: u32) {
        self.calls_total += u64::from(times);
        let count = self.entry(id, name);
        count.calls += u64::from(times);
        count.run_time.record(run_ns, times);
    }

    /// Counts one error reply of a command that ran (and was counted by [`CommandStats::ran`] as well).
    pub fn failed(&mut self, id: u16, name: &'static str) {
        self.entry(id, name).failed_calls += 1;
    }

    /// Counts one refusal before the command ran.
    pub fn rejected(&mut self, id: u16, name: &'static str) {
        self.entry(id, name).rejected_calls += 1;
    }

    /// Adds what commands did on another core.
    pub fn merge(&mut self, other: &Self) {
        self.calls_total += other.calls_total;
        for (id, theirs) in other.by_id.iter().enumerate() {
            let Some(theirs) = theirs else { continue };
            let ours = self.entry(id as u16, theirs.name);
            ours.calls += theirs.calls;
            ours.rejected_calls += theirs.rejected_calls;
            ours.failed_calls += theirs.failed_calls;
            ours.run_time.merge(&theirs.run_time);
        }
    }

    /// Runs of all commands together.
    pub fn calls_total(&self) -> u64 {
        self.calls_total
    }

    /// Every command that was called or refused.
    pub fn iter(&self) -> impl Iterator<Item = &CommandCount> {
        self.by_id.iter().filter_map(|count| count.as_deref())
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    #[inline]
    fn entry(&mut self, id: u16, name: &'static str) -> &mut CommandCount {
        let at = usize::from(id);
        if at >= self.by_id.len() {
            self.by_id.resize_with(at + 1, || None);
        }
        self.by_id[at].get_or_insert_with(|| {
            Box::new(CommandCount {
                name,
                calls: 0,
                rejected_calls: 0,
                failed_calls: 0,
                run_time: LatencyHistogram::default(),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_failures_and_refusals_are_told_apart() {
        let mut stats = CommandStats::default();
        stats.ran(7, "get", 1_500, 3);
        stats.failed(7, "get");
        stats.rejected(300, "set");
        let get = stats.iter().next().unwrap();
        assert_eq!(
            (get.calls, get.failed_calls, get.rejected_calls, get.run_time.sum_ns()),
            (3, 1, 0, 4_500)
        );
        assert_eq!(
            stats.iter().map(|c| (c.name, c.rejected_calls)).collect::<Vec<_>>(),
            [("get", 0), ("set", 1)]
        );
        assert_eq!(stats.calls_total(), 3);
        stats.reset();
        assert_eq!((stats.calls_total(), stats.iter().count()), (0, 0));
    }
}
