//! The commands about scripts and functions.
//!
//! EVALSHA and its like name a script that only this process knows: the server puts the script itself into the log.

use super::build::{
    ACCESS, ALLOW_BUSY, DENYOOM, HAS_SCRIPT, LOADING, LOGGED, NO_MANDATORY_KEYS, NONE, NOSCRIPT, READONLY, RO,
    RUNS_SCRIPT, RW, SKIP_MONITOR, STALE, UPDATE, WRITE, counted, flags,
};
use crate::cmd::data::scripting;
use crate::cmd::spec::{Categories, CommandSpec, Flags, Group, KeySpec, Run};

const SCRIPTING: Categories = Categories::SCRIPTING;

/// Of those that may write.
const RUNS: Flags = flags(&[RUNS_SCRIPT, LOGGED, NOSCRIPT, STALE, SKIP_MONITOR, NO_MANDATORY_KEYS]);
/// Of those that may not.
const RUNS_RO: Flags = flags(&[RUNS_SCRIPT, READONLY, NOSCRIPT, STALE, SKIP_MONITOR, NO_MANDATORY_KEYS]);

static KEYS: [KeySpec; 1] = [counted(2, &[RW, ACCESS, UPDATE])
    .noted("We cannot tell how the keys will be used so we assume the worst, RW and UPDATE")];
static KEYS_OF_SHA: [KeySpec; 1] = [counted(2, &[RW, ACCESS, UPDATE])];
static KEYS_OF_SHA_RO: [KeySpec; 1] = [counted(2, &[RO, ACCESS])];
static KEYS_RO: [KeySpec; 1] = [
    counted(2, &[RO, ACCESS]).noted("We cannot tell how the keys will be used so we assume the worst, RO and ACCESS")
];

#[rustfmt::skip]
static SCRIPT_SUBCOMMANDS: [CommandSpec; 6] = [
    CommandSpec::new(489, "script|debug", 3, NOSCRIPT, SCRIPTING, &[], Run::Data(scripting::debug))
        .doc(Group::Scripting, "3.2.0", "O(1)", "Switches the debugger of scripts."),
    CommandSpec::new(490, "script|exists", -3, NOSCRIPT, SCRIPTING, &[], Run::Data(scripting::exists))
        .doc(Group::Scripting, "2.6.0", "O(N)", "Says which scripts are cached.")
        .tips(&["request_policy:all_shards", "response_policy:agg_logical_and"]),
    CommandSpec::new(491, "script|flush", -2, NOSCRIPT, SCRIPTING, &[], Run::Data(scripting::flush))
        .doc(Group::Scripting, "2.6.0", "O(N)", "Empties the cache of scripts.")
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
    CommandSpec::new(492, "script|help", 2, flags(&[LOADING, STALE]), SCRIPTING, &[], Run::Data(scripting::help))
        .doc(Group::Scripting, "5.0.0", "O(1)", "Explains the subcommands."),
    CommandSpec::new(493, "script|kill", 2, flags(&[NOSCRIPT, ALLOW_BUSY]), SCRIPTING, &[], Run::Data(scripting::kill))
        .doc(Group::Scripting, "2.6.0", "O(1)", "Stops the script that runs.")
        .tips(&["request_policy:all_shards", "response_policy:one_succeeded"]),
    CommandSpec::new(494, "script|load", 3, flags(&[NOSCRIPT, STALE, HAS_SCRIPT]), SCRIPTING, &[], Run::Data(scripting::load))
        .doc(Group::Scripting, "2.6.0", "O(N)", "Puts a script into the cache.")
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
];

#[rustfmt::skip]
static FUNCTION_SUBCOMMANDS: [CommandSpec; 9] = [
    CommandSpec::new(496, "function|delete", 3, flags(&[WRITE, NOSCRIPT]), SCRIPTING, &[], Run::Data(scripting::delete))
        .doc(Group::Scripting, "7.0.0", "O(1)", "Deletes a library.")
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
    CommandSpec::new(497, "function|dump", 2, NOSCRIPT, SCRIPTING, &[], Run::Data(scripting::dump))
        .doc(Group::Scripting, "7.0.0", "O(N)", "All libraries as bytes."),
    CommandSpec::new(498, "function|flush", -2, flags(&[WRITE, NOSCRIPT]), SCRIPTING, &[], Run::Data(scripting::flush_functions))
        .doc(Group::Scripting, "7.0.0", "O(N)", "Deletes all libraries.")
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
    CommandSpec::new(499, "function|help", 2, flags(&[LOADING, STALE]), SCRIPTING, &[], Run::Data(scripting::function_help))
        .doc(Group::Scripting, "7.0.0", "O(1)", "Explains the subcommands."),
    CommandSpec::new(500, "function|kill", 2, flags(&[NOSCRIPT, ALLOW_BUSY]), SCRIPTING, &[], Run::Data(scripting::kill_function))
        .doc(Group::Scripting, "7.0.0", "O(1)", "Stops the function that runs.")
        .tips(&["request_policy:all_shards", "response_policy:one_succeeded"]),
    CommandSpec::new(501, "function|list", -2, NOSCRIPT, SCRIPTING, &[], Run::Data(scripting::list))
        .doc(Group::Scripting, "7.0.0", "O(N)", "Describes libraries.")
        .tips(&["nondeterministic_output_order"]),
    CommandSpec::new(502, "function|load", -3, flags(&[WRITE, DENYOOM, NOSCRIPT]), SCRIPTING, &[], Run::Data(scripting::load_function))
        .doc(Group::Scripting, "7.0.0", "O(1)", "Loads a library.")
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
    CommandSpec::new(503, "function|restore", -3, flags(&[WRITE, DENYOOM, NOSCRIPT]), SCRIPTING, &[], Run::Data(scripting::restore))
        .doc(Group::Scripting, "7.0.0", "O(N)", "Loads libraries from bytes.")
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
    CommandSpec::new(504, "function|stats", 2, flags(&[NOSCRIPT, ALLOW_BUSY]), SCRIPTING, &[], Run::Data(scripting::stats))
        .doc(Group::Scripting, "7.0.0", "O(1)", "What runs, and how many functions there are.")
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"]),
];

/// Scripts and functions.
#[rustfmt::skip]
pub(super) static COMMANDS: [CommandSpec; 8] = [
    CommandSpec::new(480, "eval", -3, RUNS.and(HAS_SCRIPT), SCRIPTING, &KEYS, Run::Data(scripting::eval))
        .doc(Group::Scripting, "2.6.0", "depends on the script", "Runs a script."),
    CommandSpec::new(481, "evalsha", -3, RUNS, SCRIPTING, &KEYS_OF_SHA, Run::Data(scripting::evalsha))
        .doc(Group::Scripting, "2.6.0", "depends on the script", "Runs a cached script."),
    CommandSpec::new(482, "eval_ro", -3, RUNS_RO.and(HAS_SCRIPT), SCRIPTING, &KEYS_RO, Run::Data(scripting::eval_ro))
        .doc(Group::Scripting, "7.0.0", "depends on the script", "Runs a script that only reads."),
    CommandSpec::new(483, "evalsha_ro", -3, RUNS_RO, SCRIPTING, &KEYS_OF_SHA_RO, Run::Data(scripting::evalsha_ro))
        .doc(Group::Scripting, "7.0.0", "depends on the script", "Runs a cached script that only reads."),
    CommandSpec::new(484, "fcall", -3, RUNS, SCRIPTING, &KEYS, Run::Data(scripting::fcall))
        .doc(Group::Scripting, "7.0.0", "depends on the function", "Calls a function."),
    CommandSpec::new(485, "fcall_ro", -3, RUNS_RO, SCRIPTING, &KEYS_RO, Run::Data(scripting::fcall_ro))
        .doc(Group::Scripting, "7.0.0", "depends on the function", "Calls a function that only reads."),
    CommandSpec::new(488, "script", -2, NONE, Categories::NONE, &[], Run::Container)
        .doc(Group::Scripting, "2.6.0", "depends on the subcommand", "The cache of scripts.")
        .subcommands(&SCRIPT_SUBCOMMANDS),
    CommandSpec::new(495, "function", -2, NONE, Categories::NONE, &[], Run::Container)
        .doc(Group::Scripting, "7.0.0", "depends on the subcommand", "Libraries of functions.")
        .subcommands(&FUNCTION_SUBCOMMANDS),
];

/// Operations of the log that no client can call: a script, and a function, run while the leader's memory is exhausted.
#[rustfmt::skip]
pub(super) static HIDDEN: [CommandSpec; 2] = [
    CommandSpec::new(486, "eval|scarce", -3, RUNS, SCRIPTING, &KEYS, Run::Data(scripting::eval_scarce))
        .doc(Group::Scripting, "", "", "EVAL while memory is exhausted."),
    CommandSpec::new(487, "fcall|scarce", -3, RUNS, SCRIPTING, &KEYS, Run::Data(scripting::fcall_scarce))
        .doc(Group::Scripting, "", "", "FCALL while memory is exhausted."),
];

/// Operations around a script whose caller may not do everything; no client can call them.
#[rustfmt::skip]
pub(super) static CALLED_AS: [CommandSpec; 2] = [
    CommandSpec::new(scripting::CALLED_AS.0, "eval|as", 5, flags(&[LOGGED]), SCRIPTING, &[], Run::Data(scripting::called_as))
        .doc(Group::Scripting, "", "", "A script with its caller's rights."),
    CommandSpec::new(scripting::CALLED_AS_RO.0, "eval_ro|as", 5, READONLY, SCRIPTING, &[], Run::Data(scripting::called_as))
        .doc(Group::Scripting, "", "", "A script that only reads, with its caller's rights."),
];
