//! Destinations in dialogs: users are reached by the flow that they used, whatever their Contact and
//! Record-Route contain.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use b2b::sip::auth::{Authorized, DigestClient};
use b2b::sip::msg::{Message, Method, Name, Request, Response};
use bytes::Bytes;

use super::doors_open::register;
use super::peer::{Peer, SESSION, server};
use crate::common::child::{B2b, PATIENCE};
use crate::server_support::phone::field;
use b2b_test_support::tls::read_message;

/// Ann and bob, and a carrier to which no class of a user leads.
struct Stage {
    _folder: tempfile::TempDir,
    _server: B2b,
    at: SocketAddr,
    bob: Peer,
    carrier: Peer,
}

impl Stage {
    fn new(net: u8) -> Stage {
        let folder = tempfile::tempdir().expect("a folder");
        let carrier = Peer::new([127, 0, net, 9], SocketAddr::from(([127, 0, 0, 1], 9)));
        let lines = format!(
            "[[user]]\nname = \"ann\"\npassword = \"secret-of-ann\"\n\
             [[user]]\nname = \"bob\"\npassword = \"secret-of-bob\"\n\
             [[gateway]]\nname = \"carrier\"\nhosts = [\"{}\"]\noptions_s = 0\nsources = [\"127.0.{net}.9\"]\n\
             [[route]]\nmode = \"transparent\"\nto = \"user/$0\"\n",
            carrier.at
        );
        let (child, at) = server(folder.path(), "", &lines);
        let mut bob = Peer::new([127, 0, net, 2], at);
        let contact = format!("sip:bob@{}", bob.at);
        assert_eq!(bob.register("bob", "secret-of-bob", &contact, "bobs-phone"), 200);
        Stage { _folder: folder, _server: child, at, bob, carrier }
    }

    /// Nothing has arrived at the carrier; messages elsewhere show that it would have by now.
    fn assert_carrier_heard_nothing(&self) {
        let heard = self.carrier.datagram(Duration::from_millis(50));
        assert_eq!(heard.as_deref().map(String::from_utf8_lossy), None);
    }
}

/// A caller's claims about itself in its INVITEs.
struct Said {
    call: &'static str,
    via: String,
    contact: String,
    more: String,
}

/// A request of ann as text.
fn request(method: &str, said: &Said, at: SocketAddr, (to_tag, cseq): (&str, u32), more: &str) -> String {
    let body = if method == "INVITE" { std::str::from_utf8(SESSION).expect("text") } else { "" };
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    let Said { call, via, contact, more: lines } = said;
    format!(
        "{method} sip:bob@{at} SIP/2.0\r\nVia: SIP/2.0/{via};branch=z9hG4bK{call}{method}{cseq}\r\nMax-Forwards: 70\r\n\
         From: <sip:ann@b2b.example>;tag=ann\r\nTo: <sip:bob@b2b.example>{to_tag}\r\nCall-ID: {call}\r\n\
         CSeq: {cseq} {method}\r\nContact: <{contact}>\r\n{lines}{more}{kind}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub fn parsed(text: &str) -> Message {
    Message::parse(Bytes::copy_from_slice(text.as_bytes()), &Default::default()).expect("a message")
}

fn answer_to(challenge: &Response, at: SocketAddr) -> String {
    let mut digest = DigestClient::new("ann", "secret-of-ann", [3; 32]);
    digest.challenged(challenge, &Authorized::default()).expect("a challenge");
    let Authorized { headers, .. } = digest.authorize(&Method::Invite, format!("sip:bob@{at}").as_bytes());
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    headers.iter().map(|(name, value)| format!("{}: {}\r\n", text(name), text(value))).collect()
}

fn to_tag(message: &str) -> String {
    format!(";tag={}", field(message, "To").split_once(";tag=").expect("a tag").1)
}

/// Ann's connection to the server, with messages as text.
pub trait Way {
    fn say(&mut self, message: &str);
    fn hear(&mut self, beginning: &str) -> String;
}

impl Way for Peer {
    fn say(&mut self, message: &str) {
        self.send(message.as_bytes());
    }

    fn hear(&mut self, beginning: &str) -> String {
        let begun = std::time::Instant::now();
        while begun.elapsed() < PATIENCE {
            let Some(data) = self.datagram(Duration::from_millis(200)) else { continue };
            let text = String::from_utf8_lossy(&data).into_owned();
            if text.starts_with(beginning) {
                return text;
            }
        }
        panic!("no {beginning}");
    }
}

impl Way for TcpStream {
    fn say(&mut self, message: &str) {
        self.write_all(message.as_bytes()).expect("a connection");
    }

    fn hear(&mut self, beginning: &str) -> String {
        loop {
            let message = read_message(self);
            assert!(!message.is_empty(), "closed, no {beginning}");
            if message.starts_with(beginning) {
                return message;
            }
        }
    }
}

/// 200 to a request as text.
pub fn ok(request: &str, more: &str) -> String {
    let copied: String = ["Via", "From", "To", "Call-ID", "CSeq"]
        .iter()
        .map(|name| format!("{name}: {}\r\n", field(request, name)))
        .collect();
    let body = if request.starts_with("INVITE") { std::str::from_utf8(SESSION).expect("text") } else { "" };
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    format!("SIP/2.0 200 OK\r\n{copied}{more}{kind}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// Bob's request in the call that began with this INVITE.
fn of_bob(bob: &mut Peer, invite: &Request, method: &Method, cseq: u32, changed: bool) -> Bytes {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let target = text(invite.contact().expect("a Contact").expect("a URI").uri.raw);
    let (from, to) =
        (text(invite.header(Name::To).expect("a To")), text(invite.header(Name::From).expect("a From")));
    bob.count += 1;
    let (at, count, call) = (bob.at, bob.count, text(invite.call_id().expect("a Call-ID")));
    let session = String::from_utf8_lossy(SESSION).replace("1 1 IN", "1 2 IN");
    let body = if changed { format!("{session}a=sendonly\r\n") } else { String::new() };
    let kind = if changed { "Content-Type: application/sdp\r\n" } else { "" };
    format!(
        "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bKbob{count};rport\r\nMax-Forwards: 70\r\n\
         From: {from};tag=peer\r\nTo: {to}\r\nCall-ID: {call}\r\nCSeq: {cseq} {method}\r\n\
         Contact: <sip:bob@{at}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into()
}

/// Ann calls bob, who answers; returns the tag of the call, and the INVITE to bob.
fn connect(ann: &mut impl Way, stage: &mut Stage, said: &Said) -> (String, Request) {
    ann.say(&request("INVITE", said, stage.at, ("", 1), ""));
    let challenge = ann.hear("SIP/2.0 407");
    let Message::Response(response) = parsed(&challenge) else { panic!("{challenge}") };
    ann.say(&request("ACK", said, stage.at, (&to_tag(&challenge), 1), ""));
    ann.say(&request("INVITE", said, stage.at, ("", 2), &answer_to(&response, stage.at)));
    let theirs = stage.bob.wait_for(&Method::Invite);
    stage.bob.answer(&theirs, 200, &[]);
    let tag = to_tag(&ann.hear("SIP/2.0 200"));
    ann.say(&request("ACK", said, stage.at, (&tag, 2), ""));
    stage.bob.wait_for(&Method::Ack);
    (tag, theirs)
}

/// Bob hangs up; returns the BYE to ann.
fn hung_up(ann: &mut impl Way, stage: &mut Stage, invite: &Request, cseq: u32) -> String {
    let bye = of_bob(&mut stage.bob, invite, &Method::Bye, cseq, false);
    stage.bob.send(&bye);
    let bye = ann.hear("BYE");
    ann.say(&ok(&bye, ""));
    bye
}

fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or_default()
}

#[test]
fn a_callers_lies_lead_neither_bye_nor_reinvite_nor_ack_to_the_carrier() {
    let mut stage = Stage::new(81);
    let mut ann = Peer::new([127, 0, 81, 1], stage.at);
    let (at, carrier) = (ann.at, stage.carrier.at);
    let lie = format!("sip:+9005551234@{carrier};alias=127.0.0.1~5060~1;ob;x-ast-txp=udp");
    let said = Said {
        call: "anns",
        via: format!("UDP {at};rport"),
        contact: lie.clone(),
        more: format!("Record-Route: <sip:{carrier};lr>\r\n"),
    };
    let (_, theirs) = connect(&mut ann, &mut stage, &said);
    // Bob's re-INVITE is forwarded, and its 200 has false addresses again.
    let again = of_bob(&mut stage.bob, &theirs, &Method::Invite, 10, true);
    stage.bob.send(&again);
    let reinvite = ann.hear("INVITE");
    assert_eq!(first_line(&reinvite), format!("INVITE {lie} SIP/2.0"), "Contact, byte for byte");
    assert!(!reinvite.contains("\r\nRoute:"), "{reinvite}");
    ann.say(&ok(&reinvite, &format!("Contact: <{lie}>\r\nRecord-Route: <sip:{carrier};lr>\r\n")));
    assert_eq!(first_line(&ann.hear("ACK")), format!("ACK {lie} SIP/2.0"));
    stage.bob.hear("SIP/2.0 200");
    let ack = of_bob(&mut stage.bob, &theirs, &Method::Ack, 10, false);
    stage.bob.send(&ack);
    let bye = hung_up(&mut ann, &mut stage, &theirs, 11);
    assert_eq!(first_line(&bye), format!("BYE {lie} SIP/2.0"));
    stage.assert_carrier_heard_nothing();
}

#[test]
fn a_reinvite_that_names_the_carrier_leads_nothing_there() {
    let mut stage = Stage::new(82);
    let mut ann = Peer::new([127, 0, 82, 1], stage.at);
    let (at, carrier) = (ann.at, stage.carrier.at);
    let via = format!("UDP {at};rport");
    let said = Said { call: "anns", via: via.clone(), contact: format!("sip:ann@{at}"), more: String::new() };
    let (tag, theirs) = connect(&mut ann, &mut stage, &said);
    let lie = format!("sip:+9005551234@{carrier}");
    let more = format!("Record-Route: <sip:{carrier};lr>\r\n");
    let lies = Said { call: "anns", via, contact: lie.clone(), more };
    ann.say(&request("INVITE", &lies, stage.at, (&tag, 3), ""));
    ann.hear("SIP/2.0 200");
    ann.say(&request("ACK", &lies, stage.at, (&tag, 3), ""));
    let bye = hung_up(&mut ann, &mut stage, &theirs, 11);
    assert_eq!(first_line(&bye), format!("BYE {lie} SIP/2.0"));
    stage.assert_carrier_heard_nothing();
}

#[test]
fn a_udp_phone_behind_a_nat_that_calls_hears_that_the_callee_hangs_up() {
    let mut stage = Stage::new(83);
    let mut ann = Peer::new([127, 0, 83, 1], stage.at);
    let said = Said {
        call: "anns",
        via: "UDP 192.168.1.5:5060;rport".to_owned(),
        contact: "sip:ann@192.168.1.5:5060".to_owned(),
        more: String::new(),
    };
    let (_, theirs) = connect(&mut ann, &mut stage, &said);
    let bye = hung_up(&mut ann, &mut stage, &theirs, 11);
    assert_eq!(first_line(&bye), "BYE sip:ann@192.168.1.5:5060 SIP/2.0");
}

#[test]
fn a_phone_that_listens_on_another_port_than_it_sends_from_is_reached_at_its_contact() {
    let mut stage = Stage::new(84);
    let mut ann = Peer::new([127, 0, 84, 1], stage.at);
    let mut listens = Peer::new([127, 0, 84, 1], stage.at);
    let said = Said {
        call: "anns",
        via: format!("UDP {}", listens.at),
        contact: format!("sip:ann@{}", listens.at),
        more: String::new(),
    };
    // Responses to its requests go to its sent-by, too (RFC 3261 §18.2.2).
    struct Asymmetric<'a>(&'a mut Peer, &'a mut Peer);
    impl Way for Asymmetric<'_> {
        fn say(&mut self, message: &str) {
            self.0.say(message);
        }

        fn hear(&mut self, beginning: &str) -> String {
            self.1.hear(beginning)
        }
    }
    let mut both = Asymmetric(&mut ann, &mut listens);
    let (_, theirs) = connect(&mut both, &mut stage, &said);
    hung_up(&mut both, &mut stage, &theirs, 11);
}

fn tcp(at: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(at).expect("the server");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// A phone behind a NAT whose Contact does not name TCP.
fn by_tcp() -> Said {
    Said {
        call: "anns",
        via: "TCP 192.168.1.5:40000;rport".to_owned(),
        contact: "sip:ann@192.168.1.5:40000".to_owned(),
        more: String::new(),
    }
}

#[test]
fn over_tcp_the_connection_is_the_way_whatever_contact_says_of_transports() {
    let mut stage = Stage::new(85);
    let mut ann = tcp(stage.at);
    let (_, theirs) = connect(&mut ann, &mut stage, &by_tcp());
    let bye = hung_up(&mut ann, &mut stage, &theirs, 11);
    assert_eq!(first_line(&bye), "BYE sip:ann@192.168.1.5:40000 SIP/2.0");
}

#[test]
fn once_the_connection_is_gone_the_caller_is_reached_where_they_are_registered() {
    let mut stage = Stage::new(86);
    let mut registered = Peer::new([127, 0, 86, 3], stage.at);
    let contact = format!("sip:ann@{}", registered.at);
    assert_eq!(registered.register("ann", "secret-of-ann", &contact, "anns-phone"), 200);
    let mut ann = tcp(stage.at);
    let (_, theirs) = connect(&mut ann, &mut stage, &by_tcp());
    ann.shutdown(Shutdown::Write).expect("a connection");
    // The server has closed its end, too.
    ann.read_to_end(&mut Vec::new()).expect("an end");
    hung_up(&mut registered, &mut stage, &theirs, 11);
}

#[test]
fn a_phone_that_reconnects_and_registers_is_hung_up_by_its_new_connection() {
    let mut stage = Stage::new(91);
    let mut ann = tcp(stage.at);
    assert_eq!(register(&mut ann, "ann", "secret-of-ann", "first"), Some(200));
    let at = ann.local_addr().expect("an address");
    let said =
        Said { via: format!("TCP {at};rport"), contact: format!("sip:ann@{at};transport=tcp"), ..by_tcp() };
    let (_, theirs) = connect(&mut ann, &mut stage, &said);
    ann.shutdown(Shutdown::Write).expect("a connection");
    ann.read_to_end(&mut Vec::new()).expect("an end");
    // Its first binding still stands.
    let mut again = tcp(stage.at);
    assert_eq!(register(&mut again, "ann", "secret-of-ann", "second"), Some(200));
    hung_up(&mut again, &mut stage, &theirs, 11);
}

#[test]
fn who_asks_from_elsewhere_gets_an_answer_but_not_the_call() {
    let mut stage = Stage::new(87);
    let mut ann = Peer::new([127, 0, 87, 1], stage.at);
    let said = Said {
        call: "anns",
        via: format!("UDP {};rport", ann.at),
        contact: format!("sip:ann@{}", ann.at),
        more: String::new(),
    };
    let (tag, theirs) = connect(&mut ann, &mut stage, &said);
    let mut thief = Peer::new([127, 0, 87, 66], stage.at);
    let theirs_now = Said {
        call: "anns",
        via: format!("UDP {};rport", thief.at),
        contact: format!("sip:ann@{}", thief.at),
        more: String::new(),
    };
    thief.say(&request("OPTIONS", &theirs_now, stage.at, (&tag, 3), ""));
    thief.hear("SIP/2.0 200");
    hung_up(&mut ann, &mut stage, &theirs, 11);
    assert_eq!(thief.datagram(Duration::from_millis(50)), None);
}

#[test]
fn a_phone_that_has_moved_and_registered_from_there_takes_its_call_along() {
    let mut stage = Stage::new(88);
    let mut ann = Peer::new([127, 0, 88, 1], stage.at);
    let said = Said {
        call: "anns",
        via: format!("UDP {};rport", ann.at),
        contact: format!("sip:ann@{}", ann.at),
        more: String::new(),
    };
    let (tag, theirs) = connect(&mut ann, &mut stage, &said);
    let mut moved = Peer::new([127, 0, 88, 4], stage.at);
    let contact = format!("sip:ann@{}", moved.at);
    assert_eq!(moved.register("ann", "secret-of-ann", &contact, "moved"), 200);
    let there = Said { call: "anns", via: format!("UDP {};rport", moved.at), contact, more: String::new() };
    moved.say(&request("OPTIONS", &there, stage.at, (&tag, 3), ""));
    moved.hear("SIP/2.0 200");
    hung_up(&mut moved, &mut stage, &theirs, 11);
}

#[test]
fn a_users_route_is_neither_refused_nor_followed() {
    let mut stage = Stage::new(89);
    let mut ann = Peer::new([127, 0, 89, 1], stage.at);
    let (at, carrier) = (stage.at, stage.carrier.at);
    for (call, route) in [
        ("one", format!("<sip:{at};lr>")),
        ("two", format!("<sip:{carrier};lr>")),
        ("three", format!("<sip:{carrier}>")),
    ] {
        let said = Said {
            call,
            via: format!("UDP {};rport", ann.at),
            contact: format!("sip:ann@{}", ann.at),
            more: format!("Route: {route}\r\n"),
        };
        let (_, theirs) = connect(&mut ann, &mut stage, &said);
        let told = String::from_utf8_lossy(theirs.as_bytes()).into_owned();
        assert!(!told.contains("\r\nRoute:"), "{told}");
        hung_up(&mut ann, &mut stage, &theirs, 11);
    }
    stage.assert_carrier_heard_nothing();
}

#[test]
fn notifies_go_by_the_flow_that_the_watcher_came_by() {
    let stage = Stage::new(90);
    let mut ann = Peer::new([127, 0, 90, 1], stage.at);
    let (at, carrier) = (ann.at, stage.carrier.at);
    let lie = format!("sip:+9005551234@{carrier}");
    let mut digest = DigestClient::new("ann", "secret-of-ann", [3; 32]);
    let mut credentials = String::new();
    let mut cseq = 0;
    let mut subscribe = |ann: &mut Peer, credentials: &str| {
        cseq += 1;
        ann.say(&format!(
            "SUBSCRIBE sip:bob@b2b.example SIP/2.0\r\nVia: SIP/2.0/UDP {at};rport;branch=z9hG4bKsub{cseq}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:ann@b2b.example>;tag=watch\r\nTo: <sip:bob@b2b.example>\r\n\
             Call-ID: watching\r\nCSeq: {cseq} SUBSCRIBE\r\nContact: <{lie}>\r\n\
             Record-Route: <sip:{carrier};lr>\r\nEvent: dialog\r\nExpires: 600\r\n{credentials}Content-Length: 0\r\n\r\n"
        ));
    };
    subscribe(&mut ann, &credentials);
    let Message::Response(challenge) = parsed(&ann.hear("SIP/2.0 401")) else { panic!("a response") };
    digest.challenged(&challenge, &Authorized::default()).expect("a challenge");
    for (name, value) in digest.authorize(&Method::Subscribe, b"sip:bob@b2b.example").headers {
        credentials +=
            &format!("{}: {}\r\n", String::from_utf8_lossy(&name), String::from_utf8_lossy(&value));
    }
    subscribe(&mut ann, &credentials);
    let notify = ann.hear("NOTIFY");
    assert_eq!(first_line(&notify), format!("NOTIFY {lie} SIP/2.0"));
    assert!(!notify.contains("\r\nRoute:"), "{notify}");
    stage.assert_carrier_heard_nothing();
}
