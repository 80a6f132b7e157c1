//! [`rights_text`] and [`read_rights`]: what a user may do, as text beside a script in the log.
//!
//! The text is the rules of `ACL SETUSER` without name and passwords. It is read when the script runs, at each replay, too.

use slotcore_engine::cmd::{Args, CommandSpec};
use slotcore_engine::script::{Denial as ScriptDenial, Rights};

use super::check::Denial;
use super::rules;
use super::user::User;

struct RightsOf(User);

impl Rights for RightsOf {
    fn denial(&self, spec: &CommandSpec, args: &Args<'_>) -> Option<ScriptDenial> {
        let denied = self.0.check(spec, args).err()?;
        Some(match denied.what {
            Denial::Command => ScriptDenial::Command,
            Denial::Key(at) => ScriptDenial::Key(at),
            Denial::Channel(at) => ScriptDenial::Channel(at),
        })
    }
}

/// A user's rules about commands, keys and channels.
pub fn rights_text(user: &User) -> Vec<u8> {
    let mut text = Vec::new();
    user.describe_rights(&mut text);
    text
}

/// Rights by such a text. One that makes no sense gives none.
pub fn read_rights(text: &[u8]) -> Box<dyn Rights> {
    let words: Vec<&[u8]> = text
        .split(|byte| *byte == b' ')
        .filter(|word| !word.is_empty())
        .collect();
    let mut user = User::default();
    let read = rules::joined(&words).is_ok_and(|rules| {
        let mut all = rules.iter();
        all.all(|rule| rules::apply(&mut user, rule).is_ok())
    });
    Box::new(RightsOf(if read { user } else { User::default() }))
}

#[cfg(test)]
mod tests {
    use slotcore_engine::cmd::resolve;

    use super::*;
    use crate::acl::AclTable;

    fn denied(rights: &dyn Rights, line: &str) -> Option<ScriptDenial> {
        let (mut at, mut spans) = (0, Vec::new());
        for word in line.split(' ') {
            spans.push((at, word.len() as u32));
            at += word.len() as u32 + 1;
        }
        let args = Args::new(line.as_bytes(), &spans);
        rights.denial(resolve(&args).unwrap(), &args)
    }

    #[test]
    fn rights_come_back_from_their_text() {
        let mut table = AclTable::new("");
        let rules = "on >secret ~a* %R~b* resetchannels &c +@all -del (~z +del)";
        let rules: Vec<&[u8]> = rules.split(' ').map(str::as_bytes).collect();
        table.set(b"u", &rules).unwrap();
        let text = rights_text(table.get(b"u").unwrap());
        let shown = String::from_utf8_lossy(&text).into_owned();
        assert!(!shown.contains('#') && !shown.contains("secret"), "{shown}");
        let rights = read_rights(&text);
        for (line, expected) in [
            ("set a1 v", None),
            ("get b1", None),
            ("set b1 v", Some(ScriptDenial::Key(1))),
            ("mget a x", Some(ScriptDenial::Key(2))),
            ("del a1", Some(ScriptDenial::Key(1))),
            ("del z", None),
            ("publish c m", None),
            ("publish d m", Some(ScriptDenial::Channel(1))),
        ] {
            assert_eq!(denied(&*rights, line), expected, "{line} by {shown}");
        }
    }

    #[test]
    fn what_makes_no_sense_gives_no_rights() {
        for text in ["+@all ~* nonsense", "", "(+@all", "+@all ~* \u{fffd}"] {
            assert_eq!(
                denied(&*read_rights(text.as_bytes()), "get k"),
                Some(ScriptDenial::Command),
                "{text}"
            );
        }
    }
}
