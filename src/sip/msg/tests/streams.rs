use super::framing::{StreamDecoder, StreamItem};
use super::*;

fn decoder() -> StreamDecoder {
    StreamDecoder::new(Limits { message: 2_000, ..Limits::default() })
}

/// A short note for each item.
fn drain(decoder: &mut StreamDecoder) -> Vec<String> {
    let items = std::iter::from_fn(|| decoder.next_item());
    items
        .map(|item| match item {
            StreamItem::Message(message) => format!("message {}", text(message.call_id().unwrap())),
            StreamItem::Ping => "ping".to_owned(),
            StreamItem::Pong => "pong".to_owned(),
            StreamItem::Malformed(error) => format!("malformed {}", error.kind.status()),
            StreamItem::Broken(error) => {
                format!("broken {} {}", error.kind.status(), error.partial.is_some())
            }
        })
        .collect()
}

fn numbered(number: u32, body: &str) -> String {
    let length = format!("Content-Length: {}\r\n", body.len());
    options(&length, body).replace("c1@example.com", &format!("c{number}"))
}

#[test]
fn messages_come_out_whole_however_they_are_cut() {
    let stream =
        format!("{}\r\n{}\r\n\r\n{}", numbered(1, "hello"), numbered(2, ""), numbered(3, "\r\n\r\n"));
    for size in [1, 2, 3, 7, 64, stream.len()] {
        let mut decoder = decoder();
        let mut seen = Vec::new();
        for piece in stream.as_bytes().chunks(size) {
            decoder.push(piece);
            seen.extend(drain(&mut decoder));
        }
        assert_eq!(seen, ["message c1", "message c2", "ping", "message c3"], "pieces of {size}");
        assert_eq!(decoder.buffered(), 0);
    }
}

#[test]
fn a_message_on_a_stream_is_the_one_in_a_datagram() {
    let mut decoder = decoder();
    decoder.push(numbered(1, "hello").as_bytes());
    let Some(StreamItem::Message(message)) = decoder.next_item() else { panic!() };
    assert_eq!(message.as_bytes(), numbered(1, "hello").as_bytes());
}

#[test]
fn double_line_ends_are_pings_and_single_ones_are_not() {
    let mut decoder = decoder();
    decoder.push(b"\r\n");
    assert!(drain(&mut decoder).is_empty());
    decoder.push(b"\r");
    assert!(drain(&mut decoder).is_empty());
    decoder.push(b"\n");
    assert_eq!(drain(&mut decoder), ["ping"]);
    decoder.push(b"\r\n\r\n\r\n\r\n");
    assert_eq!(drain(&mut decoder), ["ping", "ping"]);
    for _ in 0..3 {
        decoder.after_a_pause();
        decoder.push(b"\r\n");
        assert!(drain(&mut decoder).is_empty(), "a keep-alive of its own");
    }
    decoder.after_a_pause();
    decoder.push(b"\r\n\r");
    decoder.after_a_pause();
    decoder.push(b"\n");
    assert_eq!(drain(&mut decoder), ["ping"], "its end is seen to be under way");
    decoder.push(format!("\r\n{}\r\n", numbered(1, "")).as_bytes());
    assert_eq!(drain(&mut decoder), ["message c1"], "the line ends before and after are two single ones");
}

#[test]
fn without_content_length_the_stream_is_answered_and_broken() {
    let mut decoder = decoder();
    decoder.push(options("", "").as_bytes());
    decoder.push(numbered(2, "").as_bytes());
    let Some(StreamItem::Broken(error)) = decoder.next_item() else { panic!() };
    assert_eq!(error.kind, HeaderError::Missing(Name::ContentLength).into());
    assert!(error.response("192.0.2.9:1".parse().unwrap()).unwrap().starts_with(b"SIP/2.0 400 "));
    decoder.push(numbered(3, "").as_bytes());
    assert!(drain(&mut decoder).is_empty());
    assert_eq!(decoder.buffered(), 0);
}

#[test]
fn hostile_content_length_breaks_the_stream() {
    for value in ["-1", "x", "18446744073709551616", "18446744073709551615", "5\r\nContent-Length: 6"] {
        let mut decoder = decoder();
        decoder.push(options(&format!("Content-Length: {value}\r\n"), "hello").as_bytes());
        let seen = drain(&mut decoder);
        assert!(seen == ["broken 400 true"] || seen == ["broken 513 true"], "{value}: {seen:?}");
    }
}

#[test]
fn a_malformed_message_with_a_known_end_does_not_break_the_stream() {
    let mut decoder = decoder();
    let bad = numbered(1, "hello").replace("From: <", "From: <<");
    decoder.push(format!("{bad}{}", numbered(2, "")).as_bytes());
    assert_eq!(drain(&mut decoder), ["malformed 400", "message c2"]);
}

#[test]
fn endless_headers_and_bodies_too_large_break_the_stream() {
    let mut endless = decoder();
    for _ in 0..1_000 {
        endless.push(b"X: yyyyy\r\n");
        let seen = drain(&mut endless);
        if !seen.is_empty() {
            assert_eq!(seen, ["broken 513 false"]);
            assert_eq!(endless.buffered(), 0);
            return;
        }
        assert!(endless.buffered() <= 2_010);
    }
    panic!("never refused");
}

#[test]
fn a_body_over_the_limit_is_refused_before_it_arrives() {
    let mut large = decoder();
    large.push(options("Content-Length: 5000\r\n", "").as_bytes());
    assert_eq!(drain(&mut large), ["broken 513 true"]);
}

#[test]
fn memory_stays_bounded_over_many_messages() {
    let mut decoder = decoder();
    for number in 0..10_000 {
        decoder.push(numbered(number, "hello").as_bytes());
        assert_eq!(drain(&mut decoder).len(), 1);
    }
    assert!(decoder.capacity() < 16_000, "{}", decoder.capacity());
}

#[test]
fn a_line_end_alone_is_the_answer_to_a_ping_of_ours_and_two_are_a_ping() {
    let taken = |pieces: &[&str]| {
        let mut decoder = StreamDecoder::new(Limits::default());
        // An earlier line end does not count.
        decoder.push(b"\r\n");
        assert!(decoder.next_item().is_none());
        decoder.awaits_pong();
        let mut items = Vec::new();
        for piece in pieces {
            decoder.push(piece.as_bytes());
            while let Some(item) = decoder.next_item() {
                items.push(match item {
                    StreamItem::Ping => "ping",
                    StreamItem::Pong => "pong",
                    other => panic!("{other:?}"),
                });
            }
        }
        items
    };
    assert_eq!(taken(&["\r\n"]), ["pong"]);
    assert_eq!(taken(&["\r", "\n"]), ["pong"]);
    assert_eq!(taken(&["\r\n\r\n"]), ["ping"]);
    assert_eq!(taken(&["\r\n\r\n\r\n"]), ["ping", "pong"]);
    assert_eq!(taken(&["\r\n", "\r\n\r\n"]), ["pong", "ping"]);
    assert_eq!(taken(&["\r\n", "\r\n", "\r\n"]), ["pong", "ping"]);
}
