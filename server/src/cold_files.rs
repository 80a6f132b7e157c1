//! [`ColdFiles`]: the files of a core, read at once for commands that cannot be put off any more.

use std::cell::RefCell;
use std::rc::Rc;

use slotcore_engine::keyspace::{ColdReader, FileKeys, Keyspace};
use slotcore_engine::store::{Store, StoreError};

use crate::store_files::{FilesNow, describe};

/// What kept a file from being read, if something did.
pub type Failure = Rc<RefCell<Option<StoreError>>>;

/// See the module's text.
pub struct ColdFiles {
    store: Rc<RefCell<Store>>,
    files: FilesNow,
    failure: Option<Failure>,
}

impl ColdFiles {
    /// Of a core that serves. A file that cannot be read ends the process: an entry that is committed can neither be executed
    /// nor be left out then.
    pub fn new(store: Rc<RefCell<Store>>, files: FilesNow) -> Self {
        Self {
            store,
            files,
            failure: None,
        }
    }

    /// The same while nobody is served: the first failure is noted in `failure`, nothing is read from then on, and what is
    /// executed nevertheless counts for nothing.
    pub fn at_start(store: Rc<RefCell<Store>>, files: FilesNow, failure: Failure) -> Self {
        Self {
            store,
            files,
            failure: Some(failure),
        }
    }

    fn has_failed(&self) -> bool {
        self.failure.as_ref().is_some_and(|failure| failure.borrow().is_some())
    }

    fn check<T>(&self, read: Result<T, StoreError>) -> Option<T> {
        match (read, &self.failure) {
            (Ok(found), _) => Some(found),
            (Err(error), Some(failure)) => {
                failure.borrow_mut().get_or_insert(error);
                None
            }
            (Err(error), None) => panic!("what a committed command needs cannot be read: {}", describe(&error)),
        }
    }
}

impl ColdReader for ColdFiles {
    fn make_known(&mut self, ks: &mut Keyspace, key: &[u8]) {
        if !self.has_failed() {
            let hash = ks.key_hash(key);
            let fetched = self.store.borrow_mut().fetch_now(ks, hash, key, &mut self.files);
            self.check(fetched);
        }
    }

    fn foresee(&mut self, ks: &mut Keyspace, key: &[u8]) {
        let hash = ks.key_hash(key);
        self.store.borrow_mut().foresee(ks, hash, key);
    }

    fn range(&mut self, ks: &Keyspace, from_ord: u64, count: usize) -> Option<FileKeys> {
        if self.has_failed() {
            return None;
        }
        let found = self.store.borrow_mut().range_now(ks, from_ord, count, &mut self.files);
        self.check(found)
    }
}
