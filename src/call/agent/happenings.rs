//! What the SIP stack and the media worker tell, taken to the leg that it is
//! about.

use super::legs::Entry;
use super::{AgentEvent, AgentService};
use crate::call::agent::leg::Leg;
use crate::media::worker::MediaEvent;
use crate::sip::endpoint::{Event, Flow, Reply, UsageEvent, UsageId};
use crate::sip::msg::Request;

impl AgentService {
    pub(super) fn sip_event(&mut self, event: Event) {
        match event {
            Event::Incoming { usage, request, flow, .. } => self.incoming(usage, &request, &flow),
            Event::Usage { usage, event } => {
                let Some(id) = self.legs.of_usage(usage) else { return };
                let Some(entry) = self.legs.get(id) else { return };
                entry.usage_over |= matches!(event, UsageEvent::Terminated { .. });
                entry.leg.usage_event(event);
                self.perform(id);
            }
            // We send no requests outside calls.
            Event::Response { .. } => {}
            Event::Request { transaction, .. } => {
                // Nothing of ours takes requests outside a call.
                let now = self.stack.now();
                if let Err(error) = self.stack.endpoint().respond(now, transaction, Reply::status(405)) {
                    tracing::debug!("a request outside calls: {error}");
                }
            }
        }
    }

    fn incoming(&mut self, usage: UsageId, request: &Request, flow: &Flow) {
        let mut leg = Leg::inbound(self.local_media(flow.local.ip()), request);
        // A leg that refuses an impossible offer leaves nothing to decide.
        let told = leg.is_waiting() && !self.draining;
        if self.draining {
            let _ = leg.reject(503, "");
        }
        let mut entry = Entry::new(leg, usage, told);
        entry.early_audio = true;
        let leg = self.legs.insert(entry);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let event = AgentEvent::Incoming {
            leg,
            from: request.from().map(|from| text(from.uri.raw)).unwrap_or_default(),
            to: request.to().map(|to| text(to.uri.raw)).unwrap_or_default(),
            sip_call_id: request.call_id().map(text).unwrap_or_default(),
        };
        self.tell(told, event);
        self.perform(leg);
    }

    pub(super) fn media_event(&mut self, event: MediaEvent) {
        let (MediaEvent::Started { id }
        | MediaEvent::SourceEnded { id }
        | MediaEvent::Digit { id, .. }
        | MediaEvent::RtpTimeout { id }
        | MediaEvent::Closed { id, .. }) = event;
        // A session without a leg was closed before anything came or went.
        let Some(leg) = self.legs.of_session(id) else { return };
        if let (MediaEvent::Closed { stats, .. }, Some(entry)) = (&event, self.legs.get(leg)) {
            let mut stats = **stats;
            stats.in_call = false;
            entry.side(&mut self.closed).add(&stats);
        }
        match event {
            MediaEvent::Started { .. } => self.tell(true, AgentEvent::MediaStarted { leg }),
            MediaEvent::SourceEnded { .. } => self.tell(true, AgentEvent::SourceEnded { leg }),
            MediaEvent::Digit { digit, duration_ms, .. } => {
                self.tell(true, AgentEvent::Digit { leg, digit, duration_ms });
            }
            MediaEvent::RtpTimeout { .. } => {
                let _ = self.with_leg(leg, Leg::rtp_timeout);
            }
            MediaEvent::Closed { .. } => {
                self.legs.session_closed(id);
                self.finish(leg);
            }
        }
    }
}
