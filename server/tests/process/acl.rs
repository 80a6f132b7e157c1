//! Users with limited rights, over real connections: what is denied is not carried out, on whichever core it would be.

use std::fs;

use crate::client::{Reply, request};
use crate::scratch::Scratch;
use crate::server::Server;

const COMMAND: &str = "NOPERM this user has no permissions to run the";
const KEY: &str = "NOPERM this user has no permissions to access one of the keys used as arguments";
const CHANNEL: &str = "NOPERM this user has no permissions to access one of the channels used as arguments";

fn start(dir: &Scratch, options: &[&str]) -> Server {
    Server::start(
        dir.path(),
        &[&["--cores", "2", "--durability", "everysec"], options].concat(),
    )
}

fn denied(reply: Reply, how: &str) {
    match reply {
        Reply::Error(text) => assert!(text.starts_with(how), "{text}"),
        other => panic!("{how} was expected, not {other:?}"),
    }
}

#[test]
fn a_user_does_what_the_rules_say_on_every_core() {
    let dir = Scratch::new();
    let server = start(&dir, &[]);
    let mut admin = server.client();
    let rules = [
        "on",
        ">pw",
        "~mine:*",
        "%R~shared:*",
        "&news:*",
        "+@read",
        "+@write",
        "+@connection",
        "+@pubsub",
        "-@dangerous",
        "+acl|whoami",
        "-incr",
    ];
    admin.ok(&[&["ACL", "SETUSER", "ann"], &rules[..]].concat());
    for n in 0..20 {
        admin.ok(&["SET", &format!("shared:{n}"), "s"]);
        admin.ok(&["SET", &format!("secret:{n}"), "x"]);
    }
    let mut ann = server.client();
    ann.ok(&["AUTH", "ann", "pw"]);
    assert_eq!(ann.ok(&["ACL", "WHOAMI"]).text(), "ann");
    // Keys of both cores: here and elsewhere.
    for n in 0..20 {
        let (mine, shared, secret) = (format!("mine:{n}"), format!("shared:{n}"), format!("secret:{n}"));
        ann.ok(&["SET", &mine, "1"]);
        assert_eq!(ann.ok(&["GET", &shared]).text(), "s");
        denied(ann.call(&["SET", &shared, "1"]), KEY);
        denied(ann.call(&["GET", &secret]), KEY);
        denied(ann.call(&["DEL", &mine, &secret]), KEY);
        denied(ann.call(&["MGET", &mine, &secret]), KEY);
        denied(ann.call(&["INCR", &mine]), COMMAND);
        assert_eq!(ann.ok(&["GET", &mine]).text(), "1");
        assert_eq!(admin.ok(&["GET", &secret]).text(), "x");
    }
    denied(ann.call(&["FLUSHALL"]), COMMAND);
    denied(ann.call(&["CONFIG", "GET", "*"]), COMMAND);
    denied(ann.call(&["ACL", "SETUSER", "ann", "+@all"]), COMMAND);
    denied(ann.call(&["PUBLISH", "other", "x"]), CHANNEL);
    ann.ok(&["PUBLISH", "news:1", "x"]);
    // In one packet: a denied command changes nothing of those around it.
    let burst = [["SET", "mine:a", "1"], ["SET", "shared:1", "1"], ["SET", "mine:b", "2"]];
    ann.send(&burst.iter().flat_map(|words| request(words)).collect::<Vec<u8>>())
        .unwrap();
    assert_eq!(ann.reply().unwrap().text(), "OK");
    denied(ann.reply().unwrap(), KEY);
    assert_eq!(ann.reply().unwrap().text(), "OK");
    assert_eq!(admin.info("acl_access_denied_channel"), "1");

    // New rules hold for connections that are open.
    admin.ok(&["ACL", "SETUSER", "ann", "resetkeys", "~only:*"]);
    denied(ann.call(&["GET", "mine:1"]), KEY);
    admin.ok(&["ACL", "SETUSER", "ann", "allkeys", "allcommands", "allchannels"]);
    ann.ok(&["INCR", "secret:counter"]);
    // And who is removed is gone, whichever core he is on.
    let mut others: Vec<_> = (0..4).map(|_| server.client()).collect();
    others
        .iter_mut()
        .for_each(|other| drop(other.ok(&["AUTH", "ann", "pw"])));
    assert_eq!(admin.ok(&["ACL", "DELUSER", "ann", "nobody"]), Reply::Integer(1));
    others.iter_mut().for_each(|other| assert!(other.rest().is_empty()));
    assert!(ann.rest().is_empty());
    assert!(server.client().call(&["AUTH", "ann", "pw"]).is_error());
    server.stop();
}

#[test]
fn who_comes_in_in_the_middle_of_a_pipeline_has_his_own_rights_from_then_on() {
    let dir = Scratch::new();
    let server = start(&dir, &[]);
    let mut client = server.client();
    client.ok(&[
        "ACL", "SETUSER", "bob", "on", "nopass", "~b:*", "+get", "+auth", "+reset",
    ]);
    let script: [(&[&str], Option<&str>); 9] = [
        (&["SET", "b:1", "x"], None),
        (&["AUTH", "bob", "any"], None),
        (&["GET", "b:1"], None),
        (&["GET", "c:1"], Some(KEY)),
        (&["SET", "b:1", "y"], Some(COMMAND)),
        (&["RESET"], None),
        (&["SET", "c:1", "z"], None),
        (&["AUTH", "bob", "any"], None),
        (&["SET", "c:1", "w"], Some(COMMAND)),
    ];
    let bytes: Vec<u8> = script.iter().flat_map(|(words, _)| request(words)).collect();
    client.send(&bytes).unwrap();
    for (words, refusal) in script {
        match (client.reply().unwrap(), refusal) {
            (reply, Some(how)) => denied(reply, how),
            (reply, None) => assert!(!reply.is_error(), "{words:?}: {reply:?}"),
        }
    }
    let mut admin = server.client();
    assert_eq!(admin.ok(&["GET", "b:1"]).text(), "x");
    assert_eq!(admin.ok(&["GET", "c:1"]).text(), "z");
    server.stop();
}

#[test]
fn users_of_a_file_survive_a_restart_and_a_bad_file_is_refused() {
    let dir = Scratch::new();
    let file = Scratch::new();
    fs::create_dir_all(file.path()).unwrap();
    let path = file.path().join("users.acl");
    fs::write(
        &path,
        "# Nobody comes in without a name.\nuser default off\nuser root on >first ~* &* +@all\n",
    )
    .unwrap();
    let options = ["--aclfile", path.to_str().unwrap()];
    let server = start(&dir, &options);
    let mut client = server.client();
    denied(client.call(&["GET", "x"]), "NOAUTH");
    client.ok(&["AUTH", "root", "first"]);
    client.ok(&["ACL", "SETUSER", "reader", "on", ">second", "~*", "+@read"]);
    client.ok(&["ACL", "SAVE"]);
    server.stop();

    let server = start(&dir, &options);
    let mut reader = server.client();
    reader.ok(&["AUTH", "reader", "second"]);
    denied(reader.call(&["SET", "x", "1"]), COMMAND);
    // Changed by hand, and read again: whoever has changed must come in anew.
    let mut root = server.client();
    root.ok(&["AUTH", "root", "first"]);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("+@read", "+@write")).unwrap();
    root.ok(&["ACL", "LOAD"]);
    assert!(reader.rest().is_empty());
    fs::write(&path, "user root on +nosuchcommand\n").unwrap();
    denied(root.call(&["ACL", "LOAD"]), "ERR");
    root.ok(&["SET", "x", "1"]);
    server.stop();

    let ended = Server::refused(dir.path(), &[&["--cores", "2"][..], &options].concat());
    assert!(
        ended.log.contains("line 1") && ended.log.contains("+nosuchcommand"),
        "{}",
        ended.log
    );
}
