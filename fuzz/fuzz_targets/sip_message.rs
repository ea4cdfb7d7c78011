#![no_main]
//! SIP messages, as datagrams and as streams.

use b2b::sip::msg::framing::{StreamDecoder, StreamItem};
use b2b::sip::msg::{Limits, Message, Method, Name, RequestWriter, ResponseWriter};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    match Message::parse(Bytes::copy_from_slice(data), &Limits::default()) {
        Ok(message) => look_at(&message),
        Err(error) => {
            if let Some(answer) = error.response("[2001:db8::1]:5060".parse().unwrap()) {
                assert!(clean(&answer), "{answer:?}");
            }
        }
    }
    assert_eq!(messages(data, data.len().max(1)), messages(data, 1));
});

fn look_at(message: &Message) {
    let again = Message::parse(message.as_bytes().clone(), &Limits::default()).expect("what parsed parses again");
    assert_eq!(message.as_bytes(), again.as_bytes());
    for name in [Name::Via, Name::Contact, Name::Route, Name::Supported, Name::Other(b"x")] {
        message.headers(name).for_each(drop);
    }
    message.vias().for_each(drop);
    for address in message.contacts().chain(message.routes()).chain(message.record_routes()).flatten() {
        let _ = (address.display_name(), address.tag(), address.uri.user_unescaped());
        assert!(address.uri.equivalent(&address.uri));
        address.params.iter().chain(address.uri.params.iter()).for_each(drop);
    }
    let lines: usize = message.lines().map(<[u8]>::len).sum();
    assert!(lines < message.as_bytes().len());
    if let Message::Request(request) = message {
        let mut request = request.clone();
        request.set_source("192.0.2.1:5060".parse().unwrap());
        let reply = ResponseWriter::reply_to(&request, 200, "OK", Some("t")).record_routes(&request).finish();
        let reply = reply.expect("copied values are clean");
        assert!(clean(&reply), "{reply:?}");
        assert_eq!(request.from_tag(), request.from().unwrap().tag());
        let mut writer = RequestWriter::new(&Method::Other(request.method().as_bytes().to_vec().into()), request.uri_bytes());
        for (name, value) in request.fields().filter(|(name, _)| *name != Name::ContentLength) {
            writer = writer.header(name, value);
        }
        if let Ok(bytes) = writer.finish() {
            assert!(clean(&bytes), "{bytes:?}");
        }
    }
}

/// The messages decoded from a stream that arrives in pieces of this size.
fn messages(data: &[u8], size: usize) -> Vec<Bytes> {
    let mut decoder = StreamDecoder::new(Limits::default());
    let mut out = Vec::new();
    for piece in data.chunks(size) {
        decoder.push(piece);
        while let Some(item) = decoder.next_item() {
            match item {
                StreamItem::Message(message) => out.push(message.as_bytes().clone()),
                StreamItem::Ping | StreamItem::Pong => out.push(Bytes::new()),
                StreamItem::Malformed(error) => out.push(Bytes::from(format!("malformed {error}"))),
                StreamItem::Broken(error) => out.push(Bytes::from(format!("broken {error}"))),
            }
        }
    }
    out
}

/// No control characters except line ends and tabs.
fn clean(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n' | b'\t' | b' '..=b'~' | 0x80..))
}
