//! What can be seen of calls at one moment.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::Switch;
use crate::call::bridge_fsm::{BridgeMode, BridgeState};
use crate::call::call_fsm::{CallDirection, CallState};
use crate::call::leg_fsm::LegState;
use crate::call::{BridgeId, CallId, LegId};

/// A call.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CallSnapshot {
    pub call: CallId,
    pub state: CallState,
    /// Since the call began.
    pub age: Duration,
    /// Since its first answer.
    pub talking: Option<Duration>,
    pub legs: Vec<LegSnapshot>,
    pub bridge: Option<BridgeSnapshot>,
}

/// A leg of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LegSnapshot {
    pub leg: LegId,
    pub direction: CallDirection,
    pub state: LegState,
    /// The URI that we dialled; none: they dialled us.
    pub contact: Option<String>,
    pub gateway: Option<String>,
    /// The party does not want to hear.
    pub holds: bool,
}

/// Its bridge.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BridgeSnapshot {
    pub bridge: BridgeId,
    pub a: LegId,
    pub b: LegId,
    pub state: BridgeState,
    pub mode: BridgeMode,
}

impl Switch {
    /// Every call; in no order.
    pub fn snapshot(&self, now: Instant) -> Vec<CallSnapshot> {
        self.calls.keys().into_iter().filter_map(|call| self.call_snapshot(now, CallId(call))).collect()
    }

    /// One call; none: it is over.
    pub fn call_snapshot(&self, now: Instant, call: CallId) -> Option<CallSnapshot> {
        let it = self.calls.get(call.0)?;
        Some(CallSnapshot {
            call,
            state: it.state,
            age: now.saturating_duration_since(it.began),
            talking: it.answered_at.map(|at| now.saturating_duration_since(at)),
            legs: it.legs.iter().filter_map(|leg| self.leg_snapshot(*leg)).collect(),
            bridge: it.bridge.as_ref().map(|bridge| BridgeSnapshot {
                bridge: bridge.id,
                a: bridge.a,
                b: bridge.b,
                state: bridge.state,
                mode: bridge.mode,
            }),
        })
    }

    fn leg_snapshot(&self, leg: LegId) -> Option<LegSnapshot> {
        let it = self.legs.get(leg.0)?;
        let contact = it.contact.as_deref();
        Some(LegSnapshot {
            leg,
            direction: if it.inbound { CallDirection::Inbound } else { CallDirection::Outbound },
            state: it.state,
            contact: contact.map(|contact| contact.uri.clone()),
            gateway: contact.and_then(|contact| contact.gateway.as_ref()).map(|it| it.name.to_string()),
            holds: it.holds,
        })
    }
}
