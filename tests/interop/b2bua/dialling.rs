//! From the INVITE to the final response.

use super::lab::{Lab, Place};
use crate::interop::support::wire::Sip;

/// The final response to a caller's INVITE.
fn verdict(lab: &Lab, caller: &Place) -> Sip {
    let is_final = |it: &Sip| {
        it.line().starts_with("SIP/2.0 ")
            && !it.line().starts_with("SIP/2.0 1")
            && it.field("CSeq") == Some("1 INVITE")
    };
    lab.told(caller, "final answer", is_final)
}

fn gateway(name: &str, at: &Place) -> String {
    let host = at.sip;
    format!("[[gateway]]\nname = \"{name}\"\nhosts = [\"{host}\"]\ntransport = \"udp\"\noptions_s = 0\n")
}

#[test]
#[ignore = "needs sipp; .ci/run installs it"]
fn interop_b2bua_tells_the_caller_why_it_was_refused() {
    let bob = Place::new("bob", 22);
    let lab = Lab::new(&bob.route("bob"));
    let cases = [
        ("486", "", "486 Busy Here", None),
        ("603", "", "603 Decline", None),
        ("404", "\r\nReason: Q.850;cause=1", "404 Not Found", Some("1")),
        ("480", "\r\nReason: Q.850;cause=18;text=\"x\"", "480 Temporarily Unavailable", Some("18")),
        ("486", "\r\nReason: Q.850;cause=17", "486 Busy Here", Some("17")),
        // Responses about the server itself are hidden from the caller.
        ("401", "", "502 ", None),
        ("503", "", "500 ", None),
    ];
    for (status, more, told, cause) in cases {
        let ann = Place::new("ann", 21);
        let callee = lab.sipp(&bob, &format!("callee_refuses_{status}")).key("more", more).listens();
        lab.sipp(&ann, "caller").calls("bob").wait_ok();
        callee.wait_ok();
        let verdict = verdict(&lab, &ann);
        assert!(verdict.line().starts_with(&format!("SIP/2.0 {told}")), "{status}: {}", verdict.text);
        let reason = verdict.fields("Reason").find(|it| it.starts_with("Q.850"));
        let found = reason.and_then(|it| it.split("cause=").nth(1)?.split(';').next());
        assert_eq!(found.map(str::trim), cause, "{status}: {}", verdict.text);
    }
}

#[test]
#[ignore = "needs sipp; .ci/run installs it"]
fn interop_b2bua_gives_up_a_callee_that_only_rings() {
    let (ann, bob) = (Place::new("ann", 21), Place::new("bob", 22));
    let lab = Lab::new(&(bob.route("bob") + "timeout_s = 1\n"));
    let callee = lab.sipp(&bob, "uas_cancelled").listens();
    lab.sipp(&ann, "caller").calls("bob").wait_ok();
    callee.wait_ok();
    let cancel = lab.told(&bob, "CANCEL", |it| it.is_request("CANCEL"));
    assert!(cancel.field("Reason").is_some_and(|it| it.starts_with("Q.850;cause=19")), "{}", cancel.text);
    let verdict = verdict(&lab, &ann);
    assert!(verdict.line().starts_with("SIP/2.0 4"), "{}", verdict.text);
    assert!(verdict.field("Reason").is_some_and(|it| it.starts_with("Q.850;cause=19")), "{}", verdict.text);
}

#[test]
#[ignore = "needs sipp; .ci/run installs it"]
fn interop_b2bua_follows_a_redirect() {
    let (ann, bob, cat) = (Place::new("ann", 21), Place::new("bob", 22), Place::new("cat", 23));
    let lines = gateway("one", &bob)
        + "redirects = [\"two\"]\n"
        + &gateway("two", &cat)
        + "[[route]]\ncalled = \"bob\"\nto = \"gateway/one\"\n";
    let lab = Lab::new(&lines);
    let elsewhere = format!("\r\nContact: <{}>", cat.uri("cat"));
    let moved = lab.sipp(&bob, "callee_refuses_302").key("more", &elsewhere);
    let moved = moved.listens();
    let callee = lab.sipp(&cat, "callee").listens();
    lab.sipp(&ann, "caller").args(&["-d", "300"]).calls("bob").wait_ok();
    moved.wait_ok();
    callee.wait_ok();
    assert!(verdict(&lab, &ann).line().starts_with("SIP/2.0 200"));
    assert!(lab.messages(&ann).iter().all(|it| !it.line().starts_with("SIP/2.0 3")));
}

#[test]
#[ignore = "needs sipp; .ci/run installs it"]
fn interop_b2bua_fails_over_to_the_second_gateway_on_503_and_not_on_busy() {
    for (status, answered) in [("503", true), ("486", false)] {
        let (ann, bob, cat) = (Place::new("ann", 21), Place::new("bob", 22), Place::new("cat", 23));
        let lines = gateway("one", &bob)
            + &gateway("two", &cat)
            + "[[route]]\ncalled = '(\\d+)'\nto = [\"gateway/one\", \"gateway/two\"]\n";
        let lab = Lab::new(&lines);
        let first = lab.sipp(&bob, &format!("callee_refuses_{status}")).listens();
        let second = lab.sipp(&cat, "callee").listens();
        lab.sipp(&ann, "caller").args(&["-d", "300"]).calls("4711").wait_ok();
        first.wait_ok();
        if answered {
            second.wait_ok();
            assert!(verdict(&lab, &ann).line().starts_with("SIP/2.0 200"));
        } else {
            assert!(verdict(&lab, &ann).line().starts_with("SIP/2.0 486"));
            assert!(lab.messages(&cat).is_empty(), "the second gateway was asked as well");
        }
    }
}

#[test]
#[ignore = "needs sipp; .ci/run installs it"]
fn interop_b2bua_ends_a_call_that_goes_round_in_a_circle_or_too_far() {
    let (ann, bob) = (Place::new("ann", 21), Place::new("bob", 22));
    // The server is its own gateway: the call returns to the same route.
    let own = crate::interop::support::free_port();
    let lines =
        bob.route("bob") + &format!("[[route]]\ncalled = \"loop\"\nto = \"sip:loop@127.0.0.1:{own}\"\n");
    let lab = Lab::at_port(own, &lines);
    lab.sipp(&ann, "caller").key("hops", "0").calls("bob").wait_ok();
    assert!(verdict(&lab, &ann).line().starts_with("SIP/2.0 483"), "{}", verdict(&lab, &ann).text);
    let cat = Place::new("cat", 23);
    lab.sipp(&cat, "caller").calls("loop").wait_ok();
    assert!(verdict(&lab, &cat).line().starts_with("SIP/2.0 482"), "{}", verdict(&lab, &cat).text);
    // A forwarded call has one hop less.
    let dan = Place::new("dan", 24);
    let callee = lab.sipp(&bob, "callee").listens();
    lab.sipp(&dan, "caller").key("hops", "17").args(&["-d", "200"]).calls("bob").wait_ok();
    callee.wait_ok();
    let invite = lab.told(&bob, "INVITE", |it| it.is_request("INVITE"));
    assert_eq!(invite.field("Max-Forwards"), Some("16"));
}

#[test]
#[ignore = "needs sipp; .ci/run installs it"]
fn interop_b2bua_carries_an_offer_that_comes_late_with_media_both_ways() {
    let (ann, bob) = (Place::new("ann", 21), Place::new("bob", 22));
    let lab = Lab::new(&bob.route("bob"));
    let callee = lab.sipp(&bob, "callee_offers").listens();
    let caller = lab.sipp(&ann, "caller_offers_late").args(&["-d", "3000"]).calls("bob");
    let invite = lab.told(&bob, "INVITE", |it| it.is_request("INVITE"));
    assert_eq!(invite.body(), "", "an offer that nobody made");
    let ack = lab.told(&bob, "ACK", |it| it.is_request("ACK"));
    assert!(ack.body().starts_with("v=0"), "{}", ack.text);
    let speaking = [ann.ear.says(0x21, lab.media_for(&ann)), bob.ear.says(0x22, lab.media_for(&bob))];
    ann.ear.hears(0x22, 10);
    bob.ear.hears(0x21, 10);
    drop(speaking);
    caller.wait_ok();
    callee.wait_ok();
}

#[test]
#[ignore = "needs sipp; .ci/run installs it"]
fn interop_b2bua_ends_a_callee_whose_200_crosses_the_cancel() {
    let (ann, bob) = (Place::new("ann", 21), Place::new("bob", 22));
    let lab = Lab::new(&bob.route("bob"));
    // The scenario expects ACK and BYE for its 200.
    let callee = lab.sipp(&bob, "callee_too_late").listens();
    lab.sipp(&ann, "uac_cancel").calls("bob").wait_ok();
    callee.wait_ok();
    assert!(verdict(&lab, &ann).line().starts_with("SIP/2.0 487"));
}

#[test]
#[ignore = "needs sipp; .ci/run installs it"]
fn interop_b2bua_cancels_the_callee_of_a_caller_who_gives_up() {
    let (ann, bob) = (Place::new("ann", 21), Place::new("bob", 22));
    let lab = Lab::new(&bob.route("bob"));
    let callee = lab.sipp(&bob, "uas_cancelled").listens();
    lab.sipp(&ann, "uac_cancel").calls("bob").wait_ok();
    callee.wait_ok();
    assert!(verdict(&lab, &ann).line().starts_with("SIP/2.0 487"));
}

#[test]
#[ignore = "needs sipp; .ci/run installs it"]
fn interop_b2bua_writes_a_record_for_each_leg_of_a_call() {
    let (ann, bob) = (Place::new("ann", 21), Place::new("bob", 22));
    let lab = Lab::new(&bob.route("bob"));
    let callee = lab.sipp(&bob, "callee").listens();
    lab.sipp(&ann, "caller").args(&["-d", "300"]).calls("bob").wait_ok();
    callee.wait_ok();
    let records = lab.end();
    assert_eq!(records.lines().filter(|line| line.contains("ANSWERED")).count(), 2, "{records}");
}

#[test]
#[ignore = "needs sipp; .ci/run installs it"]
fn interop_b2bua_takes_and_gives_reliable_provisional_responses() {
    let (ann, bob) = (Place::new("ann", 21), Place::new("bob", 22));
    let lab = Lab::new(&bob.route("bob"));
    let callee = lab.sipp(&bob, "uas_100rel").listens();
    lab.sipp(&ann, "uac_100rel").args(&["-d", "500"]).calls("bob").wait_ok();
    callee.wait_ok();
    assert_eq!(
        lab.told(&ann, "183", |it| it.line().starts_with("SIP/2.0 183")).field("Require"),
        Some("100rel")
    );
}
