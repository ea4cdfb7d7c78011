//! The torture messages of RFC 4475, read from `../shared/rfc4475` beside the project or from
//! the directory in `B2B_RFC4475`. They are not part of the project, so these tests run only
//! on request (`--ignored`), and fail without the directory. The important constructs are
//! also in `src/sip/msg/tests/`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use b2b_sip::msg::{Limits, Message, ParseError};
use bytes::Bytes;

fn corpus() -> BTreeMap<String, Bytes> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/rfc4475");
    let folder = std::env::var_os("B2B_RFC4475").map_or(PathBuf::from(beside), PathBuf::from);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| {
        panic!(
            "the messages of RFC 4475 are not in {}: {error}; name their folder in B2B_RFC4475",
            folder.display()
        )
    });
    let mut messages = BTreeMap::new();
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.extension().is_some_and(|extension| extension == "dat") {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            messages.insert(name, Bytes::from(std::fs::read(&path).unwrap()));
        }
    }
    assert!(!messages.is_empty(), "{} has no .dat file", folder.display());
    messages
}

fn parse(data: &Bytes) -> Result<Message, ParseError> {
    Message::parse(data.clone(), &Limits::default())
}

/// The message assembled from its parsed parts.
fn rebuilt(message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    let body = match message {
        Message::Request(request) => {
            out.extend_from_slice(request.method().as_bytes());
            out.push(b' ');
            out.extend_from_slice(request.uri_bytes());
            out.extend_from_slice(b" SIP/2.0\r\n");
            request.body()
        }
        Message::Response(response) => {
            out.extend_from_slice(format!("SIP/2.0 {} ", response.status()).as_bytes());
            out.extend_from_slice(response.reason());
            out.extend_from_slice(b"\r\n");
            response.body()
        }
    };
    message.lines().for_each(|line| out.extend_from_slice(line));
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(&body);
    out
}

/// §3.1.1: valid, however odd.
const VALID: [&str; 13] = [
    "dblreq",
    "esc01",
    "esc02",
    "escnull",
    "intmeth",
    "longreq",
    "lwsdisp",
    "mpart01",
    "noreason",
    "semiuri",
    "transports",
    "unreason",
    "wsinv",
];

#[test]
#[ignore = "needs the messages of RFC 4475"]
fn every_valid_message_parses_and_writes_back_byte_for_byte() {
    let corpus = corpus();
    for name in VALID {
        let data = &corpus[name];
        let message = parse(data).unwrap_or_else(|error| panic!("{name}: {error}"));
        // A datagram holds one message; anything after its body is dropped (RFC 3261 §18.3).
        let expected = if name == "dblreq" { data.slice(..data.len() - 450) } else { data.clone() };
        assert_eq!(message.as_bytes(), &expected, "{name}");
        assert_eq!(Bytes::from(rebuilt(&message)), expected, "{name}");
        assert!(message.vias().all(|via| via.is_ok()), "{name}");
        assert!(message.contacts().chain(message.routes()).all(|value| value.is_ok()), "{name}");
        if let Message::Request(request) = &message {
            assert!(request.uri().is_ok(), "{name}");
        }
    }
}

/// The expected outcome for a malformed message of §3.1.2.
enum Malformed {
    /// Refused with this status.
    Refused(u16),
    /// Dropped: it is a response, which cannot be answered.
    Dropped,
    /// Accepted, for this reason.
    Accepted(&'static str),
}
use Malformed::*;

const MALFORMED: [(&str, Malformed); 19] = [
    ("badaspec", Refused(400)),
    (
        "baddate",
        Accepted("RFC 3261 §8.2.2: a malformed field that is not needed is ignored, and nothing reads Date"),
    ),
    // the file has no blank line; a display name of any kind is accepted
    ("baddn", Refused(400)),
    ("badinv01", Refused(400)),
    ("badvers", Refused(505)),
    ("bigcode", Dropped),
    ("clerr", Refused(400)),
    ("escruri", Refused(400)),
    ("ltgtruri", Refused(400)),
    ("lwsruri", Refused(400)),
    ("lwsstart", Refused(400)),
    ("mismatch01", Refused(400)),
    ("mismatch02", Refused(400)),
    ("ncl", Refused(400)),
    ("quotbal", Refused(400)),
    ("regbadct", Refused(400)),
    ("scalar02", Refused(400)),
    ("scalarlg", Dropped),
    ("trws", Refused(400)),
];

#[test]
#[ignore = "needs the messages of RFC 4475"]
fn every_malformed_message_ends_as_the_table_says() {
    let corpus = corpus();
    for (name, expected) in MALFORMED {
        match (expected, parse(&corpus[name])) {
            (Refused(status), Err(error)) => assert_answered(name, &error, status),
            (Dropped, Err(error)) => assert!(error.partial.is_none(), "{name}: {error}"),
            (Accepted(reason), Ok(message)) => {
                println!("{name} is accepted. {reason}");
                assert_eq!(rebuilt(&message), corpus[name], "{name}");
            }
            (_, result) => panic!("{name}: {result:?}"),
        }
    }
}

fn assert_answered(name: &str, error: &ParseError, status: u16) {
    let response = error.response("192.0.2.77:5070".parse().unwrap());
    let response = response.unwrap_or_else(|| panic!("{name}: no answer to {error}"));
    assert!(response.starts_with(format!("SIP/2.0 {status} ").as_bytes()), "{name}: {response:?}");
    assert!(response.ends_with(b"\r\n\r\n"), "{name}: {response:?}");
}

/// §3.2 to 3.4: for the layers above. `Some(status)`: the RFC's response is about fields that
/// the parser checks, so it is expected here.
const WELL_FORMED: [(&str, Option<u16>); 17] = [
    ("badbranch", None),
    ("bcast", None),
    ("bext01", None),
    ("cparam01", None),
    ("cparam02", None),
    ("inv2543", None),
    // missing From, To, Call-ID
    ("insuf", Some(400)),
    ("invut", None),
    // two Content-Lengths that disagree
    ("mcl01", Some(400)),
    // repeated From, To, Call-ID, CSeq, Max-Forwards
    ("multi01", Some(400)),
    ("novelsc", None),
    ("regaut01", None),
    ("regescrt", None),
    ("sdp01", None),
    ("unkscm", None),
    ("unksm2", None),
    ("zeromf", None),
];

#[test]
#[ignore = "needs the messages of RFC 4475"]
fn every_well_formed_message_reaches_the_layer_that_answers_it() {
    let corpus = corpus();
    for (name, answer) in WELL_FORMED {
        match (answer, parse(&corpus[name])) {
            (None, Ok(message)) => assert_eq!(rebuilt(&message), corpus[name], "{name}"),
            (Some(status), Err(error)) => assert_answered(name, &error, status),
            (_, result) => panic!("{name}: {result:?}"),
        }
    }
}

#[test]
#[ignore = "needs the messages of RFC 4475"]
fn every_message_of_the_folder_is_in_a_table() {
    let corpus = corpus();
    let mut names: Vec<&str> = VALID.to_vec();
    names.extend(MALFORMED.iter().map(|row| row.0).chain(WELL_FORMED.iter().map(|row| row.0)));
    names.sort_unstable();
    assert_eq!(corpus.keys().map(String::as_str).collect::<Vec<_>>(), names);
}
