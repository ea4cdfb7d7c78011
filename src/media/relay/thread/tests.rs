//! Relay threads with real sockets on loopback.

use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use crate::forward::{Header, PayloadMap};
use crate::relay::*;
use crate::remote::Remote;
use crate::transport::protection::{Inbound, Keys, MasterKey, Outbound, RTP_OVERHEAD, Suite};

mod listening;

const PATIENCE: Duration = Duration::from_secs(10);

/// A far end.
struct Party {
    socket: UdpSocket,
    id: RelayId,
    relay: SocketAddr,
}

fn way() -> Way {
    let mut payload_types = PayloadMap::EMPTY;
    payload_types.forward(0, 0);
    Way::new(payload_types, 8_000)
}

fn packet(sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0, 0, 1, 2, 3, 4]);
    packet.extend_from_slice(&[0x55; 160]);
    packet
}

impl Party {
    fn new(relay: &RelayHandle, ip: IpAddr, mux: bool, near: Option<RelayId>) -> Self {
        let socket = UdpSocket::bind((ip, 0)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let (id, local) = relay.open(ip.is_ipv6(), near, EndpointConfig::default()).wait().unwrap();
        let rtp = socket.local_addr().unwrap();
        relay.describe(id, Remote { rtcp_mux: mux, ..Remote::at(rtp) });
        Party { socket, id, relay: local }
    }

    fn send(&self, sequence: u16) {
        self.socket.send_to(&packet(sequence), self.relay).unwrap();
    }

    /// The next RTP packet's source and sequence number.
    fn receive(&self) -> (SocketAddr, u16) {
        let mut buffer = [0; 2_048];
        for _ in 0..3 {
            let (len, from) = self.socket.recv_from(&mut buffer).expect("a packet in time");
            let header = Header::read(&buffer[..len]).filter(|header| header.payload_type == 0);
            if let Some(header) = header {
                return (from, header.sequence);
            }
        }
        panic!("RTCP only");
    }
}

fn relay(
    ip: IpAddr,
    ports: std::ops::RangeInclusive<u16>,
) -> (RelayHandle, tokio::sync::mpsc::UnboundedReceiver<RelayEvent>) {
    RelayHandle::spawn(RelayConfig { threads: 1, ..RelayConfig::new(vec![ip], ports, 1) }).unwrap()
}

#[test]
fn packets_pass_both_ways_over_ipv4_and_ipv6() {
    for (ip, mux) in [("127.0.0.1", false), ("127.0.0.1", true), ("::1", true)] {
        let ip: IpAddr = ip.parse().unwrap();
        if UdpSocket::bind((ip, 0)).is_err() {
            assert!(ip.is_ipv6(), "no IPv4 loopback");
            continue;
        }
        let (relay, mut events) = relay(ip, 21_000..=21_999);
        let a = Party::new(&relay, ip, mux, None);
        let b = Party::new(&relay, ip, mux, Some(a.id));
        assert!(relay.join(a.id, b.id, way(), way()));
        // Commands are executed in order: once this is answered, they are joined.
        relay.stats(a.id).blocking_recv().unwrap();
        for n in 1..50 {
            a.send(n);
            assert_eq!(b.receive().0, b.relay);
            b.send(n);
            assert_eq!(a.receive().0, a.relay);
        }
        let stats = relay.stats(a.id).blocking_recv().unwrap();
        assert_eq!((stats.received.packets, stats.sent.packets, stats.dropped.total()), (49, 49, 0));
        relay.close(a.id);
        relay.close(b.id);
        assert_eq!(relay.open_endpoints(), 0);
        let mut closed = 0;
        while closed < 2 {
            match events.blocking_recv().unwrap() {
                RelayEvent::Closed { .. } => closed += 1,
                RelayEvent::Started { .. } => {}
                event => panic!("{event:?}"),
            }
        }
        assert!(relay.stats(a.id).blocking_recv().is_err(), "it is gone");
        relay.shutdown();
        assert!(events.blocking_recv().is_none());
    }
}

/// An address that no other process uses, so that all its ports are free.
fn own_address() -> IpAddr {
    let [.., high, low] = std::process::id().to_be_bytes();
    IpAddr::from([127, 22, high, low])
}

#[test]
fn ports_are_even_with_a_neighbour_and_rest_while_others_are_free() {
    let ip = own_address();
    let (relay, _events) = relay(ip, 22_000..=22_019);
    let mut seen = std::collections::HashSet::new();
    for _ in 0..10 {
        let (id, local) = relay.open(false, None, EndpointConfig::default()).wait().unwrap();
        assert!(local.port().is_multiple_of(2) && (22_000..22_019).contains(&local.port()));
        assert!(seen.insert(local.port()));
        relay.close(id);
    }
    // None is free: one that rests is taken.
    let again = (0..1_500).find_map(|_| match relay.open(false, None, EndpointConfig::default()).wait() {
        Err(OpenError::Ports) => {
            std::thread::sleep(Duration::from_millis(20));
            None
        }
        opened => Some(opened.unwrap().1.port()),
    });
    assert!(seen.contains(&again.expect("within half a minute")));
    assert_eq!(relay.open(true, None, EndpointConfig::default()).wait().err(), Some(OpenError::Family));
}

#[test]
fn who_opens_an_endpoint_that_is_not_bound_yet_does_not_wait_and_joins_get_theirs() {
    let (relay, _events) = relay(own_address(), 26_000..=27_999);
    // After the second answer, endpoints are bound ahead and the thread sleeps.
    for _ in 0..2 {
        relay.totals().into_iter().for_each(|totals| assert!(totals.blocking_recv().is_ok()));
    }
    relay.begin_turn();
    let openings: Vec<Opening> =
        (0..200).map(|_| relay.open(false, None, EndpointConfig::default())).collect();
    let at_once = openings.iter().filter(|it| matches!(it, Opening::Done(Ok(_)))).count();
    let soon = openings.iter().filter(|it| matches!(it, Opening::Soon(_))).count();
    assert!(at_once > 0 && soon > 0 && at_once + soon == 200, "{at_once} at once, {soon} soon");
    let Some(Opening::Done(Ok((near, _)))) = openings.first() else { panic!("the first is bound ahead") };
    // More than are reserved: these block.
    let joins = (0..16).filter_map(|_| relay.open_now(false, *near, &EndpointConfig::default()).ok()).count();
    assert_eq!(joins, 16);
    relay.end_turn();
    let ports: std::collections::HashSet<u16> =
        openings.into_iter().map(|it| it.wait().unwrap().1.port()).collect();
    assert_eq!((ports.len(), relay.open_endpoints()), (200, 216), "each has a port of its own");
    relay.shutdown();
    // Endpoints bound ahead are still there; after that none is bound, and opening fails at once.
    let after = (0..200).find_map(|_| relay.open(false, None, EndpointConfig::default()).wait().err());
    assert_eq!(after, Some(OpenError::Stopped));
}

#[test]
fn a_far_end_that_does_not_multiplex_finds_rtcp_on_the_port_above() {
    let ip = own_address();
    let (relay, _events) = relay(ip, 22_100..=22_199);
    let open = |mux| Party::new(&relay, ip, mux, None);
    let (apart, muxed) = (open(false), open(true));
    let rtcp = |party: &Party, above| {
        // Until this is answered the socket may not exist.
        relay.stats(party.id).blocking_recv().unwrap();
        let report = [0x80, 201, 0, 1, 0, 0, 0, 9];
        let to = SocketAddr::new(ip, party.relay.port() + above);
        party.socket.send_to(&report, to).unwrap();
        // The counters arrive after the datagram, unless it is not for this endpoint.
        let came = || relay.stats(party.id).blocking_recv().unwrap().rtcp.received == 1;
        (0..200).any(|_| {
            std::thread::sleep(Duration::from_millis(5));
            came()
        })
    };
    assert!(rtcp(&apart, 1));
    assert!(rtcp(&muxed, 0));
    let above = SocketAddr::new(ip, muxed.relay.port() + 1);
    assert!(UdpSocket::bind(above).is_ok(), "no socket where none is needed");
}

#[test]
fn an_endpoint_is_opened_at_a_port_of_before_unless_others_have_it() {
    let ip = own_address();
    let (relay, _events) = relay(ip, 25_000..=25_999);
    let at = |port| relay.reopen(SocketAddr::new(ip, port), EndpointConfig::default()).wait();
    let refused = |port| at(port).err();
    // Bound ahead or not, all of them are found.
    let opened: Vec<SocketAddr> = (25_000..25_998).step_by(2).map(|port| at(port).unwrap().1).collect();
    assert_eq!((opened.len(), relay.open_endpoints()), (499, 499));
    assert_eq!([25_000, 25_001, 26_000].map(refused), [Some(OpenError::Ports); 3], "taken, odd, elsewhere");
    let other = SocketAddr::from(([127, 0, 0, 1], 25_998));
    let elsewhere = relay.reopen(other, EndpointConfig::default()).wait();
    assert_eq!(elsewhere.err(), Some(OpenError::Family));
}

#[test]
fn an_address_that_is_not_ours_is_refused_at_the_start() {
    let elsewhere = IpAddr::from([192, 0, 2, 1]);
    let refused = RelayHandle::spawn::<RelayEvent>(RelayConfig::new(vec![elsewhere], 22_200..=22_299, 1));
    assert!(matches!(refused, Err(SpawnError::Bind { ip, .. }) if ip == elsewhere));
}

/// A leg with SRTP and a plain one: each receives the other's packets in its own form.
#[test]
fn a_leg_with_srtp_and_a_plain_one_hear_each_other_and_forgeries_go_nowhere() {
    for suite in Suite::ALL {
        let ip: IpAddr = "127.0.0.1".parse().unwrap();
        let (relay, _events) = relay(ip, 46_200..=46_299);
        let a = Party::new(&relay, ip, true, None);
        let b = Party::new(&relay, ip, true, Some(a.id));
        let key = |n: u8| MasterKey::generate(suite, |octets| octets.fill(n));
        relay.protect(a.id, Some(Keys { local: key(1), remote: key(2) }));
        relay.join(a.id, b.id, way(), way());
        // The thread has executed all commands.
        relay.stats(b.id).blocking_recv().unwrap();
        let (mut to_relay, mut from_relay) = (Outbound::new(&key(2)), Inbound::new(&key(1)));
        let protected = |outbound: &mut Outbound, sequence| {
            let mut buffer = packet(sequence);
            buffer.resize(172 + RTP_OVERHEAD, 0);
            let len = outbound.rtp(&mut buffer, 172).unwrap();
            buffer.truncate(len);
            buffer
        };
        let (mut buffer, mut before) = ([0; 2_048], packet(0));
        for sequence in 1..10 {
            // Plain, changed, and replayed packets: none is forwarded or locks a source.
            a.send(sequence + 1_000);
            let good = protected(&mut to_relay, sequence);
            let mut forged = good.clone();
            forged[20] ^= 1;
            for datagram in [&forged, &before, &good] {
                a.socket.send_to(datagram, a.relay).unwrap();
            }
            before = good;
            let (len, _) = b.socket.recv_from(&mut buffer).expect("a packet in time");
            assert_eq!(buffer[12..len], packet(0)[12..], "plain for the plain leg: {suite}");

            b.send(sequence);
            let (len, _) = a.socket.recv_from(&mut buffer).expect("a packet in time");
            assert_ne!(buffer[12..len], packet(0)[12..]);
            let len = from_relay.rtp(&mut buffer[..len]).expect("under our key");
            assert_eq!(buffer[12..len], packet(0)[12..]);
        }
        let stats = relay.stats(a.id).blocking_recv().unwrap();
        let dropped = (stats.dropped.unauthenticated, stats.dropped.replayed);
        assert_eq!((stats.received.packets, dropped), (9, (19, 8)), "{stats:?}");
        assert_eq!(relay.stats(b.id).blocking_recv().unwrap().received.packets, 9);
        // Our reports are protected, too: the last one comes with the close.
        relay.close(a.id);
        let (len, _) = a.socket.recv_from(&mut buffer).expect("BYE in time");
        let len = from_relay.rtcp(&mut buffer[..len]).expect("under our key");
        assert!(crate::rtp::rtcp::parse(&buffer[..len], 0).unwrap().bye);
        relay.shutdown();
    }
}

/// Both legs of a call continue in another relay, one of them with SRTP.
#[test]
fn a_call_goes_on_in_another_relay_under_the_same_keys() {
    let ip: IpAddr = "127.0.0.1".parse().unwrap();
    let key = |n: u8| MasterKey::generate(Suite::AeadAes128Gcm, |octets| octets.fill(n));
    let (before, _events) = relay(ip, 46_300..=46_399);
    let mut a = Party::new(&before, ip, true, None);
    let mut b = Party::new(&before, ip, true, Some(a.id));
    before.protect(a.id, Some(Keys { local: key(1), remote: key(2) }));
    assert!(before.join(a.id, b.id, way(), way()));
    before.stats(b.id).blocking_recv().unwrap();
    let (mut outbound, mut inbound) = (Outbound::new(&key(2)), Inbound::new(&key(1)));
    let mut protected = |sequence| {
        let mut buffer = packet(sequence);
        buffer.resize(172 + RTP_OVERHEAD, 0);
        let len = outbound.rtp(&mut buffer, 172).unwrap();
        buffer.truncate(len);
        buffer
    };
    let mut buffer = [0; 2_048];
    let mut hears = |a: &Party, b: &Party, sequence| {
        b.send(sequence);
        // The BYE of a relay that ends may arrive first.
        for _ in 0..2 {
            let (len, from) = a.socket.recv_from(&mut buffer).expect("a packet in time");
            if inbound.rtp(&mut buffer[..len]).is_ok() {
                return (from, Header::read(&buffer[..len]).unwrap());
            }
        }
        panic!("not under the same key");
    };
    let said = protected(1);
    a.socket.send_to(&said, a.relay).unwrap();
    let first = b.receive();
    let begun = hears(&a, &b, 1).1;
    let octets =
        [a.id, b.id].map(|id| serde_json::to_vec(&before.snapshot(id).blocking_recv().unwrap()).unwrap());
    // It continues for a while.
    let last = hears(&a, &b, 2).1;
    before.shutdown();

    let (after, _events) = relay(ip, 46_300..=46_399);
    for (party, octets) in [&mut a, &mut b].into_iter().zip(&octets) {
        let snapshot: EndpointSnapshot = serde_json::from_slice(octets).unwrap();
        assert!(snapshot.remote().is_some());
        let (id, local) = after.reopen(party.relay, snapshot.config()).wait().unwrap();
        assert_eq!(local, party.relay);
        assert_eq!(after.restore(id, snapshot.clone()).blocking_recv(), Ok(Ok(())));
        assert_eq!(after.restore(id, snapshot).blocking_recv(), Ok(Err(RestoreError::Used)));
        party.id = id;
    }
    assert!(after.join(a.id, b.id, way(), way()));
    after.stats(b.id).blocking_recv().unwrap();
    for datagram in [&said, &packet(2), &protected(3)] {
        a.socket.send_to(datagram, a.relay).unwrap();
    }
    let next = b.receive();
    assert_eq!(next.0, b.relay, "neither a replay nor a plain one");
    // As many packets as the time that has passed.
    assert!((1..MARGIN).contains(&next.1.wrapping_sub(first.1)));
    let (from, header) = hears(&a, &b, 10);
    assert_eq!((from, header.ssrc), (a.relay, begun.ssrc));
    assert_eq!(header.sequence.wrapping_sub(begun.sequence), MARGIN + 1);
    assert!((header.timestamp.wrapping_sub(last.timestamp) as i32) > 0);
    let stats = after.stats(a.id).blocking_recv().unwrap();
    let dropped = (stats.dropped.unauthenticated, stats.dropped.replayed);
    assert_eq!((stats.received.packets, stats.sent.packets, dropped), (2, 2, (1, 1)));
    assert!(stats.received.first < stats.received.last && stats.since < stats.received.last.unwrap());
    let gone = RelayId { generation: 999, ..a.id };
    assert!(after.snapshot(gone).blocking_recv().is_err());
}
