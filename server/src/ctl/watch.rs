//! `ctl watch`: nodes and groups, looked at again and again. On a terminal they are shown as they are; elsewhere a line is written for
//! each node and group that has changed, and one for each at first.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use serde_json::{Value, json};
use slotcore_rt::clock::{Clock, SystemClock};
use slotcore_rt::thread::hold;

use super::fetch::page;
use super::options::{CtlOptions, WatchOptions};
use super::show::{group_table, node_state, node_table};
use super::table::{listed, or_dash};
use super::{Failure, Outcome};
use crate::admin::cluster_pages::{GroupPage, NodePage, ReplicaPage};

/// Clears the terminal and goes to its first line.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// What is looked at.
type Pages = (Vec<NodePage>, Vec<GroupPage>);

/// Carries it out; ends after as many looks as was said, or never.
///
/// # Errors
/// No node answers at the first look. Later that is a change like any other.
pub fn run(options: &CtlOptions, wanted: &WatchOptions) -> Result<Outcome, Failure> {
    let mut known = BTreeMap::new();
    let mut looks = 0;
    loop {
        let found = look(options);
        let found = match looks {
            0 => Ok(found?),
            _ => found.map_err(|error| error.to_string()),
        };
        let whole = !options.json && io::stdout().is_terminal();
        let text = match (&found, whole) {
            (Ok((nodes, groups)), true) => {
                let tables = node_table(nodes).text() + "\n" + &group_table(groups).text();
                format!("{CLEAR}{tables}")
            }
            (Err(why), true) => format!("{CLEAR}{why}\n"),
            (_, false) => {
                let seen = seen(options, &found);
                let text = changes(&known, &seen, options.json.then(|| SystemClock.wall_ms()));
                known = seen;
                text
            }
        };
        let mut out = io::stdout();
        if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            return match error.kind() {
                // Whoever reads has seen enough.
                io::ErrorKind::BrokenPipe => Ok(Outcome::Well),
                _ => Err(error.into()),
            };
        }
        looks += 1;
        if wanted.count.is_some_and(|count| looks >= count) {
            return Ok(Outcome::Well);
        }
        hold(Duration::from_secs(wanted.every.into()));
    }
}

fn look(options: &CtlOptions) -> Result<Pages, Failure> {
    Ok((page(&options.admin, "/nodes")?.1, page(&options.admin, "/groups")?.1))
}

/// What is watched, by kind and number.
type Seen = BTreeMap<(&'static str, u32), Thing>;

/// A node, a group, or the admin port itself.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Thing {
    /// For people.
    text: String,
    /// For programs.
    fields: Value,
}

/// What changes seldom enough to be told: how far logs are is not of it.
fn seen(options: &CtlOptions, found: &Result<Pages, String>) -> Seen {
    let (nodes, groups) = match found {
        Ok(pages) => pages,
        Err(why) => {
            let gone = Thing {
                text: why.clone(),
                fields: json!({ "answers": false, "why": why }),
            };
            return [(("admin", 0), gone)].into();
        }
    };
    let node = |node: &NodePage| {
        let text = format!(
            "node {}  {}:{}  {}  leads {}",
            node.node,
            node.host,
            node.port,
            node_state(node),
            listed(&node.leads)
        );
        let fields = json!({
            "node": node.node, "host": node.host, "port": node.port, "state": node.state, "reachable": node.reachable, "leads": node.leads,
        });
        (("node", node.node), Thing { text, fields })
    };
    let replica = |replica: &ReplicaPage| {
        let mut text = replica.node.to_string();
        if replica.vote != "voter" {
            text += &format!("/{}", replica.vote);
        }
        if !replica.reachable {
            text += "/not-reached";
        }
        text
    };
    let group = |group: &GroupPage| {
        let replicas: Vec<String> = group.replicas.iter().map(replica).collect();
        let text = format!(
            "group {}  leader {}  term {}  replicas {}",
            group.group,
            or_dash(group.leader),
            group.term,
            replicas.join(" ")
        );
        let replicas = group.replicas.iter();
        let replicas: Vec<Value> = replicas
            .map(|replica| json!({ "node": replica.node, "vote": replica.vote, "reachable": replica.reachable }))
            .collect();
        let fields = json!({ "group": group.group, "leader": group.leader, "term": group.term, "replicas": replicas });
        (("group", u32::from(group.group)), Thing { text, fields })
    };
    let admin = Thing {
        text: format!("a node answers at {}", options.admin),
        fields: json!({ "answers": true }),
    };
    let head = std::iter::once((("admin", 0), admin));
    head.chain(nodes.iter().map(node))
        .chain(groups.iter().map(group))
        .collect()
}

/// A line for each thing that is new, other or gone. `at`: milliseconds since 1970, for lines that are JSON. When nobody answers, nothing
/// is known to be gone.
fn changes(before: &Seen, after: &Seen, at: Option<u64>) -> String {
    let mut out = String::new();
    let mut tell = |text: &str, fields: &Value| {
        match at {
            None => out += text,
            Some(at) => {
                let mut fields = fields.clone();
                fields["at_ms"] = at.into();
                out += &fields.to_string();
            }
        }
        out.push('\n');
    };
    for (key, thing) in after {
        if before.get(key) != Some(thing) {
            tell(&thing.text, &thing.fields);
        }
    }
    let answers = after.len() > 1;
    for (kind, number) in before.keys().filter(|key| answers && !after.contains_key(*key)) {
        tell(
            &format!("{kind} {number}  gone"),
            &json!({ *kind: number, "gone": true }),
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thing(text: &str) -> Thing {
        Thing {
            text: text.to_owned(),
            fields: json!({ "is": text }),
        }
    }

    #[test]
    fn each_thing_is_told_when_it_changes_and_not_otherwise() {
        let one: Seen = [
            (("admin", 0), thing("there")),
            (("node", 1), thing("a")),
            (("node", 2), thing("b")),
        ]
        .into();
        let mut other = one.clone();
        other.insert(("node", 2), thing("c"));
        other.insert(("group", 1), thing("d"));
        assert_eq!(changes(&Seen::new(), &one, None), "there\na\nb\n");
        assert_eq!(changes(&one, &one, None), "");
        assert_eq!(changes(&one, &other, None), "d\nc\n");
        assert_eq!(changes(&other, &one, None), "b\ngroup 1  gone\n");
        assert_eq!(
            changes(&other, &one, Some(7)),
            "{\"at_ms\":7,\"is\":\"b\"}\n{\"at_ms\":7,\"gone\":true,\"group\":1}\n"
        );
        let nobody = [(("admin", 0), thing("not there"))].into();
        assert_eq!(changes(&one, &nobody, None), "not there\n");
        assert_eq!(changes(&nobody, &one, None), "there\na\nb\n");
    }
}
