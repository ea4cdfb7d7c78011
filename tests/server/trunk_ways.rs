//! The path of requests to a provider: the host and flow that granted the registration, its Service-Route, an
//! outbound proxy.

use std::net::{SocketAddr, TcpListener, TcpStream};

use super::trunk::{at, phone};
use crate::server::control::command;
use crate::server_support::phone::field;
use crate::server_support::{configured, server, start, until};
use b2b_test_support::tls::{PATIENCE, answer, read_message, send};
use serde_json::json;
use socket2::{Domain, Socket, Type};

const ACCOUNT: &str = "username = \"acme\"\npassword = \"a good secret\"\nregister = true\n";
const TO_CARRIER: &str = "[[route]]\ncalled = \"200\"\nto = \"gateway/carrier\"\n";

#[test]
fn calls_go_to_the_host_that_granted_the_registration_by_its_service_route() {
    let (first, second, caller) = (phone("first", 3), phone("second", 4), phone("caller", 2));
    let server = server(&format!(
        "[[gateway]]\nname = \"carrier\"\nhosts = [\"{}\", \"{}\"]\ntransport = \"udp\"\noptions_s = 0\n{ACCOUNT}\
         {TO_CARRIER}",
        at(&first),
        at(&second)
    ));
    let (register, peer) = first.hear("REGISTER");
    first.refuse_to("503 Service Unavailable", &register, peer);
    let (register, peer) = second.hear("REGISTER");
    assert!(register.starts_with(&format!("REGISTER sip:{};transport=udp ", at(&second))), "{register}");
    let routes = format!("<sip:{};lr;node=7>, <sip:inner.example;lr>", at(&second));
    second.grant(&register, peer, &format!("Service-Route: {routes}\r\n"));
    until("the registration", || {
        (server.get("/gateways").json()["gateways"][0]["registration"]["registered"] == true).then_some(())
    });
    caller.ask_for(server.sip, "200");
    let (invite, peer) = second.hear("INVITE");
    assert!(invite.starts_with(&format!("INVITE sip:200@{};transport=udp ", at(&second))), "{invite}");
    let shown: Vec<_> = invite.lines().filter_map(|line| line.strip_prefix("Route: ")).collect();
    assert_eq!(shown.join(", "), routes, "{invite}");
    second.refuse_to("486 Busy Here", &invite, peer);
    caller.hear("SIP/2.0 486");
    assert!(!first.has_heard("INVITE"), "it does not know us");
}

#[test]
fn what_a_gateway_is_not_to_be_told_is_not_in_its_invite() {
    let (carrier, caller) = (phone("carrier", 3), phone("caller", 2));
    let run = |lines: &str| {
        let server = server(&format!(
            "[[gateway]]\nname = \"carrier\"\nhosts = [\"{}\"]\ntransport = \"udp\"\noptions_s = 0\n{lines}{TO_CARRIER}",
            at(&carrier)
        ));
        caller.ask_for(server.sip, "200");
        let (invite, peer) = carrier.hear("INVITE");
        carrier.refuse_to("486 Busy Here", &invite, peer);
        caller.hear("SIP/2.0 486");
        let supported = field(&invite, "Supported");
        let says = |tag: &str| supported.split(", ").any(|it| it == tag);
        (says("timer"), invite.contains("\r\nSession-Expires: "), says("100rel"), says("replaces"))
    };
    assert_eq!(run(""), (true, true, true, true));
    assert_eq!(run("session_timers = false\n"), (false, false, true, true));
    assert_eq!(run("reliable = false\n"), (true, true, false, true));
    assert_eq!(run("session_timers = false\nreliable = false\n"), (false, false, false, true));
}

/// Meta's WhatsApp ends a call that receives one.
#[test]
fn a_gateway_that_takes_no_reinvites_gets_none_when_the_other_party_holds_or_a_program_does() {
    let (carrier, caller) = (phone("carrier", 3), phone("caller", 2));
    for takes in [true, false] {
        let server = server(&format!(
            "[[gateway]]\nname = \"carrier\"\nhosts = [\"{}\"]\ntransport = \"udp\"\noptions_s = 0\n\
             reinvites = {takes}\n[[route]]\ncalled = \"200\"\nto = \"gateway/carrier\"\nmode = \"transparent\"\n",
            at(&carrier)
        ));
        let (from, call_id) = caller.ask_for(server.sip, "200");
        let dialog = carrier.answer();
        let (answer, _) = caller.hear("SIP/2.0 200");
        let own = caller.confirmed(&answer, (from, call_id), server.sip);
        std::thread::scope(|scope| {
            let asked = takes.then(|| scope.spawn(|| carrier.answer_again("recvonly")));
            let answer = caller.change(&own, 2, "sendonly");
            assert!(answer.contains("a=recvonly"), "{answer}");
            if let Some(asked) = asked {
                assert!(asked.join().expect("a re-INVITE").contains("a=sendonly"));
            }
        });
        if !takes {
            let leg = server.get("/calls").json()["calls"][0]["legs"][1]["leg"].clone();
            let hold = json!({ "command": "hold", "leg": leg });
            assert_eq!(command(&server, &hold)["reason"], "wrong_state");
            assert!(!carrier.has_heard("INVITE") && !carrier.has_heard("UPDATE"));
        }
        std::thread::scope(|scope| {
            scope.spawn(|| caller.let_go());
            carrier.hang_up(&dialog);
        });
    }
}

/// Behind a CGNAT the addresses of a provider's pool are unknown: its connection identifies it.
#[test]
fn calls_by_the_connection_of_a_registration_are_the_gateways_and_others_from_there_are_not() {
    let callee = phone("callee", 4);
    let provider = TcpListener::bind("127.0.0.3:0").expect("a listener");
    let host = provider.local_addr().expect("an address");
    let lines = format!(
        "[[gateway]]\nname = \"carrier\"\nhosts = [\"{host}\"]\ntransport = \"tcp\"\noptions_s = 0\n{ACCOUNT}\
         [[route]]\nsource = \"gateway/carrier\"\nto = [\"{}\"]\n",
        callee.uri()
    );
    let folder = configured(&lines);
    let path = folder.path().join("b2bua.toml");
    let text = std::fs::read_to_string(&path).expect("the file");
    let text = text.replace("trusted = [\"127.0.0.0/8\"]\n", "");
    std::fs::write(&path, text).expect("a file");
    let server = start(folder);
    let (mut connection, _) = provider.accept().expect("a connection");
    connection.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let register = read_message(&mut connection);
    let contact = format!("Contact: {};expires=600\r\n", field(&register, "Contact"));
    let ours = field(&register, "Contact");
    let ours = ours.trim_start_matches('<').split(['>', ';']).next().expect("a URI").to_owned();
    send(&mut connection, &answer(&register, "200 OK", &contact, ""));
    until("the registration", || {
        (server.get("/gateways").json()["gateways"][0]["registration"]["registered"] == true).then_some(())
    });
    let body = "v=0\r\no=- 1 1 IN IP4 127.0.0.3\r\ns=-\r\nc=IN IP4 127.0.0.3\r\nt=0 0\r\n\
                m=audio 40000 RTP/AVP 8\r\n";
    let invite = |call: &str| {
        format!(
            "INVITE {ours} SIP/2.0\r\nVia: SIP/2.0/TCP {host};branch=z9hG4bK{call}\r\nMax-Forwards: 70\r\n\
             From: <sip:0123@{host}>;tag={call}\r\nTo: <{ours}>\r\nCall-ID: {call}\r\nCSeq: 1 INVITE\r\n\
             Contact: <sip:{host};transport=tcp>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    send(&mut connection, &invite("by-it"));
    let (theirs, peer) = callee.hear("INVITE");
    callee.refuse_to("486 Busy Here", &theirs, peer);
    let refused = std::iter::repeat_with(|| read_message(&mut connection)).find(|it| !it.contains(" 100 "));
    assert!(refused.as_deref().is_some_and(|it| it.starts_with("SIP/2.0 486")), "{refused:?}");
    // The same request from the same address, on another connection.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 3], 0)).into()).expect("its address");
    socket.connect(&server.sip.into()).expect("a connection");
    let mut stranger = TcpStream::from(socket);
    stranger.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    send(&mut stranger, &invite("by-another"));
    let asked = std::iter::repeat_with(|| read_message(&mut stranger)).find(|it| !it.contains(" 100 "));
    assert!(
        asked.as_deref().is_some_and(|it| it.starts_with("SIP/2.0 407") || it.starts_with("SIP/2.0 401")),
        "{asked:?}"
    );
    assert!(!callee.has_heard("INVITE"));
}

/// A LAN and a trunk that is reached through a NAT: each gets the address at which it reaches the server.
#[test]
fn who_is_inside_is_told_our_own_address_and_everybody_else_the_advertised_one() {
    let (carrier, phone_inside, caller) = (phone("carrier", 3), phone("inside", 4), phone("caller", 2));
    let lines = format!(
        "[media]\nadvertise = \"203.0.113.5\"\n[[gateway]]\nname = \"carrier\"\nhosts = [\"{}\"]\n\
         transport = \"udp\"\noptions_s = 0\nheaders = {{ X-Account = \"7\" }}\n{TO_CARRIER}\
         [[route]]\ncalled = \"300\"\nto = [\"{}\"]\n",
        at(&carrier),
        phone_inside.uri()
    );
    let folder = configured(&lines);
    let path = folder.path().join("b2bua.toml");
    let text = std::fs::read_to_string(&path).expect("the file");
    let server = "[server]\nadvertise = \"203.0.113.5\"\ninside = [\"127.0.0.4\"]\n";
    std::fs::write(&path, text.replacen("[server]\n", server, 1)).expect("a file");
    let server = start(folder);

    caller.ask_for(server.sip, "200");
    let (invite, peer) = carrier.hear("INVITE");
    assert!(invite.contains("c=IN IP4 203.0.113.5\r\n"), "{invite}");
    assert!(
        field(&invite, "Contact").contains("@203.0.113.5:")
            || field(&invite, "Contact").contains("sip:203.0.113.5:")
    );
    assert!(field(&invite, "Via").contains("203.0.113.5"), "{invite}");
    assert_eq!(field(&invite, "X-Account"), "7");
    assert!(!invite.contains("127.0.0.1"), "nothing of our side of the NAT shows: {invite}");
    carrier.refuse_to("486 Busy Here", &invite, peer);
    caller.hear("SIP/2.0 486");

    let caller = phone("another", 2);
    caller.ask_for(server.sip, "300");
    let (invite, peer) = phone_inside.hear("INVITE");
    assert!(invite.contains("c=IN IP4 127.0.0.1\r\n") && !invite.contains("203.0.113.5"), "{invite}");
    assert!(!invite.contains("X-Account"), "{invite}");
    phone_inside.refuse_to("486 Busy Here", &invite, peer);
    caller.hear("SIP/2.0 486");
}

#[test]
fn an_outbound_proxy_gets_everything_and_the_request_uri_keeps_its_name() {
    let (proxy, caller) = (phone("proxy", 3), phone("caller", 2));
    // A name that cannot be resolved.
    let server = server(&format!(
        "[[gateway]]\nname = \"carrier\"\nhosts = [\"provider.invalid\"]\noutbound_proxy = \"{}\"\n\
         transport = \"udp\"\noptions_s = 1\n{ACCOUNT}{TO_CARRIER}",
        at(&proxy)
    ));
    let route = format!("<sip:{};transport=udp;lr>", at(&proxy));
    let check = |message: &str, start: &str| {
        assert!(message.starts_with(start), "{message}");
        assert_eq!(field(message, "Route"), route, "{message}");
    };
    let (register, peer) = proxy.hear("REGISTER");
    check(&register, "REGISTER sip:provider.invalid;transport=udp ");
    proxy.grant(&register, peer, "");
    let (options, peer) = proxy.hear("OPTIONS");
    check(&options, "OPTIONS sip:provider.invalid;transport=udp ");
    proxy.agree_to(&options, peer);
    until("the registration", || {
        (server.get("/gateways").json()["gateways"][0]["registration"]["registered"] == true).then_some(())
    });
    caller.ask_for(server.sip, "200");
    let (invite, peer) = proxy.hear("INVITE");
    check(&invite, "INVITE sip:200@provider.invalid;transport=udp ");
    let far = proxy.answer_to(&invite, peer);
    drop(far);
    caller.hear("SIP/2.0 200");
}
