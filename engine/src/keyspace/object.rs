//! [`Objects`]: the values too large for a record, with their memory counted; and what remains to be freed of deleted
//! ones.

use crate::collections::Collection;
use crate::table::{Id, Store};
use slotcore_rt::chunk::{CHUNK_BYTES, discard};

/// Values up to this many bytes are freed when deleted; larger ones in slices. Freeing this much takes a few microseconds.
const FREE_AT_ONCE_BYTES: usize = 64 << 10;
/// What one slice gives back of a huge string: returning its pages to the kernel takes about 100 us.
const STRING_SLICE_BYTES: usize = CHUNK_BYTES;
/// Bytes of a string that one step of work frees.
const STRING_STEP_BYTES: usize = 8 << 10;
/// Steps of work that freeing one chunk of a cleared table counts for: as many bytes of a string.
pub const CHUNK_STEPS: usize = CHUNK_BYTES / STRING_STEP_BYTES;

/// A value that its record names by id, in two words: small collections are many.
#[derive(Clone, Debug)]
pub enum Object {
    /// A string longer than fits a record.
    #[expect(
        clippy::box_collection,
        reason = "the two words are of every object, and long strings are few"
    )]
    Str(Box<Vec<u8>>),
    /// A collection.
    Coll(Collection),
}

impl Object {
    /// Bytes of memory besides those of `self`.
    pub fn bytes(&self) -> usize {
        match self {
            Object::Str(s) => size_of::<Vec<u8>>() + s.capacity(),
            Object::Coll(c) => c.memory_outside(),
        }
    }

    /// See [`Collection::begin_keeping`]; of strings nothing is kept.
    pub fn begin_keeping(&mut self) -> Option<Vec<u8>> {
        match self {
            Object::Str(_) => None,
            Object::Coll(c) => c.begin_keeping(),
        }
    }

    /// Whether it is kept as it was.
    pub fn is_kept(&self) -> bool {
        match self {
            Object::Str(_) => false,
            Object::Coll(c) => c.is_kept(),
        }
    }

    /// Frees about `budget` steps' worth. Returns whether anything is left, and the steps done.
    fn free_some(&mut self, budget: usize) -> (bool, usize) {
        match self {
            Object::Str(s) if s.len() > STRING_SLICE_BYTES => {
                let keep = s.len() - STRING_SLICE_BYTES;
                discard(&mut s[keep..]);
                s.truncate(keep);
                (true, CHUNK_STEPS)
            }
            Object::Str(s) => (false, s.len() / STRING_STEP_BYTES + 1),
            Object::Coll(c) => {
                let before = c.len();
                let left = c.free_some(budget);
                // What is left says nothing of trees and lists beside the elements, which are freed before them.
                (left > 0, if left > 0 { budget } else { before }.clamp(1, budget.max(1)))
            }
        }
    }
}

/// See the module's text.
#[derive(Default)]
pub struct Objects {
    store: Store<Object>,
    bytes: usize,
    /// An object handed out to be changed, and its memory then: it is counted again before anything else happens.
    lent: Option<(Id, usize)>,
}

impl Objects {
    /// Keeps an object.
    pub fn insert(&mut self, object: Object) -> Id {
        self.bytes += object.bytes();
        self.store.insert(object)
    }

    /// The object `id`.
    #[inline]
    pub fn get(&self, id: Id) -> &Object {
        self.store.get(id)
    }

    /// The object `id`, to be changed.
    #[inline]
    pub fn lend(&mut self, id: Id) -> &mut Object {
        self.settle();
        let object = self.store.get_mut(id);
        self.lent = Some((id, object.bytes()));
        object
    }

    /// The object `id`, to be changed in a way that does not change its memory.
    pub fn touch(&mut self, id: Id) -> &mut Object {
        self.store.get_mut(id)
    }

    fn settle(&mut self) {
        if let Some((id, before)) = self.lent.take() {
            self.bytes = self.bytes - before + self.store.get(id).bytes();
        }
    }

    /// Takes an object out.
    pub fn remove(&mut self, id: Id) -> Object {
        self.settle();
        let object = self.store.remove(id);
        self.bytes -= object.bytes();
        object
    }

    /// Bytes of all objects, and of the store that holds them.
    pub fn memory(&self) -> usize {
        self.value_bytes() + self.store.memory()
    }

    /// Bytes of all objects.
    pub fn value_bytes(&self) -> usize {
        match self.lent {
            None => self.bytes,
            Some((id, before)) => self.bytes - before + self.store.get(id).bytes(),
        }
    }

    /// Bytes of one object.
    pub fn bytes_of(&self, id: Id) -> usize {
        self.get(id).bytes()
    }

    /// Takes any object out, of a store that is thrown away.
    pub fn pop(&mut self) -> Option<Object> {
        self.settle();
        let object = self.store.pop()?;
        self.bytes -= object.bytes();
        Some(object)
    }
}

const _: () = assert!(size_of::<Object>() == 16);

/// Large values that no key names any more.
#[derive(Default)]
pub struct Graveyard {
    dead: Vec<Object>,
    bytes: usize,
}

impl Graveyard {
    /// Frees a small object now and keeps a large one for [`Graveyard::free_some`].
    pub fn bury(&mut self, mut object: Object) {
        if let Object::Coll(collection) = &mut object {
            collection.end_keeping();
        }
        let bytes = object.bytes();
        if bytes > FREE_AT_ONCE_BYTES {
            self.bytes += bytes;
            self.dead.push(object);
        }
    }

    /// Frees about `budget` steps' worth. Returns the steps done; 0 when nothing is left.
    pub fn free_some(&mut self, budget: usize) -> usize {
        let Some(last) = self.dead.last_mut() else { return 0 };
        let before = last.bytes();
        let (more, steps) = last.free_some(budget);
        let after = if more { last.bytes() } else { 0 };
        if !more {
            self.dead.pop();
        }
        self.bytes -= before - after.min(before);
        steps
    }

    /// Objects waiting.
    pub fn len(&self) -> usize {
        self.dead.len()
    }

    /// Bytes waiting.
    pub fn memory(&self) -> usize {
        self.bytes
    }
}
