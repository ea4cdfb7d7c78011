//! Assigns messages to streams: audio begins with the stream's number, 4 octets, little-endian as the samples
//! after it; JSON has it as `stream`.

use bytes::{BufMut, BytesMut};
use serde::Serialize;
use serde_json::Value;
use tokio_tungstenite::tungstenite::{Bytes, Utf8Bytes};

use crate::voice::message::Told;

/// Octets before the audio.
pub const HEAD: usize = 4;

/// A message on a stream.
#[derive(Serialize)]
struct Numbered<'a> {
    #[serde(flatten)]
    told: &'a Told,
    stream: u32,
}

/// The text message for this stream.
pub fn text(stream: u32, told: &Told) -> Utf8Bytes {
    // As with `Told`, this cannot fail.
    serde_json::to_string(&Numbered { told, stream }).unwrap_or_default().into()
}

/// The stream that a text message names, and the rest of it.
///
/// # Errors
/// If it is no JSON object, or names no stream; in words.
pub fn read_text(text: &str) -> Result<(u32, Value), String> {
    let mut said: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let number = said.as_object_mut().and_then(|fields| fields.remove("stream"));
    let number = number.as_ref().and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok());
    let number = number.ok_or("each message names its stream, like \"stream\": 1")?;
    Ok((number, said))
}

/// The stream of an audio message, and the audio. `None`: it is too short.
pub fn read_sound(octets: &[u8]) -> Option<(u32, &[u8])> {
    let (number, sound) = octets.split_first_chunk::<HEAD>()?;
    Some((u32::from_le_bytes(*number), sound))
}

/// Reserves room for [`sound`] in the buffer. A buffer that has been written completely is reused, so no
/// frame allocates.
pub fn make_room(buffer: &mut BytesMut, octets: usize) {
    buffer.reserve(octets);
}

/// The audio message for this stream.
pub fn sound(stream: u32, samples: &[i16], buffer: &mut BytesMut) -> Bytes {
    buffer.reserve(HEAD + samples.len() * 2);
    buffer.put_u32_le(stream);
    samples.iter().for_each(|sample| buffer.put_i16_le(*sample));
    buffer.split().freeze()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::voice::message::Start;

    #[test]
    fn what_is_told_of_a_stream_names_it_beside_the_rest() {
        let told = |told: &Told| serde_json::from_str::<Value>(&text(7, told)).unwrap();
        let mark = Told::Mark { name: "a".into(), played: true };
        assert_eq!(told(&mark), json!({"type": "mark", "name": "a", "played": true, "stream": 7}));
        let start = told(&Told::Start(Box::new(Start { call: 3, ..Start::default() })));
        assert_eq!(
            (&start["type"], &start["stream"], &start["call"]),
            (&json!("start"), &json!(7), &json!(3))
        );
    }

    #[test]
    fn a_text_without_the_number_of_a_stream_is_nobodys() {
        assert_eq!(read_text(r#"{"stream":7,"type":"clear"}"#), Ok((7, json!({"type": "clear"}))));
        for text in [
            "",
            "7",
            "[]",
            r#"{"type":"clear"}"#,
            r#"{"stream":-1}"#,
            r#"{"stream":1.5}"#,
            r#"{"stream":"1"}"#,
            r#"{"stream":4294967296}"#,
        ] {
            assert!(read_text(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sound_begins_with_its_stream_and_is_little_endian_like_it() {
        let mut buffer = BytesMut::new();
        let octets = sound(0x0102_0304, &[1, -2], &mut buffer);
        assert_eq!(*octets, [4, 3, 2, 1, 1, 0, 0xfe, 0xff]);
        assert_eq!(read_sound(&octets), Some((0x0102_0304, &[1, 0, 0xfe, 0xff][..])));
        assert_eq!(read_sound(&[1, 0, 0, 0]), Some((1, &[][..])));
        assert_eq!(read_sound(&[1, 0, 0]), None);
    }

    #[test]
    fn frames_that_are_written_leave_their_buffer_to_the_next_ones() {
        let mut buffer = BytesMut::new();
        let due = 12 * (HEAD + 640);
        make_room(&mut buffer, due);
        let first = buffer.as_ptr() as usize;
        for _ in 0..1_000 {
            make_room(&mut buffer, due);
            let due: Vec<_> = (1..=12).map(|stream| sound(stream, &[0; 320], &mut buffer)).collect();
            assert_eq!(due[0].as_ptr() as usize, first);
            assert_eq!(due[11].as_ptr() as usize, first + 11 * (HEAD + 640));
        }
    }
}
