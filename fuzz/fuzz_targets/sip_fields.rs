#![no_main]
//! Header fields whose values have their own grammar: digest both ways, Refer-To, Replaces, and the fields of
//! a SUBSCRIBE. Input lines become the fields in turn.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use b2b::server::notifier::subscribe_request;
use b2b::sip::auth::{
    Algorithm, Asked, Authorized, Credentials, DigestClient, DigestConfig, DigestServer, Secret, Side, Verdict,
};
use b2b::sip::dialog::replaces::{ReferTo, Replaces};
use b2b::sip::msg::{Limits, Message, Method, Request, Response};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

struct OneUser;

impl Credentials for OneUser {
    fn secret(&self, user: &str, _: &str, _: Algorithm) -> Option<Secret<'_>> {
        (user == "1001").then_some(Secret::Password("secret".into()))
    }
}

const HEAD: &str = "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nMax-Forwards: 70\r\nFrom: <sip:1001@b2b.example>;tag=a\r\n\
                    To: <sip:1002@b2b.example>\r\nCall-ID: x\r\n";

fn request(method: &str, fields: &[u8]) -> Option<Request> {
    let head = format!("{method} sip:1002@b2b.example SIP/2.0\r\n{HEAD}CSeq: 1 {method}\r\n");
    match Message::parse(Bytes::from([head.as_bytes(), fields, b"\r\n"].concat()), &Limits::default()) {
        Ok(Message::Request(request)) => Some(request),
        _ => None,
    }
}

fn response(fields: &[u8]) -> Option<Response> {
    let head = format!("SIP/2.0 401 Unauthorized\r\n{HEAD}CSeq: 1 REGISTER\r\n");
    match Message::parse(Bytes::from([head.as_bytes(), fields, b"\r\n"].concat()), &Limits::default()) {
        Ok(Message::Response(response)) => Some(response),
        _ => None,
    }
}

fuzz_target!(|data: &[u8]| {
    let mut fields: [Vec<u8>; 4] = Default::default();
    let names: [&[(usize, &str)]; 7] = [
        &[(0, "Authorization: ")],
        &[(1, "Refer-To: ")],
        &[(2, "Event: ")],
        &[(2, "Accept: ")],
        &[(2, "Expires: ")],
        &[(3, "WWW-Authenticate: ")],
        &[(0, "Proxy-Authorization: ")],
    ];
    for (line, names) in data.split(|&octet| octet == b'\n').zip(names.iter().cycle()) {
        for (place, name) in *names {
            fields[*place].extend_from_slice(name.as_bytes());
            fields[*place].extend_from_slice(line);
            fields[*place].extend_from_slice(b"\r\n");
        }
        let _ = Replaces::parse(line);
        let _ = ReferTo::parse(line);
    }
    let now = Instant::now();
    if let Some(request) = request("REGISTER", &fields[0]) {
        let mut server = DigestServer::new(DigestConfig::default(), [7; 32], now);
        let asked = Asked {
            source: IpAddr::V4(Ipv4Addr::LOCALHOST),
            realm: "b2b.example",
            side: Side::Server,
            md5_only: false,
        };
        let verdict = server.verify(now, &request, asked, &OneUser);
        assert!(!matches!(verdict, Verdict::Authenticated { .. }), "a nonce of ours was guessed");
    }
    if let Some(request) = request("REFER", &fields[1])
        && let Some(refer_to) = ReferTo::of(&request)
    {
        assert!(!refer_to.headers.iter().any(|(_, value)| value.contains(&b'\n')));
    }
    if let Some(request) = request("SUBSCRIBE", &fields[2]) {
        let _ = subscribe_request::read(&request);
    }
    if let Some(response) = response(&fields[3]) {
        let mut client = DigestClient::new("1001", "secret", [7; 32]);
        if client.challenged(&response, &Authorized::default()).is_ok() {
            let sent = client.authorize(&Method::Register, b"sip:b2b.example");
            assert!(!sent.headers.is_empty());
            assert!(!sent.headers.iter().any(|(_, value)| value.contains(&b'\n')));
        }
    }
});
