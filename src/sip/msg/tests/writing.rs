use std::net::SocketAddr;

use super::*;

const NEAR: &str = "192.0.2.1:5060";
const FAR: &str = "198.51.100.7:40000";

fn received(text: &str, source: &str) -> Request {
    let mut request = request(text);
    request.set_source(source.parse::<SocketAddr>().unwrap());
    request
}

fn reply(request: &Request, status: u16) -> Response {
    response(ResponseWriter::reply_to(request, status, "x", Some("t1")).finish().unwrap())
}

#[test]
fn a_request_is_written_as_given() {
    let bytes = RequestWriter::new(&Method::Invite, b"sip:bob@192.0.2.4")
        .header(Name::Via, "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1")
        .header_fmt(Name::CSeq, format_args!("{} {}", 7, Method::Invite))
        .header_fmt(Name::From, format_args!("{} <sip:a@b>;tag=1", Quoted("A \"B\" \\ \r\nC")))
        .header(Name::Other(b"X-Thing"), b"caf\xe9")
        .body("application/sdp", b"v=0\r\n")
        .finish()
        .unwrap();
    let expected = b"INVITE sip:bob@192.0.2.4 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nCSeq: 7 INVITE\r\n\
        From: \"A \\\"B\\\" \\\\   C\" <sip:a@b>;tag=1\r\nX-Thing: caf\xe9\r\nContent-Type: application/sdp\r\n\
        Content-Length: 5\r\n\r\nv=0\r\n";
    assert_eq!(text(&bytes), text(expected));
    assert_eq!(bytes, &expected[..]);
}

#[test]
fn no_control_character_leaves() {
    let control = |value: &[u8]| {
        let request = RequestWriter::new(&Method::Info, b"sip:a@b").header(Name::Subject, value).finish();
        let reply = ResponseWriter::reply_to(&request_for_reply(), 200, "OK", None)
            .header(Name::Subject, value)
            .finish();
        assert_eq!(request, reply.and(request.clone()));
        request
    };
    for byte in (0..32u8).filter(|&byte| byte != b'\t').chain([0x7f]) {
        assert_eq!(control(&[b'a', byte, b'b']), Err(WriteError::Control("Subject".to_owned())), "{byte}");
    }
    assert!(control(b"tab\tis fine \xff").is_ok());
    // A phrase is only shown.
    let reason = ResponseWriter::reply_to(&request_for_reply(), 200, "O\r\n K\u{7}", None).finish().unwrap();
    assert!(reason.starts_with(b"SIP/2.0 200 O K \r\n"), "{reason:?}");
    let tag = ResponseWriter::reply_to(&request_for_reply(), 200, "OK", Some("a\r\nb")).finish();
    assert!(matches!(tag, Err(WriteError::Control(_))));
    let content_type = RequestWriter::new(&Method::Info, b"sip:a@b").body("a\nb", b"").finish();
    assert!(matches!(content_type, Err(WriteError::Control(_))));
}

fn request_for_reply() -> Request {
    request(options("", ""))
}

#[test]
fn start_lines_and_names_are_checked() {
    let line = |method: &'static [u8], uri: &[u8]| {
        RequestWriter::new(&Method::Other(Bytes::from_static(method)), uri).finish().err()
    };
    assert_eq!(line(b"PING", b"sip:a@b"), None);
    assert_eq!(line(b"PI NG", b"sip:a@b"), Some(WriteError::Method));
    assert_eq!(line(b"", b"sip:a@b"), Some(WriteError::Method));
    for uri in [&b""[..], b"sip:a b", b"sip:a\r\nX: y", b"<sip:a>"] {
        assert_eq!(line(b"PING", uri), Some(WriteError::Uri));
    }
    let name =
        |name: Name<'_>| RequestWriter::new(&Method::Info, b"sip:a@b").header(name, "1").finish().err();
    assert_eq!(name(Name::Other(b"X: y\r\nZ")), Some(WriteError::Name("X: y\r\nZ".to_owned())));
    assert_eq!(name(Name::Other(b"l")), Some(WriteError::ContentLength));
    for status in [0, 99, 700] {
        let reply = ResponseWriter::reply_to(&request_for_reply(), status, "x", None).finish();
        assert_eq!(reply.err(), Some(WriteError::Status(status)));
    }
}

#[test]
fn a_reply_copies_what_the_rfc_says() {
    let lines = "Via: SIP/2.0/TCP a;branch=2, SIP/2.0/TLS b;branch=3\r\nRecord-Route: <sip:p1;lr>\r\nRecord-Route: <sip:p2;lr>, <sip:p3;lr>\r\nTimestamp: 54\r\n";
    let request = request(options(lines, ""));
    let response = reply(&request, 180);
    let branches: Vec<_> = response.vias().map(|via| text(via.unwrap().branch.unwrap())).collect();
    assert_eq!(branches, ["z9hG4bK1", "2", "3"]);
    for name in [Name::From, Name::CallId, Name::CSeq] {
        assert_eq!(response.header(name), request.header(name));
    }
    assert_eq!(response.header(Name::To), Some(&b"<sip:bob@example.com>;tag=t1"[..]));
    assert_eq!(response.record_routes().count(), 0);
    assert_eq!(response.header(Name::Timestamp), None);
    let routed =
        ResponseWriter::reply_to(&request, 200, "OK", None).record_routes(&request).finish().unwrap();
    assert_eq!(super::response(routed).record_routes().count(), 3);
    let trying = reply(&request, 100);
    assert_eq!(trying.header(Name::To), Some(&b"<sip:bob@example.com>"[..]));
    assert_eq!(trying.header(Name::Timestamp), Some(&b"54"[..]));
}

#[test]
fn a_to_tag_that_is_there_stays() {
    let request =
        request(options("", "").replace("To: <sip:bob@example.com>", "To: sip:bob@example.com;tag=old"));
    assert_eq!(reply(&request, 200).to().unwrap().tag(), Some(&b"old"[..]));
}

#[test]
fn received_is_added_when_sent_by_is_another_address() {
    let with_source =
        |source| text(reply(&received(&options("", ""), source), 200).header(Name::Via).unwrap());
    assert_eq!(with_source(NEAR), "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1");
    assert_eq!(with_source(FAR), "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1;received=198.51.100.7");
    assert_eq!(
        with_source("[2001:db8::1]:9"),
        "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1;received=2001:db8::1"
    );
    let named = options("", "").replace("192.0.2.1:5060", "host.example");
    let via = text(reply(&received(&named, NEAR), 200).header(Name::Via).unwrap());
    assert_eq!(via, "SIP/2.0/UDP host.example;branch=z9hG4bK1;received=192.0.2.1");
}

#[test]
fn rport_gets_the_port_and_always_comes_with_received() {
    let asking = options("", "").replace(";branch", " ; rport ; received=203.0.113.9;branch");
    let via = text(reply(&received(&asking, "192.0.2.1:7777"), 200).header(Name::Via).unwrap());
    assert_eq!(via, "SIP/2.0/UDP 192.0.2.1:5060;rport=7777;branch=z9hG4bK1;received=192.0.2.1");
}

#[test]
fn only_the_top_via_is_touched() {
    let two = options("", "").replace("Max-Forwards", "Via: SIP/2.0/UDP b;rport;branch=2\r\nMax-Forwards");
    let response = reply(&received(&two, FAR), 200);
    let vias: Vec<_> = response.vias().map(Result::unwrap).collect();
    assert_eq!((vias[1].rport, vias[1].received), (Rport::Requested, None));
}

#[test]
fn echoed_values_lose_folds_and_control_characters_but_are_answered() {
    let odd = options("", "")
        .replace("To: <", "To: \"BEL:\\\u{7} NUL:\\\0 DEL:\\\u{7f}\"\r\n\t<")
        .replace("branch=z9hG4bK1", "branch=z9hG4bK1;x=\"\u{1}\"");
    let response = reply(&request(&odd), 405);
    assert_eq!(
        response.header(Name::To),
        Some(&b"\"BEL:\\  NUL:\\  DEL:\\ \" <sip:bob@example.com>;tag=t1"[..])
    );
    assert!(
        !response
            .as_bytes()
            .iter()
            .any(|&byte| byte != b'\r' && byte != b'\n' && chars::is(byte, chars::CONTROL))
    );
}

#[test]
fn an_answer_to_a_malformed_request_is_the_same_each_time() {
    let broken = options("", "").replace("example.com SIP", "example.com:x SIP");
    let answer = || parse(&broken).unwrap_err().response(FAR.parse().unwrap()).unwrap();
    assert_eq!(answer(), answer(), "a stateless UAS gives retransmissions the same To tag (§8.2.7)");
    let response = response(answer());
    assert_eq!(response.top_via().unwrap().received, Some("198.51.100.7".parse().unwrap()));
    assert!(response.to().unwrap().tag().is_some());
    let other = parse(broken.replace("c1@", "c2@")).unwrap_err().response(FAR.parse().unwrap()).unwrap();
    assert_ne!(super::response(other).to().unwrap().tag(), response.to().unwrap().tag());
}

#[test]
fn an_answer_to_a_broken_via_still_goes_out() {
    let broken = options("", "").replace(";branch=z9hG4bK1", ";;,;,,");
    let answer = parse(broken).unwrap_err().response(FAR.parse().unwrap()).unwrap();
    assert!(text(&answer).contains("Via: SIP/2.0/UDP 192.0.2.1:5060;;\r\n"));
}
