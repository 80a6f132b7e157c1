//! What is compared: one table, run by either client.

/// Keys there are: all of them are loaded before anything is measured.
pub const KEYS: u64 = 1_000_000;
/// Bytes of a value.
pub const VALUE_BYTES: u32 = 50;

/// One line of the comparison.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// Its name in the table.
    pub name: &'static str,
    /// What is asked, by the name both clients have for it.
    pub command: &'static str,
    /// Connections.
    pub connections: u32,
    /// Requests of a connection under way.
    pub pipeline: u32,
    /// Keys or elements are drawn from [`KEYS`]; otherwise it is always the same one.
    pub spread: bool,
    /// Requests of a run.
    pub requests: u64,
}

impl Workload {
    /// Arguments of redis-benchmark, the number of requests apart.
    pub fn redis_benchmark_args(&self) -> Vec<String> {
        let mut args: Vec<String> = ["-t", self.command].map(str::to_owned).into();
        for (flag, value) in [("-c", self.connections), ("-P", self.pipeline), ("-d", VALUE_BYTES)] {
            args.extend([flag.to_owned(), value.to_string()]);
        }
        if self.spread {
            args.extend(["-r".to_owned(), KEYS.to_string()]);
        }
        args
    }

    /// True when a reply of the echo that is the floor is about as large as this one's request and reply.
    pub fn has_floor(&self) -> bool {
        !matches!(self.command, "lrange_600" | "mset")
    }
}

const fn spread(name: &'static str, command: &'static str, pipeline: u32, requests: u64) -> Workload {
    Workload {
        name,
        command,
        connections: 50,
        pipeline,
        spread: true,
        requests,
    }
}

const fn alone(name: &'static str, command: &'static str, requests: u64) -> Workload {
    Workload {
        connections: 1,
        ..spread(name, command, 1, requests)
    }
}

const fn one_key(name: &'static str, command: &'static str, requests: u64) -> Workload {
    Workload {
        spread: false,
        ..spread(name, command, 16, requests)
    }
}

/// Slotcore in mode `everysec` beside a peer that writes no log.
pub const MEMORY: &[Workload] = &[
    spread("SET P=1", "set", 1, 200_000),
    spread("GET P=1", "get", 1, 200_000),
    spread("SET P=16", "set", 16, 1_500_000),
    spread("GET P=16", "get", 16, 1_500_000),
    spread("SET P=64", "set", 64, 3_000_000),
    spread("GET P=64", "get", 64, 3_000_000),
    alone("one client SET", "set", 20_000),
    alone("one client GET", "get", 20_000),
    one_key("one key SET P=16", "set", 1_000_000),
    one_key("INCR P=16", "incr", 1_000_000),
    one_key("LPUSH P=16", "lpush", 1_000_000),
    // Before the list is emptied.
    one_key("LRANGE_600 P=16", "lrange_600", 30_000),
    one_key("RPOP P=16", "rpop", 1_000_000),
    one_key("SADD P=16", "sadd", 1_000_000),
    one_key("HSET P=16", "hset", 1_000_000),
    one_key("ZADD P=16", "zadd", 1_000_000),
    one_key("MSET P=16", "mset", 200_000),
];

/// Both sides durable: mode `always` beside `appendfsync always`.
pub const ALWAYS: &[Workload] = &[
    spread("always SET P=1", "set", 1, 100_000),
    spread("always GET P=1", "get", 1, 200_000),
    spread("always SET P=16", "set", 16, 800_000),
    spread("always SET P=64", "set", 64, 1_500_000),
    alone("always one client SET", "set", 5_000),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_generator_knows_every_command_and_no_name_comes_twice() {
        let mut names = Vec::new();
        for workload in MEMORY.iter().chain(ALWAYS) {
            assert!(
                crate::load::workload::Workload::new(workload.command, 0, 1).is_ok(),
                "{workload:?}"
            );
            names.push(workload.name);
        }
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn redis_benchmark_is_asked_for_the_same() {
        let one = one_key("x", "incr", 1).redis_benchmark_args().join(" ");
        assert_eq!(one, "-t incr -c 50 -P 16 -d 50");
        let many = alone("x", "get", 1).redis_benchmark_args().join(" ");
        assert_eq!(many, "-t get -c 1 -P 1 -d 50 -r 1000000");
    }
}
