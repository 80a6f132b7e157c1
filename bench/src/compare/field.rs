//! Who takes part: [`Rivals`] as the command line names them, and the [`Contestant`]s of a stage.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::process::Command;

use super::suites::Field;
use crate::peer::Kind;

/// Peers that are compared with when nothing is said, as far as they are installed.
const USUAL: &[&str] = &["redis-server", "valkey-server", ETCD];
/// The name of etcd's program, which speaks another protocol and is only compared as nodes that replicate.
const ETCD: &str = "etcd";

/// A peer by its program, or by where it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Rival {
    Program(String),
    Etcd(String),
    Running { name: String, addr: SocketAddr },
}

/// See the module's text.
#[derive(Clone, Debug, Default)]
pub struct Rivals {
    all: Vec<Rival>,
    /// What the reader must know of them.
    pub notes: Vec<String>,
}

/// A server of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contestant<'a> {
    /// What it is.
    pub kind: Kind<'a>,
    /// The client goes to the nodes that own the keys, as a cluster client; otherwise to one port for all.
    pub by_nodes: bool,
}

impl Contestant<'_> {
    /// True for ours.
    pub fn is_slotcore(&self) -> bool {
        self.kind.is_slotcore()
    }

    /// What it is called in tables.
    pub fn name(&self) -> String {
        match self.kind {
            Kind::Slotcore { cores, .. } if self.by_nodes => {
                let plural = if cores == 1 { ", core port" } else { ", core ports" };
                format!("{}{plural}", self.kind)
            }
            kind => kind.to_string(),
        }
    }
}

impl Rivals {
    /// From `--peer`: names of programs and `NAME=HOST:PORT`; when there are none, the usual ones.
    ///
    /// # Errors
    /// A program that was asked for cannot be run, an address is none.
    pub fn find(asked: &[String]) -> io::Result<Self> {
        let mut rivals = Self::default();
        if asked.is_empty() {
            for &program in USUAL {
                match version(program) {
                    Ok(version) => rivals.add_program(program, &version),
                    Err(_) => rivals.notes.push(format!("{program} is not installed: not compared.")),
                }
            }
        }
        for peer in asked {
            match peer.split_once('=') {
                None => {
                    let version = version(peer).map_err(|e| {
                        let what = format!(
                            "{peer} cannot be run ({e}): install it (Debian: redis-server), or give a running server as NAME=HOST:PORT"
                        );
                        io::Error::new(e.kind(), what)
                    })?;
                    rivals.add_program(peer, &version);
                }
                Some((name, place)) => {
                    let addr = place.to_socket_addrs().ok().and_then(|mut addrs| addrs.next());
                    let addr = addr.ok_or_else(|| {
                        io::Error::other(format!("--peer {peer}: {place:?} is no address such as 127.0.0.1:6379"))
                    })?;
                    let name = name.to_owned();
                    rivals.all.push(Rival::Running { name, addr });
                }
            }
        }
        Ok(rivals)
    }

    fn add_program(&mut self, program: &str, version: &str) {
        self.notes.push(format!("{program}: {version}."));
        let name = Path::new(program).file_name();
        self.all.push(match name.is_some_and(|name| name == ETCD) {
            true => Rival::Etcd(program.to_owned()),
            false => Rival::Program(program.to_owned()),
        });
    }

    /// The servers of a stage, ours first.
    pub fn of(&self, field: Field) -> Vec<Contestant<'_>> {
        let ours = |durability, cores, by_nodes| Contestant {
            kind: Kind::Slotcore {
                durability,
                cores,
                memory: None,
            },
            by_nodes,
        };
        let theirs = |always: &[bool], io_threads| {
            let of_rival = |rival| match rival {
                &Rival::Running { ref name, addr } => vec![Kind::Running { name, addr }],
                Rival::Program(program) => {
                    let kind = |&always| Kind::Redis {
                        program,
                        always,
                        io_threads,
                    };
                    always.iter().map(kind).collect()
                }
                Rival::Etcd(_) => Vec::new(),
            };
            let kinds = self.all.iter().flat_map(of_rival);
            kinds
                .map(|kind| Contestant { kind, by_nodes: false })
                .collect::<Vec<_>>()
        };
        match field {
            Field::Memory => [
                vec![ours("everysec", 1, false), ours("off", 1, false)],
                theirs(&[false], 1),
            ]
            .concat(),
            Field::Everysec => [vec![ours("everysec", 1, false)], theirs(&[false], 1)].concat(),
            Field::Always => [vec![ours("always", 1, false)], theirs(&[true], 1)].concat(),
            Field::Peers => theirs(&[false], 1),
            Field::Replicated(nodes) => {
                let ours = match nodes {
                    1 => ours("always", 1, false),
                    _ => Contestant {
                        kind: Kind::SlotcoreNodes(nodes),
                        // To the leader, as etcd's.
                        by_nodes: true,
                    },
                };
                let etcd = self.all.iter().filter_map(|rival| match rival {
                    Rival::Etcd(program) => Some(Kind::Etcd { program, nodes }),
                    Rival::Program(_) | Rival::Running { .. } => None,
                });
                let etcd = etcd.map(|kind| Contestant { kind, by_nodes: false });
                std::iter::once(ours).chain(etcd).collect()
            }
            Field::Nodes(nodes) => vec![
                Contestant {
                    kind: Kind::SlotcoreNodes(nodes),
                    by_nodes: true,
                },
                ours("always", 1, false),
            ],
            Field::Waited => {
                let ours = Contestant {
                    kind: Kind::SlotcoreNodes(3),
                    by_nodes: true,
                };
                let redis = self.all.iter().filter_map(|rival| match rival {
                    Rival::Program(program) => Some(Kind::RedisReplicas { program, replicas: 2 }),
                    Rival::Etcd(_) | Rival::Running { .. } => None,
                });
                let redis = redis.map(|kind| Contestant { kind, by_nodes: false });
                std::iter::once(ours).chain(redis).collect()
            }
            Field::Footprint(_) => {
                let ours = ["everysec", "always"].map(|durability| ours(durability, 1, false));
                // A server that runs has its keys already.
                let mut theirs = theirs(&[false, true], 1);
                theirs.retain(|contestant| !matches!(contestant.kind, Kind::Running { .. }));
                [ours.to_vec(), theirs].concat()
            }
            Field::Cores => {
                let by_ports = [1, 2, 8].map(|cores| ours("everysec", cores, true));
                let any_slot = [1, 2, 8].map(|cores| ours("everysec", cores, false));
                let clusters = self.all.iter().filter_map(|rival| match rival {
                    Rival::Program(program) => Some(Contestant {
                        kind: Kind::RedisCluster { program, nodes: 3 },
                        by_nodes: true,
                    }),
                    Rival::Etcd(_) | Rival::Running { .. } => None,
                });
                let mut all = [by_ports.to_vec(), any_slot.to_vec(), theirs(&[false], 1)].concat();
                let threaded = theirs(&[false], 2);
                all.extend(
                    threaded
                        .into_iter()
                        .filter(|one| !matches!(one.kind, Kind::Running { .. })),
                );
                all.extend(clusters);
                all
            }
        }
    }
}

fn version(program: &str) -> io::Result<String> {
    let run = Command::new(program).arg("--version").output()?;
    let said = String::from_utf8_lossy(&run.stdout);
    // The others of etcd's lines tell how it was built.
    Ok(said.lines().next().unwrap_or_default().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::suites::Filled;

    #[test]
    fn stages_have_the_servers_they_are_about() {
        let rivals = Rivals {
            all: vec![
                Rival::Program("redis-server".into()),
                Rival::Running {
                    name: "mine".into(),
                    addr: ([127, 0, 0, 1], 9).into(),
                },
                Rival::Etcd("etcd".into()),
            ],
            notes: Vec::new(),
        };
        let names = |field| {
            rivals
                .of(field)
                .iter()
                .map(Contestant::name)
                .collect::<Vec<_>>()
                .join("; ")
        };
        assert_eq!(
            names(Field::Memory),
            "Slotcore everysec; Slotcore off; redis-server; mine"
        );
        assert_eq!(names(Field::Always), "Slotcore always; redis-server always; mine");
        assert_eq!(names(Field::Replicated(3)), "Slotcore always, 3 nodes; etcd, 3 nodes");
        assert_eq!(names(Field::Replicated(1)), "Slotcore always; etcd");
        assert_eq!(names(Field::Nodes(3)), "Slotcore always, 3 nodes; Slotcore always");
        assert_eq!(
            names(Field::Waited),
            "Slotcore always, 3 nodes; redis-server always, 2 replicas, WAIT 1"
        );
        assert_eq!(
            names(Field::Footprint(Filled::Keys)),
            "Slotcore everysec; Slotcore always; redis-server; redis-server always"
        );
        assert_eq!(
            names(Field::Cores),
            "Slotcore everysec, core port; Slotcore everysec, 2 cores, core ports; \
             Slotcore everysec, 8 cores, core ports; Slotcore everysec; Slotcore everysec, 2 cores; \
             Slotcore everysec, 8 cores; redis-server; mine; redis-server, 2 I/O threads; 3 redis-server, cluster"
        );
    }

    #[test]
    fn a_peer_that_is_not_there_is_told() {
        let wrong = |peer: &str| Rivals::find(&[peer.to_owned()]).unwrap_err().to_string();
        assert!(wrong("no-such-server").contains("no-such-server cannot be run"));
        assert!(wrong("x=nowhere").contains("is no address"));
        assert!(Rivals::find(&["x=127.0.0.1:1".to_owned()]).is_ok());
    }
}
