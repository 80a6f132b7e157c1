//! [`Saving`]: what a core has been asked to make durable at once, and the files it keeps for a backup.
//!
//! A backup is taken by a program that reads the files itself: what the log calls durable is never changed, only given up
//! when it is old. So all that a core does for it is to name a frame up to which the log is durable, and to let nothing
//! be deleted or used again until the program is done, or was not heard of for [`LEASE`].

use std::time::Duration;

use slotcore_rt::clock::Tick;
use slotcore_rt::ids::{FrameNo, LogIndex};

/// Files are kept so long after the program was last heard of: it asks every few seconds.
pub const LEASE: Duration = Duration::from_secs(60);

/// What a backup is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupView {
    /// Everything up to this frame of the core's log is durable, and belongs to the backup.
    pub frame: FrameNo,
    /// The last entry that was applied: it is in one of those frames.
    pub index: LogIndex,
}

#[derive(Clone, Copy, Debug)]
struct Backup {
    until: Tick,
    view: Option<BackupView>,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct Saving {
    sync: bool,
    wait: bool,
    backup: Option<Backup>,
}

impl Saving {
    /// Everything acknowledged is to be durable before anything more is answered (`SAVE`).
    pub fn save(&mut self) {
        (self.sync, self.wait) = (true, true);
    }

    /// Everything acknowledged is to be durable soon (`BGSAVE`).
    pub fn save_soon(&mut self) {
        self.sync = true;
    }

    /// A backup begins: of everything acknowledged so far. False when one is under way.
    pub fn begin_backup(&mut self, now: Tick) -> bool {
        if self.backup.is_some() {
            return false;
        }
        self.save();
        let (until, view) = (now + LEASE, None);
        self.backup = Some(Backup { until, view });
        true
    }

    /// The backup under way; its program is still there.
    pub fn renew(&mut self, now: Tick) -> Option<BackupView> {
        let backup = self.backup.as_mut()?;
        backup.until = now + LEASE;
        backup.view
    }

    /// Files need not be kept any more. False when none were.
    pub fn end_backup(&mut self) -> bool {
        self.backup.take().is_some()
    }

    /// What is to be made durable now; the second is true when everything else waits for it. Asked once.
    pub fn take_wish(&mut self) -> Option<bool> {
        let wait = std::mem::take(&mut self.wait);
        std::mem::take(&mut self.sync).then_some(wait)
    }

    /// Something was asked that has not been done.
    pub fn has_wish(&self) -> bool {
        self.sync
    }

    /// Everything up to here is durable.
    pub fn saved(&mut self, view: BackupView) {
        if let Some(backup) = &mut self.backup {
            backup.view.get_or_insert(view);
        }
    }

    /// Whether files are to be kept. Ends a backup whose program was not heard of for too long.
    pub fn keeps_files(&mut self, now: Tick) -> bool {
        if self.backup.is_some_and(|backup| now >= backup.until) {
            self.backup = None;
        }
        self.backup.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_lasts_as_long_as_somebody_asks_for_it() {
        let mut saving = Saving::default();
        assert_eq!(saving.take_wish(), None);
        assert!(saving.begin_backup(Tick(1)));
        assert!(!saving.begin_backup(Tick(2)), "one at a time");
        assert_eq!(saving.take_wish(), Some(true));
        assert_eq!(saving.take_wish(), None);
        assert_eq!(saving.renew(Tick(3)), None);
        let view = BackupView {
            frame: FrameNo(7),
            index: LogIndex(9),
        };
        saving.saved(view);
        saving.saved(BackupView {
            frame: FrameNo(8),
            ..view
        });
        assert_eq!(saving.renew(Tick(4)), Some(view), "it stays what it was");
        assert!(saving.keeps_files(Tick(4)));
        assert!(!saving.keeps_files(Tick(4) + LEASE));
        assert_eq!(saving.renew(Tick(5) + LEASE), None);
        assert!(!saving.end_backup());
        assert!(saving.begin_backup(Tick(6) + LEASE) && saving.end_backup());
    }

    #[test]
    fn what_is_saved_soon_holds_nobody_up() {
        let mut saving = Saving::default();
        saving.save_soon();
        assert!(saving.has_wish());
        assert_eq!(saving.take_wish(), Some(false));
        assert!(!saving.has_wish() && !saving.keeps_files(Tick(1)));
    }
}
