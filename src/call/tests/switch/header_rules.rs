//! Header rules on the wire: on the INVITE, and on every later message of a leg.

use std::time::Duration;

use b2b_call::headers::{HeaderChange, HeaderRule, RuledMessage};
use b2b_call::service::DialOptions;
use b2b_sip::endpoint::{Body, Event, InDialog, Reply, UsageEvent};
use b2b_sip::msg::Method;
use b2b_testkit::{Harness, PartyId, SESSION, UsageId};

use crate::routed::{ANN, BOB, CAT, contacts, routed, uri};

fn rules() -> Vec<HeaderRule> {
    let rule = |to, name: &str, change| HeaderRule { to, name: name.to_owned(), change };
    vec![
        rule(RuledMessage::Request, "X-For-Callee", HeaderChange::Add("1".to_owned())),
        rule(RuledMessage::Response, "X-For-Caller", HeaderChange::Add("2".to_owned())),
        rule(RuledMessage::Both, "X-Case", HeaderChange::Pass),
        rule(RuledMessage::Both, "Subject", HeaderChange::Remove),
    ]
}

/// The ruled fields of messages sent to this address since then that begin with `beginning`.
fn ruled(harness: &Harness, since: usize, address: &str, beginning: &str) -> Vec<Option<String>> {
    let to = address.parse().unwrap();
    let mut sent = harness.wire.iter().skip(since).filter(|it| it.to == to);
    let found = sent.find(|it| it.line().starts_with(beginning));
    let found = found.unwrap_or_else(|| panic!("no {beginning} to {address}"));
    ["X-For-Callee", "X-For-Caller", "X-Case", "Subject"].map(|name| found.field(name)).to_vec()
}

fn fields(callee: Option<&str>, caller: Option<&str>, case: Option<&str>) -> Vec<Option<String>> {
    [callee, caller, case, None].map(|it| it.map(str::to_owned)).to_vec()
}

const CASE: [(&str, &str); 2] = [("X-Case", "4711"), ("Subject", "lunch")];

fn with_case() -> Vec<(bytes::Bytes, bytes::Bytes)> {
    CASE.map(|(name, value)| (name.into(), value.into())).to_vec()
}

/// A party accepts the request that it received.
fn agrees(harness: &mut Harness, party: PartyId) {
    let asked = harness.take(party).into_iter().find_map(|event| match event {
        Event::Usage { event: UsageEvent::Request { transaction, .. }, .. } => Some(transaction),
        Event::Usage { event: UsageEvent::Update { transaction, .. }, .. } => Some(transaction),
        _ => None,
    });
    let now = harness.now();
    let reply = Reply { headers: with_case(), body: None, ..Reply::status(200) };
    harness.endpoint(party).respond(now, asked.expect("a request"), reply).unwrap();
    harness.settle();
}

fn call() -> (Harness, (PartyId, UsageId), (PartyId, UsageId)) {
    let options = DialOptions { rules: rules().into(), ..DialOptions::default() };
    let mut harness = routed(contacts(&[(BOB, 0)], options));
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = harness.call(ann, "bob", Some(SESSION));
    let b = harness.answer_next(bob, SESSION);
    harness.take(ann);
    harness.take(bob);
    (harness, (ann, a), (bob, b))
}

/// A field that a program adds to its INVITE is not repeated in later messages of the call.
#[test]
fn a_rule_for_the_invite_is_for_nothing_later() {
    let name = "X-Once".to_owned();
    let once = HeaderRule { to: RuledMessage::Invite, name, change: HeaderChange::Replace("1".to_owned()) };
    let options =
        DialOptions { rules: [once].into_iter().chain(rules()).collect(), ..DialOptions::default() };
    let mut harness = routed(contacts(&[(BOB, 0)], options));
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = harness.call(ann, "bob", Some(SESSION));
    harness.answer_next(bob, SESSION);
    harness.hang_up(ann, a);
    let to = BOB.parse().unwrap();
    let told = |beginning: &str| {
        let mut sent = harness.wire.iter().filter(|it| it.to == to);
        let found = sent.find(|it| it.line().starts_with(beginning)).expect("a message");
        (found.field("X-Once"), found.field("X-For-Callee"))
    };
    assert_eq!(told("INVITE"), (Some("1".to_owned()), Some("1".to_owned())));
    assert_eq!(told("BYE"), (None, Some("1".to_owned())));
}

#[test]
fn each_request_in_a_call_and_its_response_has_the_fields_of_its_direction() {
    let to_bob = fields(Some("1"), None, Some("4711"));
    let to_ann = fields(None, Some("2"), Some("4711"));
    for method in [Method::Info, Method::Message, Method::Notify] {
        let (mut harness, ann, bob) = call();
        let parties = [(ann, ANN, &to_ann), (bob, BOB, &to_bob)];
        for (from, to) in [(0, 1), (1, 0)] {
            let since = harness.wire.len();
            let (((by, usage), at_by, told_by), ((other, _), at, told)) = (parties[from], parties[to]);
            let (now, mut headers) = (harness.now(), with_case());
            if method == Method::Notify {
                headers
                    .extend([("Event".into(), "x".into()), ("Subscription-State".into(), "active".into())]);
            }
            let body = Some(Body { content_type: "text/plain".into(), data: "hello".into() });
            let request = InDialog { method: method.clone(), headers, body };
            harness.endpoint(by).request(now, usage, request).unwrap();
            harness.settle();
            assert_eq!(&ruled(&harness, since, at, &method.to_string()), told, "{method} to {at}");
            agrees(&mut harness, other);
            assert_eq!(
                &ruled(&harness, since, at_by, "SIP/2.0 200"),
                told_by,
                "{method}: the answer to {at_by}"
            );
        }
        harness.hang_up(ann.0, ann.1);
        harness.assert_nothing_left();
    }
}

#[test]
fn an_offer_in_a_call_its_answer_and_the_end_have_them_too() {
    let (mut harness, (ann, a), (bob, b)) = call();
    let (to_bob, to_ann) = (fields(Some("1"), None, None), fields(None, Some("2"), None));
    for (from, to, at, told, at_from, told_from) in
        [((ann, a), (bob, b), BOB, &to_bob, ANN, &to_ann), ((bob, b), (ann, a), ANN, &to_ann, BOB, &to_bob)]
    {
        let (since, now) = (harness.wire.len(), harness.now());
        let offer = Body::sdp(SESSION.replace("4000", "4002"));
        harness.endpoint(from.0).reinvite_with(now, from.1, with_case(), Some(offer)).unwrap();
        harness.settle();
        let mut passed = told.clone();
        passed[2] = Some("4711".to_owned());
        assert_eq!(ruled(&harness, since, at, "INVITE"), passed, "to {at}");
        harness.answer(to.0, to.1, Some(SESSION));
        // The party's 200 brings no X-Case.
        assert_eq!(&ruled(&harness, since, at_from, "SIP/2.0 200"), told_from, "to {at_from}");
    }
    let since = harness.wire.len();
    harness.hang_up(ann, a);
    assert_eq!(ruled(&harness, since, BOB, "BYE"), to_bob);
    harness.assert_nothing_left();
}

#[test]
fn a_refer_that_goes_across_has_them_and_so_has_an_update() {
    let (mut harness, (ann, a), (bob, b)) = call();
    let since = harness.wire.len();
    harness.refer(ann, a, format!("<{}>", uri(CAT)));
    assert_eq!(ruled(&harness, since, BOB, "REFER"), fields(Some("1"), None, None));
    harness.run(Duration::from_secs(1));
    let (since, now) = (harness.wire.len(), harness.now());
    let offer = Body::sdp(SESSION.replace("4000", "4006"));
    harness.endpoint(bob).update_with(now, b, with_case(), Some(offer)).unwrap();
    harness.settle();

    assert_eq!(ruled(&harness, since, ANN, "UPDATE"), fields(None, Some("2"), Some("4711")));
    harness.hang_up_all();
    harness.run(Duration::from_secs(40));
}

#[test]
fn what_an_offer_brought_that_media_refuse_is_in_no_later_message() {
    let (mut harness, (ann, a), (bob, _)) = call();
    let (since, now) = (harness.wire.len(), harness.now());
    let offer = Body::sdp("this is no session");
    harness.endpoint(ann).reinvite_with(now, a, with_case(), Some(offer)).unwrap();
    harness.settle();
    ruled(&harness, since, ANN, "SIP/2.0 400");
    assert!(harness.take(bob).is_empty(), "it goes no further");
    harness.hang_up(ann, a);
    assert_eq!(ruled(&harness, since, BOB, "BYE"), fields(Some("1"), None, None));
    harness.assert_nothing_left();
}
