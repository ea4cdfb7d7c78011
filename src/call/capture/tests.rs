use std::time::Duration;

use super::*;

const INVITE: &[u8] = b"INVITE sip:bob@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa\r\n\
    Max-Forwards: 70\r\nFrom: <sip:alice@192.0.2.1>;tag=1\r\nTo: <sip:bob@192.0.2.2>\r\nCall-ID: a@b2b\r\n\
    CSeq: 1 INVITE\r\nContact: <sip:alice@192.0.2.1>\r\nContent-Length: 0\r\n\r\n";

fn at(ms: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000) + Duration::from_millis(ms)
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Seconds, nanoseconds, frame, original length of each record.
fn read(file: &[u8]) -> Vec<(u32, u32, Vec<u8>, u32)> {
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
    assert_eq!((word(0), word(4), word(16), word(20)), (0xa1b2_3c4d, 0x0004_0002, 65_535, 101));
    let (mut records, mut at) = (Vec::new(), 24);
    while at < file.len() {
        let length = word(at + 8) as usize;
        let frame = file[at + 16..at + 16 + length].to_vec();
        records.push((word(at), word(at + 4), frame, word(at + 12)));
        at += 16 + length;
    }
    records
}

/// Whether the checksum over header and pseudo-header is correct (RFC 1071).
fn sums_up(bytes: &[u8]) -> bool {
    let pairs =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low)));
    let sum: u32 = pairs.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    (folded & 0xffff) + (folded >> 16) == 0xffff
}

#[test]
fn a_message_over_udp_is_a_packet_with_right_lengths_and_sums() {
    let mut capture = Capture::new(10_000);
    capture.sip(at(250), Transport::Udp, address("192.0.2.1:5060"), address("192.0.2.2:5070"), INVITE);
    let records = read(&capture.to_pcap());
    let (seconds, nanoseconds, frame, original) = &records[0];
    assert_eq!((*seconds, *nanoseconds, *original as usize), (1_800_000_000, 250_000_000, frame.len()));
    assert_eq!(frame.len(), 20 + 8 + INVITE.len());
    assert_eq!(&frame[12..24], [192, 0, 2, 1, 192, 0, 2, 2, 0x13, 0xc4, 0x13, 0xce]);
    assert_eq!((frame[9], &frame[28..]), (17, INVITE));
    assert!(sums_up(&frame[..20]));
    let length = (8 + INVITE.len()) as u16;
    let pseudo = [&frame[12..20], &[0, 17], &length.to_be_bytes(), &frame[20..]].concat();
    assert!(sums_up(&pseudo));
}

#[test]
fn ipv6_and_tcp_are_written_as_such() {
    let mut capture = Capture::new(10_000);
    let (a, b) = (address("[2001:db8::1]:5060"), address("[2001:db8::2]:49152"));
    capture.sip(at(0), Transport::Tcp, a, b, INVITE);
    capture.sip(at(1), Transport::Tls, a, b, b"x");
    capture.sip(at(2), Transport::Tcp, b, a, b"yy");
    let frames: Vec<Vec<u8>> = read(&capture.to_pcap()).into_iter().map(|record| record.2).collect();
    let numbers = |frame: &[u8]| {
        let word = |at: usize| u32::from_be_bytes(frame[at..at + 4].try_into().unwrap());
        (word(44), word(48))
    };
    let after = 1 + INVITE.len() as u32;
    assert_eq!(numbers(&frames[0]), (1, 1));
    assert_eq!(numbers(&frames[1]), (after, 1));
    assert_eq!(numbers(&frames[2]), (1, after + 1));
    for frame in &frames {
        assert_eq!((frame[0], frame[6]), (0x60, 6));
        let length = (frame.len() - 40) as u32;
        assert!(sums_up(&[&frame[8..40], &length.to_be_bytes(), &[0, 0, 0, 6], &frame[40..]].concat()));
    }
}

#[test]
fn of_rtp_what_is_kept_is_written_and_the_length_told() {
    let mut capture = Capture::new(10_000);
    let mut packet = vec![0x80, 0, 0, 1, 0, 0, 0, 160, 1, 2, 3, 4];
    packet.resize(172, 0xd5);
    capture.rtp(at(0), address("127.0.0.1:4000"), address("127.0.0.1:4002"), &packet[..12], 172);
    let records = read(&capture.to_pcap());
    let (_, _, frame, original) = &records[0];
    assert_eq!((frame.len(), *original), (28 + 12, 28 + 172));
    assert_eq!(&frame[28..], &packet[..12]);
    assert_eq!((&frame[2..4], &frame[24..28]), (&200u16.to_be_bytes()[..], &[0, 180, 0, 0][..]));
}

#[test]
fn a_capture_is_bounded_and_keeps_the_beginning() {
    let mut capture = Capture::new(3 * (RECORD + 28 + INVITE.len()) + 10);
    let (a, b) = (address("192.0.2.1:5060"), address("192.0.2.2:5060"));
    (0..10).for_each(|n| capture.sip(at(n), Transport::Udp, a, b, INVITE));
    capture.sip(at(11), Transport::Udp, a, b, b"");
    capture.rtp(at(12), a, b, &[], 0);
    let file = capture.to_pcap();
    assert_eq!((capture.len(), capture.left_out(), file.len()), (3, 8, 24 + capture.bytes()));
    assert_eq!(read(&file).last().unwrap().1, 2_000_000);
}

#[test]
fn a_message_of_any_length_stays_within_the_packets() {
    let mut capture = Capture::new(1_000_000);
    let (a, b) = (address("192.0.2.1:5060"), address("[::1]:5060"));
    capture.sip(at(0), Transport::Udp, a, b, &vec![b'x'; 200_000]);
    capture.sip(at(0), Transport::Tcp, a, b, &vec![b'x'; 200_000]);
    capture.rtp(at(0), a, b, &vec![0x80; 100_000], 100_000);
    let records = read(&capture.to_pcap());
    assert_eq!(records.len(), 4 + 4 + 1);
    assert!(records.iter().all(|record| record.3 <= SNAP_LENGTH));
}
