//! A key counts once, however often it comes, and only for whom it was pressed.

use super::*;
use crate::rtp::telephone_event;

impl Lab {
    /// A key by INFO; returns whether it counts.
    pub(super) fn info(&mut self, slot: u32, digit: char) -> bool {
        let (to, mut counts) = tokio::sync::oneshot::channel();
        let (via, answers) = crossbeam_channel::unbounded();
        self.command(Command::Info { id: id(slot), digit, reply: Reply::new(to, via) });
        answers.try_recv().expect("an answer")();
        counts.try_recv().expect("an open endpoint")
    }

    /// Packets `range` of the eight of a key pressed for 100 ms at this time, five of it and three ends.
    fn event(&mut self, source: SocketAddr, code: u8, at_ms: u32, range: std::ops::Range<u16>) {
        for n in range {
            let [high, low] = ((n.min(5) + 1) * 160).to_be_bytes();
            let payload = [code, if n < 5 { 0x0A } else { 0x8A }, high, low];
            let sequence = (at_ms / 20) as u16 + n;
            self.put(0, source, packet(101, sequence, at_ms * 8, 70, &payload));
            self.run(FRAME);
        }
    }

    /// The keys that were told, and those that the other party got as events, as they begin.
    fn keys(&mut self) -> (String, String) {
        let told = |event| match event {
            RelayEvent::Digit { digit, .. } => Some(digit),
            _ => None,
        };
        let told = self.events().into_iter().filter_map(told).collect();
        let mut events: Vec<(u32, char)> = Vec::new();
        for sent in self.rtp().iter().filter(|sent| sent.rtp().payload_type == 96) {
            let event = (sent.rtp().timestamp, telephone_event::digit(sent.rtp().payload[0]).unwrap());
            if events.last() != Some(&event) {
                events.push(event);
            }
        }
        (told, events.into_iter().map(|event| event.1).collect())
    }
}

/// Keys in the order in which they come: `r1` by RTP, `i1` by INFO, a number of ms to wait.
fn pressed(lab: &mut Lab, keys: &str) -> String {
    let (mut at_ms, mut infos) = (1_000, String::new());
    for key in keys.split_whitespace() {
        let (by, digit) = (&key[..1], key.chars().last().unwrap());
        match by {
            "r" => lab.event(party(0), telephone_event::code(digit).unwrap(), at_ms, 0..8),
            "i" if lab.info(0, digit) => infos.push(digit),
            "i" => {}
            _ => lab.run(Duration::from_millis(key.parse().unwrap())),
        }
        at_ms = lab.now.at.saturating_duration_since(lab.machine.epoch).as_millis() as u32 + 1_000;
    }
    infos
}

#[test]
fn a_key_by_rtp_and_by_info_is_one_key() {
    for (keys, by_rtp, by_info) in [
        ("r1 i1 r1 i1", "11", ""),
        ("i1 r1 i1 r1", "", "11"),
        ("r1 r1 i1 i1", "11", ""),
        ("i1 i1 r1 r1", "", "11"),
        ("r1 i1 i1 r1", "1", "1"),
        ("i1 i1", "", "11"),
        ("r1 r1", "11", ""),
        ("r1 i2 r2 i1", "1", "2"),
        ("r* i* i* r*", "*", "*"),
        ("i1 2100 r1", "1", "1"),
        ("r1 2100 i1", "1", "1"),
        ("i1 i2 i3 i4 i5 i6 i7 i8 i9 r9", "", "123456789"),
    ] {
        for joined in [true, false] {
            let mut lab = if joined { Lab::joined() } else { Lab::new(2) };
            assert_eq!(pressed(&mut lab, keys), by_info, "{keys}");
            let (told, sent) = lab.keys();
            assert_eq!(told, by_rtp, "{keys}");
            assert_eq!(sent, if joined { by_rtp } else { "" }, "{keys}");
        }
    }
}

#[test]
fn an_info_in_the_middle_of_a_long_press_is_the_same_press() {
    let mut lab = Lab::joined();
    for (n, at) in [(0, 0), (150, 3_000)] {
        lab.put(0, party(0), packet(101, 100 + n, 8_000, 70, &[5, 0x0A, 1, n as u8]));
        lab.run(Duration::from_millis(20));
        // Its packets go on; only some of them are shown here.
        for step in 1..if at == 0 { 150 } else { 2 } {
            lab.put(0, party(0), packet(101, 100 + n + step, 8_000, 70, &[5, 0x0A, 2, step as u8]));
            lab.run(Duration::from_millis(20));
        }
    }
    assert!(!lab.info(0, '5'), "it is still pressed");
    lab.put(0, party(0), packet(101, 260, 8_000, 70, &[5, 0x8A, 9, 9]));
    assert_eq!(lab.keys(), ("5".to_owned(), "5".to_owned()));
    assert!(lab.info(0, '5'), "another one");
}

#[test]
fn a_cancelled_event_leaves_no_gap_in_what_the_other_party_gets() {
    let mut lab = Lab::joined();
    lab.talk(0, 40, 10);
    assert!(lab.info(0, '7'));
    lab.event(party(0), 7, 1_000, 0..8);
    // The network doubles the last packet.
    lab.event(party(0), 7, 1_000, 7..8);
    lab.talk(0, 58, 10);
    assert_eq!(lab.keys().0, "");
    lab.talk(0, 68, 10);
    let sent: Vec<_> = lab.rtp().iter().map(|sent| sent.rtp().sequence).collect();
    assert!(sent.windows(2).all(|two| two[1] == two[0].wrapping_add(1)), "{sent:?}");
    assert_eq!(lab.stats(1).sent.packets, 30);
}

#[test]
fn a_key_is_for_whom_it_was_pressed_and_not_for_whom_the_party_is_joined_with_meanwhile() {
    // Pressed in a menu, which joins the party with another one in the middle of it or at its first end.
    for packets in [1, 3, 6, 7] {
        let mut lab = Lab::new(3);
        lab.event(party(0), 5, 1_000, 0..packets);
        lab.join(0, 1);
        lab.event(party(0), 5, 1_000, packets..8);
        assert_eq!(lab.keys(), ("5".to_owned(), String::new()), "{packets}");
        lab.event(party(0), 5, 2_000, 0..8);
        assert_eq!(lab.keys(), ("5".to_owned(), "5".to_owned()), "the next one");
        // A re-INVITE joins the same two again.
        lab.event(party(0), 6, 3_000, 0..3);
        lab.join(0, 1);
        lab.event(party(0), 6, 3_000, 3..8);
        assert_eq!(lab.keys(), ("6".to_owned(), "6".to_owned()));
    }
}

#[test]
fn keys_and_reports_of_a_neighbour_do_not_count_and_its_voice_does() {
    let ip6 = |last: u16, port: u16| SocketAddr::from(([0xfd99, 0, 0, 0, 0, 0, 0, last], port));
    for authenticated in [false, true] {
        let mut lab = Lab::joined();
        lab.command(Command::Describe { id: id(0), remote: Remote { rtp: ip6(2, 4_000), ..remote(0) } });
        lab.machine.authenticates(id(0), authenticated);
        let says = |lab: &mut Lab, source, from: u16| {
            for n in from..from + 25 {
                lab.put(0, source, packet(0, n, u32::from(n) * 160, 70, &[7; 160]));
                lab.run(FRAME);
            }
            lab.rtp().iter().filter(|sent| sent.to == party(1)).count()
        };
        let neighbour = ip6(0x66, 4_000);
        if !authenticated {
            assert_eq!((1..=4).map(|n| says(&mut lab, neighbour, n * 100)).sum::<usize>(), 0, "2 s");
        }
        assert!(says(&mut lab, neighbour, 600) >= 24);
        lab.talk(1, 1, 1);
        assert_eq!(lab.rtp()[0].to, neighbour, "it is answered");
        lab.event(neighbour, 5, 625 * 20, 0..8);
        let counts = if authenticated { "5" } else { "" };
        assert_eq!(lab.keys(), (counts.to_owned(), counts.to_owned()));
        if !authenticated {
            assert!(says(&mut lab, ip6(2, 4_000), 700) >= 23);
            assert_eq!(says(&mut lab, neighbour, 800), 0);
            lab.event(ip6(2, 4_000), 5, 725 * 20, 0..8);
            assert_eq!(lab.keys(), ("5".to_owned(), "5".to_owned()));
        }
    }
}
