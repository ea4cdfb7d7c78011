//! Behind a NAT whose address changes: a STUN server reports our public address, and attackers report others.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::trunk::{self, phone};
use crate::server_support::phone::{CallsOff, Phone, field};
use crate::server_support::{configured, server, start};

const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

/// A success response to this transaction with this address (RFC 8489 §14.2).
pub fn answer(transaction: &[u8], said: SocketAddr) -> Vec<u8> {
    let SocketAddr::V4(said) = said else { panic!("IPv4") };
    let port = said.port() ^ 0x2112;
    let ip = said.ip().octets();
    let mut message = vec![0x01, 0x01, 0, 12];
    message.extend_from_slice(&COOKIE);
    message.extend_from_slice(transaction);
    message.extend_from_slice(&[0x00, 0x20, 0, 8, 0, 1]);
    message.extend_from_slice(&port.to_be_bytes());
    message.extend(ip.iter().zip(COOKIE).map(|(octet, mask)| octet ^ mask));
    message
}

/// The attackers' address.
const LIE: &str = "203.0.113.66:6666";

/// A STUN server that reports this address, with attackers at other sockets, until it is called off.
fn serve(stun: &UdpSocket, said: &str, liars: &[&UdpSocket], over: &AtomicBool) {
    let [said, lie] = [said, LIE].map(|it| it.parse::<SocketAddr>().expect("an address"));
    let mut buffer = [0; 2_048];
    while !over.load(Ordering::Acquire) {
        let Ok((length, from)) = stun.recv_from(&mut buffer) else { continue };
        if buffer[..2] != [0, 1] {
            // Not a request, but a socket's reply to an unsolicited response.
            continue;
        }
        assert_eq!(buffer[..8], [0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42]);
        let transaction = &buffer[8..length];
        let mut guess = transaction.to_vec();
        guess[11] ^= 1;
        // From another socket, with an unknown transaction, and a second, different response.
        for liar in liars {
            liar.send_to(&answer(transaction, lie), from).expect("loopback");
        }
        stun.send_to(&answer(&guess, lie), from).expect("loopback");
        stun.send_to(&answer(transaction, said), from).expect("loopback");
        stun.send_to(&answer(transaction, lie), from).expect("loopback");
    }
}

fn stun_socket(last: u8) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, last), 0)).expect("loopback");
    socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
    socket
}

/// Expects registrations with the local address at first, then with the reported one; then the first one is
/// removed.
fn registers_anew(carrier: &Phone, own: &str, said: &str) {
    let mut contact = String::new();
    for _ in 0..4 {
        let (register, peer) = carrier.hear("REGISTER");
        contact = field(&register, "Contact");
        carrier.grant(&register, peer, "");
        if contact.contains(said) {
            break;
        }
        assert!(contact.contains(own), "{register}");
    }
    assert!(contact.contains(said), "{contact}");
    let (removal, peer) = carrier.hear("REGISTER");
    assert!(field(&removal, "Contact").contains(own), "the old one: {removal}");
    assert_eq!(field(&removal, "Expires"), "0", "{removal}");
    carrier.agree_to(&removal, peer);
}

/// A gateway at this phone, with an account there and these lines, and the route of this number.
fn with_account(name: &str, carrier: &Phone, number: &str, lines: &str) -> String {
    format!(
        "[[gateway]]\nname = \"{name}\"\nhosts = [\"{}\"]\ntransport = \"udp\"\noptions_s = 0\n\
         username = \"acme\"\npassword = \"a good secret\"\nregister = true\n{lines}\
         [[route]]\ncalled = \"{number}\"\nto = \"gateway/{name}\"\n",
        trunk::at(carrier)
    )
}

#[test]
fn the_address_that_a_stun_server_says_is_told_outside_and_what_liars_say_is_not() {
    let (carrier, caller) = (phone("carrier", 3), phone("caller", 2));
    let (stun, liar) = (stun_socket(5), stun_socket(6));
    let at = stun.local_addr().expect("an address");
    let gateway = with_account("carrier", &carrier, "200", "");
    let folder = configured(&format!("[media]\ncontroller = \"embedded\"\n{gateway}"));
    let path = folder.path().join("b2bua.toml");
    let text = std::fs::read_to_string(&path).expect("the file");
    let text =
        text.replacen("[server]\n", &format!("[server]\nstun = \"{at}\"\ninside = [\"127.0.0.2\"]\n"), 1);
    std::fs::write(&path, text).expect("a file");
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| serve(&stun, "203.0.113.7:40123", &[&liar], &over));
        let _over = CallsOff(&over);
        let server = start(folder);
        registers_anew(&carrier, "127.0.0.1:", "203.0.113.7:40123");
        caller.ask_for(server.sip, "200");
        let (invite, peer) = carrier.hear("INVITE");
        assert_eq!(peer, server.sip);
        assert!(field(&invite, "Via").contains("203.0.113.7:40123"), "{invite}");
        assert!(field(&invite, "Contact").contains("203.0.113.7:40123"), "{invite}");
        assert!(invite.contains("c=IN IP4 203.0.113.7\r\n") && !invite.contains("127.0.0.1\r\n"), "{invite}");
        carrier.answer_to(&invite, peer);
        let (answer, _) = caller.hear("SIP/2.0 200");
        assert!(answer.contains("c=IN IP4 127.0.0.1\r\n"), "who is inside: {answer}");
        assert!(!answer.contains("203.0.113."), "{answer}");
    });
}

#[test]
fn each_listener_with_a_name_is_told_its_own_address_which_no_other_says() {
    let (one, two, usual) = (phone("one", 3), phone("two", 4), phone("usual", 7));
    let stuns = [stun_socket(5), stun_socket(6)];
    let told = ["203.0.113.7:40123", "203.0.113.8:40124"];
    let at = |n: usize| stuns[n].local_addr().expect("an address");
    let listener = |name: &str, n: usize| {
        format!("[[listener]]\nname = \"{name}\"\nlisten = \"udp:127.0.0.11:0\"\nstun = \"{}\"\n", at(n))
    };
    let lines = format!(
        "[media]\ncontroller = \"embedded\"\n{}{}{}{}{}",
        listener("first", 0),
        listener("second", 1),
        with_account("one", &one, "201", "listener = \"first\"\n"),
        with_account("two", &two, "202", "listener = \"second\"\n"),
        with_account("usual", &usual, "200", ""),
    );
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Each server sends false responses to the other listener, with its very transaction.
        scope.spawn(|| serve(&stuns[0], told[0], &[&stuns[1]], &over));
        scope.spawn(|| serve(&stuns[1], told[1], &[&stuns[0]], &over));
        let _over = CallsOff(&over);
        let server = server(&lines);
        let (register, peer) = usual.hear("REGISTER");
        assert!(field(&register, "Contact").contains(&server.sip.to_string()), "{register}");
        usual.grant(&register, peer, "");
        std::thread::scope(|scope| {
            scope.spawn(|| registers_anew(&one, "127.0.0.11:", told[0]));
            registers_anew(&two, "127.0.0.11:", told[1]);
        });
        let own = server.sip.to_string();
        let calls = [("201", &one, told[0]), ("202", &two, told[1]), ("200", &usual, own.as_str())];
        for (number, carrier, said) in calls {
            let caller = phone("caller", 2);
            let asked = caller.ask_for(server.sip, number);
            let (invite, peer) = carrier.hear("INVITE");
            assert!(field(&invite, "Via").contains(said), "{invite}");
            assert!(field(&invite, "Contact").contains(said), "{invite}");
            let ip = said.split(':').next().expect("an address");
            assert!(invite.contains(&format!("c=IN IP4 {ip}\r\n")), "{invite}");
            carrier.answer_to(&invite, peer);
            let (answer, _) = caller.hear("SIP/2.0 200");
            assert!(answer.contains("c=IN IP4 127.0.0.1\r\n") && !answer.contains("203.0.113."), "{answer}");
            caller.hang_up(&caller.confirmed(&answer, asked, server.sip));
            carrier.let_go();
        }
        assert!(!usual.has_heard("REGISTER"), "nothing of it has changed");
    });
}
