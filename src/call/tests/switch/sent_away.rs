//! Commanded REFERs to parties, and their responses.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use b2b_call::LegId;
use b2b_call::bridge_fsm::BridgeMode;
use b2b_call::handler::{HandlerAction, IncomingCall};
use b2b_call::service::{CallService, ReferError, ReferOutcome, ReferRequest};
use b2b_sip::endpoint::{Event, ReferId, Reply, UsageEvent, UsageId};
use b2b_sip::msg::{Name, Request};
use b2b_testkit::{Handler, Harness, PartyId, SESSION};

use crate::routed::{ANN, BOB, CAT, uri};
use crate::transfers::{harness, told};

type Asks = Pin<Box<dyn Future<Output = Result<ReferOutcome, ReferError>>>>;

struct Talk {
    harness: Harness,
    ann: (PartyId, UsageId),
    bob: (PartyId, UsageId),
    /// Ann's leg.
    leg: LegId,
}

fn talk() -> Talk {
    let mut harness = harness(BridgeMode::Intercepting);
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = harness.call(ann, "bob", Some(SESSION));
    let b = harness.answer_next(bob, SESSION);
    harness.take(bob);
    let leg = harness.snapshot()[0].legs.iter().find(|leg| leg.contact.is_none()).unwrap().leg;
    Talk { harness, ann: (ann, a), bob: (bob, b), leg }
}

impl Talk {
    /// Commands the REFER; returns the one that Bob received.
    fn ask(&mut self, to: &str, headers: &[(&str, &str)]) -> (Asks, Option<(ReferId, Request)>) {
        let headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let (service, leg) = (self.harness.service(), self.leg);
        let request = ReferRequest { to: to.to_owned(), headers, own: false };
        self.ask_for(Box::pin(async move { service.refer(leg, request).await }))
    }

    fn ask_for(&mut self, mut asks: Asks) -> (Asks, Option<(ReferId, Request)>) {
        assert!(asks.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        self.harness.wait(Duration::from_secs(1), std::future::ready(()));
        self.harness.settle();
        let asked = self.harness.take(self.bob.0).into_iter().find_map(|event| match event {
            Event::Usage { event: UsageEvent::Refer { refer, request }, .. } => Some((refer, request)),
            _ => None,
        });
        (asks, asked)
    }

    fn answers(&mut self, refer: ReferId, status: u16) {
        let (now, (bob, b)) = (self.harness.now(), self.bob);
        self.harness.endpoint(bob).answer_refer(now, b, refer, Reply::status(status)).unwrap();
        self.harness.settle();
    }

    fn tells(&mut self, refer: ReferId, status: u16) {
        let (now, (bob, b)) = (self.harness.now(), self.bob);
        self.harness.endpoint(bob).notify_refer(now, b, refer, status, "").unwrap();
        self.harness.settle();
    }

    fn ended(&mut self, asks: Asks) -> Result<ReferOutcome, ReferError> {
        self.harness.wait(Duration::from_secs(400), asks)
    }

    fn both_are_up(&self) -> bool {
        self.harness.is_up(self.ann.0, self.ann.1) && self.harness.is_up(self.bob.0, self.bob.1)
    }

    fn has_ended(mut self) {
        self.harness.run(Duration::from_secs(40));
        assert!(!self.harness.is_up(self.ann.0, self.ann.1) && !self.harness.is_up(self.bob.0, self.bob.1));
        self.harness.assert_nothing_left();
    }

    fn ends(mut self) {
        self.harness.hang_up(self.ann.0, self.ann.1);
        self.has_ended();
    }
}

#[test]
fn a_party_that_has_gone_over_is_hung_up_with_who_is_left() {
    let mut talk = talk();
    let (asks, asked) = talk.ask("tel:+4930123", &[("X-Ticket", "4711")]);
    let (refer, request) = asked.expect("a REFER");
    let field = |name: &'static str| request.header(Name::parse(name.as_bytes())).map(<[u8]>::to_vec);
    assert_eq!(field("Refer-To").as_deref(), Some(&b"<tel:+4930123>"[..]));
    assert_eq!(field("X-Ticket").as_deref(), Some(&b"4711"[..]));
    let by = String::from_utf8(field("Referred-By").expect("who sends it")).unwrap();
    assert!(by.starts_with("<sip:party1@"), "{by}");
    talk.answers(refer, 202);
    talk.tells(refer, 180);
    assert!(talk.both_are_up(), "until it is known");
    talk.tells(refer, 200);
    assert_eq!(talk.ended(asks), Ok(ReferOutcome { status: 200, confirmed: true }));
    talk.has_ended();
}

#[test]
fn a_party_that_is_sent_away_is_transferred_by_nobody_else_meanwhile() {
    let mut talk = talk();
    let cat = talk.harness.party(CAT);
    let (asks, asked) = talk.ask("tel:+4930123", &[]);
    let (refer, _) = asked.expect("a REFER");
    talk.answers(refer, 202);
    let (ann, a) = talk.ann;
    talk.harness.take(ann);
    talk.harness.refer(ann, a, format!("<{}>", uri(CAT)));
    assert_eq!(told(&mut talk.harness, ann).0, Some(491));
    assert!(talk.harness.incoming(cat).is_empty(), "Bob is on the way elsewhere");
    talk.tells(refer, 486);
    assert_eq!(talk.ended(asks), Err(ReferError::Failed(486)));
    talk.harness.refer(ann, a, format!("<{}>", uri(CAT)));
    assert_eq!(told(&mut talk.harness, ann).0, Some(202), "Bob has stayed");
    let called = talk.harness.next_call(cat);
    talk.harness.reject(cat, called, 486);
    talk.ends();
}

#[test]
fn a_party_that_hangs_up_once_it_has_taken_a_refer_has_gone_over() {
    let mut talk = talk();
    let (asks, asked) = talk.ask("sip:cat@example.com", &[]);
    talk.answers(asked.expect("a REFER").0, 202);
    let (bob, b) = talk.bob;
    talk.harness.hang_up(bob, b);
    let outcome = talk.ended(asks).expect("as far as can be seen");
    assert!(!outcome.confirmed && [100, 202].contains(&outcome.status), "{outcome:?}");
    talk.has_ended();
}

#[test]
fn a_party_that_refuses_or_fails_stays_in_its_call() {
    for (answer, told, error) in [
        (501, None, ReferError::Refused(501)),
        (202, Some(486), ReferError::Failed(486)),
        // No further response arrives.
        (202, None, ReferError::Unknown),
    ] {
        let mut talk = talk();
        let (asks, asked) = talk.ask("sip:cat@example.com", &[]);
        let (refer, _) = asked.expect("a REFER");
        talk.answers(refer, answer);
        if let Some(told) = told {
            talk.tells(refer, told);
        }
        assert_eq!(talk.ended(asks), Err(error));
        assert!(talk.both_are_up(), "{answer} {told:?}");
        let (_again, asked) = talk.ask("sip:cat@example.com", &[]);
        assert!(asked.is_some(), "it may be asked again");
        talk.ends();
    }
}

#[test]
fn a_party_whose_leg_ends_otherwise_has_not_gone_over() {
    let mut talk = talk();
    let (asks, asked) = talk.ask("sip:cat@example.com", &[]);
    talk.answers(asked.expect("a REFER").0, 202);
    // The remaining party hangs up, which ends the call.
    let (ann, a) = talk.ann;
    talk.harness.hang_up(ann, a);
    assert_eq!(talk.ended(asks), Err(ReferError::Gone));
    talk.has_ended();
}

#[test]
fn a_party_that_will_not_tell_is_not_waited_for() {
    let mut talk = talk();
    let (asks, asked) = talk.ask("sip:cat@example.com", &[]);
    let (now, (bob, b)) = (talk.harness.now(), talk.bob);
    // RFC 4488 §4.
    let silent = Reply { headers: vec![("Refer-Sub".into(), "false".into())], ..Reply::status(202) };
    talk.harness.endpoint(bob).answer_refer(now, b, asked.expect("a REFER").0, silent).unwrap();
    talk.harness.settle();
    assert_eq!(talk.ended(asks), Err(ReferError::Unknown));
    assert!(talk.both_are_up());
    talk.ends();
}

#[test]
fn a_party_is_sent_to_one_place_at_a_time() {
    let mut talk = talk();
    let (first, asked) = talk.ask("sip:cat@example.com", &[]);
    assert!(asked.is_some());
    let (second, asked) = talk.ask("sip:dan@example.com", &[]);
    assert!(asked.is_none());
    assert!(matches!(talk.ended(second), Err(ReferError::WrongState(_))));
    let service = talk.harness.service();
    let transferred = talk.harness.wait(Duration::from_secs(1), service.transfer(talk.leg, "sip:cat@h"));
    assert!(transferred.is_err(), "nor is it transferred from here meanwhile");
    drop(first);
    talk.ends();
}

#[test]
fn a_party_with_an_application_goes_by_its_own_wish_and_never_in_the_place_of_a_partner() {
    let handler = Handler(|call: IncomingCall, service: CallService| async move {
        service.answer(call.leg).await.expect("an answer");
        service.sleep(Duration::from_secs(600)).await.expect("time");
        HandlerAction::Complete
    });
    let mut harness = Harness::new(Instant::now(), vec![Arc::new(handler)]);
    let ann = harness.party(ANN);
    let a = harness.call(ann, "app", Some(SESSION));
    harness.take(ann);
    let leg = harness.snapshot()[0].legs[0].leg;
    let mut talk = Talk { harness, ann: (ann, a), bob: (ann, a), leg };
    // The intended partner may have just hung up.
    let (asks, asked) = talk.ask("tel:+4930123", &[]);
    assert!(asked.is_none());
    assert!(matches!(talk.ended(asks), Err(ReferError::WrongState(_))));
    let service = talk.harness.service();
    let request = ReferRequest { to: "tel:+4930123".to_owned(), own: true, headers: Vec::new() };
    let (asks, asked) = talk.ask_for(Box::pin(async move { service.refer(leg, request).await }));
    talk.answers(asked.expect("a REFER").0, 202);
    talk.harness.hang_up(ann, a);
    assert!(talk.ended(asks).is_ok_and(|it| !it.confirmed));
    talk.has_ended();
}

#[test]
fn what_no_refer_can_say_is_refused_at_once() {
    let mut talk = talk();
    let (asks, asked) = talk.ask("gateway/carrier/+4930", &[]);
    assert!(asked.is_none());
    assert_eq!(talk.ended(asks), Err(ReferError::BadTarget("gateway/carrier/+4930".to_owned())));
    let (asks, asked) = talk.ask("sip:cat@example.com", &[("Via", "SIP/2.0/UDP h")]);
    assert!(asked.is_none());
    assert_eq!(talk.ended(asks), Err(ReferError::BadHeader("Via".to_owned())));
    talk.ends();
}
