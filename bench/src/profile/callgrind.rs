//! [`parse`]: callgrind's result file, written without compression of names and positions.
//!
//! Format: "Callgrind Format Specification" of the Valgrind manual. `fn=` names the function of the cost lines that follow
//! (`position cost`); a `calls=` line is followed by one line with the cost inside the callee, which is not the caller's.

use std::collections::HashMap;

/// Instructions counted.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// All of them.
    pub total: u64,
    /// Of each function itself, callees not included; the most first.
    pub functions: Vec<(String, u64)>,
}

/// Reads the text of a result file.
pub fn parse(text: &str) -> Profile {
    let mut costs: HashMap<&str, u64> = HashMap::new();
    let (mut function, mut callee) = ("", false);
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("fn=") {
            function = name;
        } else if line.starts_with("calls=") {
            callee = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit()) {
            let cost = line
                .split_ascii_whitespace()
                .nth(1)
                .and_then(|cost| cost.parse::<u64>().ok());
            if !std::mem::take(&mut callee) {
                *costs.entry(function).or_default() += cost.unwrap_or(0);
            }
        }
    }
    let mut functions: Vec<(String, u64)> = costs.into_iter().map(|(name, cost)| (name.to_owned(), cost)).collect();
    functions.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    Profile {
        total: functions.iter().map(|(_, cost)| cost).sum(),
        functions,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_of_callees_is_not_the_callers() {
        let text = "# callgrind format\nversion: 1\npositions: line\nevents: Ir\nsummary: 160\n\n\
                    fl=a.rs\nfn=outer\n10 40\n11 20\ncfn=inner\ncalls=3 5\n12 100\n13 5\n\n\
                    fn=inner\n5 90\nfi=b.rs\n7 5\n\ntotals: 160\n";
        let expected = Profile {
            total: 160,
            functions: vec![("inner".into(), 95), ("outer".into(), 65)],
        };
        assert_eq!(parse(text), expected);
    }
}
