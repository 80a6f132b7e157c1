//! [`parse`]: callgrind's result file, written without compression of names and positions.
//!
//! Format: "Callgrind Format Specification" of the Valgrind manual. `fn=` names the function of the cost lines that follow
//! (`position cost`), `fl=` its file, `fi=` and `fe=` the file of what is inlined from there on; a `calls=` line is followed
//! by one line with the cost inside the callee, which is not the caller's.

use std::collections::HashMap;

/// Instructions of a function that come from one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    /// The function they are executed in.
    pub function: String,
    /// The source file they were made from.
    pub file: String,
    /// How many.
    pub instructions: u64,
}

/// Instructions counted.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// All of them.
    pub total: u64,
    /// By function and file, callees not included.
    pub costs: Vec<Cost>,
}

impl Profile {
    /// Instructions of each function, the most first.
    pub fn functions(&self) -> Vec<(String, u64)> {
        let mut sums: HashMap<&str, u64> = HashMap::new();
        for cost in &self.costs {
            *sums.entry(&cost.function).or_default() += cost.instructions;
        }
        let mut functions: Vec<(String, u64)> = sums.into_iter().map(|(name, sum)| (name.to_owned(), sum)).collect();
        functions.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        functions
    }
}

/// Reads the text of a result file.
pub fn parse(text: &str) -> Profile {
    let mut costs: HashMap<(&str, &str), u64> = HashMap::new();
    let (mut function, mut file, mut callee) = ("", "", false);
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("fn=") {
            function = name;
        } else if let Some(name) = ["fl=", "fi=", "fe="]
            .iter()
            .find_map(|prefix| line.strip_prefix(prefix))
        {
            file = name;
        } else if line.starts_with("calls=") {
            callee = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit()) {
            let cost = line
                .split_ascii_whitespace()
                .nth(1)
                .and_then(|cost| cost.parse::<u64>().ok());
            if !std::mem::take(&mut callee) {
                *costs.entry((function, file)).or_default() += cost.unwrap_or(0);
            }
        }
    }
    let mut costs: Vec<Cost> = costs
        .into_iter()
        .map(|((function, file), instructions)| Cost {
            function: function.to_owned(),
            file: file.to_owned(),
            instructions,
        })
        .collect();
    costs.sort_by(|a, b| (&a.function, &a.file).cmp(&(&b.function, &b.file)));
    Profile {
        total: costs.iter().map(|cost| cost.instructions).sum(),
        costs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_of_callees_is_not_the_callers_and_inlined_lines_keep_their_file() {
        let text = "# callgrind format\nversion: 1\npositions: line\nevents: Ir\nsummary: 160\n\n\
                    fl=a.rs\nfn=outer\n10 40\n11 20\ncfn=inner\ncalls=3 5\n12 100\n13 5\n\n\
                    fl=a.rs\nfn=inner\n5 90\nfi=b.rs\n7 5\n\ntotals: 160\n";
        let cost = |function: &str, file: &str, instructions| Cost {
            function: function.into(),
            file: file.into(),
            instructions,
        };
        let profile = parse(text);
        let expected = [
            cost("inner", "a.rs", 90),
            cost("inner", "b.rs", 5),
            cost("outer", "a.rs", 65),
        ];
        assert_eq!((profile.total, &profile.costs[..]), (160, &expected[..]));
        assert_eq!(
            profile.functions(),
            [("inner".to_owned(), 95), ("outer".to_owned(), 65)]
        );
    }
}
