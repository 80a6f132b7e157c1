//! Rules of the project that no compiler knows.
#![allow(clippy::disallowed_methods, reason = "reads the source tree it is built from")]

use std::fs;
use std::path::{Path, PathBuf};

/// Which of our crates may use which.
const ARROWS: &[(&str, &[&str])] = &[
    ("rt", &[]),
    ("engine", &["rt"]),
    ("netio", &["rt"]),
    ("raft-shard", &["rt", "engine"]),
    ("server", &["rt", "engine", "netio", "raft-shard"]),
    ("bench", &["rt", "engine", "netio", "raft-shard", "server"]),
    ("bench/stores", &["rt", "engine", "server"]),
    ("bench/sim", &["rt", "engine", "netio", "raft-shard", "server"]),
    ("fuzz", &["engine", "netio"]),
];

/// Notes that say something is unfinished.
const LEFTOVERS: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("todo", "!("),
    concat!("dbg", "!("),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn files(dir: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') && name != "slotcore-data" {
            files(&path, ending, found);
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
}

#[test]
fn arrows_between_crates_point_one_way() {
    let mut manifests = Vec::new();
    files(&root(), "Cargo.toml", &mut manifests);
    assert_eq!(
        manifests.len(),
        ARROWS.len() + 1,
        "a crate is missing from the list of arrows"
    );
    for (krate, allowed) in ARROWS {
        let manifest = fs::read_to_string(root().join(krate).join("Cargo.toml")).unwrap();
        let dependencies = manifest
            .split("[dependencies]")
            .nth(1)
            .unwrap()
            .split("\n[")
            .next()
            .unwrap();
        for line in dependencies.lines() {
            let Some(used) = line
                .strip_prefix("slotcore-")
                .and_then(|l| l.split(['.', ' ', '=']).next())
            else {
                continue;
            };
            assert!(allowed.contains(&used), "{krate} must not use {used}");
        }
    }
}

#[test]
fn every_dependency_is_pinned() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let table = manifest
        .split("[workspace.dependencies]")
        .nth(1)
        .unwrap()
        .split("\n[")
        .next()
        .unwrap();
    for line in table
        .lines()
        .filter(|line| line.contains(" = ") && !line.contains("path = "))
    {
        assert!(line.contains("\"="), "not pinned: {line}");
    }
}

#[test]
fn every_file_says_what_it_holds_and_nothing_is_left_over() {
    let mut sources = Vec::new();
    files(&root(), ".rs", &mut sources);
    assert!(sources.len() > 100);
    for path in sources {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//!"), "{} does not say what it holds", path.display());
        for leftover in LEFTOVERS {
            assert!(!text.contains(leftover), "{} contains {leftover}", path.display());
        }
    }
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut pages = Vec::new();
    files(&root(), ".md", &mut pages);
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap();
            if target.is_empty() || target.contains("://") || target.contains(' ') {
                continue;
            }
            let path = page.parent().unwrap().join(target);
            assert!(
                path.exists(),
                "{} links to {target}, which is not there",
                page.display()
            );
        }
    }
}
