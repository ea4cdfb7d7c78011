//! A user that calls.

use b2b::sip::auth::{Authorized, DigestClient};
use b2b::sip::msg::{Message, Method, Response};

use crate::common::child::PATIENCE;
use crate::server::edges::peer::Peer;

/// Sends an INVITE with a password, without waiting for responses.
pub fn calls(ann: &mut Peer, number: &str, call: &str) {
    let first = ann.invite(number, call, 1, &Authorized::default());
    let response = ann.ask(&first, call, 1);
    assert_eq!(response.status(), 407);
    let mut digest = DigestClient::new("1001", "secret", [7; 32]);
    digest.challenged(&response, &Authorized::default()).expect("a challenge");
    let uri = format!("sip:{number}@{}", ann.server);
    let credentials = digest.authorize(&Method::Invite, uri.as_bytes());
    let second = ann.invite(number, call, 2, &credentials);
    ann.send(&second);
}

/// The final response to its request of this number.
pub fn final_response(peer: &Peer, cseq: u32) -> Response {
    loop {
        match peer.message(PATIENCE) {
            Some(Message::Response(it))
                if it.status() >= 200 && it.cseq().is_ok_and(|it| it.number == cseq) =>
            {
                return it;
            }
            Some(_) => {}
            None => panic!("no answer"),
        }
    }
}

/// Calls an application, which answers; returns its 200.
pub fn talks(ann: &mut Peer, number: &str, call: &str) -> Response {
    calls(ann, number, call);
    let ok = final_response(ann, 2);
    assert_eq!(ok.status(), 200);
    let ack = ann.in_call(&Method::Ack, &ok, call, 2);
    ann.send(&ack);
    ok
}

/// Hangs up.
pub fn hangs_up(ann: &mut Peer, ok: &Response, call: &str) {
    let bye = ann.in_call(&Method::Bye, ok, call, 3);
    assert_eq!(ann.ask(&bye, call, 3).status(), 200);
}
