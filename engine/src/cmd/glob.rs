//! Patterns as KEYS and SCAN take them: `*`, `?`, `[a-z]`, `[^a]`, and `\` before a character that means itself.

/// Most `*` that may be met on the way to a match: Redis, for which each is a call within another one, gives up there.
const STARS_MAX: usize = 1000;

/// Whether all of `text` matches `pattern`, byte by byte. At most `pattern.len() * text.len()` steps: only the last `*`
/// is ever tried again.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut stars) = (0, 0, 0);
    // Where to go on after the last `*`, and the text position it should swallow next.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            stars += usize::from(p == 0 || pattern[p - 1] != b'*');
            if stars > STARS_MAX {
                return false;
            }
            p += 1;
            retry = Some((p, t));
            continue;
        }
        if t == text.len() {
            return p == pattern.len();
        }
        match one(&pattern[p..], text[t]) {
            Some(used) => (p, t) = (p + used, t + 1),
            None => {
                let Some((after_star, swallow)) = retry else {
                    return false;
                };
                (p, t) = (after_star, swallow + 1);
                retry = Some((after_star, swallow + 1));
            }
        }
    }
}

/// How many bytes of the pattern match the one byte `c`.
fn one(pattern: &[u8], c: u8) -> Option<usize> {
    match *pattern.first()? {
        b'?' => Some(1),
        b'[' => class(pattern, c),
        b'\\' if pattern.len() > 1 => (pattern[1] == c).then_some(2),
        literal => (literal == c).then_some(1),
    }
}

/// A class from its `[` on. An unclosed one ends with the pattern, as in Redis.
fn class(pattern: &[u8], c: u8) -> Option<usize> {
    let mut i = 1;
    let inverted = pattern.get(i) == Some(&b'^');
    i += usize::from(inverted);
    let mut found = false;
    loop {
        match pattern.get(i..) {
            None | Some([]) => break,
            Some([b'\\', escaped, ..]) => {
                found |= *escaped == c;
                i += 2;
            }
            Some([b']', ..]) => {
                i += 1;
                break;
            }
            Some([a, b'-', b, ..]) => {
                found |= (*a.min(b)..=*a.max(b)).contains(&c);
                i += 3;
            }
            Some([literal, ..]) => {
                found |= *literal == c;
                i += 1;
            }
        }
    }
    (found != inverted).then_some(i)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_in_redis() {
        for (pattern, yes, no) in [
            ("*", "|a|abc", "-"),
            ("h?llo", "hello|hallo", "hllo|helloo"),
            ("h*llo", "hllo|heeeello|hllollo", "hell|xhllo"),
            ("h[ae]llo", "hello|hallo", "hillo|hllo"),
            ("h[^e]llo", "hallo|hbllo", "hello|hllo"),
            ("h[a-b]llo", "hallo|hbllo", "hcllo"),
            ("h[b-a]llo", "hallo|hbllo", "hcllo"),
            ("a\\*b", "a*b", "axb"),
            ("[\\]]", "]", "\\"),
            ("[abc", "a|c", "d|"),
            ("a\\", "a\\", "a"),
            ("*a*b*c", "abc|xaybzc|aabbcc", "acb|ab"),
            ("[a-]", "a", "b"),
            ("", "", "a"),
        ] {
            for text in yes.split('|') {
                assert!(matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
            }
            for text in no.split('|').filter(|t| *t != "-") {
                assert!(!matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
            }
        }
    }

    #[test]
    fn many_stars_are_no_attack() {
        let pattern = "a*".repeat(40) + "b";
        assert!(!matches(pattern.as_bytes(), "a".repeat(100_000).as_bytes()));
        assert!(matches("*?".repeat(1000).as_bytes(), "a".repeat(1000).as_bytes()));
        assert!(!matches("*?".repeat(1001).as_bytes(), "a".repeat(1001).as_bytes()));
        assert!(matches("*".repeat(1001).as_bytes(), b"a"));
    }
}
