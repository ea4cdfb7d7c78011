//! The replay of journals, including ones that were not written by b2b. That written journals replay octet by
//! octet is asserted at the end of every other call test (`Harness::assert_nothing_left`).

use std::time::{Duration, Instant};

use b2b_call::bridge_fsm::BridgeMode;
use b2b_call::controller::{EndpointId, MediaEvent};
use b2b_call::journal::{Journal, JournalError};
use b2b_call::switch::replay::{Replay, Replayed, Shown};
use b2b_sip::endpoint::Body;
use b2b_testkit::{B2B, Harness, SESSION, Sent};

use crate::hand::{answered, calling, nothing_left};
use crate::routed::{ANN, BOB, CAT, to_bob};
use crate::transfers::{harness, refresh};

/// The journal of a call that rings, is answered and is hung up by the caller.
fn journal() -> String {
    let mut harness = to_bob();
    talk(&mut harness);
    harness.run(Duration::from_secs(40));
    harness.journals().pop().expect("a journal")
}

fn talk(harness: &mut Harness) {
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let call = harness.call(ann, "bob", Some(SESSION));
    harness.answer_next(bob, SESSION);
    harness.run(Duration::from_secs(2));
    harness.hang_up(ann, call);
}

/// The result of a replay, and the first lines of its messages.
fn run(text: &str) -> (Replayed, Vec<String>) {
    let mut sent = Vec::new();
    let replayed = Replay::new(Journal::parse(text).expect("a journal"), Instant::now()).run(&mut |shown| {
        if let Shown::Sent { message, .. } = shown {
            let text = String::from_utf8_lossy(&message).into_owned();
            sent.push(text.lines().next().unwrap_or_default().to_owned());
        }
    });
    (replayed, sent)
}

fn difference(text: &str) -> String {
    run(text).0.differs.map(|differs| differs.what).unwrap_or_default()
}

#[test]
fn a_call_is_run_again_and_sends_the_same_messages() {
    let (replayed, sent) = run(&journal());
    assert!(replayed.differs.is_none() && replayed.unsent == 0, "{replayed:?}");
    let begins = |line: &str| sent.iter().any(|it| it.starts_with(line));
    assert!(begins("INVITE ") && begins("SIP/2.0 200") && begins("BYE ") && replayed.same == sent.len());
}

#[test]
fn a_message_that_is_another_one_is_named() {
    let other = journal().replace("a=rtpmap:8 PCMA/8000", "a=rtpmap:8 PCMA/8001");
    let said = difference(&other);
    assert!(said.contains("'INVITE sip:callee@") && said.contains("another one than was sent"), "{said}");
}

#[test]
fn what_was_not_sent_again_is_counted() {
    let text = journal();
    // The call is not hung up.
    let cut = text.lines().position(|line| line.contains("\"BYE ")).expect("a BYE");
    let lines: Vec<&str> = text.lines().collect();
    let sent = lines[cut..].iter().filter(|line| line.contains("\"sent\":{")).copied();
    let kept: Vec<&str> = lines[..cut].iter().copied().chain(sent).collect();
    let (replayed, _) = run(&kept.join("\n"));
    assert_eq!(replayed.unsent, 2, "our BYE and our 200: {replayed:?}");
}

#[test]
fn a_fact_that_is_missing_or_too_many_is_named() {
    let text = journal();
    let without: Vec<&str> = text.lines().filter(|line| !line.contains("\"outgoing\"")).collect();
    let said = difference(&without.join("\n"));
    assert_eq!(said, "the call asks for 'outgoing' where the journal has 'leg'");
    let twice = text.replace("{\"fact\":{\"bridge\"", "{\"fact\":{\"bridle\":1}}\n{\"fact\":{\"bridge\"");
    assert_eq!(difference(&twice), "the call asks for 'bridge' where the journal has 'bridle'");
    let more = text.trim_end().to_owned() + "\n{\"fact\":{\"leg\":1}}";
    assert_eq!(difference(&more), "the journal has 'leg' where the call asks for nothing");
}

#[test]
fn what_is_no_journal_is_refused_with_its_line() {
    let text = journal();
    let line = |text: &str| match Journal::parse(text) {
        Err(JournalError::Line { line, .. }) => line,
        other => panic!("{other:?}"),
    };
    assert_eq!(line("127.0.0.1 localhost"), 1);
    let late =
        text.lines().take(2).collect::<Vec<_>>().join("\n") + "\n{\"at\":99999999999999999,\"tick\":null}";
    assert_eq!(line(&late), 3, "a moment that no call has");
    let first = text.lines().position(|line| line.contains("\"received\"")).map(|at| at + 1);
    assert_eq!(Some(line(&text.replace("\"received\":{\"by\":0", "\"received\":{\"by\":77"))), first);
    let rest = text.lines().skip(1).collect::<Vec<_>>().join("\n");
    assert!(matches!(Journal::parse(&rest), Err(JournalError::Begin)));
    let newer = text.replace("\"version\":3", "\"version\":4");
    assert!(matches!(Journal::parse(&newer), Err(JournalError::Version(4, _))));
}

/// Until version 2 a step had the answers of media while it was taken, before its later questions.
#[test]
fn a_journal_of_the_version_before_is_replayed() {
    let is = |line: &str, kind: &str| line.starts_with(&format!("{{\"fact\":{{\"{kind}\":"));
    let text = journal();
    let mut lines: Vec<&str> = Vec::new();
    for line in text.lines() {
        // Behind the input of its turn and the answers of media before it.
        let behind = lines.iter().rposition(|it| is(it, "media") || !it.starts_with("{\"fact\":"));
        match behind.filter(|_| is(line, "media")) {
            Some(place) => lines.insert(place + 1, line),
            None => lines.push(line),
        }
    }
    let before = lines.join("\n").replace("\"version\":3", "\"version\":2");
    assert_ne!(before.replace("\"version\":2", "\"version\":3"), text.trim_end(), "some stand elsewhere");
    assert_eq!(difference(&before), "");
    let in_order = before.replace("\"version\":2", "\"version\":3");
    assert!(difference(&in_order).contains("'media'"), "{}", difference(&in_order));
}

/// Seconds with which no time could be calculated, in place of every number of seconds of the journal.
#[test]
fn a_journal_with_an_endless_time_is_refused_by_its_line() {
    let text = journal();
    let places: Vec<usize> = text.match_indices("\"secs\":").map(|(at, it)| at + it.len()).collect();
    assert!(places.len() >= 3, "{text}");
    for at in places {
        let digits = text[at..].find(|c: char| !c.is_ascii_digit()).expect("an end");
        for seconds in [u64::MAX, u64::MAX / 2, 1 << 40] {
            let changed = format!("{}{seconds}{}", &text[..at], &text[at + digits..]);
            let line = text[..at].lines().count();
            match Journal::parse(&changed) {
                Err(JournalError::Line { line: named, why }) => {
                    assert!(named == line && why.contains("too long"), "{named}: {why}");
                }
                other => panic!("{seconds} s in line {line}: {:?}", other.map(drop)),
            }
        }
        // The longest that is read calculates.
        let changed = format!("{}{}{}", &text[..at], 1_u64 << 32, &text[at + digits..]);
        run(&changed);
    }
}

#[test]
fn a_damaged_journal_ends_in_a_difference_and_in_nothing_worse() {
    let text = journal();
    let (mut differ, mut refused) = (0, 0);
    for seed in 0..400_usize {
        let mut octets = text.clone().into_bytes();
        for n in 0..1 + seed % 3 {
            let at = (seed * 7_919 + n * 104_729) % octets.len();
            octets[at] = b'0' + (seed % 10) as u8;
        }
        let Ok(journal) = Journal::parse(&String::from_utf8_lossy(&octets)) else {
            refused += 1;
            continue;
        };
        let replayed = Replay::new(journal, Instant::now()).run(&mut |_| {});
        differ += usize::from(replayed.differs.is_some());
    }
    assert!(differ > 20 && refused > 20, "{differ} differ, {refused} are refused");
}

#[test]
fn an_account_of_the_call_is_there_after_the_run() {
    let mut replay = Replay::new(Journal::parse(&journal()).expect("a journal"), Instant::now());
    replay.run(&mut |_| {});
    let reports = replay.reports();
    let ladder = reports.first().expect("a report").timeline.view().to_string();
    assert!(ladder.contains("-- INVITE (offer)") && ladder.contains("bridged"), "{ladder}");
    assert!(!ladder.contains("verdict"), "there was no media: {ladder}");
}

#[test]
fn a_journal_that_is_too_long_is_cut_and_says_so() {
    let mut harness = to_bob();
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let call = harness.call(ann, "bob", Some(SESSION));
    harness.answer_next(bob, SESSION);
    assert!(harness.is_up(ann, call));
    let key = MediaEvent::Digit {
        endpoint: EndpointId(1),
        digit: '7',
        duration_ms: 90,
        passed_on: true,
        by_tone: false,
    };
    (0..5_000).for_each(|_| harness.media_event(key.clone()));
    let text = harness.journals().pop().expect("a journal");
    assert!(text.len() < 512 << 10, "{}", text.len());
    let journal = Journal::parse(&text).expect("a journal");
    assert!(journal.is_cut);
    assert!(Replay::new(journal, Instant::now()).run(&mut |_| {}).differs.is_none());
}

#[test]
fn a_call_that_is_quiet_takes_less_room_and_is_told_of_as_before() {
    let mut harness = to_bob();
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let call = harness.call(ann, "bob", Some(SESSION));
    harness.answer_next(bob, SESSION);
    let id = harness.snapshot()[0].call;
    let told = |harness: &Harness| (harness.journals().pop(), harness.pcap(id));
    let before = told(&harness);
    let held = harness.history_bytes(id);
    harness.run(Duration::from_secs(40));
    assert_eq!(told(&harness), before);
    assert!(harness.history_bytes(id) * 5 < held * 3, "{} of {held} bytes", harness.history_bytes(id));
    // Later records follow it, even after it is compressed again.
    for _ in 0..2 {
        let now = harness.now();
        harness.endpoint(ann).reinvite(now, call, Some(Body::sdp(SESSION))).unwrap();
        harness.run(Duration::from_secs(40));
    }
    let (before, after) = (before.0.expect("a journal"), told(&harness).0.expect("a journal"));
    let invites = |text: &str| text.matches("\"INVITE ").count();
    assert!(after.starts_with(&before));
    assert_eq!(invites(&after), invites(&before) + 2);
    harness.hang_up(ann, call);
    harness.assert_nothing_left();
}

#[test]
fn calls_that_are_alike_take_less_room_and_are_told_of_when_the_others_are_gone() {
    let mut harness = to_bob();
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let calls: Vec<_> = (0..3)
        .map(|_| {
            let call = harness.call(ann, "bob", Some(SESSION));
            harness.answer_next(bob, SESSION);
            call
        })
        .collect();
    let last = harness.snapshot().iter().map(|it| it.call).max().unwrap();
    let told = |harness: &Harness| (harness.journal(last), harness.pcap(last));
    let (before, held) = (told(&harness), harness.history_bytes(last));
    harness.run(Duration::from_secs(40));
    assert!(harness.history_bytes(last) * 5 < held * 2, "{} of {held} bytes", harness.history_bytes(last));
    calls[..2].iter().for_each(|call| harness.hang_up(ann, *call));
    assert_eq!(told(&harness), before);
    harness.hang_up(ann, calls[2]);
    harness.assert_nothing_left();
}

#[test]
fn calls_that_meet_are_replayed_where_they_were_packed_before_and_are_again() {
    let mut harness = harness(BridgeMode::Intercepting);
    let (ann, bob, cat) = (harness.party(ANN), harness.party(BOB), harness.party(CAT));
    let a = harness.call(ann, "bob", Some(SESSION));
    let b = harness.answer_next(bob, SESSION);
    let consultation = harness.call(ann, "cat", Some(SESSION));
    let c = harness.answer_next(cat, SESSION);
    harness.run(Duration::from_secs(40));
    let replaces = harness.replaces(ann, consultation).expect("a dialog");
    harness.refer(ann, a, format!("<sip:cat@{B2B}?{}>", replaces.embedded()));
    refresh(&mut harness, bob, b);
    refresh(&mut harness, cat, c);
    harness.run(Duration::from_secs(40));
    assert!(harness.is_up(bob, b) && harness.is_up(cat, c));
    harness.hang_up(bob, b);
    harness.assert_nothing_left();
}

#[test]
fn calls_that_meet_are_replayed_where_a_timer_has_sent_between_their_turns() {
    let mut harness = harness(BridgeMode::Intercepting);
    let (ann, bob, cat) = (harness.party(ANN), harness.party(BOB), harness.party(CAT));
    let a = harness.call(ann, "bob", Some(SESSION));
    let b = harness.answer_next(bob, SESSION);
    let consultation = harness.call(ann, "cat", Some(SESSION));
    // Ann's first call has a turn before the second one's 100, which belongs to no turn.
    let now = harness.now();
    harness.endpoint(ann).reinvite(now, a, Some(Body::sdp(SESSION))).unwrap();
    harness.run(Duration::from_millis(500));
    let c = harness.answer_next(cat, SESSION);
    let to_ann = harness.wire.iter().filter(|it| it.to == ANN.parse().unwrap()).map(Sent::line);
    let to_ann: Vec<String> = to_ann.collect();
    let trying = to_ann.iter().position(|it| it.starts_with("SIP/2.0 100"));
    assert!(trying > to_ann.iter().rposition(|it| it.starts_with("INVITE")), "{to_ann:?}");
    let replaces = harness.replaces(ann, consultation).expect("a dialog");
    harness.refer(ann, a, format!("<sip:cat@{B2B}?{}>", replaces.embedded()));
    refresh(&mut harness, bob, b);
    refresh(&mut harness, cat, c);
    harness.run(Duration::from_secs(3));
    assert!(harness.is_up(bob, b) && harness.is_up(cat, c));
    harness.hang_up(bob, b);
    harness.assert_nothing_left();
}

#[test]
fn what_is_refused_outside_of_any_dialog_is_refused_in_the_same_words_again() {
    let (mut harness, mut ann, bob) = calling(SESSION, "");
    bob.answers(&mut harness, "INVITE", "200 OK", SESSION);
    let invite = ann.cseq;
    ann.acks(&mut harness, invite, "");
    ann.asks(&mut harness, "BYE", "", "");
    bob.answers(&mut harness, "BYE", "200 OK", "");
    // The CANCEL and the INFO arrive after the end.
    ann.cancels(&mut harness);
    ann.asks(&mut harness, "INFO", "", "");
    assert_eq!((answered(&harness, ANN, "CANCEL"), answered(&harness, ANN, "INFO")), (vec![200], vec![481]));
    nothing_left(harness);
}
