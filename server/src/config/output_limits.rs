//! [`OutputBufferLimits`]: how many bytes of replies a client may leave unread before it is disconnected, in the syntax
//! of Redis's `client-output-buffer-limit`.

use std::fmt;
use std::time::Duration;

use slotcore_netio::UnsentLimit;

use super::parse::memory_bytes;

/// Limits of one class of clients; 0 = no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputLimit {
    /// Closed at once above this many bytes.
    pub hard_bytes: u64,
    /// Closed when above this many bytes for [`OutputLimit::soft_seconds`].
    pub soft_bytes: u64,
    /// Patience with the soft limit, in seconds.
    pub soft_seconds: u32,
}

impl OutputLimit {
    /// The same for the core's connections.
    pub fn for_connections(self) -> UnsentLimit {
        let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        UnsentLimit {
            hard_bytes: bytes(self.hard_bytes),
            soft_bytes: bytes(self.soft_bytes),
            soft_time: Duration::from_secs(u64::from(self.soft_seconds)),
        }
    }
}

/// Limits of every class of clients.
///
/// By default a normal client has none: a connection whose replies pile up is no longer read, which bounds its memory
/// without dropping anybody (see `netio`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputBufferLimits {
    /// Ordinary connections.
    pub normal: OutputLimit,
    /// Replicas: kept for clients that set it; replication does not go through client connections here.
    pub replica: OutputLimit,
    /// Subscribers.
    pub pubsub: OutputLimit,
}

impl Default for OutputBufferLimits {
    fn default() -> Self {
        Self {
            normal: OutputLimit::default(),
            replica: OutputLimit {
                hard_bytes: 256 << 20,
                soft_bytes: 64 << 20,
                soft_seconds: 60,
            },
            pubsub: OutputLimit {
                hard_bytes: 32 << 20,
                soft_bytes: 8 << 20,
                soft_seconds: 60,
            },
        }
    }
}

impl OutputBufferLimits {
    /// Changes the classes named in `text`: groups of `<class> <hard> <soft> <soft-seconds>`. Nothing changes on error.
    ///
    /// # Errors
    /// The text Redis answers with.
    pub fn update(&mut self, text: &str) -> Result<(), String> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        if words.is_empty() || !words.len().is_multiple_of(4) {
            return Err("Wrong number of arguments in buffer limit configuration.".to_string());
        }
        let mut next = *self;
        for group in words.chunks_exact(4) {
            let class = match group[0].to_ascii_lowercase().as_str() {
                "normal" => &mut next.normal,
                "replica" | "slave" => &mut next.replica,
                "pubsub" => &mut next.pubsub,
                _ => return Err("Invalid client class specified in buffer limit configuration.".to_string()),
            };
            let (hard, soft, seconds) = (
                memory_bytes(group[1]),
                memory_bytes(group[2]),
                group[3].parse::<u32>().ok(),
            );
            let (Some(hard_bytes), Some(soft_bytes), Some(soft_seconds)) = (hard, soft, seconds) else {
                return Err("Error in hard, soft or soft_seconds setting in buffer limit configuration.".to_string());
            };
            *class = OutputLimit {
                hard_bytes,
                soft_bytes,
                soft_seconds,
            };
        }
        *self = next;
        Ok(())
    }
}

impl fmt::Display for OutputBufferLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (name, class) in [
            ("normal", self.normal),
            ("slave", self.replica),
            ("pubsub", self.pubsub),
        ] {
            write!(
                f,
                "{separator}{name} {} {} {}",
                class.hard_bytes, class.soft_bytes, class.soft_seconds
            )?;
            separator = " ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_and_read_back_is_the_same() {
        let mut limits = OutputBufferLimits::default();
        limits.update("normal 1mb 2kb 7 replica 0 0 0").unwrap();
        assert_eq!(
            limits.to_string(),
            "normal 1048576 2048 7 slave 0 0 0 pubsub 33554432 8388608 60"
        );
        let mut again = OutputBufferLimits::default();
        again.update(&limits.to_string()).unwrap();
        assert_eq!(again, limits);
    }

    #[test]
    fn a_bad_group_changes_nothing() {
        let mut limits = OutputBufferLimits::default();
        for (text, error) in [
            (
                "foo 1 2 3",
                "Invalid client class specified in buffer limit configuration.",
            ),
            ("normal 1 2", "Wrong number of arguments in buffer limit configuration."),
            ("", "Wrong number of arguments in buffer limit configuration."),
            (
                "normal 1 2 3 pubsub x 2 3",
                "Error in hard, soft or soft_seconds setting in buffer limit configuration.",
            ),
        ] {
            assert_eq!(limits.update(text).unwrap_err(), error);
            assert_eq!(limits, OutputBufferLimits::default());
        }
    }
}
