//! Log lines for refused requests. HTTP is off here: the lines do not depend on its thread.

use std::time::Duration;

use b2b::sip::auth::{Authorized, DigestClient};
use b2b::sip::msg::{Message, Method, Name};
use bytes::Bytes;

use super::peer::{Peer, SESSION, server};

const PARTIES: &str = "[[user]]\nname = \"1001\"\npassword = \"secret\"\n\
    [[route]]\nname = \"blocked\"\ncalled = \"9.*\"\nreject = 403\n\
    [[route]]\ncalled = \"1.*\"\nto = \"user/$0\"\n";
const TRUSTED: &str = "trusted = [\"127.0.8.0/28\"]\n";

/// Calls from a trusted address; returns the final status.
fn call(peer: &mut Peer, number: &str, call: &str) -> u16 {
    let invite = peer.invite(number, call, 1, &Authorized::default());
    peer.ask(&invite, call, 1).status()
}

#[test]
fn each_refusal_is_a_line_with_its_source_user_number_status_and_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = "[limits]\nuser_calls_per_s = 1\n";
    let (mut server, address) = server(folder.path(), TRUSTED, &format!("{limits}{PARTIES}"));
    let mut caller = Peer::new([127, 0, 8, 1], address);
    let at = caller.at;
    assert_eq!(call(&mut caller, "911", "blocked"), 403);
    server.wait_for_line(&format!("ann from {at} to 911 refused with 403: blocked: 911 is refused: 403"));
    assert_eq!(call(&mut caller, "200", "unknown"), 404);
    server.wait_for_line(&format!("ann from {at} to 200 refused with 404: none takes 200 from ann"));
    assert_eq!(call(&mut caller, "1001", "absent"), 480);
    server.wait_for_line(&format!("ann from {at} to 1001 refused with 480: "));
    // Refusals other than unknown numbers: another user's address, too short an interval, too many calls.
    let mut phone = Peer::new([127, 0, 8, 17], address);
    let at = phone.at;
    let mut digest = DigestClient::new("1001", "secret", [7; 32]);
    let first = phone.registration("2002", "sip:a@h", ("others", 1), &Authorized::default());
    let challenge = phone.ask(&first, "others", 1);
    digest.challenged(&challenge, &Authorized::default()).expect("a challenge");
    let credentials = digest.authorize(&Method::Register, b"sip:b2b.example");
    let second = phone.registration("2002", "sip:a@h", ("others", 2), &credentials);
    assert_eq!(phone.ask(&second, "others", 2).status(), 403);
    server.wait_for_line(&format!(
        "REGISTER: user/1001 from {at} to sip:2002@b2b.example refused with 403: Forbidden"
    ));
    let credentials = digest.authorize(&Method::Register, b"sip:b2b.example");
    let brief = phone.registration("1001", "sip:a@h", ("brief", 1), &credentials);
    let brief = String::from_utf8(brief.to_vec()).expect("text").replace("Expires: 600", "Expires: 1");
    assert_eq!(phone.ask(&Bytes::from(brief), "brief", 1).status(), 423);
    server.wait_for_line(&format!(
        "REGISTER: user/1001 from {at} to sip:1001@b2b.example refused with 423: Interval Too Brief"
    ));
    let mut refused = 0;
    for number in 0..4 {
        let name = format!("rate-{number}");
        let invite = phone.invite("911", &name, 1, &Authorized::default());
        let challenge = phone.ask(&invite, &name, 1);
        let mut digest = DigestClient::new("1001", "secret", [3; 32]);
        digest.challenged(&challenge, &Authorized::default()).expect("a challenge");
        let credentials = digest.authorize(&Method::Invite, format!("sip:911@{address}").as_bytes());
        let invite = phone.invite("911", &name, 2, &credentials);
        refused += usize::from(phone.ask(&invite, &name, 2).status() == 480);
    }
    assert!(refused > 0, "four calls at once, and one in a second is allowed");
    server.wait_for_line(&format!(
        "INVITE: user/1001 from {at} to 911 refused with 480: Too Many Calls Of This User"
    ));
}

#[test]
fn a_refused_subscription_is_a_line_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut server, address) = server(folder.path(), TRUSTED, PARTIES);
    let mut phone = Peer::new([127, 0, 8, 4], address);
    let mut subscribe = |user: &str, event: &str| {
        let (uri, at, call) = (format!("sip:{user}@{address}"), phone.at, format!("{user}-{event}"));
        let request = phone
            .request(&Method::Subscribe, &uri, &call, 1)
            .header_fmt(Name::To, format_args!("<{uri}>"))
            .header_fmt(Name::Contact, format_args!("<sip:ann@{at}>"))
            .header(Name::Event, event)
            .finish()
            .expect("a request");
        phone.ask(&request, &call, 1).status()
    };
    assert_eq!((subscribe("1001", "weather"), subscribe("1009", "dialog")), (489, 404));
    let from = phone.at;
    for line in ["1001 refused with 489: Bad Event", "1009 refused with 404: Not Found"] {
        server.wait_for_line(&format!("SUBSCRIBE: trusted from {from} to {line}"));
    }
}

#[test]
fn a_flood_of_refused_calls_is_a_few_lines() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut server, address) = server(folder.path(), TRUSTED, PARTIES);
    let mut flooder = Peer::new([127, 0, 8, 2], address);
    for number in 0..100 {
        assert_eq!(call(&mut flooder, "911", &format!("flood-{number}")), 403);
    }
    let mut other = Peer::new([127, 0, 8, 3], address);
    assert_eq!(call(&mut other, "922", "another"), 403);
    server.wait_for_line(&format!("ann from {} to 922 refused with 403", other.at));
    let of_flooder = format!("from {} to 911 refused", flooder.at);
    let lines = server.stderr().iter().filter(|line| line.contains(&of_flooder)).count();
    // Five per minute.
    assert!((5..=40).contains(&lines), "{lines} lines");
}

/// A caller with forged log text in its number, name and called number, and a callee with such a reason
/// phrase: each line that they cause begins like ours, and stays one line.
#[test]
fn no_party_writes_lines_of_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut server, address) = server(
        folder.path(),
        "trusted = [\"127.0.8.0/28\"]\n",
        &format!("{PARTIES}[[route]]\ncalled = \".*\"\nreject = 404\n"),
    );
    let mut liar = Peer::new([127, 0, 8, 4], address);
    let forged = "2026-11-26T00:00:00.000Z WARN  b2bua 192.0.2.3 is banned for 9 s: wrong passwords for many users, \
                  the last one";
    let escaped = forged.replace(' ', "%20").replace(':', "%3A");
    for (number, user) in
        [format!("9%0A{escaped}"), format!("{escaped}%22x%22"), "9%0D%0Ax".to_owned()].into_iter().enumerate()
    {
        let (call, at) = (format!("liar-{number}"), liar.at);
        let uri = format!("sip:{user}@{address}");
        let invite = b2b::sip::msg::RequestWriter::new(&Method::Invite, uri.as_bytes())
            .header_fmt(Name::Via, format_args!("SIP/2.0/UDP {at};branch=z9hG4bK{call};rport"))
            .header(Name::MaxForwards, "70")
            .header_fmt(
                Name::From,
                format_args!("\"{forged} \\\"x\\\"\" <sip:{user}@b2b.example>;tag={call}"),
            )
            .header(Name::CallId, &*call)
            .header(Name::CSeq, "1 INVITE")
            .header_fmt(Name::To, format_args!("<{uri}>"))
            .header_fmt(Name::Contact, format_args!("<sip:ann@{at}>"))
            .body("application/sdp", SESSION)
            .finish()
            .expect("a request");
        assert!(liar.ask(&invite, &call, 1).status() >= 400, "{user}");
    }
    let mut callee = Peer::new([127, 0, 8, 20], address);
    let contact = format!("sip:1001@{}", callee.at);
    assert_eq!(callee.register("1001", "secret", &contact, "callee"), 200);
    let invite = liar.invite("1001", "phrase", 1, &Authorized::default());
    liar.send(&invite);
    let theirs = callee.wait_for(&Method::Invite);
    let phrase = format!("{forged} \"x\"");
    let refusal = b2b::sip::msg::ResponseWriter::reply_to(&theirs, 603, &phrase, Some("peer"));
    callee.send(&refusal.finish().expect("a response"));
    let status = loop {
        match liar.message(Duration::from_secs(60)) {
            Some(Message::Response(response)) if response.status() >= 200 => break response.status(),
            Some(_) => {}
            None => panic!("no answer"),
        }
    };
    assert_eq!(status, 603);
    server.wait_for_line("refused with 603");
    let lines = server.stderr();
    println!("{}", lines.join("\n"));
    let refused = lines.iter().filter(|line| line.contains(" refused with ")).count();
    assert_eq!(refused, 4);
    for line in &lines {
        let begins = line.get(24..).unwrap_or_default();
        assert!(line.ends_with(|c: char| !c.is_control()), "{line:?}");
        assert!([" INFO ", " WARN ", " ERROR"].iter().any(|level| begins.starts_with(level)), "{line:?}");
        let ours = begins.starts_with(" INFO  b2bua ") || !line.contains("is banned for");
        assert!(ours, "{line:?}");
    }
    assert_eq!(banned(&lines), Vec::<String>::new());
}

/// The sources that the shipped fail2ban filter finds in these lines; none if fail2ban is not installed.
fn banned(lines: &[String]) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    std::fs::write(&log, lines.join("\n") + "\n").expect("a file");
    let filter = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/fail2ban/b2b.filter.conf");
    let found =
        std::process::Command::new("fail2ban-regex").args(["--out", "ip"]).arg(&log).arg(filter).output();
    let found = found.map(|it| it.stdout).unwrap_or_default();
    String::from_utf8(found).expect("text").lines().map(str::to_owned).collect()
}
