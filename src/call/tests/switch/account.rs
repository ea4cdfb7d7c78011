//! The history of a call: one timeline with signalling, media and decisions, the verdict on its media, its
//! records, its messages.

use std::time::Duration;

use b2b_call::bridge_fsm::BridgeMode;
use b2b_call::bus::Received;
use b2b_call::cdr::Disposition;
use b2b_call::controller::{EndpointId, EndpointStats, MediaEvent};
use b2b_call::event::Event;
use b2b_call::history::{ENDED, Report};
use b2b_call::service::{DialOptions, DialRequest, RouteTaken};
use b2b_call::timeline::{Body, What};
use b2b_call::verdict::{Audio, Cause};
use b2b_sip::endpoint::{Body as Content, UsageId};
use b2b_testkit::{Harness, PartyId, SESSION};
use bytes::Bytes;

use crate::routed::{ANN, BOB, CAT, contacts, routed, to_bob, uri};

/// Ann's endpoint is allocated first, Bob's second.
const OF_ANN: EndpointId = EndpointId(1);
const OF_BOB: EndpointId = EndpointId(2);

fn connected(mut harness: Harness) -> (Harness, (PartyId, UsageId), (PartyId, UsageId)) {
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    let a = harness.call(ann, "bob", Some(SESSION));
    let b = harness.answer_next(bob, SESSION);
    (harness, (ann, a), (bob, b))
}

/// Sets the total packets that the endpoint has received and sent.
fn count(harness: &Harness, endpoint: EndpointId, received: u64, sent: u64) {
    let mut stats = EndpointStats::new(harness.now());
    (stats.received.packets, stats.sent.packets) = (received, sent);
    stats.received.last = (received > 0).then(|| harness.now());
    stats.sources.signalled = "198.51.100.7:4000".parse().ok();
    harness.media().set_stats(endpoint, stats);
}

fn last_report(harness: &mut Harness) -> Report {
    let call = harness.ended_calls()[0];
    harness.report(call).expect("a call that has ended")
}

/// The signals as `way method status body`, in order.
fn signals(report: &Report) -> Vec<String> {
    let word = |body: Body| if body == Body::None { String::new() } else { format!(" {body:?}") };
    let view = report.timeline.view();
    let signals = view.records.iter().filter_map(|record| match record.what {
        What::Signal { way, method, status, body } => {
            let status = status.map(|status| format!(" {status}")).unwrap_or_default();
            let leg = view.legs.iter().position(|leg| Some(leg.leg) == record.leg)?;
            Some(format!("{leg} {way:?} {method}{status}{}", word(body)))
        }
        _ => None,
    });
    signals.collect()
}

#[test]
fn a_timeline_has_signalling_media_and_decisions_in_their_order() {
    let route = RouteTaken { name: "out".to_owned(), why: "out: bob to sip:callee".to_owned() };
    let request = DialRequest::to(uri(BOB));
    let options = DialOptions { route: Some(route), ..request.options.clone() };
    let (mut harness, (ann, a), _) = connected(routed(DialRequest { options, ..request }));
    harness.media_event(MediaEvent::Started { endpoint: OF_BOB, from: "198.51.100.7:4000".parse().unwrap() });
    harness.run(Duration::from_secs(10));
    harness.hang_up(ann, a);
    let report = last_report(&mut harness);
    assert_eq!(
        signals(&report),
        [
            "0 In INVITE Offer",
            "1 Out INVITE Offer",
            "1 In INVITE 200 Answer",
            "1 Out ACK",
            "0 Out INVITE 200 Answer",
            "0 In ACK",
            "0 In BYE",
            "0 Out BYE 200",
            "1 Out BYE",
            "1 In BYE 200",
        ]
    );
    assert_eq!((report.route.as_deref(), report.over), (Some("out"), true));
    let text = report.to_string();
    for words in [
        "* route: out: bob to sip:callee",
        "dial: sip:callee@192.0.2.12:5060",
        "first packet: from 198.51.100.7:4000",
        "destroyed: hung up by the party",
        "udp 192.0.2.11:5060",
        "PCMA: relayed",
    ] {
        assert!(text.contains(words), "{words}\nin\n{text}");
    }
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["timeline"]["records"][0]["method"], "INVITE");
    harness.assert_nothing_left();
}

#[test]
fn one_way_audio_is_told_with_its_cause_in_the_account_the_records_and_on_the_bus() {
    let (mut harness, (ann, a), _) = connected(to_bob());
    let mut bus = harness.bus().subscribe();
    harness.run(Duration::from_secs(60));
    count(&harness, OF_ANN, 3_000, 0);
    count(&harness, OF_BOB, 0, 3_000);
    let call = harness.snapshot()[0].call;
    let live = harness.report(call).expect("a call that is up");
    assert_eq!(live.verdicts[0].verdict.audio, Audio::OnlyFromCaller, "on demand");
    assert_eq!((live.over, live.verdicts[0].ended_ms), (false, None));
    harness.hang_up(ann, a);
    let report = last_report(&mut harness);
    let verdict = &report.verdicts[0].verdict;
    let finding = &verdict.findings[0];
    assert_eq!((verdict.audio, finding.cause), (Audio::OnlyFromCaller, Cause::NeverReceived));
    assert_eq!(finding.leg, report.legs[1].leg);
    assert!(report.to_string().contains("one-way audio: the callee was not heard"), "{report}");
    let told = std::iter::from_fn(|| bus.try_recv()).find_map(|received| match received {
        Received::Event(published) => match &published.event {
            Event::Verdict { cause, .. } => Some(cause.clone()),
            _ => None,
        },
        Received::Lagged(_) => None,
    });
    assert_eq!(told.as_deref(), Some("nothing was received"));
    let records = harness.records();
    assert_eq!(records.iter().map(|it| it.audio).collect::<Vec<_>>(), [Some(Audio::OnlyFromCaller); 2]);
    let quality = |at: usize| records[at].quality.expect("counters");
    assert_eq!((quality(0).packets_received, quality(1).packets_sent), (3_000, 3_000));
    assert_eq!((records[0].codec.as_deref(), quality(0).mos.is_some()), (Some("PCMA"), true));
    harness.assert_nothing_left();
}

#[test]
fn a_hold_that_is_left_on_is_named() {
    let (mut harness, (ann, a), (bob, b)) = connected(to_bob());
    harness.run(Duration::from_secs(20));
    let now = harness.now();
    let offer = format!("{SESSION}a=sendonly\r\n");
    harness.endpoint(ann).reinvite(now, a, Some(Content::sdp(offer))).unwrap();
    harness.settle();
    harness.answer(bob, b, Some(&format!("{SESSION}a=recvonly\r\n")));
    harness.run(Duration::from_secs(40));
    count(&harness, OF_ANN, 3_000, 0);
    count(&harness, OF_BOB, 3_000, 3_000);
    harness.hang_up(ann, a);
    let report = last_report(&mut harness);
    let finding = &report.verdicts[0].verdict.findings[0];
    assert_eq!((finding.cause, finding.leg), (Cause::HoldLeftOn, report.legs[0].leg), "{report}");
    assert!(report.to_string().contains("holds"), "{report}");
    harness.assert_nothing_left();
}

#[test]
fn a_codec_that_was_not_agreed_is_named_with_what_was() {
    let (mut harness, (ann, a), _) = connected(to_bob());
    harness.run(Duration::from_secs(60));
    count(&harness, OF_ANN, 3_000, 0);
    let mut stats = EndpointStats::new(harness.now());
    (stats.dropped.payload_type, stats.payload_type_refused, stats.sent.packets) = (2_000, Some(18), 3_000);
    harness.media().set_stats(OF_BOB, stats);
    harness.hang_up(ann, a);
    let report = last_report(&mut harness);
    let finding = &report.verdicts[0].verdict.findings[0];
    assert_eq!(finding.cause, Cause::CodecMismatch, "{report}");
    assert!(finding.evidence.contains("payload type 18; agreed was 8 PCMA, 0 PCMU"), "{}", finding.evidence);
}

#[test]
fn after_a_transfer_each_bridge_has_its_own_verdict_and_the_records_are_linked() {
    let options = DialOptions { mode: BridgeMode::Intercepting, ..DialOptions::default() };
    let (mut harness, (ann, a), (bob, b)) = connected(routed(contacts(&[(BOB, 0)], options)));
    let cat = harness.party(CAT);
    harness.run(Duration::from_secs(60));
    count(&harness, OF_ANN, 3_000, 3_000);
    count(&harness, OF_BOB, 3_000, 3_000);
    let now = harness.now();
    let to = Bytes::from(format!("<{}>", uri(CAT)));
    harness.endpoint(bob).refer(now, b, to, true, Vec::new()).unwrap();
    harness.settle();
    harness.answer_next(cat, SESSION);
    harness.answer(ann, a, Some(SESSION));
    harness.run(Duration::from_secs(60));
    // Ann's counters continue; nothing has come from Ann since. Cat's endpoint is the third.
    count(&harness, OF_ANN, 3_000, 6_000);
    count(&harness, EndpointId(3), 3_000, 0);
    harness.hang_up(ann, a);
    let report = last_report(&mut harness);
    let audio: Vec<Audio> = report.verdicts.iter().map(|talk| talk.verdict.audio).collect();
    assert_eq!(audio, [Audio::BothWays, Audio::OnlyFromCallee], "{report}");
    assert!(report.to_string().contains("blind transfer: sip:callee@192.0.2.13:5060"), "{report}");
    let records = harness.records();
    assert_eq!(records.len(), 3);
    assert!(records.iter().all(|it| it.linked == records[0].linked));
    assert!(records.iter().all(|it| it.ending.disposition == Disposition::Answered));
    assert_eq!(records[0].audio, Some(Audio::BothWays), "Bob's, who left first");
    harness.assert_nothing_left();
}

#[test]
fn a_record_waits_for_media_and_not_for_ever() {
    let (mut harness, (ann, a), _) = connected(to_bob());
    harness.media().say_nothing();
    harness.hang_up(ann, a);
    assert!(harness.records().is_empty());
    assert_eq!(harness.holdings().0.accounts, 1);
    harness.run(Duration::from_secs(3));
    let records = harness.records();
    assert_eq!((records.len(), records[0].quality), (2, None));
    harness.assert_nothing_left();
}

#[test]
fn refused_and_cancelled_calls_have_an_account_too() {
    let mut harness = to_bob();
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    harness.call(ann, "bob", Some(SESSION));
    let b = harness.next_call(bob);
    harness.reject(bob, b, 486);
    let report = last_report(&mut harness);
    let text = report.to_string();
    assert!(text.contains("refused: 486 Busy Here") && report.verdicts.is_empty(), "{text}");
    let a = harness.call(ann, "bob", Some(SESSION));
    let b = harness.next_call(bob);
    harness.ring(bob, b, 180, None);
    harness.cancel(ann, a);
    let report = last_report(&mut harness);
    assert!(signals(&report).contains(&"1 Out CANCEL".to_owned()), "{report}");
    let dispositions: Vec<_> = harness.records().iter().map(|it| it.ending.disposition).collect();
    assert_eq!(dispositions.len(), 4);
    harness.assert_nothing_left();
}

#[test]
fn the_messages_of_a_call_are_a_capture() {
    let (mut harness, (ann, a), _) = connected(to_bob());
    harness.hang_up(ann, a);
    let call = harness.ended_calls()[0];
    let pcap = harness.pcap(call).expect("a capture");
    let sent = harness.wire.len();
    let mut rest = &pcap[24..];
    let mut frames = 0;
    while let Some((head, behind)) = rest.split_first_chunk::<16>() {
        let length = u32::from_le_bytes([head[8], head[9], head[10], head[11]]) as usize;
        assert_eq!(&behind[12..16].len(), &4);
        assert!(behind[28..length].windows(4).any(|four| four == b"SIP/"), "frame {frames} is no SIP");
        rest = &behind[length..];
        frames += 1;
    }
    // The network lost nothing, so every message passed b2b.
    assert_eq!(frames, sent);
    harness.assert_nothing_left();
}

#[test]
fn accounts_of_ended_calls_are_bounded_and_the_latest_stay() {
    let mut harness = to_bob();
    let (ann, bob) = (harness.party(ANN), harness.party(BOB));
    for _ in 0..ENDED + 50 {
        harness.call(ann, "bob", Some(SESSION));
        let b = harness.next_call(bob);
        harness.reject(bob, b, 603);
        harness.take(ann);
    }
    let ended = harness.ended_calls();
    assert_eq!(ended.len(), ENDED);
    assert!(ended.windows(2).all(|two| two[0] > two[1]));
    assert_eq!(harness.holdings().0.accounts, 0);
}
