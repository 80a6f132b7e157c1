//! `ctl status`, `ctl nodes`, `ctl groups`: what a node says, as it said it or as tables.

use std::io::{self, Write as _};

use super::fetch::page;
use super::options::CtlOptions;
use super::table::{Table, listed, or_dash};
use super::{Failure, Outcome};
use crate::admin::cluster_pages::{GroupPage, NodePage, ReplicaPage, StatusPage};

/// `ctl status`
pub fn status(options: &CtlOptions) -> Result<Outcome, Failure> {
    let (json, page): (String, StatusPage) = page(&options.admin, "/cluster")?;
    let yes = |it: bool| if it { "yes" } else { "no" };
    let mut table = Table::new(&["WHAT", "IS"]);
    table.row(&[&"well", &yes(page.is_well())]);
    table.row(&[&"version", &page.version]);
    table.row(&[&"cluster", &or_dash(page.cluster.as_deref())]);
    table.row(&[&"this node", &page.node]);
    table.row(&[&"ready", &yes(page.ready)]);
    table.row(&[&"uptime in seconds", &page.uptime_seconds]);
    table.row(&[&"nodes", &page.nodes]);
    table.row(&[&"nodes not reached", &listed(&page.nodes_unreachable)]);
    table.row(&[&"groups", &page.groups]);
    table.row(&[&"groups led here", &listed(&page.groups_led)]);
    table.row(&[&"groups without leader", &listed(&page.groups_without_leader)]);
    table.row(&[&"cores that do not answer", &listed(&page.cores_stuck)]);
    print(options, &json, &table)?;
    match page.is_well() {
        true => Ok(Outcome::Well),
        false => Ok(Outcome::NotWell),
    }
}

/// `ctl nodes`
pub fn nodes(options: &CtlOptions) -> Result<Outcome, Failure> {
    let (json, nodes): (String, Vec<NodePage>) = page(&options.admin, "/nodes")?;
    print(options, &json, &node_table(&nodes))?;
    Ok(Outcome::Well)
}

/// What a node is to the one that tells it: `this node`, `reached` or not, and what it is used for if that is nothing.
pub(super) fn node_state(node: &NodePage) -> String {
    let state = match (node.me, node.reachable) {
        (true, _) => "this node",
        (false, true) => "reached",
        (false, false) => "not reached",
    };
    match node.state.as_str() {
        "up" => state.to_owned(),
        other => format!("{state}, {other}"),
    }
}

/// A row a node.
pub(super) fn node_table(nodes: &[NodePage]) -> Table {
    let mut table = Table::new(&[
        "NODE",
        "HOST",
        "PORT",
        "CORE-PORTS",
        "PEER-PORTS",
        "ZONE",
        "STATE",
        "LEADS",
    ]);
    for node in nodes {
        table.row(&[
            &node.node,
            &node.host,
            &node.port,
            &format!("{}+", node.core_port_base),
            &or_dash(node.peer_port_base.map(|port| format!("{port}+"))),
            &or_dash(node.zone.as_deref()),
            &node_state(node),
            &listed(&node.leads),
        ]);
    }
    table
}

/// `ctl groups`
pub fn groups(options: &CtlOptions) -> Result<Outcome, Failure> {
    let (json, groups): (String, Vec<GroupPage>) = page(&options.admin, "/groups")?;
    print(options, &json, &group_table(&groups))?;
    Ok(Outcome::Well)
}

/// A row a group.
pub(super) fn group_table(groups: &[GroupPage]) -> Table {
    let mut table = Table::new(&[
        "GROUP",
        "SLOTS",
        "LEADER",
        "TERM",
        "COMMITTED",
        "APPLIED",
        "SNAPSHOT",
        "REPLICAS (LAG)",
    ]);
    for group in groups {
        let replicas: Vec<String> = group.replicas.iter().map(replica).collect();
        table.row(&[
            &group.group,
            &format!("{}-{}", group.slot_first, group.slot_last),
            &or_dash(group.leader),
            &group.term,
            &group.committed_index,
            &group.applied_index,
            &group.snapshot_index,
            &replicas.join(" "),
        ]);
    }
    table
}

/// `2(17)`: on node 2, 17 entries behind; `2`: that is not known here.
fn replica(page: &ReplicaPage) -> String {
    let mut text = page.node.to_string();
    if let Some(lag) = page.lag {
        text += &format!("({lag})");
    }
    if page.vote != "voter" {
        text += &format!("/{}", page.vote);
    }
    if !page.reachable {
        text += "/not-reached";
    }
    text
}

fn print(options: &CtlOptions, json: &str, table: &Table) -> Result<(), Failure> {
    let text = if options.json { json.to_owned() } else { table.text() };
    match io::stdout().write_all(text.as_bytes()) {
        // A reader that had enough is no error.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}
