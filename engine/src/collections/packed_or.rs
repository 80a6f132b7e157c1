//! [`PackedOr`]: a few pairs in one piece, or something larger on the heap, behind one word.
//!
//! Small collections are many, so that what each takes besides its elements counts.

use super::packed::Packed;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;

/// Set in the word when it leads to a `T`: addresses of both kinds are even.
const OTHER: usize = 1;

/// See the module's text. At first it is packed, without any pair.
pub(super) struct PackedOr<T> {
    /// The word of a [`Packed`], or the address of a `T` from a `Box`, marked.
    word: *mut u8,
    owns: PhantomData<Box<T>>,
}

// SAFETY: it owns what it leads to, and hands it out by the rules of references.
unsafe impl<T: Send> Send for PackedOr<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for PackedOr<T> {}

/// What there is, to be read.
pub(super) enum Form<'a, T> {
    Packed(&'a Packed),
    Other(&'a T),
}

/// What there is, to be changed.
pub(super) enum FormMut<'a, T> {
    Packed(&'a mut Packed),
    Other(&'a mut T),
}

impl<T> PackedOr<T> {
    pub(super) fn other(other: T) -> Self {
        const { assert!(align_of::<T>() > OTHER && size_of::<Packed>() == size_of::<*mut u8>()) };
        Self {
            word: Box::into_raw(Box::new(other)).cast::<u8>().map_addr(|a| a | OTHER),
            owns: PhantomData,
        }
    }

    #[inline]
    fn address(&self) -> Option<*mut T> {
        let is_other = self.word.addr() & OTHER != 0;
        is_other.then(|| self.word.map_addr(|a| a & !OTHER).cast())
    }

    #[inline]
    pub(super) fn get(&self) -> Form<'_, T> {
        match self.address() {
            // SAFETY: marked, so it came from a `Box` in `other`, and lives as long as `self`.
            Some(other) => Form::Other(unsafe { &*other }),
            // SAFETY: not marked, so the word is a `Packed`'s, which is transparent: see `from`.
            None => Form::Packed(unsafe { &*(&raw const self.word).cast::<Packed>() }),
        }
    }

    #[inline]
    pub(super) fn get_mut(&mut self) -> FormMut<'_, T> {
        match self.address() {
            // SAFETY: as in `get`; exclusive, as `self` is.
            Some(other) => FormMut::Other(unsafe { &mut *other }),
            // SAFETY: as in `get`; whatever it becomes is a `Packed` again, whose word is never marked.
            None => FormMut::Packed(unsafe { &mut *(&raw mut self.word).cast::<Packed>() }),
        }
    }
}

impl<T> From<Packed> for PackedOr<T> {
    fn from(packed: Packed) -> Self {
        let packed = ManuallyDrop::new(packed);
        Self {
            // SAFETY: a `Packed` is one word, null or an even address; it is moved here, not dropped.
            word: unsafe { (&raw const packed).cast::<*mut u8>().read() },
            owns: PhantomData,
        }
    }
}

impl<T> Default for PackedOr<T> {
    fn default() -> Self {
        Self::from(Packed::default())
    }
}

impl<T> Drop for PackedOr<T> {
    fn drop(&mut self) {
        match self.address() {
            // SAFETY: from a `Box` in `other`, and nobody uses it any more.
            Some(other) => drop(unsafe { Box::from_raw(other) }),
            // SAFETY: the word is a `Packed`'s, and nobody uses it any more.
            None => unsafe { (&raw mut self.word).cast::<Packed>().drop_in_place() },
        }
    }
}

impl<T: Clone> Clone for PackedOr<T> {
    fn clone(&self) -> Self {
        match self.get() {
            Form::Packed(packed) => Self::from(packed.clone()),
            Form::Other(other) => Self::other(other.clone()),
        }
    }
}

impl<T: std::fmt::Debug> std::fmt::Debug for PackedOr<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.get() {
            Form::Packed(packed) => packed.fmt(f),
            Form::Other(other) => other.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    #[test]
    fn one_word_holds_either_and_drops_it_once() {
        assert_eq!(size_of::<PackedOr<Rc<u8>>>(), 8);
        let counted = Rc::new(7);
        let mut word = PackedOr::<Rc<u8>>::default();
        let FormMut::Packed(packed) = word.get_mut() else {
            panic!("packed at first")
        };
        packed.push(b"key", b"value");
        let twin = word.clone();
        word = PackedOr::other(Rc::clone(&counted));
        assert!(matches!(word.get(), Form::Other(c) if **c == 7));
        assert!(matches!(twin.get(), Form::Packed(p) if p.find(b"key").is_some()));
        let (a, b) = (word.clone(), word);
        assert_eq!(Rc::strong_count(&counted), 3);
        drop((a, b, twin));
        assert_eq!(Rc::strong_count(&counted), 1);
    }
}
