//! `ctl drain`, `ctl remove-node`, `ctl set-replicas`: the node is told (CLUSTER DRAIN and the like), and what it knows of the metadata
//! group is looked at until it is done.

use std::time::Duration;

use slotcore_rt::clock::{Clock, SystemClock};
use slotcore_rt::thread::hold;

use super::fetch::page;
use super::options::{AskOptions, CtlOptions, DrainOptions, RemoveOptions, ReplicasOptions};
use super::table::listed;
use super::{Failure, Outcome};
use crate::admin::cluster_pages::{MetadataPage, NodePage};
use crate::operator_client::Client;

/// It is looked for this often,
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// and told again after so many looks, until it was heard: a leader that is lost takes it with it.
const LOOKS_A_TRY: u32 = 10;

/// `ctl drain`
///
/// # Errors
/// There is no such node, too few would be left, or it cannot be asked.
pub fn drain(options: &CtlOptions, wanted: &DrainOptions) -> Result<Outcome, Failure> {
    let mut words = vec!["DRAIN".to_owned(), wanted.node.to_string()];
    words.extend(wanted.replicas.map(|replicas| replicas.to_string()));
    known(options, wanted.node)?;
    let heard = |page: &MetadataPage| page.node(wanted.node).is_none_or(|node| node.state == "draining");
    let left = |page: &MetadataPage| {
        page.node(wanted.node)
            .map(|node| node.groups.clone())
            .unwrap_or_default()
    };
    let page = until(options, &wanted.ask, &words, heard, |page| {
        heard(page) && left(page).is_empty()
    })?;
    let (groups, node) = (left(&page), wanted.node);
    let done = heard(&page) && groups.is_empty();
    let json = serde_json::json!({ "node": node, "groups": groups, "done": done });
    let (well, ill) = (
        format!("node {node} holds no replicas any more: it can be removed"),
        format!(
            "node {node} is being drained, and groups {} still have replicas there: `slotcore ctl groups` shows how far they are",
            listed(&groups)
        ),
    );
    Ok(told(options, done, &json, &well, &ill))
}

/// `ctl remove-node`
///
/// # Errors
/// There is no such node, it was not drained, or it cannot be asked.
pub fn remove_node(options: &CtlOptions, wanted: &RemoveOptions) -> Result<Outcome, Failure> {
    let words = ["REMOVE-NODE".to_owned(), wanted.node.to_string()];
    known(options, wanted.node)?;
    let gone = |page: &MetadataPage| page.node(wanted.node).is_none();
    let page = until(options, &wanted.ask, &words, gone, gone)?;
    let (node, done) = (wanted.node, gone(&page));
    let json = serde_json::json!({ "node": node, "done": done });
    let well = format!("node {node} is no longer one of the cluster");
    Ok(told(
        options,
        done,
        &json,
        &well,
        &format!("node {node} was not removed in time"),
    ))
}

/// `ctl set-replicas`
///
/// # Errors
/// There are fewer nodes, or it cannot be asked.
pub fn set_replicas(options: &CtlOptions, wanted: &ReplicasOptions) -> Result<Outcome, Failure> {
    let words = ["SET-REPLICAS".to_owned(), wanted.replicas.to_string()];
    let heard = |page: &MetadataPage| page.replicas == wanted.replicas;
    let page = until(options, &wanted.ask, &words, heard, heard)?;
    let (replicas, done) = (wanted.replicas, heard(&page));
    let json = serde_json::json!({ "replicas": replicas, "done": done });
    let well = format!("each group gets {replicas} replicas: `slotcore ctl groups` shows how far they are");
    Ok(told(
        options,
        done,
        &json,
        &well,
        "the number of replicas was not changed in time",
    ))
}

/// Whether there is such a node.
fn known(options: &CtlOptions, node: u32) -> Result<(), Failure> {
    let page = look(options)?;
    match page.node(node) {
        Some(_) => Ok(()),
        None => Err(format!("there is no node {node}: `slotcore ctl nodes` shows them").into()),
    }
}

fn look(options: &CtlOptions) -> Result<MetadataPage, Failure> {
    Ok(page(&options.admin, "/metadata")?.1)
}

/// Tells the node until `heard`, then waits until `done`, or for as long as was said. What is known then.
fn until(
    options: &CtlOptions,
    ask: &AskOptions,
    words: &[String],
    heard: impl Fn(&MetadataPage) -> bool,
    done: impl Fn(&MetadataPage) -> bool,
) -> Result<MetadataPage, Failure> {
    let end = SystemClock.tick() + Duration::from_secs(u64::from(ask.wait));
    let mut client = None;
    let mut looks = 0;
    loop {
        let page = look(options)?;
        if done(&page) || SystemClock.tick() >= end {
            return Ok(page);
        }
        if !heard(&page) && looks % LOOKS_A_TRY == 0 {
            let client = match &mut client {
                Some(client) => client,
                None => client.insert(connect(options, ask)?),
            };
            let words: Vec<&str> = std::iter::once("CLUSTER")
                .chain(words.iter().map(String::as_str))
                .collect();
            client.ask(&words)?;
        }
        looks += 1;
        hold(LOOK_EVERY);
    }
}

/// A client of the node that was asked.
fn connect(options: &CtlOptions, ask: &AskOptions) -> Result<Client, Failure> {
    let (_, nodes): (_, Vec<NodePage>) = page(&options.admin, "/nodes")?;
    let me = nodes
        .iter()
        .find(|node| node.me)
        .ok_or("the node does not name itself")?;
    let password = std::env::var("SLOTCORE_PASSWORD").ok();
    Client::connect(
        &format!("{}:{}", me.host, me.port),
        ask.user.as_deref(),
        password.as_deref(),
    )
}

/// Says what came of it.
fn told(options: &CtlOptions, done: bool, json: &serde_json::Value, well: &str, ill: &str) -> Outcome {
    match (options.json, done) {
        (true, _) => println!("{json}"),
        (false, true) => println!("{well}"),
        (false, false) => eprintln!("slotcore: {ill}"),
    }
    match done {
        true => Outcome::Well,
        false => Outcome::NotWell,
    }
}
