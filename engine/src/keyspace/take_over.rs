//! Another state in the place of this one: a replica that was too far behind gets a whole snapshot.

use super::Keyspace;

impl Keyspace {
    /// Everything replicated becomes that of `other`. What belongs to this replica stays: which slots it has, who listens, what
    /// is counted, how it is configured, and who reads what is only in files.
    pub fn take_over(&mut self, mut other: Keyspace) {
        // Freed in slices, as after FLUSHALL.
        self.clear();
        other.retired.append(&mut self.retired);
        other.graveyard = std::mem::take(&mut self.graveyard);
        other.read_from_files_as(self);
        other.listening = std::mem::take(&mut self.listening);
        other.forget_events();
        other.uses = self.uses.take();
        other.stats = self.stats;
        other.limits = self.limits;
        other.encodings = self.encodings;
        other.slots = self.slots;
        other.rights_reader = self.rights_reader;
        other.compares_slices = self.compares_slices;
        other.wall_ms = other.wall_ms.max(self.wall_ms);
        *self = other;
    }
}
