//! Inside a call: hold, digits, forwarded requests.

use std::thread;
use std::time::Duration;

use super::lab::{Lab, Place, Sipp};
use crate::interop::support::wire::{Sip, audio_address};

/// Ways in which phones hold: an attribute line, the address of the `c=` line if it is not the holder's own
/// (RFC 2543 style), and the expected answer.
const HOLDS: [(&str, Option<&str>, &str); 3] = [
    ("a=sendonly", None, "a=recvonly"),
    ("a=inactive", None, "a=inactive"),
    ("a=sendrecv", Some("0.0.0.0"), "a=recvonly"),
];

pub fn is_reinvite(it: &Sip) -> bool {
    it.is_request("INVITE") && it.has_tag()
}

/// Both hear each other, neither hears anything during hold, then both do again.
fn hold_and_resume(lab: &Lab, (holder, held): (&Place, &Place), across: bool, how: &str) {
    let speaking = [holder.ear.says(0x41, lab.media_for(holder)), held.ear.says(0x42, lab.media_for(held))];
    holder.ear.hears(0x42, 10);
    held.ear.hears(0x41, 10);
    let answers = |it: &Sip| it.is_response(200, "INVITE");
    let count = |place: &Place, like: &dyn Fn(&Sip) -> bool| {
        lab.messages(place).iter().filter(|it| it.to == place.sip && like(it)).count()
    };
    let before = count(holder, &answers);
    while count(holder, &answers) == before {
        thread::sleep(Duration::from_millis(20));
    }
    holder.ear.hears_nothing();
    while count(holder, &answers) == before + 1 {
        thread::sleep(Duration::from_millis(20));
    }
    holder.ear.hears(0x42, 10);
    held.ear.hears(0x41, 10);
    drop(speaking);
    let asked = lab.messages(held);
    let asked: Vec<&Sip> = asked.iter().filter(|it| it.to == held.sip && is_reinvite(it)).collect();
    assert_eq!(asked.len(), if across { 2 } else { 0 }, "{how}: {asked:#?}");
}

/// Each way to hold in each mode.
fn holds_in_every_way(caller_holds: bool) {
    for mode in ["transparent", "intercepting", "translating"] {
        let bob = Place::new("bob", 42);
        let lab = Lab::new(&(bob.route("bob") + &format!("mode = \"{mode}\"\n")));
        for (hold, address, answer) in HOLDS {
            let (ann, bob) = (Place::new("ann", 41), &bob);
            let across = mode == "transparent";
            let (holder, held) = if caller_holds { (&ann, bob) } else { (bob, &ann) };
            let hold_ip = address.map_or(holder.sip.ip().to_string(), str::to_owned);
            let party = |place: &Place, role: &str| {
                let (does, time) = match (place.name == holder.name, across) {
                    (true, _) => ("_holds", "1500"),
                    (false, true) => ("_held", "1500"),
                    (false, false) => ("", "5000"),
                };
                let sipp = lab.sipp(place, &format!("{role}{does}")).args(&["-d", time]);
                sipp.key("hold", hold).key("hold_ip", &hold_ip).key("answer", answer)
            };
            let callee = party(bob, "callee").listens();
            let caller = party(&ann, "caller").calls("bob");
            hold_and_resume(&lab, (holder, held), across, &format!("{mode} {hold} {address:?}"));
            caller.wait_ok();
            callee.wait_ok();
            // The first one belongs to the call itself.
            let told = lab.messages(holder);
            let sessions: Vec<&str> =
                told.iter().filter(|it| it.is_response(200, "INVITE")).map(Sip::body).collect();
            assert_eq!(sessions.len(), 3);
            let is_held = sessions[1].contains("a=recvonly") || sessions[1].contains("a=inactive");
            assert!(is_held && !sessions[1].contains("a=sendrecv"), "{mode} {hold}: {}", sessions[1]);
            assert!(!sessions[2].contains("only") && !sessions[2].contains("inactive"), "{}", sessions[2]);
        }
    }
}

#[test]
#[ignore = "needs sipp; .ci/run installs it"]
fn interop_b2bua_holds_and_resumes_for_the_caller_in_every_way_and_mode() {
    holds_in_every_way(true);
}

#[test]
#[ignore = "needs sipp; .ci/run installs it"]
fn interop_b2bua_holds_and_resumes_for_the_callee_in_every_way_and_mode() {
    holds_in_every_way(false);
}

/// A call in which the caller sends a request of this method; returns the request to the callee, and the
/// response to the caller.
fn asked(
    lab: &Lab,
    (ann, bob): (&Place, &Place),
    method: &str,
    keys: [&str; 4],
    goes: bool,
) -> (Option<Sip>, Sip) {
    let [more, body, reply_more, reply_body] = keys;
    let callee = lab.sipp(bob, if goes { "callee_asked" } else { "callee" });
    let callee = callee.key("reply_more", reply_more).key("reply_body", reply_body).listens();
    let asks = format!("caller_asks_{}", method.to_ascii_lowercase());
    let caller = lab.sipp(ann, &asks).key("more_asked", more).key("body", body);
    caller.args(&["-d", "300"]).calls("bob").wait_ok();
    callee.wait_ok();
    let got = lab.messages(bob).into_iter().find(|it| it.to == bob.sip && it.is_request(method));
    let told = lab.told(ann, "answer", |it| it.field("CSeq") == Some(&format!("2 {method}")));
    (got, told)
}

const DTMF: &str = "Signal=5\r\nDuration=160\r\n";

#[test]
#[ignore = "needs sipp; .ci/run installs it"]
fn interop_b2bua_passes_requests_inside_a_call_and_their_answers_across() {
    let bob = Place::new("bob", 42);
    let lab = Lab::new(&(bob.route("bob") + "mode = \"transparent\"\n"));
    let digits = "\r\nContent-Type: application/dtmf-relay";
    let text = "\r\nContent-Type: text/plain\r\nSubject: lunch";
    for (method, more, body) in [("INFO", digits, DTMF), ("MESSAGE", text, "at one?")] {
        let ann = Place::new("ann", 41);
        let (got, told) = asked(&lab, (&ann, &bob), method, [more, body, "", "noted"], true);
        let got = got.unwrap_or_else(|| panic!("{method} did not go across"));
        assert!(got.body().contains(body.trim()), "{}", got.text);
        assert_eq!(got.field("Content-Type"), more.split(": ").nth(1).and_then(|it| it.lines().next()));
        assert!(told.line().starts_with("SIP/2.0 200"), "{}", told.text);
        assert!(told.body().contains("noted"), "{}", told.text);
    }
}

#[test]
#[ignore = "needs sipp; .ci/run installs it"]
fn interop_b2bua_answers_options_and_says_what_it_can_do() {
    let bob = Place::new("bob", 42);
    let lab = Lab::new(&bob.route("bob"));
    let ann = Place::new("ann", 41);
    let (got, told) = asked(&lab, (&ann, &bob), "OPTIONS", ["", "", "", ""], false);
    assert!(got.is_none() && told.line().starts_with("SIP/2.0 200"), "{}", told.text);
    assert!(told.field("Allow").is_some_and(|it| it.contains("REFER")), "{}", told.text);
    let cat = Place::new("cat", 43);
    lab.sipp(&cat, "options").calls("bob").wait_ok();
    let told = lab.told(&cat, "answer", |it| it.is_response(200, "OPTIONS"));
    assert!(told.field("Allow").is_some_and(|it| it.contains("INVITE")), "{}", told.text);
}

#[test]
#[ignore = "needs sipp; .ci/run installs it"]
fn interop_b2bua_carries_an_update_across_as_one_and_its_answer_back() {
    let bob = Place::new("bob", 42);
    let lab = Lab::new(&(bob.route("bob") + "mode = \"transparent\"\n"));
    let ann = Place::new("ann", 41);
    let session = |ip: &str, port: u16, line: &str| {
        format!(
            "v=0\r\no=sipp 1 2 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\na={line}\r\n"
        )
    };
    let sdp = "\r\nContent-Type: application/sdp";
    let offer = session("127.0.0.41", ann.ear.port(), "sendonly");
    let answer = session("127.0.0.42", bob.ear.port(), "recvonly");
    let call = |callee: Sipp<'_>| {
        let callee = callee.listens();
        let caller = lab.sipp(&ann, "caller_asks_update").key("more_asked", sdp);
        caller.key("body", offer.trim_end()).args(&["-d", "300"]).calls("bob").wait_ok();
        callee.wait_ok();
        let told = lab.told(&ann, "answer", |it| it.field("CSeq") == Some("2 UPDATE"));
        assert!(told.line().starts_with("SIP/2.0 200"), "{}", told.text);
        told
    };
    let callee = lab.sipp(&bob, "callee_asked").key("more", "\r\nAllow: INVITE, ACK, BYE, CANCEL, UPDATE");
    let told = call(callee.key("reply_more", sdp).key("reply_body", answer.trim_end()));
    let got = lab.told(&bob, "UPDATE", |it| it.is_request("UPDATE"));
    for (session, way) in [(&got, "a=sendonly"), (&told, "a=recvonly")] {
        let body = session.body();
        assert!(body.contains(way) && body.contains("c=IN IP4 127.0.0.1\r"), "{}", session.text);
    }
    // To a callee without UPDATE in Allow, it goes as a re-INVITE.
    let told = call(lab.sipp(&bob, "callee_moved"));
    let got = lab.told(&bob, "re-INVITE", is_reinvite);
    assert!(got.body().contains("a=sendonly"), "{}", got.text);
    assert!(told.body().starts_with("v=0"), "{}", told.text);
}

#[test]
#[ignore = "needs sipp; .ci/run installs it"]
fn interop_b2bua_relays_digits_between_two_payload_types() {
    let (ann, bob) = (Place::new("ann", 41), Place::new("bob", 42));
    let lab = Lab::new(&bob.route("bob"));
    let formats =
        |number: u8| format!("0 {number}\r\na=rtpmap:{number} telephone-event/8000\r\na=fmtp:{number} 0-15");
    // Each description gives the payload type for digits sent to its author (RFC 3264 §5.1).
    let callee = lab.sipp(&bob, "callee").key("formats", &formats(97)).listens();
    let caller = lab.sipp(&ann, "caller").key("formats", &formats(101)).args(&["-d", "3000"]).calls("bob");
    let type_of = |session: &str| -> Option<u8> {
        let line = session.lines().find(|line| line.contains("telephone-event"))?;
        line.strip_prefix("a=rtpmap:")?.split(' ').next()?.parse().ok()
    };
    let answer = lab.told(&ann, "200", |it| it.is_response(200, "INVITE"));
    let offer = lab.told(&bob, "INVITE", |it| it.is_request("INVITE"));
    let (from_ann, from_bob) = (type_of(answer.body()), type_of(offer.body()));
    let (from_ann, from_bob) = (from_ann.expect("digits to b2b"), from_bob.expect("digits to b2b"));
    let (to_ann, to_bob) = (lab.media_for(&ann), lab.media_for(&bob));
    let speaking = [ann.ear.says(0x41, to_ann), bob.ear.says(0x42, to_bob)];
    ann.ear.hears(0x42, 5);
    bob.ear.hears(0x41, 5);
    drop(speaking);
    thread::sleep(Duration::from_millis(50));
    for (from, at, number, to, wanted, event) in
        [(&ann, to_ann, from_ann, &bob, 97, 5), (&bob, to_bob, from_bob, &ann, 101, 7)]
    {
        from.ear.presses(event, number, at);
        thread::sleep(Duration::from_millis(200));
        let arrived = to.ear.arrived();
        let digits: Vec<_> = arrived.iter().filter(|it| it.payload.len() == 4).collect();
        assert_eq!(digits.len(), 8, "{digits:?}");
        assert!(digits.iter().all(|it| it.payload_type == wanted && it.payload[0] == event), "{digits:?}");
    }
    caller.wait_ok();
    callee.wait_ok();
}

/// Each party gets the other one's media address, and RTP bypasses the server.
#[test]
#[ignore = "needs sipp; .ci/run installs it"]
fn interop_b2bua_leads_rtp_past_itself_where_a_route_says_so() {
    let (ann, bob) = (Place::new("ann", 41), Place::new("bob", 42));
    let lab = Lab::new(&(bob.route("bob") + "media = \"direct\"\n"));
    let callee = lab.sipp(&bob, "callee_moved_ends").args(&["-d", "2000"]).listens();
    let caller = lab.sipp(&ann, "caller_moved").calls("bob");
    let speaking = [ann.ear.says(0x41, lab.media_for(&ann)), bob.ear.says(0x42, lab.media_for(&bob))];
    ann.ear.hears(0x42, 10);
    bob.ear.hears(0x41, 10);
    let told = |place: &Place| audio_address(lab.told(place, "re-INVITE", is_reinvite).body());
    let (to_bob, to_ann) = (told(&bob).expect("an address"), told(&ann).expect("an address"));
    assert_eq!((to_ann.ip(), to_ann.port()), (bob.sip.ip(), bob.ear.port()));
    assert_eq!((to_bob.ip(), to_bob.port()), (ann.sip.ip(), ann.ear.port()));
    drop(speaking);
    let speaking = [ann.ear.says(0x43, to_ann), bob.ear.says(0x44, to_bob)];
    ann.ear.hears(0x44, 10);
    bob.ear.hears(0x43, 10);
    drop(speaking);
    for party in [callee, caller] {
        party.wait_ok();
    }
    // Nothing else of one party is visible to the other.
    for (place, other) in [(&ann, &bob), (&bob, &ann)] {
        let said = lab.messages(place);
        let port = other.sip.port().to_string();
        assert!(said.iter().filter(|it| it.to == place.sip).all(|it| !it.text.contains(&port)), "{said:#?}");
    }
}
