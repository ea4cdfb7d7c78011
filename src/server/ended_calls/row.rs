//! A call, put together from the records of its legs, which arrive one after the other as legs end.

use std::time::{Duration, SystemTime};

use serde::Serialize;
use utoipa::ToSchema;

use b2b_call::call_fsm::CallDirection;
use b2b_call::cdr::{Cdr, Disposition, HangupBy, VoiceAgentSums};
use b2b_call::failure;
use b2b_call::verdict::Audio;

/// The party that ended a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    Caller,
    Callee,
    /// The server: a limit, a command, an application, or no answer.
    Server,
}

/// An ended call.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct EndedCall {
    /// Its place in the list: later calls have higher numbers, over restarts, too.
    pub id: i64,
    /// Its number; `GET /calls/{call}` returns its account, if `account` is true.
    pub call: u64,
    /// Whether the call is of this process, of which the latest have an account, or its account was stored when
    /// its process stopped.
    pub account: bool,
    /// The call that it was transferred from, or itself, in the same process.
    pub linked: u64,
    #[serde(with = "b2b_call::event::rfc3339")]
    #[schema(value_type = String)]
    pub began: SystemTime,
    pub duration_ms: u64,
    /// From the INVITE to the first ringing.
    pub ring_ms: Option<u64>,
    /// From the answer to the end; null: not answered.
    pub talk_ms: Option<u64>,
    /// The caller; for a call that began at the server, the party that was called first.
    pub from: String,
    pub from_name: Option<String>,
    pub to: String,
    /// The party of another leg: of the last one that was answered, otherwise of the first that ended.
    pub called: Option<String>,
    /// Signalling address of the first leg.
    pub source: Option<String>,
    pub route: Option<String>,
    /// The gateways that it came in and went out through.
    pub gateway_in: Option<String>,
    pub gateway_out: Option<String>,
    /// Result of the first leg: answered, no_answer, busy, cancelled or failed.
    pub disposition: &'static str,
    /// Its Q.850 cause, by number and by name.
    pub q850: u8,
    pub cause: &'static str,
    /// The final status of the INVITE.
    pub sip_status: Option<u16>,
    pub ended_by: EndedBy,
    /// Which parties had audio; null: it had no media.
    pub audio: Option<Audio>,
    /// The worst of its legs (G.107).
    pub mos: Option<f64>,
    /// Packets lost on the way here, the worst of its legs.
    pub lost_pct: Option<f64>,
    /// On the first leg, and on another leg that was answered.
    pub codec: Option<String>,
    pub codec_out: Option<String>,
    pub legs: u32,
    /// The file of its recording.
    pub recording: Option<String>,
    /// What voice agents did on the first leg that had one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub voice_agent: Option<VoiceAgentSums>,
}

/// Which parties hung up, as bits, since legs end in any order.
const BY_CALLER: u8 = 1;
const BY_CALLEE: u8 = 2;
/// An unanswered leg was ended by the remote party; for an answered call that does not count as the end.
const BY_REFUSAL: u8 = 4;

/// A call being put together, as stored in the database. Times are in ms, `start` since 1970.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Row {
    pub call: i64,
    pub linked: i64,
    pub start: i64,
    pub inbound: bool,
    pub duration: i64,
    pub ring: Option<i64>,
    pub talk: Option<i64>,
    pub caller: String,
    pub caller_name: Option<String>,
    pub callee: String,
    /// The called party of another leg.
    pub other: Option<String>,
    pub source: Option<String>,
    pub route: Option<String>,
    pub gateway: Option<String>,
    pub gateway_out: Option<String>,
    pub disposition: u8,
    pub q850: u8,
    pub status: Option<u16>,
    pub by: u8,
    pub audio: Option<u8>,
    pub mos: Option<f64>,
    pub lost_pct: Option<f64>,
    pub codec: Option<String>,
    pub codec_out: Option<String>,
    pub legs: u32,
    pub recording: Option<String>,
    pub voice_agent: Option<VoiceAgentSums>,
}

/// In the database's numbering.
pub const DISPOSITIONS: [(Disposition, &str); 5] = [
    (Disposition::Answered, "answered"),
    (Disposition::NoAnswer, "no_answer"),
    (Disposition::Busy, "busy"),
    (Disposition::Cancelled, "cancelled"),
    (Disposition::Failed, "failed"),
];

/// In the database's numbering.
pub const AUDIO: [(Audio, &str); 6] = [
    (Audio::BothWays, "both_ways"),
    (Audio::OnlyFromCaller, "only_from_caller"),
    (Audio::OnlyFromCallee, "only_from_callee"),
    (Audio::Nobody, "nobody"),
    (Audio::NotJudged, "not_judged"),
    (Audio::Lossy, "lossy"),
];

/// The database's number of a value.
fn number<T: PartialEq>(names: &[(T, &str)], value: &T) -> u8 {
    (0..).zip(names).find(|(_, (it, _))| it == value).map_or(u8::MAX, |(number, _)| number)
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl Row {
    /// Adds one more leg's record.
    pub fn add(&mut self, record: &Cdr) {
        let start = ms(record.start.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default());
        let inbound = record.direction == CallDirection::Inbound;
        let is_first = self.legs == 0 || (!inbound, start) < (!self.inbound, self.start);
        let answered = record.answered.is_some();
        if is_first {
            let before = std::mem::replace(&mut self.gateway, record.gateway.clone());
            self.gateway_out = self.gateway_out.take().or(before);
            let before = std::mem::take(&mut self.callee);
            self.other = self.other.take().or(Some(before).filter(|_| self.legs > 0));
            let before = std::mem::replace(&mut self.codec, record.codec.clone());
            self.codec_out = self.codec_out.take().or(before);
            // The leg taken for the caller's turns out to be another party's.
            if self.by & BY_CALLER != 0 {
                self.by = self.by & !BY_CALLER | if self.talk.is_some() { BY_CALLEE } else { BY_REFUSAL };
            }
            self.call = record.call.0.cast_signed();
            self.linked = record.linked.0.cast_signed();
            (self.start, self.inbound) = (start, inbound);
            self.duration = ms(record.ended);
            self.ring = record.rang.map(ms);
            self.talk = record.answered.map(|answered| ms(record.ended.saturating_sub(answered)));
            self.caller.clone_from(&record.caller);
            self.caller_name.clone_from(&record.caller_name);
            self.callee.clone_from(&record.callee);
            self.source = record.remote.map(|remote| remote.to_string());
            self.disposition = number(&DISPOSITIONS, &record.ending.disposition);
            self.q850 = record.ending.q850;
            self.status = record.ending.sip_status;
        } else if answered || self.other.is_none() {
            // An answered leg tells more than one that only rang.
            self.other = Some(record.callee.clone());
            self.gateway_out.clone_from(&record.gateway);
            self.codec_out.clone_from(&record.codec);
        }
        self.by |= match (record.ending.by, is_first, answered) {
            (HangupBy::Local, _, _) => 0,
            (HangupBy::Remote, true, _) => BY_CALLER,
            (HangupBy::Remote, false, true) => BY_CALLEE,
            (HangupBy::Remote, false, false) => BY_REFUSAL,
        };
        self.route = self.route.take().or_else(|| record.route.clone());
        self.audio = record.audio.map(|audio| number(&AUDIO, &audio)).or(self.audio);
        if let Some(quality) = &record.quality {
            self.mos = least(self.mos, quality.mos);
            let expected = quality.packets_received + quality.packets_lost;
            let lost = (expected > 0).then(|| 100.0 * quality.packets_lost as f64 / expected as f64);
            self.lost_pct = most(self.lost_pct, lost);
        }
        let recording = record.variables.iter().find(|(name, _)| name == "recording");
        self.recording = self.recording.take().or_else(|| recording.map(|(_, file)| file.clone()));
        self.voice_agent = match is_first {
            true => record.voice_agent.or(self.voice_agent),
            false => self.voice_agent.or(record.voice_agent),
        };
        self.legs += 1;
    }

    /// For the API: `id` is the place in the list; `has_account`: see [`EndedCall::account`].
    pub fn shown(self, id: i64, has_account: bool) -> EndedCall {
        let answered = self.talk.is_some();
        let ended_by = match self.by {
            by if by & BY_CALLER != 0 => EndedBy::Caller,
            by if by & BY_CALLEE != 0 || (!answered && by & BY_REFUSAL != 0) => EndedBy::Callee,
            _ => EndedBy::Server,
        };
        let unsigned = |ms: i64| u64::try_from(ms).unwrap_or_default();
        let (from, to, called) = match self.inbound {
            true => (self.caller, self.callee, self.other),
            false => (self.callee, self.other.unwrap_or_default(), None),
        };
        EndedCall {
            id,
            call: self.call.cast_unsigned(),
            account: has_account,
            linked: self.linked.cast_unsigned(),
            began: SystemTime::UNIX_EPOCH + Duration::from_millis(unsigned(self.start)),
            duration_ms: unsigned(self.duration),
            ring_ms: self.ring.map(unsigned),
            talk_ms: self.talk.map(unsigned),
            from,
            from_name: self.caller_name,
            to,
            called,
            source: self.source,
            route: self.route,
            gateway_in: self.gateway,
            gateway_out: self.gateway_out,
            disposition: entry(&DISPOSITIONS, self.disposition).map_or("failed", |(_, word)| word),
            q850: self.q850,
            cause: failure::q850_name(self.q850),
            sip_status: self.status,
            ended_by,
            audio: self.audio.and_then(|it| entry(&AUDIO, it)).map(|(audio, _)| audio),
            mos: self.mos,
            lost_pct: self.lost_pct,
            codec: self.codec,
            codec_out: self.codec_out,
            legs: self.legs,
            recording: self.recording,
            voice_agent: self.voice_agent,
        }
    }
}

fn entry<T: Copy>(names: &[(T, &'static str)], number: u8) -> Option<(T, &'static str)> {
    names.get(usize::from(number)).copied()
}

fn least(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    a.into_iter().chain(b).reduce(f64::min)
}

fn most(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    a.into_iter().chain(b).reduce(f64::max)
}
