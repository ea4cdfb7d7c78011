use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> SessionDescription {
    SessionDescription::parse(text.as_bytes()).unwrap()
}

fn audio(text: &str) -> AudioMedia {
    parse(text).audio(0).unwrap()
}

const HEAD: &str = "v=0\r\no=- 1 2 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n";

#[test]
fn static_payload_types_need_no_rtpmap() {
    let audio = audio(&format!("{HEAD}m=audio 4000 RTP/AVP 9 8 0 18 96\r\n"));
    let names: Vec<_> = audio.formats.iter().map(|format| (format.payload_type, &*format.encoding)).collect();
    assert_eq!(names, [(9, "G722"), (8, "PCMA"), (0, "PCMU"), (18, "G729")]);
    assert_eq!(audio.formats[0].clock_rate, 8_000, "RFC 3551 §4.5.2: G.722 ticks at 8000");
}

#[test]
fn an_rtpmap_explains_dynamic_types_and_wins_over_the_static_table() {
    let audio = audio(&format!(
        "{HEAD}m=audio 4000 RTP/AVP 111 101 8\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 useinbandfec=1\r\n\
         a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=rtpmap:8 PCMU/8000\r\n"
    ));
    assert!(audio.formats[0].is("OPUS", 48_000) && audio.formats[0].channels == 2);
    assert_eq!(audio.formats[0].fmtp.as_deref(), Some("useinbandfec=1"));
    assert_eq!(audio.telephone_event(8_000).unwrap().fmtp.as_deref(), Some("0-16"));
    assert_eq!(audio.telephone_event(48_000), None);
    assert!(audio.format(8).unwrap().is("PCMU", 8_000));
}

#[test]
fn of_several_maps_of_a_type_the_one_that_can_be_meant_counts() {
    let read = |types: &str, maps: &[&str]| {
        let maps: String = maps.iter().map(|map| format!("a=rtpmap:{map}\r\n")).collect();
        audio(&format!("{HEAD}m=audio 4000 RTP/AVP {types}\r\n{maps}"))
            .formats
            .last()
            .unwrap()
            .rtpmap(types.split(" ").last().unwrap())
    };
    let events = ["96 telephone-event/48000", "96 telephone-event/8000"];
    assert_eq!(read("8 96", &[events[0], "8 PCMA/8000", events[1]]), events[1]);
    assert_eq!(read("111 96", &[events[1], "111 opus/48000/2", events[0]]), events[0]);
    assert_eq!(
        read("111 8 96", &["111 opus/48000/2", events[0], "8 PCMA/8000", events[1]]),
        events[0],
        "the first of two"
    );
    assert_eq!(read("111 96", &[events[1], "111 opus/48000/2"]), events[1], "the only one");
    assert_eq!(read("0", &["0 PCMA/8000", "0 PCMU/8000"]), "0 PCMU/8000");
    assert_eq!(read("97", &["97 iLBC/8000", "97 speex/8000"]), "97 iLBC/8000");
}

#[test]
fn a_line_of_rtp_without_a_profile_is_rtp_avp() {
    let written = |protocol: &str| audio(&format!("{HEAD}m=audio 4000 {protocol} 0\r\n")).protocol;
    assert_eq!([written("RTP"), written("RTP/AVP"), written("RTP/SAVP")], ["RTP/AVP", "RTP/AVP", "RTP/SAVP"]);
    assert_ne!(written("TCP"), "RTP/AVP");
}

#[test]
fn media_level_connection_and_direction_win_over_session_level() {
    let text = format!(
        "{HEAD}a=sendonly\r\nm=audio 4000 RTP/AVP 0\r\nc=IN IP6 2001:db8::7\r\na=recvonly\r\nm=audio 4002 RTP/AVP 0\r\n"
    );
    let first = audio(&text);
    assert_eq!(first.rtp(), "[2001:db8::7]:4000".parse::<SocketAddr>().unwrap());
    assert_eq!(first.direction, Direction::RecvOnly);
    let second = parse(&text).audio(1).unwrap();
    assert_eq!(second.rtp(), "192.0.2.1:4002".parse::<SocketAddr>().unwrap());
    assert_eq!(second.direction, Direction::SendOnly);
}

#[test]
fn hold_is_understood_in_the_old_and_the_new_way() {
    for (line, held) in [
        ("a=sendonly\r\n", true),
        ("a=inactive\r\n", true),
        ("a=recvonly\r\n", false),
        ("", false),
        ("c=IN IP4 0.0.0.0\r\n", true),
    ] {
        assert_eq!(audio(&format!("{HEAD}m=audio 4000 RTP/AVP 0\r\n{line}")).is_hold(), held, "{line}");
    }
}

#[test]
fn rtcp_goes_to_a_port_that_is_named_at_the_same_host_and_nowhere_else() {
    let with = |lines: &str| audio(&format!("{HEAD}m=audio 4000 RTP/AVP 0\r\n{lines}")).named_rtcp();
    let there = Some("192.0.2.1:5000".parse().unwrap());
    assert_eq!(with("a=rtcp:5000\r\n"), there);
    assert_eq!(with("a=rtcp:5000 IN IP4 192.0.2.1\r\n"), there);
    assert_eq!(with("a=rtcp:5000 IN IP4 192.0.2.9\r\n"), None, "nobody asked");
    assert_eq!(with("c=IN IP4 0.0.0.0\r\na=rtcp:5000\r\n"), None, "an old hold");
    assert_eq!(with(""), None);
}

#[test]
fn ptime_and_extensions_are_read() {
    let audio = audio(&format!(
        "{HEAD}m=audio 4000 RTP/AVP 0\r\na=ptime:30\r\na=maxptime:60\r\na=extmap:3/sendonly urn:x:y attr\r\na=extmap:4 urn:z\r\n"
    ));
    assert_eq!((audio.ptime_ms, audio.maxptime_ms), (Some(30), Some(60)));
    assert_eq!(audio.extension_id("urn:x:y"), Some(3));
    assert_eq!(audio.extension_id("urn:z"), Some(4));
    assert_eq!(audio.extension_id("urn:none"), None);
    let none = |value: &str| {
        super::tests::audio(&format!("{HEAD}m=audio 4000 RTP/AVP 0\r\na=ptime:{value}\r\n")).ptime_ms
    };
    assert_eq!((none("0"), none("x"), none("20.5")), (None, None, Some(20)));
}

#[test]
fn sloppy_descriptions_are_taken() {
    let sloppy =
        "v=0\no=x 1 1 IN IP4 192.0.2.1\nc=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 0\na=rtpmap:0 PCMU/8000\n\n";
    assert!(audio(sloppy).format(0).is_some());
    let text = String::from_utf8(parse(sloppy).to_bytes()).unwrap();
    assert!(text.contains("\r\ns=-\r\n") && text.contains("\r\nt=0 0\r\n"), "{text}");
    assert_eq!(parse(sloppy).skipped(), []);
    assert!(audio(&format!("{sloppy}\0")).format(0).is_some());
    let latin1 =
        [HEAD.replace("s=-", "s=caf").as_bytes(), b"m=audio 4 RTP/AVP 0\r\na=tool:\xe9\r\n"].concat();
    assert!(SessionDescription::parse(&latin1).is_ok());
}

#[test]
fn lines_that_audio_does_not_need_refuse_nothing_and_are_named() {
    let odd = "v=0\r\no=- 7\r\no=- 1 2 IN IP4 192.0.2.1\r\no=second 1 2 IN IP4 192.0.2.1\r\ns=\r\ni=\r\nt=now\r\nr=daily\r\n\
               b=AS:25.4\r\nk=\r\nz=x\r\ny=0\r\n; a comment\r\nc=IN IP4 192.0.2.1 UNHOLD\r\na=sendrcv\r\n\
               m=audio 4000 RTP/AVP 0\r\nb=CT\r\nm=video\r\nm=image 70000 udptl t38\r\n";
    let description = parse(odd);
    let named: Vec<String> = description.skipped().iter().map(Skipped::to_string).collect();
    assert_eq!(
        named.join(", "),
        "line 2 (o=), line 4 (o=), line 7 (t=), line 8 (r=), line 9 (b=), line 11 (z=), line 12 (y=), line 13 (?=), \
         line 15 (a=), line 17 (b=), line 18 (m=), line 19 (m=)"
    );
    assert_eq!(
        (audio(odd).rtp(), audio(odd).direction),
        ("192.0.2.1:4000".parse().unwrap(), Direction::SendRecv)
    );
    assert_eq!(description.origin(), ("1", 2));
    // All lines keep their places, and those that we write have a format.
    let answer = SessionDescription::answer(&origin(), &description, 0, &our_audio());
    let answered = String::from_utf8(answer.to_bytes()).unwrap();
    assert!(answered.ends_with("m=video 0 RTP/AVP 0\r\nm=image 0 udptl t38\r\n"), "{answered}");
    assert!(answered.contains("\r\nt=0 0\r\n"), "{answered}");
    assert_eq!(
        parse(&"?\r\n".repeat(99).replace('?', "m=x 0 x x\r\nj=")).skipped().len(),
        16,
        "the first ones"
    );
}

#[test]
fn refused_streams_need_neither_formats_nor_an_address() {
    let bare =
        "v=0\r\ns=-\r\nm=audio 0 RTP/AVP\r\nm=video 0 \r\nm=audio 4000 RTP/AVP 0\r\nc=IN IP4 192.0.2.1\r\n";
    let description = parse(bare);
    assert_eq!(description.skipped(), []);
    assert!(description.audio(0).unwrap().is_refused());
    assert_eq!(description.audio_index(), Some(2));
    let lines: Vec<_> = description.lines().map(|line| line.formats).collect();
    assert_eq!(lines, ["0", "0", "0"]);
}

#[test]
fn a_host_name_is_kept_and_its_party_is_not_on_hold() {
    let with =
        |address: &str| parse(&format!("v=0\r\nm=audio 4000 RTP/AVP 0\r\nc=IN {address}\r\n")).audio(0);
    for name in ["media.example", "localhost", "rtp-1.sbc_a.example.net.", "3com.example"] {
        let audio = with(&format!("IP4 {name}")).unwrap();
        assert_eq!(audio.host.as_deref(), Some(name));
        assert!(audio.address.is_unspecified() && !audio.is_hold(), "{name}");
    }
    let held = with("IP4 0.0.0.0").unwrap();
    assert!(held.host.is_none() && held.is_hold());
}

#[test]
fn an_address_is_what_it_is_whatever_stands_around_it() {
    let with = |address: &str| {
        parse(&format!("v=0\r\nm=audio 4000 RTP/AVP 0\r\nc=IN {address}\r\n"))
            .audio(0)
            .unwrap()
            .address
            .to_string()
    };
    for (line, address) in [
        ("IP4 192.0.2.1/127", "192.0.2.1"),
        ("IP4 192.0.2.1/127/3", "192.0.2.1"),
        ("IP4 2001:db8::1", "2001:db8::1"),
        ("IP6 192.0.2.1", "192.0.2.1"),
        ("IP6 ::ffff:192.0.2.1", "192.0.2.1"),
        ("IP6 [2001:db8::1]", "2001:db8::1"),
        ("IP6 fe80::1%eth0", "fe80::1"),
        ("ip4\t192.0.2.1 later", "192.0.2.1"),
    ] {
        assert_eq!(with(line), address, "{line}");
    }
}

#[test]
fn a_connection_that_lacks_words_prints_to_the_same() {
    let first = parse("v=0\r\nc=x\r\nc=IN IP6 ::1\r\nm=audio 0 RTP/AVP 0\r\nc=IN:1\r\n");
    assert_eq!(parse(std::str::from_utf8(&first.to_bytes()).unwrap()).to_bytes(), first.to_bytes());
    assert!(first.audio(0).is_ok(), "nothing is received for a refused stream");
}

#[test]
fn unusable_descriptions_are_refused_with_the_reason() {
    let refuse = |text: &str| SessionDescription::parse(text.as_bytes()).unwrap_err();
    for text in ["hello", "", "v=1\r\nm=audio 4000 RTP/AVP 0\r\n", "v=0\r\ns=a\rb\r\n", "v=0\r\ns=a\0b\r\n"] {
        assert!(matches!(refuse(text), SdpError::Malformed(..)), "{text}");
    }
    assert!(matches!(refuse(&" ".repeat(MAX_SIZE + 1)), SdpError::TooLarge(_)));
    for line in [
        "m=audio 99999 RTP/AVP 0",
        "m=audio",
        "m=audio 4000",
        "m=audio -4 RTP/AVP 0",
        "m=audio port RTP/AVP 0",
    ] {
        let text = format!("{HEAD}m=video 5000 RTP/AVP 31\r\n{line}\r\n");
        assert_eq!(parse(&text).audio(1), Err(SdpError::MediaLine(1)), "{line}");
    }
    let bare = "v=0\r\no=- 1 2 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
    assert!(matches!(parse(bare).audio(0), Err(SdpError::NoConnection(0))));
    for address in ["224.2.1.1/127", "192.0.2.300", "192.0.2.01", "ff02::1", "-", "a..b", "host name?", ""] {
        let text = format!("{bare}c=IN IP4 {address}\r\n").replace("host name?", "host,name");
        assert!(matches!(parse(&text).audio(0), Err(SdpError::Address(0, _))), "{address}");
    }
    let two = HEAD.replace("t=0 0", "c=IN IP4 192.0.2.2");
    assert!(matches!(parse(&format!("{two}m=audio 4 RTP/AVP 0\r\n")).audio(0), Err(SdpError::Address(..))));
    let same = HEAD.replace("t=0 0", "c=IN IP4 192.0.2.1");
    assert!(parse(&format!("{same}m=audio 4 RTP/AVP 0\r\n")).audio(0).is_ok());
    assert!(matches!(
        parse(&format!("{HEAD}m=video 4000 RTP/AVP 31\r\n")).audio(0),
        Err(SdpError::NotAudio(0))
    ));
    assert!(matches!(parse(HEAD).audio(0), Err(SdpError::NotAudio(0))));
}

#[test]
fn clock_rates_and_channels_that_can_be_only_one_are_known() {
    let of = |map: &str| {
        let number = map.split_ascii_whitespace().next().unwrap();
        let format =
            audio(&format!("{HEAD}m=audio 4000 RTP/AVP {number}\r\na=rtpmap:{map}\r\n")).formats.pop();
        format.map(|format| (format.encoding, format.clock_rate, format.channels))
    };
    for (map, clock_rate, channels) in [
        ("9 G722/16000", 8_000, 1),
        ("109 g722/16000/1", 8_000, 1),
        ("0 PCMU/16000", 8_000, 1),
        ("8 PCMA/8000/2", 8_000, 1),
        ("18 G729/16000", 8_000, 1),
        ("111 opus/48000", 48_000, 2),
        ("111 OPUS/16000/1", 48_000, 2),
        ("111\topus", 48_000, 2),
        // These can be several.
        ("96 L16/16000/2", 16_000, 2),
        ("97 speex/32000", 32_000, 1),
        ("98 PCMU/16000", 16_000, 1),
    ] {
        assert!(
            matches!(of(map), Some((_, rate, count)) if (rate, count) == (clock_rate, channels)),
            "{map}"
        );
    }
    assert_eq!(of("99 speex"), None);
}

#[test]
fn the_usable_audio_line_is_found_among_several() {
    let text = format!(
        "{HEAD}m=video 5000 RTP/AVP 31\r\nm=audio 0 RTP/AVP 0\r\nm=audio 4000 RTP/SAVP 0\r\nm=audio 4002 RTP/AVP 0\r\n"
    );
    assert_eq!(parse(&text).audio_index(), Some(3));
    assert_eq!(parse(&format!("{HEAD}m=audio 0 RTP/AVP 0\r\n")).audio_index(), Some(0));
    assert_eq!(parse(HEAD).audio_index(), None);
}

fn origin() -> Origin {
    Origin { session_id: 7, version: 1, address: "192.0.2.5".parse().unwrap() }
}

fn our_audio() -> AudioMedia {
    let formats = vec![Format::pcmu(), Format::pcma(), Format::telephone_event(101)];
    let mut audio = AudioMedia::new("192.0.2.5:6000".parse().unwrap(), formats);
    audio.ptime_ms = Some(20);
    audio
}

#[test]
fn an_offer_is_written_in_the_rfcs_order() {
    let text = String::from_utf8(SessionDescription::offer(&origin(), &our_audio()).to_bytes()).unwrap();
    let expected = "v=0\r\no=- 7 1 IN IP4 192.0.2.5\r\ns=-\r\nc=IN IP4 192.0.2.5\r\nt=0 0\r\n\
                    m=audio 6000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
                    a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n";
    assert_eq!(text, expected);
    assert_eq!(parse(&text).origin(), ("7", 1));
}

#[test]
fn an_answer_has_a_line_for_each_offered_line_and_refuses_the_others() {
    let offer = parse(&format!(
        "{HEAD}m=video 5000 RTP/AVP 31\r\na=rtpmap:31 H261/90000\r\nm=audio 4000 RTP/AVP 0\r\nm=audio 4002 RTP/SAVP 8\r\n"
    ));
    let answer = SessionDescription::answer(&origin(), &offer, 1, &our_audio());
    let lines: Vec<_> = answer.lines().map(|line| (line.media, line.port, line.protocol)).collect();
    assert_eq!(lines, [("video", 0, "RTP/AVP"), ("audio", 6000, "RTP/AVP"), ("audio", 0, "RTP/SAVP")]);
    assert_eq!(answer.audio(1).unwrap(), our_audio());
}

fn format() -> impl Strategy<Value = Format> {
    (
        96u8..128,
        "[A-Za-z][A-Za-z0-9-]{0,12}",
        1u32..200_000,
        1u8..3,
        proptest::option::of("[a-z0-9=;-]{1,20}"),
    )
        .prop_map(|(payload_type, encoding, clock_rate, channels, fmtp)| Format {
            payload_type,
            encoding,
            clock_rate,
            channels,
            fmtp,
        })
}

proptest! {
    #[test]
    fn what_is_built_reads_back_the_same(
        address in any::<[u8; 4]>().prop_map(IpAddr::from).prop_filter("unicast", |ip| !ip.is_multicast()),
        (port, version) in any::<(u16, u64)>(),
        mut formats in proptest::collection::vec(format(), 1..6),
        (ptime_ms, rtcp_port) in (proptest::option::of(1u32..200), proptest::option::of(1u16..)),
        rtcp_mux in any::<bool>(),
        direction in proptest::sample::select(vec![Direction::SendRecv, Direction::SendOnly, Direction::Inactive]),
    ) {
        formats.sort_by_key(|format| format.payload_type);
        formats.dedup_by_key(|format| format.payload_type);
        let mut audio = AudioMedia::new((address, port).into(), formats);
        (audio.ptime_ms, audio.rtcp_port, audio.rtcp_mux, audio.direction) = (ptime_ms, rtcp_port, rtcp_mux, direction);
        let written = SessionDescription::offer(&Origin { version, ..origin() }, &audio);
        let read = SessionDescription::parse(&written.to_bytes()).unwrap();
        prop_assert_eq!(&read, &written);
        prop_assert_eq!(read.audio(0).unwrap(), audio);
    }

    #[test]
    fn any_bytes_that_parse_print_to_the_same_description(
        tail in proptest::collection::vec("[abcikmoprstuvz]=[ -~]{0,30}", 0..12),
        bytes in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let text = format!("{HEAD}{}\r\n", tail.join("\r\n"));
        for input in [text.as_bytes(), &bytes] {
            if let Ok(first) = SessionDescription::parse(input) {
                let second = SessionDescription::parse(&first.to_bytes()).unwrap();
                prop_assert_eq!(first.to_bytes(), second.to_bytes());
                for index in 0..first.lines().count() {
                    drop(first.audio(index));
                }
            }
        }
    }
}

#[test]
fn an_address_for_rtcp_is_written_as_it_was_read() {
    for rtcp in ["4005 IN IP4 192.0.2.9", "4005 IN IP6 2001:db8::9", "4005"] {
        let text = format!("{HEAD}m=audio 4000 RTP/AVP 0\r\nc=IN IP4 192.0.2.1\r\na=rtcp:{rtcp}\r\n");
        let audio = SessionDescription::parse(text.as_bytes()).unwrap().audio(0).unwrap();
        let origin = Origin { session_id: 1, version: 1, address: audio.address };
        let written = SessionDescription::offer(&origin, &audio).to_bytes();
        let written = String::from_utf8(written).unwrap();
        assert!(written.contains(&format!("a=rtcp:{rtcp}\r\n")), "{written}");
    }
}

#[test]
fn keys_are_read_written_and_in_no_debug_output() {
    let key = "q6urq6urq6urq6urq6urq6urq6urq6urq6urq6ur";
    let text = format!(
        "{HEAD}k=clear:seen\r\nm=audio 4000 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}\r\n\
         a=crypto:nonsense\r\na=crypto:2 AES_CM_128_HMAC_SHA1_32 inline:{key}|2^20|1:4 WSH=64\r\n"
    );
    let audio = audio(&text);
    assert!(audio.is_secure_rtp() && !audio.is_plain_rtp() && audio.has_unread_keys);
    assert_eq!(audio.crypto.iter().map(|crypto| crypto.tag).collect::<Vec<_>>(), [1, 2]);
    let origin = Origin { session_id: 1, version: 1, address: audio.address };
    let offer = SessionDescription::offer(&origin, &audio);
    let written = String::from_utf8(offer.to_bytes()).unwrap();
    assert_eq!(written.matches(key).count(), 2, "{written}");
    assert_eq!(super::tests::audio(&written).crypto, audio.crypto);
    assert!(!parse(&text).other_attributes(0).iter().any(|other| other.attribute == "crypto"));
    for shown in [format!("{:?}", parse(&text)), format!("{offer:?}"), format!("{audio:?}")] {
        assert!(!shown.contains(&key[4..12]) && !shown.contains("seen"), "{shown}");
        assert!(shown.contains("SAVP"), "{shown}");
    }
}

#[test]
fn descriptions_are_written_as_the_library_writes_them() {
    let text = "v=0\r\no=ann 1 2 IN IP6 2001:db8::1\r\ns=a call\r\nc=IN IP4 192.0.2.1\r\nt=1 2\r\nt=3 4\r\na=sendonly\r\n\
        m=audio 4000 RTP/AVP 0 8\r\nc=IN IP4 192.0.2.2\r\na=rtcp-mux\r\na=fmtp:101 0-15\r\nm=video 0 RTP/AVP 96\r\n";
    let (mut description, mut expected) = (parse(text), Vec::new());
    description.session.medias[0].attributes.push(Attribute::with_value("x", "a\0\r\nb=c"));
    description.session.write(&mut expected).unwrap();
    assert_eq!(String::from_utf8(description.to_bytes()).unwrap(), String::from_utf8(expected).unwrap());
}
