//! What the rounds gave, as tables of medians.

use super::round::{Answers, Round};
use super::{KEY_BYTES, Options};
use crate::compare::result::Figure;
use crate::floor::reads;
use crate::report::tables::Plain;

/// What was measured and how to repeat it.
pub fn about(options: &Options) -> String {
    format!(
        "{} keys of {KEY_BYTES} + {} bytes, {:.1} GB, on a server with one core, `--memory {}mb` and `--durability everysec`, \
         beside one that has all of it in memory; medians of {} rounds. \
         `slotcore-bench larger --memory-mib {} --times {} --value-bytes {} --rounds {}`;",
        options.keys(),
        options.value_bytes,
        options.data_bytes() / 1e9,
        options.memory_mib,
        options.rounds,
        options.memory_mib,
        options.times,
        options.value_bytes,
        options.rounds,
    )
}

/// All tables.
pub fn tables(options: &Options, rounds: &[Round]) -> Vec<Plain> {
    vec![
        rates(rounds),
        device(rounds),
        writes(options, rounds),
        latencies(rounds),
    ]
}

fn median(rounds: &[Round], figure: impl Fn(&Round) -> f64) -> f64 {
    Figure::of(rounds.iter().map(figure)).map_or(0.0, |figure| figure.median)
}

fn table(title: &str, head: &[&str], rows: Vec<Vec<String>>) -> Plain {
    let head = head.iter().map(|&cell| cell.to_owned()).collect();
    Plain {
        title: title.to_owned(),
        rows: std::iter::once(head).chain(rows).collect(),
    }
}

fn whole(value: f64) -> String {
    format!("{value:.0}")
}

fn ratio(value: f64, to: f64) -> String {
    format!("**{:.2}**", value / to.max(f64::MIN_POSITIVE))
}

fn rates(rounds: &[Round]) -> Plain {
    type Pair = fn(&Round) -> [Answers; 2];
    let asked: [(&str, Pair); 3] = [
        ("GET of 20,000 hot keys, P=16", |r| r.hot_16),
        ("GET, zipfian over all, P=1", |r| r.zipfian_1),
        ("GET, zipfian over all, P=16", |r| r.zipfian_16),
    ];
    let mut rows: Vec<Vec<String>> = asked
        .iter()
        .map(|(name, pair)| {
            let memory = median(rounds, |r| pair(r)[0].rate);
            let larger = median(rounds, |r| pair(r)[1].rate);
            let p99 = median(rounds, |r| pair(r)[1].p99_us);
            vec![
                (*name).to_owned(),
                whole(memory),
                whole(larger),
                ratio(larger, memory),
                whole(p99),
            ]
        })
        .collect();
    let [memory, larger] = [0, 1].map(|i| median(rounds, |r| r.loaded[i]));
    rows.push(vec![
        "SET, load, P=64".to_owned(),
        whole(memory),
        whole(larger),
        ratio(larger, memory),
        String::new(),
    ]);
    rows.push(vec![
        "SET of every key again, P=64".to_owned(),
        String::new(),
        whole(median(rounds, |r| r.overwritten)),
        String::new(),
        String::new(),
    ]);
    rows.push(vec![
        "GET of absent keys, P=16".to_owned(),
        String::new(),
        whole(median(rounds, |r| r.absent.rate)),
        String::new(),
        whole(median(rounds, |r| r.absent.p99_us)),
    ]);
    table(
        "50 connections",
        &[
            "requests",
            "in memory, per s",
            "larger, per s",
            "ratio",
            "larger, p99 us",
        ],
        rows,
    )
}

fn device(rounds: &[Round]) -> Plain {
    let row = |(at, depth): (usize, &usize)| {
        let device = median(rounds, |r| r.device[at]);
        let rate = median(rounds, |r| r.uniform[at].rate);
        vec![
            depth.to_string(),
            whole(device),
            whole(rate),
            ratio(rate, device),
            whole(median(rounds, |r| r.uniform[at].p50_us)),
            whole(median(rounds, |r| r.uniform[at].p99_us)),
        ]
    };
    table(
        "GET, uniform over all, beside the device's own random reads of 4 KiB with as many in flight",
        &[
            "connections",
            "device, reads/s",
            "GET per s",
            "ratio",
            "p50 us",
            "p99 us",
        ],
        reads::DEPTHS.iter().enumerate().map(row).collect(),
    )
}

fn writes(options: &Options, rounds: &[Round]) -> Plain {
    let row = |name: String, figure: String| vec![name, figure];
    let two = |figure: fn(&Round) -> f64| format!("{:.2}", median(rounds, figure));
    let replayed = options.replayed_keys / options.scale();
    let replay_s = median(rounds, |r| r.replay_s);
    table(
        "",
        &["", "figure"],
        vec![
            row(
                "reads of files for a cold key that is there".to_owned(),
                two(|r| r.reads_per_found),
            ),
            row(
                "lookups of absent keys that read nothing, %".to_owned(),
                two(|r| r.absent_filtered_percent),
            ),
            row(
                "bytes written for each byte, every key set again (log included)".to_owned(),
                two(|r| r.written_per_byte),
            ),
            row(
                "bytes of files for each byte stored, settled".to_owned(),
                two(|r| r.files_per_byte),
            ),
            row(
                "bytes on disk for each byte stored, log included".to_owned(),
                two(|r| r.disk_per_byte),
            ),
            row("most memory resident, of `--memory`".to_owned(), two(|r| r.peak)),
            row("backup by `slotcore backup`, s".to_owned(), two(|r| r.backup_s)),
            row("restart after a kill, s".to_owned(), two(|r| r.restart_s)),
            row(
                format!("restart with {replayed} keys of 100 bytes in the log, s"),
                format!("{replay_s:.2}"),
            ),
            row(
                "operations replayed a second".to_owned(),
                whole(replayed as f64 / replay_s.max(f64::MIN_POSITIVE)),
            ),
        ],
    )
}

fn latencies(rounds: &[Round]) -> Plain {
    // Beside which one each is: the same requests without what is to be shown.
    let when = [
        ("all in memory", 0),
        ("all in memory, while others set 5,000 other keys a second", 0),
        ("larger than memory", 0),
        ("larger, while others set 5,000 other keys a second", 1),
        ("larger, while a backup is made", 2),
    ];
    let row = |(at, &(when, beside)): (usize, &(&str, usize))| {
        let of = |at: usize, figure: fn(&Answers) -> f64| median(rounds, |r| figure(&r.at_rate[at]));
        let compared = |figure| ratio(of(at, figure), of(beside, figure));
        vec![
            when.to_owned(),
            whole(of(at, |a| a.p50_us)),
            whole(of(at, |a| a.p99_us)),
            compared(|a| a.p99_us),
            whole(of(at, |a| a.p999_us)),
            compared(|a| a.p999_us),
        ]
    };
    table(
        "20,000 requests a second for 20,000 hot keys, 90 % GET, 10 % SET, by a clock, for long enough that memory is flushed within it; \
         ratios to the first line, of the fourth to the second, of the fifth to the third",
        &["when", "p50 us", "p99 us", "ratio", "p99.9 us", "ratio"],
        when.iter().enumerate().map(row).collect(),
    )
}
