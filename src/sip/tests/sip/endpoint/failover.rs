//! Several addresses of one name (RFC 3263 §4.3), and ICMP, with a single endpoint.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use b2b_sip::endpoint::{
    Body, Endpoint, EndpointConfig, Event, Flow, FlowId, Input, Invite, OutOfDialog, Output, Termination,
    Transport, UsageEvent, UsageId,
};
use b2b_sip::msg::{Limits, Message, Method};
use bytes::Bytes;

use super::hand::{field, reply};

pub const FIRST: &str = "192.0.2.11:5060";
pub const SECOND: &str = "192.0.2.12:5060";

/// An endpoint for which every name has the same two addresses.
pub struct One {
    pub endpoint: Endpoint,
    pub now: Instant,
    /// Destinations and messages.
    pub sent: Vec<(SocketAddr, String)>,
    pub events: Vec<Event>,
    /// The flow of the last message.
    pub by: Option<Flow>,
}

impl One {
    pub fn new() -> Self {
        let endpoint = Endpoint::new(EndpointConfig::new([3; 32]));
        let mut one = One { endpoint, now: Instant::now(), sent: Vec::new(), events: Vec::new(), by: None };
        one.reaches_all_but(&[]);
        one
    }

    /// No socket leads to these addresses.
    pub fn reaches_all_but(&mut self, closed: &[&str]) {
        let closed: Vec<SocketAddr> = closed.iter().map(|it| it.parse().unwrap()).collect();
        self.endpoint.set_udp(move |remote, _| (!closed.contains(&remote)).then(|| One::flow(remote)));
    }

    pub fn flow(remote: SocketAddr) -> Flow {
        One::flow_by(Transport::Udp, remote)
    }

    pub fn flow_by(transport: Transport, remote: SocketAddr) -> Flow {
        Flow { transport, local: "192.0.2.1:5060".parse().unwrap(), remote, id: FlowId(0) }
    }

    pub fn input(&mut self, input: Input) {
        self.endpoint.handle_input(self.now, input);
        self.flush();
    }

    pub fn flush(&mut self) {
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Event(event) => self.events.push(event),
                Output::KeepAlive { .. } => {}
                Output::Transmit { flow, data } => {
                    self.by = Some(flow);
                    self.sent.push((flow.remote, String::from_utf8_lossy(&data).into_owned()));
                }
                Output::Connect { connect, remote, transport, .. } => {
                    let flow = One::flow_by(transport, remote);
                    self.endpoint.handle_input(self.now, Input::Connected { connect, flow });
                }
                Output::Resolve { resolve, .. } => {
                    let targets = [FIRST, SECOND].map(|at| (Transport::Udp, at.parse().unwrap())).to_vec();
                    self.endpoint.handle_input(self.now, Input::Resolved { resolve, targets });
                }
            }
        }
    }

    pub fn dial(&mut self) -> UsageId {
        let target = "sip:far@example.com".into();
        let invite = Invite { target, body: Some(Body::sdp("offer")), ..Invite::default() };
        let usage = self.endpoint.invite(self.now, invite).unwrap();
        self.flush();
        usage
    }

    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.endpoint.next_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.input(Input::Timeout);
        }
        self.now = end;
    }

    /// The last message with this method, and its destination.
    pub fn last(&self, method: &str) -> (String, String) {
        let last = self.sent.iter().rev().find(|(_, text)| text.starts_with(method));
        let (to, text) = last.unwrap_or_else(|| panic!("no {method} was sent"));
        (to.to_string(), text.clone())
    }

    pub fn answer(&mut self, request: &str, status: &str, extra: &str) {
        let from = self.sent.iter().rev().find(|(_, text)| text == request).unwrap().0;
        let extra = format!("{extra}Content-Length: 0\r\n");
        self.input(Input::Datagram { flow: One::flow(from), data: reply(request, status, "far", &extra) });
    }

    pub fn ended(&mut self) -> Option<Termination> {
        std::mem::take(&mut self.events).into_iter().find_map(|event| match event {
            Event::Usage { event: UsageEvent::Terminated { cause }, .. } => Some(cause),
            _ => None,
        })
    }

    pub fn assert_nothing_is_held(&mut self) {
        self.pass(Duration::from_secs(120));
        let held = self.endpoint.holdings();
        assert_eq!((held.client_transactions, held.usages, held.waiting), (0, 0, 0), "{held:?}");
    }
}

#[test]
fn an_invite_without_an_answer_goes_to_the_next_address_as_a_new_transaction() {
    let mut one = One::new();
    one.dial();
    let (to, first) = one.last("INVITE");
    assert_eq!(to, FIRST);
    one.pass(Duration::from_millis(3_900));
    assert_eq!(one.last("INVITE").0, FIRST);
    one.pass(Duration::from_millis(200));
    let (to, second) = one.last("INVITE");
    assert_eq!(to, SECOND);
    for name in ["From", "To", "Call-ID", "CSeq", "Contact"] {
        assert_eq!(field(&first, name), field(&second, name));
    }
    assert_ne!(field(&first, "Via"), field(&second, "Via"), "a branch of its own");
    assert!(one.ended().is_none());
    one.answer(&second, "486 Busy Here", "");
    assert!(matches!(one.ended(), Some(Termination::Failed { response }) if response.status() == 486));
    assert_eq!(one.last("ACK").0, SECOND);
    one.assert_nothing_is_held();
}

#[test]
fn a_503_sends_a_call_to_the_next_address_and_is_tried_last_for_as_long_as_it_asks() {
    let mut one = One::new();
    one.dial();
    let (_, first) = one.last("INVITE");
    one.answer(&first, "180 Ringing", "Contact: <sip:far@192.0.2.11>\r\n");
    one.answer(&first, "503 Service Unavailable", "Retry-After: 300 (a while)\r\n");
    assert_eq!(one.last("ACK").0, FIRST);
    let (to, second) = one.last("INVITE");
    assert_eq!(to, SECOND);
    one.answer(&second, "180 Ringing", "Contact: <sip:far@192.0.2.12>\r\n");
    // The first transaction ends while the second one continues.
    one.pass(Duration::from_secs(40));
    one.answer(&second, "200 OK", "Contact: <sip:far@192.0.2.12>\r\n");
    assert_eq!(one.last("ACK").0, SECOND);
    let answered = |event: &Event| matches!(event, Event::Usage { event: UsageEvent::Answered { .. }, .. });
    assert_eq!(one.events.iter().filter(|event| answered(event)).count(), 1);

    // Longer than without Retry-After.
    one.pass(Duration::from_secs(80));
    one.dial();
    assert_eq!(one.last("INVITE").0, SECOND, "the other one wants to be left alone");
    one.pass(Duration::from_secs(220));
    one.dial();
    assert_eq!(one.last("INVITE").0, FIRST, "not for ever");
}

#[test]
fn who_hangs_up_meanwhile_calls_nobody_else() {
    let mut one = One::new();
    let usage = one.dial();
    one.endpoint.cancel(one.now, usage).unwrap();
    one.pass(Duration::from_secs(33));
    assert!(matches!(one.ended(), Some(Termination::LocalCancel)));
    let usage = one.dial();
    let (_, invite) = one.last("INVITE");
    one.answer(&invite, "100 Trying", "");
    one.endpoint.cancel(one.now, usage).unwrap();
    one.flush();
    one.answer(&invite, "503 Service Unavailable", "");
    assert!(matches!(one.ended(), Some(Termination::LocalCancel)));
    let called = |sent: &(SocketAddr, String)| sent.1.starts_with("INVITE");
    let places: std::collections::BTreeSet<SocketAddr> =
        one.sent.iter().filter(|sent| called(sent)).map(|sent| sent.0).collect();
    // The second call went to the address that had not failed in the first one.
    assert_eq!(places.len(), 2);
    one.assert_nothing_is_held();
}

#[test]
fn when_all_addresses_fail_the_last_failure_is_told() {
    let mut one = One::new();
    one.dial();
    for _ in 0..2 {
        let (_, invite) = one.last("INVITE");
        one.answer(&invite, "503 Service Unavailable", "");
    }
    assert!(matches!(one.ended(), Some(Termination::Failed { response }) if response.status() == 503));
    one.reaches_all_but(&[FIRST, SECOND]);
    one.dial();
    assert!(matches!(one.ended(), Some(Termination::Unreachable)));
    one.assert_nothing_is_held();
}

#[test]
fn an_address_that_cannot_be_connected_to_is_passed_over() {
    let mut one = One::new();
    one.reaches_all_but(&[FIRST]);
    one.dial();
    assert_eq!(one.last("INVITE").0, SECOND);
}

#[test]
fn requests_outside_of_calls_go_to_the_next_address_too() {
    let mut one = One::new();
    one.endpoint.request_outside(one.now, OutOfDialog::new(Method::Options, "sip:example.com")).unwrap();
    one.flush();
    let (to, first) = one.last("OPTIONS");
    assert_eq!(to, FIRST);
    one.answer(&first, "503 Service Unavailable", "");
    let (to, second) = one.last("OPTIONS");
    assert_eq!(to, SECOND);
    one.answer(&second, "200 OK", "");
    let answers: Vec<_> = one.events.iter().filter(|it| matches!(it, Event::Response { .. })).collect();
    let [Event::Response { result: Ok(response), .. }] = answers[..] else { panic!("{answers:?}") };
    assert_eq!(response.status(), 200);
    one.assert_nothing_is_held();
}

#[test]
fn icmp_ends_the_request_that_it_quotes_and_no_other() {
    let mut one = One::new();
    one.reaches_all_but(&[SECOND]);
    one.dial();
    let (to, invite) = one.last("INVITE");
    let to: SocketAddr = to.parse().unwrap();
    let report = |one: &mut One, remote: SocketAddr, quoted: &str| {
        let quoted = Bytes::copy_from_slice(quoted.as_bytes());
        one.input(Input::Undelivered { flow: One::flow(remote), quoted });
    };
    let via = field(&invite, "Via").to_owned();
    let branch = via.split_once("branch=").unwrap().1.split(';').next().unwrap();
    let forged = invite.replace(branch, &format!("z9hG4bK00{}{}", "00000000", "0".repeat(16)));
    report(&mut one, to, &forged);
    report(&mut one, to, &invite[..40]);
    report(&mut one, to, "");
    report(&mut one, "192.0.2.66:5060".parse().unwrap(), &invite);
    assert!(one.ended().is_none(), "who does not know the branch ends nothing");
    report(&mut one, to, &invite[..invite.len().min(500)]);
    assert!(matches!(one.ended(), Some(Termination::Unreachable)));
    one.assert_nothing_is_held();
}

/// RFC 3261 §18.1.1: whatever happens to TCP, the URI asked for UDP.
#[test]
fn a_large_invite_whose_connection_breaks_goes_by_udp() {
    let mut one = One::new();
    let target = "sip:far@192.0.2.11".into();
    let body = Some(Body::sdp("x".repeat(1_500)));
    one.endpoint.invite(one.now, Invite { target, body, ..Invite::default() }).unwrap();
    one.flush();
    let by = one.by.unwrap();
    assert_eq!(by.transport, Transport::Tcp);
    one.input(Input::FlowClosed { flow: by });
    assert_eq!(one.by.unwrap().transport, Transport::Udp);
    assert!(one.ended().is_none());
    let (to, invite) = one.last("INVITE");
    assert_eq!(to, FIRST);
    assert!(field(&invite, "Via").starts_with("SIP/2.0/UDP "), "{invite}");
    one.answer(&invite, "486 Busy Here", "");
    assert!(matches!(one.ended(), Some(Termination::Failed { .. })));
    one.assert_nothing_is_held();
}

/// Ann is called at whichever address answers first, and hangs up.
fn talk(one: &mut One) -> UsageId {
    let usage = one.dial();
    let (at, invite) = one.last("INVITE");
    one.answer(&invite, "200 OK", &format!("Contact: <sip:far@{at}>\r\n"));
    usage
}

#[test]
fn an_address_that_left_a_bye_unanswered_is_tried_last_by_the_next_invite() {
    let mut one = One::new();
    let usage = talk(&mut one);
    let (first, _) = one.last("INVITE");
    one.endpoint.bye(one.now, usage).unwrap();
    one.flush();
    assert_eq!(one.last("BYE").0, first);
    one.pass(Duration::from_secs(33));
    assert!(matches!(one.ended(), Some(Termination::ByeUnanswered)));
    one.dial();
    let (second, invite) = one.last("INVITE");
    assert_ne!(second, first, "nothing came from there");
    one.answer(&invite, "486 Busy Here", "");
    // Not for ever.
    one.pass(Duration::from_secs(120));
    one.dial();
    assert_eq!(one.last("INVITE").0, first);
}

#[test]
fn a_response_whose_connection_is_gone_goes_by_the_way_of_its_call() {
    for (tls, listener) in [(None, None), (Some("carrier"), Some("wan"))] {
        let mut one = One::new();
        let flow = One::flow_by(Transport::Tls, FIRST.parse().unwrap());
        let invite = format!(
            "INVITE sip:b@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/TLS {FIRST};branch=z9hG4bKa\r\nMax-Forwards: 70\r\n\
             From: <sip:a@{FIRST}>;tag=a\r\nTo: <sip:b@192.0.2.1>\r\nCall-ID: a\r\nCSeq: 1 INVITE\r\n\
             Contact: <sip:a@{FIRST};transport=tls>\r\nContent-Length: 0\r\n\r\n"
        );
        let message = Message::parse(invite.into(), &Limits::default());
        one.input(Input::Message { flow, message });
        let Some(Event::Incoming { usage, .. }) = one.events.pop() else { panic!("{:?}", one.events) };
        let name = |it: Option<&str>| it.map(std::sync::Arc::from);
        one.endpoint.set_way(usage, name(tls), name(listener)).unwrap();
        one.input(Input::FlowClosed { flow });
        one.endpoint.reject(one.now, usage, 486, "").unwrap();
        let mut asked = Vec::new();
        while let Some(output) = one.endpoint.poll_output() {
            if let Output::Connect { remote, tls, listener, .. } = output {
                asked.push((remote.to_string(), tls, listener));
            }
        }
        assert_eq!(asked, [(FIRST.to_owned(), name(tls), name(listener))]);
    }
}
