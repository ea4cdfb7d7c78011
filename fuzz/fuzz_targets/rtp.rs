#![no_main]
//! RTP packets with extensions and digits, and compound RTCP packets.

use std::time::{Duration, Instant};

use b2b::media::rtp::telephone_event::EventReceiver;
use b2b::media::rtp::{RtpPacket, rtcp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(packet) = RtpPacket::parse(data) {
        assert!(packet.payload.len() < data.len());
        packet.extensions.for_each(drop);
        let _ = packet.extensions.abs_capture_time(1);
        let mut digits = EventReceiver::default();
        let now = Instant::now();
        let _ = digits.packet(packet.timestamp, packet.payload, 8_000, now);
        let _ = digits.expire(now + Duration::from_secs(5));
    }
    let _ = rtcp::parse(data, 0x0102_0304);
});
