//! Datagrams at an endpoint that is in calls, in virtual time. Shared by the fuzz target `sip_in` and by
//! `src/sip/tests/sip/fuzz_corpus.rs`, which replays its corpus.
//!
//! The input is datagrams separated by 0x1e. To make them match a dialog or transaction, `[call_id]`,
//! `[tag]`, `[branch]` and `[cseq]` are replaced by those of the endpoint's last response, or of its INVITE
//! before there was one, and `[rack]` by the RSeq of that response.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use b2b_sip::endpoint::{
    Body, Counters, Endpoint, EndpointConfig, Event, Extensions, Flow, FlowId, Input, Invite, Output, Reply,
    SessionTimers, Transport, UsageEvent, UsageId,
};
use b2b_sip::msg::{Method, Name};
use bytes::Bytes;

const SESSION: &str =
    "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
/// Upper bound of what one datagram can make the endpoint hold: a transaction, a usage, timers.
const HELD_PER_DATAGRAM: usize = 32;

struct Bench {
    endpoint: Endpoint,
    now: Instant,
    flow: Flow,
    usages: Vec<UsageId>,
    sent: String,
    fed: usize,
}

/// Feeds the datagrams, then ends all calls: nothing may be left of them. Returns the endpoint's counters.
pub fn run(data: &[u8]) -> Counters {
    let config = EndpointConfig {
        accept: vec![Method::Info, Method::Message, Method::Notify],
        outside: vec![Method::Register, Method::Message, Method::Notify],
        extensions: Extensions { reliable: true, refer: true, replaces: true },
        session_timers: Some(SessionTimers::default()),
        ..EndpointConfig::new([7; 32])
    };
    let flow = Flow {
        transport: Transport::Udp,
        local: SocketAddr::from(([192, 0, 2, 1], 5060)),
        remote: SocketAddr::from(([192, 0, 2, 2], 5060)),
        id: FlowId(0),
    };
    let mut bench = Bench {
        endpoint: Endpoint::new(config),
        now: Instant::now(),
        flow,
        usages: Vec::new(),
        sent: String::new(),
        fed: 1,
    };
    // An outgoing call that responses can belong to.
    let invite = Invite {
        flow: Some(flow),
        target: Bytes::from_static(b"sip:peer@192.0.2.2"),
        body: Some(Body::sdp(SESSION)),
        ..Invite::default()
    };
    bench.usages.extend(bench.endpoint.invite(bench.now, invite).ok());
    bench.drain();
    for datagram in data.split(|byte| *byte == 0x1e).take(64) {
        bench.feed(datagram);
    }
    let counters = *bench.endpoint.counters();
    bench.end();
    counters
}

impl Bench {
    fn feed(&mut self, datagram: &[u8]) {
        let data = Bytes::from(self.filled_in(datagram));
        self.fed += 1;
        self.endpoint.handle_input(self.now, Input::Datagram { flow: self.flow, data });
        self.drain();
        self.now += Duration::from_millis(200);
        self.endpoint.handle_input(self.now, Input::Timeout);
        self.drain();
        let held = self.endpoint.holdings();
        let held = held.client_transactions + held.server_transactions + held.usages + held.timer_entries;
        assert!(held <= self.fed * HELD_PER_DATAGRAM, "{held} held after {} datagrams", self.fed);
    }

    /// The datagram with values of the endpoint's last message in its placeholders.
    fn filled_in(&self, datagram: &[u8]) -> Vec<u8> {
        let after = |text: &str, what: &str| -> Option<String> {
            let rest = text.split_once(what)?.1;
            Some(rest.split([';', '\r', '\n', ' ']).next()?.to_owned())
        };
        let rseq = after(&self.sent, "RSeq: ").unwrap_or_default();
        let ours = if self.sent.starts_with("SIP/2.0") { "\r\nTo: " } else { "\r\nFrom: " };
        let place = self.sent.split_once(ours).map_or("", |(_, rest)| rest);
        let values = [
            ("[call_id]", after(&self.sent, "Call-ID: ").unwrap_or_default()),
            ("[tag]", after(place.lines().next().unwrap_or(""), ";tag=").unwrap_or_default()),
            ("[branch]", after(&self.sent, ";branch=").unwrap_or_default()),
            ("[cseq]", after(&self.sent, "CSeq: ").unwrap_or_default()),
            ("[rack]", rseq),
        ];
        let mut out = Vec::with_capacity(datagram.len() + 64);
        let mut rest = datagram;
        while let Some(byte) = rest.first() {
            match values.iter().find(|(name, _)| rest.starts_with(name.as_bytes())) {
                Some((name, value)) => {
                    out.extend_from_slice(value.as_bytes());
                    rest = &rest[name.len()..];
                }
                None => {
                    out.push(*byte);
                    rest = &rest[1..];
                }
            }
        }
        out
    }

    fn drain(&mut self) {
        // Each event causes fewer outputs than this, unless there is an infinite loop.
        for _ in 0..10_000 {
            let Some(output) = self.endpoint.poll_output() else { return };
            match output {
                Output::Transmit { data, .. } => {
                    // Retransmissions of the outgoing INVITE do not replace a response.
                    if data.starts_with(b"SIP/2.0") || !self.sent.starts_with("SIP/2.0") {
                        self.sent = String::from_utf8_lossy(&data).into_owned();
                    }
                }
                Output::Connect { connect, .. } => {
                    self.endpoint.handle_input(self.now, Input::ConnectFailed { connect });
                }
                Output::Resolve { resolve, .. } => {
                    self.endpoint.handle_input(self.now, Input::ResolveFailed { resolve });
                }
                Output::Event(event) => self.decide(event),
                Output::KeepAlive { .. } => {}
            }
        }
        panic!("output without end");
    }

    /// A user that accepts every call and answers everything.
    fn decide(&mut self, event: Event) {
        let (now, endpoint) = (self.now, &mut self.endpoint);
        let session = || Some(Body::sdp(SESSION));
        // Operations that are impossible now return an error, which is ignored.
        match event {
            Event::FlowClosed { .. } | Event::Located { .. } | Event::Ahead { .. } => {}
            Event::Resubscribe { subscription, transaction, .. } => {
                let _ = endpoint.answer_subscriber(now, subscription, transaction, Reply::status(200));
            }
            Event::Incoming { usage, request, .. } => {
                self.usages.push(usage);
                let _ = endpoint.provisional(now, usage, 183, "", session());
                if !request.has_token(Name::Require, "100rel") {
                    let _ = endpoint.answer(now, usage, session());
                }
            }
            Event::Request { transaction, .. } => {
                let _ = endpoint.respond(now, transaction, Reply::status(200));
            }
            Event::Response { .. } => {}
            Event::Usage { usage, event } => match event {
                UsageEvent::ReInvite { .. } => drop(endpoint.answer(now, usage, session())),
                UsageEvent::Answered { ack_wanted: true, .. }
                | UsageEvent::ReInviteAnswered { ack_wanted: true, .. } => {
                    let _ = endpoint.ack(now, usage, session());
                }
                UsageEvent::Update { transaction, .. } => {
                    let _ =
                        endpoint.respond(now, transaction, Reply { body: session(), ..Reply::status(200) });
                }
                UsageEvent::Request { transaction, .. } => {
                    let _ = endpoint.respond(now, transaction, Reply::status(200));
                }
                UsageEvent::ProvisionalAcknowledged { offer: Some(transaction), .. } => {
                    let _ =
                        endpoint.respond(now, transaction, Reply { body: session(), ..Reply::status(200) });
                }
                UsageEvent::ProvisionalAcknowledged { offer: None, .. } => {
                    let _ = endpoint.answer(now, usage, session());
                }
                UsageEvent::Refer { refer, .. } => {
                    let _ = endpoint.answer_refer(now, usage, refer, Reply::status(202));
                    let _ = endpoint.notify_refer(now, usage, refer, 200, "OK");
                }
                UsageEvent::Challenged { .. } => drop(endpoint.cancel(now, usage)),
                UsageEvent::Terminated { .. } => self.usages.retain(|it| *it != usage),
                _ => {}
            },
        }
    }

    /// Ends all calls, and lets time pass.
    fn end(&mut self) {
        for usage in std::mem::take(&mut self.usages) {
            if self.endpoint.bye(self.now, usage).is_err() {
                let _ = self.endpoint.cancel(self.now, usage);
            }
            self.drain();
        }
        for _ in 0..100_000 {
            let Some(at) = self.endpoint.next_timeout() else { break };
            self.now = self.now.max(at);
            self.endpoint.handle_input(self.now, Input::Timeout);
            self.drain();
        }
        let held = self.endpoint.holdings();
        assert_eq!(
            (held.client_transactions, held.server_transactions, held.usages, held.timer_entries),
            (0, 0, 0, 0),
            "{held:?}"
        );
        assert_eq!((held.waiting, held.map_entries), (0, 0), "{held:?}");
    }
}
