//! A disk without room: every command says which file could not be written, and fails.

use std::fs;

use crate::peer::{server, well};
use crate::program::{self, directory, fails_without_room, succeeds};

/// Room for less than any result.
const ROOM: u64 = 256;

#[test]
fn results_that_find_no_room_are_told() {
    let dir = directory("no-room");
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let port = server(well).port().to_string();
    let json = path("load.json");
    let load = "load --requests 20 --warmup-seconds 0 --keys 10 --quiet --json".split(' ');
    let load: Vec<&str> = load.chain([json.as_str(), "--port", port.as_str()]).collect();
    let said = fails_without_room(ROOM, &load);
    assert!(said.contains(&format!("cannot write {json}: File too large")), "{said}");

    let said = fails_without_room(ROOM, &["floor", "--seconds", "0.01", "--dir", &path("floor")]);
    assert!(
        said.contains(&format!("cannot write {}", path("floor/floor"))),
        "{said}"
    );

    let (results, peer) = (path("results"), format!("mine={}", server(well)));
    let compare = [
        "compare",
        "one-client",
        "--quick",
        "--peers-only",
        "--peer",
        &peer,
        "--out",
        &results,
    ];
    let compare = [&compare[..], &["--dir", dir.to_str().unwrap()]].concat();
    let said = fails_without_room(ROOM, &compare);
    assert!(
        said.contains(&format!("cannot write {results}/compare-one-client.json")),
        "{said}"
    );

    succeeds(&compare);
    let said = fails_without_room(ROOM, &["report", &results]);
    assert!(said.contains(&format!("cannot write {results}/")), "{said}");

    let page = path("scaling.md");
    fs::write(&page, "<!-- bench: model -->\n<!-- bench: end -->\n").unwrap();
    let said = fails_without_room(ROOM, &["scale", "--nodes", "30", "--cores", "4", "--update", &page]);
    assert!(said.contains(&format!("cannot write {page}")), "{said}");
}

#[test]
fn a_server_without_room_ends_the_run() {
    let Some(ours) = program::server() else { return };
    let dir = directory("server-no-room");
    let place = ["--server", &ours, "--dir", dir.to_str().unwrap()];
    let peer = format!("mine={}", server(well));
    for args in [
        &["compare", "one-client", "--quick", "--peer", &peer][..],
        &["kill-loop", "--rounds", "1"],
    ] {
        let said = fails_without_room(ROOM, &[args, &place].concat());
        assert!(said.contains("did not start"), "{said}");
    }
}
