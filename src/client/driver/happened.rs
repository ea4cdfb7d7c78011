//! Maps the agent's leg events to the program's calls.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::super::audio::sides;
use super::super::call::Agreed;
use super::super::state::Happening;
use super::super::{CallError, CallId, CallState, ClientEvent, EndCause, IncomingCall};
use super::{Driver, Record, go_on};
use b2b_call::LegId;
use b2b_call::agent::{AgentEvent, Change, ConnectError};

/// The status when there is no capacity for another call.
const BUSY: u16 = 486;
/// The status when the program accepts no calls.
const NOBODY: u16 = 480;

impl Driver {
    pub(super) fn happened(&mut self, event: AgentEvent) {
        match event {
            AgentEvent::Incoming { leg, from, to, replaces, headers, .. } => {
                self.incoming(leg, from, to, replaces, headers);
            }
            AgentEvent::TransferProgress { leg, status } => self.transfer_progress(leg, status),
            AgentEvent::TransferEnded { leg, status } => self.transfer_ended(leg, status),
            AgentEvent::TransferRequested { leg, target, attended } => {
                self.transfer_requested(leg, target, attended);
            }
            AgentEvent::Progress { leg, status, reason } => {
                self.tell(leg, |call| ClientEvent::Progress { call, status, reason });
                self.go_on(leg, Happening::Progress);
            }
            AgentEvent::Answered { leg, codec, ptime_ms, remote_rtp } => {
                let Some(record) = self.calls.get(&leg) else { return };
                let call = record.shared.id();
                record.shared.agree(Agreed { codec, ptime_ms, remote_rtp });
                let _ = self.events.send(ClientEvent::Agreed { call, codec, ptime_ms, remote_rtp });
                self.go_on(leg, Happening::Answered);
                self.followed(leg);
                self.measured(leg);
            }
            AgentEvent::Identified { leg, identity } => {
                let Some(record) = self.calls.get(&leg) else { return };
                record.shared.identify(identity.clone());
                self.tell(leg, |call| ClientEvent::Identified { call, identity });
            }
            AgentEvent::MediaStarted { leg } => {
                self.tell(leg, |call| ClientEvent::MediaStarted { call });
                if let Some(record) = self.calls.get_mut(&leg) {
                    record.has_media = true;
                }
            }
            AgentEvent::Hold { leg, held } => {
                self.holds(leg, |holds| holds.theirs = held);
                self.tell(leg, |call| ClientEvent::Held { call, held });
            }
            AgentEvent::Changed { leg, change, codec, ptime_ms, remote_rtp } => {
                self.holds(leg, |holds| holds.changed(change));
                let Some(record) = self.calls.get_mut(&leg) else { return };
                if change == Change::Resume && !record.changes.iter().any(|(it, _)| *it == Change::Hold) {
                    record.shared.audio.hold(false);
                    self.regroup(leg);
                }
                let Some(record) = self.calls.get_mut(&leg) else { return };
                let (call, agreed) = (record.shared.id(), Agreed { codec, ptime_ms, remote_rtp });
                if record.shared.agree(agreed) != Some(agreed) {
                    let _ = self.events.send(ClientEvent::Agreed { call, codec, ptime_ms, remote_rtp });
                }
                record.changed(change, Ok(()));
            }
            AgentEvent::Agreed { leg, codec, ptime_ms, remote_rtp } => {
                let Some(record) = self.calls.get(&leg) else { return };
                let (call, agreed) = (record.shared.id(), Agreed { codec, ptime_ms, remote_rtp });
                // Nothing is reported before the answer has settled the first parameters.
                if record.shared.agreed().is_some() && record.shared.agree(agreed) != Some(agreed) {
                    let _ = self.events.send(ClientEvent::Agreed { call, codec, ptime_ms, remote_rtp });
                }
            }
            AgentEvent::ChangeRefused { leg, change, status, reason } => {
                let Some(record) = self.calls.get_mut(&leg) else { return };
                if change == Change::Hold {
                    record.shared.audio.hold(record.is_held());
                    self.regroup(leg);
                }
                let Some(record) = self.calls.get_mut(&leg) else { return };
                record.changed(change, Err(CallError::Refused { status, reason }));
            }
            AgentEvent::Digit { leg, digit, duration_ms } => {
                self.tell(leg, |call| ClientEvent::Digit { call, digit, duration_ms });
            }
            AgentEvent::DigitRefused { leg, digit, status } => {
                self.tell(leg, |call| ClientEvent::DigitRefused { call, digit, status });
            }
            // A call's source never ends; the loop handles the loss of media.
            AgentEvent::SourceEnded { .. } | AgentEvent::MediaLost => {}
            AgentEvent::Registered { .. }
            | AgentEvent::RegistrationFailed { .. }
            | AgentEvent::AddressChanged { .. }
            | AgentEvent::Unregistered => {
                self.registration_happened(event);
            }
            AgentEvent::Unreachable { leg, why: ConnectError::Certificate { peer, reason } } => {
                if let Some(record) = self.calls.get_mut(&leg) {
                    record.untrusted = Some(EndCause::NotTrusted { peer, reason });
                }
            }
            // The end of the call follows and reports it.
            AgentEvent::Unreachable { .. } => {}
            AgentEvent::MediaClosed { leg, report } => {
                if let Some(record) = self.calls.get_mut(&leg) {
                    record.media_closed(&report, &self.events);
                }
                if let Some(logs) = &mut self.logs {
                    logs.counters(leg, &report);
                }
            }
            AgentEvent::Ended { leg, cause } => {
                self.leaves(leg);
                self.forget(leg);
                let known = self.calls.get_mut(&leg).and_then(|record| record.untrusted.take());
                self.go_on(leg, Happening::Ended(known.unwrap_or_else(|| cause.into())));
                self.calls.remove(&leg);
                if let Some(logs) = &mut self.logs {
                    logs.look(&mut self.service);
                    logs.ends(leg);
                }
            }
        }
    }

    fn incoming(
        &mut self,
        leg: LegId,
        from: String,
        to: String,
        replaces: Option<LegId>,
        headers: Vec<(String, String)>,
    ) {
        let place = match &self.incoming {
            _ if replaces.is_none() && self.calls.len() >= self.settings.max => Err(BUSY),
            None => Err(NOBODY),
            Some(sender) => sender.clone().try_reserve_owned().map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => BUSY,
                mpsc::error::TrySendError::Closed(_) => NOBODY,
            }),
        };
        self.log(leg);
        let (program, media) = sides();
        let shared = Arc::new(self.shared(leg, from.clone(), CallState::Ringing, program));
        let call = shared.id();
        let follows = replaces.map(|replaced| (replaced, false));
        self.calls.insert(leg, Record { follows, ..Record::new(shared.clone(), Some(media)) });
        let _ = self.events.send(ClientEvent::Incoming { call, from, to: to.clone() });
        if replaces.is_some() && self.takes_place(leg) {
            return;
        }
        let replaces = replaces.and_then(|leg| self.calls.get(&leg)).map(|record| record.shared.id());
        match place {
            Ok(place) => drop(place.send(IncomingCall { shared, to, replaces, headers, decided: false })),
            Err(status) => {
                let _ = self.service.reject(leg, status, "");
            }
        }
    }

    fn go_on(&self, leg: LegId, happening: Happening) {
        if let Some(record) = self.calls.get(&leg) {
            go_on(&record.shared, happening, &self.events);
        }
    }

    pub(super) fn tell(&self, leg: LegId, event: impl FnOnce(CallId) -> ClientEvent) {
        if let Some(record) = self.calls.get(&leg) {
            // An error means that there is no subscriber.
            let _ = self.events.send(event(record.shared.id()));
        }
    }
}
