//! Which source is believed, in virtual time.

use super::*;

const MS: u64 = 1_000_000;
const SIGNALLED: &str = "192.0.2.1:4000";
const SIGNALLING: &str = "198.51.100.1:31000";
const NAMED: &str = "203.0.113.7:20000";
const STRANGER: &str = "203.0.114.66:6666";

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A lock, and when its believed source was last heard.
#[derive(Clone)]
struct Party {
    lock: SourceLock,
    at: u64,
    heard: u64,
}

impl Party {
    fn new(answer: Answering) -> Self {
        let networks = vec!["203.0.113.0/24".parse().unwrap()];
        let mut lock = SourceLock::new(NamedSources { networks, answer });
        lock.signal(Some(address(SIGNALLED)), [Some(address(SIGNALLING).ip()), None], 1_000 * MS);
        Party { lock, at: 1_000 * MS, heard: 0 }
    }

    /// The far end signals another address.
    fn signal(&mut self, text: &str) {
        self.lock.signal(Some(address(text)), [Some(address(SIGNALLING).ip()), None], self.at);
    }

    /// A packet 20 ms after the previous one; returns whether it is believed.
    fn packet(&mut self, source: &str) -> bool {
        self.at += 20 * MS;
        self.lock.expire(self.at);
        let source = address(source);
        let known = self.lock.believed() == Some(source);
        let believed =
            known || matches!(self.lock.consider(source, self.at, self.heard), Belief::Believed { .. });
        if believed {
            self.heard = self.at;
        }
        believed
    }

    fn pass(&mut self, ms: u64) {
        self.at += ms * MS;
        self.lock.expire(self.at);
    }
}

#[test]
fn who_is_first_is_not_believed_if_nobody_names_them() {
    for (party, answered) in [(SIGNALLED, SIGNALLED), (SIGNALLING, SIGNALLING), (NAMED, NAMED)] {
        let mut it = Party::new(Answering::Source);
        for _ in 0..100 {
            assert!(!it.packet(STRANGER));
            assert_eq!(it.lock.destination(), Some(address(SIGNALLED)));
        }
        assert!(it.packet(party), "{party}");
        for _ in 0..100 {
            assert!(!it.packet(STRANGER) && it.packet(party));
        }
        it.pass(60_000);
        assert!(!it.packet(STRANGER), "silence lets nobody in");
        assert_eq!(it.lock.destination(), Some(address(answered)));
        assert_eq!(it.lock.changes(), 0);
    }
}

#[test]
fn a_better_source_takes_over_at_once_and_no_worse_one_while_it_is_heard() {
    let mut it = Party::new(Answering::Source);
    let ranks = [NAMED, SIGNALLING, "192.0.2.1:4002", SIGNALLED];
    for (better, source) in ranks.iter().enumerate() {
        assert!(it.packet(source), "{source}");
        for worse in &ranks[..better] {
            assert!(!it.packet(worse) && it.packet(source), "{worse}");
        }
    }
    assert_eq!(it.lock.changes(), 3);
}

#[test]
fn an_equal_or_worse_source_takes_over_after_a_quarter_of_a_second() {
    for (before, after) in
        [(SIGNALLING, "198.51.100.1:31002"), (SIGNALLED, SIGNALLING), (SIGNALLED, NAMED), (NAMED, NAMED)]
    {
        let mut it = Party::new(Answering::Source);
        assert!(it.packet(before));
        it.pass(220);
        assert_eq!(it.packet(after), before == after, "240 ms of silence");
        it.pass(0);
        assert!(it.packet(after), "260 ms");
        assert_eq!(it.lock.destination(), Some(address(after)));
    }
}

#[test]
fn one_forged_packet_of_the_signalled_address_does_not_keep_the_party_away() {
    let mut it = Party::new(Answering::Source);
    assert!(it.packet(SIGNALLING) && it.packet(SIGNALLED));
    let refused = (0..50).take_while(|_| !it.packet(SIGNALLING)).count();
    assert!(refused <= 12, "{refused}");
    assert_eq!(it.lock.destination(), Some(address(SIGNALLING)));
}

#[test]
fn a_source_may_be_believed_and_not_answered() {
    let mut it = Party::new(Answering::Signalled);
    assert!(it.packet(NAMED));
    assert_eq!(it.lock.believed(), Some(address(NAMED)));
    assert_eq!(it.lock.destination(), Some(address(SIGNALLED)));
}

/// The signalled and signalling addresses of a party with IPv6, and a neighbour's on its link.
const HOME: &str = "[2001:db8:1:2::7]:4000";
const HOME_SIP: &str = "2001:db8:1:2::8";
const NEIGHBOUR_6: &str = "[2001:db8:1:2:aaaa::9]:7";

fn at_home() -> Party {
    let mut party = Party { lock: SourceLock::default(), at: 1_000 * MS, heard: 0 };
    party.lock.signal(Some(address(HOME)), [Some(HOME_SIP.parse().unwrap()), None], party.at);
    party
}

#[test]
fn a_neighbour_is_believed_after_two_seconds_of_silence_and_yields_at_once() {
    let mut it = at_home();
    assert!(!it.packet("[2001:db8:1:3::7]:4000") && !it.packet("192.0.2.1:4000"), "of another network");
    for _ in 0..97 {
        assert!(!it.packet(NEIGHBOUR_6));
        assert_eq!(it.lock.destination(), Some(address(HOME)));
    }
    assert!(it.packet(NEIGHBOUR_6), "a temporary address");
    assert_eq!(it.lock.destination(), Some(address(NEIGHBOUR_6)));
    assert!(!it.lock.admits_keys() && !it.lock.admits_rtcp(address(NEIGHBOUR_6)));
    it.pass(1_900);
    assert!(!it.packet("[2001:db8:1:2::66]:9"), "another neighbour, until the first is silent as long");
    for exact in [HOME, "[2001:db8:1:2::7]:9", "[2001:db8:1:2::8]:9"] {
        let mut it = it.clone();
        assert!(it.packet(exact), "{exact}");
        assert_eq!(it.lock.destination(), Some(address(exact)));
        assert!(it.lock.admits_keys() && it.lock.admits_rtcp(address(exact)));
        for _ in 0..50 {
            assert!(!it.packet(NEIGHBOUR_6) && it.packet(exact));
        }
        it.pass(1_960);
        assert!(!it.packet(NEIGHBOUR_6));
        assert!(it.packet(NEIGHBOUR_6), "two seconds of silence");
    }
}

#[test]
fn a_neighbour_has_to_wait_again_for_each_new_address() {
    let mut it = at_home();
    it.pass(2_000);
    assert!(it.packet(NEIGHBOUR_6));
    it.signal("[2001:db8:1:2::7]:4002");
    assert_eq!(it.lock.destination(), Some(address("[2001:db8:1:2::7]:4002")));
    assert!(it.packet(NEIGHBOUR_6), "its packets are still in flight");
    it.pass(1_000);
    assert!(!it.packet(NEIGHBOUR_6));
    assert_eq!(it.lock.destination(), Some(address("[2001:db8:1:2::7]:4002")));
    it.pass(1_000);
    assert!(it.packet(NEIGHBOUR_6));
}

#[test]
fn a_neighbour_that_authenticates_is_the_party() {
    let mut it = at_home();
    it.lock.authenticates(true);
    assert!(it.packet(NEIGHBOUR_6));
    assert!(it.lock.admits_keys() && it.lock.admits_rtcp(address(NEIGHBOUR_6)));
}

#[test]
fn nothing_goes_to_an_address_that_may_not_be_named_or_is_believed_from_there() {
    for answer in [Answering::Source, Answering::Signalled] {
        let mut it = Party::new(answer);
        it.lock = SourceLock::new(it.lock.sources().clone());
        it.lock.signal(None, [Some(address(SIGNALLING).ip()), None], it.at);
        assert!(!it.packet(SIGNALLED) && !it.packet(STRANGER));
        assert_eq!(it.lock.destination(), None);
        for source in [NAMED, SIGNALLING] {
            assert!(it.packet(source), "{source}");
            assert_eq!(it.lock.destination(), Some(address(source)), "sent back once it came");
        }
        it.lock.signal(None, [Some(address(SIGNALLING).ip()), None], it.at);
        assert_eq!(it.lock.destination(), Some(address(SIGNALLING)), "the same again");
    }
}

#[test]
fn an_address_that_may_not_be_named_leaves_the_party_where_it_was_heard() {
    let mut it = Party::new(Answering::Source);
    assert!(it.packet(SIGNALLING));
    it.lock.signal(None, [Some(address(SIGNALLING).ip()), None], it.at);
    for _ in 0..100 {
        assert_eq!(it.lock.destination(), Some(address(SIGNALLING)));
        assert!(it.packet(SIGNALLING));
    }
}

/// Two parties that talked through a third are told of each other at the same time, as direct media does.
#[test]
fn two_parties_told_of_each_other_at_once_find_each_other() {
    let (ann, bob) = ("192.0.2.21:4000", "192.0.2.22:4000");
    // The third one's descriptions name its address, or that of its NAT.
    for (third, from) in [("192.0.2.9:5000", "192.0.2.9:5000"), ("203.0.113.9:5000", "192.0.2.9:5002")] {
        for apart_ms in [0, 100, 3_000] {
            let mut ends = [ann, bob].map(|_| {
                let mut lock = SourceLock::default();
                lock.signal(Some(address(third)), [Some(address("192.0.2.9:0").ip()), None], 1_000 * MS);
                Party { lock, at: 1_000 * MS, heard: 0 }
            });
            assert!(ends.iter_mut().all(|end| end.packet(from)));
            let mut through_third = 0;
            for packet in 0..400 {
                for (end, other, when) in [(0, bob, 0), (1, ann, apart_ms)] {
                    if packet * 20 == when {
                        let at = ends[end].at;
                        let sip = [Some(address("192.0.2.9:0").ip()), None];
                        ends[end].lock.signal(Some(address(other)), sip, at);
                    }
                }
                // Each sends where its lock says; the third one passes on what it gets.
                let to = [0, 1].map(|end: usize| ends[end].lock.destination());
                for (end, own) in [(0, ann), (1, bob)] {
                    let direct = to[end] == Some(address([bob, ann][end]));
                    if packet > 200 {
                        through_third += usize::from(!direct);
                    }
                    ends[1 - end].packet(if direct { own } else { from });
                }
            }
            assert_eq!(through_third, 0, "{from}, {apart_ms} ms");
            assert_eq!(ends[0].lock.believed(), Some(address(bob)));
        }
    }
}

#[test]
fn whatever_authenticates_is_believed_and_roams() {
    let mut it = Party::new(Answering::Source);
    it.lock.authenticates(true);
    assert!(it.packet(SIGNALLED));
    assert!(!it.packet(STRANGER), "while the first is heard");
    it.pass(300);
    assert!(it.packet(STRANGER) && !it.packet("203.0.114.77:1"));
    assert_eq!(it.lock.destination(), Some(address(STRANGER)));
    assert!(it.lock.admits_rtcp(address("203.0.114.99:9")));
}

#[test]
fn after_a_new_address_the_source_of_before_is_heard_for_a_second_and_not_answered() {
    let mut it = Party::new(Answering::Source);
    assert!(it.packet(SIGNALLED));
    it.signal("192.0.3.9:5000");
    assert_eq!(it.lock.destination(), Some(address("192.0.3.9:5000")));
    for _ in 0..49 {
        assert!(it.packet(SIGNALLED), "it is still on its way");
        assert_eq!(it.lock.destination(), Some(address("192.0.3.9:5000")));
    }
    assert!(it.lock.admits_rtcp(address("192.0.2.1:1")));
    it.pass(20);
    assert!(!it.packet(SIGNALLED), "a second is over");
    assert!(!it.lock.admits_rtcp(address("192.0.2.1:1")));
}

#[test]
fn whoever_may_be_learned_takes_the_former_sources_place_at_once() {
    for next in ["192.0.3.9:5000", "192.0.3.9:5002", "198.51.100.1:31002", NAMED] {
        let mut it = Party::new(Answering::Source);
        assert!(it.packet("198.51.100.1:31000"));
        it.signal("192.0.3.9:5000");
        assert!(it.packet("198.51.100.1:31000"));
        assert!(!it.packet(STRANGER));
        assert!(it.packet(next), "{next}");
        assert_eq!(it.lock.destination(), Some(address(next)));
        let straggler = it.packet("198.51.100.1:31000");
        assert_eq!(straggler, next == NAMED, "a straggler, unless it is the better one");
    }
}

#[test]
fn a_party_behind_a_nat_that_signals_again_is_still_answered() {
    let mut it = Party::new(Answering::Source);
    it.signal("10.0.0.1:4000");
    assert!(it.packet(SIGNALLING));
    it.signal("10.0.0.1:4444");
    for _ in 0..60 {
        assert!(it.packet(SIGNALLING));
        assert_eq!(it.lock.destination(), Some(address(SIGNALLING)));
    }
    assert_eq!(it.lock.changes(), 0);
    assert_eq!(it.lock.destination(), Some(address(SIGNALLING)));
    it.signal("10.0.0.1:4444");
    it.signal("0.0.0.0:4444");
    assert_eq!(it.lock.destination(), Some(address(SIGNALLING)), "nothing new was said");
}

#[test]
fn a_former_source_that_may_be_learned_is_answered_again_after_a_second() {
    for (before, after) in [(SIGNALLED, "192.0.2.1:4002"), (SIGNALLING, "10.0.0.1:4444")] {
        let mut it = Party::new(Answering::Source);
        assert!(it.packet(before));
        it.signal(after);
        for _ in 0..49 {
            assert!(it.packet(before), "{before}");
            assert_eq!(it.lock.destination(), Some(address(after)));
        }
        it.pass(20);
        assert!(it.packet(before));
        assert_eq!(it.lock.destination(), Some(address(before)), "nothing else came");
        assert!(it.packet(after));
        assert_eq!(it.lock.destination(), Some(address(after)));
    }
}

#[test]
fn signalling_from_elsewhere_brings_its_host_with_it() {
    let mut it = Party::new(Answering::Source);
    let first = address(SIGNALLING).ip();
    let moved = address("198.51.100.200:1").ip();
    assert!(it.packet(SIGNALLING) && !it.packet("198.51.100.200:40000"));
    it.lock.signal(Some(address(SIGNALLED)), [Some(first), Some(moved)], it.at);
    it.pass(300);
    assert!(it.packet("198.51.100.200:40000"));
    assert_eq!(it.lock.destination(), Some(address("198.51.100.200:40000")));
    // It moves back: packets that it has sent so far are still in flight.
    it.lock.signal(Some(address(SIGNALLED)), [Some(first), None], it.at);
    assert!(it.packet("198.51.100.200:40000"));
    it.pass(1_000);
    assert!(!it.packet("198.51.100.200:40000"));
}

#[test]
fn the_address_of_a_host_name_moves_nobody_who_was_heard_before() {
    for answer in [Answering::Source, Answering::Signalled] {
        let mut it = Party::new(answer);
        it.lock = SourceLock::new(it.lock.sources().clone());
        it.lock.signal(None, [Some(address(SIGNALLING).ip()), None], it.at);
        assert!(it.packet(SIGNALLING));
        it.lock.found(address(SIGNALLED));
        let source = if answer == Answering::Source { SIGNALLING } else { SIGNALLED };
        assert_eq!((it.lock.destination(), it.lock.due()), (Some(address(source)), 0));
        assert!(it.packet(SIGNALLED), "the better source takes over at once");
        assert_eq!(it.lock.destination(), Some(address(SIGNALLED)));
    }
}
