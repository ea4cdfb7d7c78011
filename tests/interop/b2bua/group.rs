//! A ring group of three on the wire. docs/server.md explains how to run it.

use super::lab::{Lab, Place};
use crate::interop::support::wire::{Capture, Sip, assert_hidden, audio_address, identity};

fn group(members: [&Place; 3]) -> String {
    let targets = members.map(|it| format!("\"{}\"", it.uri("m"))).join(", ");
    format!(
        "[[group]]\nname = \"three\"\nmembers = [{targets}]\n[[route]]\ncalled = \"group\"\nto = \"group/three\"\n"
    )
}

fn at<'a>(messages: &'a [Sip], what: &str, like: impl Fn(&Sip) -> bool) -> &'a Sip {
    messages.iter().find(|it| like(it)).unwrap_or_else(|| panic!("no {what} in {messages:#?}"))
}

#[test]
#[ignore = "needs sipp and tshark; .ci/run installs them"]
fn interop_b2bua_rings_a_group_of_three_and_the_first_to_answer_has_the_call() {
    let ann = Place::new("ann", 31);
    let (bob, cat, dan) = (Place::new("bob", 32), Place::new("cat", 33), Place::new("dan", 34));
    let lab = Lab::new(&group([&bob, &cat, &dan]));
    let capture = Capture::start(lab.folder.path(), &format!("port {}", lab.at.port()));
    // The first 183 is Bob's, the second Cat's; Dan's comes with the answer.
    let bob_rings = lab.sipp(&bob, "callee_early").listens();
    let cat_rings = lab.sipp(&cat, "callee_early").args(&["-d", "300"]).listens();
    let dan_answers = lab.sipp(&dan, "callee_early_answers").listens();
    let caller = lab.sipp(&ann, "caller").args(&["-d", "1500"]).calls("group");
    let early = lab.told(&ann, "183", |it| it.line().starts_with("SIP/2.0 183"));
    // The caller's early media come from the member whose 183 came first.
    let hears = audio_address(early.body()).expect("a session");
    let speaking = [ann.ear.says(0x31, hears), bob.ear.says(0x32, lab.media_for(&bob))];
    ann.ear.hears(0x32, 5);
    lab.told(&ann, "200", |it| it.is_response(200, "INVITE"));
    let answered = dan.ear.says(0x34, lab.media_for(&dan));
    ann.ear.hears(0x34, 5);
    dan.ear.hears(0x31, 5);
    drop((speaking, answered));
    caller.wait_ok();
    for member in [bob_rings, cat_rings, dan_answers] {
        member.wait_ok();
    }
    let wire = capture.end();
    println!("{}", wire.ladder(lab.at.port()));

    let legs = [&bob, &cat, &dan].map(|place| wire.sip(place.sip.port()));
    let mut call_ids: Vec<&str> = legs.iter().filter_map(|leg| leg[0].field("Call-ID")).collect();
    call_ids.dedup();
    assert_eq!(call_ids.len(), 3, "a Call-ID for each branch");
    // The two CANCELs, each with its 487 and ACK; none for the winner.
    for leg in &legs[..2] {
        let cancel = at(leg, "CANCEL", |it| it.is_request("CANCEL"));
        let reason = cancel.field("Reason").unwrap_or_default();
        assert!(reason.starts_with("SIP;cause=200"), "{}", cancel.text);
        let gone = at(leg, "487", |it| it.is_response(487, "INVITE"));
        at(leg, "ACK", |it| it.is_request("ACK") && it.at >= gone.at);
        assert!(!leg.iter().any(|it| it.is_request("BYE")));
    }
    assert!(!legs[2].iter().any(|it| it.is_request("CANCEL")));
    // One early session for the caller: the first one. Later ones are not forwarded.
    let caller = wire.sip(ann.sip.port());
    let early: Vec<&Sip> = caller.iter().filter(|it| it.is_response(183, "INVITE")).collect();
    assert_eq!(early.len(), 1, "{early:#?}");
    for place in [&bob, &cat, &dan] {
        let words = identity(&wire.sip(place.sip.port()), place.sip);
        assert_hidden(&words, &caller, ann.sip);
    }
}

#[test]
#[ignore = "needs sipp; .ci/run installs it"]
fn interop_b2bua_acknowledges_a_late_200_of_a_group_and_hangs_it_up() {
    let ann = Place::new("ann", 31);
    let (bob, cat, dan) = (Place::new("bob", 32), Place::new("cat", 33), Place::new("dan", 34));
    let lab = Lab::new(&group([&bob, &cat, &dan]));
    // Bob answers while the CANCEL is in transit: the scenario expects ACK and BYE.
    let late = lab.sipp(&bob, "callee_too_late").listens();
    let rings = lab.sipp(&cat, "uas_cancelled").listens();
    let answers = lab.sipp(&dan, "callee_early_answers").listens();
    lab.sipp(&ann, "caller").args(&["-d", "1000"]).calls("group").wait_ok();
    for member in [late, rings, answers] {
        member.wait_ok();
    }
    let messages = lab.messages(&bob);
    let (ack, bye) =
        (at(&messages, "ACK", |it| it.is_request("ACK")), at(&messages, "BYE", |it| it.is_request("BYE")));
    assert_eq!(ack.field("To"), bye.field("To"), "ACK and BYE are for one dialog");
    let records = lab.end();
    assert_eq!(records.lines().filter(|it| it.contains("\"ANSWERED\"")).count(), 2, "{records}");
}
