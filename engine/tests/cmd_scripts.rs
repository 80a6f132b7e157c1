//! The scripts in `cmd_scripts/`: commands and the replies Redis 7.0.15 gives, executed on a keyspace.
//!
//! `cmd_redis.rs` replays the same scripts against a real redis-server, which is how the expected replies are known to be
//! true. Scripts whose name starts with `time` move the clock, and those that start with `newer` are about what came after
//! Redis 7.0: both are ours alone.

mod cmd_support;

use cmd_support::{machine::Machine, script};
use script::Line;

#[test]
fn every_script_gives_the_replies_it_holds() {
    let scripts = script::all();
    assert!(scripts.len() > 5);
    for (path, text) in scripts {
        let mut machine = Machine::new();
        let actual = script::replay(&text, |line| match line {
            Line::Command { words, .. } => machine.execute(&words).to_string(),
            Line::Proto(n) => {
                machine.proto = n;
                String::new()
            }
            Line::Time(ms) => {
                machine.set_time(ms);
                String::new()
            }
            Line::Text(_) => String::new(),
        });
        script::check(&path, &text, &actual);
    }
}
