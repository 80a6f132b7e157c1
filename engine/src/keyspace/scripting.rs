//! What the keyspace holds for scripts: the group's functions, with the interpreter beside them, and which slots are its
//! own.

use std::ops::RangeInclusive;

use super::Keyspace;
use crate::script::{BadLibraries, Effects, NoRights, ReadRights, Rights, Scripts};

impl Keyspace {
    /// Scripts and functions, for a command that works with them and the keyspace: taken out, to be put back.
    pub(crate) fn take_scripts(&mut self) -> Box<Scripts> {
        self.scripts.take().unwrap_or_default()
    }

    /// Ends what [`Keyspace::take_scripts`] began.
    pub(crate) fn put_scripts(&mut self, scripts: Box<Scripts>) {
        self.scripts = Some(scripts);
    }

    /// Scripts and functions; `None` as long as there were none.
    pub fn scripts(&self) -> Option<&Scripts> {
        self.scripts.as_deref()
    }

    /// The same, to take scripts into the cache.
    pub fn scripts_mut(&mut self) -> &mut Scripts {
        self.scripts.get_or_insert_default()
    }

    /// Forgets the scripts that running the log has left in the cache: no client of this process has sent them.
    pub fn forget_cached_scripts(&mut self) {
        if let Some(scripts) = &mut self.scripts {
            scripts.flush();
        }
    }

    /// What scripts did since the last call, besides changing keys; `None` as long as there were none. To be called behind
    /// each entry, whether or not somebody cares.
    #[inline]
    pub fn take_script_effects(&mut self) -> Option<Effects> {
        self.scripts.as_mut().map(|scripts| scripts.take_effects())
    }

    /// The functions as bytes, for a checkpoint: `docs/formats/functions.md`. `None` when there are none.
    pub fn export_functions(&self) -> Option<Vec<u8>> {
        let libraries = self.scripts.as_ref()?.libraries();
        (!libraries.is_empty()).then(|| libraries.export())
    }

    /// Puts the functions of a checkpoint in the place of those that are here.
    ///
    /// # Errors
    /// The bytes are damaged; nothing has changed.
    pub fn import_functions(&mut self, bytes: &[u8]) -> Result<(), BadLibraries> {
        self.scripts_mut().import(bytes)
    }

    /// How the rights of those who call scripts are read; until this is called nobody who may not do everything has any. Part
    /// of what every replica agrees on.
    pub fn read_rights_by(&mut self, reader: ReadRights) {
        self.rights_reader = Some(reader);
    }

    pub(crate) fn read_rights(&self, text: &[u8]) -> Box<dyn Rights> {
        match self.rights_reader {
            Some(read) => read(text),
            None => Box::new(NoRights),
        }
    }

    /// The slots of this group, which scripts may touch; all until this is called. Part of what every replica agrees on.
    pub fn serve_slots(&mut self, slots: RangeInclusive<u16>) {
        self.slots = (*slots.start(), *slots.end());
    }

    /// Whether `slot` is one of them.
    pub(crate) fn serves(&self, slot: u16) -> bool {
        (self.slots.0..=self.slots.1).contains(&slot)
    }
}
