//! Patterns as Redis matches them: `*`, `?`, `[a-z]`, `[^x]`, and `\` before a character that stands for itself.

/// Whether letters match in both cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// `a` matches `a` only.
    Exact,
    /// `a` matches `A` as well.
    Ignore,
}

/// Whether the whole of `text` matches `pattern`. Takes at most `pattern.len() * text.len()` steps: a mismatch goes back
/// to the last `*` only, because an earlier one could not match more.
pub fn matches(pattern: &[u8], text: &[u8], case: Case) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on when what follows the last `*` does not match: the pattern after it, and how much text it took.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            retry = Some((p, t));
            continue;
        }
        let step = match text.get(t) {
            None if p == pattern.len() => return true,
            None => return false,
            Some(&byte) => one(&pattern[p..], byte, case),
        };
        match (step, retry) {
            (Some(length), _) => (p, t) = (p + length, t + 1),
            (None, Some((after_star, taken))) => {
                (p, t) = (after_star, taken + 1);
                retry = Some((after_star, taken + 1));
            }
            (None, None) => return false,
        }
    }
}

/// When the first item of `pattern` matches `byte`: how long that item is.
fn one(pattern: &[u8], byte: u8, case: Case) -> Option<usize> {
    let same = |a: u8, b: u8| a == b || (case == Case::Ignore && a.eq_ignore_ascii_case(&b));
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', class @ ..] => {
            let (length, inside) = in_class(class, byte, case);
            inside.then_some(length + 1)
        }
        [b'\\', literal, ..] => same(*literal, byte).then_some(2),
        [literal, ..] => same(*literal, byte).then_some(1),
    }
}

/// How long the class is (what follows its `[`, the `]` included) and whether `byte` is in it. A class without end reaches
/// to the end of the pattern, as in Redis.
fn in_class(class: &[u8], byte: u8, case: Case) -> (usize, bool) {
    let fold = |b: u8| {
        if case == Case::Ignore {
            b.to_ascii_lowercase()
        } else {
            b
        }
    };
    let byte = fold(byte);
    let negated = class.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut found = false;
    loop {
        match class[at.min(class.len())..] {
            [] => return (class.len(), found != negated),
            [b']', ..] => return (at + 1, found != negated),
            [b'\\', literal, ..] => {
                found |= fold(literal) == byte;
                at += 2;
            }
            [from, b'-', to, ..] => {
                let (low, high) = (fold(from).min(fold(to)), fold(from).max(fold(to)));
                found |= (low..=high).contains(&byte);
                at += 3;
            }
            [literal, ..] => {
                found |= fold(literal) == byte;
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_redis() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a*b*c", "aXXbYYc", true),
            ("a*b*c", "aXXbYY", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[^e]llo", "hbllo", true),
            ("[a-c]x", "bx", true),
            ("[c-a]x", "bx", true),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("[\\]]", "]", true),
            ("[ab", "a", true),
            ("x[", "x", false),
            ("slowlog-*-than", "slowlog-log-slower-than", true),
            ("A", "a", false),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes(), Case::Exact),
                expected,
                "{pattern} {text}"
            );
        }
        assert!(matches(b"MaxM*", b"maxmemory", Case::Ignore) && matches(b"[A-C]", b"b", Case::Ignore));
    }

    #[test]
    fn many_stars_end_soon() {
        let pattern = "a*".repeat(200) + "b";
        assert!(!matches(pattern.as_bytes(), "a".repeat(5000).as_bytes(), Case::Exact));
    }
}
