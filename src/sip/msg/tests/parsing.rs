use super::*;

#[test]
fn a_request_line_has_exactly_two_spaces() {
    for line in [
        "OPTIONS  sip:bob@example.com SIP/2.0",
        "OPTIONS sip:bob@example.com  SIP/2.0",
        "OPTIONS sip:bob@example.com SIP/2.0 ",
        "OPTIONS sip:bob@example.com; lr SIP/2.0",
        "OPTIONS sip:bob@example.com",
        "OPTIONS SIP/2.0",
        "OPTIONS",
        "OPTIONS sip:bob@example.com HTTP/1.1",
        "OPTIONS sip:bob@example.com SIP/two",
    ] {
        let message = options("", "").replace("OPTIONS sip:bob@example.com SIP/2.0", line);
        let error = parse(message).unwrap_err();
        assert_eq!(error.kind, ParseErrorKind::RequestLine, "{line}");
        assert!(error.partial.is_some(), "{line}");
    }
    assert_eq!(fault(options("", "").replacen("OPTIONS", "OPT<>", 1)), ParseErrorKind::RequestLine);
}

#[test]
fn request_uris_are_checked_but_not_their_schemes() {
    let with = |uri: &str| parse(options("", "").replace("sip:bob@example.com SIP", &format!("{uri} SIP")));
    for uri in
        ["tel:+358-555-1234567;phone-context=x", "soap.beep://192.0.2.103:3002", "nobody:opaque", "SIPS:h"]
    {
        assert!(with(uri).is_ok(), "{uri}");
    }
    for uri in [
        "<sip:a@b>",
        "sip:",
        "sip:@b",
        "bob",
        ":x",
        "sip:a@b?Route=%3Csip:c%3E",
        "sip:a@b:",
        "sip:a@b:70000",
        "tel:",
    ] {
        assert_eq!(with(uri).unwrap_err().kind, ParseErrorKind::RequestUri, "{uri}");
    }
}

#[test]
fn another_version_is_answered_with_505() {
    let error = parse(options("", "").replace("SIP/2.0", "SIP/7.0")).unwrap_err();
    assert_eq!(error.kind.status(), 505);
    let answer = error.response("192.0.2.9:5061".parse().unwrap()).unwrap();
    assert!(answer.starts_with(b"SIP/2.0 505 Version Not Supported\r\n"));
    assert_eq!(fault(ok("").replacen("SIP/2.0", "SIP/3.0", 1)), ParseErrorKind::Version);
}

#[test]
fn status_codes_run_from_100_to_699() {
    for (line, status) in [("100 Trying", 100), ("699 x", 699), ("200", 200), ("200 ", 200)] {
        assert_eq!(response(ok("").replacen("200 OK", line, 1)).status(), status);
    }
    for line in ["099 x", "700 x", "1000 x", "4294967301 x", "20 x", "2x0 x", "", "-200 x", "+20 x"] {
        assert_eq!(fault(ok("").replacen("200 OK", line, 1)), ParseErrorKind::StatusLine, "{line}");
    }
}

#[test]
fn reason_phrases_are_any_bytes_or_none() {
    let reason = |line: &str| response(ok("").replacen("200 OK", line, 1)).reason().to_vec();
    assert_eq!(reason("200 "), b"");
    assert_eq!(reason("200"), b"");
    assert_eq!(reason("200 = 2**3 * 5**2 \u{43d}\u{43e}"), "= 2**3 * 5**2 \u{43d}\u{43e}".as_bytes());
    let mut bytes = ok("").into_bytes();
    bytes[12] = 0xff;
    assert_eq!(response(bytes).reason(), b"\xffK");
}

#[test]
fn unknown_headers_are_kept_byte_for_byte_and_in_order() {
    let lines = "X-b: 1\r\nx-A :\t two  \r\nX-B:;;,,;;,;\r\nUnkn0wn!:\r\n";
    let message = request(options(lines, "body"));
    assert_eq!(
        message.lines().collect::<Vec<_>>().concat(),
        options(lines, "").as_bytes()[37..options(lines, "").len() - 2]
    );
    let fields: Vec<_> =
        message.fields().skip(6).map(|(name, value)| (text(name.as_bytes()), text(value))).collect();
    let expected = [("X-b", "1"), ("x-A", "two"), ("X-B", ";;,,;;,;"), ("Unkn0wn!", "")];
    assert_eq!(fields, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(message.headers(Name::Other(b"x-b")).collect::<Vec<_>>(), [&b"1"[..], b";;,,;;,;"]);
}

#[test]
fn compact_forms_are_the_long_ones() {
    let mut compact = options("m: <sip:a@h>\r\nc: Application/SDP; x=y\r\nk: 100rel, Timer\r\n", "")
        .replace("Call-ID", "i");
    for (long, short) in [("\nVia", "\nv"), ("\nFrom", "\nF"), ("\nTo", "\nt")] {
        compact = compact.replace(long, short);
    }
    let message = request(&compact);
    assert_eq!(message.call_id(), Ok(&b"c1@example.com"[..]));
    assert_eq!(message.from().unwrap().tag(), Some(&b"a"[..]));
    assert_eq!(message.content_type(), Some(&b"Application/SDP"[..]));
    assert!(message.has_token(Name::Supported, "timer") && !message.has_token(Name::Supported, "rel"));
    assert_eq!(message.as_bytes(), compact.as_bytes());
}

#[test]
fn folded_values_work_and_stay_folded() {
    let folded = "INVITE sip:v@chair.example.com;unknownparam SIP/2.0\r\nTO :\r\n sip:v@chair.example.com ;   tag    = 19n\r\n\
        from   : \"J R \\\\\\\"\"       <sip:jd@example.com>\r\n  ;\r\n  tag = 98asjd8\r\nMaX-fOrWaRdS: 0068\r\n\
        Call-ID: w@192.0.2.1\r\nContent-Length   : 2\r\ncseq: 0009\r\n  INVITE\r\nVia  : SIP  /   2.0\r\n /UDP\r\n    192.0.2.2;branch=390s\r\n\
        s :\r\nRoute:\r\n <sip:s.example.com;lr;unknownwith=value;unknown-no-value>\r\nv:  SIP  / 2.0  / TCP     spindle.example.com   ;\r\n\
        \u{20} branch  =   z9hG4bK9ikj8  ,\r\n SIP  /    2.0   / UDP  192.168.255.111 : 5080  ; branch=\r\n z9hG4bK30239\r\n\
        m:\"Quoted string \\\"\\\"\" <sip:jd@example.com> ; newparam =\r\n      newvalue ;\r\n  secondparam ; q = 0.33\r\n\r\nab";
    let message = request(folded);
    assert_eq!(message.as_bytes(), folded.as_bytes());
    assert_eq!(message.max_forwards(), Ok(Some(68)));
    assert_eq!(message.cseq(), Ok(CSeq { number: 9, method: Method::Invite }));
    assert_eq!(message.from().unwrap().display_name().unwrap().as_ref(), b"J R \\\"");
    assert_eq!(message.from().unwrap().tag(), Some(&b"98asjd8"[..]));
    assert_eq!(message.to().unwrap().tag(), Some(&b"19n"[..]));
    assert_eq!((message.from_tag(), message.to_tag()), (Some(&b"98asjd8"[..]), Some(&b"19n"[..])));
    assert_eq!(request(options("", "")).to_tag(), None);
    assert_eq!(message.header(Name::Subject), Some(&b""[..]));
    let vias: Vec<_> = message.vias().map(Result::unwrap).collect();
    let seen: Vec<_> =
        vias.iter().map(|via| (via.known_transport(), via.port, text(via.branch.unwrap()))).collect();
    assert_eq!(
        seen,
        [
            (Some(Transport::Udp), None, "390s".to_owned()),
            (Some(Transport::Tcp), None, "z9hG4bK9ikj8".to_owned()),
            (Some(Transport::Udp), Some(5080), "z9hG4bK30239".to_owned())
        ]
    );
    let contact = message.contact().unwrap().unwrap();
    assert_eq!(contact.params.value("q"), Some(&b"0.33"[..]));
    assert_eq!(contact.params.value("NEWPARAM"), Some(&b"newvalue"[..]));
    assert!(contact.params.has("secondparam") && !contact.params.has("third"));
    assert!(message.routes().next().unwrap().unwrap().uri.is_loose_router());
    assert_eq!(message.body(), "ab");
}

#[test]
fn lists_split_at_commas_outside_quotes_and_brackets() {
    let message = request(options(
        "Contact: \"a, b\" <sip:c,d@h>, <sip:e@h>;x=\"1,2\" , sip:f@h\r\nContact:,,<sip:g@h>,\r\nSubject: a, b\r\n",
        "",
    ));
    let users: Vec<_> = message.contacts().map(|contact| text(contact.unwrap().uri.user.unwrap())).collect();
    assert_eq!(users, ["c,d", "e", "f", "g"]);
    assert_eq!(message.headers(Name::Subject).collect::<Vec<_>>(), [b"a, b"]);
}

#[test]
fn a_star_contact_is_no_address() {
    let message = request(options("Contact: *\r\n", "").replace("OPTIONS", "REGISTER"));
    assert!(message.contact_is_star());
    assert_eq!(message.contacts().count(), 0);
}

#[test]
fn line_feeds_alone_end_lines_too() {
    let message = request(options("X: y\r\n", "body").replace("\r\n", "\n"));
    assert_eq!(message.body(), "body");
    assert_eq!(message.call_id(), Ok(&b"c1@example.com"[..]));
}

#[test]
fn a_header_section_must_end() {
    let whole = options("X: y\r\n", "");
    for cut in [2, 3, 5] {
        let error = parse(&whole[..whole.len() - cut]).unwrap_err();
        assert_eq!(error.kind, ParseErrorKind::Unterminated);
        assert!(error.partial.is_some());
    }
}

#[test]
fn limits_hold_and_are_answered_with_513() {
    let limits = Limits { message: 1_000, headers: 8, header_line: 200 };
    let kind = |text: String| {
        let error = Message::parse(Bytes::from(text), &limits).unwrap_err();
        assert!(error.partial.is_some());
        (error.kind.status(), error.kind)
    };
    assert!(Message::parse(Bytes::from(options("A: 1\r\nB: 2\r\n", "")), &limits).is_ok());
    assert_eq!(kind(options("A: 1\r\nB: 2\r\nC: 3\r\n", "")).0, 513);
    assert_eq!(kind(options(&format!("A: {}\r\n", "x".repeat(200)), "")).0, 513);
    assert_eq!(kind(options(&format!("A: {}x\r\n", "x\r\n ".repeat(50)), "")).0, 513);
    assert_eq!(kind(options("", &"x".repeat(1_000))), (513, ParseErrorKind::Limit("the size of a message")));
    let long_line = format!("OPTIONS sip:{}@h SIP/2.0\r\n", "x".repeat(300));
    assert!(Message::parse(Bytes::from(long_line), &limits).is_err());
}

#[test]
fn a_message_of_nothing_but_fields_is_read_in_bounds() {
    let many = options(&"a:\r\n".repeat(10_000), "");
    assert_eq!(fault(many), ParseErrorKind::Limit("the number of header fields"));
    let quotes = options(&format!("Contact: {}\r\n", "\"".repeat(8_000)), "");
    assert!(request(quotes).contacts().all(|contact| contact.is_err()));
}
