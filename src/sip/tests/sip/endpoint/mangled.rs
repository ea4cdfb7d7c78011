//! Spoiled messages: whatever arrives, nothing breaks and nothing is left behind.

use std::time::Duration;

use b2b_sip::endpoint::{Event, Transport};
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::pair::{A, B, Hand, Network, Pair, reply};

/// Spoils a message in one to three places.
fn mangle(data: &Bytes, random: &mut StdRng) -> Bytes {
    let mut lines: Vec<Vec<u8>> = data.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    for _ in 0..random.random_range(1..=3) {
        let at = random.random_range(0..lines.len());
        let other = lines[random.random_range(0..lines.len())].clone();
        let line = &mut lines[at];
        match random.random_range(0..6) {
            0 => line.clear(),
            1 => *line = [line.clone(), other].concat(),
            2 => line.truncate(line.len() / 2),
            3 | 4 if !line.is_empty() => {
                let byte = random.random_range(0..line.len());
                line[byte] = random.random();
            }
            _ => {
                let text = String::from_utf8_lossy(line);
                *line = text.replace(|c: char| c.is_ascii_digit(), "99999999999").into_bytes();
            }
        }
    }
    Bytes::from(lines.concat())
}

#[test]
fn mangled_requests_and_responses_break_nothing_and_leave_nothing() {
    for seed in 0..20 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut pair = Pair::with(
            Network { seed, ..Network::QUIET },
            [super::pair::config(1), super::pair::config(2)],
            ["192.0.2.1:5060", "192.0.2.2:5060"],
        );
        // B is in a call with the hand-made peer, and A calls it.
        let invite = Hand::invite();
        let (b, ok) = pair.answers(&invite);
        let (_, ours) = pair.call_by_hand();
        for number in 0..200u32 {
            let requests = ["ACK", "INVITE", "BYE", "UPDATE", "INFO", "OPTIONS", "CANCEL", "PRACK"];
            let method = requests[random.random_range(0..requests.len())];
            let whole = if random.random_bool(0.5) {
                invite.next(method, 10 + number, &ok).data()
            } else {
                Hand { method, branch: format!("z9hG4bK{number}"), ..Hand::invite() }.data()
            };
            let transport = [Transport::Udp, Transport::Tcp][random.random_range(0..2usize)];
            let mangled = mangle(&whole, &mut random);
            pair.deliver(B, transport, mangled);
            let status = ["100 Trying", "183 Progress", "200 OK", "302 Moved", "487 Terminated"];
            let status = status[random.random_range(0..status.len())];
            let contact = "Contact: <sip:far@192.0.2.2>\r\nRecord-Route: <sip:192.0.2.2;lr>\r\n";
            let mangled = mangle(&reply(&ours, status, "far", contact), &mut random);
            pair.deliver(A, Transport::Udp, mangled);
            pair.run(Duration::from_millis(20));
        }
        // A's user has to end calls of A that were answered.
        for event in pair.take(A) {
            if let Event::Usage { usage, .. } = event {
                let now = pair.now;
                let _ = pair.ends[A].bye(now, usage);
            }
        }
        for event in pair.take(B) {
            let (Event::Incoming { usage, .. } | Event::Usage { usage, .. }) = event else { continue };
            let now = pair.now;
            let _ = pair.ends[B].bye(now, usage);
        }
        pair.run(Duration::from_secs(40));
        let now = pair.now;
        let _ = pair.ends[B].bye(now, b);
        pair.assert_nothing_left();
    }
}
