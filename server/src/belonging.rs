//! [`Belonging`]: on which core a connection would have the shortest way.
//!
//! A connection by the any-slot port may come in on any core. When nearly all it asks for lives on another one, it is
//! better served there: its socket is handed over. Pure counting, a window of commands at a time, so that a connection
//! that changes its habits is moved again, and one without habits stays.

use slotcore_rt::ids::CoreId;

/// Commands that are looked at together.
const WINDOW: u16 = 256;
/// So many of them for one other core make a connection belong there.
const ENOUGH: u16 = WINDOW / 10 * 9;

/// See the module's text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Belonging {
    /// Who owned the keys of the window's first command,
    owner: CoreId,
    /// and so many of those after it.
    hits: u16,
    seen: u16,
    /// Where it should go.
    wish: Option<CoreId>,
}

impl Belonging {
    /// A command about keys of `owner` was seen on core `me`.
    #[inline]
    pub fn note(&mut self, owner: CoreId, me: CoreId) {
        if self.seen == 0 {
            self.owner = owner;
        }
        self.hits += u16::from(owner == self.owner);
        self.seen += 1;
        if self.seen == WINDOW {
            self.wish = (self.hits >= ENOUGH && self.owner != me).then_some(self.owner);
            (self.hits, self.seen) = (0, 0);
        }
    }

    /// True at the one command that completed a window with a wish.
    #[inline]
    pub fn wishes_now(&self) -> bool {
        self.seen == 0 && self.wish.is_some()
    }

    /// The core that the connection should be handed over to.
    #[inline]
    pub fn wish(&self) -> Option<CoreId> {
        self.wish
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(owners: impl Iterator<Item = u16>) -> Option<CoreId> {
        let mut belonging = Belonging::default();
        owners.for_each(|owner| belonging.note(CoreId(owner), CoreId(0)));
        belonging.wish()
    }

    #[test]
    fn only_a_strong_habit_moves_a_connection() {
        let window = usize::from(WINDOW);
        assert_eq!(after(std::iter::repeat_n(1, window - 1)), None, "too few to tell");
        assert_eq!(after(std::iter::repeat_n(1, window)), Some(CoreId(1)));
        assert_eq!(after(std::iter::repeat_n(0, window)), None, "it is at home");
        assert_eq!(after((0..window).map(|n| (n % 2) as u16)), None);
        assert_eq!(after((0..window).map(|n| u16::from(n % 20 != 19))), Some(CoreId(1)));
        let changed = std::iter::repeat_n(1, window).chain((0..window).map(|n| (n % 2) as u16));
        assert_eq!(after(changed), None, "the habit is gone");
    }
}
