//! The history of one call.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::super::cdr::Cdr;
use super::super::controller::{Descriptions, EndpointStats, PacketTrace, QualitySample};
use super::super::event::Event;
use super::super::journal::Pages;
use super::super::timeline::{Body, Signal, Timeline};
use super::super::verdict::{Audio, Verdict};
use super::super::{BridgeId, CallId, LegId};
use super::agent::AgentAccount;
use super::messages::{Heading, Messages};
use super::talk::{self, Known, Talk};
use super::{Outcome, notes, way};
use crate::negotiate::pair;
use b2b_sip::net::tap::{Direction, Seen};

/// How long RTP of a party that was told to send past b2b may still come.
const IN_FLIGHT: Duration = Duration::from_secs(2);

/// The history of one leg.
pub(super) struct LegHistory {
    pub leg: LegId,
    /// The hash of its Call-ID.
    pub call_id: u64,
    /// The source of the party's messages.
    pub signalling: Option<SocketAddr>,
    pub codec: Option<Box<str>>,
    pub gateway: Option<Box<str>>,
    /// The user or number of the party.
    pub party: Option<Box<str>>,
    pub held_since: Option<Instant>,
    /// Since when its party is told to send past b2b.
    past: Option<Instant>,
    /// Its last INVITE or UPDATE carried an offer, so the response carries the answer.
    offered: bool,
    /// Its endpoint is released, and its final counters have not arrived.
    pub closing: bool,
    /// The descriptions at the release, until the leg is judged.
    pub described: Option<Descriptions>,
    /// The counters at the end of its last bridge, the baseline for the next one.
    before: Option<Box<EndpointStats>>,
    /// The final counters.
    pub stats: Option<Box<EndpointStats>>,
    /// The account of voice agents with its party; `None`: it had none.
    pub agent: Option<Box<AgentAccount>>,
    pub over: Option<Instant>,
    pub record: Option<Box<Cdr>>,
}

impl LegHistory {
    /// Adds to its record what is known by now; `route`: that of its call.
    fn complete(&self, record: &mut Cdr, route: Option<&str>) {
        record.codec = self.codec.as_deref().map(str::to_owned);
        record.quality = self.stats.as_deref().map(|it| talk::quality_of(it, self.codec.as_deref()));
        record.voice_agent = self.agent.as_deref().and_then(AgentAccount::sums);
        record.route = record.route.take().or_else(|| route.map(str::to_owned));
    }
}

pub(super) struct Entry {
    call: CallId,
    pub start: Instant,
    pub timeline: Timeline,
    pub messages: Messages,
    /// The media trace, if capture was requested.
    pub trace: Option<Arc<PacketTrace>>,
    pub legs: Vec<LegHistory>,
    pub talks: Vec<Talk>,
    pub route: Option<Box<str>>,
    pub over: Option<Instant>,
    /// The time of the latest activity.
    pub latest: Instant,
    /// It is queued to be checked for idleness.
    pub is_watched: bool,
    /// It is in the list of ended calls.
    pub kept: bool,
    /// The journal of the call; calls that were joined share one.
    pub journal: Option<Box<Pages>>,
    /// The call that has the shared journal, if it is not this one.
    pub journal_with: Option<CallId>,
}

impl Entry {
    pub fn new(call: CallId, now: Instant, wall: SystemTime) -> Self {
        Entry {
            call,
            start: now,
            timeline: Timeline::new(call, now, wall),
            messages: Messages::new(now, wall),
            trace: None,
            legs: Vec::with_capacity(2),
            talks: Vec::new(),
            route: None,
            over: None,
            latest: now,
            is_watched: false,
            kept: false,
            journal: None,
            journal_with: None,
        }
    }

    pub fn get(&mut self, leg: LegId) -> Option<&mut LegHistory> {
        self.legs.iter_mut().find(|account| account.leg == leg)
    }

    pub fn has(&self, leg: LegId) -> bool {
        self.legs.iter().any(|account| account.leg == leg)
    }

    pub fn add_leg(&mut self, leg: LegId, call_id: u64, remote: Option<SocketAddr>) {
        if !self.has(leg) {
            self.legs.push(LegHistory {
                leg,
                call_id,
                signalling: remote,
                codec: None,
                gateway: None,
                party: None,
                held_since: None,
                past: None,
                offered: false,
                closing: false,
                described: None,
                before: None,
                stats: None,
                agent: None,
                over: None,
                record: None,
            });
        }
    }

    pub fn take_leg(&mut self, leg: LegId) -> Option<LegHistory> {
        let at = self.legs.iter().position(|account| account.leg == leg)?;
        Some(self.legs.remove(at))
    }

    /// Records a message of a leg.
    pub fn message(&mut self, leg: LegId, seen: &Seen, heading: Heading<'_>) {
        let again = self.messages.push(seen);
        let Some(account) = self.legs.iter_mut().find(|account| account.leg == leg) else { return };
        let remote = seen.flow.remote;
        let news = account.signalling != Some(remote);
        if seen.direction == Direction::Received || account.signalling.is_none() {
            account.signalling = Some(remote);
        }
        let opens = matches!(heading.method, "INVITE" | "UPDATE");
        if heading.status.is_none() && opens {
            account.offered = heading.session;
        }
        let body = match (heading.session, !heading.body.is_empty()) {
            (true, _) if heading.status.is_none() && opens => Body::Offer,
            (true, _) if heading.status.is_none() || account.offered => Body::Answer,
            (true, _) => Body::Offer,
            (false, true) => Body::Other,
            (false, false) => Body::None,
        };
        let signal =
            Signal { way: way(seen.direction), method: heading.method, status: heading.status, body };
        match (again, news) {
            (true, _) => self.timeline.signal(seen.at, leg, signal, "again"),
            (false, true) => {
                let transport = seen.flow.transport.as_str().to_ascii_lowercase();
                self.timeline.signal(seen.at, leg, signal, format_args!("{transport} {remote}"));
            }
            (false, false) => self.timeline.signal(seen.at, leg, signal, ""),
        }
        if heading.session
            && !again
            && seen.direction == Direction::Received
            && let Some(remark) = pair::remark(heading.body)
        {
            self.timeline.media(seen.at, leg, "SDP", remark.as_str());
        }
    }

    /// Records an event.
    pub fn event(&mut self, now: Instant, event: &Event) {
        if !self.agent(now, event) {
            notes::note(&mut self.timeline, now, event);
        }
        if let Event::Hold { leg, held, .. } = event
            && let Some(account) = self.get(*leg)
        {
            account.held_since = held.then(|| account.held_since.unwrap_or(now));
        }
    }

    pub fn codec(&mut self, now: Instant, leg: LegId, codec: &str, transcoded: bool) {
        let Some(account) = self.get(leg) else { return };
        if account.codec.as_deref() != Some(codec) {
            account.codec = Some(codec.into());
            self.timeline.media(now, leg, codec, if transcoded { "transcoded" } else { "relayed" });
        }
    }

    pub fn begin_talk(&mut self, bridge: BridgeId, legs: [LegId; 2], now: Instant) {
        let mut talk = Talk::new(bridge, legs, now);
        for leg in legs {
            let before = self.get(leg).and_then(|account| account.before.take());
            if let Some(part) = talk.part(leg) {
                part.before = before;
            }
        }
        self.talks.reserve_exact(1);
        self.talks.push(talk);
    }

    /// The party of a leg now exchanges media directly, or through b2b again.
    pub fn path(&mut self, now: Instant, leg: LegId, direct: bool) {
        if let Some(account) = self.get(leg) {
            account.past = direct.then_some(now);
        }
        if direct {
            let talks = self.talks.iter_mut().filter(|talk| talk.ended.is_none());
            talks.filter(|talk| talk.legs.contains(&leg)).for_each(|talk| talk.direct = true);
        }
        self.timeline.media(now, leg, "path", if direct { "past b2b" } else { "through b2b again" });
    }

    /// `by`: the leg of the party that ended it.
    pub fn end_talk(&mut self, bridge: BridgeId, now: Instant, by: Option<LegId>) {
        let Some(talk) = self.talks.iter_mut().find(|talk| talk.bridge == bridge && talk.ended.is_none())
        else {
            return;
        };
        (talk.ended, talk.ended_by) = (Some(now), by);
        for leg in talk.legs {
            let account = self.legs.iter().find(|account| account.leg == leg);
            if let (Some(account), Some(part)) = (account, talk.part(leg)) {
                part.held = account.held_since.map(|since| now.saturating_duration_since(since));
                part.after = account.stats.as_deref().map(|it| Box::new(it.without_samples()));
            }
        }
    }

    /// The counters of a leg that outlived a bridge of this call.
    pub fn counted(&mut self, bridge: BridgeId, leg: LegId, stats: &EndpointStats) {
        let talk = self.talks.iter_mut().find(|talk| talk.bridge == bridge);
        if let Some(part) = talk.and_then(|talk| talk.part(leg)) {
            part.after.get_or_insert_with(|| Box::new(stats.without_samples()));
        }
    }

    /// The counters of a leg that continues: the baseline for its next bridge.
    pub fn goes_on(&mut self, bridge: BridgeId, leg: LegId, mut stats: Box<EndpointStats>) {
        stats.over_time = Vec::new();
        let next = self.talks.iter_mut().rev().find(|talk| talk.bridge != bridge && talk.legs.contains(&leg));
        let next = next.filter(|talk| talk.bridge.0 > bridge.0 || talk.ended.is_none());
        match next.and_then(|talk| talk.part(leg)) {
            Some(part) => part.before = Some(stats),
            None => {
                if let Some(account) = self.get(leg) {
                    account.before = Some(stats);
                }
            }
        }
    }

    /// The final counters of a leg.
    pub fn closed(&mut self, now: Instant, leg: LegId, stats: &EndpointStats) {
        for talk in self.talks.iter_mut().filter(|talk| talk.ended.is_some()) {
            if let Some(part) = talk.part(leg) {
                part.after.get_or_insert_with(|| Box::new(stats.without_samples()));
            }
        }
        if let Some(account) = self.get(leg) {
            account.closing = false;
            let spoken = account.described.as_ref().zip(stats.payload_type);
            if let Some(codec) = spoken.and_then(|(it, spoken)| it.spoken(spoken, account.codec.as_deref())) {
                account.codec = Some(codec.into_boxed_str());
            }
            account.stats = Some(Box::new(stats.clone()));
            let last = account.past.zip(stats.received.last);
            let late = last.map(|(past, last)| last.saturating_duration_since(past));
            if let Some(late) = late.filter(|late| *late > IN_FLIGHT) {
                let why = format!("its RTP came through b2b for another {} s", late.as_secs());
                self.timeline.media(now, leg, "path", &*why);
            }
        }
    }

    /// Whether records or verdicts are pending, without another event of the call.
    pub fn waits(&self) -> bool {
        self.legs
            .iter()
            .any(|account| account.over.is_some() && (account.closing || account.record.is_some()))
    }

    /// Pending records, with what is known by now.
    pub fn unwritten(&self) -> Vec<Cdr> {
        let pending =
            self.legs.iter().filter_map(|account| Some((account, account.record.as_deref()?.clone())));
        let completed = pending.map(|(account, mut record)| {
            account.complete(&mut record, self.route.as_deref());
            record
        });
        completed.collect()
    }

    /// Judges talks and completes records; with `force`, without missing counters.
    pub fn settle(&mut self, now: Instant, force: bool, outcomes: &mut VecDeque<Outcome>) {
        for at in 0..self.talks.len() {
            let talk = &self.talks[at];
            if talk.is_complete() || force && talk.ended.is_some() && talk.verdict.is_none() {
                let end = talk.ended.unwrap_or(now);
                let verdict =
                    talk::verdict(talk, end, talk.legs.map(|leg| self.known(leg, talk.has_strays())));
                self.judged(now, &verdict, outcomes);
                self.talks[at].verdict = Some(verdict);
            }
        }
        for at in 0..self.legs.len() {
            let account = &self.legs[at];
            let leg = account.leg;
            let unjudged = |talk: &Talk| talk.legs.contains(&leg) && talk.verdict.is_none();
            if account.over.is_none() || !force && (account.closing || self.talks.iter().any(unjudged)) {
                continue;
            }
            let talk = self.talks.iter().rev().find(|talk| talk.legs.contains(&leg));
            let audio = match talk {
                Some(talk) => talk.verdict.as_ref().map(|verdict| verdict.audio),
                None => self.judge_alone(now, at, outcomes),
            };
            let account = &mut self.legs[at];
            account.closing = false;
            account.described = None;
            let Some(mut record) = account.record.take() else { continue };
            record.audio = audio.filter(|audio| *audio != Audio::NotJudged);
            account.complete(&mut record, self.route.as_deref());
            if let Some(quality) = record.quality {
                let event = Event::Quality { call: self.call, leg, quality };
                self.event(now, &event);
                outcomes.push_back(Outcome::News(event));
            }
            outcomes.push_back(Outcome::Record(record));
        }
    }

    /// Judges a leg whose party was in no bridge.
    fn judge_alone(&mut self, now: Instant, at: usize, outcomes: &mut VecDeque<Outcome>) -> Option<Audio> {
        let LegHistory { leg, over, record, stats, held_since, past, .. } = self.legs.get(at)?;
        let (record, stats) = (record.as_deref()?, stats.as_deref()?);
        if record.answered.is_none() || past.is_some() {
            return None;
        }
        let end = over.unwrap_or(now);
        let held = held_since.map(|since| end.saturating_duration_since(since));
        let known = self.known(*leg, stats.dropped.payload_type > 0);
        let verdict = talk::verdict_alone(record, end, held, known, stats);
        if verdict.audio != Audio::NotJudged {
            self.judged(now, &verdict, outcomes);
        }
        Some(verdict.audio)
    }

    /// Facts about a leg besides its counters. `formats`: whether the agreed formats are needed, which
    /// requires parsing its descriptions.
    pub fn known(&self, leg: LegId, formats: bool) -> Known {
        let Some(account) = self.legs.iter().find(|account| account.leg == leg) else {
            return Known::default();
        };
        let described = account.described.as_ref();
        let agreed = described.filter(|_| formats).and_then(Descriptions::agreed);
        Known {
            direction: described.and_then(Descriptions::direction),
            formats: agreed.unwrap_or_default(),
            signalling: account
                .signalling
                .map(|remote| remote.ip())
                .filter(|ip: &IpAddr| !ip.is_unspecified()),
        }
    }

    /// Records a verdict, and publishes one that reports a fault.
    fn judged(&mut self, now: Instant, verdict: &Verdict, outcomes: &mut VecDeque<Outcome>) {
        if !verdict.is_fault() {
            self.timeline.decision(now, None, "verdict", format_args!("{}", verdict.audio));
            return;
        }
        let worst = verdict.findings.first();
        let cause = worst.map_or_else(|| verdict.audio.to_string(), |finding| finding.cause.to_string());
        let event = Event::Verdict { call: self.call, cause, text: verdict.to_string() };
        self.timeline.decision(now, None, "verdict", format_args!("{}", verdict.audio));
        for finding in &verdict.findings {
            let evidence = format_args!("{}: {}", finding.cause, finding.evidence);
            self.timeline.media(now, finding.leg, if finding.fault { "fault" } else { "remark" }, evidence);
        }
        outcomes.push_back(Outcome::News(event));
    }

    /// Releases spare capacity; nothing more is added.
    pub fn shrink(&mut self) {
        self.messages.shrink();
        self.legs.shrink_to_fit();
        if let Some(pages) = &mut self.journal {
            pages.shrink();
        }
    }

    /// The memory in use, in bytes.
    pub fn bytes(&self) -> usize {
        let stats = |talk: &Talk| {
            let all = talk.parts.iter().flat_map(|part| [&part.before, &part.after]);
            all.flatten().count() * size_of::<EndpointStats>()
        };
        let samples = |leg: &LegHistory| leg.stats.as_ref().map_or(0, |it| it.over_time.capacity());
        size_of::<Self>() - size_of::<Timeline>()
            + self.timeline.bytes()
            + self.messages.heap_bytes()
            + self.legs.capacity() * (size_of::<LegHistory>() + size_of::<EndpointStats>())
            + self.legs.iter().filter_map(|leg| leg.agent.as_ref()).map(|it| it.bytes()).sum::<usize>()
            + self.legs.iter().map(samples).sum::<usize>() * size_of::<QualitySample>()
            + self.talks.iter().map(stats).sum::<usize>()
            + self.talks.capacity() * size_of::<Talk>()
            + self.journal.as_ref().map_or(0, |it| it.bytes())
    }
}
