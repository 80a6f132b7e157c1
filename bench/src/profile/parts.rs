//! [`parts`]: instructions of a command by what they are for, told from the source file they come from. Optimised code is
//! inlined across crates, so functions say little; the lines that callgrind charges keep their file.

use super::callgrind::Cost;

/// Which part a file belongs to: the first whose text its path contains.
const OF_FILE: &[(&str, &str)] = &[
    ("/netio/src/resp/decode", "parse"),
    ("/netio/src/", "reply"),
    ("/server/src/reply", "reply"),
    ("/engine/src/cmd/op", "log form"),
    ("/engine/src/cmd/", "command"),
    ("/engine/src/collections/", "collection"),
    ("/engine/src/", "table"),
    ("/bench/src/", "loop"),
    ("xxhash", "hash"),
    ("mimalloc", "memory"),
];
/// Which part a function belongs to whose file says nothing.
const OF_FUNCTION: &[(&str, &str)] = &[
    ("mem", "copy and compare"),
    ("alloc", "memory"),
    ("free", "memory"),
    ("mi_", "memory"),
];
/// What is left: the standard library inlined everywhere.
const OTHER: &str = "standard library";

/// Instructions by part, the most first.
pub fn parts(costs: &[Cost]) -> Vec<(String, u64)> {
    let mut parts: Vec<(String, u64)> = Vec::new();
    for cost in costs {
        let part = part(cost);
        match parts.iter_mut().find(|known| known.0 == part) {
            Some(known) => known.1 += cost.instructions,
            None => parts.push((part.to_owned(), cost.instructions)),
        }
    }
    parts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    parts
}

fn part(cost: &Cost) -> &'static str {
    let of_file = OF_FILE.iter().find(|(text, _)| cost.file.contains(text));
    let of_function = || OF_FUNCTION.iter().find(|(text, _)| cost.function.contains(text));
    of_file.or_else(of_function).map_or(OTHER, |found| found.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_decide_and_functions_where_files_say_nothing() {
        let cost = |function: &str, file: &str, instructions| Cost {
            function: function.into(),
            file: file.into(),
            instructions,
        };
        let found = parts(&[
            cost("Decoder::next", "/x/netio/src/resp/decode.rs", 10),
            cost("Decoder::next", "/rustc/library/core/src/slice/mod.rs", 5),
            cost("__memcpy_avx_unaligned", "???", 7),
            cost("get", "/x/engine/src/table/probe.rs", 30),
            cost("op_form", "/x/engine/src/cmd/op.rs", 1),
            cost("get", "/x/engine/src/cmd/data/string.rs", 2),
        ]);
        let text: Vec<String> = found.iter().map(|(part, n)| format!("{part} {n}")).collect();
        assert_eq!(
            text,
            [
                "table 30",
                "parse 10",
                "copy and compare 7",
                "standard library 5",
                "command 2",
                "log form 1"
            ]
        );
    }
}
