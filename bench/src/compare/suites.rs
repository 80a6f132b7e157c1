//! The named and versioned comparisons. Whoever changes what one measures raises its version: results of different
//! versions must not stand beside each other.

use super::workloads::{VALUE_BYTES, Workload, at_rate, one_key, sets_for, spread};

/// A comparison that has a name.
#[derive(Debug)]
pub struct Suite {
    /// How it is asked for, and what its files are called.
    pub name: &'static str,
    /// Of what is measured.
    pub version: u32,
    /// Title of its tables.
    pub title: &'static str,
    /// What it shows, in a sentence or two for the reader of the tables.
    pub about: &'static str,
    /// Its parts.
    pub stages: &'static [Stage],
}

/// Servers side by side under the same workloads.
#[derive(Debug)]
pub struct Stage {
    /// Title of its table, when a suite has several.
    pub title: &'static str,
    /// Who is compared.
    pub field: Field,
    /// What they do; nothing: loading keys, memory, bytes written and restart are what is measured.
    pub workloads: &'static [Workload],
    /// Both clients whatever the command line says.
    pub both_clients: bool,
}

/// Who takes part in a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Slotcore `everysec` and `off`; peers without a log.
    Memory,
    /// Slotcore `always`, peers that sync at every write.
    Always,
    /// Slotcore `everysec`; peers without a log.
    Everysec,
    /// All durabilities of both, filled with this.
    Footprint(Filled),
    /// Slotcore with 1, 2 and 8 cores by core ports and by the any-slot port; Redis with I/O threads, and as a cluster.
    Cores,
    /// So many nodes that all hold everything, Slotcore's and etcd's. No keys are loaded.
    Replicated(u16),
    /// So many nodes of Slotcore that all hold everything, and one: what replication costs.
    Nodes(u16),
    /// Three nodes of Slotcore; Redis with two replicas, each write waiting for one. No keys are loaded.
    Waited,
    /// Peers alone.
    Peers,
}

/// What memory, bytes written and restart are measured of: so many pieces, each written by one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// Keys of 16 bytes with values of 50.
    Keys,
    /// Hashes of ten fields, 16 bytes each with its value.
    Hashes,
    /// Members of 20 bytes in one sorted set.
    Members,
}

impl Filled {
    /// The request, as the load generator takes it, and bytes of a value.
    pub fn request(self) -> (&'static str, u32) {
        match self {
            Self::Keys => ("set", VALUE_BYTES),
            Self::Hashes => (
                "HSET hash:{number} field0 {value} field1 {value} field2 {value} field3 {value} field4 {value} \
                 field5 {value} field6 {value} field7 {value} field8 {value} field9 {value}",
                10,
            ),
            // One number a request, so that each member is written once.
            Self::Members => ("ZADD myzset 0 element:{number}", VALUE_BYTES),
        }
    }

    /// Bytes of one with its key, score or names.
    pub fn bytes(self) -> u64 {
        match self {
            Self::Keys => 16 + u64::from(VALUE_BYTES),
            Self::Hashes => 17 + 10 * 16,
            Self::Members => 20 + 8,
        }
    }

    /// Keys there are when `pieces` were written.
    pub fn keys(self, pieces: u64) -> u64 {
        match self {
            Self::Keys | Self::Hashes => pieces,
            Self::Members => 1,
        }
    }
}

impl Field {
    /// True when all keys are set before anything is measured.
    pub fn has_keys(self) -> bool {
        !matches!(self, Self::Replicated(_) | Self::Waited)
    }

    /// True when every write waits for a device.
    pub fn waits_for_device(self) -> bool {
        matches!(self, Self::Always | Self::Replicated(_) | Self::Nodes(_) | Self::Waited)
    }
}

/// All of them, in the order they run in.
pub const SUITES: &[Suite] = &[
    Suite {
        name: "redis-default",
        version: 2,
        title: "SET and GET beside Redis",
        about: "50 clients, 50-byte values, 1 M keys, one core.",
        stages: &[
            Stage {
                title: "Not flushed at every write",
                field: Field::Memory,
                workloads: SET_GET,
                both_clients: false,
            },
            Stage {
                title: "Every write on disk before it is answered",
                field: Field::Always,
                workloads: SET_GET_ALWAYS,
                both_clients: false,
            },
        ],
    },
    Suite {
        name: "default-set",
        version: 1,
        title: "The default set of redis-benchmark",
        about: "50 clients, 50-byte values, always the same key, as redis-benchmark asks without -r; one core.",
        stages: &[Stage {
            title: "",
            field: Field::Everysec,
            workloads: DEFAULT_SET,
            both_clients: false,
        }],
    },
    Suite {
        name: "data-types",
        version: 1,
        title: "Other types and commands",
        about: "50 clients, 50-byte values; a hash, a set and a sorted set of up to 1 M elements, a hash of 20 fields, a stream of \
                10,000 entries, a script that reads a key; one core.",
        stages: &[Stage {
            title: "",
            field: Field::Everysec,
            workloads: DATA_TYPES,
            both_clients: false,
        }],
    },
    Suite {
        name: "one-client",
        version: 2,
        title: "One client, one command at a time",
        about: "Latency of a single connection that waits for each reply.",
        stages: &[
            Stage {
                title: "Not flushed at every write",
                field: Field::Everysec,
                workloads: &[
                    spread("SET", "set", 1, 30_000).alone(),
                    spread("GET", "get", 1, 30_000).alone(),
                ],
                both_clients: false,
            },
            Stage {
                title: "Every write on disk before it is answered",
                field: Field::Always,
                workloads: &[spread("SET", "set", 1, 8_000).alone()],
                both_clients: false,
            },
        ],
    },
    Suite {
        name: "cores",
        version: 1,
        title: "More cores",
        about: "50 clients, 50-byte values, 1 M keys. CPU time a command is what tells how throughput scales where processors \
                are many; with few, servers and client share them.",
        stages: &[Stage {
            title: "",
            field: Field::Cores,
            workloads: &[
                spread("SET P=1", "set", 1, 40_000),
                spread("GET P=1", "get", 1, 40_000),
                spread("SET P=16", "set", 16, 300_000),
                spread("GET P=16", "get", 16, 300_000),
            ],
            both_clients: false,
        }],
    },
    Suite {
        name: "latency",
        version: 2,
        title: "Latency at a fixed rate",
        about: "Open loop: 20,000 requests a second, 90 % GET and 10 % SET, zipfian over 1 M keys; latency from the moment at \
                which a request was due.",
        stages: &[
            Stage {
                title: "Not flushed at every write",
                field: Field::Everysec,
                workloads: &[at_rate("mixed at 20,000/s", 20_000, 8)],
                both_clients: false,
            },
            Stage {
                title: "Every write on disk before it is answered",
                field: Field::Always,
                workloads: &[at_rate("mixed at 20,000/s", 20_000, 8)],
                both_clients: false,
            },
        ],
    },
    Suite {
        name: "footprint",
        version: 3,
        title: "Memory, bytes written, restart",
        about: "1 M of each, written once at pipeline 64.",
        stages: &[
            filled("Keys of 16 bytes with 50", Filled::Keys),
            filled("Hashes of ten fields, 160 bytes", Filled::Hashes),
            filled("Members of a sorted set", Filled::Members),
        ],
    },
    Suite {
        name: "replicated",
        version: 2,
        title: "Replicated writes beside etcd",
        about: "SET (PUT) of 50-byte values over 1 M keys. Each client has a connection to the leader and waits for each \
                answer; a write is on the disk of a majority before it is answered. All nodes share one processor.",
        stages: &[
            Stage {
                title: "Three nodes",
                field: Field::Replicated(3),
                workloads: REPLICATED,
                both_clients: false,
            },
            Stage {
                title: "One node",
                field: Field::Replicated(1),
                workloads: REPLICATED,
                both_clients: false,
            },
        ],
    },
    Suite {
        name: "nodes",
        version: 1,
        title: "What replication costs",
        about: "50-byte values over 1 M keys, `--durability always`; 50 clients, but for the line that says one. All nodes share one \
                processor, so processor time is that of all of them, and rates tell of one third of a machine each.",
        stages: &[
            Stage {
                title: "Three nodes beside one",
                field: Field::Nodes(3),
                workloads: &[
                    spread("SET, 1 client", "set", 1, 6_000).alone(),
                    spread("SET P=1", "set", 1, 60_000),
                    spread("SET P=16", "set", 16, 300_000),
                    spread("GET P=1", "get", 1, 100_000),
                    spread("GET P=16", "get", 16, 600_000),
                ],
                both_clients: false,
            },
            Stage {
                title: "Writes beside Redis, which has each on a replica before `WAIT` answers; its latencies are of commands, half of them WAIT",
                field: Field::Waited,
                workloads: &[
                    sets_for("1 client", 1, 2),
                    sets_for("50 clients", 50, 3),
                    sets_for("50 clients, P=16", 50, 3).piped(16),
                ],
                both_clients: false,
            },
        ],
    },
    Suite {
        name: "clients",
        version: 1,
        title: "What the clients cost",
        about: "The same server driven by both clients: where the client is the limit, a rate says nothing about a server.",
        stages: &[Stage {
            title: "",
            field: Field::Peers,
            workloads: &[
                spread("GET P=1", "get", 1, 100_000),
                spread("GET P=16", "get", 16, 800_000),
                spread("GET P=64", "get", 64, 1_000_000),
            ],
            both_clients: true,
        }],
    },
];

const fn filled(title: &'static str, with: Filled) -> Stage {
    Stage {
        title,
        field: Field::Footprint(with),
        workloads: &[],
        both_clients: false,
    }
}

const SET_GET: &[Workload] = &[
    spread("SET P=1", "set", 1, 150_000),
    spread("GET P=1", "get", 1, 150_000),
    spread("SET P=16", "set", 16, 1_000_000),
    spread("GET P=16", "get", 16, 1_000_000),
    spread("SET P=64", "set", 64, 1_500_000),
    spread("GET P=64", "get", 64, 1_500_000),
];

const SET_GET_ALWAYS: &[Workload] = &[
    spread("SET P=1", "set", 1, 100_000),
    spread("GET P=1", "get", 1, 150_000),
    spread("SET P=16", "set", 16, 600_000),
    spread("GET P=16", "get", 16, 1_000_000),
    spread("SET P=64", "set", 64, 1_000_000),
    spread("GET P=64", "get", 64, 1_500_000),
];

/// etcd is some thirty times slower than a store in memory: equal times, not equal numbers.
const REPLICATED: &[Workload] = &[
    sets_for("1 client", 1, 2),
    sets_for("50 clients", 50, 3),
    sets_for("200 clients", 200, 3),
];

/// In the order of redis-benchmark, whose lists and sets each test finds as the one before has left them.
const DEFAULT_SET: &[Workload] = &[
    one_key("PING_INLINE P=1", "ping_inline", 1, 40_000),
    one_key("PING_MBULK P=1", "ping", 1, 40_000),
    one_key("SET P=1", "set", 1, 40_000),
    one_key("GET P=1", "get", 1, 40_000),
    one_key("INCR P=1", "incr", 1, 40_000),
    one_key("LPUSH P=1", "lpush", 1, 40_000),
    one_key("RPUSH P=1", "rpush", 1, 40_000),
    one_key("LPOP P=1", "lpop", 1, 40_000),
    one_key("RPOP P=1", "rpop", 1, 35_000),
    one_key("SADD P=1", "sadd", 1, 40_000),
    one_key("HSET P=1", "hset", 1, 40_000),
    one_key("SPOP P=1", "spop", 1, 40_000),
    one_key("ZADD P=1", "zadd", 1, 40_000),
    one_key("ZPOPMIN P=1", "zpopmin", 1, 40_000),
    one_key("LRANGE_100 P=1", "lrange_100", 1, 20_000),
    one_key("LRANGE_300 P=1", "lrange_300", 1, 12_000),
    one_key("LRANGE_500 P=1", "lrange_500", 1, 8_000),
    one_key("LRANGE_600 P=1", "lrange_600", 1, 8_000),
    one_key("MSET P=1", "mset", 1, 30_000),
    one_key("PING_INLINE P=16", "ping_inline", 16, 400_000),
    one_key("PING_MBULK P=16", "ping", 16, 400_000),
    one_key("SET P=16", "set", 16, 400_000),
    one_key("GET P=16", "get", 16, 400_000),
    one_key("INCR P=16", "incr", 16, 400_000),
    one_key("LPUSH P=16", "lpush", 16, 400_000),
    one_key("RPUSH P=16", "rpush", 16, 400_000),
    one_key("LPOP P=16", "lpop", 16, 400_000),
    one_key("RPOP P=16", "rpop", 16, 395_000),
    one_key("SADD P=16", "sadd", 16, 400_000),
    one_key("HSET P=16", "hset", 16, 400_000),
    one_key("SPOP P=16", "spop", 16, 400_000),
    one_key("ZADD P=16", "zadd", 16, 400_000),
    one_key("ZPOPMIN P=16", "zpopmin", 16, 400_000),
    one_key("LRANGE_100 P=16", "lrange_100", 16, 40_000),
    one_key("LRANGE_300 P=16", "lrange_300", 16, 16_000),
    one_key("LRANGE_500 P=16", "lrange_500", 16, 10_000),
    one_key("LRANGE_600 P=16", "lrange_600", 16, 10_000),
    one_key("MSET P=16", "mset", 16, 100_000),
];

/// What the default set leaves out; each read finds what the write before it has left.
const DATA_TYPES: &[Workload] = &[
    spread("HSET P=1", "hset", 1, 30_000),
    spread("HGET P=1", "hget", 1, 30_000),
    one_key("HSET of 20 fields P=1", "hset_20", 1, 20_000),
    one_key("HGETALL of 20 fields P=1", "hgetall_20", 1, 20_000),
    spread("SADD P=1", "sadd", 1, 30_000),
    spread("SISMEMBER P=1", "sismember", 1, 30_000),
    spread("ZADD P=1", "zadd", 1, 30_000),
    spread("ZSCORE P=1", "zscore", 1, 30_000),
    one_key("ZRANGE of 10 P=1", "zrange", 1, 20_000),
    spread("ZRANGEBYSCORE of 10 P=1", "zrangebyscore", 1, 20_000),
    one_key("XADD P=1", "xadd", 1, 20_000),
    one_key("XREAD of 10 P=1", "xread_10", 1, 20_000),
    spread("EVAL of a GET P=1", "eval_get", 1, 20_000),
    spread("HSET P=16", "hset", 16, 200_000),
    spread("HGET P=16", "hget", 16, 200_000),
    one_key("HSET of 20 fields P=16", "hset_20", 16, 60_000),
    one_key("HGETALL of 20 fields P=16", "hgetall_20", 16, 60_000),
    spread("SADD P=16", "sadd", 16, 200_000),
    spread("SISMEMBER P=16", "sismember", 16, 200_000),
    spread("ZADD P=16", "zadd", 16, 200_000),
    spread("ZSCORE P=16", "zscore", 16, 200_000),
    one_key("ZRANGE of 10 P=16", "zrange", 16, 60_000),
    spread("ZRANGEBYSCORE of 10 P=16", "zrangebyscore", 16, 60_000),
    one_key("XADD P=16", "xadd", 16, 60_000),
    one_key("XREAD of 10 P=16", "xread_10", 16, 60_000),
    spread("EVAL of a GET P=16", "eval_get", 16, 60_000),
];

/// The suite of that name.
///
/// # Errors
/// A text for the user that names those there are.
pub fn by_name(name: &str) -> Result<&'static Suite, String> {
    SUITES.iter().find(|suite| suite.name == name).ok_or_else(|| {
        let names: Vec<&str> = SUITES.iter().map(|suite| suite.name).collect();
        format!("no comparison is called {name:?}: there are {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::workload;

    #[test]
    fn the_load_generator_knows_every_command_and_no_name_comes_twice() {
        let mut names: Vec<&str> = SUITES.iter().map(|suite| suite.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SUITES.len());
        for stage in SUITES.iter().flat_map(|suite| suite.stages) {
            let mut names = Vec::new();
            for workload in stage.workloads {
                let known = workload::Workload::new(workload.command, 0, 1);
                assert!(known.is_ok(), "{workload:?}");
                names.push(workload.name);
            }
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count);
        }
        assert!(by_name("nothing").unwrap_err().contains("redis-default, default-set"));
    }

    #[test]
    fn lists_are_long_enough_for_what_is_read_and_taken() {
        // Pops leave enough for LRANGE_600 behind, at either pipeline.
        let mut left = 0_i64;
        for workload in DEFAULT_SET {
            let super::super::workloads::Amount::Requests(n) = workload.amount else {
                continue;
            };
            match workload.command {
                "lpush" | "rpush" => left += n as i64,
                "lpop" | "rpop" => left -= n as i64,
                command if command.starts_with("lrange") => assert!(left >= 600, "{left}"),
                _ => {}
            }
        }
    }
}
