//! Snapshots of calls.

use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};

use crate::bridge_fsm::{BridgeMode, BridgeState};
use crate::call_fsm::{CallDirection, CallState};
use crate::controller::Hold;
use crate::event::Quality;
use crate::leg_fsm::LegState;
use crate::switch::Switch;
use crate::switch::state::call::Purpose;
use crate::switch::state::recording::Recordings;
use crate::{BridgeId, CallId, LegId};
use b2b_base::util::seconds::{maybe_seconds, seconds};

/// A call.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CallSnapshot {
    pub call: CallId,
    pub state: CallState,
    /// Time since the call began; seconds in JSON.
    #[serde(rename = "age_s", serialize_with = "seconds")]
    #[cfg_attr(feature = "schema", schema(value_type = f64))]
    pub age: Duration,
    /// Time since its first answer.
    #[serde(rename = "talking_s", serialize_with = "maybe_seconds")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<f64>))]
    pub talking: Option<Duration>,
    pub legs: Vec<LegSnapshot>,
    pub bridge: Option<BridgeSnapshot>,
    /// The name of its route; `None`: no route was used.
    pub route: Option<String>,
    /// Its current dialling; `None`: there is none.
    pub dialling: Option<DiallingSnapshot>,
    /// Its current recording; `None`: there is none.
    pub recording: Option<RecordingSnapshot>,
    /// The application that has the call: `ivr/main`.
    pub application: Option<String>,
    /// Its variables, names and values; an object in JSON.
    #[serde(serialize_with = "by_name")]
    #[cfg_attr(feature = "schema", schema(value_type = std::collections::BTreeMap<String, String>))]
    pub variables: Vec<(String, String)>,
}

/// A leg of a call.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LegSnapshot {
    pub leg: LegId,
    pub direction: CallDirection,
    pub state: LegState,
    /// Caller and callee, as on this leg.
    pub caller: String,
    pub callee: String,
    /// The URI that we dialled; `None`: the leg is inbound.
    pub contact: Option<String>,
    /// The gateway through which the leg is dialled or comes in.
    pub gateway: Option<String>,
    /// The user of the phone, if it belongs to one.
    pub user: Option<String>,
    /// The party has put the call on hold.
    pub holds: bool,
    /// A program has put the party on hold.
    pub on_hold: bool,
    /// The leg's own recording; `None`: there is none.
    pub recording: Option<RecordingSnapshot>,
    /// Its media quality; `None`: not measured, or no media.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality: Option<Quality>,
}

/// A recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RecordingSnapshot {
    /// The name of the file when it is complete.
    pub file: String,
    pub paused: bool,
}

impl RecordingSnapshot {
    fn of(recordings: &Recordings) -> Option<Self> {
        let (file, paused) = recordings.running.as_ref()?.shown()?;
        Some(RecordingSnapshot { file: file.to_string_lossy().into_owned(), paused })
    }
}

/// A dialling.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct DiallingSnapshot {
    /// URIs that are ringing or being called now.
    pub targets: Vec<String>,
    /// Whether it is the dialling of a transfer.
    pub transfer: bool,
    /// Time since it began; seconds in JSON.
    #[serde(rename = "age_s", serialize_with = "seconds")]
    #[cfg_attr(feature = "schema", schema(value_type = f64))]
    pub age: Duration,
}

/// A bridge.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct BridgeSnapshot {
    pub bridge: BridgeId,
    pub a: LegId,
    pub b: LegId,
    pub state: BridgeState,
    pub mode: BridgeMode,
}

fn by_name<S: Serializer>(variables: &[(String, String)], to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(variables.iter().map(|(name, value)| (name, value)))
}

impl Switch {
    /// All calls, in no particular order.
    pub fn snapshot(&self, now: Instant) -> Vec<CallSnapshot> {
        self.calls.ids().into_iter().filter_map(|call| self.call_snapshot(now, call)).collect()
    }

    /// The calls with greater identifiers than `after`, in ascending order.
    pub fn page(&self, now: Instant, after: CallId, limit: usize) -> Vec<CallSnapshot> {
        let mut calls = self.calls.ids();
        calls.sort_unstable();
        let first = calls.partition_point(|call| *call <= after);
        calls.into_iter().skip(first).filter_map(|call| self.call_snapshot(now, call)).take(limit).collect()
    }

    /// The number of calls in each state.
    pub fn states(&self) -> Vec<(CallState, usize)> {
        let mut states: Vec<_> = CallState::ALL.into_iter().map(|state| (state, 0)).collect();
        for call in self.calls.iter() {
            if let Some((_, calls)) = states.iter_mut().find(|(state, _)| *state == call.state) {
                *calls += 1;
            }
        }
        states
    }

    /// One call; `None`: it is over.
    pub fn call_snapshot(&self, now: Instant, call: CallId) -> Option<CallSnapshot> {
        let it = self.calls.get(call)?;
        Some(CallSnapshot {
            call,
            state: it.state,
            age: now.saturating_duration_since(it.began),
            talking: it.answered_at.map(|at| now.saturating_duration_since(at)),
            application: it.application.as_ref().map(ToString::to_string),
            variables: it.variables.as_deref().cloned().unwrap_or_default(),
            legs: it.legs.ids().filter_map(|leg| self.leg_snapshot(leg)).collect(),
            recording: RecordingSnapshot::of(&it.recordings),
            dialling: it.dialling.as_ref().map(|it| {
                let contact = |leg: &LegId| Some(self.calls.leg(*leg)?.contact.as_deref()?.uri.clone());
                DiallingSnapshot {
                    targets: it.branches.iter().filter_map(contact).collect(),
                    transfer: matches!(it.purpose, Purpose::Transfer { .. }),
                    age: now.saturating_duration_since(it.began),
                }
            }),
            route: self.common.world.history.route_of(call).map(str::to_owned),
            bridge: it.bridge.as_ref().map(|bridge| BridgeSnapshot {
                bridge: bridge.id,
                a: bridge.a,
                b: bridge.b,
                state: bridge.state,
                mode: bridge.mode,
            }),
        })
    }

    /// One leg; `None`: it is over.
    pub fn leg_snapshot(&self, leg: LegId) -> Option<LegSnapshot> {
        let it = self.calls.leg(leg)?;
        let contact = it.contact.as_deref();
        Some(LegSnapshot {
            leg,
            direction: it.direction(),
            state: it.life.state(),
            caller: it.beginning.as_ref().map(|it| it.caller.clone()).unwrap_or_default(),
            callee: it.beginning.as_ref().map(|it| it.callee.clone()).unwrap_or_default(),
            contact: contact.map(|contact| contact.uri.clone()),
            gateway: it.gateway().map(ToString::to_string),
            user: it.identity.party.user.clone(),
            holds: it.hold.wanted,
            on_hold: it.hold.ours != Hold::No,
            recording: RecordingSnapshot::of(&it.recordings),
            quality: None,
        })
    }
}
