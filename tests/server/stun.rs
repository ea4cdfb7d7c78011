//! Behind a NAT whose address changes: a STUN server says by which one the outside sees us, and liars say
//! others.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::server_support::phone::{Phone, field};
use crate::server_support::{configured, start};

const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

/// A success response to this transaction that says this address (RFC 8489 §14.2).
fn answer(transaction: &[u8], said: SocketAddr) -> Vec<u8> {
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

fn phone(name: &'static str, last: u8) -> Phone {
    Phone::at(name, [Ipv4Addr::new(127, 0, 0, last); 3])
}

#[test]
fn the_address_that_a_stun_server_says_is_told_outside_and_what_liars_say_is_not() {
    let (carrier, caller) = (phone("carrier", 3), phone("caller", 2));
    let stun = UdpSocket::bind("127.0.0.5:0").expect("loopback");
    let liar = UdpSocket::bind("127.0.0.6:0").expect("loopback");
    stun.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
    let at = stun.local_addr().expect("an address");
    let carrier_at = carrier.uri().split_once('@').expect("an address").1.to_owned();
    let folder = configured(&format!(
        "[media]\ncontroller = \"embedded\"\n[[gateway]]\nname = \"carrier\"\nhosts = [\"{carrier_at}\"]\ntransport = \"udp\"\noptions_s = 0\n\
         username = \"acme\"\npassword = \"a good secret\"\nregister = true\n\
         [[route]]\ncalled = \"200\"\nto = \"gateway/carrier\"\n"
    ));
    let path = folder.path().join("b2bua.toml");
    let text = std::fs::read_to_string(&path).expect("the file");
    let text =
        text.replacen("[server]\n", &format!("[server]\nstun = \"{at}\"\ninside = [\"127.0.0.2\"]\n"), 1);
    std::fs::write(&path, text).expect("a file");
    let said: SocketAddr = "203.0.113.7:40123".parse().expect("an address");
    let lie: SocketAddr = "203.0.113.66:6666".parse().expect("an address");
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut buffer = [0; 2_048];
            while !over.load(Ordering::Acquire) {
                let Ok((length, from)) = stun.recv_from(&mut buffer) else { continue };
                assert_eq!(buffer[..8], [0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42]);
                let transaction = &buffer[8..length];
                let mut guess = transaction.to_vec();
                guess[11] ^= 1;
                // From elsewhere, with a transaction that was not asked for, and with the plain address.
                liar.send_to(&answer(transaction, lie), from).expect("loopback");
                stun.send_to(&answer(&guess, lie), from).expect("loopback");
                stun.send_to(&answer(transaction, said), from).expect("loopback");
                stun.send_to(&answer(transaction, lie), from).expect("loopback");
            }
        });
        let _over = crate::server_support::phone::CallsOff(&over);
        let server = start(folder);
        // It registers at once, by what it knows; then by what it has been told.
        let mut contact = String::new();
        for _ in 0..4 {
            let (register, peer) = carrier.hear("REGISTER");
            contact = field(&register, "Contact");
            carrier.grant(&register, peer, "");
            if contact.contains("203.0.113.7:40123") {
                break;
            }
            assert!(contact.contains("127.0.0.1:"), "{register}");
        }
        assert!(contact.contains("203.0.113.7:40123"), "{contact}");
        let (removal, peer) = carrier.hear("REGISTER");
        assert!(field(&removal, "Contact").contains("127.0.0.1:"), "the old one: {removal}");
        assert_eq!(field(&removal, "Expires"), "0", "{removal}");
        carrier.agree_to(&removal, peer);
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
