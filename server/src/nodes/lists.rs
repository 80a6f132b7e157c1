//! [`NodeLists`]: the newest [`NodeList`], for every thread of the process.
//!
//! Core 0 publishes a list once it is written down. A core looks at its turns' edges whether there is a newer one: one atomic load.
//! Between them it works with the list it has; a command never sees two.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::NodeList;

/// See the module's text.
#[derive(Debug)]
pub struct NodeLists {
    /// That of `newest`.
    epoch: AtomicU64,
    newest: Mutex<Arc<NodeList>>,
}

impl NodeLists {
    /// That begin with this one.
    pub fn new(list: Arc<NodeList>) -> Self {
        Self {
            epoch: AtomicU64::new(list.epoch),
            newest: Mutex::new(list),
        }
    }

    /// The newest one.
    pub fn newest(&self) -> Arc<NodeList> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The newest one, if it is newer than that of `epoch`.
    #[inline]
    pub fn newer_than(&self, epoch: u64) -> Option<Arc<NodeList>> {
        // The lock orders everything else that is read.
        (self.epoch.load(Ordering::Relaxed) > epoch).then(|| self.newest())
    }

    /// All cores shall take this list. One that is not newer is left out: entries of the log are carried out again at a start.
    pub fn publish(&self, list: Arc<NodeList>) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if list.epoch > newest.epoch {
            let epoch = list.epoch;
            *newest = list;
            self.epoch.store(epoch, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::list_for_tests;
    use super::*;

    #[test]
    fn only_newer_lists_are_taken() {
        let at = |epoch, nodes| {
            let list = list_for_tests(1, nodes);
            Arc::new(NodeList { epoch, ..list })
        };
        let lists = NodeLists::new(at(3, 3));
        assert!(lists.newer_than(3).is_none());
        for older in [at(2, 9), at(3, 9)] {
            lists.publish(older);
            assert_eq!(lists.newest(), at(3, 3));
        }
        lists.publish(at(5, 4));
        assert_eq!(lists.newer_than(3), Some(at(5, 4)));
        assert!(lists.newer_than(5).is_none());
    }
}
