//! How events appear in a call's timeline.

use std::time::Instant;

use super::super::call_fsm::CallDirection;
use super::super::event::{
    DigitBy, Event, InfoSaid, MediaRefused, NextHop, Playback, Quality, RecordingNews, TransferKind,
};
use super::super::leg_fsm::{LegState, TerminationCause};
use super::super::timeline::Timeline;
use crate::bridge_fsm::{BridgeState, HeldBy};
use b2b_base::util::unheard;

/// The fact under which a pressed key is recorded.
pub(super) const DIGIT: &str = "digit";

/// Adds an event to the timeline, if it is relevant to the call.
pub(super) fn note(timeline: &mut Timeline, now: Instant, event: &Event) {
    match event {
        Event::LegCreated { leg, direction, peer, gateway, .. } => {
            timeline.leg(*leg, peer);
            if *direction == CallDirection::Outbound {
                let by = gateway.as_deref().map(|gateway| format!("{peer} by gateway {gateway}"));
                timeline.decision(now, Some(*leg), "dial", by.as_deref().unwrap_or(peer));
            }
        }
        Event::LegState { leg, to, cause, .. } => {
            let cause = cause.as_ref().map(words).unwrap_or_default();
            timeline.state(now, Some(*leg), leg_state(*to), &cause);
        }
        Event::CallState { to, .. } => timeline.state(now, None, &to.as_str().replace('_', " "), ""),
        Event::BridgeCreated { a, b, mode, .. } => {
            let mode = format!("legs {} and {}, {mode:?}", a.0, b.0).to_lowercase();
            timeline.decision(now, None, "bridge", &mode);
        }
        Event::BridgeState { to, held_by, .. } => {
            let (state, by) = (bridge_state(*to), if *to == BridgeState::Held { by(*held_by) } else { "" });
            timeline.state(now, None, state, by);
        }
        Event::Hold { leg, held, .. } => {
            timeline.decision(now, Some(*leg), if *held { "holds" } else { "resumes" }, "");
        }
        Event::OnHold { leg, on, .. } => {
            timeline.decision(now, Some(*leg), if *on { "put on hold" } else { "taken back" }, "");
        }
        Event::LookupFailed { target, status, error, .. } => {
            timeline.decision(now, None, "lookup failed", format_args!("{target}: {status} {error}"));
        }
        Event::EmergencyCall(it) => {
            timeline.decision(
                now,
                Some(it.leg),
                "emergency call",
                format_args!("{} by {}", it.number, it.gateway),
            );
        }
        Event::DialFailed { leg, status, reason, next, .. } => {
            let next = if *next { "; the next one is tried" } else { "" };
            timeline.decision(now, Some(*leg), "refused", format_args!("{status} {reason}{next}"));
        }
        Event::DialWon { leg, cancelled, .. } => {
            timeline.decision(now, Some(*leg), "answered first", format_args!("{cancelled} cancelled"));
        }
        Event::NextHop(NextHop { leg, address, followed, why, .. }) => {
            let way = if *followed { "" } else { "not followed, sent over the party's own flow: " };
            timeline.decision(now, Some(*leg), "next hop", format_args!("{address}: {way}{why}"));
        }
        Event::Redirected { leg, to, .. } => timeline.decision(now, Some(*leg), "redirected", to),
        Event::NotFollowed { leg, way, to, why, .. } => {
            timeline.decision(now, Some(*leg), "not followed", format_args!("{way} to {to}: {why}"));
        }
        Event::TransferRequested { leg, kind, target, .. } => {
            let kind = match kind {
                TransferKind::Blind => "blind transfer",
                TransferKind::Attended => "attended transfer",
            };
            timeline.decision(now, Some(*leg), kind, target);
        }
        Event::TransferProgress { leg, status, .. } => {
            timeline.decision(now, Some(*leg), "transfer goes on", format_args!("{status}"));
        }
        Event::TransferEnded { leg, status, .. } => {
            timeline.decision(now, Some(*leg), "transfer ended", format_args!("{status}"));
        }
        Event::MediaNegotiated { leg, codec, transcoded, .. } => {
            let note = if *transcoded { "transcoded" } else { "" };
            timeline.media(now, *leg, codec, note);
        }
        Event::MediaStarted { leg, from, .. } => {
            timeline.media(now, *leg, "first packet", format_args!("from {from}"));
        }
        Event::MediaSourceChanged { leg, from, to, .. } => {
            timeline.media(now, *leg, "source changed", format_args!("{from} to {to}"));
        }
        Event::MediaRefused(MediaRefused { leg, from, line, .. }) => {
            timeline.media(now, *leg, "refused", format_args!("from {from}: {line} would let it in"));
        }
        Event::MediaWithheld { leg, to, .. } => {
            let why = format_args!("from {to}: nothing ever came from there");
            timeline.media(now, *leg, "withheld", why);
        }
        Event::MediaReplayed { leg, .. } => {
            timeline.media(now, *leg, "replayed", "SRTP with used numbers only is dropped");
        }
        Event::MediaTimeout { leg, silent_ms, .. } => {
            timeline.media(now, *leg, "silence", format_args!("{:.1} s", *silent_ms as f64 / 1_000.0));
        }
        Event::Digit { leg, digit, duration_ms, by, .. } => {
            let by = match by {
                DigitBy::TelephoneEvent => "RFC 4733",
                DigitBy::Info => "INFO",
                DigitBy::Tone => "tone",
            };
            let key = digit.map_or_else(|| "hidden".to_owned(), String::from);
            timeline.media(now, *leg, DIGIT, format_args!("{key} {by} {duration_ms} ms"));
        }
        Event::Quality { leg, quality, .. } => timeline.media(now, *leg, "counters", &counters(quality)),
        Event::Verdict { text, .. } => timeline.decision(now, None, "verdict", text),
        Event::Recording(RecordingNews { leg, on, file, error, .. }) => {
            let what = if *on { "recording begins" } else { "recording ends" };
            timeline.decision(now, *leg, what, error.as_ref().or(file.as_ref()).map_or("", String::as_str));
        }
        // One line per prompt: calls with many prompts leave room for other records.
        Event::Playback(Playback { leg, on: false, complete, .. }) => {
            let what = if *complete == Some(false) { "prompt stopped" } else { "prompt ended" };
            timeline.decision(now, Some(*leg), what, "");
        }
        Event::Info(InfoSaid { leg, content_type, size, passed_on, .. }) => {
            let way = if *passed_on { "" } else { ", ends here" };
            timeline.decision(now, Some(*leg), "INFO", format_args!("{content_type}, {size} octets{way}"));
        }
        Event::HandlerFailed { handler, error, .. } => {
            timeline.decision(now, None, "handler failed", format_args!("{handler}: {error}"));
        }
        Event::Application { app, name, data, .. } => {
            match ["error", "mark", "text"].iter().find_map(|field| data[field].as_str()) {
                Some(said) => timeline.decision(now, None, app, format_args!("{name}: {said}")),
                None => timeline.decision(now, None, app, name),
            }
        }
        Event::CommandCompleted { command, id, .. } => {
            timeline.decision(now, None, "command", format_args!("{command} ({id})"));
        }
        Event::CommandFailed { command, id, error, .. } => {
            timeline.decision(now, None, "command failed", format_args!("{command} ({id}): {error}"));
        }
        Event::IllegalEvent { what, .. } => timeline.decision(now, None, "illegal event", what),
        _ => {}
    }
}

fn counters(quality: &Quality) -> String {
    let Quality { packets_received, packets_sent, packets_lost, jitter_ms, .. } = quality;
    let mos = quality.mos.map(|mos| format!(", MOS {mos}")).unwrap_or_default();
    format!("in {packets_received}, out {packets_sent}, lost {packets_lost}, jitter {jitter_ms} ms{mos}")
}

/// How a leg ended, as text.
pub(super) fn words(cause: &TerminationCause) -> String {
    match cause {
        TerminationCause::LocalHangup => "hung up by b2b".to_owned(),
        TerminationCause::ByeUnanswered => "BYE was not answered".to_owned(),
        TerminationCause::RemoteHangup => "hung up by the party".to_owned(),
        TerminationCause::Cancelled => "cancelled".to_owned(),
        TerminationCause::Rejected { status } => format!("refused with {status}"),
        TerminationCause::Failed { status, reason } => unheard::in_words(*status, reason),
        TerminationCause::MediaTimeout => "no RTP for too long".to_owned(),
        TerminationCause::MediaLost => "its media was lost".to_owned(),
        TerminationCause::ProcessLost => "lost with the server's process".to_owned(),
        TerminationCause::Protocol { message } => message.clone(),
        TerminationCause::SessionExpired => "the session was not refreshed".to_owned(),
    }
}

fn leg_state(state: LegState) -> &'static str {
    match state {
        LegState::Created => "created",
        LegState::Ringing => "ringing",
        LegState::EarlyMedia => "early media",
        LegState::Answered => "answered",
        LegState::Destroyed => "destroyed",
        LegState::Failed => "failed",
    }
}

fn bridge_state(state: BridgeState) -> &'static str {
    match state {
        BridgeState::Created => "created",
        BridgeState::Active => "active",
        BridgeState::Held => "held",
        BridgeState::Terminated => "terminated",
    }
}

fn by(held_by: HeldBy) -> &'static str {
    match held_by {
        HeldBy::Nobody => "",
        HeldBy::A => "by the first leg",
        HeldBy::B => "by the second leg",
        HeldBy::Both => "by both legs",
    }
}
