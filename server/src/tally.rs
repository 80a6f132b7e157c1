//! [`Tally`]: counts a window's commands by kind, so that histograms are touched once for each kind and not for each
//! command.

use slotcore_engine::cmd::{CommandSpec, as_asked};

use crate::metrics::CoreMetrics;

/// See the module's text.
#[derive(Default)]
pub struct Tally {
    kinds: Vec<(&'static CommandSpec, u32)>,
}

impl Tally {
    /// Counts one run.
    #[inline]
    pub fn note(&mut self, spec: &'static CommandSpec) {
        // Neighbours are mostly alike, and few kinds meet in one window.
        match self.kinds.iter_mut().rev().find(|(s, _)| s.id == spec.id) {
            Some((_, count)) => *count += 1,
            None => self.kinds.push((spec, 1)),
        }
    }

    /// Hands the counts over. `run_ns`: nanoseconds all of them took together; `waited_ns`: from their arrival until their
    /// replies were ready.
    pub fn settle(&mut self, metrics: &mut CoreMetrics, run_ns: u64, waited_ns: u64) {
        let total: u64 = self.kinds.iter().map(|(_, n)| u64::from(*n)).sum();
        for (spec, count) in self.kinds.drain(..) {
            let spec = as_asked(spec);
            metrics.commands.ran(spec.id.0, spec.full_name, run_ns / total, count);
            metrics.operation(spec.group, waited_ns, count);
        }
    }
}
