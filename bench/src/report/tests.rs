//! From result files to a page.

use std::fs;
use std::path::Path;

use super::*;
use crate::compare::result::{self, Comparison, Footprint, Line, Table};
use crate::load::recorder::Second;
use crate::machine::Machine;
use crate::profile::result as profile;

fn figure(median: f64) -> result::Figure {
    result::Figure {
        median,
        low: median,
        high: median,
    }
}

fn line(workload: &str, pipeline: u32, server: &str, rate: f64) -> Line {
    Line {
        workload: workload.into(),
        command: workload.split(' ').next().unwrap().to_lowercase(),
        pipeline,
        server: server.into(),
        client: "load".into(),
        rate: figure(rate),
        cpu_us: Some(figure(1e6 / rate)),
        curve: vec![(0.0, 10.0), (50.0, 20.0), (99.0, 90.0), (100.0, 400.0)],
        series: vec![
            Second {
                at_s: 1.0,
                rate: 5.0,
                p50_us: 20.0,
                p99_us: 90.0,
                p999_us: 99.0,
                max_us: 400.0,
                errors: 0,
            },
            Second {
                at_s: 2.0,
                rate: 5.0,
                p50_us: 25.0,
                p99_us: 80.0,
                p999_us: 99.0,
                max_us: 300.0,
                errors: 0,
            },
        ],
        background_s: vec![1.5],
        ..Line::default()
    }
}

fn comparison(suite: &str, quick: bool) -> Comparison {
    let mut lines = Vec::new();
    for (name, pipeline) in [("SET P=1", 1), ("GET P=1", 1), ("SET P=16", 16), ("GET P=16", 16)] {
        lines.push(line(name, pipeline, "Slotcore <everysec>", 2e5 * f64::from(pipeline)));
        lines.push(line(name, pipeline, "redis-server", 1e5 * f64::from(pipeline)));
    }
    let footprint = |server: &str| Footprint {
        server: server.into(),
        memory_per_key: Some(figure(80.0)),
        written_per_byte: Some(figure(2.0)),
        restart_s: None,
    };
    let footprints = if suite == "footprint" {
        vec![footprint("Slotcore always"), footprint("redis-server")]
    } else {
        Vec::new()
    };
    Comparison {
        kind: result::KIND.into(),
        format: result::FORMAT,
        suite: suite.into(),
        version: 1,
        title: format!("Title of {suite}"),
        about: "About.".into(),
        machine: Machine::default(),
        rounds: 5,
        quick,
        placement: "somewhere".into(),
        servers: Vec::new(),
        notes: vec!["valkey-server is not installed.".into()],
        tables: vec![Table {
            title: "Keys of 16 bytes with 50".into(),
            baseline: Some("redis-server".into()),
            lines,
            footprints,
        }],
    }
}

/// A directory of its own for a test, empty.
fn directory(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("slotcore-report-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    dir
}

fn options(dir: &Path) -> Options {
    Options {
        dir: dir.to_owned(),
        text: false,
        update: Vec::new(),
        pictures: dir.join("pictures"),
        into: None,
        complete: true,
    }
}

#[test]
fn every_comparison_has_its_section_its_table_and_its_pictures() {
    let dir = directory("page");
    for suite in crate::compare::names() {
        let path = dir.join(format!("compare-{suite}.json"));
        fs::write(path, comparison(suite, false).to_json()).unwrap();
    }
    let instructions = profile::Instructions {
        kind: profile::KIND.into(),
        format: profile::FORMAT,
        machine: Machine::default(),
        commands: vec![profile::Command {
            command: "get".into(),
            instructions: 900,
            parts: vec![("parse".into(), 300.0), ("table".into(), 600.0)],
        }],
    };
    fs::write(dir.join("profile.json"), instructions.to_json()).unwrap();
    run(&options(&dir)).unwrap();
    let page = fs::read_to_string(dir.join(PAGE)).unwrap();
    for suite in crate::compare::names() {
        let section = page.split(&format!("<section id=\"{suite}\">")).nth(1).unwrap();
        let section = section.split("</section>").next().unwrap();
        assert!(
            section.contains("<svg class=\"wide\"") && section.contains("<svg class=\"narrow\""),
            "{suite}"
        );
        assert!(section.contains("<table>"), "{suite}");
    }
    assert!(page.contains("Slotcore &lt;everysec&gt;") && !page.contains("Slotcore <everysec>"));
    assert!(!page.contains("http:") || !page.replace("http://www.w3.org/2000/svg", "").contains("http:"));
    assert!(!page.contains("<script") && !page.contains("NaN"));
    let pictures = fs::read_dir(&dir).unwrap().filter(|entry| {
        let path = entry.as_ref().unwrap().path();
        path.extension().is_some_and(|ending| ending == "svg")
    });
    assert!(pictures.count() > 12);
    fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn a_page_gets_its_tables_but_not_those_of_a_quick_run() {
    let dir = directory("update");
    let page = dir.join("performance.md");
    fs::write(
        &page,
        "Before.\n<!-- bench: one-client -->\n<!-- bench: end -->\nBehind.\n",
    )
    .unwrap();
    let results = dir.join("compare-one-client.json");
    fs::write(&results, comparison("one-client", false).to_json()).unwrap();
    let update = Options {
        update: vec![page.clone()],
        ..options(&dir)
    };
    run(&update).unwrap();
    let text = fs::read_to_string(&page).unwrap();
    assert!(
        text.starts_with("Before.\n<!-- bench: one-client -->\n\n### Title of one-client"),
        "{text}"
    );
    assert!(text.contains("| SET P=1 | redis-server | 100000 |") && text.ends_with("<!-- bench: end -->\nBehind.\n"));
    fs::write(&results, comparison("one-client", true).to_json()).unwrap();
    assert!(run(&update).unwrap_err().to_string().contains("quick run"));
    assert_eq!(fs::read_to_string(&page).unwrap(), text);
    fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn a_page_gets_a_summary_and_pictures_beside_it() {
    let dir = directory("summary");
    let page = dir.join("readme.md");
    let picture = "redis-default-0-get-requests-per-second";
    let marks = format!(
        "<!-- bench: summary -->\n<!-- bench: end -->\n<!-- bench: pictures {picture} -->\n<!-- bench: end -->\n"
    );
    fs::write(&page, &marks).unwrap();
    for suite in ["redis-default", "footprint"] {
        let path = dir.join(format!("compare-{suite}.json"));
        fs::write(path, comparison(suite, false).to_json()).unwrap();
    }
    let update = Options {
        update: vec![page.clone()],
        ..options(&dir)
    };
    run(&update).unwrap();
    let text = fs::read_to_string(&page).unwrap();
    let faster = "| GET, pipeline 16: requests/s | <everysec> | 3200000 | redis-server | 1600000 | **2.00** |";
    assert!(text.contains(faster), "{text}");
    assert!(
        text.contains("| keys of 16 bytes with 50: bytes of memory each | always | 80 | redis-server |"),
        "{text}"
    );
    assert!(text.contains(&format!("](pictures/{picture}.svg) |")), "{text}");
    let svg = fs::read_to_string(dir.join(format!("pictures/{picture}.svg"))).unwrap();
    assert!(svg.contains("prefers-color-scheme"));

    let mut other = comparison("one-client", false);
    other.machine.commit = "another".into();
    fs::write(dir.join("compare-one-client.json"), other.to_json()).unwrap();
    let error = run(&update).unwrap_err().to_string();
    assert!(error.contains("of different commits (, another)"), "{error}");
    fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn files_that_are_no_results_are_told() {
    let dir = directory("wrong");
    assert!(run(&options(&dir)).unwrap_err().to_string().contains("has no results"));
    for (text, expected) in [
        ("{", "cannot read"),
        ("{\"kind\": \"something\"}", "no result of slotcore-bench"),
        ("{\"kind\": \"slotcore-bench compare\", \"format\": 9}", "format 9"),
        ("{\"kind\": \"slotcore-bench compare\", \"format\": 1}", "missing field"),
    ] {
        fs::write(dir.join("x.json"), text).unwrap();
        let error = run(&options(&dir)).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("x.json"), "{error}");
    }
    fs::remove_dir_all(&dir).unwrap();
}
