//! CPU time of the endpoint for one whole incoming call (INVITE, 200, ACK, BYE, 200), without sockets: the
//! share of the SIP core in the cost of a call. `--quick` shortens the run.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use b2b::sip::endpoint::{Body, Endpoint, EndpointConfig, Event, Flow, FlowId, Input, Output, Transport};
use bytes::Bytes;
use nix::time::{ClockId, clock_gettime};

const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
                     m=audio 4000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\n";

fn request(method: &str, call: u64, cseq: u32, tag: &str, body: &str) -> Bytes {
    Bytes::from(format!(
        "{method} sip:service@192.0.2.2:5060 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-{call}-{method};rport\r\n\
         From: <sip:caller@192.0.2.1:5060>;tag=caller{call}\r\nTo: <sip:service@192.0.2.2:5060>{tag}\r\n\
         Call-ID: call-{call}@192.0.2.1\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\n\
         Contact: <sip:caller@192.0.2.1:5060>\r\nContent-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

fn tag(response: &Bytes) -> String {
    let text = String::from_utf8_lossy(response);
    let to = text.lines().find_map(|line| line.strip_prefix("To: ")).unwrap_or_default();
    to.split_once(";tag=").map(|(_, tag)| format!(";tag={tag}")).unwrap_or_default()
}

/// CPU time of this thread, which excludes other programs.
fn cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}

fn main() {
    let calls: u64 = if std::env::args().any(|arg| arg == "--quick") { 5_000 } else { 50_000 };
    let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
    let flow = Flow {
        transport: Transport::Udp,
        local: address("192.0.2.2:5060"),
        remote: address("192.0.2.1:5060"),
        id: FlowId(1),
    };
    let start = Instant::now();
    let mut endpoint = Endpoint::new(EndpointConfig::new([1; 32]));
    let mut spent = Duration::ZERO;
    let mut sent = 0;
    for call in 0..calls {
        // 500 calls a second in the endpoint's time, so that timers run as in production.
        let now = start + Duration::from_millis(call * 2);
        let invite = request("INVITE", call, 1, "", OFFER);
        let mut usage = None;
        let mut ok = Bytes::new();
        let begun = cpu();
        if endpoint.next_timeout().is_some_and(|at| at <= now) {
            endpoint.handle_input(now, Input::Timeout);
        }
        endpoint.handle_input(now, Input::Datagram { flow, data: invite });
        while let Some(output) = endpoint.poll_output() {
            if let Output::Event(Event::Incoming { usage: id, .. }) = output {
                usage = Some(id);
            }
        }
        let usage = usage.expect("the call comes in");
        endpoint.answer(now, usage, Some(Body::sdp(OFFER))).expect("it can be answered");
        while let Some(output) = endpoint.poll_output() {
            if let Output::Transmit { data, .. } = output {
                ok = data;
            }
        }
        spent += cpu() - begun;
        let tag = tag(&ok);
        let (ack, bye) = (request("ACK", call, 1, &tag, ""), request("BYE", call, 2, &tag, ""));
        let begun = cpu();
        for data in [ack, bye] {
            endpoint.handle_input(now, Input::Datagram { flow, data });
            while let Some(output) = endpoint.poll_output() {
                sent += u64::from(matches!(output, Output::Transmit { .. }));
            }
        }
        spent += cpu() - begun;
    }
    assert_eq!(sent, calls, "each BYE is answered");
    let held = endpoint.holdings();
    println!(
        "endpoint: {:.2} µs a call ({calls} calls); {} transactions still held",
        spent.as_secs_f64() * 1e6 / calls as f64,
        held.server_transactions
    );
}
