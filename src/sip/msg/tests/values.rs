use super::*;

fn uri(text: &str) -> Uri<'_> {
    Uri::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn a_sip_uri_falls_into_its_parts() {
    let uri = uri("sips:al%69ce;day=tue:pa%40ss@Example.COM:5061;transport=tcp;lr?subject=x&a=b");
    assert_eq!(uri.scheme, Scheme::Sips);
    assert_eq!(uri.user, Some(&b"al%69ce;day=tue"[..]));
    assert_eq!(uri.user_unescaped().unwrap().as_ref(), b"alice;day=tue");
    assert_eq!(uri.password, Some(&b"pa%40ss"[..]));
    assert_eq!((uri.host, uri.port), (Some(Host::Name("Example.COM")), Some(5061)));
    assert_eq!(uri.transport(), Some(&b"tcp"[..]));
    assert!(uri.is_loose_router());
    assert_eq!(uri.headers, Some(&b"subject=x&a=b"[..]));
}

#[test]
fn an_unusual_user_part_is_one() {
    let text = "sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com";
    let uri = uri(text);
    assert_eq!(uri.user, Some(&b"1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"[..]));
    assert_eq!(uri.password, Some(&b"&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"[..]));
    assert_eq!(uri.host, Some(Host::Name("example.com")));
}

#[test]
fn escaped_separators_separate_nothing() {
    let uri = uri("sip:sips%3Auser%40example.com@example.net");
    assert_eq!((uri.user, uri.password), (Some(&b"sips%3Auser%40example.com"[..]), None));
    assert_eq!(super::super::Uri::parse(b"sip:%00@h").unwrap().user_unescaped().unwrap().as_ref(), b"\0");
}

#[test]
fn tel_and_unknown_schemes_are_kept() {
    let tel = uri("tel:+1-201-555-0123;phone-context=example.com");
    assert_eq!((tel.scheme, tel.user), (Scheme::Tel, Some(&b"+1-201-555-0123"[..])));
    assert_eq!(tel.params.value("phone-context"), Some(&b"example.com"[..]));
    let other = uri("urn:service:sos@x");
    assert_eq!((other.scheme, other.user, other.host), (Scheme::Other(b"urn"), None, None));
    assert_eq!(other.raw, b"urn:service:sos@x");
    assert_eq!(other.to_string(), "urn:service:sos@x");
}

#[test]
fn uri_faults_have_their_reasons() {
    for (text, reason) in [
        ("", UriError::Scheme),
        ("bob", UriError::Scheme),
        ("1sip:x", UriError::Scheme),
        ("sip:a b@h", UriError::Character),
        ("sip:<a>@h", UriError::Character),
        ("sip:a\r\n@h", UriError::Character),
        ("sip:@h", UriError::User),
        ("sip:a@", UriError::Host),
        ("sip:a@h!x", UriError::Host),
        ("sip:[::1", UriError::Host),
        ("sip:[1.2.3.4]", UriError::Host),
        ("sip:h:x", UriError::Port),
        ("sip:h:65536", UriError::Port),
        ("tel:;x", UriError::Number),
    ] {
        assert_eq!(Uri::parse(text.as_bytes()).unwrap_err(), reason, "{text}");
    }
}

#[test]
fn hosts_print_as_they_are_written() {
    for text in ["example.com", "192.0.2.1", "[2001:db8::1]"] {
        assert_eq!(uri(&format!("sip:{text}")).host.unwrap().to_string(), text);
    }
    assert_eq!(uri("sip:192.0.2.1").host.unwrap().ip(), Some("192.0.2.1".parse().unwrap()));
    for name in
        ["1.example.com", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1..3.4", "1.2.3.", "999999.1.1.1"]
    {
        assert!(name.parse::<std::net::Ipv4Addr>().is_err());
        assert_eq!(uri(&format!("sip:{name}")).host, Some(Host::Name(name)));
    }
}

fn name_addr(text: &str) -> Option<NameAddr<'_>> {
    NameAddr::parse(text.as_bytes())
}

#[test]
fn parameters_without_brackets_belong_to_the_header() {
    let bare = name_addr("sip:+1972@gw1.example.net;unknownparam;tag=x").unwrap();
    assert_eq!(bare.uri.raw, b"sip:+1972@gw1.example.net");
    assert!(bare.params.has("unknownparam") && !bare.uri.params.has("unknownparam"));
    assert_eq!(bare.tag(), Some(&b"x"[..]));
    let bracketed = name_addr("<sip:+1972@gw1.example.net;unknownparam>;tag=x").unwrap();
    assert!(bracketed.uri.params.has("unknownparam") && !bracketed.params.has("unknownparam"));
}

#[test]
fn uri_parameters_without_brackets_belong_to_the_uri() {
    let bare = name_addr("sip:a@h;transport=tcp;User=phone;expires=60;q=0.5").unwrap();
    assert_eq!(bare.uri.raw, b"sip:a@h;transport=tcp;User=phone");
    assert_eq!(bare.params.value("expires"), Some(&b"60"[..]));
    assert!(name_addr("sip:proxy.example.com;lr").unwrap().uri.is_loose_router());
    for half in ["sip:a@h;user=phone?Replaces=x", "sip:a@h;transport=udp?a=b;tag=1", "sip:a@h?x=y"] {
        assert!(name_addr(half).is_none(), "{half}");
    }
}

#[test]
fn display_names_come_with_and_without_quotes() {
    let shown = |text| name_addr(text).unwrap().display_name().map(|name| super::text(&name));
    assert_eq!(shown("<sip:a@b>"), None);
    assert_eq!(shown("caller<sip:a@b>").as_deref(), Some("caller"));
    assert_eq!(shown("token1~` token2'+_ <sip:a@b>").as_deref(), Some("token1~` token2'+_"));
    assert_eq!(shown(r#""Bell, \"Alec\" <x>" <sip:a@b>"#).as_deref(), Some(r#"Bell, "Alec" <x>"#));
    assert_eq!(shown("\"%Z%45\" <sip:a@b>").as_deref(), Some("%Z%45"));
    assert_eq!(shown("\"a\r\n  b\" <sip:a@b>").as_deref(), Some("a b"));
    assert_eq!(shown("J\u{fc}rgen <sip:a@b>").as_deref(), Some("J\u{fc}rgen"));
}

#[test]
fn a_display_name_of_any_kind_leaves_the_uri_as_it_is() {
    for name in [
        "Bell, Alexander",
        "\"\"withheld\"\"",
        "\"Front\" Desk",
        "Front \"Desk",
        "Room: 12",
        "tel:5551000",
        "sip:other@example.net;tag=9",
        "(main)",
        "5 > 4",
        "@home [office] {1}",
        "\"<sip:other@example.net>\" or \"<\"",
        "back\\slash",
        "=;?",
    ] {
        let text = format!("{name} <sip:a@b>;tag=1");
        let Some(value) = name_addr(&text) else {
            assert_eq!(name, "Front \"Desk", "an open quote");
            continue;
        };
        assert_eq!(
            (value.uri.raw, value.tag(), value.display),
            (&b"sip:a@b"[..], Some(&b"1"[..]), Some(name.as_bytes()))
        );
    }
}

#[test]
fn broken_addresses_are_refused() {
    for text in [
        "",
        "<>",
        "sip:a@b>",
        "<sip:a@b",
        "\"open <sip:a@b>",
        "\"a\" sip:a@b",
        "\"open\" and \"open <sip:a@b>",
        "name <sip:a@b",
        "name <<sip:a@b>>",
        "<sip:a@b> <sip:c@d>",
        "name <name>",
        "\"W\" < sip:t@example.org >",
        "<sip:a@b>;;",
        "<sip:a@b>;=x",
        "<sip:a@b>;x=\"open",
        "<sip:a@b> x",
        "sip:a@b?Route=%3Csip:c%3E",
        "sip:a@b,c",
        "bob",
    ] {
        assert!(name_addr(text).is_none(), "{text}");
    }
}

#[test]
fn the_first_tag_counts_and_quoted_values_hold_separators() {
    let value = name_addr("<sip:a@b>;x=\";tag=1\";TAG=2;tag=3").unwrap();
    assert_eq!(value.tag(), Some(&b"2"[..]));
    assert_eq!(value.params.get("x").unwrap().unquoted().as_ref(), b";tag=1");
    assert_eq!(value.params.iter().count(), 3);
}

#[test]
fn via_tells_rport_and_branches_apart() {
    let via = |text: &'static str| Via::parse(text.as_bytes()).unwrap();
    assert_eq!(via("SIP/2.0/UDP h").rport, Rport::Absent);
    assert_eq!(via("SIP/2.0/UDP h;rport").rport, Rport::Requested);
    assert_eq!(via("SIP/2.0/UDP h;rport=5").rport, Rport::Port(5));
    assert!(Via::parse(b"SIP/2.0/UDP h;rport=70000").is_none());
    assert_eq!(via("SIP/2.0/UDP h;branch=z9hG4bKx").rfc3261_branch(), Some(&b"z9hG4bKx"[..]));
    assert_eq!(via("SIP/2.0/UDP h;branch=z9hG4bK").rfc3261_branch(), None);
    assert_eq!(via("SIP/2.0/UDP h;branch=1").rfc3261_branch(), None);
    assert_eq!(via("SIP/2.0/UNKNOWN h").known_transport(), None);
    assert_eq!(via("sip/2.0/wss h").known_transport(), Some(Transport::Wss));
    for broken in [
        "",
        "SIP/2.0/UDP",
        "SIP/2.0/UDP ",
        "SIP/2.0 UDP h",
        "HTTP/2.0/UDP h",
        "SIP/2.0/UDP h x",
        "SIP/2.0/UDP h;;,;,,",
    ] {
        assert!(Via::parse(broken.as_bytes()).is_none(), "{broken}");
    }
}

#[test]
fn the_first_contact_is_kept_with_all_its_parts() {
    let values = [
        "\"A, B\" <sip:al;x=1:se:cret@[2001:db8::1]:5070;transport=tcp?Subject=x>;q=0.5;tag=t;+sip.instance=\"<u>\"",
        "Alice <sips:alice@192.0.2.4>",
        "sip:bob@example.com;expires=5",
        "<tel:+44-20;phone-context=uk>;q=1",
        "<im:bob@example.com>",
    ];
    for value in values {
        let line = format!("Contact: {value}, <sip:second@example.com>\r\n");
        let invite = options(&line, "").replace("OPTIONS", "INVITE");
        let invite = request(invite);
        let kept = invite.contact().unwrap().unwrap();
        let parsed = NameAddr::parse(value.as_bytes()).unwrap();
        assert_eq!(format!("{kept:?}"), format!("{parsed:?}"), "{value}");
    }
}

#[test]
fn addresses_have_four_octets_without_leading_zeros() {
    let host = |text: &'static str| Uri::parse(text.as_bytes()).map(|uri| uri.host.unwrap());
    for octets in [[0, 0, 0, 0], [9, 10, 99, 100], [199, 200, 249, 255]] {
        let [a, b, c, d] = octets;
        let uri = format!("sip:{a}.{b}.{c}.{d}:5060");
        assert_eq!(Uri::parse(uri.as_bytes()).unwrap().host, Some(Host::V4(octets.into())));
    }
    for name in
        ["sip:1.2.3", "sip:1.2.3.4.5", "sip:1.2.3.04", "sip:1.2.3.256", "sip:1.2.3.1000", "sip:1..2.3"]
    {
        assert!(matches!(host(name), Ok(Host::Name(_)) | Err(_)), "{name}");
    }
}
