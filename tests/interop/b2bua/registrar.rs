//! Registrations at the b2bua.

use super::lab::{Lab, Place};
use crate::interop::support::wire::Sip;

const USERS: &str = "[[user]]\nname = \"1001\"\npassword = \"secret-1001\"\n[[user]]\nname = \"1002\"\npassword = \"secret-1002\"\n\
                     [registrar]\nmin_expires_s = 30\n";

/// The response to a REGISTER of 1001 from this place with these additional header fields.
fn register(lab: &Lab, place: &Place, password: &str, more: &str) -> Sip {
    let sipp = lab.sipp(place, "registers").key("more", more).args(&["-au", "1001", "-ap", password]);
    sipp.calls("1001").wait_ok();
    let answers = lab.messages(place);
    let last = answers.iter().rfind(|it| it.to == place.sip && it.field("CSeq") == Some("2 REGISTER"));
    last.unwrap_or_else(|| panic!("no answer to {more}")).clone()
}

fn contact(place: &Place, parameters: &str) -> String {
    format!("\r\nContact: <{}>{parameters}", place.uri("1001"))
}

#[test]
#[ignore = "needs sipp; .ci/run installs it"]
fn interop_b2bua_registers_by_the_rules() {
    let lab = Lab::listening("127.0.0.1", "", USERS);
    let [one, two] = [Place::new("one", 61), Place::new("two", 62)];
    let asks = || Place::new("asks", 63);
    let bound = || register(&lab, &asks(), "secret-1001", "");
    let good = |place: &Place, more: &str| register(&lab, place, "secret-1001", more);

    let wrong = register(&lab, &one, "guess", &contact(&one, ";expires=600"));
    assert!(wrong.line().starts_with("SIP/2.0 401"), "{}", wrong.text);
    assert_eq!(bound().fields("Contact").count(), 0, "a binding without a password");

    assert!(good(&one, &contact(&one, ";expires=600;q=0.5")).line().starts_with("SIP/2.0 200"));
    let both = good(&two, &contact(&two, ";expires=300;q=0.8"));
    assert!(both.line().starts_with("SIP/2.0 200"), "{}", both.text);
    let contacts = both.fields("Contact").collect::<Vec<_>>().join(", ");
    for (place, q) in [(&one, "q=0.5"), (&two, "q=0.8")] {
        let binding = contacts.split(", ").find(|it| it.contains(&place.uri("1001")));
        assert!(binding.is_some_and(|it| it.contains(q) && it.contains("expires=")), "{contacts}");
    }

    let brief = good(&Place::new("brief", 64), &contact(&one, ";expires=5"));
    assert!(brief.line().starts_with("SIP/2.0 423"), "{}", brief.text);
    assert_eq!(brief.field("Min-Expires"), Some("30"));

    // `*` removes all bindings, and requires Expires: 0 (RFC 3261 §10.2.2).
    let kept = good(&Place::new("star", 64), "\r\nContact: *\r\nExpires: 60");
    assert!(kept.line().starts_with("SIP/2.0 400"), "{}", kept.text);
    assert!(bound().text.contains(&one.uri("1001")));
    let gone = good(&Place::new("star", 64), "\r\nContact: *\r\nExpires: 0");
    assert!(gone.line().starts_with("SIP/2.0 200"), "{}", gone.text);
    assert_eq!(bound().fields("Contact").count(), 0);
}

#[test]
#[ignore = "needs sipp; .ci/run installs it"]
fn interop_b2bua_calls_bindings_in_order_of_q_and_equal_ones_together() {
    for (strategy, qs, rings_s) in [("serial", ["0.3", "0.9"], 1), ("parallel", ["0.5", "0.5"], 20)] {
        // 1002 calls; 127.0.0.65 needs no password.
        let route = format!(
            "{USERS}[[route]]\ncalled = '1\\d{{3}}'\nto = \"user/$0\"\nstrategy = \"{strategy}\"\n[limits]\nring_s = {rings_s}\n"
        );
        let lab = Lab::listening("127.0.0.1", "\"127.0.0.65\"", &route);
        let [one, two] = [Place::new("one", 61), Place::new("two", 62)];
        for (place, q) in [(&one, qs[0]), (&two, qs[1])] {
            let bound = register(&lab, place, "secret-1001", &contact(place, &format!(";expires=600;q={q}")));
            assert!(bound.line().starts_with("SIP/2.0 200"), "{}", bound.text);
        }
        // The first contact rings until its time is over.
        let rings = lab.sipp(&two, "uas_cancelled").listens();
        let answers = if strategy == "serial" { "callee" } else { "callee_early_answers" };
        let answers = lab.sipp(&one, answers).listens();
        let caller = Place::new("caller", 65);
        lab.sipp(&caller, "caller").args(&["-d", "300"]).calls("1001").wait_ok();
        rings.wait_ok();
        answers.wait_ok();
        let reason = lab.told(&two, "CANCEL", |it| it.is_request("CANCEL"));
        let reason = reason.field("Reason").unwrap_or_default().to_owned();
        let expected = if strategy == "serial" { "Q.850;cause=19" } else { "SIP;cause=200" };
        assert!(reason.starts_with(expected), "{strategy}: {reason}");
    }
}

/// Rings for a registered user; the caller has to give a password, or is rejected.
#[test]
#[ignore = "needs sipp; .ci/run installs it"]
fn interop_b2bua_calls_a_registered_phone_for_who_has_a_password() {
    let lab = Lab::listening(
        "127.0.0.1",
        "",
        &format!("{USERS}[[route]]\ncalled = '1\\d{{3}}'\nto = \"user/$0\"\n"),
    );
    let phone = Place::new("phone", 61);
    let bound = register(&lab, &phone, "secret-1001", &contact(&phone, ";expires=600"));
    assert!(bound.line().starts_with("SIP/2.0 200"), "{}", bound.text);
    let callee = lab.sipp(&phone, "callee").listens();
    let call = |place: &Place, password: &str| {
        let sipp = lab.sipp(place, "caller_auth").args(&["-au", "1002", "-ap", password]);
        sipp.args(&["-d", "300"]).calls("1001").wait_ok();
        lab.messages(place)
    };
    let seen = call(&Place::new("stranger", 66), "wrong");
    assert!(seen.iter().any(|it| it.field("Proxy-Authorization").is_some()), "no password was sent");
    let challenged = |it: &Sip| it.is_response(407, "INVITE") && it.field("CSeq") == Some("2 INVITE");
    assert!(seen.iter().any(challenged), "not challenged again");
    assert!(!seen.iter().any(|it| it.line().starts_with("SIP/2.0 200")));
    let seen = call(&Place::new("caller", 65), "secret-1002");
    assert!(seen.iter().any(|it| it.is_response(200, "INVITE")));
    callee.wait_ok();
}
