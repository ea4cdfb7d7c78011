//! The media of a call are those of its parties, whoever else sends to its ports. An attacker at a third
//! address knows every port of the call, and sends RTP to them at every stage; parties are public (they send
//! from the address they announce) or behind a NAT (they announce an unreachable address).

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use serde_json::Value;

use crate::server_support::phone::{Dialog, Phone, event, rtp_of};
use crate::server_support::{Server, server, until};

/// An unused address.
pub(super) const NOWHERE: Ipv4Addr = Ipv4Addr::new(127, 9, 9, 9);
pub(super) const CALLER: u8 = 0x11;
pub(super) const CALLEE: u8 = 0x22;
const OTHER: u8 = 0x33;
const ATTACKER: u8 = 0x66;

pub(super) const fn host(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, last)
}

pub(super) fn public(name: &'static str, last: u8) -> Phone {
    Phone::at(name, [host(last); 3])
}

fn behind_nat(name: &'static str, last: u8) -> Phone {
    Phone::at(name, [host(last), host(last), NOWHERE])
}

/// An attacker at a third address.
struct Attacker {
    socket: UdpSocket,
    sent: u16,
}

impl Attacker {
    fn new() -> Attacker {
        let socket = UdpSocket::bind((host(66), 0)).expect("loopback");
        socket.set_nonblocking(true).expect("a socket");
        Attacker { socket, sent: 0 }
    }

    /// Sends six packets to each of these ports, in sequence, and a digit.
    fn sprays(&mut self, ports: &[SocketAddr]) {
        for _ in 0..6 {
            self.sent += 1;
            let mut packet = vec![0x80, 8];
            packet.extend_from_slice(&self.sent.to_be_bytes());
            packet.extend_from_slice(&(u32::from(self.sent) * 160).to_be_bytes());
            packet.extend_from_slice(&[0, 0, 2, 0x9A]);
            packet.extend_from_slice(&[ATTACKER; 160]);
            for port in ports {
                self.socket.send_to(&packet, port).expect("loopback");
            }
        }
    }

    /// Number of RTP packets that it received.
    fn heard(&self) -> usize {
        let mut buffer = [0; 2_048];
        std::iter::from_fn(|| self.socket.recv_from(&mut buffer).ok()).count()
    }
}

/// Both parties send until each has heard the other; nothing from an attacker is heard.
pub(super) fn talk(n: &mut u16, one: (&Phone, SocketAddr, u8), other: (&Phone, SocketAddr, u8)) {
    let mut heard = [Vec::new(), Vec::new()];
    until("both to be heard", || {
        for _ in 0..5 {
            *n += 1;
            one.0.sound(one.1, *n, &[one.2; 160]);
            other.0.sound(other.1, *n, &[other.2; 160]);
            std::thread::sleep(Duration::from_millis(2));
        }
        heard[0].extend(one.0.payloads());
        heard[1].extend(other.0.payloads());
        let has = |heard: &[Vec<u8>], of: u8| heard.iter().filter(|it| it.first() == Some(&of)).count() >= 5;
        (has(&heard[0], other.2) && has(&heard[1], one.2)).then_some(())
    });
    let injected = heard.iter().flatten().filter(|it| it.first() == Some(&ATTACKER)).count();
    assert_eq!(injected, 0, "the attacker's voice");
}

pub(super) fn report(server: &Server) -> Value {
    let call = server.get("/calls").json()["calls"][0]["call"].clone();
    server.get(&format!("/calls/{call}")).json()
}

fn attacked(mut caller: Phone, callee: Phone) {
    let third = public("third", 4);
    let mut attacker = Attacker::new();
    let server = server(&format!(
        "[[route]]\ncalled = \"200\"\nto = [\"{}\"]\n[[route]]\ncalled = \"300\"\nto = [\"{}\"]\n",
        callee.uri(),
        third.uri()
    ));
    let mut n = 0;
    let asked = caller.ask_for(server.sip, "200");
    let (invite, peer) = callee.hear("INVITE");
    let to_b = rtp_of(&invite);
    // All ports nearby, including those of this call.
    let near: Vec<_> =
        (0..40).map(|step| SocketAddr::new(to_b.ip(), (to_b.port() & !1) - 40 + step * 2)).collect();
    callee.ring_to(&invite, peer);
    caller.hear("SIP/2.0 180");
    attacker.sprays(&near);
    callee.progress_to(&invite, peer);
    let (progress, _) = caller.hear("SIP/2.0 183");
    let to_a = rtp_of(&progress);
    let both = [to_a, to_b];
    attacker.sprays(&both);
    // Early media; a party behind a NAT has to send first.
    talk(&mut n, (&caller, to_a, CALLER), (&callee, to_b, CALLEE));
    let _ = callee.answer_to(&invite, peer);
    let (answer, _) = caller.hear("SIP/2.0 200");
    attacker.sprays(&both);
    let dialog: Dialog = caller.confirmed(&answer, asked, server.sip);
    attacker.sprays(&both);
    talk(&mut n, (&caller, to_a, CALLER), (&callee, to_b, CALLEE));
    // A re-INVITE to another port.
    caller.moves();
    caller.change(&dialog, 2, "sendrecv");
    attacker.sprays(&both);
    talk(&mut n, (&caller, to_a, CALLER), (&callee, to_b, CALLEE));
    // Hold, and resume.
    caller.change(&dialog, 3, "inactive");
    attacker.sprays(&both);
    caller.change(&dialog, 4, "sendrecv");
    attacker.sprays(&both);
    talk(&mut n, (&caller, to_a, CALLER), (&callee, to_b, CALLEE));
    let refused = report(&server)["legs"][0]["media"]["refused_source"].as_u64();
    assert!(refused >= Some(30), "{refused:?}");
    // The callee is transferred.
    caller.refer(&dialog, 5, &format!("sip:300@{}", server.sip));
    let (invite, peer) = third.hear("INVITE");
    let to_c = rtp_of(&invite);
    attacker.sprays(&[to_a, to_b, to_c]);
    let _ = third.answer_to(&invite, peer);
    attacker.sprays(&[to_b, to_c]);
    talk(&mut n, (&callee, to_b, CALLEE), (&third, to_c, OTHER));
    assert_eq!(attacker.heard(), 0, "what the parties said");
}

#[test]
fn who_sends_first_gets_nothing_of_a_call_between_public_phones() {
    attacked(public("ann", 2), public("bob", 3));
}

#[test]
fn who_sends_first_gets_nothing_of_a_call_of_phones_behind_a_nat() {
    attacked(behind_nat("ann", 2), behind_nat("bob", 3));
}

/// A call whose callee sends its media from another address than its signalling; also returns whether the
/// caller hears it.
fn from_elsewhere(lines: &str, callee: &Phone, target: &str) -> (Server, Dialog, Phone, bool) {
    let ann = public("ann", 2);
    let server = server(&format!("[[route]]\ncalled = \"200\"\nto = [\"{target}\"]\n{lines}"));
    let asked = ann.ask_for(server.sip, "200");
    let (invite, peer) = callee.hear("INVITE");
    let to_b = rtp_of(&invite);
    let _ = callee.answer_to(&invite, peer);
    let (answer, _) = ann.hear("SIP/2.0 200");
    let dialog = ann.confirmed(&answer, asked, server.sip);
    let mut heard = false;
    // More than the minimum that is reported.
    for n in 1..=80 {
        callee.sound(to_b, n, &[CALLEE; 160]);
        ann.sound(rtp_of(&answer), n, &[CALLER; 160]);
        std::thread::sleep(Duration::from_millis(20));
    }
    heard |= ann.payloads().iter().any(|it| it.first() == Some(&CALLEE));
    (server, dialog, ann, heard)
}

#[test]
fn a_phone_with_one_address_for_sip_and_one_for_rtp_is_named_and_let_in_by_the_line_that_is_named() {
    // As behind a NAT with a pool of addresses.
    let bob = || Phone::at("bob", [host(3), host(33), NOWHERE]);
    let callee = bob();
    let (server, dialog, ann, heard) = from_elsewhere("", &callee, &callee.uri());
    assert!(!heard, "nothing names 127.0.0.33");
    let alarm = until("the alarm", || {
        let alarms = server.get("/alarms").json();
        let found = alarms["alarms"].as_array()?.iter().find(|it| it["name"] == "media_refused")?;
        Some(found.to_string())
    });
    assert!(alarm.contains(r#"media_from = [\"127.0.0.33\"]"#), "{alarm}");
    let account = report(&server).to_string();
    assert!(
        account.contains("other_address") && account.contains(r#"media_from = [\"127.0.0.33\"]"#),
        "{account}"
    );
    assert!(server.metric("b2b_alarms{alarm=\"media_refused\"}") == 1.0);
    ann.hang_up(&dialog);

    let callee = bob();
    let lines = "[media]\nmedia_from = [\"127.0.0.33\"]\n";
    let (server, _, _, heard) = from_elsewhere(lines, &callee, &callee.uri());
    assert!(heard && !callee.payloads().is_empty(), "{}", report(&server));
}

#[test]
fn a_carrier_whose_media_come_from_elsewhere_is_heard_and_answered_as_its_gateway_says() {
    // Its descriptions give its signalling address, but it sends from another machine.
    let carrier = || Phone::at("200", [host(5), host(55), host(5)]);
    let gateway = |carrier: &Phone, more: &str| {
        let uri = carrier.uri();
        let at = uri.rsplit('@').next().expect("a host").to_owned();
        format!("[[gateway]]\nname = \"carrier\"\nhosts = [\"{at}\"]\noptions_s = 0\n{more}")
    };
    let callee = carrier();
    let (server, _, _, heard) = from_elsewhere(&gateway(&callee, ""), &callee, "gateway/carrier/200");
    assert!(!heard);
    let alarm = until("the alarm", || {
        let alarms = server.get("/alarms").json();
        alarms["alarms"].as_array()?.iter().find(|it| it["name"] == "media_refused").cloned()
    });
    assert_eq!(alarm["subject"], "gateway/carrier");

    let callee = carrier();
    let lines = gateway(&callee, "media_from = [\"127.0.0.55\"]\n");
    let (_, _, _, heard) = from_elsewhere(&lines, &callee, "gateway/carrier/200");
    assert!(heard && !callee.payloads().is_empty());

    let callee = carrier();
    let named = UdpSocket::bind((host(5), callee.rtp().port())).expect("where it says that it is");
    named.set_read_timeout(Some(crate::common::child::PATIENCE)).expect("a timeout");
    let lines = gateway(&callee, "media_from = [\"127.0.0.55\"]\nmedia_answer = \"signalled\"\n");
    let (_, _, _, heard) = from_elsewhere(&lines, &callee, "gateway/carrier/200");
    assert!(heard && callee.payloads().is_empty());
    let mut buffer = [0; 2_048];
    assert!(named.recv_from(&mut buffer).is_ok_and(|(length, _)| buffer[12..length].starts_with(&[CALLER])));
}

/// A host that has never requested anything, at this port.
pub(super) fn bystander(port: u16) -> UdpSocket {
    let socket = UdpSocket::bind((host(77), port)).expect("loopback");
    socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    socket
}

/// Sends these packets; returns the number that the bystander receives.
pub(super) fn gets(
    bystander: &UdpSocket,
    phone: &Phone,
    to: SocketAddr,
    packets: std::ops::Range<u16>,
) -> usize {
    std::thread::scope(|scope| {
        let speaks = scope.spawn(|| {
            for n in packets {
                phone.sound(to, n, &[CALLEE; 160]);
                std::thread::sleep(Duration::from_micros(500));
            }
        });
        let mut buffer = [0; 2_048];
        let mut rtp = 0;
        loop {
            let all_said = speaks.is_finished();
            match bystander.recv_from(&mut buffer) {
                Ok((length, _)) => rtp += usize::from(length == 172),
                Err(_) if all_said => return rtp,
                Err(_) => {}
            }
        }
    })
}

#[test]
fn who_is_named_and_has_proved_nothing_gets_as_much_of_all_calls_as_of_two_and_no_more() {
    let bob = public("bob", 3);
    let server = server(&format!("[[route]]\ncalled = \"200\"\nto = [\"{}\"]\n", bob.uri()));
    let call = || {
        let ann = Phone::at("ann", [host(2), host(2), host(77)]);
        let named = bystander(ann.rtp().port());
        let asked = ann.ask_for(server.sip, "200");
        let (invite, peer) = bob.hear("INVITE");
        let _ = bob.answer_to(&invite, peer);
        let (answer, _) = ann.hear("SIP/2.0 200");
        let dialog = ann.confirmed(&answer, asked, server.sip);
        (ann, dialog, named, rtp_of(&invite), rtp_of(&answer))
    };
    let (_ann, _, named, to, _) = call();
    // A stalled machine makes a socket overflow: send until some packets were withheld.
    let mut rounds = 0..20;
    let mut got = 0;
    while !report(&server).to_string().contains("withheld") {
        let round = rounds.next().expect("something to be withheld");
        got += gets(&named, &bob, to, round * 1_000..(round + 1) * 1_000);
    }
    assert!((2_000..=3_000).contains(&got), "{got}");
    // Another call.
    let (_ann, _, named, to, back) = call();
    assert_eq!(gets(&named, &bob, to, 0..50), 0);
    // Until a packet arrives from there.
    named.send_to(&[&[0x80, 8, 0, 1][..], &[0x55; 168]].concat(), back).expect("loopback");
    assert!(gets(&named, &bob, to, 0..50) >= 45);
}

#[test]
fn a_phone_behind_a_named_proxy_sends_from_where_the_proxy_saw_it() {
    let seen = "Via: SIP/2.0/UDP 10.9.9.9:5060;branch=z9hG4bKphone;received=127.0.0.8;rport=5060\r\n";
    for (proxies, heard) in [("127.0.0.7", true), ("127.0.0.99", false)] {
        let bob = public("bob", 3);
        let lines = format!(
            "[registrar]\nproxies = \"{proxies}\"\n[[route]]\ncalled = \"200\"\nto = [\"{}\"]\n",
            bob.uri()
        );
        let server = server(&lines);
        // Its signalling comes from the proxy; its media come from its NAT.
        let ann = Phone::at("ann", [host(7), host(8), NOWHERE]);
        let asked = ann.ask_with(server.sip, "200", seen);
        let (invite, peer) = bob.hear("INVITE");
        let _ = bob.answer_to(&invite, peer);
        let (answer, _) = ann.hear("SIP/2.0 200");
        let _dialog = ann.confirmed(&answer, asked, server.sip);
        let (to_a, to_b) = (rtp_of(&answer), rtp_of(&invite));
        if heard {
            talk(&mut 0, (&ann, to_a, CALLER), (&bob, to_b, CALLEE));
        } else {
            until("them to be refused", || {
                ann.speak(to_a, 10);
                let refused = report(&server)["legs"][0]["media"]["refused_source"].as_u64();
                (refused >= Some(50)).then_some(())
            });
            assert!(bob.payloads().is_empty());
        }
    }
}

/// A menu: 1 plays a tone, 2 hangs up.
const MENU: &str = "[[route]]\ncalled = \"8000\"\napp = \"ivr/menu\"\n[[ivr]]\nname = \"menu\"\n\
    [[ivr.node]]\nname = \"ask\"\nkind = \"menu\"\nprompt = \"silence:100\"\nchoices = { 1 = \"right\", 2 = \"wrong\" }\n\
    first_s = 60\ntotal_s = 120\n\
    [[ivr.node]]\nname = \"right\"\nkind = \"set\"\nvalues = { pressed = \"1\" }\n\
    [[ivr.node]]\nname = \"wrong\"\nkind = \"set\"\nvalues = { pressed = \"2\" }\n";

#[test]
fn keys_of_a_stranger_choose_nothing_in_a_menu() {
    for nat in [false, true] {
        let told = if nat { NOWHERE } else { host(2) };
        let ann = Phone::at("ann", [host(2), host(2), told]);
        let ann = ann.speaking("8 101", "a=rtpmap:101 telephone-event/8000\r\n");
        let attacker = Attacker::new();
        let server = server(MENU);
        let asked = ann.ask_for(server.sip, "8000");
        let (answer, _) = ann.hear("SIP/2.0 200");
        let at = rtp_of(&answer);
        // Before Ann's first packet, and before Ann's ACK.
        let sends = |n| event(n, 101, 2).iter().for_each(|packet| drop(attacker.socket.send_to(packet, at)));
        sends(10);
        let call = asked.1.clone();
        ann.confirmed(&answer, asked, server.sip);
        sends(30);
        ann.speak(at, 10);
        until("them to be refused", || {
            sends(50);
            let refused = report(&server)["legs"][0]["media"]["refused_source"].as_u64();
            (refused >= Some(12)).then_some(())
        });
        ann.press_event(at, 100, 101, 1);
        assert_eq!(ann.let_go(), call);
        let record = until("Ann's record", || {
            let text = std::fs::read_to_string(server.folder.path().join("cdr.jsonl")).unwrap_or_default();
            text.lines().find_map(|line| serde_json::from_str::<Value>(line).ok())
        });
        assert_eq!(record["variables"]["pressed"], "1", "nat = {nat}: {record}");
        assert_eq!(attacker.heard(), 0);
    }
}

/// `a=rtcp` and ICE attributes of a description that all name another host; and that host's sockets.
fn lies() -> (String, [UdpSocket; 2]) {
    let sockets = [(); 2].map(|()| bystander(0));
    let [one, two] = sockets.each_ref().map(|it| it.local_addr().expect("an address").port());
    let victim = host(77);
    let lines = format!(
        "a=rtcp:{two} IN IP4 {victim}\r\na=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\n\
         a=candidate:1 1 UDP 2130706431 {victim} {one} typ host\r\n\
         a=candidate:1 2 UDP 2130706430 {victim} {two} typ host\r\n\
         a=remote-candidates:1 {victim} {one} 2 {victim} {two}\r\na=end-of-candidates\r\n"
    );
    (lines, sockets)
}

/// The socket for RTCP of a phone: at the port after that of its RTP.
fn rtcp_of(phone: &Phone) -> Option<UdpSocket> {
    let at = SocketAddr::new(phone.rtp().ip(), phone.rtp().port().checked_add(1)?);
    let socket = UdpSocket::bind(at).ok()?;
    socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
    Some(socket)
}

/// A phone with these false attributes, and a free port for RTCP.
fn liar(name: &'static str, last: u8, lines: &str) -> (Phone, UdpSocket) {
    until("two ports", || {
        let phone = public(name, last).speaking("8", lines);
        rtcp_of(&phone).map(|rtcp| (phone, rtcp))
    })
}

#[test]
fn what_a_description_says_of_rtcp_and_candidates_leads_nothing_to_anybody_else() {
    for app in [false, true] {
        let (of_ann, at_anns) = lies();
        let (of_bob, at_bobs) = lies();
        let ((ann, rtcp), (bob, _bobs)) = (liar("ann", 2, &of_ann), liar("bob", 3, &of_bob));
        let server = server(&format!(
            "[[route]]\ncalled = \"200\"\nto = [\"{}\"]\n[[route]]\ncalled = \"300\"\napp = \"echo\"\n",
            bob.uri()
        ));
        let asked = ann.ask_for(server.sip, if app { "300" } else { "200" });
        let to_b = (!app).then(|| {
            let (invite, peer) = bob.hear("INVITE");
            for word in ["candidate", "ice-", "127.0.0.77"] {
                assert!(!invite.contains(word), "{invite}");
            }
            let _ = bob.answer_to(&invite, peer);
            rtp_of(&invite)
        });
        let (answer, _) = ann.hear("SIP/2.0 200");
        for word in ["candidate", "ice-", "127.0.0.77"] {
            assert!(!answer.contains(word), "{answer}");
        }
        let dialog = ann.confirmed(&answer, asked, server.sip);
        let (to_a, mut n, mut buffer) = (rtp_of(&answer), 0, [0; 2_048]);
        // RTP goes both ways until there has been a receiver report.
        until("a report", || {
            n += 1;
            ann.sound(to_a, n, &[CALLER; 160]);
            if let Some(to_b) = to_b {
                bob.sound(to_b, n, &[CALLEE; 160]);
            }
            rtcp.recv_from(&mut buffer).ok()
        });
        assert!(!ann.payloads().is_empty());
        ann.hang_up(&dialog);
        for socket in at_anns.iter().chain(&at_bobs) {
            assert!(socket.recv_from(&mut buffer).is_err(), "app = {app}: it never asked for anything");
        }
    }
}
