use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::*;
use b2b_media::relay::EndpointStats;

const A: LegId = LegId(1);
const B: LegId = LegId(2);
const TALK: Duration = Duration::from_secs(60);

/// A minute of audio both ways between public addresses.
fn good() -> CallFacts {
    let answered = Instant::now();
    let end = answered + TALK;
    let leg = |leg, ip: &str| {
        let mut stats = EndpointStats::new(answered);
        let address = format!("{ip}:4000").parse().ok();
        for flow in [&mut stats.received, &mut stats.sent] {
            (flow.packets, flow.first, flow.last) = (3_000, Some(answered), Some(end));
        }
        (stats.sources.signalled, stats.sources.locked) = (address, address);
        let mut facts = LegFacts::new(leg, stats);
        facts.formats = vec![(0, "PCMU".into()), (101, "telephone-event".into())];
        facts.signalling = ip.parse().ok();
        facts
    };
    CallFacts {
        a: leg(A, "203.0.113.1"),
        b: leg(B, "198.51.100.2"),
        answered: Some(answered),
        end,
        application: None,
        direct: false,
    }
}

/// The caller talks to an application of b2b.
fn alone(why: impl Fn(&mut LegFacts)) -> CallFacts {
    let facts = good();
    let b = LegFacts::new(B, EndpointStats::new(facts.end));
    let mut facts = CallFacts { b, application: Some(B), ..facts };
    why(&mut facts.a);
    facts
}

/// No accepted packet came from this party.
fn mute(leg: &mut LegFacts) {
    leg.stats.received = Default::default();
    leg.stats.sources.locked = None;
}

/// No accepted packet came from B, so none went to A; `why` adds the cause.
fn b_mute(why: impl Fn(&mut LegFacts)) -> CallFacts {
    let mut facts = good();
    mute(&mut facts.b);
    facts.a.stats.sent = Default::default();
    why(&mut facts.b);
    facts
}

/// Packets came from B, and none went to A.
fn b_not_forwarded(why: impl Fn(&mut CallFacts)) -> CallFacts {
    let mut facts = good();
    facts.a.stats.sent = Default::default();
    why(&mut facts);
    facts
}

/// All packets were sent to B.
fn to_b(why: impl Fn(&mut LegFacts)) -> CallFacts {
    let mut facts = good();
    why(&mut facts.b);
    facts
}

struct Case {
    facts: CallFacts,
    audio: Audio,
    /// The legs and causes of the findings, faults first.
    faults: &'static [(LegId, Cause)],
    notes: &'static [(LegId, Cause)],
    /// Parts of the evidence of the first finding.
    evidence: &'static [&'static str],
}

fn case(
    facts: CallFacts,
    audio: Audio,
    faults: &'static [(LegId, Cause)],
    evidence: &'static [&'static str],
) -> Case {
    Case { facts, audio, faults, notes: &[], evidence }
}

fn cases() -> Vec<Case> {
    use Audio::*;
    let caller = OnlyFromCaller;
    vec![
        case(good(), BothWays, &[], &[]),
        case(b_mute(|_| ()), caller, &[(B, Cause::NeverReceived)], &["198.51.100.2:4000", "3000 were sent"]),
        case(
            {
                // Each waits for the other to send first.
                let mut facts = b_mute(|b| b.stats.sent = Default::default());
                mute(&mut facts.a);
                facts
            },
            Nobody,
            &[(A, Cause::NeverReceived), (B, Cause::NeverReceived)],
            &["203.0.113.1:4000"],
        ),
        case(
            b_mute(|b| b.stats.sources.signalled = "192.168.1.7:4000".parse().ok()),
            Nobody,
            &[(B, Cause::SentToPrivate), (B, Cause::BehindNat)],
            &["3000 packets went to 192.168.1.7:4000", "198.51.100.2"],
        ),
        case(
            b_mute(|b| {
                // The same private network for media and signalling: no NAT is involved.
                b.stats.sources.signalled = "192.168.1.7:4000".parse().ok();
                b.signalling = "192.168.1.7".parse().ok();
            }),
            caller,
            &[(B, Cause::NeverReceived)],
            &["192.168.1.7:4000"],
        ),
        case(
            b_mute(|b| {
                b.stats.dropped.source = 2_900;
                b.stats.sources.refused = "198.51.100.99:5000".parse().ok();
            }),
            caller,
            &[(B, Cause::OtherAddress)],
            &["2900", "198.51.100.99:5000", "198.51.100.2:4000", "media_from = [\"198.51.100.99\"]"],
        ),
        case(
            b_mute(|b| {
                b.stats.dropped.payload_type = 3_000;
                b.stats.payload_type_refused = Some(18);
            }),
            caller,
            &[(B, Cause::CodecMismatch)],
            &["3000 packets of payload type 18", "0 PCMU, 101 telephone-event"],
        ),
        case(b_mute(|b| b.stats.dropped.stream = 9), caller, &[(B, Cause::StreamRefused)], &["9 packets"]),
        case(b_mute(|b| b.stats.dropped.other_protocol = 7), caller, &[(B, Cause::OtherProtocol)], &["7"]),
        case(
            b_mute(|b| b.stats.dropped.unauthenticated = 8),
            caller,
            &[(B, Cause::Unauthenticated)],
            &["8 packets"],
        ),
        case(b_mute(|b| b.stats.dropped.malformed = 5), caller, &[(B, Cause::NotRtp)], &["5 packets"]),
        case(b_mute(|b| b.direction.receive = false), caller, &[(B, Cause::SendsNothing)], &["recvonly"]),
        case(b_mute(|b| b.stats.received.packets = 12), caller, &[(B, Cause::Stopped)], &["only 12 packets"]),
        case(
            b_not_forwarded(|facts| {
                facts.b.stats.dropped.payload_type = 3_000;
                facts.b.stats.payload_type_refused = Some(9);
            }),
            caller,
            &[(B, Cause::CodecMismatch)],
            &["payload type 9"],
        ),
        case(
            b_not_forwarded(|facts| facts.b.stats.dropped.undecodable = 2_999),
            caller,
            &[(B, Cause::Undecodable)],
            &["2999 of 3000"],
        ),
        case(
            b_not_forwarded(|facts| facts.b.stats.dropped.unjoined = 3_000),
            caller,
            &[(B, Cause::NoDestination)],
            &["3000 of 3000"],
        ),
        case(b_not_forwarded(|_| ()), caller, &[(B, Cause::NoDestination)], &["none was forwarded"]),
        case(
            b_not_forwarded(|facts| facts.a.stats.dropped.send_failed = 3_000),
            caller,
            &[(A, Cause::SendFailed)],
            &["refused"],
        ),
        case(
            b_not_forwarded(|facts| facts.b.stats.dropped.held = 3_000),
            caller,
            &[(A, Cause::HoldLeftOn)],
            &["does not receive"],
        ),
        case(
            b_not_forwarded(|facts| {
                facts.a.held = Some(Duration::from_millis(34_500));
                facts.a.direction.send = false;
                facts.b.stats.dropped.held = 3_000;
            }),
            caller,
            &[(A, Cause::HoldLeftOn)],
            &["34.5 s"],
        ),
        Case {
            // Audio went both ways before.
            notes: &[(A, Cause::HoldLeftOn)],
            ..case(
                {
                    let mut facts = good();
                    facts.a.held = Some(Duration::from_secs(20));
                    facts.a.direction.send = false;
                    facts.b.stats.received.last = facts.answered.map(|at| at + Duration::from_secs(40));
                    facts
                },
                BothWays,
                &[],
                &["20.0 s"],
            )
        },
        case(
            to_b(|b| b.stats.received.last = b.stats.received.first.map(|at| at + Duration::from_secs(26))),
            BothWays,
            &[(B, Cause::Stopped)],
            &["34.0 s before the end"],
        ),
        case(
            to_b(|b| {
                let hold = b.stats.received.first.map(|at| at + Duration::from_secs(40));
                (b.stats.received.last, b.stats.replayed_since) = (hold, hold);
                b.stats.dropped.replayed = 900;
            }),
            caller,
            &[(B, Cause::Replayed)],
            &["900 packets", "since 40.0 s after"],
        ),
        case(
            to_b(|b| {
                b.stats.replayed_since = b.stats.received.first.map(|at| at + Duration::from_secs(40));
                b.stats.dropped.replayed = 150;
            }),
            Lossy,
            &[(B, Cause::Replayed)],
            &["150 packets"],
        ),
        case(to_b(|b| b.stats.dropped.replayed = 3), BothWays, &[], &[]),
        case(
            to_b(|b| {
                b.stats.received.last = b.stats.received.first.map(|at| at + Duration::from_secs(40));
                b.stats.dropped.unauthenticated = 950;
            }),
            caller,
            &[(B, Cause::Unauthenticated)],
            &["950 packets", "20.0 s before the end"],
        ),
        case(to_b(|b| b.unreachable = 2_000), OnlyFromCallee, &[(B, Cause::Unreachable)], &["2000 of 3000"]),
        case(alone(|_| ()), BothWays, &[], &[]),
        case(alone(|a| a.stats.sent = Default::default()), BothWays, &[], &[]),
        case(alone(mute), OnlyFromCallee, &[(A, Cause::NeverReceived)], &["3000 were sent"]),
        case(
            alone(|a| {
                mute(a);
                a.direction.receive = false;
            }),
            BothWays,
            &[],
            &[],
        ),
        case(alone(|a| a.stats.rtcp.unreported = 9), caller, &[(A, Cause::ReportsNothing)], &["9 reports"]),
        case(alone(|a| a.stats.rtcp.far_lost = Some(1_000)), Lossy, &[(A, Cause::Lossy)], &["33.3 %"]),
        case(to_b(|b| b.unreachable = 3), BothWays, &[], &[]),
        case(
            to_b(|b| b.stats.rtcp.far_lost = Some(2_990)),
            OnlyFromCallee,
            &[(B, Cause::LostOnTheWay)],
            &["100 % of 3000"],
        ),
        case(
            to_b(|b| b.stats.rtcp.far_lost = Some(300)),
            BothWays,
            &[(B, Cause::Lossy)],
            &["10.0 %", "reports"],
        ),
        case(
            to_b(|b| b.stats.rtcp.far_lost = Some(900)),
            Lossy,
            &[(B, Cause::Lossy)],
            &["30.0 %", "bad audio"],
        ),
        case(to_b(|b| b.stats.rtcp.far_lost = Some(-5)), BothWays, &[], &[]),
        case(to_b(|b| b.stats.rtcp.unreported = 1), BothWays, &[], &[]),
        case(
            to_b(|b| b.stats.rtcp.unreported = 11),
            OnlyFromCallee,
            &[(B, Cause::ReportsNothing)],
            &["3000 packets were sent", "last 11 reports"],
        ),
        case(to_b(|b| b.stats.lost = 1_000), Lossy, &[(B, Cause::Lossy)], &["25.0 %", "arrive here"]),
        case(to_b(|b| b.stats.lost = 30), BothWays, &[], &[]),
        Case {
            notes: &[(B, Cause::AddressDiffers)],
            ..case(
                to_b(|b| b.stats.sources.signalled = "10.0.0.9:4000".parse().ok()),
                BothWays,
                &[],
                &["10.0.0.9:4000", "198.51.100.2:4000"],
            )
        },
        case(to_b(|b| b.stats.sources.signalled = "198.51.100.2:6000".parse().ok()), BothWays, &[], &[]),
        case(CallFacts { answered: None, ..b_mute(|_| ()) }, NotJudged, &[], &[]),
        case(CallFacts { direct: true, ..b_mute(|_| ()) }, NotJudged, &[], &[]),
        case(
            {
                let facts = b_mute(|_| ());
                CallFacts { answered: Some(facts.end - Duration::from_millis(900)), ..facts }
            },
            NotJudged,
            &[],
            &[],
        ),
    ]
}

#[test]
fn every_case_has_its_cause_and_its_evidence() {
    for (number, case) in cases().into_iter().enumerate() {
        let verdict = judge(&case.facts);
        let text = verdict.to_string();
        assert_eq!(verdict.audio, case.audio, "case {number}: {text}");
        let of = |fault: bool| {
            let findings = verdict.findings.iter().filter(move |finding| finding.fault == fault);
            findings.map(|finding| (finding.leg, finding.cause)).collect::<HashSet<_>>()
        };
        assert_eq!(of(true), case.faults.iter().copied().collect(), "case {number}: {text}");
        assert_eq!(of(false), case.notes.iter().copied().collect(), "case {number}: {text}");
        for words in case.evidence {
            assert!(text.contains(words), "case {number}: no '{words}' in: {text}");
        }
        let fault = !case.faults.is_empty();
        assert_eq!(verdict.is_fault(), fault, "case {number}: {text}");
    }
}

#[test]
fn the_table_has_every_cause() {
    let seen: HashSet<Cause> =
        cases().iter().flat_map(|case| judge(&case.facts).findings).map(|finding| finding.cause).collect();
    let missing: Vec<_> = Cause::ALL.iter().filter(|cause| !seen.contains(cause)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn either_side_is_judged_alike() {
    for (number, case) in cases().into_iter().enumerate() {
        let mut turned = case.facts.clone();
        std::mem::swap(&mut turned.a, &mut turned.b);
        let (verdict, other) = (judge(&case.facts), judge(&turned));
        let mirrored = match verdict.audio {
            Audio::OnlyFromCaller => Audio::OnlyFromCallee,
            Audio::OnlyFromCallee => Audio::OnlyFromCaller,
            same => same,
        };
        assert_eq!(other.audio, mirrored, "case {number}");
        let set = |verdict: &Verdict| {
            let findings = verdict.findings.iter();
            findings
                .map(|finding| (finding.leg, finding.cause, finding.evidence.clone()))
                .collect::<HashSet<_>>()
        };
        assert_eq!(set(&verdict), set(&other), "case {number}");
    }
}

#[test]
fn names_are_those_of_the_json_and_every_cause_says_what_to_do() {
    for cause in Cause::ALL.iter().copied() {
        assert_eq!(serde_json::to_value(cause).unwrap(), cause.as_str());
        assert!(cause.advice().ends_with('.') && !cause.to_string().is_empty());
    }
}

#[test]
fn a_verdict_reads_as_words() {
    let verdict = judge(&b_mute(|b| {
        b.stats.dropped.payload_type = 40;
        b.stats.payload_type_refused = Some(18);
    }));
    let text = verdict.to_string();
    assert!(
        text.starts_with(
            "one-way audio: the callee was not heard\n\
             - leg 2: codec mismatch: 40 packets of payload type 18; agreed was 0 PCMU, 101 telephone-event. Let"
        ),
        "{text}"
    );
    let json = serde_json::to_value(&verdict).unwrap();
    assert_eq!(
        (&json["audio"], &json["findings"][0]["cause"]),
        (&"only_from_caller".into(), &"codec_mismatch".into())
    );
}
