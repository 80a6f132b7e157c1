//! The first line of a script or library: `#!lua name=... flags=...`.

/// What a script or function says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScriptFlags(pub u8);

impl ScriptFlags {
    /// Writes nothing.
    pub const NO_WRITES: ScriptFlags = ScriptFlags(1);
    /// May run while memory is exhausted.
    pub const ALLOW_OOM: ScriptFlags = ScriptFlags(1 << 1);
    /// May run on a replica that lost its leader.
    pub const ALLOW_STALE: ScriptFlags = ScriptFlags(1 << 2);
    /// Not for clusters.
    pub const NO_CLUSTER: ScriptFlags = ScriptFlags(1 << 3);
    /// May touch keys of several slots.
    pub const ALLOW_CROSS_SLOT: ScriptFlags = ScriptFlags(1 << 4);

    const NAMES: [(ScriptFlags, &'static str); 5] = [
        (ScriptFlags::NO_WRITES, "no-writes"),
        (ScriptFlags::ALLOW_OOM, "allow-oom"),
        (ScriptFlags::ALLOW_STALE, "allow-stale"),
        (ScriptFlags::NO_CLUSTER, "no-cluster"),
        (ScriptFlags::ALLOW_CROSS_SLOT, "allow-cross-slot-keys"),
    ];

    /// The flag called `name`.
    pub fn named(name: &[u8]) -> Option<ScriptFlags> {
        let found = Self::NAMES.iter().find(|(_, known)| known.as_bytes() == name);
        found.map(|(flag, _)| *flag)
    }

    /// Both sets together.
    pub const fn and(self, other: ScriptFlags) -> ScriptFlags {
        ScriptFlags(self.0 | other.0)
    }

    /// Whether all of `other` are set.
    pub const fn has(self, other: ScriptFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// The names of those set.
    pub fn names(self) -> impl Iterator<Item = &'static str> + Clone {
        Self::NAMES
            .iter()
            .filter(move |(flag, _)| self.has(*flag))
            .map(|(_, name)| *name)
    }
}

/// A script's own flags, and the bytes its first line takes: that is left out, its line end stays, so that line numbers
/// do. `None` for a script without such a line, which may do anything.
///
/// # Errors
/// The text of the error, without its code.
pub fn script_flags(body: &[u8]) -> Result<(Option<ScriptFlags>, usize), String> {
    if !body.starts_with(b"#!") {
        return Ok((None, 0));
    }
    let end = body.iter().position(|c| *c == b'\n').ok_or("Invalid script shebang")?;
    let line = String::from_utf8_lossy(&body[..end]);
    let mut words = line.split_ascii_whitespace();
    let engine = words.next().ok_or("Invalid engine in script shebang")?;
    if engine != "#!lua" {
        return Err(format!("Unexpected engine in script shebang: {engine}"));
    }
    let mut flags = ScriptFlags::default();
    for word in words {
        let list = word
            .strip_prefix("flags=")
            .ok_or_else(|| format!("Unknown lua shebang option: {word}"))?;
        for name in list.split(',').filter(|_| !list.is_empty()) {
            let flag = ScriptFlags::named(name.as_bytes());
            flags = flags.and(flag.ok_or_else(|| format!("Unexpected flag in script shebang: {name}"))?);
        }
    }
    Ok((Some(flags), end))
}

/// The name of a library, and where its code begins: at the end of its first line.
///
/// # Errors
/// The text of the error, without its code.
pub fn library_name(code: &[u8]) -> Result<(String, usize), String> {
    if !code.starts_with(b"#!") {
        return Err("Missing library metadata".into());
    }
    let end = code
        .iter()
        .position(|c| *c == b'\n')
        .ok_or("Invalid library metadata")?;
    let words = words_of(&code[2..end]).ok_or("Invalid library metadata")?;
    // Right behind the `#!` an engine without a name has its place.
    let (engine, words) = match words.split_first() {
        Some((first, rest)) if !code[2].is_ascii_whitespace() => (first.as_str(), rest),
        Some(_) => ("", &words[..]),
        None => return Err("Invalid library metadata".into()),
    };
    let mut name = None;
    for word in words {
        match word.split_at_checked(5) {
            Some((key, _)) if key.eq_ignore_ascii_case("name=") && name.is_some() => {
                return Err("Invalid metadata value, name argument was given multiple times".into());
            }
            Some((key, value)) if key.eq_ignore_ascii_case("name=") => name = Some(value.to_string()),
            _ => return Err(format!("Invalid metadata value given: {word}")),
        }
    }
    let name: String = name.ok_or("Library name was not given")?;
    if !is_name(&name) {
        return Err(
            "Library names can only contain letters, numbers, or underscores(_) and must be at least one character long"
                .into(),
        );
    }
    if !engine.eq_ignore_ascii_case("lua") {
        return Err(format!("Engine '{engine}' not found"));
    }
    Ok((name, end))
}

/// Words with spaces between them; some may be in quotes, as `name="lib"`. `None`: a quote is not closed.
fn words_of(line: &[u8]) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote, mut is_open) = (Vec::new(), Vec::new(), None, false);
    for &byte in line {
        match quote {
            Some(mark) if byte == mark => quote = None,
            Some(_) => word.push(byte),
            None if byte.is_ascii_whitespace() => {
                if std::mem::take(&mut is_open) {
                    words.push(String::from_utf8_lossy(&std::mem::take(&mut word)).into_owned());
                }
            }
            None => {
                is_open = true;
                match byte {
                    b'"' | b'\'' => quote = Some(byte),
                    _ => word.push(byte),
                }
            }
        }
    }
    if is_open {
        words.push(String::from_utf8_lossy(&word).into_owned());
    }
    quote.is_none().then_some(words)
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_say_what_they_do() {
        let flags = |body: &str| script_flags(body.as_bytes());
        assert_eq!(flags("return 1"), Ok((None, 0)));
        assert_eq!(flags("#!lua\nreturn 1"), Ok((Some(ScriptFlags::default()), 5)));
        let both = ScriptFlags::NO_WRITES.and(ScriptFlags::ALLOW_OOM);
        assert_eq!(flags("#!lua flags=no-writes,allow-oom\n"), Ok((Some(both), 31)));
        assert_eq!(both.names().collect::<Vec<_>>(), ["no-writes", "allow-oom"]);
        assert_eq!(flags("#!lua flags=\n"), Ok((Some(ScriptFlags::default()), 12)));
        assert_eq!(flags("#!lua"), Err("Invalid script shebang".into()));
        assert_eq!(
            flags("#!not-lua\n"),
            Err("Unexpected engine in script shebang: #!not-lua".into())
        );
        assert_eq!(
            flags("#!lua badger=data\n"),
            Err("Unknown lua shebang option: badger=data".into())
        );
        assert_eq!(
            flags("#!lua flags=x\n"),
            Err("Unexpected flag in script shebang: x".into())
        );
    }

    #[test]
    fn libraries_have_names() {
        let name = |code: &str| library_name(code.as_bytes());
        assert_eq!(name("#!lua name=mylib\nx"), Ok(("mylib".into(), 16)));
        assert_eq!(name("#!LUA NAME=a_1\n"), Ok(("a_1".into(), 14)));
        assert_eq!(name("#!lua name=\"a\"\n"), Ok(("a".into(), 14)));
        assert_eq!(name("#! name=a\n"), Err("Engine '' not found".into()));
        assert_eq!(name("#!lua name='a\n"), Err("Invalid library metadata".into()));
        assert_eq!(name("x"), Err("Missing library metadata".into()));
        assert_eq!(name("#!lua name=x"), Err("Invalid library metadata".into()));
        assert_eq!(name("#!lua\n"), Err("Library name was not given".into()));
        assert_eq!(name("#!bad name=x\n"), Err("Engine 'bad' not found".into()));
        assert_eq!(name("#!lua foo=x\n"), Err("Invalid metadata value given: foo=x".into()));
        assert_eq!(
            name("#!lua name=a name=b\n"),
            Err("Invalid metadata value, name argument was given multiple times".into())
        );
        assert!(
            name("#!lua name=a-b\n")
                .unwrap_err()
                .starts_with("Library names can only")
        );
    }
}
