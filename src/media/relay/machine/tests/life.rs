//! RTCP of a party that sends no RTP any more.

use super::*;
use crate::transport::protection::UnprotectError;

/// RTCP of party 0, without a block.
fn report_of(lab: &mut Lab, source: SocketAddr, bye: bool) {
    let mut buffer = [0; rtcp::MAX_LEN];
    let len =
        Report { ssrc: 70, sender: None, block: None, metrics: None, cname: b"x", bye }.write(&mut buffer);
    lab.machine.packet(lab.now, 0, Channel::Rtcp, source, &mut buffer[..len], &mut lab.wire);
}

/// Timeouts of party 0 in 30 s with such a report every 5 s.
fn timeouts(lab: &mut Lab, source: SocketAddr) -> usize {
    lab.events();
    for _ in 0..6 {
        report_of(lab, source, false);
        lab.run(Duration::from_secs(5));
    }
    lab.events().iter().filter(|event| **event == RelayEvent::Timeout { id: id(0) }).count()
}

#[test]
fn rtcp_of_the_locked_host_keeps_a_muted_party_alive() {
    let mut lab = Lab::joined();
    lab.talk(0, 1, 5);
    let reports_from = SocketAddr::new(party(0).ip(), party(0).port() + 1);
    assert_eq!(timeouts(&mut lab, reports_from), 0);
    lab.run(Duration::from_secs(6));
    assert!(lab.events().contains(&RelayEvent::Timeout { id: id(0) }), "10 s after the last report");
    assert_eq!(timeouts(&mut lab, reports_from), 0, "it was away");
    lab.run(Duration::from_secs(6));
    assert!(lab.events().contains(&RelayEvent::Timeout { id: id(0) }), "and is away again");
}

#[test]
fn rtcp_of_others_or_after_its_bye_keeps_no_party_alive() {
    let mut lab = Lab::joined();
    assert_eq!(timeouts(&mut lab, party(0)), 1, "no RTP has ever come");
    let mut lab = Lab::joined();
    lab.talk(0, 1, 5);
    assert_eq!(timeouts(&mut lab, "192.0.2.77:4000".parse().unwrap()), 1, "another host");
    let mut lab = Lab::joined();
    lab.talk(0, 1, 5);
    report_of(&mut lab, party(0), true);
    assert_eq!(timeouts(&mut lab, party(0)), 1, "it has said BYE");
    lab.talk(0, 6, 5);
    assert_eq!(timeouts(&mut lab, party(0)), 0, "and has gone on");
}

#[test]
fn rtcp_without_a_report_keeps_a_muted_party_alive() {
    let mut lab = Lab::joined();
    lab.talk(0, 1, 5);
    lab.events();
    for _ in 0..6 {
        // SDES alone (RFC 5506), as some phones send it
        let mut description = [0x81, 202, 0, 2, 0, 0, 0, 70, 1, 1, b'x', 0];
        lab.machine.packet(lab.now, 0, Channel::Rtcp, party(0), &mut description, &mut lab.wire);
        lab.run(Duration::from_secs(5));
    }
    assert!(!lab.events().contains(&RelayEvent::Timeout { id: id(0) }));
}

#[test]
fn an_srtp_stream_that_restarts_its_numbers_is_told_once_with_its_start() {
    let mut lab = Lab::joined();
    let again = |lab: &mut Lab, packets: u16| {
        for n in 1..=packets {
            let stale = packet(0, n, u32::from(n) * 160, 70, &[0; 170]);
            lab.machine.refused(lab.now.at, 0, &stale, UnprotectError::Replayed);
            lab.run(FRAME);
        }
        lab.events().iter().filter(|event| **event == RelayEvent::Replayed { id: id(0) }).count()
    };
    lab.talk(0, 1, 100);
    assert_eq!(again(&mut lab, 20), 0, "copies");
    lab.talk(0, 101, 1);
    assert_eq!(again(&mut lab, 20), 0, "it goes on among them");
    lab.talk(0, 102, 1);
    let began = lab.now.at;
    assert_eq!(again(&mut lab, 200), 1);
    lab.talk(0, 103, 1);
    assert_eq!(again(&mut lab, 200), 0, "once a call");
    let stats = lab.stats(0);
    assert_eq!((stats.dropped.replayed, stats.dropped.unauthenticated), (440, 0));
    assert!(stats.replayed_since.is_some_and(|since| since.duration_since(began) < FRAME));
}
