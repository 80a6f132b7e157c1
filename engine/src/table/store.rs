//! [`Store`]: values of one type addressed by 4-byte ids. It grows by blocks, so that nothing moves and no growth takes
//! long.

/// Number of a value in a [`Store`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id(pub u32);

/// Values in a block: growing costs one allocation of this many.
const BLOCK: usize = 256;

enum Slot<T> {
    Used(T),
    /// The next free slot, if any.
    Free(Option<u32>),
}

/// See the module's text.
pub struct Store<T> {
    blocks: Vec<Vec<Slot<T>>>,
    free: Option<u32>,
}

impl<T> Default for Store<T> {
    fn default() -> Self {
        Self {
            blocks: Vec::new(),
            free: None,
        }
    }
}

impl<T> Store<T> {
    /// Keeps `value`.
    pub fn insert(&mut self, value: T) -> Id {
        if let Some(no) = self.free {
            let slot = self.slot_mut(no);
            let Slot::Free(next) = std::mem::replace(slot, Slot::Used(value)) else {
                unreachable!("the free list names free slots only")
            };
            self.free = next;
            return Id(no);
        }
        if self.blocks.last().is_none_or(|b| b.len() == BLOCK) {
            self.blocks.push(Vec::with_capacity(BLOCK));
        }
        let block = self.blocks.last_mut().expect("pushed above when missing");
        block.push(Slot::Used(value));
        let no = (self.blocks.len() - 1) * BLOCK + self.blocks[self.blocks.len() - 1].len() - 1;
        Id(u32::try_from(no).expect("fewer objects than records, and those fit 4 bytes"))
    }

    /// Takes a value out. Panics when `id` is not in use.
    pub fn remove(&mut self, id: Id) -> T {
        let free = self.free;
        let Slot::Used(value) = std::mem::replace(self.slot_mut(id.0), Slot::Free(free)) else {
            unreachable!("object {} removed twice", id.0)
        };
        self.free = Some(id.0);
        value
    }

    fn slot_mut(&mut self, no: u32) -> &mut Slot<T> {
        &mut self.blocks[no as usize / BLOCK][no as usize % BLOCK]
    }

    /// The value of `id`, which is in use.
    #[inline]
    pub fn get(&self, id: Id) -> &T {
        match &self.blocks[id.0 as usize / BLOCK][id.0 as usize % BLOCK] {
            Slot::Used(value) => value,
            Slot::Free(_) => unreachable!("object {} is gone", id.0),
        }
    }

    /// The value of `id`, which is in use.
    #[inline]
    pub fn get_mut(&mut self, id: Id) -> &mut T {
        match self.slot_mut(id.0) {
            Slot::Used(value) => value,
            Slot::Free(_) => unreachable!("object {} is gone", id.0),
        }
    }

    /// Takes any one value out, from the end; used to take a store apart in slices.
    pub fn pop(&mut self) -> Option<T> {
        self.free = None;
        loop {
            match self.blocks.last_mut()?.pop() {
                Some(Slot::Used(value)) => {
                    return Some(value);
                }
                Some(Slot::Free(_)) => {}
                None => drop(self.blocks.pop()),
            }
        }
    }

    /// Bytes of the blocks, without what the values own elsewhere.
    pub fn memory(&self) -> usize {
        self.blocks.len() * BLOCK * size_of::<Slot<T>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_stay_valid_and_are_reused() {
        let mut store = Store::default();
        let ids: Vec<Id> = (0..1000).map(|i| store.insert(i)).collect();
        for (i, &id) in ids.iter().enumerate().step_by(3) {
            assert_eq!(store.remove(id), i);
        }
        let memory = store.memory();
        let again: Vec<Id> = (0..334).map(|i| store.insert(10_000 + i)).collect();
        assert_eq!(store.memory(), memory, "free slots are used first");
        assert!(again.iter().enumerate().all(|(i, &id)| *store.get(id) == 10_000 + i));
        assert!(
            ids.iter()
                .enumerate()
                .filter(|(i, _)| i % 3 != 0)
                .all(|(i, &id)| *store.get(id) == i)
        );
        assert_eq!(std::iter::from_fn(|| store.pop()).count(), 1000);
        assert_eq!(store.memory(), 0);
    }
}
