//! The protocol between a b2bua and a media server, octet for octet, as other implementations depend on it.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use b2b::call::controller::{
    AddressFamily, Answer, CollectEnd, Collected, ConferenceId, ConferenceSpec, Descriptions, DigitPlan,
    EndpointId, EndpointSpec, EndpointStats, Joined, MediaError, Member, Music, MusicClass, MusicSource,
    PairPolicy, Part, Played, Prompt, Recorded, RecordingId, RecordingSpec, Route, Verb,
};
use b2b::server::controller::remote::wire::{Answered, Described, Stats, VERSION};
use bytes::Bytes;
use serde_json::{Value, json};

use super::media_servers::MediaServer;
use crate::server_support::exchange;

const A: EndpointId = EndpointId(1);
const B: EndpointId = EndpointId(2);
const RECORDING: RecordingId = RecordingId(3);
const ROOM: ConferenceId = ConferenceId(4);

const SPEC: &str = r#"{"family":"v4","near":null,"rtp_timeout":{"secs":60,"nanos":0},"srtp":"off","signalling":[null,null],"sources":{"networks":[],"answer":"source"},"bound":null}"#;
const POLICY: &str = r#"{"codecs":[],"transcode":true,"additions":[],"ptime_ms":null,"telephone_event":true,"unknown_attributes":false,"extensions":[],"rtcp_mux":true,"hold":"no"}"#;
const PROMPT: &str = r#"{"parts":[{"file":"/a.wav"},{"tone":{"hz":[440,0],"lasts":{"secs":1,"nanos":0},"dbm0":-16}},{"silence":{"secs":2,"nanos":0}}],"times":1}"#;
const PLAN: &str = r##"{"max":3,"terminators":"#","first":{"secs":5,"nanos":0},"between":{"secs":3,"nanos":0},"total":{"secs":30,"nanos":0},"barge_in":true,"type_ahead":false}"##;
const FILE: &str = r#"{"path":"/r.wav","stereo":true,"rate_hz":8000,"longest":null,"silence":null}"#;

fn prompt() -> Prompt {
    let tone = Part::tone(440, Duration::from_secs(1));
    Prompt::file("/a.wav").then(tone).then(Part::Silence(Duration::from_secs(2)))
}

/// Every verb, and its encoding; `@SPEC` and so on stand for the constants.
fn verbs() -> Vec<(Verb, &'static str)> {
    let policy = || PairPolicy { extensions: Vec::new(), ..PairPolicy::default() };
    let (sdp, plan, spec) =
        (|| Bytes::from_static(b"v=0\r\n"), || DigitPlan::new(3), || RecordingSpec::new("/r.wav"));
    let host: IpAddr = [192, 0, 2, 1].into();
    let (on, off) = (Duration::from_secs(1), Duration::from_millis(200));
    let source = MusicSource::Tone { hz: [440, 0], on, off };
    let class = MusicClass { name: "radio".to_owned(), source, shared: true };
    let rtp_timeout = Some(Duration::from_secs(60));
    let spec_of_endpoint = EndpointSpec { rtp_timeout, ..EndpointSpec::new(AddressFamily::V4) };
    vec![
        (
            Verb::Allocate { endpoint: Some(A), spec: Box::new(spec_of_endpoint) },
            r#"{"allocate":{"endpoint":1,"spec":@SPEC}}"#,
        ),
        (
            Verb::SignalledFrom { endpoint: A, host },
            r#"{"signalled_from":{"endpoint":1,"host":"192.0.2.1"}}"#,
        ),
        (
            Verb::HostFound { endpoint: A, host: "m.example".to_owned(), address: host },
            r#"{"host_found":{"endpoint":1,"host":"m.example","address":"192.0.2.1"}}"#,
        ),
        (Verb::Release { endpoint: A }, r#"{"release":{"endpoint":1}}"#),
        (
            Verb::PairOffer { from: A, to: B, offer: sdp(), policy: policy() },
            r#"{"pair_offer":{"from":1,"to":2,"offer":"v=0\r\n","policy":@POLICY}}"#,
        ),
        (
            Verb::PairAnswer { from: B, to: A, answer: Bytes::from_static(&[0xff, 0]) },
            r#"{"pair_answer":{"from":2,"to":1,"answer":[255,0]}}"#,
        ),
        (
            Verb::LocalOffer { endpoint: A, like: Some(B), policy: policy() },
            r#"{"local_offer":{"endpoint":1,"like":2,"policy":@POLICY}}"#,
        ),
        (
            Verb::LocalOffer { endpoint: A, like: None, policy: policy() },
            r#"{"local_offer":{"endpoint":1,"like":null,"policy":@POLICY}}"#,
        ),
        (
            Verb::ApplyRemote { endpoint: A, answer: sdp() },
            r#"{"apply_remote":{"endpoint":1,"answer":"v=0\r\n"}}"#,
        ),
        (
            Verb::LocalAnswer { endpoint: A, offer: sdp(), policy: policy() },
            r#"{"local_answer":{"endpoint":1,"offer":"v=0\r\n","policy":@POLICY}}"#,
        ),
        (Verb::RepeatOffer { endpoint: A }, r#"{"repeat_offer":{"endpoint":1}}"#),
        (
            Verb::DirectOffer { from: A, to: B, heard: SocketAddr::new(host, 4_000), policy: policy() },
            r#"{"direct_offer":{"from":1,"to":2,"heard":"192.0.2.1:4000","policy":@POLICY}}"#,
        ),
        (
            Verb::ReturnOffer { endpoint: A, policy: policy() },
            r#"{"return_offer":{"endpoint":1,"policy":@POLICY}}"#,
        ),
        (
            Verb::SendDigit { endpoint: A, digit: '#', duration_ms: 100 },
            r##"{"send_digit":{"endpoint":1,"digit":"#","duration_ms":100}}"##,
        ),
        (Verb::WithdrawOffer { endpoint: A }, r#"{"withdraw_offer":{"endpoint":1}}"#),
        (Verb::Bridge { a: A, b: B }, r#"{"bridge":{"a":1,"b":2}}"#),
        (Verb::Unbridge { a: A, b: B }, r#"{"unbridge":{"a":1,"b":2}}"#),
        (Verb::Stats { endpoint: A }, r#"{"stats":{"endpoint":1}}"#),
        (Verb::Play { endpoint: A, prompt: prompt() }, r#"{"play":{"endpoint":1,"prompt":@PROMPT}}"#),
        (Verb::StopPrompt { endpoint: A }, r#"{"stop_prompt":{"endpoint":1}}"#),
        (
            Verb::Collect { endpoint: A, prompt: None, plan: plan() },
            r#"{"collect":{"endpoint":1,"prompt":null,"plan":@PLAN}}"#,
        ),
        (
            Verb::Collect { endpoint: A, prompt: Some(prompt()), plan: plan() },
            r#"{"collect":{"endpoint":1,"prompt":@PROMPT,"plan":@PLAN}}"#,
        ),
        (Verb::StopCollecting { endpoint: A }, r#"{"stop_collecting":{"endpoint":1}}"#),
        (Verb::FeedDigit { endpoint: A, digit: '1' }, r#"{"feed_digit":{"endpoint":1,"digit":"1"}}"#),
        (Verb::HearTones { endpoint: A, on: Some(true) }, r#"{"hear_tones":{"endpoint":1,"on":true}}"#),
        (Verb::HearTones { endpoint: A, on: None }, r#"{"hear_tones":{"endpoint":1,"on":null}}"#),
        (Verb::TakesInfo { endpoint: A }, r#"{"takes_info":{"endpoint":1}}"#),
        (
            Verb::Record { recording: Some(RECORDING), endpoint: A, spec: spec() },
            r#"{"record":{"recording":3,"endpoint":1,"spec":@FILE}}"#,
        ),
        (
            Verb::PauseRecording { recording: RECORDING, paused: true },
            r#"{"pause_recording":{"recording":3,"paused":true}}"#,
        ),
        (
            Verb::FollowRecording { recording: RECORDING, endpoint: A, other_side: false },
            r#"{"follow_recording":{"recording":3,"endpoint":1,"other_side":false}}"#,
        ),
        (Verb::StopRecording { recording: RECORDING }, r#"{"stop_recording":{"recording":3}}"#),
        (Verb::WaitForRecording { recording: RECORDING }, r#"{"wait_for_recording":{"recording":3}}"#),
        (
            Verb::CreateConference {
                conference: Some(ROOM),
                spec: ConferenceSpec { rate_hz: 8_000, most: 2 },
            },
            r#"{"create_conference":{"conference":4,"spec":{"rate_hz":8000,"most":2}}}"#,
        ),
        (Verb::EndConference { conference: ROOM }, r#"{"end_conference":{"conference":4}}"#),
        (
            Verb::AddToConference {
                conference: ROOM,
                endpoint: A,
                member: Member { muted: false, deaf: true, volume_db: -6 },
            },
            r#"{"add_to_conference":{"conference":4,"endpoint":1,"member":{"muted":false,"deaf":true,"volume_db":-6}}}"#,
        ),
        (
            Verb::RemoveFromConference { conference: ROOM, endpoint: A },
            r#"{"remove_from_conference":{"conference":4,"endpoint":1}}"#,
        ),
        (
            Verb::PlayToConference { conference: ROOM, prompt: prompt() },
            r#"{"play_to_conference":{"conference":4,"prompt":@PROMPT}}"#,
        ),
        (
            Verb::RecordConference { recording: Some(RECORDING), conference: ROOM, spec: spec() },
            r#"{"record_conference":{"recording":3,"conference":4,"spec":@FILE}}"#,
        ),
        (
            Verb::StartMoh { endpoint: A, class: Music::Class(class) },
            r#"{"start_moh":{"endpoint":1,"class":{"name":"radio","source":{"tone":{"hz":[440,0],"on":{"secs":1,"nanos":0},"off":{"secs":0,"nanos":200000000}}},"shared":true}}}"#,
        ),
        (Verb::StopMoh { endpoint: A }, r#"{"stop_moh":{"endpoint":1}}"#),
        (Verb::Echo { endpoint: A, on: true }, r#"{"echo":{"endpoint":1,"on":true}}"#),
    ]
}

fn answers() -> Vec<(Answer<Stats>, &'static str)> {
    let path = "/r.wav".into();
    let (lasts, spoken) = (Duration::from_secs(2), Duration::from_secs(1));
    let relay = Route::Relay { encoding: "PCMA".to_owned() };
    let transcode = Route::Transcode { from: "PCMU".to_owned(), to: "PCMA".to_owned() };
    vec![
        (Answer::Done, r#""done""#),
        (Answer::Repeated, r#""repeated""#),
        (
            Answer::Allocated { endpoint: None, rtp: ([192, 0, 2, 1], 4_000).into() },
            r#"{"allocated":{"rtp":"192.0.2.1:4000"}}"#,
        ),
        (Answer::Description(Bytes::from_static(b"v=0\r\n")), r#"{"description":"v=0\r\n"}"#),
        (Answer::Description(Bytes::from_static(&[0xff, 0])), r#"{"description":[255,0]}"#),
        (
            Answer::Joined(Joined { forward: relay, backward: transcode }),
            r#"{"joined":{"forward":{"relay":{"encoding":"PCMA"}},"backward":{"transcode":{"from":"PCMU","to":"PCMA"}}}}"#,
        ),
        (Answer::Played(Played::Complete), r#"{"played":"complete"}"#),
        (
            Answer::Collected(Collected { digits: "12".to_owned(), end: CollectEnd::Terminator('#') }),
            r##"{"collected":{"digits":"12","end":{"terminator":"#"}}}"##,
        ),
        (
            Answer::Recorded(Recorded { path, lasts, spoken, error: None }),
            r#"{"recorded":{"path":"/r.wav","lasts":{"secs":2,"nanos":0},"spoken":{"secs":1,"nanos":0},"error":null}}"#,
        ),
    ]
}

fn written(text: &str) -> String {
    let names = [("@SPEC", SPEC), ("@POLICY", POLICY), ("@PROMPT", PROMPT), ("@PLAN", PLAN), ("@FILE", FILE)];
    names.iter().fold(text.to_owned(), |text, (name, json)| text.replace(name, json))
}

/// The names of an enum in JSON, from its error for an unknown name.
fn names<T: serde::de::DeserializeOwned + std::fmt::Debug>() -> BTreeSet<String> {
    let error = serde_json::from_str::<T>(r#""no such name""#).expect_err("refused").to_string();
    let known = error.split("expected one of ").nth(1).unwrap_or_else(|| panic!("{error}"));
    known.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn name(json: &str) -> String {
    json.split('"').nth(1).expect("a name").to_owned()
}

#[test]
fn every_verb_is_written_and_read_as_it_always_was() {
    assert_eq!(VERSION, 4);
    let verbs = verbs();
    for (verb, json) in &verbs {
        let json = written(json);
        assert_eq!(serde_json::to_string(verb).expect("written"), json);
        assert_eq!(&serde_json::from_str::<Verb>(&json).expect("read"), verb);
    }
    let here: BTreeSet<String> = verbs.iter().map(|(_, json)| name(json)).collect();
    assert_eq!(here, names::<Verb>(), "every verb stands here");
}

#[test]
fn every_answer_is_written_and_read_as_it_always_was() {
    let answers = answers();
    for (answer, json) in &answers {
        assert_eq!(serde_json::to_string(answer).expect("written"), *json);
        assert_eq!(&serde_json::from_str::<Answer<Stats>>(json).expect("read"), answer);
    }
    // Counters contain moments, which are encoded as elapsed times.
    let now = Instant::now();
    let since = now.checked_sub(Duration::from_millis(5)).expect("a clock that has run for a while");
    let counted = Answer::Stats(Box::new(Stats::new(&EndpointStats::new(since), now)));
    let json = serde_json::to_string(&counted).expect("written");
    assert!(json.starts_with(r#"{"stats":{"since_ago_us":5000,"received":{"packets":0,"#), "{json}");
    assert_eq!(serde_json::from_str::<Answer<Stats>>(&json).expect("read"), counted);
    let here: BTreeSet<String> =
        answers.iter().map(|(_, json)| name(json)).chain(["stats".to_owned()]).collect();
    assert_eq!(here, names::<Answer<Stats>>(), "every answer stands here");

    let both = Descriptions {
        told: b"v=0\r\n".as_slice().into(),
        said: [0xff].as_slice().into(),
        ..Descriptions::default()
    };
    let described = vec![Described { endpoint: A, both }];
    let answered = Answered { id: 7, result: Err(MediaError::NoSuchEndpoint(A)), described };
    let json = r#"{"id":7,"result":{"Err":{"no_such_endpoint":1}},"described":[{"endpoint":1,"told":"v=0\r\n","said":[255]}]}"#;
    assert_eq!(serde_json::to_string(&answered).expect("written"), json);
    assert_eq!(serde_json::from_str::<Answered>(json).expect("read"), answered);
}

#[test]
fn a_media_server_takes_every_verb_and_answers_each() {
    let media = MediaServer::start(&[]);
    let ask = |path: &str, body: &str| {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            media.at,
            body.len()
        );
        exchange(media.at, request.as_bytes())
    };
    let session = ask("/v1/sessions", "{\"version\":4}").json();
    let session = session["session"].as_str().expect("a key").to_owned();
    let obey = |batch: u64, verbs: &[String]| {
        let numbered = verbs.iter().enumerate().map(|(n, verb)| format!("{{\"id\":{n},\"verb\":{verb}}}"));
        let numbered = numbered.collect::<Vec<_>>().join(",");
        let path = format!("/v1/sessions/{session}/verbs");
        ask(&path, &format!("{{\"batch\":{batch},\"verbs\":[{numbered}]}}"))
    };
    // Their targets end soon, so that no verb takes long.
    let verbs: Vec<String> = verbs().iter().map(|(_, json)| written(json)).collect();
    let answer = obey(1, &verbs);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let happened = answer.json()["happened"].as_array().expect("answers").clone();
    let of = |verb: &str| {
        let id = verbs.iter().position(|it| name(it) == verb).expect("a verb");
        let answered = happened.iter().find(|it| it["answer"]["id"] == id);
        answered.unwrap_or_else(|| panic!("no answer to {verb}: {happened:?}"))["answer"]["result"].clone()
    };
    assert_eq!(happened.len(), verbs.len(), "{happened:?}");
    assert!(of("allocate")["Ok"]["allocated"]["rtp"].is_string());
    assert_eq!(of("allocate")["Ok"]["allocated"].as_object().map(|it| it.len()), Some(1));
    let done = json!({ "Ok": "done" });
    for verb in ["signalled_from", "release", "create_conference", "end_conference"] {
        assert_eq!(of(verb), done, "{verb}");
    }
    let gone = |id: u64| json!({ "Err": { "no_such_endpoint": id } });
    assert_eq!((of("pair_offer"), of("pair_answer")), (gone(1), gone(2)));
    assert_eq!((of("send_digit"), of("record"), of("start_moh")), (gone(1), gone(1), gone(1)));
    assert_eq!(of("play_to_conference"), json!({ "Err": "conference" }));
    assert!(matches!(&of("stop_recording")["Err"]["file"], Value::String(_)));
    // A creating verb without the name for its result is invalid.
    let nameless = written(r#"{"allocate":{"spec":@SPEC}}"#);
    let refused = obey(2, &[nameless]).status;
    assert!((400..500).contains(&refused), "{refused}");
}
