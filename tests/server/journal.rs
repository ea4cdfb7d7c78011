//! Journals of calls: each is fetched from the real server, and the call is replayed from it.

use std::time::Instant;

use b2b_call::journal::Journal;
use b2b_call::switch::replay::Replay;

use crate::server_support::phone::Phone;
use crate::server_support::{Answer, Server, server, until};

const TOKENS: &str = "token = \"all\"\n\
    [[http.tokens]]\nname = \"reader\"\ntoken = \"look\"\nscopes = [\"read\"]\n\
    [[http.tokens]]\nname = \"clerk\"\ntoken = \"note\"\nscopes = [\"read\", \"record\"]\n";
const KEY: &str = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNk";
const DIGEST: &str = "00112233445566778899aabbccddeeff";

fn get(server: &Server, token: &str, path: &str) -> Answer {
    server.ask_with("GET", path, &format!("Authorization: Bearer {token}\r\n"), "")
}

/// The current or most recent call.
fn path(server: &Server) -> String {
    let calls = get(server, "all", "/calls?ended=true").json();
    let id = calls["calls"][0]["call"].as_u64().or_else(|| calls["ended"][0].as_u64());
    format!("/calls/{}", id.expect("a call"))
}

fn is_over(server: &Server, path: &str) {
    until("its end", || (get(server, "all", path).json()["over"] == true).then_some(()));
}

/// Every message is sent again unchanged.
pub fn assert_replays(journal: &str) {
    let read = Journal::parse(journal).unwrap_or_else(|error| panic!("{error}\n{journal}"));
    assert!(!read.is_cut && !read.sent.is_empty());
    let sent = read.sent.len();
    let replayed = Replay::new(read, Instant::now()).run(&mut |_| ());
    assert!(replayed.differs.is_none(), "{:?}\n{journal}", replayed.differs);
    assert_eq!((replayed.same, replayed.unsent), (sent, 0), "{journal}");
}

#[test]
fn a_call_is_run_again_from_its_journal_which_has_no_secret_unless_they_are_asked_for() {
    let crypto = format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}\r\n");
    let (ann, bob) = (Phone::new("ann").speaking("8", &crypto), Phone::new("bob"));
    let route = format!("[[route]]\ncalled = \".*\"\nto = \"{}\"\nsrtp = \"osrtp\"\n", bob.uri());
    let server = server(&format!("{TOKENS}{route}"));
    let proof = format!(
        "Proxy-Authorization: Digest username=\"ann\", realm=\"elsewhere\", nonce=\"n\", \
         uri=\"sip:200@elsewhere\", response=\"{DIGEST}\"\r\n"
    );
    let asked = ann.ask_with(server.sip, "200", &proof);
    let (invite, peer) = bob.hear("INVITE");
    let own = invite.split("inline:").nth(1).and_then(|rest| rest.split(['|', '\r']).next());
    let own = own.expect("a key of the server's").to_owned();
    let dialog = std::thread::scope(|scope| {
        scope.spawn(|| bob.answer_to(&invite, peer));
        let (answer, _) = ann.hear("SIP/2.0 200");
        ann.confirmed(&answer, asked, server.sip)
    });
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (info, peer) = bob.hear("INFO");
            bob.agree_to(&info, peer);
        });
        ann.press(&dialog, 2, '7');
    });
    let path = path(&server);
    let journal = format!("{path}/journal");
    let live = get(&server, "note", &journal);
    assert_eq!(live.field("content-type"), Some("application/x-ndjson; charset=utf-8"));
    let name = format!("attachment; filename=\"call-{}.journal\"", path.trim_start_matches("/calls/"));
    assert_eq!(live.field("content-disposition"), Some(name.as_str()));
    std::thread::scope(|scope| {
        scope.spawn(|| bob.let_go());
        ann.hang_up(&dialog);
    });
    is_over(&server, &path);
    let over = get(&server, "note", &journal).text();
    let whole = get(&server, "note", &format!("{journal}?secrets=keep")).text();
    for journal in [&live.text(), &over, &whole] {
        assert_replays(journal);
    }
    for secret in [KEY, &own, DIGEST, "Signal=7"] {
        assert!(!over.contains(secret), "{secret} in\n{over}");
        assert!(whole.contains(secret), "no {secret} in\n{whole}");
    }
    assert!(over.contains("INVITE sip:200@"), "whom Ann calls is told");

    let refused = |token: &str, path: &str| {
        let answer = get(&server, token, path);
        assert!(!answer.json()["fix"].as_str().expect("a fix").is_empty());
        answer.status
    };
    assert_eq!(refused("look", &journal), 403);
    assert_eq!(refused("look", &format!("{journal}?secrets=keep")), 403);
    for query in ["secrets=all", "secrets", "secret=keep", "secrets=keep&secrets=keep", "redact=no"] {
        assert_eq!(refused("note", &format!("{journal}?{query}")), 400, "{query}");
    }
    assert_eq!(refused("note", "/calls/77/journal"), 404);
    assert_eq!(refused("note", "/calls/first/journal"), 400);
}

#[test]
fn a_pin_is_not_in_the_journal_of_a_call_to_a_room() {
    let room = "[[conference]]\nname = \"red\"\npin = \"4711\"\nannounced = false\n\
        [[route]]\ncalled = \"8000\"\napp = \"conference/red\"\n";
    let server = server(&format!("{TOKENS}{room}"));
    let ann = Phone::new("ann");
    let dialog = ann.call(server.sip, "8000");
    for (cseq, key) in (2..).zip("4711#".chars()) {
        ann.press(&dialog, cseq, key);
    }
    until("Ann in the room", || {
        (get(&server, "all", "/rooms/red").json()["members"].as_array().map(Vec::len) == Some(1))
            .then_some(())
    });
    let path = path(&server);
    ann.hang_up(&dialog);
    is_over(&server, &path);
    let journal = get(&server, "note", &format!("{path}/journal")).text();
    assert!(!["Signal=4", "Signal=7", "Signal=1"].iter().any(|key| journal.contains(key)), "{journal}");
    assert_eq!(journal.matches("Signal=0").count(), 4, "{journal}");
    assert_replays(&journal);
}

#[test]
fn where_journals_are_off_a_call_has_none_and_the_answer_says_what_to_do() {
    let bob = Phone::new("bob");
    let route = format!("[log]\ncall_journals = false\n[[route]]\ncalled = \".*\"\nto = \"{}\"\n", bob.uri());
    let server = server(&format!("{TOKENS}{route}"));
    let ann = Phone::new("ann");
    std::thread::scope(|scope| {
        scope.spawn(|| bob.answer());
        ann.call(server.sip, "200");
    });
    let answer = get(&server, "note", &format!("{}/journal", path(&server)));
    assert_eq!(answer.status, 404);
    assert!(answer.json()["fix"].as_str().expect("a fix").contains("call_journals = true"), "{answer:?}");
    assert_eq!(get(&server, "note", "/calls/77/journal").status, 404);
}
