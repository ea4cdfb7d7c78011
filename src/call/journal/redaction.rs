//! Redacted journals for third parties: without SRTP keys, password digests, tokens of b2b's Contacts,
//! fields that gateways are sent and pressed keys. Numbers, names and addresses stay.
//!
//! Redacted values keep their length, and a pressed key becomes another key: the call runs in the same way,
//! and [`digest`](super::digest) yields the same for the messages it sends.

use std::collections::HashMap;

use serde_json::Value;

use crate::recording::RecordingRules;
use b2b_sip::msg::veil::{hides_field, without_secrets};

/// Replaces a line that is not valid JSON, since its contents are unknown.
const LEFT_OUT: &str = "{\"left_out\":true}";

/// Redacts a journal, line by line. Equal secrets are replaced by equal values.
pub fn redacted(journal: &str) -> String {
    let mut codes = Codes::default();
    let mut shown = String::with_capacity(journal.len());
    for line in journal.lines() {
        let Ok(mut value) = serde_json::from_str::<Value>(line) else {
            shown.push_str(LEFT_OUT);
            shown.push('\n');
            continue;
        };
        if let Some(rules) = value.pointer("/begin/records") {
            codes.rules = serde_json::from_value(rules.clone()).unwrap_or_default();
        }
        match cover(&mut value, &mut codes) {
            true => shown.push_str(&value.to_string()),
            false => shown.push_str(line),
        }
        shown.push('\n');
    }
    shown
}

/// Whether a line contains a secret.
pub(super) fn has_secret(mut line: Value) -> bool {
    cover(&mut line, &mut Codes::default())
}

/// Redacts a value; returns whether it has changed.
fn cover(value: &mut Value, codes: &mut Codes) -> bool {
    match value {
        Value::String(text) => match covered(text.as_bytes(), codes).map(String::from_utf8) {
            Some(Ok(shown)) => {
                *text = shown;
                true
            }
            Some(Err(_)) => {
                *text = hidden(text);
                true
            }
            None => false,
        },
        Value::Array(items) if is_hidden_field(items) => {
            let Some(Value::String(value)) = items.last_mut() else { return false };
            *value = hidden(value);
            true
        }
        Value::Array(items) => match octets(items).map(|octets| covered(&octets, codes)) {
            Some(shown) => {
                let is_other = shown.is_some();
                if let Some(shown) = shown {
                    *items = shown.into_iter().map(Value::from).collect();
                }
                is_other
            }
            None => items.iter_mut().fold(false, |was, item| cover(item, codes) | was),
        },
        Value::Object(fields) => {
            let source = fields.get("endpoint").map(ToString::to_string);
            fields.iter_mut().fold(false, |was, (name, value)| {
                let is_other = match (name.as_str(), &mut *value) {
                    // A digit of a telephone event or a tone, next to its endpoint.
                    ("digit", Value::String(text)) => {
                        let shown = codes.key(source.as_deref().unwrap_or_default(), text);
                        let is_other = shown != *text;
                        *text = shown;
                        is_other
                    }
                    ("secret" | "password" | "pin", Value::String(text)) => {
                        *text = hidden(text);
                        true
                    }
                    _ => cover(value, codes),
                };
                is_other | was
            })
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// A header field, name and value, whose value is secret.
fn is_hidden_field(items: &[Value]) -> bool {
    matches!(items, [Value::String(name), Value::String(_)] if hides_field(name.as_bytes()))
}

/// A placeholder of the same length.
fn hidden(text: &str) -> String {
    "x".repeat(text.len())
}

/// A message or other octets that are not UTF-8.
fn octets(items: &[Value]) -> Option<Vec<u8>> {
    if items.is_empty() {
        return None;
    }
    items.iter().map(|item| item.as_u64().and_then(|it| u8::try_from(it).ok())).collect()
}

/// Redacts octets; `None` if they contain no secret.
fn covered(octets: &[u8], codes: &mut Codes) -> Option<Vec<u8>> {
    let mut shown = without_secrets(octets).into_owned();
    if octets.starts_with(b"INFO ") {
        let source = call_id(octets);
        keep_keys(octets, &mut shown, &source, codes);
    }
    (shown != octets).then_some(shown)
}

/// Keeps an INFO with a key valid: the redacted body still contains a key.
fn keep_keys(octets: &[u8], shown: &mut [u8], source: &str, codes: &mut Codes) {
    let body = memchr::memmem::find(octets, b"\r\n\r\n").map_or(octets.len(), |at| at + 4);
    let mut at = body;
    while at < octets.len() {
        let is_covered = |at: &usize| octets.get(*at) != shown.get(*at);
        let length = (at..octets.len()).take_while(is_covered).count();
        if length == 0 {
            at += 1;
            continue;
        }
        let end = at + length;
        if let Ok(pressed) = std::str::from_utf8(octets.get(at..end).unwrap_or_default())
            && let Some(place) = shown.get_mut(at..end)
        {
            place.copy_from_slice(codes.key(source, pressed).as_bytes());
        }
        at = end;
    }
}

/// The Call-ID of a message, as written.
fn call_id(message: &[u8]) -> String {
    let lines = message.split(|octet| *octet == b'\n').take_while(|line| !line.trim_ascii().is_empty());
    let named = lines.filter_map(|line| {
        let (name, value) = line.split_at_checked(line.iter().position(|octet| *octet == b':')?)?;
        let name = name.trim_ascii();
        let is = name.eq_ignore_ascii_case(b"Call-ID") || name.eq_ignore_ascii_case(b"i");
        is.then(|| String::from_utf8_lossy(value).trim_matches([':', ' ', '\t', '\r']).to_owned())
    });
    named.last().unwrap_or_default()
}

/// The recording codes of parties are no secret, and the call would run differently without them.
#[derive(Default)]
struct Codes {
    /// The recording settings with the codes.
    rules: Option<RecordingRules>,
    /// The most recent keys of each party.
    pressed: HashMap<String, String>,
}

impl Codes {
    /// The replacement of a key. `*` and `#` end an input or begin a code, and stay.
    fn key(&mut self, source: &str, key: &str) -> String {
        let mark = match key {
            "*" | "10" => Some('*'),
            "#" | "11" => Some('#'),
            _ => None,
        };
        let pressed = self.pressed.entry(source.to_owned()).or_default();
        match (mark, key) {
            (Some(mark), _) => pressed.push(mark),
            (None, key) => pressed.push_str(key),
        }
        let is = |code: &str| {
            let before = code.get(..code.len().saturating_sub(1)).unwrap_or_default();
            pressed.ends_with(code) && before.chars().all(|key| matches!(key, '*' | '#'))
        };
        let awaited = self.rules.as_ref().is_some_and(|rules| is(&rules.code) || is(&rules.pause_code));
        if mark.is_some() || awaited {
            return key.to_owned();
        }
        let is_key = |octet: u8| octet.is_ascii_digit() || matches!(octet.to_ascii_uppercase(), b'A'..=b'D');
        key.bytes().map(|octet| if is_key(octet) { '0' } else { 'x' }).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::journal::digest;

    fn shown(line: &Value) -> Value {
        serde_json::from_str(redacted(&line.to_string()).trim_end()).expect("a line")
    }

    fn message(line: &Value) -> &str {
        line["received"]["message"].as_str().expect("a text")
    }

    fn received(message: &str) -> Value {
        json!({ "at": 7, "n": 3, "received": { "by": 0, "message": message } })
    }

    fn info(call: &str, kind: &str, body: &str) -> Value {
        received(&format!(
            "INFO sip:a@b SIP/2.0\r\nCall-ID: {call}\r\nContent-Type: application/{kind}\r\n\r\n{body}"
        ))
    }

    #[test]
    fn keys_of_srtp_digests_and_tokens_are_covered_in_their_places_and_nothing_else() {
        let invite = "INVITE sip:4930@b;b2b-token=00ff SIP/2.0\r\n\
            Authorization: Digest username=\"ann\", response=\"00ff\", nc=1\r\n\r\n\
            c=IN IP4 192.0.2.7\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAAA/+==|2^31\r\n";
        let covered = shown(&received(invite));
        let expected = invite.replace("AAAA/+==", "xxxxxxxx").replace("00ff", "xxxx");
        assert_eq!(covered, received(&expected));
        assert_eq!(digest(message(&covered).as_bytes()), digest(invite.as_bytes()));
        let fact =
            json!({ "fact": { "credentials": [["Authorization", "Digest response=\"0aff\", nc=1"]] } });
        let expected =
            json!({ "fact": { "credentials": [["Authorization", "Digest response=\"xxxx\", nc=1"]] } });
        assert_eq!(shown(&fact), expected);
        let answer = json!({ "at": 1, "answered": { "request": 4, "answer": { "Ok": { "Description":
            "a=crypto:1 X inline:BBBB\r\n" } } } });
        assert_eq!(shown(&answer)["answered"]["answer"]["Ok"]["Description"], "a=crypto:1 X inline:xxxx\r\n");
    }

    #[test]
    fn octets_that_are_no_text_are_covered_too() {
        let octets = b"\xff\r\n\r\na=crypto:1 X inline:AB\r\n";
        let line = json!({ "at": 1, "received": { "by": 0, "message": octets.to_vec() } });
        let expected = b"\xff\r\n\r\na=crypto:1 X inline:xx\r\n";
        assert_eq!(shown(&line)["received"]["message"], json!(expected.to_vec()));
    }

    #[test]
    fn a_line_without_a_secret_stays_as_it_was_written() {
        let text = "{\"begin\":{\"version\":1,\"domain\":\"b\",\"records\":null}}\n{\"at\":1,\"n\":2,\"tick\":null}\n\
            {\"fact\":{\"seed\":[1,2,255]}}\n{\"fact\":{\"found\":[]}}\n{\"sent\":{\"by\":0,\"digest\":18446744073709551615}}\n";
        assert_eq!(redacted(text), text);
        assert_eq!(redacted("no line\n"), "{\"left_out\":true}\n");
        assert_eq!(redacted(""), "");
    }

    #[test]
    fn keys_that_were_pressed_are_covered_and_stay_keys() {
        for (kind, body, expected) in [
            ("dtmf-relay", "Signal=5\r\nDuration=160\r\n", "Signal=0\r\nDuration=160\r\n"),
            ("dtmf-relay", "Signal= b\nduration= 90", "Signal= 0\nduration= 90"),
            ("dtmf-relay", "Signal=11\r\nDuration=10\r\n", "Signal=11\r\nDuration=10\r\n"),
            ("dtmf", "7\r\n", "0\r\n"),
            ("dtmf", "#", "#"),
            ("dtmf", "55", "00"),
            ("dtmf", "\u{fc}", "xx"),
            ("media_control+xml", "Signal=7", "Signal=7"),
        ] {
            assert_eq!(shown(&info("1", kind, body)), info("1", kind, expected), "{body:?}");
        }
        let digit = |digit: &str| {
            json!({ "at": 1, "media": { "Digit": { "endpoint": 9, "digit": digit, "duration_ms": 100,
                "passed_on": true, "by_tone": false } } })
        };
        for (pressed, expected) in [("7", "0"), ("D", "0"), ("*", "*"), ("0", "0")] {
            assert_eq!(shown(&digit(pressed)), digit(expected));
        }
        let plan = json!({ "command": { "ask": { "secret": "4711", "pin": "", "digits": 4 } } });
        assert_eq!(shown(&plan)["command"]["ask"], json!({ "secret": "xxxx", "pin": "", "digits": 4 }));
        let collect = json!({ "command": { "collect": { "leg": 1, "secret": true } } });
        assert_eq!(shown(&collect), collect);
    }

    #[test]
    fn codes_for_recordings_stay_where_they_are_awaited() {
        for (records, expected) in [(Some(RecordingRules::new("")), "*1*0"), (None, "*0*0")] {
            let begin = json!({ "begin": { "version": 1, "records": records } });
            // Another party presses keys in between.
            let keys = [("a", "*"), ("b", "1"), ("a", "1"), ("a", "*"), ("a", "7")];
            let lines = keys.map(|(call, key)| info(call, "dtmf", key).to_string());
            let text = redacted(&format!("{begin}\n{}", lines.join("\n")));
            let lines: Vec<Value> =
                text.lines().map(|it| serde_json::from_str(it).expect("a line")).collect();
            let of = |call: &str| -> String {
                let own =
                    lines.iter().skip(1).map(message).filter(|it| it.contains(&format!("ID: {call}\r")));
                own.filter_map(|it| it.chars().last()).collect()
            };
            assert_eq!((of("a").as_str(), of("b").as_str()), (expected, "0"));
        }
    }
}
