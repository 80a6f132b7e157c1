//! [`Budget`]: how much a script has done, and how much it may do.
//!
//! Counted in instructions of the interpreter, not in time: the same script is stopped at the same place on every replica
//! and at every replay. The interpreter reports every [`REPORT_EVERY`] instructions; functions that do much at once add
//! what they did.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use mlua::{HookTriggers, Lua, VmState};

use super::limits::REPORT_EVERY;

/// See the module's text. Copies count together.
#[derive(Clone, Default)]
pub(super) struct Budget(Rc<Counts>);

#[derive(Default)]
struct Counts {
    used: Cell<u64>,
    limit: Cell<u64>,
    /// Where the script was when it was stopped.
    stopped_at: RefCell<Option<(String, usize)>>,
}

impl Budget {
    /// Starts anew, with this much to spend.
    pub(super) fn begin(&self, lua: &Lua, limit: u64) -> mlua::Result<()> {
        self.0.used.set(0);
        self.0.limit.set(limit);
        self.0.stopped_at.replace(None);
        self.watch(lua, REPORT_EVERY)
    }

    /// Has the interpreter report every `every` instructions from now on.
    fn watch(&self, lua: &Lua, every: u32) -> mlua::Result<()> {
        let budget = self.clone();
        lua.set_global_hook(HookTriggers::new().every_nth_instruction(every), move |lua, place| {
            if let Err(error) = budget.spend(u64::from(every)) {
                if budget.0.stopped_at.borrow().is_none() {
                    let source = place.source().source.map(|name| name.into_owned());
                    let found = (source.unwrap_or_default(), place.current_line().unwrap_or(0));
                    budget.0.stopped_at.replace(Some(found));
                }
                // From here on at every instruction: a script that catches the error cannot go on.
                budget.watch(lua, 1)?;
                return Err(error);
            }
            Ok(VmState::Continue)
        })
    }

    /// Adds work.
    ///
    /// # Errors
    /// The budget is spent: to be passed on to the interpreter.
    pub(super) fn spend(&self, work: u64) -> mlua::Result<()> {
        let used = self.0.used.get().saturating_add(work);
        self.0.used.set(used);
        if used > self.0.limit.get() {
            return Err(mlua::Error::runtime("the script does too much"));
        }
        Ok(())
    }

    /// Work done since [`Budget::begin`].
    pub(super) fn used(&self) -> u64 {
        self.0.used.get()
    }

    /// Whether more was done than was allowed: whatever the script gave back does not count then.
    pub(super) fn is_spent(&self) -> bool {
        self.0.used.get() > self.0.limit.get()
    }

    /// Source and line at which the script was stopped, if that is known.
    pub(super) fn stopped_at(&self) -> Option<(String, usize)> {
        self.0
            .stopped_at
            .borrow()
            .clone()
            .filter(|(source, _)| source.starts_with('@'))
    }
}
