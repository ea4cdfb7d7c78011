//! The end of an agent: draining, then closing.

use std::time::Duration;

use super::{AgentError, LegId};
use super::{AgentEvent, AgentService};
use crate::agent::leg::{Leg, LegOutput};
use crate::leg_fsm::TerminationCause;

/// Maximum time for connections to write their queues on closing.
const CLOSE_PATIENCE: Duration = Duration::from_millis(200);
/// Maximum time for the media thread to close its sessions.
const MEDIA_PATIENCE: Duration = Duration::from_secs(2);

impl AgentService {
    /// Removes the registration, hangs all legs up, and refuses new ones with 503 from now on.
    pub fn drain(&mut self) {
        self.draining = true;
        self.unregister();
        self.unregister_users();
        for id in self.legs.ids() {
            let _ = self.with_leg(id, Leg::hangup);
        }
    }

    /// Ends a leg silently: nothing is sent for it any more, and messages of its remote party get no
    /// response. For tests of whether the other side notices.
    ///
    /// # Errors
    /// There is no such leg.
    pub fn vanish(&mut self, id: LegId) -> Result<(), AgentError> {
        let now = self.stack.now();
        let entry = self.legs.get(id).filter(|entry| entry.told).ok_or(AgentError::NoSuchLeg)?;
        let (usage, up) = (entry.usage, entry.is_up());
        entry.leg.hangup();
        entry.leg.abandon(if up { TerminationCause::ByeUnanswered } else { TerminationCause::Cancelled });
        let gone = self.stack.endpoint().vanish(now, usage);
        while let Some(output) = self.legs.get(id).and_then(|entry| entry.leg.poll()) {
            // its other outputs would send messages
            if matches!(output, LegOutput::CloseMedia | LegOutput::Ended(_)) {
                self.perform_one(id, output);
            }
        }
        self.finish(id);
        gone.map_err(|_| AgentError::NoSuchLeg)
    }

    /// Whether nothing is left of any leg.
    pub fn is_idle(&self) -> bool {
        self.legs.is_empty() && self.news.is_empty() && self.registering.is_none() && self.no_users()
    }

    /// Ends what is left without waiting, closes everything, and returns the last events.
    pub async fn close(mut self) -> Vec<AgentEvent> {
        for id in self.legs.ids() {
            if let Some(entry) = self.legs.get(id) {
                entry.leg.hangup();
                let cause =
                    if entry.is_up() { TerminationCause::ByeUnanswered } else { TerminationCause::Cancelled };
                entry.leg.abandon(cause);
            }
            self.perform(id);
        }
        self.media.shutdown();
        let closing = async {
            while let Some(event) = self.media_events.recv().await {
                self.media_event(event);
            }
        };
        if tokio::time::timeout(MEDIA_PATIENCE, closing).await.is_err() {
            tracing::warn!("the media thread did not report its end");
        }
        self.tell_refused();
        self.stack.close(CLOSE_PATIENCE).await;
        self.news.into()
    }

    /// Logs the number of refusals and drops, which are not reported as events.
    fn tell_refused(&mut self) {
        let (net, sip) = (self.stack.counters(), *self.stack.endpoint().counters());
        let dropped = net.over_budget + sip.dropped;
        let connections = net.connections_refused + net.closed_not_reading + net.closed_bad_framing;
        if dropped + connections + net.accept_errors + sip.malformed + sip.overloaded > 0 {
            tracing::info!(
                "SIP refused: {} malformed messages, {} requests at a full queue, {dropped} messages \
                 dropped unanswered, {connections} connections, {} not accepted by the system",
                sip.malformed,
                sip.overloaded,
                net.accept_errors
            );
        }
    }
}
