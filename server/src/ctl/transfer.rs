//! `ctl transfer-leader`: the replica that shall lead is told to take over (CLUSTER FAILOVER), and it is waited for.

use std::time::Duration;

use slotcore_rt::clock::{Clock, SystemClock};
use slotcore_rt::thread::hold;

use super::fetch::page;
use super::options::{CtlOptions, TransferOptions};
use super::{Failure, Outcome};
use crate::admin::cluster_pages::{GroupPage, NodePage, ReplicaPage};
use crate::operator_client::{Client, SaysNo};

/// How long the node may take: an election that comes in between takes about a second.
const PATIENCE: Duration = Duration::from_secs(10);
/// It is looked for this often,
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// and told again after so many looks: what it asks its leader may be refused at first, or lost.
const LOOKS_A_TRY: u32 = 20;

/// Carries it out.
///
/// # Errors
/// There is no such group, the node has no vote in it, or it cannot be reached or says no.
pub fn run(options: &CtlOptions, wanted: &TransferOptions) -> Result<Outcome, Failure> {
    let found = group(options, wanted.group)?;
    let address = address(options, wanted, &found)?;
    let from = found.leader;
    if from == Some(wanted.to) {
        return Ok(told(options, wanted, from, from));
    }
    let password = std::env::var("SLOTCORE_PASSWORD").ok();
    let mut client = Client::connect(&address, wanted.user.as_deref(), password.as_deref())?;
    let until = SystemClock.tick() + PATIENCE;
    let mut leader = from;
    while SystemClock.tick() < until {
        take_over(&mut client)?;
        for _ in 0..LOOKS_A_TRY {
            leader = group(options, wanted.group)?.leader;
            if leader == Some(wanted.to) {
                return Ok(told(options, wanted, from, leader));
            }
            hold(LOOK_EVERY);
        }
    }
    Ok(told(options, wanted, from, leader))
}

/// Tells a core to take over. That its group has no leader just now, or that it leads already, is no failure.
fn take_over(client: &mut Client) -> Result<(), Failure> {
    match client.ask(&["CLUSTER", "FAILOVER"]) {
        Ok(_) => Ok(()),
        Err(error) => match error.downcast_ref::<SaysNo>() {
            Some(SaysNo(text)) if text.contains("CLUSTER FAILOVER") && text.starts_with("ERR ") => Ok(()),
            _ => Err(error),
        },
    }
}

fn group(options: &CtlOptions, number: u16) -> Result<GroupPage, Failure> {
    let (_, groups): (_, Vec<GroupPage>) = page(&options.admin, "/groups")?;
    let last = groups.last().map_or(0, |group| group.group);
    let found = groups.into_iter().find(|group| group.group == number);
    found.ok_or_else(|| format!("there is no group {number}: they have the numbers 0 to {last}").into())
}

/// Where the core listens that shall lead.
fn address(options: &CtlOptions, wanted: &TransferOptions, group: &GroupPage) -> Result<String, Failure> {
    let votes = |replica: &&ReplicaPage| replica.vote == "voter";
    let voters: Vec<u32> = group
        .replicas
        .iter()
        .filter(votes)
        .map(|replica| replica.node)
        .collect();
    let (_, nodes): (_, Vec<NodePage>) = page(&options.admin, "/nodes")?;
    match nodes.iter().find(|node| node.node == wanted.to) {
        Some(node) if voters.contains(&node.node) => Ok(format!(
            "{}:{}",
            node.host,
            u32::from(node.core_port_base) + u32::from(group.group)
        )),
        Some(_) => Err(format!(
            "node {} has no replica of group {} that votes: nodes {} have",
            wanted.to,
            group.group,
            super::table::listed(&voters)
        )
        .into()),
        None => Err(format!("there is no node {}: `slotcore ctl nodes` shows them", wanted.to).into()),
    }
}

/// Says what came of it.
fn told(options: &CtlOptions, wanted: &TransferOptions, from: Option<u32>, leader: Option<u32>) -> Outcome {
    let (group, to) = (wanted.group, wanted.to);
    let done = leader == Some(to);
    if options.json {
        println!(
            "{}",
            serde_json::json!({ "group": group, "from": from, "to": to, "leader": leader, "done": done })
        );
    }
    match (done, options.json) {
        (true, true) => {}
        (true, false) if from == leader => println!("node {to} leads group {group} already"),
        (true, false) => println!("node {to} leads group {group} now"),
        (false, _) => {
            let who = leader.map_or_else(|| "nobody".to_owned(), |node| format!("node {node}"));
            eprintln!(
                "slotcore: node {to} does not lead group {group} after {} s, {who} does: its leader does not hand over to a \
                 node that it does not hear from or that lacks many entries; its log tells",
                PATIENCE.as_secs()
            );
        }
    }
    match done {
        true => Outcome::Well,
        false => Outcome::NotWell,
    }
}
