//! Measurements of a stream: in the clock rate of what is received, and not across pauses.

use super::*;
use crate::forward::Clocks;

/// Opus as 111 first, PCMU beside it.
fn both() -> Way {
    let mut way = Way { clocks: Clocks::default(), ..way() };
    way.payload_types.forward(111, 111);
    way.clock_rate = 48_000;
    way.clocks.set(111, 48_000);
    way.clocks.set(0, 8_000);
    way
}

fn join_both(lab: &mut Lab) {
    let (forward, backward) = (Box::new(both()), Box::new(both()));
    lab.command(Command::Join { a: id(0), b: id(1), forward, backward });
}

/// The jitter in the next report to the first party, in timestamp units.
fn reported(lab: &mut Lab) -> u32 {
    lab.rtcp();
    lab.run(Duration::from_secs(8));
    let reports = lab.rtcp();
    let ours = reports.iter().filter(|sent| sent.slot == 0);
    let mut jitter =
        ours.filter_map(|sent| rtcp::parse(&sent.data, 70).ok()?.block).map(|block| block.jitter);
    jitter.next_back().expect("a report")
}

fn sends(lab: &mut Lab, payload_type: u8, from: u16, frames: u16, step: u32) {
    for n in from..from + frames {
        lab.put(0, party(0), packet(payload_type, n, u32::from(n) * step, 70, &[5; 60]));
        lab.run(FRAME);
    }
}

#[test]
fn jitter_is_measured_in_the_clock_of_what_is_received() {
    let mut lab = Lab::new(3);
    join_both(&mut lab);
    sends(&mut lab, 0, 1, 400, 160);
    let stats = lab.stats(0);
    assert!(stats.jitter < Duration::from_millis(1), "{:?}", stats.jitter);
    assert_eq!((stats.lost, stats.payload_type), (0, Some(0)));
    assert!(reported(&mut lab) < 8);
    // Opus from here on, in the same stream; events and comfort noise are not audio.
    sends(&mut lab, 111, 401, 400, 960);
    lab.put(0, party(0), packet(13, 801, 801 * 960, 70, &[5]));
    let stats = lab.stats(0);
    assert!(stats.jitter < Duration::from_millis(1), "{:?}", stats.jitter);
    assert_eq!(stats.payload_type, Some(111));
    // No longer joined: the measurements stay.
    lab.command(Command::Part { a: id(0), b: id(1) });
    assert!(lab.stats(0).jitter < Duration::from_millis(1));
}

#[test]
fn the_first_packets_after_a_rest_may_be_out_of_order_and_what_is_lost_then_is_told() {
    let mut lab = Lab::joined();
    lab.talk(0, 1, 50);
    lab.command(Command::Describe { id: id(0), remote: Remote { sends: false, ..remote(0) } });
    lab.run(Duration::from_secs(2));
    lab.command(Command::Describe { id: id(0), remote: remote(0) });
    for first in [153, 151, 152] {
        lab.talk(0, first, 1);
    }
    lab.talk(0, 154, 10);
    lab.talk(0, 166, 10);
    assert_eq!(lab.stats(0).lost, 2);
}

#[test]
fn a_key_that_is_pressed_first_after_a_rest_ends_it_too() {
    let mut lab = Lab::joined();
    lab.talk(0, 1, 50);
    lab.command(Command::Describe { id: id(0), remote: Remote { sends: false, ..remote(0) } });
    lab.run(Duration::from_secs(2));
    lab.command(Command::Describe { id: id(0), remote: remote(0) });
    for n in 151..154u16 {
        lab.put(0, party(0), packet(101, n, 151 * 160, 70, &[5, 0x8A, 3, 32]));
        lab.run(FRAME);
    }
    lab.talk(0, 154, 50);
    let stats = lab.stats(0);
    assert_eq!((stats.lost, stats.digits, stats.received.packets), (0, 1, 103));
    assert!(stats.jitter < Duration::from_millis(1), "{:?}", stats.jitter);
    lab.talk(0, 206, 1);
    assert_eq!(lab.stats(0).lost, 2);
}

#[test]
fn what_a_party_on_hold_counts_on_is_no_loss() {
    let mut lab = Lab::joined();
    lab.talk(0, 1, 50);
    lab.command(Command::Describe { id: id(0), remote: Remote { sends: false, ..remote(0) } });
    lab.run(Duration::from_secs(2));
    // It resumes before its answer is read here.
    lab.talk(0, 151, 3);
    lab.command(Command::Describe { id: id(0), remote: remote(0) });
    lab.talk(0, 156, 50);
    let stats = lab.stats(0);
    assert_eq!((stats.received.packets, stats.lost), (103, 0));
    assert!(stats.jitter < Duration::from_millis(1), "{:?}", stats.jitter);
    // Packets missing after that are lost.
    lab.talk(0, 210, 10);
    assert_eq!(lab.stats(0).lost, 4);
    // Its own description is unchanged: no report shows more loss.
    lab.rtcp();
    lab.run(Duration::from_secs(8));
    let reports = lab.rtcp();
    let blocks = reports.iter().filter_map(|sent| rtcp::parse(&sent.data, 70).ok()?.block);
    assert!(blocks.map(|block| block.cumulative_lost).all(|lost| lost == 4));
}

#[test]
fn another_address_or_source_begins_a_count_of_its_own() {
    let mut lab = Lab::joined();
    lab.talk(0, 1, 50);
    // It has moved, according to its description.
    let moved = Remote { rtp: party(9), ..remote(0) };
    lab.command(Command::Describe { id: id(0), remote: moved });
    for n in 120..170u16 {
        lab.put(0, party(9), packet(0, n, u32::from(n) * 160, 70, &[0; 160]));
        lab.run(FRAME);
    }
    assert_eq!(lab.stats(0).lost, 0);
    // Another SSRC.
    lab.run(FRAME * 10);
    for n in 5_000..5_050u16 {
        lab.put(0, party(9), packet(0, n, u32::from(n) * 160, 99, &[0; 160]));
        lab.run(FRAME);
    }
    let stats = lab.stats(0);
    assert_eq!((stats.lost, stats.ssrc_changes, stats.received.packets), (0, 1, 150));
    lab.put(0, party(9), packet(0, 5_052, 5_052 * 160, 99, &[0; 160]));
    assert_eq!(lab.stats(0).lost, 2, "without a reason it is one");
}
