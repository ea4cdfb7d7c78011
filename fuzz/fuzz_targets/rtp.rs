#![no_main]
//! RTP packets with extensions and digits, and compound RTCP packets.

use std::time::{Duration, Instant};

use b2b::media::rtp::telephone_event::{EventReceiver, EventUpdate};
use b2b::media::rtp::{RtpPacket, rtcp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(packet) = RtpPacket::parse(data) {
        assert!(packet.payload.len() < data.len());
        packet.extensions.for_each(drop);
        let _ = packet.extensions.abs_capture_time(1);
        let (mut digits, mut now) = (EventReceiver::default(), Instant::now());
        // Each five octets are a packet: how much later, and how much further on, and its payload.
        for octets in packet.payload.chunks_exact(5) {
            let [by, code, flags, d0, d1] = [octets[0], octets[1], octets[2], octets[3], octets[4]];
            now += Duration::from_millis(u64::from(by & 0xF) * 20);
            let update = EventUpdate {
                sequence: packet.sequence.wrapping_add(u16::from(by >> 4)),
                timestamp: packet.timestamp.wrapping_add(u32::from(by) * 160),
                marker: packet.marker,
                code,
                flags,
                duration: u16::from_be_bytes([d0, d1]),
                clock_rate: 8_000,
            };
            let _ = digits.packet(&update, now);
        }
        let _ = digits.expire(now + Duration::from_secs(5));
    }
    let _ = rtcp::parse(data, 0x0102_0304);
});
