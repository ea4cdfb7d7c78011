//! Reliable provisional responses through the switch (RFC 3262): PRACK on each leg, with offers and answers.
//! Losses are tested in `rfc3262`.

use b2b_call::service::DialOptions;
use b2b_sip::endpoint::{Body, Event, Invite, Reply, UsageEvent, UsageId};
use b2b_sip::msg::Response;
use b2b_testkit::{Harness, PartyId, SESSION, Sent};

use crate::hand::asked;
use crate::routed::{ANN, BOB, CAT, contacts, routed, to_bob};

/// Every message of this method or status between b2b and an address.
fn sent<'a>(harness: &'a Harness, start: &str, address: &str) -> Vec<&'a Sent> {
    let address = address.parse().expect("an address");
    let of = |it: &&Sent| (it.to == address || it.from == address) && it.line().starts_with(start);
    harness.wire.iter().filter(of).collect()
}

fn body(sent: &Sent) -> String {
    let text = sent.text();
    text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
}

/// Sends a reliable provisional response.
fn ring(harness: &mut Harness, party: PartyId, usage: UsageId, status: u16, session: Option<&str>) {
    let now = harness.now();
    let body = session.map(|it| Body::sdp(it.to_owned()));
    let reply = Reply { reliable: true, body, ..Reply::status(status) };
    harness.endpoint(party).reply(now, usage, reply).expect("an INVITE that waits");
    harness.settle();
}

/// The reliable response with an offer that a caller has to answer in its PRACK.
fn offered(harness: &mut Harness, party: PartyId) -> Option<Response> {
    harness.take(party).into_iter().find_map(|event| match event {
        Event::Usage { event: UsageEvent::Provisional { response, prack_wanted: true }, .. } => {
            Some(response)
        }
        _ => None,
    })
}

fn prack(harness: &mut Harness, party: PartyId, usage: UsageId, response: &Response) {
    let now = harness.now();
    harness.endpoint(party).prack(now, usage, response, Some(Body::sdp(SESSION))).expect("a PRACK");
    harness.settle();
}

#[test]
fn a_callees_reliable_early_media_is_reliable_for_the_caller_and_each_leg_has_its_prack() {
    let mut harness = to_bob();
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = harness.call(ann, "bob", Some(SESSION));
    let b = harness.next_call(bob);
    ring(&mut harness, bob, b, 183, Some(SESSION));
    assert_eq!((sent(&harness, "PRACK", ANN).len(), sent(&harness, "PRACK", BOB).len()), (1, 1));
    let early = sent(&harness, "SIP/2.0 183", ANN)[0];
    assert_eq!(early.field("Require").as_deref(), Some("100rel"));
    assert!(body(early).contains("c=IN IP4 192.0.2.1"));
    assert_eq!(harness.media().bridges().len(), 1, "the caller hears it");
    ring(&mut harness, bob, b, 180, None);
    harness.answer(bob, b, Some(SESSION));
    assert!(harness.is_up(ann, a) && harness.is_up(bob, b));
    let answer = sent(&harness, "SIP/2.0 200", ANN).into_iter().find(|it| it.text().contains(" INVITE\r\n"));
    assert_eq!(body(answer.expect("a 200")), "", "the answer has passed");
    harness.hang_up(ann, a);
    harness.assert_nothing_left();
}

#[test]
fn a_caller_who_cannot_gets_plain_responses_and_one_who_requires_gets_reliable_ones() {
    let mut harness = to_bob();
    let ann = harness.party_with(ANN, |config| config.extensions.reliable = false);
    let bob = harness.party(BOB);
    let a = harness.call(ann, "bob", Some(SESSION));
    let b = harness.next_call(bob);
    ring(&mut harness, bob, b, 183, Some(SESSION));
    assert_eq!(sent(&harness, "PRACK", BOB).len(), 1);
    assert_eq!(sent(&harness, "SIP/2.0 183", ANN)[0].field("Require"), None);
    harness.answer(bob, b, Some(SESSION));
    assert!(harness.is_up(ann, a));
    harness.hang_up(ann, a);
    harness.assert_nothing_left();

    let mut harness = to_bob();
    let ann = harness.party(ANN);
    let bob = harness.party_with(BOB, |config| config.extensions.reliable = false);
    let invite = Invite {
        target: "sip:bob@192.0.2.1:5060".into(),
        headers: vec![("Require".into(), "100rel".into())],
        body: Some(Body::sdp(SESSION)),
        ..Invite::default()
    };
    let a = harness.invite(ann, invite);
    let b = harness.next_call(bob);
    harness.ring(bob, b, 180, None);
    harness.ring(bob, b, 183, Some(SESSION));
    assert_eq!(sent(&harness, "PRACK", ANN).len(), 2);
    assert!(sent(&harness, "PRACK", BOB).is_empty());
    harness.answer(bob, b, Some(SESSION));
    assert!(harness.is_up(ann, a));
    harness.hang_up(bob, b);
    harness.assert_nothing_left();
}

#[test]
fn an_offer_in_a_reliable_response_goes_to_the_caller_and_the_answer_back_with_prack() {
    let mut harness = to_bob();
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = harness.call(ann, "bob", None);
    let b = harness.next_call(bob);
    // Without the offer, which would be due, only an unreliable response is possible.
    harness.ring(bob, b, 180, None);
    assert_eq!(sent(&harness, "SIP/2.0 180", ANN)[0].field("Require"), None);
    ring(&mut harness, bob, b, 183, Some(SESSION));
    let response = offered(&mut harness, ann).expect("an offer");
    assert!(String::from_utf8_lossy(&response.body()).contains("c=IN IP4 192.0.2.1"));
    assert!(sent(&harness, "PRACK", BOB).is_empty(), "the answer is still to come");
    prack(&mut harness, ann, a, &response);
    let answer = body(sent(&harness, "PRACK", BOB)[0]);
    assert!(answer.contains("c=IN IP4 192.0.2.1"), "{answer}");
    assert_eq!(harness.media().bridges().len(), 1);
    harness.answer(bob, b, None);
    assert!(harness.is_up(ann, a) && harness.is_up(bob, b));
    let with_session =
        |start, address| sent(&harness, start, address).iter().filter(|it| !body(it).is_empty()).count();
    assert_eq!((with_session("SIP/2.0 200", ANN), with_session("ACK", BOB)), (0, 0));
    assert_eq!(harness.media().bridges().len(), 1);
    harness.hang_up(ann, a);
    harness.assert_nothing_left();
}

#[test]
fn a_callee_is_not_told_of_reliable_responses_that_its_offer_could_not_go_on_in() {
    let mut harness = to_bob();
    let ann = harness.party_with(ANN, |config| config.extensions.reliable = false);
    let bob = harness.party(BOB);
    let a = harness.call(ann, "bob", None);
    let b = harness.next_call(bob);
    let supported = sent(&harness, "INVITE", BOB)[0].field("Supported").expect("Supported");
    assert!(supported.contains("timer") && !supported.contains("100rel"), "{supported}");
    ring(&mut harness, bob, b, 180, None);
    harness.answer(bob, b, Some(SESSION));
    let now = harness.now();
    harness.endpoint(ann).ack(now, a, Some(Body::sdp(SESSION))).expect("an ACK");
    harness.settle();
    assert!(harness.is_up(ann, a) && harness.is_up(bob, b));
    harness.hang_up(ann, a);
    harness.assert_nothing_left();
}

/// A caller with or without an offer, and two phones that ring in parallel.
fn two(offer: Option<&str>) -> (Harness, (PartyId, UsageId), [(PartyId, UsageId); 2]) {
    let options = DialOptions::default();
    let mut harness = routed(contacts(&[(BOB, 0), (CAT, 0)], options));
    let (ann, bob, cat) = (harness.party(ANN), harness.party(BOB), harness.party(CAT));
    let a = harness.call(ann, "both", offer);
    let (b, c) = (harness.next_call(bob), harness.next_call(cat));
    (harness, (ann, a), [(bob, b), (cat, c)])
}

/// The re-INVITE that offers a caller the winner's session, answered.
fn told_of_the_winner(harness: &mut Harness, (party, usage): (PartyId, UsageId)) -> String {
    let offer = harness.take(party).into_iter().find_map(|event| match event {
        Event::Usage { event: UsageEvent::ReInvite { request }, .. } => Some(request.body()),
        _ => None,
    });
    harness.answer(party, usage, Some(SESSION));
    String::from_utf8_lossy(&offer.expect("a re-INVITE")).into_owned()
}

#[test]
fn of_two_offers_in_reliable_responses_one_goes_across_and_either_may_win() {
    for (winner, asked_again) in [(0, false), (1, true)] {
        let (mut harness, (ann, a), phones) = two(None);
        for (phone, usage) in phones {
            ring(&mut harness, phone, usage, 183, Some(SESSION));
        }
        assert_eq!(sent(&harness, "PRACK", CAT).len(), 1, "ours: the caller has one already");
        let response = offered(&mut harness, ann).expect("an offer");
        prack(&mut harness, ann, a, &response);
        let (phone, usage) = phones[winner];
        harness.answer(phone, usage, None);
        assert!(harness.is_up(ann, a) && harness.is_up(phone, usage));
        if asked_again {
            told_of_the_winner(&mut harness, (ann, a));
        } else {
            assert!(sent(&harness, "INVITE", ANN).len() == 1, "nothing else to say");
        }
        assert_eq!(harness.media().bridges().len(), 1);
        assert!(harness.is_up(ann, a) && harness.is_up(phone, usage));
        harness.hang_up(ann, a);
        harness.assert_nothing_left();
    }
}

#[test]
fn a_callee_who_has_been_answered_by_us_leaves_the_caller_to_be_offered() {
    // Bob's offer is sent to Ann, who does not answer it before Bob gives up; meanwhile Cat has offered and
    // wins.
    let (mut harness, (ann, a), [(bob, b), (cat, c)]) = two(None);
    ring(&mut harness, bob, b, 183, Some(SESSION));
    let response = offered(&mut harness, ann).expect("an offer");
    harness.reject(bob, b, 486);
    ring(&mut harness, cat, c, 183, Some(SESSION));
    prack(&mut harness, ann, a, &response);
    harness.answer(cat, c, None);
    assert!(harness.is_up(ann, a) && harness.is_up(cat, c));
    told_of_the_winner(&mut harness, (ann, a));
    assert_eq!(harness.media().bridges().len(), 1);
    harness.hang_up(cat, c);
    harness.assert_nothing_left();
}

#[test]
fn a_caller_who_was_told_of_one_phone_is_asked_again_when_another_one_wins() {
    let (mut harness, (ann, a), [(bob, b), (cat, c)]) = two(Some(SESSION));
    ring(&mut harness, bob, b, 183, Some(SESSION));
    assert_eq!(sent(&harness, "PRACK", ANN).len(), 1);
    let other = SESSION.replace("8 0 101", "0 101");
    harness.answer(cat, c, Some(&other));
    assert!(harness.is_up(ann, a) && harness.is_up(cat, c));
    told_of_the_winner(&mut harness, (ann, a));
    assert!(harness.is_up(ann, a) && harness.is_up(cat, c));
    harness.hang_up(ann, a);
    harness.assert_nothing_left();
}

#[test]
fn a_new_offer_in_a_prack_is_answered_here() {
    let mut harness = to_bob();
    let ann = harness.party(ANN);
    let bob = harness.party(BOB);
    let a = harness.call(ann, "bob", Some(SESSION));
    let b = harness.next_call(bob);
    // Ann's own endpoint sends PRACK by itself; it is turned into one with an offer.
    harness.change_messages(|message| {
        if !message.starts_with("PRACK sip:") || !message.contains("192.0.2.11") {
            return message.to_owned();
        }
        let (head, _) = message.split_once("\r\n\r\n").expect("a head");
        let fields = head.split("\r\n").filter(|it| !it.starts_with("Content-Length"));
        let head = fields.collect::<Vec<_>>().join("\r\n");
        let length = SESSION.len();
        format!("{head}\r\nContent-Type: application/sdp\r\nContent-Length: {length}\r\n\r\n{SESSION}")
    });
    ring(&mut harness, bob, b, 183, Some(SESSION));
    let answers = sent(&harness, "SIP/2.0 200", ANN);
    assert!(body(answers[0]).contains("c=IN IP4 192.0.2.1"), "{}", answers[0].text());
    assert_eq!(answers[0].field("CSeq").as_deref().map(|it| it.ends_with("PRACK")), Some(true));
    harness.answer(bob, b, Some(SESSION));
    assert!(harness.is_up(ann, a) && harness.is_up(bob, b));
    harness.hang_up(ann, a);
    harness.assert_nothing_left();
}

#[test]
fn a_callee_that_offers_unasked_is_answered_here_and_the_caller_offered_what_it_can_do() {
    let mut harness = to_bob();
    harness.change_messages(|message| {
        let ours = message.starts_with("INVITE") && message.contains("UDP 192.0.2.1:");
        if ours { message.replace("Supported: ", "Supported: 100rel, ") } else { message.to_owned() }
    });
    let ann = harness.party_with(ANN, |config| config.extensions.reliable = false);
    let bob = harness.party(BOB);
    let a = harness.call(ann, "bob", None);
    let b = harness.next_call(bob);
    ring(&mut harness, bob, b, 183, Some(SESSION));
    assert!(body(sent(&harness, "PRACK", BOB)[0]).contains("c=IN IP4 192.0.2.1"));
    harness.answer(bob, b, None);
    let now = harness.now();
    harness.endpoint(ann).ack(now, a, Some(Body::sdp(SESSION))).expect("an ACK that owes the answer");
    harness.settle();
    assert!(harness.is_up(ann, a) && harness.is_up(bob, b));
    assert_eq!(harness.media().bridges().len(), 1);
    harness.hang_up(ann, a);
    harness.assert_nothing_left();
}

#[test]
fn a_callee_is_hung_up_whose_caller_gives_up_before_it_has_an_endpoint() {
    let mut harness = to_bob();
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    harness.media().hold_endpoints();
    let a = harness.call(ann, "bob", None);
    // Bob's offer is for Ann: his endpoint is opened, then hers, which takes longer.
    harness.answer_next(bob, SESSION);
    harness.media().open_endpoints();
    harness.media().hold_endpoints();
    harness.settle();
    harness.cancel(ann, a);
    harness.media().open_endpoints();
    harness.settle();
    assert_eq!(asked(&harness, BOB), ["INVITE", "ACK", "BYE"]);
    harness.assert_nothing_left();
}
