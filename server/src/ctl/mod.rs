//! `slotcore ctl`: a running cluster as one of its nodes sees it, and what an operator changes in it.
//!
//! What is shown comes from the admin endpoint of a node on this machine ([`crate::admin::cluster_pages`]). What is changed
//! is asked for by commands on the clients' ports, behind their passwords and rights. Codes: 0 all is well or done, 1 the
//! cluster is not well or has not done what was asked, 2 it could not be asked, or there is no such thing.

mod add_node;
mod fetch;
mod growing;
pub mod options;
mod show;
mod table;
mod transfer;
mod watch;

use std::process::ExitCode;

use options::{CtlCommand, CtlOptions};

/// What came of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// All is well, or what was asked for is done.
    Well,
    /// It is not: it was said why.
    NotWell,
}

/// Why the cluster could not be asked: one line, with the cause.
type Failure = Box<dyn std::error::Error>;

/// Carries out a command.
pub fn run(options: &CtlOptions) -> ExitCode {
    let outcome = match &options.command {
        CtlCommand::Status => show::status(options),
        CtlCommand::Nodes => show::nodes(options),
        CtlCommand::Groups => show::groups(options),
        CtlCommand::Watch(wanted) => watch::run(options, wanted),
        CtlCommand::AddNode(wanted) => add_node::run(options, wanted),
        CtlCommand::TransferLeader(wanted) => transfer::run(options, wanted),
        CtlCommand::Drain(wanted) => growing::drain(options, wanted),
        CtlCommand::RemoveNode(wanted) => growing::remove_node(options, wanted),
        CtlCommand::SetReplicas(wanted) => growing::set_replicas(options, wanted),
    };
    match outcome {
        Ok(Outcome::Well) => ExitCode::SUCCESS,
        Ok(Outcome::NotWell) => ExitCode::from(1),
        Err(error) => {
            eprintln!("slotcore: {error}");
            ExitCode::from(2)
        }
    }
}
