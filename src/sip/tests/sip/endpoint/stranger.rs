//! Responses to strangers: once or not at all, without keeping state.

use std::time::Duration;

use b2b_sip::endpoint::{
    Body, CommandError, EndpointConfig, Event, Reply, Termination, Transport, UsageEvent,
};
use b2b_sip::msg::Method;

use super::pair::{A, B, Hand, Network, Pair, config, field};

fn server() -> Pair {
    let accepting = EndpointConfig { outside: vec![Method::Register], ..config(2) };
    Pair::with(Network::QUIET, [config(1), accepting], ["192.0.2.1:5060", "192.0.2.2:5060"])
}

#[test]
fn a_refusal_once_is_not_sent_again_and_leaves_nothing_behind() {
    let mut pair = server();
    let invite = Hand::invite();
    pair.hand(&invite);
    let usage = pair.incoming();
    let now = pair.now;
    let headers = vec![("Proxy-Authenticate".into(), "Digest realm=\"r\"".into())];
    pair.ends[B].refuse_once(now, usage, Reply { headers, ..Reply::status(407) }).unwrap();
    pair.flush();
    let held = pair.ends[B].holdings();
    assert_eq!((held.server_transactions, held.usages, held.map_entries), (0, 0, 0), "{held:?}");
    let refusal = pair.last(B, "SIP/2.0 407");
    assert!(refusal.contains("Proxy-Authenticate: Digest realm=\"r\""), "{refusal}");
    // Without an ACK, a forged address gets nothing more.
    pair.run(Duration::from_secs(60));
    assert_eq!(pair.sent(B, "SIP/2.0 ").len(), 1);
    let ended = pair.take(B);
    let rejected = Termination::Rejected { status: 407 };
    assert!(
        matches!(&ended[..], [Event::Usage { event: UsageEvent::Terminated { cause }, .. }]
            if format!("{cause:?}") == format!("{rejected:?}")),
        "{ended:?}"
    );
    // If the response was lost, the INVITE is sent again, and its ACK matches nothing.
    pair.hand(&invite);
    let again = pair.incoming();
    assert_ne!(again, usage);
    pair.hand(&invite.next("ACK", 1, &refusal));
    assert_eq!(pair.ends[B].counters().stray_acks, 1);
}

#[test]
fn an_ignored_invite_and_an_ignored_request_get_no_answer_and_leave_nothing_behind() {
    let mut pair = server();
    pair.hand(&Hand::invite());
    let usage = pair.incoming();
    let now = pair.now;
    pair.ends[B].ignore(now, usage).unwrap();
    pair.hand(&Hand { method: "REGISTER", branch: "z9hG4bKr".into(), call_id: "r".into(), ..Hand::invite() });
    let events = pair.take(B);
    let Some(Event::Request { transaction, .. }) = events.last() else { panic!("{events:?}") };
    pair.ends[B].ignore_request(*transaction);
    pair.run(Duration::from_secs(60));
    assert_eq!(pair.sent(B, "SIP/2.0 ").len(), 0);
    assert_eq!(pair.ends[B].counters().ignored, 2);
    pair.assert_nothing_left();
}

#[test]
fn an_answer_once_is_kept_for_nobody() {
    let mut pair = server();
    let register =
        Hand { method: "REGISTER", branch: "z9hG4bKr".into(), call_id: "r".into(), ..Hand::invite() };
    for answered in 1..=2 {
        pair.hand(&register);
        let events = pair.take(B);
        let Some(Event::Request { transaction, .. }) = events.last() else { panic!("{events:?}") };
        let now = pair.now;
        pair.ends[B].respond_once(now, *transaction, Reply::status(401)).unwrap();
        pair.flush();
        assert_eq!(pair.sent(B, "SIP/2.0 401").len(), answered);
        let held = pair.ends[B].holdings();
        assert_eq!((held.server_transactions, held.map_entries), (0, 0), "{held:?}");
    }
}

#[test]
fn a_call_that_is_up_cannot_be_ignored() {
    let mut pair = server();
    pair.hand(&Hand::invite());
    let usage = pair.incoming();
    let now = pair.now;
    pair.ends[B].answer(now, usage, Some(Body::sdp("answer"))).unwrap();
    assert!(matches!(pair.ends[B].ignore(now, usage), Err(CommandError::WrongState(_))));
    assert!(matches!(
        pair.ends[B].refuse_once(now, usage, Reply::status(403)),
        Err(CommandError::WrongState(_))
    ));
}

#[test]
fn a_keep_alive_is_two_line_ends() {
    let mut pair = server();
    let flow = pair.flow(A, Transport::Udp);
    assert!(pair.ends[A].keep_alive(flow));
    pair.flush();
    assert_eq!(pair.wire.last().map(|sent| sent.text()).as_deref(), Some("\r\n\r\n"));
}

#[test]
fn who_takes_registrations_says_so_outside_of_calls_only() {
    let mut pair = server();
    pair.hand(&Hand { method: "OPTIONS", branch: "z9hG4bKo".into(), call_id: "o".into(), ..Hand::invite() });
    let ok = pair.last(B, "SIP/2.0 200");
    assert!(field(&ok, "Allow").ends_with(", REGISTER"), "{ok}");
    pair.hand(&Hand::invite());
    let usage = pair.incoming();
    let now = pair.now;
    pair.ends[B].answer(now, usage, Some(Body::sdp("answer"))).unwrap();
    pair.flush();
    let ok = pair.last(B, "SIP/2.0 200");
    assert!(field(&ok, "Allow").contains("INVITE") && !field(&ok, "Allow").contains("REGISTER"), "{ok}");
}
