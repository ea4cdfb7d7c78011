#![no_main]
//! Parsing of session descriptions.

use b2b::sdp::{AudioMedia, Format, Origin, SessionDescription};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(first) = SessionDescription::parse(data) else { return };
    let second = SessionDescription::parse(&first.to_bytes()).expect("what was printed parses");
    assert_eq!(first.to_bytes(), second.to_bytes());
    for index in 0..first.lines().count() {
        if let Ok(audio) = first.audio(index) {
            let _ = (audio.rtp(), audio.named_rtcp(), audio.is_hold(), audio.telephone_event(8_000));
        }
    }
    let origin = Origin { session_id: 1, version: 1, address: "192.0.2.1".parse().unwrap() };
    let ours = AudioMedia::new("192.0.2.1:4000".parse().unwrap(), vec![Format::pcmu()]);
    if let Some(index) = first.audio_index() {
        let answer = SessionDescription::answer(&origin, &first, index, &ours);
        let read = SessionDescription::parse(&answer.to_bytes()).expect("an answer parses");
        assert_eq!(read.lines().count(), first.lines().count());
        assert_eq!(read.audio(index).expect("our line"), ours);
    }
});
