//! [`Watch`]: when a server says that it is at work in the background, asked while it is measured.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use slotcore_rt::thread;

use crate::ask::{Asker, text};

/// Time between two questions: seldom enough to cost nothing beside 20,000 requests a second.
const EVERY: Duration = Duration::from_millis(250);

/// See the module's text.
pub struct Watch {
    end: Sender<()>,
    thread: JoinHandle<Vec<f64>>,
}

impl Watch {
    /// Begins to ask the server at `addr`. One that stops answering is not asked any more.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start(addr: SocketAddr) -> io::Result<Self> {
        let (end, ended) = mpsc::channel();
        let thread = thread::spawn("background", None, move || {
            let (began, mut found) = (Instant::now(), Vec::new());
            let mut asker = None;
            // Short runs are over before the first question.
            while matches!(ended.recv_timeout(EVERY), Err(RecvTimeoutError::Timeout)) {
                if asker.is_none() {
                    asker = Asker::connect(addr).ok();
                }
                let Some(reply) = asker
                    .as_mut()
                    .and_then(|asker| asker.ask(&["INFO", "persistence"]).ok())
                else {
                    break;
                };
                if is_at_work(&text(&reply)) {
                    found.push(began.elapsed().as_secs_f64());
                }
            }
            found
        })?;
        Ok(Self { end, thread })
    }

    /// Ends it; the moments at which there was background work, in seconds from the start.
    pub fn stop(self) -> Vec<f64> {
        // A thread that ended early has found what it found.
        let _ = self.end.send(());
        self.thread.join().expect("asking does not panic")
    }
}

/// Fields that tell of a rewrite, a save, a flush or a merge under way all end alike.
fn is_at_work(info: &str) -> bool {
    info.lines()
        .filter_map(|line| line.trim_end().split_once(':'))
        .any(|(name, value)| name.ends_with("_in_progress") && value != "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_work_in_progress_counts() {
        assert!(is_at_work("loading:0\r\naof_rewrite_in_progress:1\r\n"));
        assert!(!is_at_work("rdb_bgsave_in_progress:0\r\naof_enabled:1\r\n"));
    }
}
