//! Tables inside a page, between marks that are comments in Markdown:
//!
//! ```text
//! <!-- bench: redis-default -->
//! ... replaced ...
//! <!-- bench: end -->
//! ```

/// Before and after the name in a mark.
const MARK: (&str, &str) = ("<!-- bench: ", " -->");
/// The name in the mark behind a table.
const END: &str = "end";

/// A page with other tables.
#[derive(Debug, PartialEq, Eq)]
pub struct Replaced {
    /// Its text.
    pub text: String,
    /// Tables that were replaced.
    pub replaced: usize,
    /// Names for which there was none.
    pub unknown: Vec<String>,
}

/// Puts what `table` says for its name between each pair of marks; leaves what it knows nothing about.
///
/// # Errors
/// A text for the user: a mark without its other half.
pub fn replace(page: &str, mut table: impl FnMut(&str) -> Option<String>) -> Result<Replaced, String> {
    let mut replaced = Replaced {
        text: String::new(),
        replaced: 0,
        unknown: Vec::new(),
    };
    // The table being left out: its name, and what it was.
    let mut open: Option<(&str, String)> = None;
    for line in page.split_inclusive('\n') {
        let name = line
            .trim()
            .strip_prefix(MARK.0)
            .and_then(|rest| rest.strip_suffix(MARK.1));
        match (name, &mut open) {
            (None, None) => replaced.text += line,
            (None, Some((_, old))) => *old += line,
            (Some(END), None) => return Err("a mark ends a table that was not begun".into()),
            (Some(END), Some(_)) => {
                let (name, old) = open.take().expect("just matched");
                match table(name) {
                    Some(new) => {
                        replaced.text += &format!("\n{}\n\n", new.trim());
                        replaced.replaced += 1;
                    }
                    None => {
                        replaced.text += &old;
                        replaced.unknown.push(name.to_owned());
                    }
                }
                replaced.text += line;
            }
            (Some(name), None) => {
                replaced.text += line;
                open = Some((name, String::new()));
            }
            (Some(_), Some((name, _))) => return Err(format!("the table {name} has no end")),
        }
    }
    match open {
        Some((name, _)) => Err(format!("the table {name} has no end")),
        None => Ok(replaced),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_between_marks_is_replaced_and_nothing_else() {
        let page = "a\n<!-- bench: x -->\nold\n<!-- bench: end -->\nb\n<!-- bench: y -->\nkept\n<!-- bench: end -->\n";
        let known = |name: &str| (name == "x").then(|| "| new |\n".to_owned());
        let once = replace(page, known).unwrap();
        assert_eq!(
            once.text,
            "a\n<!-- bench: x -->\n\n| new |\n\n<!-- bench: end -->\nb\n<!-- bench: y -->\nkept\n<!-- bench: end -->\n"
        );
        assert_eq!((once.replaced, &once.unknown[..]), (1, &["y".to_owned()][..]));
        assert_eq!(replace(&once.text, known).unwrap().text, once.text);
    }

    #[test]
    fn marks_come_in_pairs() {
        for wrong in [
            "<!-- bench: x -->\n",
            "<!-- bench: end -->\n",
            "<!-- bench: x -->\n<!-- bench: y -->\n<!-- bench: end -->\n",
        ] {
            assert!(replace(wrong, |_| None).is_err(), "{wrong}");
        }
    }
}
