//! Requests in the form in which they are carried out: with stored keys ([`crate::database`]) in place of the user's.
//!
//! A request is rewritten once, where it is taken from a connection or a script ([`store`]); what follows (routing, the log,
//! other cores and nodes, transactions, clients that wait) has stored keys only. In database 0 nearly every request is in
//! its stored form already ([`is_stored_form`]).
//!
//! A command that names no key but works in one database has that as a *mark*, one more argument at the end: 0x00 and the
//! number. It has none in database 0, unless its last argument could be taken for one. The pattern of KEYS is stored as a
//! key is, for then it says by itself in which database it looks.

use super::ServerCmd;
use super::args::Args;
use super::keys::for_each_key;
use super::parse::is;
use super::spec::{CommandId, CommandSpec, Flags, Run};
use super::table::by_id;
use crate::database::{Database, begins_like_a_mark, mark_of, marked, put_stored, split, users_key};
use crate::number::parse_i64;

const KEYS: CommandId = CommandId(78);
const SCAN: CommandId = CommandId(79);
const RANDOMKEY: CommandId = CommandId(80);
const COPY: CommandId = CommandId(83);
const DBSIZE: CommandId = CommandId(84);
const FLUSHDB: CommandId = CommandId(86);
const MOVE: CommandId = CommandId(101);
const SWAPDB: CommandId = CommandId(680);
/// What a MOVE becomes whose database is one: the key, and the same key there.
pub(super) const MOVED: CommandId = CommandId(100);

/// Whether a request of database 0 is in its stored form as it came.
#[inline]
pub fn is_stored_form(spec: &CommandSpec, args: &Args<'_>) -> bool {
    let special = Flags::MOVABLE_KEYS.and(Flags::NAMES_DATABASE);
    if spec.first_key > 0 && spec.first_key == spec.last_key && !spec.flags.has_any(special) {
        return !begins_like_a_mark(args.get(spec.first_key as usize));
    }
    !spec.flags.has(Flags::NAMES_DATABASE) && !args.iter_from(1).any(begins_like_a_mark)
}

/// Appends a request of a client that is in `database`, in its stored form, to `bytes`, and where each argument lies, counted
/// from where `bytes` ended before, to `spans`. Returns the command that it is now.
pub fn store(
    spec: &'static CommandSpec,
    args: &Args<'_>,
    database: Database,
    bytes: &mut Vec<u8>,
    spans: &mut Vec<(u32, u32)>,
) -> &'static CommandSpec {
    let (start, first) = (bytes.len(), spans.len());
    // In which database the argument is a key, until its place is known.
    let no_key = (u32::MAX, 0);
    spans.resize(first + args.len(), no_key);
    let here = (u32::from(database.number()), 0);
    for_each_key(spec, args, |_, at| spans[first + at] = here);
    let mut stored_as = spec;
    let mut len = args.len();
    match spec.id {
        KEYS => spans[first + 1] = here,
        COPY => {
            if let Some(there) = copied_to(args) {
                spans[first + 2] = (u32::from(there.number()), 0);
            }
        }
        MOVE => {
            let there = parse_i64(args.get(2)).and_then(Database::new);
            if let Some(there) = there.filter(|there| *there != database) {
                stored_as = by_id(MOVED).expect("the table has it");
                spans[first + 2] = (u32::from(there.number()), 1);
                len = 3;
            }
        }
        _ if matches!(spec.run, Run::Server(ServerCmd::Debug)) && is_about_keys(args) => {
            spans[first + 2..].fill(here);
        }
        _ => {}
    }
    for at in 0..len {
        let (number, moved) = spans[first + at];
        let from = bytes.len();
        let argument = args.get(if moved == 1 { 1 } else { at });
        match Database::new(i64::from(number)) {
            Some(database) => put_stored(bytes, database, argument),
            None => bytes.extend_from_slice(argument),
        }
        // A request is far below 4 GiB: the query buffer limit sees to that.
        spans[first + at] = ((from - start) as u32, (bytes.len() - from) as u32);
    }
    let ends_like_a_mark = begins_like_a_mark(args.get(args.len() - 1));
    if takes_mark(spec) && (database != Database::ZERO || ends_like_a_mark) {
        let mark = mark_of(database);
        spans.push(((bytes.len() - start) as u32, mark.len() as u32));
        bytes.extend_from_slice(&mark);
    }
    stored_as
}

/// The database that the argument of SELECT, MOVE or COPY names.
///
/// # Errors
/// The error line to answer.
pub fn selected(argument: &[u8]) -> Result<Database, &'static str> {
    match parse_i64(argument) {
        Some(number) if i32::try_from(number).is_err() => {
            Err("ERR value is out of range, value must between -2147483648 and 2147483647")
        }
        Some(number) => Database::new(number).ok_or("ERR DB index is out of range"),
        None => Err("ERR value is not an integer or out of range"),
    }
}

/// The two databases that a SWAPDB names.
///
/// # Errors
/// The error line to answer.
pub(super) fn swapped(args: &Args<'_>) -> Result<(Database, Database), &'static str> {
    let number = |at: usize| parse_i64(args.get(at)).filter(|number| i32::try_from(*number).is_ok());
    let one = number(1).ok_or("ERR invalid first DB index")?;
    let other = number(2).ok_or("ERR invalid second DB index")?;
    match (Database::new(one), Database::new(other)) {
        (Some(one), Some(other)) => Ok((one, other)),
        _ => Err("ERR DB index is out of range"),
    }
}

/// Whether a command that names no key, or not all of them, works in one database.
fn takes_mark(spec: &CommandSpec) -> bool {
    matches!(spec.id, SCAN | RANDOMKEY | DBSIZE | FLUSHDB) || spec.flags.has(Flags::RUNS_SCRIPT)
}

/// DEBUG looks at keys, which stand from argument 2 on.
fn is_about_keys(args: &Args<'_>) -> bool {
    args.len() > 2 && (is(args.get(1), "OBJECT") || is(args.get(1), "DIGEST-VALUE"))
}

/// The database that the options of a COPY name, if they name one.
fn copied_to(args: &Args<'_>) -> Option<Database> {
    let (mut there, mut at) = (None, 3);
    while let Some(word) = args.try_get(at) {
        if let Some(number) = args.try_get(at + 1).filter(|_| is(word, "DB")) {
            there = parse_i64(number).and_then(Database::new);
            at += 1;
        }
        at += 1;
    }
    there
}

/// A command's arguments without the mark, and the database that it works in.
pub(crate) fn without_mark<'a>(args: &Args<'a>) -> (Database, Args<'a>) {
    let last = args.len() - 1;
    match marked(args.get(last)) {
        Some(database) if last > 0 => (database, args.head(last)),
        _ => (Database::ZERO, *args),
    }
}

/// Whether a write that names no key may change those of `database`.
pub fn may_change(spec: &CommandSpec, args: &Args<'_>, database: Database) -> bool {
    match spec.id {
        FLUSHDB => without_mark(args).0 == database,
        SWAPDB => swapped(args).is_ok_and(|(one, other)| one != other && (database == one || database == other)),
        _ => true,
    }
}

/// Whether a command exchanges databases, on every core at one moment.
pub fn swaps_databases(spec: &CommandSpec) -> bool {
    spec.id == SWAPDB
}

/// A command's arguments from number 1 on as its user wrote them, for people to read.
pub fn users_words<'a>(spec: &CommandSpec, args: &Args<'a>) -> Vec<&'a [u8]> {
    let args = if takes_mark(spec) { without_mark(args).1 } else { *args };
    let mut words: Vec<&[u8]> = args.iter_from(1).collect();
    for_each_key(spec, &args, |_, at| words[at - 1] = users_key(args.get(at)));
    match spec.id {
        KEYS => words[0] = users_key(words[0]),
        MOVED => words[1] = NUMBERS[usize::from(split(args.get(2)).0.number())],
        _ if matches!(spec.run, Run::Server(ServerCmd::Debug)) && is_about_keys(&args) => {
            words.iter_mut().skip(1).for_each(|word| *word = users_key(word));
        }
        _ => {}
    }
    words
}

/// The numbers of databases as text.
static NUMBERS: [&[u8]; crate::database::DATABASES as usize] = [
    b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8", b"9", b"10", b"11", b"12", b"13", b"14", b"15",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::resolve;

    /// `words` as stored in database `number`, with zero bytes shown as `~`, other bytes below a space as `^` and a letter.
    fn stored(number: i64, words: &[&str]) -> String {
        let bytes: Vec<u8> = words.concat().into_bytes();
        let mut at = 0;
        let spans: Vec<(u32, u32)> = words
            .iter()
            .map(|word| {
                at += word.len() as u32;
                (at - word.len() as u32, word.len() as u32)
            })
            .collect();
        let args = Args::new(&bytes, &spans);
        let asked = resolve(&args).unwrap();
        let database = Database::new(number).unwrap();
        // Behind other requests of the same window.
        let (mut out, mut places) = (b"before".to_vec(), vec![(1, 2)]);
        let spec = store(asked, &args, database, &mut out, &mut places);
        let stored = Args::new(&out[6..], &places[1..]);
        let same = stored.len() == args.len() && (0..args.len()).all(|i| stored.get(i) == args.get(i));
        if number == 0 && is_stored_form(asked, &args) {
            assert!(same, "{words:?}");
        }
        let shown = users_words(spec, &stored);
        let wanted: Vec<&[u8]> = args.iter_from(1).collect();
        assert_eq!(shown, wanted, "{words:?}");
        let text: Vec<String> = stored
            .iter_from(0)
            .map(|word| {
                word.iter()
                    .map(|byte| match byte {
                        0 => "~".to_string(),
                        1..32 => format!("^{}", (b'@' + byte) as char),
                        byte => (*byte as char).to_string(),
                    })
                    .collect()
            })
            .collect();
        let moved = if spec.id == MOVED { "moved: " } else { "" };
        format!("{moved}{}", text.join(" "))
    }

    #[test]
    fn keys_are_rewritten_wherever_they_stand() {
        assert_eq!(stored(0, &["get", "a"]), "get a");
        assert_eq!(stored(2, &["get", "a"]), "get ~^Ba");
        assert_eq!(stored(2, &["mget", "a", "b"]), "mget ~^Ba ~^Bb");
        assert_eq!(stored(2, &["mset", "a", "1", "b", "2"]), "mset ~^Ba 1 ~^Bb 2");
        assert_eq!(stored(0, &["mset", "\0a", "1", "b", "\0"]), "mset ~~~a 1 b ~");
        assert!(stored(1, &["sort", "l", "store", "t", "by", "w*"]).ends_with("sort ~^Al store ~^At by w*"));
        assert!(stored(1, &["xread", "count", "1", "streams", "s", "t", "0", "0"]).ends_with("streams ~^As ~^At 0 0"));
        assert!(stored(1, &["zunionstore", "t", "2", "a", "b"]).ends_with("zunionstore ~^At 2 ~^Aa ~^Ab"));
        assert!(stored(1, &["object", "encoding", "k"]).ends_with("object encoding ~^Ak"));
        assert!(stored(1, &["debug", "object", "k"]).ends_with("debug object ~^Ak"));
        assert!(stored(1, &["debug", "sleep", "0"]).ends_with("debug sleep 0"));
        assert!(stored(1, &["publish", "c", "m"]).ends_with("publish c m"));
    }

    #[test]
    fn commands_without_keys_are_marked() {
        assert_eq!(stored(0, &["dbsize"]), "dbsize");
        assert_eq!(stored(3, &["dbsize"]), "dbsize ~^C");
        assert_eq!(stored(3, &["scan", "0", "match", "a*"]), "scan 0 match a* ~^C");
        assert_eq!(stored(0, &["scan", "0", "match", "\0\x03"]), "scan 0 match ~^C ~~");
        assert_eq!(stored(3, &["keys", "a*"]), "keys ~^Ca*");
        assert_eq!(stored(0, &["keys", "\0*"]), "keys ~~~*");
        assert_eq!(stored(3, &["flushdb", "async"]), "flushdb async ~^C");
        assert_eq!(stored(3, &["flushall"]), "flushall");
        assert!(stored(3, &["eval", "return 1", "1", "k", "v"]).ends_with("return 1 1 ~^Ck v ~^C"));
        assert!(stored(0, &["eval", "return 1", "0", "v"]).ends_with("return 1 0 v"));
        assert!(stored(0, &["eval", "return 1", "0", "\0\x01"]).ends_with("return 1 0 ~^A ~~"));
    }

    #[test]
    fn a_second_database_is_where_the_target_is() {
        assert_eq!(stored(1, &["copy", "a", "b"]), "copy ~^Aa ~^Ab");
        assert_eq!(
            stored(0, &["copy", "a", "b", "db", "2", "replace"]),
            "copy a ~^Bb db 2 replace"
        );
        assert_eq!(
            stored(1, &["copy", "a", "b", "REPLACE", "DB", "0"]),
            "copy ~^Aa b REPLACE DB 0"
        );
        assert_eq!(stored(1, &["copy", "a", "b", "db", "16"]), "copy ~^Aa ~^Ab db 16");
        assert_eq!(stored(0, &["move", "a", "9"]), "moved: move a ~^Ia");
        assert_eq!(stored(9, &["move", "a", "0"]), "moved: move ~^Ia a");
        assert_eq!(stored(9, &["move", "a", "9"]), "move ~^Ia 9");
        assert_eq!(stored(0, &["move", "a", "16"]), "move a 16");
        assert_eq!(stored(0, &["move", "a", "x"]), "move a x");
    }

    #[test]
    fn marks_are_taken_off() {
        let (buf, spans) = (b"scan0\0\x05", [(0, 4), (4, 1), (5, 2)]);
        let (database, args) = without_mark(&Args::new(buf, &spans));
        assert_eq!((database.number(), args.len()), (5, 2));
        let (database, args) = without_mark(&Args::new(buf, &spans[..2]));
        assert_eq!((database.number(), args.len()), (0, 2));
    }

    #[test]
    fn the_numbers_are_those_of_the_names() {
        let named = [
            (KEYS, "keys"),
            (SCAN, "scan"),
            (RANDOMKEY, "randomkey"),
            (COPY, "copy"),
            (DBSIZE, "dbsize"),
            (FLUSHDB, "flushdb"),
            (MOVE, "move"),
            (MOVED, "move"),
            (SWAPDB, "swapdb"),
        ];
        for (id, name) in named {
            assert_eq!(by_id(id).map(|spec| spec.name), Some(name));
        }
    }
}
