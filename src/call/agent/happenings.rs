//! Delivers the events of the SIP stack and the media thread to their legs.

use super::legs::Entry;
use super::{AgentEvent, AgentService, LegId, LegReport, Levels, Reception};
use crate::agent::leg::Leg;
use b2b_base::metrics::MediaStats;
use b2b_media::relay::{RelayEvent, RelayId};
use b2b_sip::endpoint::{Event, Flow, Reply, Termination, UsageEvent, UsageId};
use b2b_sip::msg::Request;

impl AgentService {
    pub(super) fn sip_event(&mut self, event: Event) {
        match event {
            Event::Incoming { usage, request, flow, replaces } => {
                self.incoming(usage, &request, &flow, replaces);
            }
            Event::Usage { usage, event } => {
                let Some(id) = self.legs.of_usage(usage) else { return };
                let Some(event) = self.met_challenge(id, event) else { return };
                self.unreachable(id, &event);
                self.identified(id, &event);
                let Some(entry) = self.legs.get(id) else { return };
                entry.signalling = event.source().map(|source| source.ip()).or(entry.signalling);
                entry.usage_over |= matches!(event, UsageEvent::Terminated { .. });
                if let (true, UsageEvent::Answered { response, .. }) = (self.config.watch, &event) {
                    entry.answer = Some(Box::new(response.clone()));
                }
                match event {
                    UsageEvent::Response { result, .. } => self.info_answered(id, &result),
                    UsageEvent::Refer { refer, request } => self.referred(id, usage, refer, &request),
                    UsageEvent::ReferAnswered { refer, result } => self.refer_answered(refer, &result),
                    UsageEvent::ReferProgress { refer, status, last } => {
                        self.refer_progress(refer, status.map(|(status, _)| status), last);
                    }
                    // The endpoint has answered it, and it has been reported.
                    UsageEvent::Identified { .. } => {}
                    event => entry.leg.usage_event(event),
                }
                self.perform(id);
            }
            Event::Response { request, result, flow } => {
                if !self.user_answered(request, &result, flow) {
                    self.register_response(request, &result, flow);
                }
            }
            Event::FlowClosed { flow } => {
                self.flow_closed(&flow);
                self.users_flow_closed(&flow);
            }
            // An agent has no subscribers, does not ask for host look-ups, and keeps no calls.
            Event::Resubscribe { .. } | Event::Located { .. } | Event::Ahead { .. } => {}
            Event::Request { transaction, .. } => {
                // An agent takes no requests outside calls.
                let now = self.stack.now();
                if let Err(error) = self.stack.endpoint().respond_once(now, transaction, Reply::status(405)) {
                    tracing::debug!("a request outside calls: {error}");
                }
            }
        }
    }

    /// Reports why there is no route to a leg's remote party.
    fn unreachable(&mut self, leg: LegId, event: &UsageEvent) {
        let UsageEvent::Terminated { cause: Termination::Unreachable | Termination::NoResponse } = event
        else {
            return;
        };
        if let Some(why) = self.stack.take_connect_error() {
            self.tell(true, AgentEvent::Unreachable { leg, why });
        }
        if self.legs.get(leg).is_some_and(|entry| entry.home) {
            self.doubt_registration();
        }
    }

    fn incoming(&mut self, usage: UsageId, request: &Request, flow: &Flow, replaced: Option<UsageId>) {
        let replaces = replaced.and_then(|usage| self.legs.of_usage(usage));
        let side = self.own_side(flow.local.ip(), 0);
        let mut leg = match self.config.options.ring_at_once {
            true => Leg::inbound(side, request),
            false => Leg::quiet(side, request),
        };
        // A leg that refuses an unacceptable offer needs no decision.
        let told = leg.is_waiting() && !self.draining && (replaced.is_none() || replaces.is_some());
        if self.draining {
            let _ = leg.reject(503, "");
        } else if replaced.is_some() && replaces.is_none() {
            let _ = leg.reject(481, "");
        }
        let mut entry = Entry::new(leg, usage, told);
        entry.early_audio = true;
        entry.signalling = Some(flow.remote.ip());
        let credentials = self.config.signalling.credentials.clone();
        entry.auth = self.authorizes(usage, credentials.as_ref());
        if self.config.signalling.proxy.is_some() {
            let _ = self.stack.endpoint().keep_flow(usage, true);
        }
        let leg = self.legs.insert(entry);
        self.replaces(leg, replaces);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let event = AgentEvent::Incoming {
            leg,
            from: request.from().map(|from| text(from.uri.raw)).unwrap_or_default(),
            to: request.to().map(|to| text(to.uri.raw)).unwrap_or_default(),
            sip_call_id: request.call_id().map(text).unwrap_or_default(),
            replaces,
            headers: request.fields().map(|(name, value)| (name.to_string(), text(value))).collect(),
        };
        self.tell(told, event);
        self.identified_by_invite(leg, request);
        self.perform(leg);
    }

    pub(super) fn media_event(&mut self, event: RelayEvent) {
        match event {
            RelayEvent::Started { id, .. } => {
                self.tell_of(id, |leg| AgentEvent::MediaStarted { leg });
            }
            RelayEvent::SourceEnded { id } => self.tell_of(id, |leg| AgentEvent::SourceEnded { leg }),
            RelayEvent::Digit { id, digit, duration_ms, .. } => {
                self.tell_of(id, |leg| AgentEvent::Digit { leg, digit, duration_ms });
            }
            RelayEvent::Timeout { id } => {
                if let Some(leg) = self.legs.of_session(id) {
                    let _ = self.with_leg(leg, Leg::rtp_timeout);
                }
            }
            RelayEvent::Heard { id, stats, reception } => self.media_heard(id, *stats, *reception),
            RelayEvent::Closed { id, .. } => {
                if let Some(leg) = self.legs.of_session(id) {
                    self.legs.session_closed(id);
                    self.finish(leg);
                }
            }
            // The event channel ends with the thread.
            RelayEvent::Lost { reason } => tracing::error!("the media thread has ended: {reason}"),
            RelayEvent::SourceChanged { .. }
            | RelayEvent::SourceRefused { .. }
            | RelayEvent::Withheld { .. }
            | RelayEvent::Replayed { .. }
            | RelayEvent::Speaking { .. } => {}
        }
    }

    /// Reports an event of a media session. A session without a leg was closed before it was used.
    fn tell_of(&mut self, session: RelayId, event: impl FnOnce(LegId) -> AgentEvent) {
        if let Some(leg) = self.legs.of_session(session) {
            self.tell(true, event(leg));
        }
    }

    /// The media session of a leg has closed.
    fn media_heard(&mut self, session: RelayId, mut stats: MediaStats, reception: Reception) {
        let Some(leg) = self.legs.of_session(session) else { return };
        let Some(entry) = self.legs.get(leg) else { return };
        stats.in_call = false;
        entry.side(&mut self.closed).add(&stats);
        let told = entry.told;
        let report = Box::new(LegReport { stats, reception, levels: Levels::default() });
        self.tell(told, AgentEvent::MediaClosed { leg, report });
    }
}
