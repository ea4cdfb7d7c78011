//! For some time, a party that was referred by a passed-on REFER may call with Replaces (RFC 3891 §3); other
//! parties may not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use b2b_call::bridge_fsm::BridgeMode;
use b2b_call::handler::{ApplicationHandler, HandlerAction, IncomingCall};
use b2b_call::resolver::ChainResolver;
use b2b_call::service::{CallService, DialOptions};
use b2b_call::switch::admission::{Admission, AdmissionControl, Caller, Fate};
use b2b_call::switch::{SwitchConfig, Turn};
use b2b_sip::endpoint::{Body, Event, Flow, Invite, Reply, Termination, UsageEvent};
use b2b_sip::msg::Request;
use b2b_testkit::{B2B, Handler, Harness, Network, SESSION};
use bytes::Bytes;

use crate::routed::{ANN, BOB, CAT, DAN, contacts};

/// Ann is a user; other parties are identified by their address.
struct Believing;

impl AdmissionControl for Believing {
    fn invite(&mut self, _: Instant, request: &Request, flow: &Flow) -> Admission {
        let from = request.from().ok().and_then(|from| from.uri.user);
        let identity = from.filter(|user| *user == b"ann").map(|_| "ann".to_owned());
        Admission::Accept(Box::new(Caller { identity, ..Caller::at(flow.remote) }))
    }

    fn request(&mut self, _: &mut Turn<'_>, _: &Request, _: &Flow) -> Fate {
        Fate::ReplyOnce(Reply::status(405))
    }
}

fn invite(from: &str, to: &str, headers: &[(&'static str, &str)]) -> Invite {
    let field = |(name, value): &(&'static str, &str)| (Bytes::from(*name), Bytes::from((*value).to_owned()));
    Invite {
        target: format!("sip:{to}@{B2B}").into(),
        from: Some(format!("<sip:{from}@phones.example>").into()),
        headers: headers.iter().map(field).collect(),
        body: Some(Body::sdp(SESSION)),
        ..Invite::default()
    }
}

#[test]
fn who_was_referred_takes_the_place_of_who_referred_them_in_time_and_by_name() {
    let by = ("Referred-By", "<sip:ann@phones.example>");
    for (who, name, waits, beside, wanted) in [
        (BOB, "bob", 1, Some(by), None),
        (BOB, "bob", 33, Some(by), Some(481)),
        (BOB, "bob", 1, None, Some(481)),
        (BOB, "bob", 1, Some(("Referred-By", "<sip:cat@phones.example>")), Some(481)),
        (DAN, "dan", 1, Some(by), Some(481)),
    ] {
        let handler = Handler(move |call: IncomingCall, _: CallService| async move {
            let address = if call.called() == "bob" { BOB } else { CAT };
            let options = DialOptions { mode: BridgeMode::Transparent, ..DialOptions::default() };
            HandlerAction::Dial(Box::new(contacts(&[(address, 0)], options)))
        });
        let handlers: Vec<Arc<dyn ApplicationHandler>> = vec![Arc::new(handler)];
        let resolver = Arc::new(ChainResolver::new(Vec::new()));
        let (admission, config) = (Box::new(Believing), SwitchConfig::default());
        let mut harness =
            Harness::with(Instant::now(), handlers, resolver, admission, config, Network::QUIET);
        let [ann, bob, cat, dan] = [ANN, BOB, CAT, DAN].map(|address| harness.party(address));
        let a = harness.invite(ann, invite("ann", "bob", &[]));
        let b = harness.answer_next(bob, SESSION);
        let consultation = harness.invite(ann, invite("ann", "cat", &[]));
        let c = harness.answer_next(cat, SESSION);
        assert!(harness.is_up(ann, a) && harness.is_up(ann, consultation));
        // Header fields other than Replaces are not passed on.
        harness.refer(ann, a, "<sip:cat@example.com?Route=%3Csip:192.0.2.9%3E&Subject=x>".to_owned());
        let at_bob = BOB.parse().unwrap();
        let asked = harness.take(bob).into_iter().find_map(|event| match event {
            Event::Usage { event: UsageEvent::Refer { refer, .. }, .. } => Some(refer),
            _ => None,
        });
        let now = harness.now();
        harness.endpoint(bob).answer_refer(now, b, asked.expect("a REFER"), Reply::status(202)).unwrap();
        harness.settle();
        let sent = harness.wire.iter().find(|it| it.to == at_bob && it.line().starts_with("REFER"));
        let sent = sent.expect("it goes across");
        assert_eq!(sent.field("Refer-To").as_deref(), Some("<sip:cat@example.com>"));
        assert!(sent.field("Referred-By").is_some_and(|by| by.starts_with("<sip:ann@")), "{}", sent.text());
        harness.run(Duration::from_secs(waits));
        let replaces = harness.replaces(ann, consultation).expect("a dialog");
        let replaces = replaces.to_string();
        let headers: Vec<_> = [("Replaces", &*replaces)].into_iter().chain(beside).collect();
        let asker = if who == BOB { bob } else { dan };
        let call = harness.invite(asker, invite(name, "cat", &headers));
        let refused = match harness.ended(asker, call) {
            Some(Termination::Failed { response }) => Some(response.status()),
            _ => None,
        };
        assert_eq!(refused, wanted, "{name} after {waits} s with {beside:?}");
        if wanted.is_none() {
            harness.answer(cat, c, Some(SESSION));
            assert!(harness.is_up(bob, call) && harness.is_up(cat, c));
            assert!(!harness.is_up(ann, consultation), "Ann's place is taken");
        } else {
            assert!(harness.is_up(ann, consultation) && harness.is_up(cat, c));
            assert_eq!(harness.counters().not_followed, 1);
        }
        assert!(harness.is_up(ann, a) && harness.is_up(bob, b));
    }
}
