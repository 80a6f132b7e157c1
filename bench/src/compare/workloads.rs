//! [`Workload`]: what is sent to each server of a comparison, by either client.

use crate::load::keys::Distribution;

/// Keys there are: all of them are loaded before anything is measured.
pub const KEYS: u64 = 1_000_000;
/// Bytes of a value.
pub const VALUE_BYTES: u32 = 50;

/// One line of a comparison.
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
    /// How keys or elements are drawn from [`KEYS`].
    pub distribution: Distribution,
    /// How much is sent.
    pub amount: Amount,
}

/// How much is sent, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// So many requests, each connection as fast as it is answered.
    Requests(u64),
    /// For so many seconds, each connection as fast as it is answered.
    Seconds(u32),
    /// Requests at this rate for so many seconds, whether answers come or not (open loop).
    Rate {
        /// Requests per second.
        per_second: u32,
        /// Seconds.
        seconds: u32,
    },
}

impl Workload {
    /// Arguments of redis-benchmark, the number of requests apart.
    pub fn redis_benchmark_args(&self) -> Vec<String> {
        let test = match self.command {
            "ping" => "ping_mbulk",
            other => other,
        };
        let mut args: Vec<String> = ["-t", test].map(str::to_owned).into();
        for (flag, value) in [("-c", self.connections), ("-P", self.pipeline), ("-d", VALUE_BYTES)] {
            args.extend([flag.to_owned(), value.to_string()]);
        }
        if self.distribution != Distribution::Single {
            args.extend(["-r".to_owned(), KEYS.to_string()]);
        }
        args
    }

    /// True when a reply of the echo that is the floor is about as large as this one's request and reply.
    pub fn has_floor(&self) -> bool {
        let large = ["lrange", "mset", "hset_", "hgetall", "zrange", "xread"];
        matches!(self.amount, Amount::Requests(_)) && !large.iter().any(|name| self.command.starts_with(name))
    }

    /// True when requests have their moments, whether answers come or not.
    pub fn is_open(&self) -> bool {
        matches!(self.amount, Amount::Rate { .. })
    }

    /// True when a time is given and no number of requests.
    pub fn is_timed(&self) -> bool {
        !matches!(self.amount, Amount::Requests(_))
    }

    /// The same with so many requests of a connection under way.
    pub const fn piped(self, pipeline: u32) -> Self {
        Self { pipeline, ..self }
    }

    /// The same from one connection.
    pub const fn alone(self) -> Self {
        Self { connections: 1, ..self }
    }
}

/// From 50 connections, about keys drawn evenly.
pub const fn spread(name: &'static str, command: &'static str, pipeline: u32, requests: u64) -> Workload {
    Workload {
        name,
        command,
        connections: 50,
        pipeline,
        distribution: Distribution::Uniform,
        amount: Amount::Requests(requests),
    }
}

/// SET, from so many connections, for so many seconds.
pub const fn sets_for(name: &'static str, connections: u32, seconds: u32) -> Workload {
    Workload {
        connections,
        amount: Amount::Seconds(seconds),
        ..spread(name, "set", 1, 0)
    }
}

/// From 50 connections, always about the same key and element, as redis-benchmark does without `-r`.
pub const fn one_key(name: &'static str, command: &'static str, pipeline: u32, requests: u64) -> Workload {
    Workload {
        distribution: Distribution::Single,
        ..spread(name, command, pipeline, requests)
    }
}

/// SET and GET at a fixed rate, for so many seconds; half of the requests go to about 1 % of the keys.
pub const fn at_rate(name: &'static str, per_second: u32, seconds: u32) -> Workload {
    Workload {
        distribution: Distribution::Zipfian,
        amount: Amount::Rate { per_second, seconds },
        ..spread(name, "mixed", 1, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redis_benchmark_is_asked_for_the_same() {
        let one = one_key("x", "incr", 16, 1).redis_benchmark_args().join(" ");
        assert_eq!(one, "-t incr -c 50 -P 16 -d 50");
        let many = spread("x", "get", 1, 1).alone().redis_benchmark_args().join(" ");
        assert_eq!(many, "-t get -c 1 -P 1 -d 50 -r 1000000");
        assert!(one_key("x", "ping", 1, 1).redis_benchmark_args()[1] == "ping_mbulk");
    }
}
