//! Gateways with a named listener: messages to them leave from it, show its address only, and the gateways
//! are recognised only there.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use super::trunk::{at, phone, trusting};
use crate::server_support::phone::field;
use crate::server_support::{Server, until};
use b2b_test_support::tls::{PATIENCE, answer, read_message, send};

const CARRIERS_SIDE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

/// A server that listens at 127.0.0.1 and, as `carrier`, at 127.0.0.11, with these additional lines for that
/// listener. It trusts 127.0.0.2 only.
fn two_networks(about: &str, lines: &str) -> Server {
    let listener = format!("[[listener]]\nname = \"carrier\"\nlisten = \"udp:{CARRIERS_SIDE}:0\"\n{about}");
    // Media servers have their own addresses.
    trusting("127.0.0.2", &format!("[media]\ncontroller = \"embedded\"\n{listener}{lines}"))
}

#[test]
fn everything_to_a_gateway_leaves_by_its_listener_and_shows_no_other_address() {
    let (carrier, caller) = (phone("carrier", 3), phone("caller", 2));
    let server = two_networks(
        "advertise = \"203.0.113.9\"\n",
        &format!(
            "[[gateway]]\nname = \"carrier\"\nhosts = [\"{}\"]\ntransport = \"udp\"\noptions_s = 1\n\
             listener = \"carrier\"\nusername = \"acme\"\npassword = \"a good secret\"\nregister = true\n\
             [[route]]\ncalled = \"200\"\nto = \"gateway/carrier\"\n",
            at(&carrier)
        ),
    );
    let told = |message: &str, peer: SocketAddr| {
        assert_eq!(peer.ip(), IpAddr::from(CARRIERS_SIDE), "{message}");
        let via = field(message, "Via");
        assert!(via.starts_with(&format!("SIP/2.0/UDP 203.0.113.9:{};", peer.port())), "{message}");
        assert!(!message.contains("127.0.0.1\r") && !message.contains("127.0.0.1:"), "{message}");
    };
    let (register, peer) = carrier.hear("REGISTER");
    told(&register, peer);
    assert!(field(&register, "Contact").contains(&format!("@203.0.113.9:{}", peer.port())), "{register}");
    carrier.grant(&register, peer, "");
    let (options, peer) = carrier.hear("OPTIONS");
    told(&options, peer);
    carrier.agree_to(&options, peer);
    until("the registration", || {
        (server.get("/gateways").json()["gateways"][0]["registration"]["registered"] == true).then_some(())
    });
    let asked = caller.ask_for(server.sip, "200");
    let (invite, peer) = carrier.hear("INVITE");
    told(&invite, peer);
    assert!(field(&invite, "Contact").contains("203.0.113.9"), "{invite}");
    assert!(invite.contains("c=IN IP4 203.0.113.9\r\n"), "{invite}");
    let far = carrier.answer_to(&invite, peer);
    let (answer, from) = caller.hear("SIP/2.0 200");
    assert_eq!(from, server.sip);
    assert!(answer.contains("c=IN IP4 127.0.0.1\r\n") && answer.contains("o=- "), "{answer}");
    assert!(!answer.contains("203.0.113.9") && !answer.contains(&CARRIERS_SIDE.to_string()), "{answer}");
    let near = caller.confirmed(&answer, asked, server.sip);
    caller.hang_up(&near);
    let (bye, peer) = carrier.hear("BYE");
    told(&bye, peer);
    carrier.agree_to(&bye, peer);
    drop(far);
}

#[test]
fn rtp_is_bound_in_the_network_of_each_party() {
    let (carrier, caller) = (phone("carrier", 3), phone("caller", 2));
    let server = two_networks(
        "media = \"127.0.0.12\"\n",
        &format!(
            "[[gateway]]\nname = \"carrier\"\nhosts = [\"{}\"]\ntransport = \"udp\"\noptions_s = 0\n\
             listener = \"carrier\"\n[[route]]\ncalled = \"200\"\nto = \"gateway/carrier\"\nmedia = \"direct\"\n",
            at(&carrier)
        ),
    );
    let asked = caller.ask_for(server.sip, "200");
    let (invite, peer) = carrier.hear("INVITE");
    assert_eq!(peer.ip(), IpAddr::from(CARRIERS_SIDE));
    assert!(field(&invite, "Contact").contains("127.0.0.11:"), "its own address: {invite}");
    assert!(
        invite.contains("c=IN IP4 127.0.0.12\r\n") && invite.contains(" IN IP4 127.0.0.12\r\ns="),
        "{invite}"
    );
    let far = carrier.answer_to(&invite, peer);
    let (answer, _) = caller.hear("SIP/2.0 200");
    let near = caller.confirmed(&answer, asked, server.sip);
    let rtp = |text: &str| -> SocketAddr {
        let ip = text.split("c=IN IP4 ").nth(1).and_then(|it| it.lines().next()).expect("an address");
        let port = text.split("m=audio ").nth(1).and_then(|it| it.split(' ').next()).expect("a port");
        format!("{ip}:{port}").parse().expect("an address")
    };
    let ours = [rtp(&answer), rtp(&invite)];
    assert_eq!(ours.map(|it| it.ip().to_string()), ["127.0.0.1", "127.0.0.12"]);
    caller.speak(ours[0], 20);
    carrier.speak(ours[1], 20);
    until("what was said", || (carrier.heard_from() == Some(ours[1])).then_some(()));
    // Each party would see the other's address: media stay relayed though the route says "direct".
    std::thread::sleep(std::time::Duration::from_secs(2));
    carrier.speak(ours[1], 20);
    caller.speak(ours[0], 20);
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert!(!carrier.has_heard("INVITE") && !caller.has_heard("INVITE"), "nobody is led past us");
    caller.hang_up(&near);
    drop(far);
}

/// The attacker has the gateway's address in the other network.
#[test]
fn a_gateway_is_known_at_its_own_listener_and_elsewhere_its_address_is_nobodys() {
    let (callee, carrier, liar) = (phone("callee", 4), phone("carrier", 3), phone("liar", 3));
    // OPTIONS tells the gateway the listener's port.
    let server = two_networks(
        "",
        &format!(
            "[[gateway]]\nname = \"carrier\"\nhosts = [\"{}\"]\ntransport = \"udp\"\noptions_s = 1\n\
             listener = \"carrier\"\nsources = [\"127.0.0.3\"]\n\
             [[route]]\nsource = \"gateway/carrier\"\nto = [\"{}\"]\n",
            at(&carrier),
            callee.uri()
        ),
    );
    let (options, its) = carrier.hear("OPTIONS");
    carrier.agree_to(&options, its);
    liar.ask_for(server.sip, "300");
    let (asked, _) = liar.hear("SIP/2.0 4");
    assert!(asked.starts_with("SIP/2.0 407"), "{asked}");
    assert!(!callee.has_heard("INVITE"));
    let call = carrier.ask_for(its, "300");
    let (invite, peer) = callee.hear("INVITE");
    assert!(invite.contains("c=IN IP4 127.0.0.1\r\n"), "the callee is in the other network: {invite}");
    let far = callee.answer_to(&invite, peer);
    let (answer, from) = carrier.hear("SIP/2.0 200");
    assert_eq!(from, its);
    assert!(field(&answer, "Contact").contains(&its.to_string()), "{answer}");
    assert!(answer.contains(&format!("c=IN IP4 {CARRIERS_SIDE}\r\n")), "{answer}");
    let near = carrier.confirmed(&answer, call, its);
    callee.hang_up(&far);
    let (bye, peer) = carrier.hear("BYE");
    assert_eq!(peer, its, "{bye}");
    carrier.agree_to(&bye, peer);
    drop(near);
}

#[test]
fn connections_to_a_gateway_begin_at_its_listener() {
    let provider = TcpListener::bind("127.0.0.3:0").expect("a listener");
    let host = provider.local_addr().expect("an address");
    let _server = two_networks(
        "",
        &format!(
            "[[gateway]]\nname = \"carrier\"\nhosts = [\"{host}\"]\ntransport = \"tcp\"\noptions_s = 1\n\
             listener = \"carrier\"\n[[gateway]]\nname = \"other\"\nhosts = [\"{host}\"]\ntransport = \"tcp\"\n\
             options_s = 1\n"
        ),
    );
    let (mut begun, mut open) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let (mut connection, from) = provider.accept().expect("a connection");
        connection.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let options = read_message(&mut connection);
        assert!(field(&options, "Via").contains(&format!("TCP {}:", from.ip())), "{options}");
        send(&mut connection, &answer(&options, "200 OK", "", ""));
        begun.push(from.ip().to_string());
        // It stays open, but the other gateway does not use it.
        open.push(connection);
    }
    begun.sort();
    assert_eq!(begun, ["127.0.0.1", "127.0.0.11"]);
}
