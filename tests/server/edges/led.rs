//! Redirections by a party on the real binary: applications behind a redirect, and a watcher whose connection
//! is gone.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use b2b::sip::auth::{Authorized, DigestClient};
use b2b::sip::msg::{Message, Method, Name};

use super::dialogs::{Way, ok, parsed};
use super::doors_open::connect;
use super::peer::{Peer, server};
use crate::common::child::PATIENCE;

const USERS: &str = "[[user]]\nname = \"ann\"\npassword = \"secret-of-ann\"\n\
                     [[user]]\nname = \"bob\"\npassword = \"secret-of-bob\"\n";

/// Numbers of applications: a test number, a menu tree, a queue.
const APPLICATIONS: &str = "[[route]]\ncalled = \"900\"\napp = \"milliwatt\"\n\
    [[route]]\ncalled = \"8000\"\napp = \"ivr/menu\"\n[[route]]\ncalled = \"8100\"\napp = \"queue/sales\"\n\
    [[ivr]]\nname = \"menu\"\n[[ivr.node]]\nname = \"say\"\nkind = \"play_prompt\"\nprompt = \"tone:440:60000\"\n\
    [[agent]]\nname = \"ann\"\n[[music]]\nname = \"hum\"\ntone = \"440\"\n\
    [[queue]]\nname = \"sales\"\nagents = [\"ann\"]\nmusic = \"hum\"\n";

/// The final response to a peer's call.
fn answer(peer: &mut Peer, call: &str) -> b2b::sip::msg::Response {
    loop {
        match peer.message(PATIENCE) {
            Some(Message::Response(response))
                if response.status() >= 200 && response.call_id().is_ok_and(|it| it == call.as_bytes()) =>
            {
                return response;
            }
            Some(_) => {}
            None => panic!("no answer to {call}"),
        }
    }
}

#[test]
fn a_users_redirect_to_the_number_of_an_application_gives_the_caller_to_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let lines = format!("{USERS}{APPLICATIONS}[[route]]\nto = \"user/$0\"\n");
    let (_server, at) = server(folder.path(), "trusted = [\"127.0.83.1\"]\ncdr = \"cdr.jsonl\"", &lines);
    let (mut caller, mut bob) = (Peer::new([127, 0, 83, 1], at), Peer::new([127, 0, 83, 2], at));
    let contact = format!("sip:bob@{}", bob.at);
    assert_eq!(bob.register("bob", "secret-of-bob", &contact, "bobs-phone"), 200);
    for number in ["900", "8000", "8100"] {
        let call = format!("to-{number}");
        let invite = caller.invite("bob", &call, 1, &Authorized::default());
        caller.send(&invite);
        let theirs = bob.wait_for(&Method::Invite);
        let there = format!("<sip:{number}@b2b.example>");
        bob.answer(&theirs, 302, &[(Name::Contact, &there)]);
        let ok = answer(&mut caller, &call);
        assert_eq!(ok.status(), 200, "{number}");
        assert!(ok.body().starts_with(b"v=0"), "{number}: {ok:?}");
        let ack = caller.in_call(&Method::Ack, &ok, &call, 1);
        caller.send(&ack);
        let bye = caller.in_call(&Method::Bye, &ok, &call, 2);
        assert_eq!(caller.ask(&bye, &call, 2).status(), 200);
    }
    // Only applications were called.
    let more = bob.datagram(Duration::from_millis(50));
    assert!(more.is_none_or(|it| !it.starts_with(b"INVITE")));
}

/// Ann subscribes to bob over TCP, with the carrier's address as Contact.
fn subscribes(stream: &mut TcpStream, target: &str) {
    let at = stream.local_addr().expect("an address");
    let request = |cseq: u32, credentials: &str| {
        format!(
            "SUBSCRIBE sip:bob@b2b.example SIP/2.0\r\nVia: SIP/2.0/TCP {at};branch=z9hG4bKw{cseq}\r\nMax-Forwards: 70\r\n\
             From: <sip:ann@b2b.example>;tag=w\r\nTo: <sip:bob@b2b.example>\r\nCall-ID: lamp\r\nCSeq: {cseq} SUBSCRIBE\r\n\
             Contact: <{target}>\r\nEvent: dialog\r\nExpires: 600\r\n{credentials}Content-Length: 0\r\n\r\n"
        )
    };
    stream.say(&request(1, ""));
    let Message::Response(challenge) = parsed(&stream.hear("SIP/2.0 401")) else { panic!("no response") };
    let mut digest = DigestClient::new("ann", "secret-of-ann", [3; 32]);
    digest.challenged(&challenge, &Authorized::default()).expect("a challenge");
    let Authorized { headers, .. } = digest.authorize(&Method::Subscribe, b"sip:bob@b2b.example");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let credentials: String =
        headers.iter().map(|(name, value)| format!("{}: {}\r\n", text(name), text(value))).collect();
    stream.say(&request(2, &credentials));
    stream.hear("SIP/2.0 200");
    let notify = stream.hear("NOTIFY");
    stream.say(&ok(&notify, ""));
}

#[test]
fn a_watcher_whose_connection_is_gone_is_told_where_it_is_registered_and_nobody_else_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let carrier = Peer::new([127, 0, 84, 9], SocketAddr::from(([127, 0, 0, 1], 9)));
    let lines = format!(
        "{USERS}[[gateway]]\nname = \"carrier\"\nhosts = [\"{}\"]\noptions_s = 0\n\
         [[route]]\nto = \"user/$0\"\n",
        carrier.at
    );
    let (_server, at) = server(folder.path(), "trusted = [\"127.0.84.1\"]", &lines);
    let mut caller = Peer::new([127, 0, 84, 1], at);
    let (mut ann, mut bob) = (Peer::new([127, 0, 84, 2], at), Peer::new([127, 0, 84, 3], at));
    // Ann sends from one port and listens at another, where calls to her go, too.
    let mut sends = Peer::new([127, 0, 84, 2], at);
    assert_eq!(sends.register("ann", "secret-of-ann", &format!("sip:ann@{}", ann.at), "ann"), 200);
    let contact = format!("sip:bob@{}", bob.at);
    assert_eq!(bob.register("bob", "secret-of-bob", &contact, "bob"), 200);
    let mut stream = connect([127, 0, 84, 2], at);
    subscribes(&mut stream, &format!("sip:ann@{};transport=udp", carrier.at));
    drop(stream);
    // A call rings at bob, which changes the state that ann watches.
    let invite = caller.invite("bob", "rings", 1, &Authorized::default());
    caller.send(&invite);
    let theirs = bob.wait_for(&Method::Invite);
    bob.answer(&theirs, 180, &[]);
    loop {
        let notify = ann.wait_for(&Method::Notify);
        ann.answer(&notify, 200, &[]);
        if String::from_utf8_lossy(&notify.body()).contains("<state>early</state>") {
            break;
        }
    }
    bob.answer(&theirs, 486, &[]);
    assert_eq!(answer(&mut caller, "rings").status(), 486);
    assert!(carrier.datagram(Duration::from_millis(100)).is_none(), "where Ann's Contact points");
}
