//! Regression tests: each name is a defect measured in a SIP crate (house plan §4) that this
//! one must not have.

use super::*;

fn answer(text: impl AsRef<[u8]>) -> String {
    let error = parse(text).unwrap_err();
    super::text(&error.response("192.0.2.9:5061".parse().unwrap()).expect("an answer"))
}

#[test]
fn hostile_content_length() {
    for value in
        ["99999999999999999999", "18446744073709551615", "4294967296", "-1", "+5", "5 5", "0x5", "", "1e3"]
    {
        let message = options(&format!("Content-Length: {value}\r\n"), "hello");
        assert!(answer(&message).starts_with("SIP/2.0 400 "), "{value}");
    }
    assert!(answer(options("Content-Length: 5\r\nl: 4\r\n", "hello")).starts_with("SIP/2.0 400 "));
    assert_eq!(request(options("Content-Length: 5\r\nl: 005\r\n", "hello")).body(), "hello");
}

#[test]
fn content_length_beyond_the_datagram_is_refused_and_within_it_cuts() {
    assert_eq!(fault(options("Content-Length: 6\r\n", "hello")), ParseErrorKind::ShortBody);
    let short = request(options("Content-Length: 4\r\n", "hello"));
    assert_eq!(short.body(), "hell");
    assert!(short.as_bytes().ends_with(b"\r\n\r\nhell"));
}

#[test]
fn body_without_content_length() {
    assert_eq!(request(options("", "v=0\r\n")).body(), "v=0\r\n");
    assert_eq!(request(options("", "")).body(), "");
}

#[test]
fn non_utf8_header_byte() {
    let mut bytes = options("Subject: caf\u{1}\r\nX-After: yes\r\n", "").into_bytes();
    let at = bytes.iter().position(|&byte| byte == 1).unwrap();
    bytes[at] = 0xe9;
    let message = request(&bytes);
    assert_eq!(message.header(Name::Subject), Some(&b"caf\xe9"[..]));
    assert_eq!(message.header(Name::Other(b"x-after")), Some(&b"yes"[..]));
    assert_eq!(message.as_bytes(), &bytes);

    for (from, to) in
        [("<sip:alice@example.com>;", "\"\u{1}\" <sip:al\u{1}ce@example.com>;x=\"\u{1}\";"), ("c1@", "c1")]
    {
        let bytes: Vec<u8> = options("", "")
            .replace(from, to)
            .bytes()
            .map(|byte| if byte == 1 { 0xff } else { byte })
            .collect();
        let message = request(&bytes);
        assert_eq!(message.from().unwrap().tag(), Some(&b"a"[..]));
        assert_eq!(message.to().unwrap().uri.user, Some(&b"bob"[..]));
    }
}

#[test]
fn unknown_method() {
    let message = request(options("", "").replace("OPTIONS", "PING!"));
    assert_eq!(message.method(), &Method::Other(Bytes::from_static(b"PING!")));
    assert_eq!(message.cseq().unwrap().method, *message.method());
    // Methods are case-sensitive (§7.1).
    assert_eq!(request(options("", "").replace("OPTIONS", "invite")).method().as_bytes(), b"invite");
}

#[test]
fn escapes_kept_as_they_came() {
    let message = request(
        options("Contact: <sip:a%2Bb%20c@h;x=%41?h=%2B>\r\n", "").replace("sip:bob@", "sip:%2B44%252B@"),
    );
    assert_eq!(message.uri_bytes(), b"sip:%2B44%252B@example.com");
    let contact = message.contact().unwrap().unwrap().uri;
    assert_eq!(contact.raw, b"sip:a%2Bb%20c@h;x=%41?h=%2B");
    assert_eq!(contact.user, Some(&b"a%2Bb%20c"[..]));
    let request = RequestWriter::new(&Method::Bye, contact.raw).finish().unwrap();
    assert!(request.starts_with(b"BYE sip:a%2Bb%20c@h;x=%41?h=%2B SIP/2.0\r\n"));
}

#[test]
fn leading_crlf() {
    for prefix in ["\r\n", "\r\n\r\n\r\n", "\n"] {
        let message = request(format!("{prefix}{}", options("", "")));
        assert_eq!(message.as_bytes(), options("", "").as_bytes());
    }
    assert_eq!(fault("\r\n\r\n"), ParseErrorKind::Empty);
    assert_eq!(fault(""), ParseErrorKind::Empty);
}

fn without(name: &str) -> String {
    let full = options("", "");
    full.split_inclusive("\r\n").filter(|line| !line.starts_with(name)).collect()
}

#[test]
fn missing_via_to_from_call_id_cseq() {
    for (name, missing) in [("To", Name::To), ("From", Name::From), ("Call-ID", Name::CallId)] {
        assert_eq!(fault(without(name)), HeaderError::Missing(missing).into());
        let answer = answer(without(name));
        assert!(answer.starts_with(&format!("SIP/2.0 400 Bad Request: missing {name}\r\n")), "{answer}");
        assert!(answer.contains("branch=z9hG4bK1") && answer.contains("CSeq: 1 OPTIONS"), "{answer}");
        assert!(!answer.contains(&format!("\r\n{name}: ")), "{answer}");
    }
    for (name, missing) in [("Via", Name::Via), ("CSeq", Name::CSeq)] {
        let error = parse(without(name)).unwrap_err();
        assert_eq!(error.kind, HeaderError::Missing(missing).into());
        assert!(error.partial.is_none(), "without {name} no client could match an answer");
    }
}

#[test]
fn missing_contact_is_no_fault_of_the_message() {
    assert!(request(options("", "")).contact().unwrap().is_none());
    assert!(response(ok("")).contact().unwrap().is_none());
}

#[test]
fn a_2xx_with_a_broken_contact_is_not_lost() {
    assert!(response(ok("Contact: <broken\r\n")).contact().is_err());
    let invite = options("Contact: <broken\r\n", "");
    assert!(parse(&invite).is_ok(), "OPTIONS needs no Contact (§8.2.2)");
    assert_eq!(fault(invite.replace("OPTIONS", "INVITE")), HeaderError::Invalid(Name::Contact).into());
}

#[test]
fn invalid_mandatory_fields_are_answered() {
    for (from, to) in [
        ("From: <sip:alice@example.com>;tag=a", "From: \"alice <sip:alice@example.com>;tag=a"),
        ("To: <sip:bob@example.com>", "To: <>"),
        ("To: <sip:bob@example.com>", "To: Watson, Thomas sip:bob@example.com"),
        ("Call-ID: c1@example.com", "Call-ID: c1 c2"),
        ("Call-ID: c1@example.com", "Call-ID:"),
        ("CSeq: 1 OPTIONS", "CSeq: 1 INVITE"),
        ("CSeq: 1 OPTIONS", "CSeq: 4294967296 OPTIONS"),
        ("CSeq: 1 OPTIONS", "CSeq: -1 OPTIONS"),
        ("CSeq: 1 OPTIONS", "CSeq: 1"),
        ("CSeq: 1 OPTIONS", "CSeq: 1OPTIONS"),
        ("Via: SIP/2.0/UDP 192.0.2.1:5060", "Via: SIP/2.0/UDP 192.0.2.1:99999"),
        ("Via: SIP/2.0/UDP 192.0.2.1:5060;", "Via: SIP/2.0/UDP 192.0.2.1:5060;;"),
        ("Via: SIP/2.0/UDP ", "Via: "),
        ("Max-Forwards: 70", "Max-Forwards: 70\r\nMax-Forwards: 69"),
        ("CSeq: 1 OPTIONS", "CSeq: 1 OPTIONS\r\nCSeq: 2 OPTIONS"),
        ("To: <", "\u{1}: x\r\nTo: <"),
        ("To: <", "a\rb\r\nTo: <"),
        ("To: <", "a\0\r\nTo: <"),
        ("To: <", "Content-Length 0\r\nTo: <"),
        ("To: <", "v SIP/2.0/UDP 192.0.2.9\r\nTo: <"),
        ("To: <", "require 100rel\r\nTo: <"),
        ("To: <", "Expires: 1\r\nExpires: 2\r\nTo: <"),
        ("To: <", "c: text/plain\r\nContent-Type: application/sdp\r\nTo: <"),
    ] {
        let message = options("", "").replace(from, to);
        assert_ne!(message, options("", ""));
        assert!(answer(&message).starts_with("SIP/2.0 400 "), "{to}");
    }
}

#[test]
fn what_a_message_does_not_need_is_skipped() {
    let odd = [
        "to-the-moon\r\n",
        ": x\r\n",
        "X Y: z\r\n",
        "Date: yesterday\r\n",
        "Expires: never\r\n",
        "Max-Forwards: 300\r\n",
        "Session-Expires: soon;refresher\r\n",
        "Min-SE:\r\n",
        "Content-Type: ???\r\n",
        "Allow: ,;,\r\n",
        "Contact: sip:a@\r\n",
        "User-Agent: a\r\nUser-Agent: b\r\n",
    ];
    for line in odd {
        for method in ["OPTIONS", "BYE", "ACK", "INFO", "CANCEL"] {
            let whole = options(line, "").replace("Max-Forwards: 70\r\n", "").replace("OPTIONS", method);
            assert!(parse(whole).is_ok(), "{method} with {line}");
        }
        let message = response(ok(line).replace("Call-ID", "Supported: x\r\nCall-ID"));
        assert!(message.has_token(Name::Supported, "x"), "{line}");
    }
    let later = options("Contact: <broken\r\n", "").replace("example.com>\r\n", "example.com>;tag=t\r\n");
    assert!(parse(later.replace("OPTIONS", "INVITE")).is_ok(), "the dialog has a target");
    let same = options("From: <sip:alice@example.com>;tag=a\r\n", "");
    assert_eq!(request(same).from_tag(), Some(&b"a"[..]));
}

#[test]
fn a_call_id_is_any_visible_text_of_bounded_length() {
    let with = |id: &str| parse(options("", "").replace("c1@example.com", id));
    let long = "x".repeat(256);
    for id in ["a;b=c@h", "#$&|^`", "\"<>\\{}", ",", &long] {
        assert_eq!(with(id).unwrap().call_id(), Ok(id.as_bytes()), "{id}");
    }
    for id in ["a b", "a\u{e4}", "a\u{7f}", &format!("{long}x")] {
        assert_eq!(with(id).unwrap_err().kind, HeaderError::Invalid(Name::CallId).into(), "{id}");
    }
}

#[test]
fn an_ack_is_never_answered() {
    let ack = without("To").replace("OPTIONS", "ACK");
    assert!(parse(ack).unwrap_err().partial.is_none());
}

#[test]
fn ipv6() {
    let message = request(
        options("Contact: <sip:[2001:db8::9:1]>\r\nRoute: <sip:[::1]:5070;lr>\r\n", "")
            .replace("192.0.2.1:5060", "[2001:db8::9:255]:5062;received=[2001:db8::1];rport=5063")
            .replace("sip:bob@example.com SIP", "sip:bob@[2001:db8::10]:5070 SIP"),
    );
    let uri = message.uri().unwrap();
    assert_eq!((uri.host, uri.port), (Some(Host::V6("2001:db8::10".parse().unwrap())), Some(5070)));
    let via = message.top_via().unwrap();
    assert_eq!((via.host, via.port), (Host::V6("2001:db8::9:255".parse().unwrap()), Some(5062)));
    assert_eq!(via.received, Some("2001:db8::1".parse().unwrap()));
    assert_eq!(via.rport, Rport::Port(5063));
    assert_eq!(message.contact().unwrap().unwrap().uri.port, None);
    assert_eq!(message.routes().next().unwrap().unwrap().uri.port, Some(5070));
    let bare = request(options("", "").replace(";branch", ";received=2001:db8::1;branch"));
    assert_eq!(bare.top_via().unwrap().received, Some("2001:db8::1".parse().unwrap()));
    assert_eq!(
        fault(options("", "").replace("bob@example.com SIP", "bob@[2001:db8::10 SIP")),
        ParseErrorKind::RequestUri
    );
    assert_eq!(
        fault(options("", "").replace("bob@example.com SIP", "bob@2001:db8::10 SIP")),
        ParseErrorKind::RequestUri
    );
}
