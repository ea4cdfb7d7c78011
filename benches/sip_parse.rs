//! Cost of a SIP message: parsing a 900-byte INVITE with the typed header fields that every layer reads, and
//! writing it, compared to a floor in the same run: a `memchr` scan for the lines of the same bytes.
//!
//! `cargo bench --bench sip_parse [-- --quick]`. CPU time, medians of interleaved rounds. Exits with 1 if
//! parsing takes more than 3 allocations; times are printed only, because even CPU time varies with the load
//! on the machine.

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Duration;

use b2b::sip::msg::{Limits, Message, Method, Name, RequestWriter};
use bytes::Bytes;
use nix::time::{ClockId, clock_gettime};

/// Maximum number of allocations for parsing with typed access.
const MAX_ALLOCATIONS: u64 = 3;
/// Target for parsing with typed access, ns.
const TARGET_NS: f64 = 1_000.0;

const HEADERS: [(Name<'static>, &str); 12] = [
    (Name::Via, "SIP/2.0/UDP 198.51.100.21:5060;branch=z9hG4bK776asdhds1a2b3c4d5e;rport"),
    (Name::MaxForwards, "70"),
    (Name::From, "\"Alice Liddell\" <sip:alice@atlanta.example.com>;tag=1928301774ab90"),
    (Name::To, "\"Bob\" <sip:bob@biloxi.example.com>"),
    (Name::CallId, "a84b4c76e66710-20261120T083340@pc33.atlanta.example.com"),
    (Name::CSeq, "314159 INVITE"),
    (Name::Contact, "<sip:alice@198.51.100.21:5060;transport=udp>"),
    (Name::UserAgent, "b2b/0.1"),
    (Name::Allow, "INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE, INFO"),
    (Name::Supported, "timer, replaces, 100rel"),
    (Name::SessionExpires, "1800;refresher=uac"),
    (Name::Other(b"X-Correlation"), "7f3c9a52-6f0e-4f6d-9f57-0d5d6c1c2f6e"),
];

const SDP: &str = "v=0\r\no=- 2890844526 2890844526 IN IP4 198.51.100.21\r\ns=-\r\nc=IN IP4 198.51.100.21\r\nt=0 0\r\n\
    m=audio 49172 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
    a=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\n";

fn write() -> Bytes {
    let mut writer = RequestWriter::new(&Method::Invite, b"sip:bob@biloxi.example.com");
    for (name, value) in HEADERS {
        writer = writer.header(name, value);
    }
    writer.body("application/sdp", SDP.as_bytes()).finish().expect("a valid message")
}

/// The floor: finds the line ends, nothing else.
fn scan_lines(data: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', data).sum()
}

/// From a receive buffer to the fields that transaction, dialog and call layers read.
fn parse(data: &[u8], limits: &Limits) -> usize {
    let message = Message::parse(Bytes::copy_from_slice(data), limits).expect("a valid message");
    let via = message.top_via().expect("Via");
    let call_id = message.call_id().expect("Call-ID");
    let cseq = message.cseq().expect("CSeq");
    let contact = message.contact().expect("Contact").expect("a contact");
    let hops = message.max_forwards().expect("Max-Forwards").expect("a number");
    let length = message.content_length().expect("Content-Length").expect("a number");
    black_box((via.branch, via.host, message.from_tag(), message.to_tag(), contact.uri.host, &cseq.method));
    call_id.len() + cseq.number as usize + usize::from(hops) + length as usize
}

/// CPU time of this thread, which excludes other programs.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a clock of Linux").into()
}

/// Nanoseconds of CPU per call of `work`, over `calls`.
fn nanoseconds<T>(calls: u32, mut work: impl FnMut() -> T) -> f64 {
    let start = cpu_time();
    for _ in 0..calls {
        black_box(work());
    }
    (cpu_time() - start).as_nanos() as f64 / f64::from(calls)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() -> ExitCode {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (rounds, calls) = if quick { (5, 10_000) } else { (21, 100_000) };
    let data = write();
    let limits = Limits::default();

    let mut times: [Vec<f64>; 4] = Default::default();
    for _ in 0..rounds {
        times[0].push(nanoseconds(calls, || scan_lines(black_box(&data))));
        times[1].push(nanoseconds(calls, || Bytes::copy_from_slice(black_box(&data))));
        times[2].push(nanoseconds(calls, || parse(black_box(&data), &limits)));
        times[3].push(nanoseconds(calls, write));
    }
    let [floor, copy, parsed, written] = times.map(|mut rounds| median(&mut rounds));
    let parse_allocations = allocation_counter::measure(|| _ = black_box(parse(&data, &limits))).count_total;
    let write_allocations = allocation_counter::measure(|| _ = black_box(write())).count_total;

    println!("INVITE of {} bytes, {rounds} rounds of {calls}", data.len());
    println!("{:<34}{:>9}{:>13}{:>12}", "", "ns", "allocations", "x floor");
    println!("{:<34}{floor:>9.0}{:>13}{:>12.1}", "floor: memchr line scan", 0, 1.0);
    println!("{:<34}{copy:>9.0}{:>13}{:>12.1}", "copy out of the receive buffer", 1, copy / floor);
    println!(
        "{:<34}{parsed:>9.0}{parse_allocations:>13}{:>12.1}",
        "copy, parse and typed access",
        parsed / floor
    );
    println!("{:<34}{written:>9.0}{write_allocations:>13}{:>12.1}", "write", written / floor);
    println!("target for parsing: {TARGET_NS:.0} ns, {MAX_ALLOCATIONS} allocations");
    if parse_allocations > MAX_ALLOCATIONS {
        println!("too many allocations");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
