//! Crossing session changes, and sessions that end unless they are refreshed.

use super::in_call::is_reinvite;
use super::lab::{Lab, Place};
use crate::interop::support::wire::{Capture, Sip};

/// CSeq numbers and times of matching messages.
fn of(leg: &[Sip], like: impl Fn(&Sip) -> bool) -> Vec<(String, f64)> {
    let number =
        |it: &Sip| it.field("CSeq").unwrap_or_default().split(' ').next().unwrap_or_default().to_owned();
    let mut found: Vec<_> = leg.iter().filter(|it| like(it)).map(|it| (number(it), it.at)).collect();
    // Without retransmissions.
    found.dedup_by(|later, earlier| later.0 == earlier.0);
    found
}

#[test]
#[ignore = "needs sipp and tshark; .ci/run installs them"]
fn interop_b2bua_refuses_changes_that_cross_with_491_and_tries_its_own_again() {
    let (ann, bob) = (Place::new("ann", 41), Place::new("bob", 42));
    let lab = Lab::new(&(bob.route("bob") + "mode = \"transparent\"\n"));
    let capture = Capture::start(lab.folder.path(), &format!("port {}", lab.at.port()));
    let callee = lab.sipp(&bob, "callee_crosses").key("formats_then", "8").listens();
    let caller =
        lab.sipp(&ann, "caller_gives_way").key("formats_then", "8").args(&["-d", "500"]).calls("bob");
    caller.wait_ok();
    callee.wait_ok();
    let wire = capture.end();
    let [a, b] = [&ann, &bob].map(|place| wire.sip(place.sip.port()));
    let ladder = format!("{}\n{}", wire.ladder(ann.sip.port()), wire.ladder(bob.sip.port()));
    let asked = |place: &Place, leg: &[Sip]| of(leg, |it| is_reinvite(it) && it.to == place.sip);
    let asks = |place: &Place, leg: &[Sip]| of(leg, |it| is_reinvite(it) && it.from == place.sip);
    let told = |place: &Place, leg: &[Sip], status| {
        of(leg, |it| it.is_response(status, "INVITE") && it.to == place.sip)
    };

    // Bob's first request crosses Ann's, the second one is forwarded to Ann.
    let (his, to_her) = (asks(&bob, &b), asked(&ann, &a));
    assert_eq!(his.len(), 2, "{ladder}");
    assert_eq!(told(&bob, &b, 491).len(), 1, "{ladder}");
    assert_eq!(told(&bob, &b, 491)[0].0, his[0].0, "{ladder}");
    assert_eq!(told(&bob, &b, 200).last().expect("a 200").0, his[1].0, "{ladder}");
    assert!(to_her.len() == 1 && to_her[0].1 > his[1].1, "{ladder}");

    // Ann's first request yields to that, the second one finally succeeds.
    let (hers, to_him) = (asks(&ann, &a), asked(&bob, &b));
    let refused = told(&ann, &a, 491);
    assert!(refused.len() == 1 && refused[0].0 == hers[0].0 && refused[0].1 > his[1].1, "{ladder}");
    assert!(hers.len() == 2 && told(&ann, &a, 200).last().expect("a 200").0 == hers[1].0, "{ladder}");

    // Towards Bob the Call-ID is b2b's: it waits 2.1 to 4 s (RFC 3261 §14.1).
    let his_491 = of(&b, |it| it.is_response(491, "INVITE") && it.from == bob.sip);
    assert_eq!((to_him.len(), his_491.len()), (3, 2), "{ladder}");
    assert_eq!([&his_491[0].0, &his_491[1].0], [&to_him[0].0, &to_him[1].0], "{ladder}");
    let waited = to_him[2].1 - his_491[1].1;
    assert!(waited >= 2.1, "{waited}\n{ladder}");
    let ladder = || ladder.clone();
    let answer = a.iter().rfind(|it| it.is_response(200, "INVITE")).expect("a 200");
    assert!(answer.body().contains("RTP/AVP 8\r\n"), "{}\n{}", answer.text, ladder());
}

/// Refreshes are due after half of the agreed 90 s, which is the minimum interval (RFC 4028 §4).
#[test]
#[ignore = "needs sipp and tshark; .ci/run installs them. Takes 50 s"]
fn interop_b2bua_keeps_sessions_alive_for_parties_that_leave_that_to_it() {
    let (ann, bob) = (Place::new("ann", 41), Place::new("bob", 42));
    let lab = Lab::new(&bob.route("bob"));
    let capture = Capture::start(lab.folder.path(), &format!("port {}", lab.at.port()));
    let wants =
        |seconds: u32, refresher: &str| format!("\r\nSession-Expires: {seconds};refresher={refresher}");
    let supported = "\r\nSupported: timer\r\nAllow: INVITE, ACK, BYE, CANCEL, UPDATE";
    let long = ["-timeout", "100"];
    // Bob does not support UPDATE.
    let callee = lab.sipp(&bob, "callee_moved").args(&long);
    let callee = callee.key("more", &format!("\r\nRequire: timer{}", wants(90, "uac"))).listens();
    let caller = lab.sipp(&ann, "caller_keeps_time").args(&long).args(&["-d", "500"]);
    let caller = caller.key("more", &(supported.to_owned() + &wants(60, "uas")));
    let caller = caller.key("more_then", &(supported.to_owned() + &wants(90, "uas")));
    let caller = caller.key("more_update", &format!("\r\nRequire: timer{}", wants(90, "uac"))).calls("bob");
    let refresh = lab.told(&ann, "UPDATE", |it| it.is_request("UPDATE"));
    caller.wait_ok();
    callee.wait_ok();
    let wire = capture.end();
    let [a, b] = [&ann, &bob].map(|place| wire.sip(place.sip.port()));
    let first = |leg: &[Sip], what: &str, like: &dyn Fn(&Sip) -> bool| {
        leg.iter().find(|it| like(it)).unwrap_or_else(|| panic!("no {what}: {leg:#?}")).clone()
    };
    let expires = |it: &Sip| it.field("Session-Expires").unwrap_or_default().replace(' ', "");

    // Too short an interval, and the agreed one (§7.3, §9).
    let short = first(&a, "422", &|it| it.is_response(422, "INVITE"));
    assert_eq!(short.field("Min-SE"), Some("90"), "{}", short.text);
    assert_eq!(of(&b, |it| it.is_request("INVITE") && !it.has_tag()).len(), 1, "it went on to Bob");
    let agreed = first(&a, "200", &|it| it.is_response(200, "INVITE"));
    assert_eq!(expires(&agreed), "90;refresher=uas", "{}", agreed.text);
    assert!(agreed.field("Require").is_some_and(|it| it.contains("timer")), "{}", agreed.text);
    let offered = first(&b, "INVITE", &|it| it.is_request("INVITE"));
    assert!(expires(&offered).starts_with("1800"), "{}", offered.text);
    assert!(offered.field("Supported").is_some_and(|it| it.contains("timer")), "{}", offered.text);

    // Each leg is refreshed separately: Ann's by UPDATE, Bob's by the unchanged session; both in time.
    assert_eq!((refresh.body(), expires(&refresh).as_str()), ("", "90;refresher=uac"), "{}", refresh.text);
    let update = first(&a, "UPDATE", &|it| it.is_request("UPDATE"));
    let again = first(&b, "re-INVITE", &|it| it.to == bob.sip && is_reinvite(it));
    assert_eq!(expires(&again), "90;refresher=uac", "{}", again.text);
    assert_eq!(again.body(), offered.body());
    let answered = first(&b, "200", &|it| it.is_response(200, "INVITE"));
    for waited in [update.at - agreed.at, again.at - answered.at] {
        assert!((44.0..90.0).contains(&waited), "{waited} s");
    }
    assert!(!a.iter().any(|it| it.to == ann.sip && is_reinvite(it)), "Bob's refresh went across");
    assert!(!b.iter().any(|it| it.is_request("UPDATE")), "Ann's refresh went across");
    // Ann ends the call.
    assert_eq!(of(&a, |it| it.is_request("BYE") && it.from == ann.sip).len(), 1);
    let end = first(&b, "BYE", &|it| it.is_request("BYE"));
    assert!(end.at > again.at, "{}", end.text);
}
