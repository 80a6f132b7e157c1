//! [`SlowLog`]: the last commands that ran longer than a threshold (`SLOWLOG`).

use std::collections::VecDeque;

use slotcore_engine::cmd::{CommandSpec, Run, ServerCmd};

/// Arguments kept of one command; as in Redis, the last one then says how many more there were.
pub const ARGS_MAX: usize = 32;
/// Bytes kept of one argument; as in Redis, it then ends by saying how many more there were.
pub const ARG_BYTES_MAX: usize = 128;

/// What stands for a password.
const REDACTED: &[u8] = b"(redacted)";

/// Parameters of `CONFIG` whose values nobody is shown.
const SECRET_PARAMETERS: [&[u8]; 5] = [
    b"requirepass",
    b"masterauth",
    b"masteruser",
    b"tls-key-file-pass",
    b"tls-client-key-file-pass",
];

/// One slow command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlowCommand {
    /// Its number: grows, never starts anew, and is given by one core only.
    pub id: u64,
    /// When it ran, in seconds since 1970.
    pub at_s: u64,
    /// How long it ran, in microseconds.
    pub took_us: u64,
    /// Its arguments, shortened.
    pub args: Vec<Vec<u8>>,
    /// Address of the client.
    pub peer: String,
    /// Name of the client.
    pub client_name: Vec<u8>,
}

/// The last slow commands, newest first.
#[derive(Clone, Debug)]
pub struct SlowLog {
    entries: VecDeque<SlowCommand>,
    next_id: u64,
    id_step: u64,
}

impl Default for SlowLog {
    fn default() -> Self {
        Self::numbered(0, 1)
    }
}

impl SlowLog {
    /// An empty log whose commands are numbered `first`, `first + step`, and so on: cores must not give a number twice.
    pub fn numbered(first: u64, step: u64) -> Self {
        Self {
            entries: VecDeque::new(),
            next_id: first,
            id_step: step,
        }
    }

    /// True when a command of `took_us` microseconds enters the log (`threshold_us` as `slowlog-log-slower-than`).
    #[inline]
    pub fn is_slow(took_us: u64, threshold_us: i64) -> bool {
        u64::try_from(threshold_us).is_ok_and(|threshold| took_us >= threshold)
    }

    /// Enters a command and drops what exceeds `len_max`.
    pub fn push<'a>(
        &mut self,
        at_s: u64,
        took_us: u64,
        args: impl ExactSizeIterator<Item = &'a [u8]>,
        peer: String,
        client_name: &[u8],
        len_max: u32,
    ) {
        let args = shortened(args);
        self.entries.push_front(SlowCommand {
            id: self.next_id,
            at_s,
            took_us,
            args,
            peer,
            client_name: client_name.to_vec(),
        });
        self.next_id += self.id_step;
        self.limit(len_max);
    }

    /// Adds the entries of another core, newest first over both.
    pub fn merge(&mut self, other: &Self) {
        self.entries.extend(other.entries.iter().cloned());
        self.entries
            .make_contiguous()
            .sort_by_key(|entry| std::cmp::Reverse((entry.at_s, entry.id)));
    }

    /// Drops the oldest above `len_max`.
    pub fn limit(&mut self, len_max: u32) {
        self.entries.truncate(len_max as usize);
    }

    /// The entries, newest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &SlowCommand> {
        self.entries.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Forgets the entries; numbers go on.
    pub fn clear(&mut self) {
        self.entries.clear();
    }
}

fn shortened<'a>(args: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let total = args.len();
    let kept = if total > ARGS_MAX { ARGS_MAX - 1 } else { total };
    let mut out: Vec<Vec<u8>> = args
        .take(kept)
        .map(|arg| {
            let mut copy = arg[..arg.len().min(ARG_BYTES_MAX)].to_vec();
            if arg.len() > ARG_BYTES_MAX {
                copy.extend_from_slice(format!("... ({} more bytes)", arg.len() - ARG_BYTES_MAX).as_bytes());
            }
            copy
        })
        .collect();
    if total > kept {
        out.push(format!("... ({} more arguments)", total - kept).into_bytes());
    }
    out
}

/// Puts [`REDACTED`] in place of passwords and what is known of users in a command's words, of which the first is its name:
/// where Redis does.
pub fn redact(spec: &CommandSpec, words: &mut [&[u8]]) {
    let secrets = match spec.run {
        Run::Server(ServerCmd::Auth) => 1..words.len(),
        Run::Server(ServerCmd::AclSetUser | ServerCmd::AclDelUser | ServerCmd::AclGetUser) => 2..words.len(),
        Run::Server(ServerCmd::Hello) => {
            let auth = words.iter().position(|word| word.eq_ignore_ascii_case(b"auth"));
            auth.map_or(0..0, |at| at + 1..words.len().min(at + 3))
        }
        Run::Server(ServerCmd::ConfigSet) => {
            let secret = |name: &[u8]| SECRET_PARAMETERS.iter().any(|s| name.eq_ignore_ascii_case(s));
            for at in (2..words.len().saturating_sub(1)).step_by(2) {
                if secret(words[at]) {
                    words[at + 1] = REDACTED;
                }
            }
            0..0
        }
        _ => 0..0,
    };
    words[secrets].fill(REDACTED);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_shortened_as_redis_does() {
        let many: Vec<Vec<u8>> = (0..40).map(|i| format!("a{i}").into_bytes()).collect();
        let mut log = SlowLog::default();
        log.push(1, 2, many.iter().map(Vec::as_slice), "p".into(), b"n", 10);
        let long = [b'x'; 200];
        log.push(1, 2, [&long[..]].into_iter(), "p".into(), b"n", 10);
        let args: Vec<_> = log.iter().map(|entry| entry.args.clone()).collect();
        assert_eq!(args[1].len(), 32);
        assert_eq!(args[1][31], b"... (9 more arguments)");
        assert_eq!(args[0][0].len(), 128 + "... (72 more bytes)".len());
    }

    #[test]
    fn logs_of_several_cores_merge_by_time_and_have_numbers_of_their_own() {
        let mut logs = [SlowLog::numbered(0, 2), SlowLog::numbered(1, 2)];
        for (core, at_s) in [(0, 10), (0, 12), (1, 11), (1, 12), (0, 13)] {
            logs[core].push(at_s, 0, [].into_iter(), String::new(), b"", 9);
        }
        let [mut all, other] = logs;
        all.merge(&other);
        let found: Vec<_> = all.iter().map(|entry| (entry.at_s, entry.id)).collect();
        assert_eq!(found, [(13, 4), (12, 3), (12, 2), (11, 1), (10, 0)]);
        all.limit(2);
        assert_eq!(all.len(), 2);
    }

    #[test]
    fn the_oldest_go_first_and_numbers_go_on() {
        let mut log = SlowLog::default();
        for _ in 0..3 {
            log.push(0, 0, [].into_iter(), String::new(), b"", 2);
        }
        assert_eq!(log.iter().map(|entry| entry.id).collect::<Vec<_>>(), [2, 1]);
        log.clear();
        log.push(0, 0, [].into_iter(), String::new(), b"", 2);
        assert_eq!(log.iter().next().unwrap().id, 3);
        assert!(
            SlowLog::is_slow(5, 0) && SlowLog::is_slow(5, 5) && !SlowLog::is_slow(5, 6) && !SlowLog::is_slow(5, -1)
        );
    }

    #[test]
    fn passwords_are_hidden() {
        for (line, shown) in [
            ("auth user secret", "auth (redacted) (redacted)"),
            (
                "hello 3 AUTH user secret SETNAME x",
                "hello 3 AUTH (redacted) (redacted) SETNAME x",
            ),
            (
                "config set timeout 1 RequirePass secret",
                "config set timeout 1 RequirePass (redacted)",
            ),
            ("set requirepass secret", "set requirepass secret"),
            (
                "acl setuser alice >secret +get",
                "acl setuser (redacted) (redacted) (redacted)",
            ),
            ("acl deluser alice bob", "acl deluser (redacted) (redacted)"),
            ("acl getuser alice", "acl getuser (redacted)"),
            ("acl cat read", "acl cat read"),
        ] {
            let mut words: Vec<_> = line.split(' ').map(str::as_bytes).collect();
            let container = slotcore_engine::cmd::lookup(words[0]).expect("a command");
            let spec = container.subcommand(words[1]).unwrap_or(container);
            redact(spec, &mut words);
            assert_eq!(words.join(&b' '), shown.as_bytes());
        }
    }
}
