//! Direct media: re-INVITEs let both parties exchange media directly, and take it back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use b2b_call::bridge_fsm::BridgeMode;
use b2b_call::controller::{EndpointId, EndpointStats, Flow, MediaEvent};
use b2b_call::handler::{ApplicationHandler, HandlerAction, HandlerFuture, IncomingCall, Referral};
use b2b_call::resolver::{ChainResolver, DirectPolicy, DirectResolver};
use b2b_call::service::{CallService, DialOptions};
use b2b_call::switch::{SwitchConfig, admission::AdmitAll};
use b2b_call::verdict::Audio;
use b2b_sip::endpoint::{Body, Event, UsageEvent, UsageId};
use b2b_testkit::{B2B, Handler, Harness, Network, PartyId, SESSION};

use crate::in_call::{answered, asked};
use crate::routed::{ANN, BOB, CAT, contacts};

const B2B_MEDIA: &str = "c=IN IP4 192.0.2.1\r\n";
const ANN_MEDIA: &str = "c=IN IP4 198.51.100.7\r\n";
const BOB_MEDIA: &str = "c=IN IP4 203.0.113.9\r\n";

type Side = (PartyId, UsageId);

fn bob_says() -> String {
    SESSION.replace("198.51.100.7", "203.0.113.9")
}

/// Dials Bob, and routes transfers to Cat.
struct Cats {
    direct: bool,
}

impl ApplicationHandler for Cats {
    fn name(&self) -> &str {
        "cats"
    }

    fn handle_incoming_call(&self, _: IncomingCall, _: CallService) -> HandlerFuture {
        let mode = BridgeMode::Intercepting;
        let options = DialOptions { mode, direct: true, ..DialOptions::default() };
        Box::pin(async move { HandlerAction::Dial(Box::new(contacts(&[(BOB, 0)], options))) })
    }

    fn handle_referral(&self, _: Referral) -> HandlerFuture {
        let options = DialOptions { direct: self.direct, ..DialOptions::default() };
        Box::pin(async move { HandlerAction::Dial(Box::new(contacts(&[(CAT, 0)], options))) })
    }
}

/// Ann and Bob exchange media directly.
fn direct_with(handler: impl ApplicationHandler + 'static) -> (Harness, Side, Side) {
    let (mut harness, a, b) = connected_by(handler, Network::QUIET);
    hear(&mut harness, "198.51.100.7:4000", "203.0.113.9:4000");
    lead_past(&mut harness, a, b);
    (harness, a, b)
}

/// Ann and Bob are connected; a third party that is called is Cat.
fn connected(mode: BridgeMode, network: Network) -> (Harness, Side, Side) {
    let handler = Handler(move |call: IncomingCall, _: CallService| async move {
        let address = if call.called() == "bob" { BOB } else { CAT };
        let options = DialOptions { mode, direct: true, ..DialOptions::default() };
        HandlerAction::Dial(Box::new(contacts(&[(address, 0)], options)))
    });
    connected_by(handler, network)
}

fn connected_by(handler: impl ApplicationHandler + 'static, network: Network) -> (Harness, Side, Side) {
    let handlers: Vec<Arc<dyn ApplicationHandler>> = vec![Arc::new(handler)];
    let anybody = DirectResolver::new(DirectPolicy::Anybody);
    let resolver = Arc::new(ChainResolver::new(vec![Arc::new(anybody)]));
    let (admission, config) = (Box::new(AdmitAll), SwitchConfig::default());
    let mut harness = Harness::with(Instant::now(), handlers, resolver, admission, config, network);
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = harness.call(ann, "bob", Some(SESSION));
    let b = harness.answer_next(bob, &bob_says());
    assert!(harness.is_up(ann, a) && harness.is_up(bob, b));
    harness.take(ann);
    harness.take(bob);
    (harness, (ann, a), (bob, b))
}

fn hear(harness: &mut Harness, from_ann: &str, from_bob: &str) {
    for (endpoint, from) in [(1, from_ann), (2, from_bob)] {
        let from = from.parse().unwrap();
        harness.media_event(MediaEvent::Started { endpoint: EndpointId(endpoint), from });
    }
}

fn second(harness: &mut Harness) {
    harness.run(Duration::from_millis(1_100));
}

/// Ann and Bob with direct media.
fn direct(mode: BridgeMode) -> (Harness, Side, Side) {
    let (mut harness, a, b) = connected(mode, Network::QUIET);
    hear(&mut harness, "198.51.100.7:4000", "203.0.113.9:4000");
    lead_past(&mut harness, a, b);
    (harness, a, b)
}

fn lead_past(harness: &mut Harness, (ann, a): Side, (bob, b): Side) {
    second(harness);
    let offer = asked(harness, bob).expect("Bob is told of Ann");
    assert!(offer.contains(ANN_MEDIA) && offer.contains("m=audio 4000 RTP/AVP 8 0 101"), "{offer}");
    assert!(offer.lines().nth(1).unwrap().ends_with("IN IP4 192.0.2.1"), "the session is ours: {offer}");
    assert!(asked(harness, ann).is_none(), "one at a time");
    harness.answer(bob, b, Some(&bob_says()));
    let offer = asked(harness, ann).expect("Ann is told of Bob");
    assert!(offer.contains(BOB_MEDIA) && offer.contains("m=audio 4000"), "{offer}");
    harness.answer(ann, a, Some(SESSION));
}

fn nobody_is_asked(harness: &mut Harness, time: Duration) {
    let from = harness.wire.len();
    harness.run(time);
    let invites = harness.wire[from..].iter().filter(|it| it.line().starts_with("INVITE"));
    assert_eq!(invites.count(), 0);
}

fn timeout(harness: &mut Harness, endpoint: u64) {
    harness.media_event(MediaEvent::Timeout { endpoint: EndpointId(endpoint) });
}

#[test]
fn both_are_led_to_each_other_and_no_rtp_is_missed_here() {
    for mode in [BridgeMode::Transparent, BridgeMode::Intercepting] {
        let (mut harness, (ann, a), (bob, b)) = direct(mode);
        nobody_is_asked(&mut harness, Duration::from_secs(600));
        timeout(&mut harness, 1);
        timeout(&mut harness, 2);
        assert!(harness.is_up(ann, a) && harness.is_up(bob, b), "their RTP goes past us");
        harness.hang_up(bob, b);
        assert!(!harness.is_up(ann, a));
        let ended = harness.ended_calls()[0];
        let report = harness.report(ended).expect("its account");
        assert_eq!(report.verdicts[0].verdict.audio, Audio::NotJudged, "nobody counted it here: {report}");
        assert!(report.to_string().contains("past b2b"), "{report}");
        harness.assert_nothing_left();
    }
}

#[test]
fn the_timeline_says_whose_rtp_goes_on_to_come_here() {
    let (mut harness, (ann, a), _) = direct(BridgeMode::Transparent);
    let direct = harness.now();
    harness.run(Duration::from_secs(60));
    // The last packets of Ann, who sends here all the same, and of Bob, who does not.
    for (endpoint, last) in [(1, harness.now()), (2, direct + Duration::from_millis(500))] {
        let mut stats = EndpointStats::new(direct);
        stats.received = Flow { packets: 9, bytes: 9 * 172, first: Some(direct), last: Some(last) };
        harness.media().set_stats(EndpointId(endpoint), stats);
    }
    harness.hang_up(ann, a);
    let ended = harness.ended_calls()[0];
    let report = harness.report(ended).expect("its account").to_string();
    let told: Vec<&str> = report.lines().filter(|line| line.contains("came through b2b")).collect();
    assert!(matches!(told[..], [line] if line.contains("for another 60 s")), "{report}");
}

#[test]
fn media_comes_back_for_hold_and_goes_direct_again_after_it() {
    for mode in [BridgeMode::Transparent, BridgeMode::Intercepting] {
        let (mut harness, (ann, a), (bob, b)) = direct(mode);
        for (direction, back) in [("a=sendonly\r\n", "a=recvonly\r\n"), ("", "")] {
            let now = harness.now();
            let offer = format!("{SESSION}{direction}");
            harness.endpoint(ann).reinvite(now, a, Some(Body::sdp(offer))).unwrap();
            harness.settle();
            if mode == BridgeMode::Transparent {
                let offer = asked(&mut harness, bob).expect("Bob hears of it");
                assert!(offer.contains(B2B_MEDIA) && offer.contains(direction), "{offer}");
                harness.answer(bob, b, Some(&(bob_says() + back)));
            }
            let answer = answered(&mut harness, ann).expect("an answer");
            assert!(answer.contains(B2B_MEDIA), "{answer}");
            if mode == BridgeMode::Intercepting && !direction.is_empty() {
                let offer = asked(&mut harness, bob).expect("Bob comes back");
                assert!(offer.contains(B2B_MEDIA) && !offer.contains("a=sendonly"), "{offer}");
                harness.answer(bob, b, Some(&bob_says()));
            }
            if !direction.is_empty() {
                nobody_is_asked(&mut harness, Duration::from_secs(60));
            }
        }
        lead_past(&mut harness, (ann, a), (bob, b));
        harness.hang_up(ann, a);
        harness.assert_nothing_left();
    }
}

#[test]
fn rtp_that_is_missing_counts_again_once_media_is_back() {
    let (mut harness, (ann, a), (bob, b)) = direct(BridgeMode::Transparent);
    let now = harness.now();
    // Ann announces a new address.
    let moved = SESSION.replace("m=audio 4000", "m=audio 4100");
    harness.endpoint(ann).reinvite(now, a, Some(Body::sdp(moved))).unwrap();
    harness.settle();
    assert!(asked(&mut harness, bob).expect("Bob hears of it").contains(B2B_MEDIA));
    harness.answer(bob, b, Some(&bob_says()));
    // Ann's RTP does not come from there yet: media stays relayed.
    nobody_is_asked(&mut harness, Duration::from_secs(60));
    timeout(&mut harness, 1);
    assert!(!harness.is_up(ann, a) && !harness.is_up(bob, b));
    harness.assert_nothing_left();
}

#[test]
fn whoever_refuses_keeps_the_call_relayed() {
    // Bob refuses.
    let (mut harness, (ann, a), (bob, b)) = connected(BridgeMode::Transparent, Network::QUIET);
    hear(&mut harness, "198.51.100.7:4000", "203.0.113.9:4000");
    second(&mut harness);
    assert!(asked(&mut harness, bob).is_some());
    harness.reject(bob, b, 488);
    nobody_is_asked(&mut harness, Duration::from_secs(60));
    assert!(harness.is_up(ann, a) && harness.is_up(bob, b));
    assert_eq!(harness.media().bridges().len(), 1);
    timeout(&mut harness, 2);
    assert!(!harness.is_up(bob, b), "what is missing counts");
    harness.assert_nothing_left();
    // Ann refuses, and Bob's media is taken back.
    let (mut harness, (ann, a), (bob, b)) = connected(BridgeMode::Transparent, Network::QUIET);
    hear(&mut harness, "198.51.100.7:4000", "203.0.113.9:4000");
    second(&mut harness);
    harness.answer(bob, b, Some(&bob_says()));
    harness.take(bob);
    harness.reject(ann, a, 488);
    let offer = asked(&mut harness, bob).expect("Bob comes back");
    assert!(offer.contains(B2B_MEDIA), "{offer}");
    harness.answer(bob, b, Some(&bob_says()));
    nobody_is_asked(&mut harness, Duration::from_secs(60));
    harness.hang_up(ann, a);
    harness.assert_nothing_left();
}

#[test]
fn a_party_behind_a_nat_and_one_that_is_silent_stay_relayed() {
    let (mut harness, (ann, a), _) = connected(BridgeMode::Transparent, Network::QUIET);
    hear(&mut harness, "192.0.2.200:31000", "203.0.113.9:4000");
    nobody_is_asked(&mut harness, Duration::from_secs(60));
    harness.hang_up(ann, a);
    harness.assert_nothing_left();
    let (mut harness, (ann, a), _) = connected(BridgeMode::Transparent, Network::QUIET);
    let from = "198.51.100.7:4000".parse().unwrap();
    harness.media_event(MediaEvent::Started { endpoint: EndpointId(1), from });
    nobody_is_asked(&mut harness, Duration::from_secs(60));
    harness.hang_up(ann, a);
    harness.assert_nothing_left();
}

#[test]
fn a_refresh_of_the_session_leaves_media_where_it_is() {
    let (mut harness, (ann, a), (bob, _)) = direct(BridgeMode::Intercepting);
    let now = harness.now();
    harness.endpoint(ann).reinvite(now, a, Some(Body::sdp(SESSION))).unwrap();
    harness.settle();
    let answer = answered(&mut harness, ann).expect("an answer");
    assert!(answer.contains(BOB_MEDIA), "{answer}");
    assert!(asked(&mut harness, bob).is_none());
    nobody_is_asked(&mut harness, Duration::from_secs(60));
    harness.hang_up(ann, a);
    harness.assert_nothing_left();
}

#[test]
fn a_hold_that_overtakes_bobs_answer_brings_bob_back() {
    let (mut harness, (ann, a), (bob, b)) = connected(BridgeMode::Intercepting, Network::QUIET);
    hear(&mut harness, "198.51.100.7:4000", "203.0.113.9:4000");
    second(&mut harness);
    assert!(asked(&mut harness, bob).expect("Bob is told of Ann").contains(ANN_MEDIA));
    let now = harness.now();
    let hold = format!("{SESSION}a=inactive\r\n");
    harness.endpoint(ann).reinvite(now, a, Some(Body::sdp(hold))).unwrap();
    harness.settle();
    assert!(answered(&mut harness, ann).expect("an answer").contains(B2B_MEDIA));
    harness.answer(bob, b, Some(&bob_says()));
    assert!(asked(&mut harness, bob).expect("Bob comes back").contains(B2B_MEDIA));
    harness.answer(bob, b, Some(&bob_says()));
    nobody_is_asked(&mut harness, Duration::from_secs(30));
    harness.hang_up(ann, a);
    harness.assert_nothing_left();
}

/// Cat's RTP comes from the announced address; Cat and Ann change to direct media.
fn lead_past_to_cat(harness: &mut Harness, (ann, a): Side, (cat, c): Side, endpoint: u64) {
    let from = "198.51.100.99:4000".parse().unwrap();
    harness.media_event(MediaEvent::Started { endpoint: EndpointId(endpoint), from });
    second(harness);
    let offer = asked(harness, cat).expect("Cat is told of Ann");
    assert!(offer.contains(ANN_MEDIA), "{offer}");
    harness.answer(cat, c, Some(&cat_says()));
    let offer = asked(harness, ann).expect("Ann is told of Cat");
    assert!(offer.contains("c=IN IP4 198.51.100.99\r\n"), "{offer}");
    harness.answer(ann, a, Some(SESSION));
    nobody_is_asked(harness, Duration::from_secs(60));
    timeout(harness, 1);
    assert!(harness.is_up(ann, a) && harness.is_up(cat, c), "their RTP goes past us");
}

fn cat_says() -> String {
    SESSION.replace("198.51.100.7", "198.51.100.99")
}

#[test]
fn after_a_transfer_media_goes_direct_again_where_the_new_route_allows_it() {
    for allowed in [true, false] {
        let (mut harness, (ann, a), (bob, b)) = direct_with(Cats { direct: allowed });
        let cat = harness.party(CAT);
        let now = harness.now();
        harness.endpoint(bob).refer(now, b, "<sip:cat@192.0.2.1>".into(), true, Vec::new()).unwrap();
        harness.settle();
        let c = harness.answer_next(cat, &cat_says());
        let offer = asked(&mut harness, ann).expect("Ann comes back");
        assert!(offer.contains(B2B_MEDIA), "{offer}");
        // Longer than the settling time, which begins again with Ann's answer.
        second(&mut harness);
        harness.answer(ann, a, Some(SESSION));
        harness.take(cat);
        nobody_is_asked(&mut harness, Duration::from_secs(30));
        if allowed {
            lead_past_to_cat(&mut harness, (ann, a), (cat, c), 3);
        } else {
            let from = "198.51.100.99:4000".parse().unwrap();
            harness.media_event(MediaEvent::Started { endpoint: EndpointId(3), from });
            nobody_is_asked(&mut harness, Duration::from_secs(30));
        }
        assert!(!harness.is_up(bob, b));
        harness.hang_up(cat, c);
        harness.assert_nothing_left();
    }
}

#[test]
fn after_an_attended_transfer_media_goes_direct_again() {
    let (mut harness, (ann, a), (bob, b)) = direct(BridgeMode::Intercepting);
    let cat = harness.party(CAT);
    let consultation = harness.call(bob, "cat", Some(&bob_says()));
    let c = harness.answer_next(cat, &cat_says());
    let replaces = harness.replaces(bob, consultation).expect("a dialog");
    let to = format!("<sip:cat@{B2B}?{}>", replaces.embedded());
    let now = harness.now();
    harness.endpoint(bob).refer(now, b, to.into(), true, Vec::new()).unwrap();
    harness.settle();
    for ((party, usage), says) in [((ann, a), SESSION), ((cat, c), &cat_says())] {
        assert!(asked(&mut harness, party).expect("comes back").contains(B2B_MEDIA));
        harness.answer(party, usage, Some(says));
    }
    nobody_is_asked(&mut harness, Duration::from_secs(30));
    assert!(!harness.is_up(bob, b) && !harness.is_up(bob, consultation));
    lead_past_to_cat(&mut harness, (ann, a), (cat, c), 4);
    harness.hang_up(cat, c);
    harness.assert_nothing_left();
}

#[test]
fn who_is_transferred_comes_back_to_us() {
    let (mut harness, (ann, a), (bob, b)) = direct(BridgeMode::Intercepting);
    let cat = harness.party(CAT);
    let now = harness.now();
    harness.endpoint(bob).refer(now, b, format!("<sip:cat@{CAT}>").into(), true, Vec::new()).unwrap();
    harness.settle();
    let c = harness.answer_next(cat, &SESSION.replace("198.51.100.7", "198.51.100.99"));
    let offer = asked(&mut harness, ann).expect("Ann comes back");
    assert!(offer.contains(B2B_MEDIA), "{offer}");
    harness.answer(ann, a, Some(SESSION));
    nobody_is_asked(&mut harness, Duration::from_secs(30));
    assert!(harness.is_up(ann, a) && harness.is_up(cat, c) && !harness.is_up(bob, b));
    timeout(&mut harness, 1);
    assert!(!harness.is_up(ann, a), "what is missing counts again");
    harness.assert_nothing_left();
}

/// The last media address that b2b sent to a party, in an offer or answer.
fn told(harness: &Harness, address: &str) -> String {
    let to = address.parse().unwrap();
    let sent = harness.wire.iter().rev().filter(|it| it.to == to);
    let told = sent.map(|it| it.text()).find(|text| text.contains("m=audio"));
    let told = told.expect("a description");
    told.lines().find(|line| line.starts_with("c=")).unwrap().to_owned() + "\r\n"
}

#[test]
fn glare_ends_with_both_led_the_same_way() {
    for seed in 0..10 {
        let network = Network { delay_ms: (15, 25), seed, ..Network::QUIET };
        let (mut harness, (ann, a), (bob, b)) = connected(BridgeMode::Intercepting, network);
        let up_at = harness.now();
        hear(&mut harness, "198.51.100.7:4000", "203.0.113.9:4000");
        // Until b2b asks Bob, who changes the packet time at this moment.
        while !harness.wire.iter().any(|it| it.to == BOB.parse().unwrap() && it.text().contains(ANN_MEDIA)) {
            harness.run(Duration::from_millis(5));
            assert!(harness.now() - up_at < Duration::from_secs(10));
        }
        let now = harness.now();
        let changed = format!("{}a=ptime:30\r\n", bob_says());
        harness.endpoint(bob).reinvite(now, b, Some(Body::sdp(changed.clone()))).unwrap();
        for _ in 0..300 {
            harness.run(Duration::from_millis(100));
            for (party, usage, says) in [(ann, a, SESSION), (bob, b, changed.as_str())] {
                let asked = harness
                    .take(party)
                    .into_iter()
                    .any(|event| matches!(event, Event::Usage { event: UsageEvent::ReInvite { .. }, .. }));
                if asked {
                    harness.answer(party, usage, Some(says));
                }
            }
        }
        assert!(harness.wire.iter().any(|it| it.line().starts_with("SIP/2.0 491")), "seed {seed}: no glare");
        assert!(harness.is_up(ann, a) && harness.is_up(bob, b), "seed {seed}");
        let told = (told(&harness, ANN), told(&harness, BOB));
        assert_eq!((told.0.as_str(), told.1.as_str()), (BOB_MEDIA, ANN_MEDIA), "seed {seed}");
        harness.hang_up(ann, a);
        harness.assert_nothing_left();
    }
}
