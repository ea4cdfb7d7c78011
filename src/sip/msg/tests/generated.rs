//! Properties over generated messages, and over random noise.

use proptest::prelude::*;

use super::framing::{StreamDecoder, StreamItem};
use super::*;

fn value() -> impl Strategy<Value = Vec<u8>> {
    let clean = |byte| if chars::is(byte, chars::CONTROL) || byte == b'\t' { b'x' } else { byte };
    proptest::collection::vec(any::<u8>().prop_map(clean), 0..40)
}

fn sip_uri() -> impl Strategy<Value = String> {
    let host = prop_oneof![
        "[a-z][a-z0-9-]{0,10}(\\.[a-z]{2,5}){0,2}",
        any::<[u8; 4]>().prop_map(|octets| std::net::Ipv4Addr::from(octets).to_string()),
        any::<[u16; 8]>().prop_map(|parts| format!("[{}]", std::net::Ipv6Addr::from(parts))),
    ];
    (
        "sips?",
        "([a-z0-9_.!~*'()&=+$,;?/-]|%[0-9A-F]{2}){1,12}",
        host,
        proptest::option::of(any::<u16>()),
        "(;[a-z]{1,5}(=[a-z0-9%]{1,5})?){0,3}",
    )
        .prop_map(|(scheme, user, host, port, params)| {
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            format!("{scheme}:{user}@{host}{port}{params}")
        })
}

proptest! {
    #[test]
    fn what_is_written_parses_to_the_same(
        method in "[A-Z!%*_+`'~.-]{1,10}",
        uri in sip_uri(),
        (from, to, tag) in (sip_uri(), sip_uri(), "[a-z0-9]{1,10}"),
        display in "\\PC{0,12}",
        number in any::<u32>(),
        unknown in proptest::collection::vec(("X-[a-z!%]{1,8}", value()), 0..6),
        body in proptest::collection::vec(any::<u8>(), 0..60),
        cuts in 1usize..40,
    ) {
        let method = Method::from_bytes(method.as_bytes());
        let mut writer = RequestWriter::new(&method, uri.as_bytes())
            .header(Name::Via, "SIP/2.0/TCP 192.0.2.1;branch=z9hG4bKx")
            .header_fmt(Name::From, format_args!("{} <{from}>;tag={tag}", Quoted(&display)))
            .header_fmt(Name::To, format_args!("<{to}>"))
            .header(Name::CallId, "id@h")
            .header_fmt(Name::CSeq, format_args!("{number} {method}"));
        for (name, value) in &unknown {
            writer = writer.header(Name::Other(name.as_bytes()), value);
        }
        let bytes = writer.body("x/y", &body).finish().unwrap();
        let message = request(&bytes);
        prop_assert_eq!(message.as_bytes(), &bytes);
        prop_assert_eq!(message.method(), &method);
        prop_assert_eq!(message.uri_bytes(), uri.as_bytes());
        prop_assert_eq!(message.from().unwrap().uri.raw, from.as_bytes());
        prop_assert_eq!(message.from().unwrap().tag(), Some(tag.as_bytes()));
        let shown: String = display.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        prop_assert_eq!(text(&message.from().unwrap().display_name().unwrap()), shown);
        prop_assert_eq!(message.to().unwrap().uri.raw, to.as_bytes());
        prop_assert_eq!(message.cseq().unwrap(), CSeq { number, method });
        prop_assert!(message.uri().unwrap().equivalent(&Uri::parse(uri.as_bytes()).unwrap()));
        let read: Vec<_> = message.fields().skip(5).take(unknown.len()).map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec())).collect();
        let expected: Vec<_> = unknown.iter().map(|(name, value)| (name.as_bytes().to_vec(), chars::trim(value).to_vec())).collect();
        prop_assert_eq!(read, expected);
        prop_assert_eq!(message.body(), &body);

        let mut decoder = StreamDecoder::new(Limits::default());
        let mut out = Vec::new();
        for piece in bytes.chunks(cuts) {
            decoder.push(piece);
            while let Some(StreamItem::Message(message)) = decoder.next_item() {
                out.push(message.as_bytes().clone());
            }
        }
        prop_assert_eq!(out, [bytes]);
    }

    #[test]
    fn noise_never_panics_and_answers_are_messages(
        start in prop_oneof![Just("OPTIONS sip:a@b SIP/2.0"), Just("SIP/2.0 200 OK"), Just("ACK x"), Just("")],
        lines in proptest::collection::vec((prop_oneof![Just("Via"), Just("f"), Just("To"), Just("Call-ID"), Just("CSeq"), Just("Contact"), Just("l"), Just("Max-Forwards")], value()), 0..8),
        noise in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let mut bytes = start.as_bytes().to_vec();
        bytes.extend_from_slice(b"\r\n");
        for (name, value) in lines {
            bytes.extend_from_slice(name.as_bytes());
            bytes.push(b':');
            bytes.extend_from_slice(&value);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(&noise);
        match parse(&bytes) {
            Ok(message) => {
                let again = parse(message.as_bytes()).unwrap();
                prop_assert_eq!(again.as_bytes(), message.as_bytes());
            }
            Err(error) => {
                if let Some(answer) = error.response("[::1]:5060".parse().unwrap()) {
                    prop_assert!(answer.starts_with(b"SIP/2.0 "));
                    let clean = |byte: &u8| matches!(byte, b'\r' | b'\n') || !chars::is(*byte, chars::CONTROL);
                    prop_assert!(answer.iter().all(clean));
                }
            }
        }
        let mut decoder = StreamDecoder::new(Limits::default());
        decoder.push(&bytes);
        while decoder.next_item().is_some() {}
    }
}
