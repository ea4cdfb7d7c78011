//! What the tests of this room share: our side, and descriptions with these media lines.

use super::*;

/// Our side with these codecs.
pub(super) fn local(codecs: &[Codec]) -> LocalMedia {
    LocalMedia {
        rtp: "127.0.0.1:20000".parse().expect("address"),
        codecs: codecs.to_vec(),
        ptime_ms: 20,
        session_id: 42,
        direction: b2b_sdp::Direction::SendRecv,
        crypto: LocalCrypto::default(),
        attributes: Vec::new(),
    }
}

pub(super) fn text(described: &Described) -> String {
    String::from_utf8(described.description.to_bytes()).expect("utf-8")
}

/// A description with these media lines after a usual session part.
pub(super) fn description(lines: &str) -> SessionDescription {
    let text = format!("v=0\r\no=a 1 1 IN IP4 127.0.0.9\r\ns=-\r\nc=IN IP4 127.0.0.9\r\nt=0 0\r\n{lines}");
    parse(text.as_bytes()).expect("test description")
}

/// What the far end may send.
pub(super) fn says(params: &MediaParams) -> Vec<(u8, Codec)> {
    params.remote.voice.says.into_iter().flatten().collect()
}

/// Under which numbers it may send events, and in which clocks.
pub(super) fn events(params: &MediaParams) -> Vec<(u8, u32)> {
    params.remote.telephone_events.iter().collect()
}
