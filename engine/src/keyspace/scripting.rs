//! What the keyspace holds for scripts: the group's functions, with the interpreter beside them, and which slots are its
//! own.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::Keyspace;
use crate::script::{BadLibraries, Effects, NoRights, ReadRights, Rights, Scripts};

/// Of a keyspace that holds copies of some keys, what scripts may touch of it.
#[derive(Debug, Default)]
pub(super) struct Brought {
    keys: BTreeSet<Box<[u8]>>,
    /// Other keys that they wanted to touch.
    lacking: Vec<Box<[u8]>>,
}

impl Keyspace {
    /// Scripts may touch these keys, and no others: it holds copies of them alone.
    pub(crate) fn bring_only<'a>(&mut self, keys: impl Iterator<Item = &'a [u8]>) {
        self.brought = Some(Box::new(Brought {
            keys: keys.map(Into::into).collect(),
            lacking: Vec::new(),
        }));
    }

    /// True when keys are missing that are there elsewhere.
    pub(crate) fn holds_copies(&self) -> bool {
        self.brought.is_some()
    }

    /// Whether a script may touch this key of the group; if it lacks here, that is noted.
    pub(crate) fn may_touch(&mut self, key: &[u8]) -> bool {
        let Some(brought) = &mut self.brought else { return true };
        let is_here = brought.keys.contains(key);
        if !is_here && !brought.lacking.iter().any(|other| **other == *key) {
            brought.lacking.push(key.into());
        }
        is_here
    }

    /// The keys that scripts wanted to touch and that are not here.
    pub(crate) fn take_lacking(&mut self) -> Vec<Box<[u8]>> {
        self.brought
            .as_mut()
            .map(|brought| std::mem::take(&mut brought.lacking))
            .unwrap_or_default()
    }

    /// Gives scripts and functions, and how rights are read, to another keyspace: what they do besides changing keys comes
    /// back with them.
    pub(crate) fn lend_scripts(&mut self, other: &mut Keyspace) {
        other.scripts = self.scripts.take();
        other.rights_reader = self.rights_reader;
    }

    /// Ends what [`Keyspace::lend_scripts`] of `lender` began.
    pub(crate) fn return_scripts(&mut self, lender: &mut Keyspace) {
        lender.scripts = self.scripts.take();
    }

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
