//! What a call detail record says.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::call_fsm::CallDirection;
use crate::event::Quality;
use crate::failure::{self, cause};
use crate::leg_fsm::TerminationCause;
use crate::verdict::Audio;
use crate::{CallId, LegId};
use b2b_base::util::redact::Redaction;

/// One leg's life. The times after `start` are offsets on the monotonic clock, so that
/// durations are right whatever happens to the clock on the wall.
#[derive(Debug, Clone, PartialEq)]
pub struct Cdr {
    /// The leg's call.
    pub call: CallId,
    /// The call that this one came from by transfer, or itself: records with the same
    /// one belong together.
    pub linked: CallId,
    /// The leg.
    pub leg: LegId,
    /// Which side of the leg we were on.
    pub direction: CallDirection,
    /// The leg's Call-ID on the wire.
    pub sip_call_id: String,
    /// Who called: number or URI.
    pub caller: String,
    /// The display name of the caller; `None`: it has none.
    pub caller_name: Option<String>,
    /// Who was called.
    pub callee: String,
    /// The gateway that it came from or went to.
    pub gateway: Option<String>,
    /// Where the party's signalling was.
    pub remote: Option<SocketAddr>,
    /// What was noted on its call: names and values.
    pub variables: Vec<(String, String)>,
    /// What the leg's media agreed on at the end.
    pub codec: Option<String>,
    /// INVITE received or sent.
    pub start: SystemTime,
    /// The first 18x, after `start`.
    pub rang: Option<Duration>,
    /// 2xx, after `start`.
    pub answered: Option<Duration>,
    /// The end, after `start`.
    pub ended: Duration,
    /// How it ended.
    pub ending: Ending,
    /// How the call's audio went.
    pub audio: Option<Audio>,
    /// The leg's media in numbers; none: it had no media.
    pub quality: Option<Quality>,
    /// The route that the call took.
    pub route: Option<String>,
    /// The user who has redirected the call to here, or the number that has.
    pub diverted_by: Option<String>,
    /// What a trusted gateway says that came of verifying the caller's number (`verstat`).
    pub verstat: Option<String>,
}

/// What became of a leg, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Disposition {
    /// There was a 2xx.
    #[serde(rename = "ANSWERED")]
    Answered,
    /// Nobody took it in time, or nobody is there: 408 or 480.
    #[serde(rename = "NO ANSWER")]
    NoAnswer,
    /// The called party is busy: 486 or 600.
    #[serde(rename = "BUSY")]
    Busy,
    /// The caller gave up before the answer.
    #[serde(rename = "CANCELLED")]
    Cancelled,
    /// Every other end without an answer.
    #[serde(rename = "FAILED")]
    Failed,
}

/// How a leg ended, as records have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// In a word.
    pub disposition: Disposition,
    /// The Q.850 cause, 1 to 127.
    pub q850: u8,
    /// The final status of the INVITE.
    pub sip_status: Option<u16>,
    /// Who ended it: `local` (b2b or the other leg) or `remote`.
    pub by: HangupBy,
}

/// Which side ended a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HangupBy {
    /// We ended it, or another leg of the call did.
    Local,
    /// The party on this leg ended it.
    Remote,
}

impl Ending {
    /// From a leg's last word. `q850` is what a Reason header field said (RFC 3326); it
    /// goes before what the status comes to. `direction` says who a CANCEL is from.
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
            T::Protocol { .. } => (None, cause::PROTOCOL_ERROR, HangupBy::Local),
        };
        let disposition = match status {
            _ if answered => Disposition::Answered,
            Some(486 | 600) => Disposition::Busy,
            Some(408 | 480) => Disposition::NoAnswer,
            Some(487) => Disposition::Cancelled,
            // Hung up before the answer, without a status: it was given up.
            None if general == cause::NORMAL_CLEARING => Disposition::Cancelled,
            _ => Disposition::Failed,
        };
        let sip_status = if answered { Some(200) } else { status };
        Ending { disposition, q850: q850.unwrap_or(general), sip_status, by }
    }
}

/// The line, in the order that people read it in.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(with = "crate::event::rfc3339")]
    start: SystemTime,
    #[serde(serialize_with = "optional_time")]
    answer: Option<SystemTime>,
    #[serde(with = "crate::event::rfc3339")]
    end: SystemTime,
    /// Whole seconds from start and from answer to end, and the same in milliseconds.
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
    call_id: CallId,
    linked_id: CallId,
    leg_id: LegId,
    sip_call_id: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    variables: BTreeMap<&'a str, &'a str>,
}

impl Cdr {
    /// The record as a line of JSON, with its line feed.
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
            call_id: self.call,
            linked_id: self.linked,
            leg_id: self.leg,
            sip_call_id: &self.sip_call_id,
            variables: self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
        };
        // Strings, numbers and nothing else: it cannot fail.
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
