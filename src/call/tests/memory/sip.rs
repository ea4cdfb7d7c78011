//! The memory of calls, counted by the allocator.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use allocation_counter::measure;
use b2b_call::agent::leg::Leg;
use b2b_call::negotiate::pair::{OwnAudio, Side};
use b2b_media::codec::Codec;
use b2b_sip::endpoint::{
    Body, Endpoint, EndpointConfig, Event, Flow, FlowId, Input, Output, Transport, UsageEvent,
};
use b2b_sip::msg::{Limits, Message};
use bytes::Bytes;

fn request(method: &str, call: usize, cseq: u32, to_tag: &str, body: &str) -> Bytes {
    Bytes::from(format!(
        "{method} sip:service@192.0.2.2:5060 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-{call}-{method};rport\r\n\
         From: \"A Caller\" <sip:caller@192.0.2.1:5060>;tag=caller{call}\r\n\
         To: <sip:service@192.0.2.2:5060>{to_tag}\r\nCall-ID: call-{call}@192.0.2.1\r\n\
         CSeq: {cseq} {method}\r\nContact: <sip:caller@192.0.2.1:5060>\r\nMax-Forwards: 70\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

#[test]
fn an_idle_call_is_small_and_leaves_nothing() {
    const CALLS: usize = 2_000;
    let start = Instant::now();
    let address = |text: &str| text.parse::<SocketAddr>().unwrap();
    let flow = Flow {
        transport: Transport::Udp,
        local: address("192.0.2.2:5060"),
        remote: address("192.0.2.1:5060"),
        id: FlowId(1),
    };
    let mut endpoint = Endpoint::new(EndpointConfig::new([1; 32]));
    let offer = "v=0\r\n".repeat(40);
    let mut usages = Vec::with_capacity(CALLS);
    let mut tags = Vec::with_capacity(CALLS);
    let set_up = measure(|| {
        for call in 0..CALLS {
            let now = start + Duration::from_millis(call as u64);
            let data = request("INVITE", call, 1, "", &offer);
            endpoint.handle_input(now, Input::Datagram { flow, data });
            while let Some(output) = endpoint.poll_output() {
                if let Output::Event(Event::Incoming { usage, .. }) = output {
                    usages.push(usage);
                }
            }
            endpoint.answer(now, usages[call], Some(Body::sdp("answer"))).unwrap();
            while let Some(output) = endpoint.poll_output() {
                if let Output::Transmit { data, .. } = output {
                    let text = String::from_utf8_lossy(&data);
                    let to = text.lines().find(|line| line.starts_with("To:")).unwrap();
                    tags.push(to.split_once(";tag=").map(|(_, tag)| format!(";tag={tag}")).unwrap());
                }
            }
            let data = request("ACK", call, 1, &tags[call], "");
            endpoint.handle_input(now, Input::Datagram { flow, data });
            while let Some(output) = endpoint.poll_output() {
                assert!(matches!(
                    output,
                    Output::Event(Event::Usage { event: UsageEvent::Acknowledged { .. }, .. })
                ));
            }
        }
    });
    let tag_bytes: usize = tags.iter().map(String::capacity).sum();
    let held = set_up.bytes_current - tag_bytes as i64;
    // Timer L, and its entry in the timer queue.
    let timers =
        measure(|| endpoint.handle_input(start + Duration::from_secs(60), Input::Timeout)).bytes_current;
    let each = |bytes: i64| bytes / CALLS as i64;
    let idle = each(held + timers);
    println!("bytes held by a call: {} while Timer L runs, {idle} idle", each(held));
    assert!((100..=1_500).contains(&idle), "{idle} bytes for an idle call");

    let ended = measure(|| {
        let now = start + Duration::from_secs(61);
        for (call, tag) in tags.iter().enumerate() {
            endpoint.handle_input(now, Input::Datagram { flow, data: request("BYE", call, 2, tag, "") });
            while endpoint.poll_output().is_some() {}
        }
        endpoint.handle_input(now + Duration::from_secs(400), Input::Timeout);
        assert!(endpoint.poll_output().is_none());
    });
    let left = held + timers + ended.bytes_current;
    println!("bytes left after {CALLS} calls: {left}");
    assert!(left < 300_000, "{left} bytes left");
}

#[test]
fn a_call_that_rings_holds_its_offer_as_it_came() {
    let attributes = "a=x\r\n".repeat(6_000);
    let offer = format!(
        "v=0\r\no=a 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
         m=audio 4000 RTP/AVP 0\r\n{attributes}"
    );
    let invite = Message::parse(request("INVITE", 1, 1, "", &offer), &Limits::default()).unwrap();
    let Message::Request(invite) = invite else { panic!("a request was written") };
    let side = || {
        let own = OwnAudio { codecs: vec![Codec::Pcmu], ptime_ms: 20, attributes: Vec::new() };
        Side::new("192.0.2.2:20000".parse().unwrap(), 2).with_own(own)
    };
    let mut legs = Vec::with_capacity(100);
    let held = measure(|| legs.extend((0..100).map(|_| Leg::inbound(side(), &invite)))).bytes_current;
    assert!(legs.iter().all(Leg::is_waiting));
    assert!(held / 100 < 4_000, "{} bytes for a leg; the offer has {}", held / 100, offer.len());
    assert!(legs.iter_mut().all(|leg| leg.answer(20_000).is_ok()));
}
