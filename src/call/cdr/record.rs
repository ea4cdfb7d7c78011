//! The contents of a call detail record.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::VoiceAgentSums;
use crate::call_fsm::CallDirection;
use crate::event::Quality;
use crate::failure::{self, cause};
use crate::leg_fsm::TerminationCause;
use crate::verdict::Audio;
use crate::{CallId, LegId};
use b2b_base::util::redact::Redaction;

/// The record of one leg. Times after `start` are offsets on the monotonic clock, so durations are correct
/// even if the wall clock is changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cdr {
    /// The leg's call.
    pub call: CallId,
    /// The call from which this one was transferred, or this call: records with the same value belong
    /// together.
    pub linked: CallId,
    /// The leg.
    pub leg: LegId,
    /// The direction of the leg.
    pub direction: CallDirection,
    /// The Call-ID of the leg's dialog.
    pub sip_call_id: String,
    /// The caller: number or URI.
    pub caller: String,
    /// The display name of the caller; `None` without one.
    pub caller_name: Option<String>,
    /// The called party.
    pub callee: String,
    /// The gateway that the call came from or went to.
    pub gateway: Option<String>,
    /// The address of the party's signalling.
    pub remote: Option<SocketAddr>,
    /// The variables of the call: names and values.
    pub variables: Vec<(String, String)>,
    /// The negotiated codec at the end.
    pub codec: Option<String>,
    /// When the INVITE was received or sent.
    pub start: SystemTime,
    /// The time of the first 18x after `start`.
    pub rang: Option<Duration>,
    /// The time of the 2xx after `start`.
    pub answered: Option<Duration>,
    /// The time of the end after `start`.
    pub ended: Duration,
    /// How it ended.
    pub ending: Ending,
    /// The quality of the call's audio.
    pub audio: Option<Audio>,
    /// Statistics of the leg's media; `None` without media.
    pub quality: Option<Quality>,
    /// What voice agents did on the leg; `None`: it had none.
    pub voice_agent: Option<VoiceAgentSums>,
    /// The route that the call took.
    pub route: Option<String>,
    /// The user or number that redirected the call here.
    pub diverted_by: Option<String>,
    /// The verification status of the caller's number, as a trusted gateway gives it (`verstat`).
    pub verstat: Option<String>,
    /// How many deaths of the server's process the call has outlived.
    pub resumed: u32,
}

/// The outcome of a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Disposition {
    /// A 2xx was received or sent.
    #[serde(rename = "ANSWERED")]
    Answered,
    /// No answer in time, or the party is not available: 408 or 480.
    #[serde(rename = "NO ANSWER")]
    NoAnswer,
    /// The called party is busy: 486 or 600.
    #[serde(rename = "BUSY")]
    Busy,
    /// The caller hung up before the answer.
    #[serde(rename = "CANCELLED")]
    Cancelled,
    /// Any other end without an answer.
    #[serde(rename = "FAILED")]
    Failed,
}

/// How a leg ended, for its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// The outcome.
    pub disposition: Disposition,
    /// The Q.850 cause, 1 to 127.
    pub q850: u8,
    /// The final status of the INVITE.
    pub sip_status: Option<u16>,
    /// The side that ended it: `local` (b2b or the other leg) or `remote`.
    pub by: HangupBy,
}

/// The side that ended a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HangupBy {
    /// b2b or another leg of the call ended it.
    Local,
    /// The party on this leg ended it.
    Remote,
}

impl Ending {
    /// Derived from a leg's termination cause. `q850` is the cause of a Reason header field (RFC 3326); it
    /// takes precedence over the one derived from the status. `direction` decides which side sent a CANCEL.
    pub fn new(
        cause: &TerminationCause,
        answered: bool,
        direction: CallDirection,
        q850: Option<u8>,
    ) -> Ending {
        use TerminationCause as T;
        let (status, general, by) = match cause {
            T::LocalHangup | T::ByeUnanswered => (None, cause::NORMAL_CLEARING, HangupBy::Local),
            T::RemoteHangup => (None, cause::NORMAL_CLEARING, HangupBy::Remote),
            T::Cancelled => (
                Some(487),
                cause::NORMAL_CLEARING,
                match direction {
                    CallDirection::Inbound => HangupBy::Remote,
                    CallDirection::Outbound => HangupBy::Local,
                },
            ),
            T::Rejected { status } => (Some(*status), failure::q850_of(*status), HangupBy::Local),
            T::Failed { status, .. } => (Some(*status), failure::q850_of(*status), HangupBy::Remote),
            T::MediaTimeout | T::MediaLost | T::SessionExpired => {
                (None, cause::RECOVERY_ON_TIMER_EXPIRY, HangupBy::Local)
            }
            T::ProcessLost => (None, cause::TEMPORARY_FAILURE, HangupBy::Local),
            T::Protocol { .. } => (None, cause::PROTOCOL_ERROR, HangupBy::Local),
        };
        let disposition = match status {
            _ if answered => Disposition::Answered,
            Some(486 | 600) => Disposition::Busy,
            Some(408 | 480) => Disposition::NoAnswer,
            Some(487) => Disposition::Cancelled,
            // Hung up before the answer without a status: the call was cancelled.
            None if general == cause::NORMAL_CLEARING => Disposition::Cancelled,
            _ => Disposition::Failed,
        };
        let sip_status = if answered { Some(200) } else { status };
        Ending { disposition, q850: q850.unwrap_or(general), sip_status, by }
    }
}

/// The line in JSON, with its keys in reading order.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(with = "crate::event::rfc3339")]
    start: SystemTime,
    #[serde(serialize_with = "optional_time")]
    answer: Option<SystemTime>,
    #[serde(with = "crate::event::rfc3339")]
    end: SystemTime,
    /// Whole seconds from start to end and from answer to end, and the same in milliseconds.
    duration: u64,
    billsec: u64,
    duration_ms: u64,
    billmsec: u64,
    ring_ms: Option<u64>,
    disposition: Disposition,
    hangup_cause: &'static str,
    hangup_cause_q850: u8,
    hangup_by: HangupBy,
    sip_status: Option<u16>,
    direction: CallDirection,
    caller: String,
    caller_name: Option<String>,
    callee: String,
    gateway: Option<&'a str>,
    route: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    diverted_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verstat: Option<&'a str>,
    remote: Option<SocketAddr>,
    codec: Option<&'a str>,
    audio: Option<Audio>,
    #[serde(flatten)]
    quality: Option<Quality>,
    #[serde(skip_serializing_if = "Option::is_none")]
    voice_agent: Option<VoiceAgentSums>,
    call_id: CallId,
    linked_id: CallId,
    leg_id: LegId,
    sip_call_id: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    variables: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "is_none")]
    resumed: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_none(count: &u32) -> bool {
    *count == 0
}

impl Cdr {
    /// The record as a line of JSON, including the line feed.
    pub fn line(&self, redaction: Redaction) -> Vec<u8> {
        let billed = self.answered.map_or(Duration::ZERO, |answered| self.ended.saturating_sub(answered));
        let shown = |text: &str| redaction.of(text).to_string();
        let line = Line {
            start: self.start,
            answer: self.answered.map(|answered| later(self.start, answered)),
            end: later(self.start, self.ended),
            duration: self.ended.as_secs(),
            billsec: billed.as_secs(),
            duration_ms: millis(self.ended),
            billmsec: millis(billed),
            ring_ms: self.rang.map(millis),
            disposition: self.ending.disposition,
            hangup_cause: failure::q850_name(self.ending.q850),
            hangup_cause_q850: self.ending.q850,
            hangup_by: self.ending.by,
            sip_status: self.ending.sip_status,
            direction: self.direction,
            caller: shown(&self.caller),
            caller_name: self.caller_name.as_deref().map(shown),
            callee: shown(&self.callee),
            gateway: self.gateway.as_deref(),
            route: self.route.as_deref(),
            diverted_by: self.diverted_by.as_deref().map(shown),
            verstat: self.verstat.as_deref(),
            remote: self.remote,
            codec: self.codec.as_deref(),
            audio: self.audio,
            quality: self.quality,
            voice_agent: self.voice_agent,
            call_id: self.call,
            linked_id: self.linked,
            leg_id: self.leg,
            sip_call_id: &self.sip_call_id,
            variables: self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
            resumed: self.resumed,
        };
        // The line has only strings, numbers and maps of strings: serialization cannot fail.
        let mut json = serde_json::to_vec(&line).unwrap_or_default();
        json.push(b'\n');
        json
    }
}

fn later(start: SystemTime, by: Duration) -> SystemTime {
    start.checked_add(by).unwrap_or(start)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn optional_time<S: serde::Serializer>(time: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => crate::event::rfc3339::serialize(time, serializer),
        None => serializer.serialize_none(),
    }
}
