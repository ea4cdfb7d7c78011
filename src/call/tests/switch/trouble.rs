//! Failures between two parties: glare, loops, lost media, a join that fails.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use b2b_call::bridge_fsm::BridgeMode;
use b2b_call::controller::{EndpointId, MediaEvent};
use b2b_call::handler::{ApplicationHandler, HandlerAction, IncomingCall};
use b2b_call::lookup::{LookupFuture, LookupKind, LookupRequest, LookupResult, ResolvedContact, Resolver};
use b2b_call::service::{CallService, DialOptions, DialRequest};
use b2b_call::switch::SwitchConfig;
use b2b_call::switch::admission::AdmitAll;
use b2b_sip::endpoint::{Body, Event, Invite, UsageEvent};
use b2b_testkit::{Handler, Harness, Network, SESSION, Sent};
use tokio::sync::oneshot;

use crate::hand::{answered, asked, calling, last};
use crate::routed::{ANN, BOB, CAT, contacts, routed, to_bob, uri};
use crate::transfers;

/// Every message of this method or status from b2b to an address.
fn told<'a>(harness: &'a Harness, start: &str, address: &str) -> Vec<&'a Sent> {
    let address = address.parse().expect("an address");
    harness.wire.iter().filter(|it| it.to == address && it.line().starts_with(start)).collect()
}

#[test]
fn reinvites_that_cross_get_491_and_whoever_waits_longer_gives_way() {
    let mut harness = to_bob();
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = harness.call(ann, "bob", Some(SESSION));
    let b = harness.answer_next(bob, SESSION);
    harness.take(ann);
    harness.take(bob);
    harness.wire.clear();
    let now = harness.now();
    let (from_ann, from_bob) = (format!("{SESSION}a=sendonly\r\n"), format!("{SESSION}a=ptime:30\r\n"));
    harness.endpoint(ann).reinvite(now, a, Some(Body::sdp(from_ann))).unwrap();
    harness.endpoint(bob).reinvite(now, b, Some(Body::sdp(from_bob))).unwrap();
    let (mut asked, mut answered, mut given_way) = ([0, 0], [0, 0], [0, 0]);
    for _ in 0..300 {
        harness.run(Duration::from_millis(100));
        for (end, (party, usage)) in [(ann, a), (bob, b)].into_iter().enumerate() {
            for event in harness.take(party) {
                match event {
                    Event::Usage { event: UsageEvent::ReInvite { .. }, .. } => {
                        asked[end] += 1;
                        harness.answer(party, usage, Some(SESSION));
                    }
                    Event::Usage { event: UsageEvent::ReInviteAnswered { .. }, .. } => answered[end] += 1,
                    Event::Usage { event: UsageEvent::ReInviteFailed { status, .. }, .. } => {
                        assert_eq!(status, 491);
                        given_way[end] += 1;
                    }
                    _ => {}
                }
            }
        }
    }
    let refused: usize = [ANN, BOB].iter().map(|it| told(&harness, "SIP/2.0 491", it).len()).sum();
    assert!(refused > 0, "no glare");
    // An offer without a 200 had to give way to the other party's change.
    assert_eq!(answered[0] + given_way[0], 1);
    assert_eq!(answered[1] + given_way[1], 1);
    assert!(answered[0] + answered[1] >= 1);
    assert_eq!((asked[1], asked[0]), (answered[0], answered[1]));
    let second = |address: &str| {
        let address = address.parse().expect("an address");
        let invites = harness.wire.iter().filter(|it| it.from == address && it.line().starts_with("INVITE"));
        invites.map(|it| it.at).nth(1)
    };
    // §14.1: 2.1 to 4 s for the owner of the Call-ID, up to 2 s for the other.
    let began = harness.wire[0].at;
    if let Some(at) = second(ANN) {
        assert!((2_100..5_000).contains(&(at - began).as_millis()), "{at:?}");
    }
    assert!(second(BOB).is_none_or(|at| (at - began).as_millis() < 2_100));
    assert!(harness.is_up(ann, a) && harness.is_up(bob, b));
    harness.hang_up(ann, a);
    harness.assert_nothing_left();
}

#[test]
fn a_callees_answer_without_a_readable_route_is_a_bad_gateway() {
    let (mut harness, _ann, bob) = calling(SESSION, "");
    let invite = last(&harness, BOB, "INVITE");
    bob.says(&mut harness, &invite, "200 OK", "Record-Route: <sip:proxy.example;lr\r\n", SESSION);
    harness.run(Duration::from_secs(1));
    assert_eq!(answered(&harness, ANN, "INVITE").last(), Some(&502));
    assert_eq!(asked(&harness, BOB), ["INVITE", "ACK", "BYE"]);
    harness.assert_nothing_left();
}

#[test]
fn a_call_that_leads_to_itself_ends_after_one_round() {
    let mut harness = routed(DialRequest::to("sip:round@192.0.2.1:5060"));
    // The loop mark is derived from a secret, and the refusal belongs to no call.
    harness.has_no_replay();
    let ann = harness.party(ANN);
    let a = harness.call(ann, "bob", Some(SESSION));
    harness.run(Duration::from_secs(1));
    assert!(harness.ended(ann, a).is_some());
    let b2b = b2b_testkit::B2B;
    assert_eq!(told(&harness, "INVITE", b2b).len(), 3, "Ann's, the first round, and the one that is known");
    assert!(!told(&harness, "SIP/2.0 482", b2b).is_empty());
    harness.assert_nothing_left();
}

#[test]
fn every_call_takes_a_hop_off() {
    for (theirs, ours) in [(70, Some("69")), (1, Some("0")), (0, None)] {
        let mut harness = to_bob();
        let (ann, bob) = (harness.party(ANN), harness.party(BOB));
        let invite = Invite {
            target: "sip:bob@192.0.2.1:5060".into(),
            max_forwards: Some(theirs),
            body: Some(Body::sdp(SESSION)),
            ..Invite::default()
        };
        let a = harness.invite(ann, invite);
        let sent = told(&harness, "INVITE", BOB).first().and_then(|it| it.field("Max-Forwards"));
        assert_eq!(sent.as_deref(), ours);
        match ours {
            Some(_) if theirs > 1 => {
                harness.answer_next(bob, SESSION);
                harness.hang_up(ann, a);
            }
            Some(_) => {}
            None => assert_eq!(told(&harness, "SIP/2.0 483", ANN).len(), 1),
        }
        harness.assert_nothing_left();
    }
}

#[test]
fn legs_whose_media_is_lost_end_answered_or_not_and_no_other_call_does() {
    let mut harness = to_bob();
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = harness.call(ann, "bob", Some(SESSION));
    let b = harness.answer_next(bob, SESSION);
    let stays = harness.call(ann, "bob", Some(SESSION));
    let stays_too = harness.answer_next(bob, SESSION);
    // Also a call that rings.
    let rings = harness.call(ann, "bob", Some(SESSION));
    let held = harness.media().held();
    assert_eq!(held, 6);
    harness.wire.clear();
    harness.media().run_out_of_ports();
    for endpoint in [1, 5] {
        let reason = "the media server is gone".to_owned();
        harness.media_event(MediaEvent::Failed { endpoint: EndpointId(endpoint), reason });
    }
    harness.settle();
    assert_eq!(told(&harness, "BYE", ANN).len(), 1);
    assert_eq!(told(&harness, "BYE", BOB).len(), 1);
    assert_eq!(told(&harness, "SIP/2.0 503", ANN).len(), 1);
    assert_eq!(told(&harness, "CANCEL", BOB).len(), 1);
    assert!(!harness.is_up(ann, a) && !harness.is_up(bob, b) && !harness.is_up(ann, rings));
    assert!(harness.is_up(ann, stays) && harness.is_up(bob, stays_too));
    assert_eq!(harness.media().held(), 2);
    // A second report of the same failure has no effect.
    harness.media_event(MediaEvent::Failed { endpoint: EndpointId(1), reason: String::new() });
    harness.hang_up(ann, stays);
    harness.assert_nothing_left();
}

#[test]
fn a_ringing_branch_that_loses_its_media_is_cancelled_and_the_next_one_called() {
    let handler = Handler(move |_: IncomingCall, _: CallService| async move {
        HandlerAction::Dial(Box::new(contacts(&[(BOB, 0), (CAT, 1)], DialOptions::default())))
    });
    let mut harness = Harness::new(Instant::now(), vec![Arc::new(handler)]);
    let (ann, bob, cat) = (harness.party(ANN), harness.party(BOB), harness.party(CAT));
    let a = harness.call(ann, "bob", Some(SESSION));
    let b = harness.next_call(bob);
    harness.ring(bob, b, 180, None);
    let reason = "the media server is gone".to_owned();
    harness.media_event(MediaEvent::Failed { endpoint: EndpointId(2), reason });
    let c = harness.answer_next(cat, SESSION);
    assert!(harness.ended(bob, b).is_some());
    harness.hang_up(cat, c);
    assert!(!harness.is_up(ann, a));
    harness.assert_nothing_left();
}

/// Resolves a target once the test allows it.
struct Slow(Mutex<Vec<oneshot::Receiver<()>>>);

impl Resolver for Slow {
    fn name(&self) -> &str {
        "slow"
    }

    fn lookup<'a>(&'a self, request: &'a LookupRequest) -> LookupFuture<'a> {
        let gate = self.0.lock().unwrap().pop();
        Box::pin(async move {
            if let Some(gate) = gate {
                let _ = gate.await;
            }
            let contact = ResolvedContact::new(request.target.clone(), 0);
            Ok(Some(LookupResult::new(LookupKind::Direct, &request.target, vec![contact])))
        })
    }
}

#[test]
fn what_a_lookup_finds_is_dialled_by_nobody_else_once_its_dialling_was_stopped() {
    let (open, gates): (Vec<_>, Vec<_>) = (0..2).map(|_| oneshot::channel()).unzip();
    let program = |call: IncomingCall, service: CallService| async move {
        service.adopt_inbound_leg(&call).await.unwrap();
        service.answer(call.leg).await.unwrap();
        let dialled = service.dial_and_bridge(call.leg, DialRequest::to("sip:first@192.0.2.13"));
        let (dialled, stopped) = tokio::join!(dialled, service.stop_dialling(call.leg));
        assert!(dialled.is_err() && stopped.is_ok());
        service.dial_and_bridge(call.leg, DialRequest::to("sip:second@192.0.2.12")).await.unwrap();
        HandlerAction::Complete
    };
    let slow = Arc::new(Slow(Mutex::new(gates)));
    let config = SwitchConfig::default();
    let handlers: Vec<Arc<dyn ApplicationHandler>> = vec![Arc::new(Handler(program))];
    let mut harness =
        Harness::with(Instant::now(), handlers, slow, Box::new(AdmitAll), config, Network::QUIET);
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = harness.call(ann, "x", Some(SESSION));
    let [second, first]: [oneshot::Sender<()>; 2] = open.try_into().unwrap();
    first.send(()).unwrap();
    harness.run(Duration::from_secs(1));
    assert!(told(&harness, "INVITE", "192.0.2.13:5060").is_empty(), "nobody dials the first one any more");
    assert_eq!(harness.counters().late, 1);
    second.send(()).unwrap();
    harness.run(Duration::from_secs(1));
    harness.answer_next(bob, SESSION);
    assert!(harness.is_up(ann, a));
    harness.hang_up(ann, a);
    harness.assert_nothing_left();
}

#[test]
fn a_transfer_target_that_answers_while_its_partner_is_being_hung_up_is_hung_up_too() {
    let mut harness = transfers::harness(BridgeMode::Intercepting);
    let (ann, bob, cat) = (harness.party(ANN), harness.party(BOB), harness.party(CAT));
    let a = harness.call(ann, "bob", Some(SESSION));
    harness.answer_next(bob, SESSION);
    harness.take(ann);
    harness.refer(ann, a, format!("<{}>", uri(CAT)));
    let c = harness.next_call(cat);
    // Bob's host is down, so his leg is ending until its BYE times out.
    harness.kill(bob);
    let is_bob = |contact: &Option<String>| contact.as_ref().is_some_and(|it| it.contains(BOB));
    let leg = harness.snapshot()[0].legs.iter().find(|leg| is_bob(&leg.contact)).expect("Bob's leg").leg;
    let service = harness.service();
    harness.wait(Duration::from_secs(1), service.hangup(leg)).expect("a BYE to Bob");
    harness.answer(cat, c, Some(SESSION));
    harness.run(Duration::from_secs(3));
    let (answered, progress) = transfers::told(&mut harness, ann);
    assert_eq!((answered, progress.last()), (Some(202), Some(&(503, true))), "{progress:?}");
    assert!(!harness.is_up(cat, c) && !harness.is_up(ann, a));
    assert_eq!(told(&harness, "BYE", CAT).len(), 1);
    assert!(harness.media().bridges().is_empty());
    // Timer F (RFC 3261 §17.1.2.2) ends Bob's leg.
    harness.run(Duration::from_secs(33));
    harness.assert_nothing_left();
}
