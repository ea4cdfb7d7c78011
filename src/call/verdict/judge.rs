//! From counters and negotiated facts to findings.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{Audio, CallFacts, Cause, Finding, LegFacts, Verdict, media_from};

/// Shorter talks are not judged.
const SHORTEST: Duration = Duration::from_secs(1);
/// Silence of this length at the end counts as a stopped stream.
const STOPPED_FOR: Duration = Duration::from_secs(10);
/// The assumed packet duration where a rate is needed.
const PACKET: Duration = Duration::from_millis(20);
/// Audible loss, in percent.
const LOSSY_PCT: f64 = 5.0;
/// Loss at which speech cannot be followed, in percent.
const HEAVY_PCT: f64 = 20.0;
/// Loss at which nothing is heard, in percent.
const LOST_PCT: f64 = 95.0;

/// Judges the audio of a call.
pub fn judge(facts: &CallFacts) -> Verdict {
    let talk = facts.answered.map(|answered| facts.end.saturating_duration_since(answered));
    let Some(talk) = talk.filter(|talk| *talk >= SHORTEST && !facts.direct) else {
        return Verdict { audio: Audio::NotJudged, findings: Vec::new() };
    };
    let mut findings = Vec::new();
    let from_a = direction(facts, talk, &facts.a, &facts.b, &mut findings);
    let from_b = direction(facts, talk, &facts.b, &facts.a, &mut findings);
    let is_heavy = |leg: &LegFacts| {
        let mut losses = [loss_from(leg), loss_to(leg)].into_iter().flatten();
        went_on(leg) || losses.any(|lost| lost > HEAVY_PCT)
    };
    let audio = match (from_a, from_b) {
        (true, true) if is_heavy(&facts.a) || is_heavy(&facts.b) => Audio::Lossy,
        (true, true) => Audio::BothWays,
        (true, false) => Audio::OnlyFromCaller,
        (false, true) => Audio::OnlyFromCallee,
        (false, false) => Audio::Nobody,
    };
    findings.sort_by_key(|finding| !finding.fault);
    Verdict { audio, findings }
}

/// Whether `to` could hear `from`; contrary evidence is added to the findings.
fn direction(
    facts: &CallFacts,
    talk: Duration,
    from: &LegFacts,
    to: &LegFacts,
    findings: &mut Vec<Finding>,
) -> bool {
    let enough = (talk.as_millis() / PACKET.as_millis() / 100).max(1) as u64;
    let [from_app, to_app] = [from, to].map(|leg| facts.application == Some(leg.leg));
    // When an application speaks and listens is its own affair, and a party may agree to listen only.
    let came = from_app || from.stats.received.packets >= enough || to_app && !from.direction.receive;
    let left = from_app || to_app || to.stats.sent.packets >= enough;

    let mut add = |cause: Cause, leg: &LegFacts, fault: bool, evidence: String| {
        findings.push(Finding { cause, leg: leg.leg, fault, evidence, advice: cause.advice() });
    };
    let mut heard = came && left;

    // Hold explains silence and is not a fault of the network.
    if let Some(held) = to.held {
        let until = format!("the party held for the last {:.1} s, until the end", held.as_secs_f64());
        add(Cause::HoldLeftOn, to, !heard, until);
    }
    let explained = to.held.is_some() || from.held.is_some() && !from.direction.receive;

    if !came && !explained {
        let (cause, evidence) = why_nothing_came(facts, from);
        add(cause, from, true, evidence);
    } else if came && !left && !explained {
        for (cause, evidence) in why_nothing_left(from, to) {
            let theirs = matches!(cause, Cause::SendFailed | Cause::HoldLeftOn);
            add(cause, if theirs { to } else { from }, true, evidence);
        }
    }
    if came && !explained {
        if let Some((cause, evidence)) = stopped(facts, from) {
            heard &= cause == Cause::Stopped || went_on(from);
            add(cause, from, true, evidence);
        }
        if from.stats.dropped.source > 0 && from.stats.sources.refused.is_some() {
            add(Cause::OtherAddress, from, false, refused(from));
        }
        if let Some((signalled, locked)) = differs(from) {
            add(Cause::AddressDiffers, from, false, format!("signalled {signalled}, sends from {locked}"));
        }
    }
    if left && let Some((cause, evidence)) = why_nothing_arrived(to) {
        heard = false;
        add(cause, to, true, evidence);
    }
    if heard {
        if let Some(lost) = loss_from(from) {
            add(Cause::Lossy, from, true, format!("{lost:.1} % of what the party sent did not arrive here"));
        }
        if let Some(lost) = loss_to(to).filter(|lost| *lost >= LOSSY_PCT) {
            add(Cause::Lossy, to, true, format!("the party reports {lost:.1} % of what we sent as lost"));
        }
    }
    heard
}

/// The reason why no significant number of packets was received from a party.
fn why_nothing_came(facts: &CallFacts, from: &LegFacts) -> (Cause, String) {
    if let Some(evidence) = replayed(from, facts.answered) {
        return (Cause::Replayed, evidence);
    }
    let (stats, dropped) = (&from.stats, &from.stats.dropped);
    let signalled = address(stats.sources.signalled);
    if stats.received.packets > 0 {
        let few = format!("only {} packets came, and then no more", stats.received.packets);
        return (Cause::Stopped, few);
    }
    if !from.direction.receive {
        return (Cause::SendsNothing, "its session description says recvonly or inactive".into());
    }
    if dropped.payload_type > 0 {
        return (Cause::CodecMismatch, mismatch(from));
    }
    if dropped.source > 0 {
        return (Cause::OtherAddress, refused(from));
    }
    if dropped.unauthenticated > 0 {
        let evidence = format!("{} packets were plain or under another key", dropped.unauthenticated);
        return (Cause::Unauthenticated, evidence);
    }
    if dropped.stream > 0 {
        return (
            Cause::StreamRefused,
            format!("{} packets of unproved streams were refused", dropped.stream),
        );
    }
    if dropped.other_protocol > 0 {
        return (Cause::OtherProtocol, format!("{} such packets and no RTP came", dropped.other_protocol));
    }
    if dropped.malformed > 0 {
        return (Cause::NotRtp, format!("{} packets came that are no RTP", dropped.malformed));
    }
    match (stats.sources.signalled, from.signalling) {
        (Some(media), Some(signalling)) if is_private(media.ip()) && media.ip() != signalling => {
            let evidence = format!(
                "it signalled {media}, a private address, from {signalling}; {} packets were sent to it and \
                 none came",
                stats.sent.packets
            );
            (Cause::BehindNat, evidence)
        }
        _ => {
            let evidence =
                format!("not one packet; signalled was {signalled}, {} were sent to it", stats.sent.packets);
            (Cause::NeverReceived, evidence)
        }
    }
}

/// The evidence for packets from an address that is not accepted.
fn refused(from: &LegFacts) -> String {
    let (sources, packets) = (&from.stats.sources, from.stats.dropped.source);
    let signalled = address(sources.signalled);
    match sources.refused {
        Some(refused) => format!(
            "{packets} packets were refused, the last from {refused}; signalled was {signalled}; `{}` would let \
             them in",
            media_from(refused.ip())
        ),
        None => format!("{packets} packets from elsewhere were refused; signalled was {signalled}"),
    }
}

/// The reasons why packets of one party were not sent to the other one. All causes that apply.
fn why_nothing_left(from: &LegFacts, to: &LegFacts) -> Vec<(Cause, String)> {
    let dropped = &from.stats.dropped;
    let came = from.stats.received.packets;
    let causes = [
        (Cause::CodecMismatch, dropped.payload_type, mismatch(from)),
        (Cause::Undecodable, dropped.undecodable, format!("{} of {came} packets", dropped.undecodable)),
        (
            Cause::NoDestination,
            dropped.unjoined,
            format!("{} of {came} packets were thrown away", dropped.unjoined),
        ),
        (
            Cause::SendFailed,
            dropped.send_failed + to.stats.dropped.send_failed,
            "the system refused the packets".into(),
        ),
        (
            Cause::HoldLeftOn,
            dropped.held,
            format!("{} of {came} packets went no further: the party does not receive", dropped.held),
        ),
    ];
    let mut found: Vec<_> = causes
        .into_iter()
        .filter(|(_, packets, _)| *packets > 0)
        .map(|(cause, _, evidence)| (cause, evidence))
        .collect();
    if found.is_empty() {
        found.push((Cause::NoDestination, format!("{came} packets came and none was forwarded")));
    }
    found
}

/// The reason to believe that packets sent to a party did not arrive.
fn why_nothing_arrived(to: &LegFacts) -> Option<(Cause, String)> {
    let sent = to.stats.sent.packets;
    let sources = &to.stats.sources;
    if to.unreachable > 0 && to.unreachable >= sent / 2 {
        let target = address(sources.locked.or(sources.signalled));
        return Some((
            Cause::Unreachable,
            format!("{} of {sent} packets to {target} came back", to.unreachable),
        ));
    }
    // If packets come from the party, their source is a known way back to it, whatever it signalled.
    if sources.locked.is_none()
        && let (Some(target), Some(signalling)) = (sources.signalled, to.signalling)
        && is_private(target.ip())
        && !is_private(signalling)
    {
        let evidence =
            format!("{sent} packets went to {target}; the party's signalling is from {signalling}");
        return Some((Cause::SentToPrivate, evidence));
    }
    if to.stats.rtcp.reports_nothing() {
        let reports = to.stats.rtcp.unreported;
        let evidence = format!("{sent} packets were sent to it; its last {reports} reports mention none");
        return Some((Cause::ReportsNothing, evidence));
    }
    let lost = loss_to(to).filter(|lost| *lost >= LOST_PCT)?;
    Some((Cause::LostOnTheWay, format!("the party's RTCP reports {lost:.0} % of {sent} packets as lost")))
}

fn mismatch(from: &LegFacts) -> String {
    let dropped = from.stats.dropped.payload_type;
    let agreed: Vec<String> = from.formats.iter().map(|(pt, name)| format!("{pt} {name}")).collect();
    let agreed = if agreed.is_empty() { "nothing".into() } else { agreed.join(", ") };
    match from.stats.payload_type_refused {
        Some(pt) => format!("{dropped} packets of payload type {pt}; agreed was {agreed}"),
        None => format!("{dropped} packets of other payload types; agreed was {agreed}"),
    }
}

/// Why and since when the stream was not heard, up to the end of the call.
fn stopped(facts: &CallFacts, from: &LegFacts) -> Option<(Cause, String)> {
    let last = from.stats.received.last?;
    let silent = facts.end.saturating_duration_since(last);
    if let Some(evidence) = replayed(from, facts.answered) {
        return Some((Cause::Replayed, evidence));
    }
    if silent < STOPPED_FOR || !from.direction.receive {
        return None;
    }
    let last = format!("the last packet came {:.1} s before the end", silent.as_secs_f64());
    match from.stats.dropped.unauthenticated {
        refused if refused >= (silent.as_millis() / PACKET.as_millis() / 2) as u64 => {
            let evidence = format!("{refused} packets were plain or under another key; of the others {last}");
            Some((Cause::Unauthenticated, evidence))
        }
        _ => Some((Cause::Stopped, last)),
    }
}

/// Whether the party was heard again after it had restarted its numbers, since they had caught up.
fn went_on(from: &LegFacts) -> bool {
    from.stats.replayed_since.is_some_and(|since| from.stats.received.last > Some(since))
}

/// The evidence for SRTP that restarted its numbers.
fn replayed(from: &LegFacts, answered: Option<std::time::Instant>) -> Option<String> {
    let (since, packets) = (from.stats.replayed_since?, from.stats.dropped.replayed);
    let after = answered.map(|answered| since.saturating_duration_since(answered).as_secs_f64());
    let when = after.map(|after| format!(", since {after:.1} s after the answer")).unwrap_or_default();
    Some(format!("{packets} packets with used numbers were dropped{when}"))
}

/// The signalled and the actual address, if the hosts differ. Another port is not reported.
fn differs(leg: &LegFacts) -> Option<(SocketAddr, SocketAddr)> {
    let (signalled, locked) = (leg.stats.sources.signalled?, leg.stats.sources.locked?);
    (signalled.ip().to_canonical() != locked.ip().to_canonical()).then_some((signalled, locked))
}

/// Audible loss of the party's packets, in percent.
fn loss_from(leg: &LegFacts) -> Option<f64> {
    let lost = 100.0 * leg.stats.lost as f64 / (leg.stats.lost + leg.stats.received.packets).max(1) as f64;
    (lost >= LOSSY_PCT).then_some(lost)
}

/// The loss that a party reports for packets sent to it, in percent.
fn loss_to(leg: &LegFacts) -> Option<f64> {
    leg.stats.far_loss_pct().filter(|lost| *lost > 0.0)
}

fn address(address: Option<SocketAddr>) -> String {
    address.map_or("nothing".into(), |address| address.to_string())
}

/// Whether an address is unreachable from outside its network.
fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let shared = a == 100 && (64..128).contains(&b); // RFC 6598
            ip.is_private() || shared || ip.is_link_local() || ip.is_loopback() || ip.is_unspecified()
        }
        IpAddr::V6(ip) => {
            ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_loopback() || ip.is_unspecified()
        }
    }
}
