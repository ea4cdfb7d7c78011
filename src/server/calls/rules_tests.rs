//! Header rules and transfers at work in virtual time.

use crate::config::parse_alone;
use crate::in_force::Current;
use crate::leading::{self, Claim, Led};
use b2b_call::policy::Way;
use b2b_sip::endpoint::{Body, Event, Invite, Reply, UsageEvent, UsageId};
use b2b_testkit::{Harness, PartyId, SESSION};

use super::tests::{ANN, BOB, CAT, call_as, field, gateway, invite_to, server};

fn ruled(rules: &str) -> String {
    gateway("b", BOB, "")
        + &format!(
            "[[route]]\ncalled = '(?s)(\\d)(.*)'\nto = \"gateway/b\"\nmode = \"translating\"\nheaders = [{rules}]\n"
        )
}

/// Every line of this name.
fn fields(text: &str, name: &str) -> Vec<String> {
    let prefix = format!("{name}: ");
    text.lines().filter_map(|line| line.strip_prefix(&prefix).map(str::to_owned)).collect()
}

#[test]
fn header_rules_change_the_invite_and_nothing_else_of_the_caller_passes() {
    let rules = r#"{ pass = "X-Account" }, { pass = "P-Asserted-Identity" }, { add = "X-Dialled", value = "$1/$2;$$" },
                   { add = "X-Dialled", value = "twice" }, { remove = "Priority" }, { replace = "subject", value = "b2b" },
                   { add = "X-Back", value = "no", on = "response" }"#.replace('\n', " ");
    let mut harness = server(&ruled(&rules));
    let (ann, _bob) = (harness.party(ANN), harness.party(BOB));
    let header = |name: &'static str, value: &'static str| (name.into(), value.into());
    let headers = vec![
        header("X-Account", "acme"),
        header("X-Account", "second"),
        header("X-Other", "secret"),
        header("Subject", "lunch"),
        header("Priority", "urgent"),
    ];
    let target = format!("sip:5%0D%0AX-Evil:1@{}", b2b_testkit::B2B);
    harness.invite(
        ann,
        Invite { target: target.into(), headers, body: Some(Body::sdp(SESSION)), ..Invite::default() },
    );
    let invite = invite_to(&harness, BOB);
    assert_eq!(fields(&invite, "X-Account"), ["acme", "second"]);
    // What was dialled has line breaks in it; none of them leaves.
    assert_eq!(fields(&invite, "X-Dialled"), ["5/ X-Evil;$", "twice"], "{invite}");
    assert_eq!(fields(&invite, "Subject"), ["b2b"]);
    for name in ["X-Other", "Priority", "X-Back", "X-Evil", "P-Asserted-Identity"] {
        assert!(fields(&invite, name).is_empty(), "{name} in {invite}");
    }
}

#[test]
fn header_rules_change_the_responses_to_the_caller_where_they_say_so() {
    let rules = r#"{ pass = "X-Queue", on = "response" }, { add = "X-Node", value = "n$1", on = "both" }"#;
    let mut harness = server(&ruled(rules));
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let responses = |harness: &Harness, status: &str| {
        let to = ANN.parse().unwrap();
        let found = harness.wire.iter().filter(|it| it.to == to && it.line().starts_with(status));
        found.map(|it| it.text()).collect::<Vec<_>>()
    };
    let reply = |harness: &mut Harness, usage: UsageId, status, body: Option<&str>| {
        let headers = vec![("X-Queue".into(), "7".into()), ("X-Other".into(), "secret".into())];
        let body = body.map(|body| Body::sdp(body.to_owned()));
        let now = harness.now();
        harness.endpoint(bob).reply(now, usage, Reply { headers, body, ..Reply::status(status) }).unwrap();
        harness.settle();
    };
    call_as(&mut harness, ann, "1001", "55");
    assert_eq!(fields(&invite_to(&harness, BOB), "X-Node"), ["n5"]);
    let b = harness.next_call(bob);
    for (status, body, line) in
        [(180, None, "SIP/2.0 180"), (183, Some(SESSION), "SIP/2.0 183"), (200, Some(SESSION), "SIP/2.0 200")]
    {
        reply(&mut harness, b, status, body);
        let response = responses(&harness, line).pop().expect(line);
        assert_eq!(
            (fields(&response, "X-Queue"), fields(&response, "X-Node")),
            (vec!["7".to_owned()], vec!["n5".to_owned()])
        );
        assert!(fields(&response, "X-Other").is_empty(), "{response}");
    }
    call_as(&mut harness, ann, "1001", "56");
    let b = harness.next_call(bob);
    reply(&mut harness, b, 486, None);
    let refusal = responses(&harness, "SIP/2.0 486").pop().expect("486");
    assert_eq!((fields(&refusal, "X-Node"), fields(&refusal, "X-Queue").len()), (vec!["n5".to_owned()], 0));
}

#[test]
fn header_rules_on_dialogs_and_with_control_characters_are_refused_with_their_line() {
    for (rule, why) in [
        ("{ add = \"v\", value = \"x\" }", "remove the rule"),
        ("{ pass = \"Record-Route\" }", "remove the rule"),
        ("{ pass = \"i\" }", "remove the rule"),
        ("{ pass = \"Contact\" }", "remove the rule"),
        ("{ replace = \"Path\", value = \"x\" }", "remove the rule"),
        ("{ add = \"X-A\", value = \"a\\r\\nVia: b\" }", "control character"),
        ("{ add = \"X-A\", value = \"$3\" }", "not a group"),
        ("{ pass = \"X-A\", value = \"1\" }", "takes none"),
        ("{ pass = \"X-A\", remove = \"X-B\" }", "exactly one"),
        ("{ pass = \"X-A\", on = \"bye\" }", "choose request"),
    ] {
        let error = parse_alone(&ruled(rule)).unwrap_err().to_string();
        assert!(error.starts_with("line 11:") && error.contains(why), "{rule}: {error}");
    }
}

// ---- transfers

const ROUTES: &str = "[[route]]\ncalled = \"5\"\nto = \"gateway/b\"\n\
                      [[route]]\ncalled = '0\\d+'\nclass = \"internal\"\nto = \"gateway/c\"\n\
                      [[route]]\ncalled = \"sales\"\nto = \"group/sales\"\n\
                      [[group]]\nname = \"sales\"\nmembers = [\"gateway/c/0555\"]\n";

/// Ann, as this user, talks to Bob, who is behind a gateway.
fn talking(user: &str) -> (Harness, (PartyId, UsageId), (PartyId, UsageId), PartyId) {
    talking_on("", user)
}

/// The same, with these sections.
fn talking_on(sections: &str, user: &str) -> (Harness, (PartyId, UsageId), (PartyId, UsageId), PartyId) {
    let mut harness = server(&(gateway("b", BOB, "") + &gateway("c", CAT, "") + ROUTES + sections));
    let (ann, bob, cat) = (harness.party(ANN), harness.party(BOB), harness.party(CAT));
    let a = call_as(&mut harness, ann, user, "5");
    let b = harness.answer_next(bob, SESSION);
    harness.take(ann);
    harness.take(bob);
    (harness, (ann, a), (bob, b), cat)
}

/// The answer to a REFER, and the last status that it is told of.
fn refer(harness: &mut Harness, (party, usage): (PartyId, UsageId), to: &str) -> (Option<u16>, Option<u16>) {
    let now = harness.now();
    harness.endpoint(party).refer(now, usage, to.to_owned().into(), true, Vec::new()).unwrap();
    harness.settle();
    let (mut answer, mut last) = (None, None);
    for event in harness.take(party) {
        match event {
            Event::Usage { event: UsageEvent::ReferAnswered { result, .. }, .. } => {
                answer = result.ok().map(|response| response.status());
            }
            Event::Usage { event: UsageEvent::ReferProgress { status, .. }, .. } => {
                last = status.map(|(status, _)| status).or(last);
            }
            _ => {}
        }
    }
    (answer, last)
}

#[test]
fn a_transfer_to_a_number_goes_by_the_routes_with_the_class_of_who_asks() {
    // 1001 may call out, and so may transfer Bob there; through the group, as any user may.
    for (target, number) in
        [("<sip:0123@b2b.example>", "0123"), ("<sip:sales@192.0.2.1>", "0555"), ("<tel:0124>", "0124")]
    {
        let (mut harness, a, (bob, b), cat) = talking("1001");
        assert_eq!(refer(&mut harness, a, target).0, Some(202), "{target}");
        let invite = invite_to(&harness, CAT);
        assert!(invite.starts_with(&format!("INVITE sip:{number}@192.0.2.13")), "{invite}");
        // The gateway is told the number of who pays.
        assert!(field(&invite, "From").unwrap().contains("<sip:1001@192.0.2.13>"), "{invite}");
        let c = harness.answer_next(cat, SESSION);
        harness.answer(bob, b, Some(SESSION));
        harness.run(std::time::Duration::from_secs(3));
        assert!(harness.is_up(bob, b) && harness.is_up(cat, c) && !harness.is_up(a.0, a.1));
        harness.hang_up(cat, c);
        harness.assert_nothing_left();
    }
    // A guest may not, nor may a party behind a gateway.
    for guest in [true, false] {
        let (mut harness, a, b, cat) = talking(if guest { "1002" } else { "1001" });
        let asks = if guest { a } else { b };
        assert_eq!(refer(&mut harness, asks, "<sip:0123@b2b.example>"), (Some(202), Some(404)));
        assert!(harness.incoming(cat).is_empty());
        assert!(harness.is_up(a.0, a.1) && harness.is_up(b.0, b.1), "they talk on");
        harness.hang_up(a.0, a.1);
        harness.assert_nothing_left();
    }
}

#[test]
fn who_is_named_in_a_refer_rings_as_long_as_limits_say() {
    let (mut harness, a, b, _) = talking_on("[limits]\nring_s = 9\n", "1001");
    // To another phone at his own gateway.
    let (now, target) = (harness.now(), format!("<sip:77@{BOB}>"));
    harness.endpoint(b.0).refer(now, b.1, target.into(), true, Vec::new()).unwrap();
    harness.settle();
    let [new] = harness.incoming(b.0).try_into().expect("one call");
    let now = harness.now();
    harness.endpoint(b.0).provisional(now, new, 180, "", None).unwrap();
    harness.settle();
    let cancels =
        |harness: &Harness| harness.wire.iter().filter(|it| it.line().starts_with("CANCEL")).count();
    harness.run(std::time::Duration::from_secs(8));
    assert_eq!(cancels(&harness), 0);
    harness.run(std::time::Duration::from_secs(2));
    assert_eq!(cancels(&harness), 1);
    assert!(harness.is_up(a.0, a.1) && harness.is_up(b.0, b.1), "they talk on");
    harness.hang_up(a.0, a.1);
    harness.assert_nothing_left();
}

#[test]
fn nobody_names_a_gateway_or_a_place_elsewhere_in_a_refer() {
    let from = |harness: &Harness| harness.wire.iter().filter(|it| it.line().starts_with("INVITE")).count();
    for target in [
        "<gateway/c/0123>",
        "gateway/c/0123",
        "<gateway:c/0123>",
        "<sip:gateway%2Fc%2F0123@b2b.example>",
        "<sip:gateway/c/0123@b2b.example>",
        "<sip:0123@192.0.2.13>",
        "<sip:0123@elsewhere.example>",
        "<sip:192.0.2.13>",
        "<sip:user%2F1001@b2b.example>",
    ] {
        let (mut harness, a, b, cat) = talking("1001");
        let before = from(&harness);
        let now = harness.now();
        let sent = harness.endpoint(a.0).refer(now, a.1, target.to_owned().into(), true, Vec::new());
        harness.run(std::time::Duration::from_secs(40));
        // What is no URI at all leaves no endpoint of ours; `named` refuses it all the same.
        assert!(sent.is_ok() || !target.contains("sip:"), "{target}");
        assert_eq!(from(&harness), before, "{target}: somebody was called");
        assert!(harness.incoming(cat).is_empty(), "{target}");
        assert!(harness.is_up(a.0, a.1) && harness.is_up(b.0, b.1), "{target}");
        harness.hang_up(a.0, a.1);
        harness.assert_nothing_left();
    }
}

#[test]
fn what_a_party_names_is_a_number_of_ours_or_nothing() {
    let settings = super::tests::settings(ROUTES_ALONE);
    let current = Current::new(super::tests::settings(ROUTES_ALONE));
    let by = b2b_call::handler::Party { user: Some("1001".to_owned()), ..Default::default() };
    let named = |target: &str| {
        let claim = Claim { by: &by, dialled: None, way: Way::Refer, target, hosts: &[], caller: None };
        match leading::lead(&current, &settings, &claim) {
            Led::Number(number, _) => Ok(number),
            Led::Contact(..) => Err(200),
            Led::NotFollowed { .. } => Err(403),
        }
    };
    assert_eq!(named("sip:0123@b2b.example"), Ok("0123".to_owned()));
    assert_eq!(named("tel:+44208"), Ok("+44208".to_owned()));
    for target in
        ["gateway/c/0123", "group/sales", "user/1001", "sip:0123@elsewhere.example", "sip:b2b.example", ""]
    {
        assert_eq!(named(target), Err(403), "{target}");
    }
}

const ROUTES_ALONE: &str = "[[route]]\nto = \"user/$0\"\n";
