//! [`Placement`]: which processors servers and client get. All servers of a stage get the same.

use slotcore_rt::thread::CpuId;

use crate::peer::{CLIENT_CPU, SERVER_CPU};

/// See the module's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Of servers; not empty.
    pub servers: Vec<CpuId>,
    /// Of the client; none: wherever the kernel puts it.
    pub client: Option<CpuId>,
    /// Client and servers share processors.
    pub shared: bool,
    /// The client spins while it waits. It must not where it shares a processor with whom it waits for.
    pub spins: bool,
}

impl Placement {
    /// Of servers with one busy thread, on a machine with the processors `cpus`.
    pub fn one_core(cpus: &[CpuId]) -> Self {
        if cpus.contains(&SERVER_CPU) && cpus.contains(&CLIENT_CPU) {
            return Self {
                servers: vec![SERVER_CPU],
                client: Some(CLIENT_CPU),
                shared: false,
                spins: true,
            };
        }
        Self::shared(cpus)
    }

    /// Of servers with two busy threads: a third processor for the client where there is one.
    pub fn two_cores(cpus: &[CpuId]) -> Self {
        match cpus {
            [first, second, third, ..] => Self {
                servers: vec![*first, *second],
                client: Some(*third),
                shared: false,
                spins: true,
            },
            _ => Self::shared(cpus),
        }
    }

    fn shared(cpus: &[CpuId]) -> Self {
        Self {
            servers: cpus.to_vec(),
            client: None,
            shared: true,
            spins: false,
        }
    }

    /// The same for servers that wait for a device: the kernel's threads that complete writes need a processor, too, and
    /// with only two that is the client's.
    pub fn beside_a_device(&self) -> Self {
        Self {
            spins: false,
            ..self.clone()
        }
    }

    /// For the reader of results.
    pub fn line(&self) -> String {
        let servers: Vec<String> = self.servers.iter().map(|cpu| cpu.0.to_string()).collect();
        let servers = servers.join(" and ");
        match self.client {
            Some(client) => format!("servers on processor {servers}, client on {}", client.0),
            None => format!("servers and client share processors {servers}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_has_its_own_processor_where_there_is_one() {
        let cpus = [0, 1, 2, 3].map(CpuId);
        let line = |placement: Placement| placement.line();
        assert_eq!(
            line(Placement::one_core(&cpus[..2])),
            "servers on processor 0, client on 1"
        );
        assert_eq!(
            line(Placement::two_cores(&cpus)),
            "servers on processor 0 and 1, client on 2"
        );
        let shared = Placement::two_cores(&cpus[..2]);
        assert!(shared.shared && shared.line() == "servers and client share processors 0 and 1");
        assert!(Placement::one_core(&cpus[2..3]).shared);
    }
}
