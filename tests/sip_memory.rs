//! What an idle established call holds in memory, counted by the allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use b2b::sip::endpoint::{
    Body, Endpoint, EndpointConfig, Event, Flow, FlowId, Input, Output, Transport, UsageEvent,
};
use bytes::Bytes;

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it came; only numbers are
// kept beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

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
    let before = LIVE.load(Ordering::Relaxed);
    let mut allocations = 0;
    for call in 0..CALLS {
        let now = start + Duration::from_millis(call as u64);
        let counted = ALLOCATIONS.load(Ordering::Relaxed);
        endpoint.handle_input(now, Input::Datagram { flow, data: request("INVITE", call, 1, "", &offer) });
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
        endpoint.handle_input(now, Input::Datagram { flow, data: request("ACK", call, 1, &tags[call], "") });
        while let Some(output) = endpoint.poll_output() {
            assert!(matches!(
                output,
                Output::Event(Event::Usage { event: UsageEvent::Acknowledged { .. }, .. })
            ));
        }
        allocations += ALLOCATIONS.load(Ordering::Relaxed) - counted;
    }
    let tag_bytes: usize = tags.iter().map(String::capacity).sum();
    let up = (LIVE.load(Ordering::Relaxed) - before - tag_bytes) / CALLS;
    // Timer L and what the timer queue still had of it.
    endpoint.handle_input(start + Duration::from_secs(60), Input::Timeout);
    let idle = (LIVE.load(Ordering::Relaxed) - before - tag_bytes) / CALLS;
    println!(
        "bytes held by a call: {up} while Timer L runs, {idle} idle; allocations to set it up: {}",
        allocations / CALLS
    );
    assert!(idle <= 1_500, "{idle} bytes for an idle call");

    let now = start + Duration::from_secs(61);
    for (call, tag) in tags.iter().enumerate() {
        endpoint.handle_input(now, Input::Datagram { flow, data: request("BYE", call, 2, tag, "") });
        while endpoint.poll_output().is_some() {}
    }
    endpoint.handle_input(now + Duration::from_secs(400), Input::Timeout);
    assert!(endpoint.poll_output().is_none());
    let left = LIVE.load(Ordering::Relaxed).saturating_sub(before + tag_bytes);
    println!("bytes left after {CALLS} calls: {left}");
    assert!(left < 300_000, "{left} bytes left");
}
