//! redis-rs as a cluster client, unmodified: it finds its way while the node that leads is killed and comes back, and all it
//! was told is stored is there.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use redis::cluster::{ClusterClient, ClusterConnection};
use redis::{Commands, RedisResult};

use crate::PATIENCE;
use crate::cluster::Cluster;

/// Writes that must be acknowledged before each blow, and after it.
const WRITES: u32 = 100;
/// How long the client waits for a connection or a reply; an election is shorter.
const SILENCE: Duration = Duration::from_secs(2);

/// A program's client and its connection to the cluster.
struct Program {
    client: ClusterClient,
    connection: ClusterConnection,
}

impl Program {
    fn of(cluster: &Cluster) -> Self {
        let urls = (0..3).map(|node| format!("redis://127.0.0.1:{}", cluster.core_port(node, 0)));
        let client = ClusterClient::builder(urls.collect::<Vec<_>>())
            .connection_timeout(SILENCE)
            .response_timeout(SILENCE)
            .build()
            .unwrap();
        let until = Instant::now() + PATIENCE;
        let connection = loop {
            // It wants every slot to have a master.
            match client.get_connection() {
                Ok(connection) => break connection,
                Err(error) => assert!(Instant::now() < until, "{error}"),
            }
        };
        Self { client, connection }
    }

    /// One call. After one that failed the connection is replaced if it is broken, as pools of connections do: it asks for
    /// the slots over whichever of its sockets comes first, and does not mend one that is dead for that.
    fn call<T>(&mut self, call: impl FnOnce(&mut ClusterConnection) -> RedisResult<T>) -> RedisResult<T> {
        let result = call(&mut self.connection);
        if result.is_err()
            && !self.connection.check_connection()
            && let Ok(connection) = self.client.get_connection()
        {
            self.connection = connection;
        }
        result
    }

    /// Sets keys, each once, until so many were acknowledged. What was not may be there or not.
    fn write(&mut self, next: &mut u32, acknowledged: &mut BTreeSet<u32>) {
        let (wanted, until) = (acknowledged.len() + WRITES as usize, Instant::now() + PATIENCE);
        while acknowledged.len() < wanted {
            let so_far = acknowledged.len();
            assert!(Instant::now() < until, "{so_far} of {wanted} writes were acknowledged");
            *next += 1;
            let reply = self.call(|connection| connection.set::<_, _, String>(format!("counted:{next}"), *next));
            if reply.is_ok_and(|reply| reply == "OK") {
                acknowledged.insert(*next);
            }
        }
    }

    /// What a key holds, asked until it is answered.
    fn read(&mut self, number: u32) -> Option<u32> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.call(|connection| connection.get(format!("counted:{number}"))) {
                Ok(found) => return found,
                Err(error) => assert!(Instant::now() < until, "counted:{number}: {error}"),
            }
        }
    }
}

#[test]
fn a_leader_is_killed_and_no_acknowledged_write_is_lost() {
    let mut cluster = Cluster::start(3, 2);
    (0..2).for_each(|core| _ = cluster.leader_of(core));
    let mut program = Program::of(&cluster);
    let (mut next, mut acknowledged) = (0, BTreeSet::new());
    program.write(&mut next, &mut acknowledged);
    for core in 0..2 {
        let leader = cluster.leader_of(core);
        cluster.kill_node(leader);
        program.write(&mut next, &mut acknowledged);
        cluster.start_node(leader);
        program.write(&mut next, &mut acknowledged);
    }
    for program in [&mut program, &mut Program::of(&cluster)] {
        for &number in &acknowledged {
            assert_eq!(program.read(number), Some(number), "an acknowledged write is lost");
        }
    }
}
