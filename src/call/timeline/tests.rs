use std::time::{Duration, Instant, UNIX_EPOCH};

use serde_json::json;

use super::*;

const A: LegId = LegId(1);
const B: LegId = LegId(2);

fn timeline() -> (Timeline, Instant) {
    let start = Instant::now();
    let began = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let mut timeline = Timeline::new(CallId(17), start, began);
    timeline.leg(A, "sip:alice@example.com");
    (timeline, start)
}

fn ms(start: Instant, ms: u64) -> Instant {
    start + Duration::from_millis(ms)
}

/// A call from INVITE to BYE.
fn answered_call() -> Timeline {
    let (mut t, start) = timeline();
    t.signal(start, A, Signal::request(Way::In, "INVITE").with(Body::Offer), "");
    t.signal(ms(start, 1), A, Signal::response(Way::Out, "INVITE", 100), "");
    t.decision(ms(start, 1), None, "route", r"'local' matched ^10..$ -> user/1002");
    t.leg(B, "sip:bob@192.0.2.7");
    t.signal(ms(start, 2), B, Signal::request(Way::Out, "INVITE").with(Body::Offer), "udp 192.0.2.7:5060");
    t.signal(ms(start, 250), B, Signal::response(Way::In, "INVITE", 180), "");
    t.state(ms(start, 250), Some(B), "ringing", "");
    t.signal(ms(start, 2_000), B, Signal::response(Way::In, "INVITE", 200).with(Body::Answer), "");
    t.media(ms(start, 2_100), B, "first packet", "from 192.0.2.7:4000");
    t.signal(ms(start, 9_000), B, Signal::request(Way::In, "BYE"), "");
    t.signal(ms(start, 9_001), B, Signal::response(Way::Out, "BYE", 200), "");
    t.signal(ms(start, 9_001), A, Signal::request(Way::Out, "BYE"), "");
    t
}

#[test]
fn people_read_a_ladder() {
    let expected = r"call 17, 2027-01-15T08:00:00.000Z
  leg 1: sip:alice@example.com
  leg 2: sip:bob@192.0.2.7

     seconds  leg 1                            b2b                              others
       0.000  |-- INVITE (offer) ------------->|                                |
       0.001  |<-- 100 Trying -----------------|                                |
       0.001  |                                * route: 'local' matched ^10..$ -> user/1002
       0.002  |                                |-- INVITE (offer) ------------->| leg 2 udp 192.0.2.7:5060
       0.250  |                                |<-- 180 Ringing ----------------| leg 2
       0.250  |                                = leg 2 ringing
       2.000  |                                |<-- 200 OK (answer) ------------| leg 2
       2.100  |                                ~ leg 2 first packet: from 192.0.2.7:4000
       9.000  |                                |<-- BYE ------------------------| leg 2
       9.001  |                                |-- 200 OK (BYE) --------------->| leg 2
       9.001  |<-- BYE ------------------------|                                |
";
    let text = answered_call().view().to_string();
    for (got, expected) in text.lines().zip(expected.lines()) {
        assert_eq!(got, expected, "\n{text}");
    }
    assert_eq!(text.lines().count(), expected.lines().count());
}

#[test]
fn programs_read_json() {
    let value = serde_json::to_value(answered_call().view()).unwrap();
    assert_eq!(value["call"], 17);
    assert_eq!(value["began"], "2027-01-15T08:00:00.000000Z");
    assert_eq!(value["legs"][1], json!({"leg": 2, "name": "sip:bob@192.0.2.7"}));
    assert_eq!(
        value["records"][6],
        json!({"at_ms": 2000.0, "leg": 2, "kind": "signal", "way": "in", "method": "INVITE", "status": 200,
               "body": "answer"})
    );
    assert_eq!(
        value["records"][7],
        json!({"at_ms": 2100.0, "leg": 2, "kind": "media", "fact": "first packet",
               "note": "from 192.0.2.7:4000"})
    );
    assert_eq!(value["left_out"], 0);
}

#[test]
fn the_middle_of_a_long_call_is_left_out() {
    let (mut t, start) = timeline();
    for n in 0..1_000 {
        t.media(ms(start, n), A, "packet", format_args!("{n}"));
    }
    let view = t.view();
    assert_eq!(view.left_out, 1_000 - (HEAD + TAIL) as u32);
    assert_eq!((view.records[HEAD - 1].at_ms, view.records[HEAD].at_ms), (63.0, 968.0));
    assert_eq!(view.records.last().unwrap().at_ms, 999.0);
    let text = view.to_string();
    assert!(text.contains("904 records left out"), "{text}");
    assert!(text.lines().count() < 110);
}

#[test]
fn no_call_takes_more_than_4_kib_and_an_ordinary_one_half_of_it() {
    let (mut t, start) = timeline();
    for n in 0..5_000u64 {
        t.leg(LegId(n), format_args!("sip:{n}@{}", "x".repeat(300)));
        t.decision(ms(start, n), Some(LegId(n)), "route", &"y".repeat((n % 200) as usize));
        t.signal(ms(start, n), LegId(n), Signal::request(Way::In, "INVITE"), format_args!("{n}"));
        assert!(t.bytes() <= MAX_BYTES, "{} bytes after {n}", t.bytes());
    }
    let ordinary = answered_call();
    assert!(ordinary.bytes() <= MAX_BYTES / 4, "{}", ordinary.bytes());
}

#[test]
fn texts_are_kept_once_and_cut_at_whole_characters() {
    let mut texts = Texts::default();
    let first = texts.add("via the gateway 'carrier'");
    assert_eq!(texts.add("via the gateway 'carrier'"), first);
    assert_eq!(texts.get(first), "via the gateway 'carrier'");
    let other = texts.add("ünï");
    assert_eq!((texts.get(other), texts.get(first)), ("ünï", "via the gateway 'carrier'"));
    let bytes = texts.heap_bytes();
    let word = texts.add("INVITE");
    let empty = texts.add("");
    assert_eq!((texts.get(word), texts.get(empty), texts.heap_bytes()), ("INVITE", "", bytes));
    let long = texts.add(&"é".repeat(100));
    let long = texts.get(long);
    assert!(long.ends_with("é…") && long.len() <= 96, "{long}");
    let nasty = texts.add("a\r\nb\u{1b}[31m");
    assert_eq!(texts.get(nasty), "a  b [31m");
}

#[test]
fn when_texts_are_full_records_go_on_without() {
    let (mut t, start) = timeline();
    for n in 0..60 {
        t.decision(start, None, "why", format_args!("a long reason with the number {n}, and more words"));
    }
    t.signal(
        start,
        A,
        Signal::request(Way::In, "BYE"),
        "a reason that was not given before, with many words",
    );
    let view = t.view();
    let last = view.records.last().unwrap();
    assert_eq!(last.note, "…");
    assert!(matches!(last.what, What::Signal { method: "BYE", .. }));
    // Strings that were stored earlier are still complete.
    assert!(view.records[0].note.ends_with("number 0, and more words"));
}

#[test]
fn legs_beyond_the_table_and_the_call_itself_have_no_number() {
    let (mut t, start) = timeline();
    for n in 0..40 {
        t.leg(LegId(n), "x");
    }
    t.state(start, Some(LegId(39)), "failed", "");
    t.state(start, None, "bridged", "");
    let view = t.view();
    assert_eq!((view.records[0].leg, view.records[0].note), (None, "another leg"));
    assert_eq!((view.records[1].leg, view.records[1].note), (None, ""));
}

#[test]
fn time_that_runs_backwards_is_the_beginning() {
    let (_, start) = timeline();
    let mut t = Timeline::new(CallId(1), ms(start, 10), UNIX_EPOCH);
    t.state(start, None, "idle", "");
    assert_eq!(t.view().records[0].at_ms, 0.0);
}

fn ended(utterance: u32, state: UtteranceState, sent_ms: u32, heard_ms: Option<[u32; 2]>) -> Utterance {
    Utterance { state, sent_ms: Some(sent_ms), heard_ms, ..Utterance::begun(utterance, None) }
}

#[test]
fn an_utterance_is_one_record_with_its_beginning_and_its_end() {
    let (mut t, start) = timeline();
    t.leg(A, "sip:alice@example.com");
    t.utters(ms(start, 900), A, Utterance::begun(1, None));
    t.uttered(ended(1, UtteranceState::Interrupted, 2_140, Some([1_790, 1_825])));
    t.uttered(ended(1, UtteranceState::Cleared, 2_300, None));
    t.utters(ms(start, 9_000), A, Utterance::begun(2, Some(640)));
    t.state(ms(start, 9_500), None, "bridged", "");
    t.utters(ms(start, 11_000), A, Utterance::begun(3, None));
    t.uttered(ended(2, UtteranceState::Sent, 1_000, None));
    let view = t.view();
    let value = serde_json::to_value(&view).unwrap();
    assert_eq!(
        value["records"][0],
        json!({"at_ms": 900.0, "leg": 1, "kind": "utterance", "utterance": 1, "state": "interrupted",
               "sent_ms": 2_140, "heard_ms": [1_790, 1_825]})
    );
    assert_eq!(
        value["records"][1],
        json!({"at_ms": 9_000.0, "leg": 1, "kind": "utterance", "utterance": 2, "state": "sent",
               "response_ms": 640, "sent_ms": 1_000})
    );
    let text = view.to_string();
    for line in [
        "\" leg 1 agent speaks: utterance 1; interrupted, 1790 to 1825 of 2140 ms were heard\n",
        "\" leg 1 agent speaks: utterance 2, 640 ms after the party; all 1000 ms were sent\n",
        "\" leg 1 agent speaks: utterance 3\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn utterances_of_hours_take_bounded_memory_and_leave_the_texts_to_others() {
    let (mut t, start) = timeline();
    for n in 0..5_000 {
        t.utters(ms(start, 3 * u64::from(n)), A, Utterance::begun(n, Some(n)));
        t.media(ms(start, 3 * u64::from(n)), A, "between", "");
        t.uttered(ended(n, UtteranceState::Sent, n, None));
        assert!(t.bytes() <= 2 * MAX_BYTES, "{} bytes after {n}", t.bytes());
    }
    t.signal(ms(start, 15_000), A, Signal::request(Way::In, "BYE"), "a reason");
    let view = t.view();
    assert_eq!(view.records.last().unwrap().note, "a reason");
    assert_eq!(view.left_out, 10_001 - (HEAD + TAIL) as u32);
    let utterances: Vec<u32> = view
        .records
        .iter()
        .filter_map(|record| match record.what {
            What::Utterance(it) => Some((it, (record.at_ms / 3.0) as u32)),
            _ => None,
        })
        .map(|(it, number)| {
            assert_eq!((it.utterance, it.response_ms, it.sent_ms), (number, Some(number), Some(number)));
            number
        })
        .collect();
    assert_eq!(utterances, (0..32).chain(4_985..5_000).collect::<Vec<_>>());
}

#[test]
fn a_decision_that_is_repeated_is_one_record_that_counts() {
    let (mut t, start) = timeline();
    for n in 0..3 {
        t.repeated(ms(start, n), "voice_agent/ada", "more marks and clears");
        t.state(ms(start, n), None, "bridged", "");
    }
    let view = t.view();
    assert_eq!(view.records.len(), 4);
    assert_eq!((view.records[0].at_ms, view.records[0].times), (0.0, 3));
    assert!(view.to_string().contains("* voice_agent/ada: more marks and clears (3 times)\n"));
}
