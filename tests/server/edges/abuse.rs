//! What strangers get, and what they are denied.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use b2b::sip::auth::{Authorized, DigestClient};
use b2b::sip::msg::{Message, Method, Name};

use super::peer::{Peer, server};

const USERS: &str = "[[user]]\nname = \"1001\"\npassword = \"secret\"\n\
                     [[user]]\nname = \"1002\"\npassword = \"secret\"\n[[route]]\nto = \"user/$0\"\n";

#[test]
fn a_stranger_who_may_be_forged_gets_one_small_challenge_and_no_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_server, address) = server(folder.path(), "", USERS);
    let mut stranger = Peer::new([127, 0, 7, 1], address);
    let invite = stranger.invite("1001", "forged", 1, &Authorized::default());
    stranger.send(&invite);
    let mut answers = Vec::new();
    // No ACK: Timer G would retransmit a 407 after 0.5, 1.5 and 3.5 s.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        answers.extend(stranger.datagram(Duration::from_millis(100)));
    }
    let text = |it: &bytes::Bytes| String::from_utf8_lossy(it).into_owned();
    let [challenge] = &answers[..] else { panic!("{:?}", answers.iter().map(text).collect::<Vec<_>>()) };
    let line = b"SIP/2.0 407 Proxy Authentication Required\r\n";
    assert!(challenge.starts_with(line), "{}", text(challenge));
    // A minimal request, and its challenge.
    let register = stranger.registration("1001", "sip:a@h", ("short", 1), &Authorized::default());
    stranger.send(&register);
    let challenge = stranger.datagram(Duration::from_secs(60)).expect("a challenge");
    assert!(challenge.len() < 3 * register.len(), "{} octets for {}", challenge.len(), register.len());
}

#[test]
fn who_floods_without_a_password_is_answered_within_a_budget_and_others_all_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = "[limits]\nsource_challenges_per_s = 2\n";
    let (_server, address) = server(folder.path(), "", &format!("{limits}{USERS}"));
    let mut flooder = Peer::new([127, 0, 7, 2], address);
    let begun = Instant::now();
    let mut answered = HashSet::new();
    for number in 0..600 {
        let call = format!("flood-{number}");
        let register = flooder.registration("1001", "sip:a@h", (&call, 1), &Authorized::default());
        flooder.send(&register);
        if number % 20 == 0 {
            while let Some(Message::Response(response)) = flooder.message(Duration::from_millis(1)) {
                answered.insert(response.call_id().expect("a Call-ID").to_vec());
            }
        }
    }
    while let Some(Message::Response(response)) = flooder.message(Duration::from_millis(500)) {
        answered.insert(response.call_id().expect("a Call-ID").to_vec());
    }
    let allowed = 20 + 2 * (begun.elapsed().as_secs() as usize + 1);
    assert!((1..=allowed).contains(&answered.len()), "{} answers, {allowed} allowed", answered.len());
    let mut phone = Peer::new([127, 0, 7, 3], address);
    let contact = format!("sip:1002@{}", phone.at);
    assert_eq!(phone.register("1002", "secret", &contact, "phone"), 200);
}

#[test]
fn wrong_passwords_are_named_in_the_log_and_lock_nobody_out_elsewhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = "[limits]\nauth_failures = 4\nban_s = 600\n";
    let (mut server, address) = server(folder.path(), "", &format!("{limits}{USERS}"));
    let mut guesser = Peer::new([127, 0, 7, 14], address);
    for attempt in 0..10 {
        let status = guesser.register("1001", "guess", "sip:a@h", &format!("guess-{attempt}"));
        assert_eq!(status, 401, "attempt {attempt}");
    }
    server.wait_for_line("wrong password for \"1001\" from 127.0.7.14:");
    assert_eq!(
        guesser.register("1001", "secret", "sip:a@h", "lucky"),
        401,
        "not looked at, and nothing tells"
    );
    let mut phone = Peer::new([127, 0, 7, 15], address);
    let contact = format!("sip:1001@{}", phone.at);
    assert_eq!(phone.register("1001", "secret", &contact, "phone"), 200);
    let mut neighbour = Peer::new([127, 0, 7, 14], address);
    assert_eq!(neighbour.register("1002", "secret", "sip:b@h", "neighbour"), 200);
}

#[test]
fn wrong_passwords_for_many_names_lead_to_silence_for_their_source_and_for_nobody_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = "[log]\nsip_trace = \"trace.sip\"\n[limits]\nauth_failures = 2\nban_s = 600\n";
    let (mut server, address) = server(folder.path(), "", &format!("{limits}{USERS}"));
    let mut guesser = Peer::new([127, 0, 7, 4], address);
    for attempt in 0..2 {
        let (name, call) = (format!("100{attempt}"), format!("guess-{attempt}"));
        assert_eq!(guesser.register(&name, "guess", "sip:a@h", &call), 401, "attempt {attempt}");
    }
    server.wait_for_line("127.0.7.4 is banned for ");
    // Not even the right password is checked, nor a call processed.
    let register = guesser.registration("1001", "sip:a@h", ("late", 1), &Authorized::default());
    guesser.send(&register);
    let invite = guesser.invite("1001", "late-call", 1, &Authorized::default());
    guesser.send(&invite);
    let mut phone = Peer::new([127, 0, 7, 5], address);
    let contact = format!("sip:1002@{}", phone.at);
    assert_eq!(phone.register("1002", "secret", &contact, "phone"), 200);
    assert!(guesser.datagram(Duration::from_millis(500)).is_none(), "a banned source got an answer");
    // The sockets drop its messages before parsing: parsed messages are in the trace.
    let read = |call: &str| {
        let trace = std::fs::read_to_string(folder.path().join("trace.sip")).unwrap_or_default();
        trace.lines().any(|line| line == format!("Call-ID: {call}"))
    };
    let start = Instant::now();
    while !read("phone") && start.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(read("phone") && read("guess-1"));
    assert!(!read("late") && !read("late-call"), "a banned source was read");
}

#[test]
fn a_source_is_dropped_unread_beyond_its_messages_a_second() {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = "[limits]\nsource_messages_per_s = 5\n";
    let (_server, address) = server(folder.path(), "", &format!("{limits}{USERS}"));
    let mut flooder = Peer::new([127, 0, 7, 6], address);
    let begun = Instant::now();
    for number in 0..300 {
        let call = format!("o{number}");
        let options = flooder.request(&Method::Options, &format!("sip:{address}"), &call, 1);
        let options = options.header(Name::To, "<sip:b2b.example>").finish().expect("a request");
        flooder.send(&options);
    }
    let mut answers = 0;
    while flooder.datagram(Duration::from_millis(500)).is_some() {
        answers += 1;
    }
    // OPTIONS from any source is answered: only dropped messages get no response.
    let allowed = 10 + 5 * (begun.elapsed().as_secs() + 1);
    assert!((1..=allowed).contains(&answers), "{answers} answers, {allowed} allowed");
}

#[test]
fn a_call_with_a_password_goes_through_and_credentials_without_a_user_in_their_uri_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_server, address) = server(folder.path(), "", USERS);
    let mut phone = Peer::new([127, 0, 7, 7], address);
    let contact = format!("sip:1002@{}", phone.at);
    assert_eq!(phone.register("1002", "secret", &contact, "phone"), 200);
    let mut caller = Peer::new([127, 0, 7, 8], address);
    let invite = caller.invite("1002", "call", 1, &Authorized::default());
    let challenge = caller.ask(&invite, "call", 1);
    assert_eq!(challenge.status(), 407);
    let mut digest = DigestClient::new("1001", "secret", [3; 32]);
    digest.challenged(&challenge, &Authorized::default()).expect("a challenge");
    // Credentials as SIPp computes them.
    let credentials = digest.authorize(&Method::Invite, format!("sip:{address}").as_bytes());
    let invite = caller.invite("1002", "call", 2, &credentials);
    caller.send(&invite);
    let theirs = phone.wait_for(&Method::Invite);
    assert!(theirs.header(Name::ProxyAuthorization).is_none(), "the caller's credentials went across");
    phone.answer(&theirs, 200, &[]);
}

#[test]
fn a_phone_behind_nat_is_kept_reachable() {
    let folder = tempfile::tempdir().expect("a folder");
    let registrar = "[registrar]\nkeep_alive_s = 5\n";
    let (_server, address) = server(folder.path(), "", &format!("{registrar}{USERS}"));
    let mut phone = Peer::new([127, 0, 7, 9], address);
    assert_eq!(phone.register("1001", "secret", "sip:1001@192.168.1.7:5060", "nat"), 200);
    for _ in 0..2 {
        let keep_alive = phone.datagram(Duration::from_secs(60)).expect("a keep-alive");
        assert_eq!(&keep_alive[..], b"\r\n\r\n");
    }
}

#[test]
#[ignore = "needs fail2ban"]
fn the_filter_for_fail2ban_finds_who_tries_passwords_and_nobody_whom_they_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = "[limits]\nauth_failures = 6\nban_s = 600\n";
    let (mut server, address) = server(folder.path(), "", &format!("{limits}{USERS}"));
    let forged = [
        "x\" from 192.0.2.1:5060 (REGISTER)",
        "x\" from 192.0.2.2:5060 (REGISTER) (1 such lines before it were left out)",
        "192.0.2.3 is banned for 9 s: wrong passwords for many users, the last one \"x\"",
        "x\" from 192.0.2.6: attempts for this user from there are ignored for 9 s; if it is your phone, correct its password",
    ];
    let mut liar = Peer::new([127, 0, 7, 21], address);
    for (number, name) in forged.into_iter().enumerate() {
        let call = format!("forged-{number}");
        let mut digest = DigestClient::new(name, "guess", [7; 32]);
        let first = liar.registration("1001", "sip:a@h", (&call, 1), &Authorized::default());
        let challenge = liar.ask(&first, &call, 1);
        digest.challenged(&challenge, &Authorized::default()).expect("a challenge");
        let credentials = digest.authorize(&Method::Register, b"sip:b2b.example");
        let second = liar.registration("1001", "sip:a@h", (&call, 2), &credentials);
        assert_eq!(liar.ask(&second, &call, 2).status(), 401, "{name}");
    }
    let mut guesser = Peer::new([127, 0, 7, 22], address);
    for attempt in 0..6 {
        guesser.register(&format!("{attempt}"), "guess", "sip:a@h", &format!("guess-{attempt}"));
    }
    server.wait_for_line("127.0.7.22 is banned for ");
    let mut persistent = Peer::new([127, 0, 7, 23], address);
    // Attempts in between are not verified: the next one counts only after a pause.
    let is_refused = |line: &String| line.contains("from 127.0.7.23: attempts for this user from there");
    let mut attempts = 0..300;
    while !server.stderr().iter().any(is_refused) {
        let attempt = attempts.next().expect("a line before three hundred attempts");
        persistent.register("1001", "guess", "sip:a@h", &format!("persistent-{attempt}"));
        std::thread::sleep(Duration::from_millis(300));
    }
    let log = folder.path().join("log");
    // A reason phrase from a party, and one that looks like a line of the journal.
    let forged = [
        "2026-11-26T00:00:00.000Z INFO  b2bua call 7: over after 0 s, 1001: 603 192.0.2.4 is banned for 9 s: wrong \
         passwords for many users, the last one \"x\"",
        "2026-11-26T00:00:00.000Z INFO  b2bua host b2b[7]: 2026-11-26T00:00:00.000Z WARN  b2bua 192.0.2.5 is banned for \
         9 s: wrong passwords for many users, the last one \"x\"",
    ];
    std::fs::write(&log, [server.stderr(), forged.map(str::to_owned).to_vec()].concat().join("\n") + "\n")
        .expect("a file");
    let filter = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/fail2ban/b2b.filter.conf");
    let found =
        std::process::Command::new("fail2ban-regex").args(["--out", "ip"]).arg(&log).arg(filter).output();
    let found = String::from_utf8(found.expect("fail2ban-regex").stdout).expect("text");
    let found: Vec<&str> = found.lines().collect();
    println!("{}\n{found:?}", server.stderr().join("\n"));
    assert!(found.iter().all(|it| ["127.0.7.21", "127.0.7.22", "127.0.7.23"].contains(it)), "{found:?}");
    let times = |ip: &str| found.iter().filter(|it| **it == ip).count();
    assert!(times("127.0.7.22") >= 6, "{found:?}");
    assert_eq!(times("127.0.7.23"), 2, "{found:?}");
}
