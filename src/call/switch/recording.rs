//! Recordings of calls: they begin with the first answer, and go on in the same file whoever of
//! the call's legs comes and goes.
//!
//! What is recorded is an endpoint: the party of leg A on the left. When that leg goes, and
//! another one stays, the recording goes over to that one, which is the other side.

use super::command::{Record, Reply};
use super::waiting::OnMedia;
use super::{Switch, Turn};
use crate::controller::{EndpointId, MediaError, Recorded, RecordingId, RecordingSpec};
use crate::event::Event;
use crate::recording::RecordingRequest;
use crate::service::{CallError, Watched};
use crate::{CallId, LegId};

/// The recording of a call.
pub(super) struct Recording {
    spec: RecordingSpec,
    /// Whose endpoint it is; none: nobody has answered yet.
    leg: Option<LegId>,
    /// None: there is no file yet.
    id: Option<RecordingId>,
    pub paused: bool,
    /// What is recorded is the other side of who was recorded at first.
    swapped: bool,
}

impl Recording {
    /// The file, and whether it is paused; none: it has not begun.
    pub fn shown(&self) -> Option<(&std::path::Path, bool)> {
        self.id.map(|_| (self.spec.path.as_path(), self.paused))
    }
}

impl Switch {
    /// Carries out what somebody wants of a call's recording.
    pub(super) fn obey_record(
        &mut self,
        t: &mut Turn<'_>,
        call: CallId,
        what: Record,
        reply: Reply<Result<Option<Recorded>, CallError>>,
    ) {
        // An answer that nobody waits for is no fault.
        match what {
            Record::Begin(spec) => {
                let _ = reply.send(self.record_call(t, call, spec.map(|spec| *spec)).map(|()| None));
            }
            Record::Pause(paused) => {
                let _ = reply.send(self.pause_call_recording(call, paused).map(|()| None));
            }
            Record::End => self.stop_call_recording(t, call, reply),
        }
    }

    /// Records a call from its first answer on; without a spec, as the switch was told.
    pub(super) fn record_call(
        &mut self,
        t: &mut Turn<'_>,
        call: CallId,
        spec: Option<RecordingSpec>,
    ) -> Result<(), CallError> {
        let it = self.calls.get_mut(call).ok_or(CallError::Gone)?;
        if it.recording.is_some() {
            return Err(CallError::WrongState("the call is recorded already"));
        }
        it.recordings += 1;
        let rules = self.config.recording.as_deref();
        let spec = spec.or_else(|| rules.map(|rules| rules.spec(call, it.recordings, t.wall)));
        let spec = spec.ok_or(CallError::WrongState("there is no folder for recordings"))?;
        it.recording = Some(Box::new(Recording { spec, leg: None, id: None, paused: false, swapped: false }));
        self.begin_recording(t, call);
        Ok(())
    }

    /// Begins the recording that a call is to have, once one of its legs is up.
    pub(super) fn begin_recording(&mut self, t: &mut Turn<'_>, call: CallId) {
        let Some(it) = self.calls.get(call) else { return self.counters.impossible("begin_recording") };
        if it.recording.as_ref().is_none_or(|recording| recording.leg.is_some()) {
            return;
        }
        let up = |leg| Some((leg, self.up_endpoint(leg)?));
        if let Some(of) = up(it.a).or_else(|| it.legs.ids().find_map(up)) {
            self.record_endpoint(t, call, of);
        }
    }

    fn record_endpoint(&mut self, t: &mut Turn<'_>, call: CallId, (leg, endpoint): (LegId, EndpointId)) {
        // What goes past b2b cannot be recorded.
        self.never_direct(call);
        self.lead(t, call);
        let recording = self.calls.get_mut(call).and_then(|it| it.recording.as_mut());
        let Some(it) = recording else { return self.counters.impossible("record_endpoint") };
        it.leg = Some(leg);
        let begun = self.parts.controller.start_recording(endpoint, &it.spec);
        self.media(t, begun, OnMedia::Recording { call });
    }

    /// It has begun, or could not.
    pub(super) fn recording_begun(
        &mut self,
        t: &mut Turn<'_>,
        call: CallId,
        begun: Result<RecordingId, MediaError>,
    ) {
        let it = self.calls.get_mut(call).and_then(|it| it.recording.as_mut());
        match (it, begun) {
            (Some(it), Ok(id)) => {
                it.id = Some(id);
                if it.paused {
                    self.parts.controller.pause_recording(id, true);
                }
                let path = it.spec.path.to_string_lossy().into_owned();
                self.note_recording(call, "recording", &path);
                self.tell(t, Event::Recording { call, leg: None, on: true });
            }
            // Nobody wants it any more.
            (None, Ok(id)) => {
                self.counters.late();
                drop(self.parts.controller.stop_recording(id));
            }
            (_, Err(error)) => {
                tracing::warn!("call {}: {error}", call.0);
                if let Some(it) = self.calls.get_mut(call) {
                    it.recording = None;
                }
                self.note_recording(call, "recording_error", &error.to_string());
                self.tell(t, Event::Recording { call, leg: None, on: false });
            }
        }
    }

    /// For the records of the call's legs. Several recordings stand one behind the other.
    pub(super) fn note_recording(&mut self, call: CallId, name: &str, text: &str) {
        let known = self.variables_of(call).into_iter().find(|(known, _)| known == name);
        let all = known.map_or_else(|| text.to_owned(), |(_, before)| format!("{before} {text}"));
        if let Err(error) = self.set_variable(Watched::Call(call), name.to_owned(), all) {
            tracing::warn!("call {}: {name} is not in its record: {error}", call.0);
        }
    }

    fn pause_call_recording(&mut self, call: CallId, paused: bool) -> Result<(), CallError> {
        let it = self.calls.get_mut(call).ok_or(CallError::Gone)?;
        let it = it.recording.as_mut().ok_or(CallError::WrongState("the call is not recorded"))?;
        it.paused = paused;
        if let Some(id) = it.id {
            self.parts.controller.pause_recording(id, paused);
        }
        Ok(())
    }

    fn stop_call_recording(
        &mut self,
        t: &mut Turn<'_>,
        call: CallId,
        reply: Reply<Result<Option<Recorded>, CallError>>,
    ) {
        let Some(it) = self.calls.get_mut(call) else { return drop(reply.send(Err(CallError::Gone))) };
        let Some(recording) = it.recording.take() else {
            return drop(reply.send(Err(CallError::WrongState("the call is not recorded"))));
        };
        let Some(id) = recording.id else { return drop(reply.send(Ok(None))) };
        self.finish_recording(t, (call, None), id, reply);
    }

    /// Ends the recording of a call, or of one leg of it, and answers with what has become of it.
    pub(super) fn finish_recording(
        &mut self,
        t: &mut Turn<'_>,
        (call, leg): (CallId, Option<LegId>),
        id: RecordingId,
        reply: Reply<Result<Option<Recorded>, CallError>>,
    ) {
        self.tell(t, Event::Recording { call, leg, on: false });
        let recorded = self.parts.controller.stop_recording(id);
        self.media(t, recorded, OnMedia::Recorded { call, reply });
    }

    /// Its file is complete, or is not.
    pub(super) fn recording_finished(
        &mut self,
        call: CallId,
        recorded: Result<Recorded, MediaError>,
        reply: Reply<Result<Option<Recorded>, CallError>>,
    ) {
        if let Ok(Recorded { error: Some(error), .. }) = &recorded {
            self.note_recording(call, "recording_error", error);
        }
        // An answer that nobody waits for is no fault.
        let _ = reply.send(recorded.map(Some).map_err(CallError::from));
    }

    /// A recording is over, whoever ended it.
    pub(super) fn recorded(&mut self, t: &mut Turn<'_>, id: RecordingId, recorded: &Recorded) {
        if let Some(error) = &recorded.error {
            tracing::warn!("the recording {} ended: {error}", recorded.path.display());
            self.tell(t, Event::Error { component: "recording".to_owned(), message: error.clone() });
        }
        let its = |call: &CallId| {
            let it = self.calls.get(*call).and_then(|it| it.recording.as_ref());
            it.is_some_and(|it| it.id == Some(id))
        };
        let Some(call) = self.calls.ids().into_iter().find(its) else {
            return self.leg_recorded(t, id, recorded);
        };
        if let Some(it) = self.calls.get_mut(call) {
            it.recording = None;
        }
        if let Some(error) = &recorded.error {
            self.note_recording(call, "recording_error", error);
        }
        self.tell(t, Event::Recording { call, leg: None, on: false });
    }

    /// A call is about to be over; its file is completed in time.
    pub(super) fn recording_over(&mut self, t: &Turn<'_>, call: CallId) {
        let recording = self.calls.get_mut(call).and_then(|it| it.recording.take());
        if let Some(id) = recording.and_then(|it| it.id) {
            drop(self.parts.controller.stop_recording(id));
            self.tell(t, Event::Recording { call, leg: None, on: false });
        }
    }

    fn up_endpoint(&self, leg: LegId) -> Option<EndpointId> {
        self.calls.leg(leg).filter(|it| it.is_up())?.media.endpoint
    }

    /// The media of a leg is about to go: what is recorded of it goes on with who stays.
    pub(super) fn recording_goes_over(&mut self, leg: LegId) {
        if let Some((call, stays, endpoint)) = self.recorded_next(leg)
            && let Some(it) = self.calls.get_mut(call).and_then(|it| it.recording.as_mut())
            && let Some(id) = it.id
        {
            match self.parts.controller.follow_recording(id, endpoint, !it.swapped) {
                Ok(()) => (it.leg, it.swapped) = (Some(stays), !it.swapped),
                Err(error) => {
                    tracing::warn!("call {}: its recording ends with leg {}: {error}", call.0, leg.0);
                }
            }
        }
    }

    /// With whom the recording of this leg goes on, if it is recorded and somebody stays.
    fn recorded_next(&self, leg: LegId) -> Option<(CallId, LegId, EndpointId)> {
        let call = self.calls.leg(leg)?.call;
        let it = self.calls.get(call)?;
        it.recording.as_ref().filter(|recording| recording.leg == Some(leg) && recording.id.is_some())?;
        let bridge = it.bridge.as_ref();
        // After a transfer the first one of the bridge is who has stayed.
        let other = bridge.map(|bridge| bridge.other(leg).unwrap_or(bridge.a));
        let up = |other| Some((other, self.up_endpoint(other).filter(|_| other != leg)?));
        let (stays, endpoint) = other.and_then(up).or_else(|| it.legs.ids().find_map(up))?;
        Some((call, stays, endpoint))
    }

    /// A leg has moved from one call to another: its recording goes with it, unless that call
    /// has one.
    pub(super) fn move_recording(&mut self, leg: LegId, from: CallId, into: CallId) {
        let from = self.calls.get_mut(from);
        let recording = from.and_then(|it| it.recording.take_if(|recording| recording.leg == Some(leg)));
        let into = self.calls.get_mut(into).filter(|it| it.recording.is_none());
        match (recording, into) {
            (Some(recording), Some(into)) => into.recording = Some(recording),
            (Some(recording), None) => {
                if let Some(id) = recording.id {
                    drop(self.parts.controller.stop_recording(id));
                }
            }
            (None, _) => {}
        }
    }

    /// A digit of a party that is in a bridge: it may be for us. Whether codes of this party are awaited.
    pub(super) fn feature_digit(&mut self, t: &mut Turn<'_>, leg: LegId, digit: char) -> bool {
        let Some(rules) = self.config.recording.clone() else { return false };
        let Some((call, ..)) = self.bridged(leg).filter(|(_, _, mode)| mode.intercepts()) else {
            return false;
        };
        let Some(it) = self.calls.leg_mut(leg) else {
            self.counters.impossible("feature_digit");
            return false;
        };
        // Whoever comes by a gateway is nobody of ours.
        if it.identity.party.gateway.is_some() {
            return false;
        }
        let Some(request) = rules.digit(it.keys.codes.get_or_insert_default(), digit, t.now) else {
            return true;
        };
        let running = self.calls.get(call).and_then(|it| it.recording.as_ref()).map(|it| it.paused);
        let done = match (request, running) {
            (RecordingRequest::Toggle, None) => self.record_call(t, call, None),
            (RecordingRequest::Toggle, Some(_)) => {
                self.stop_call_recording(t, call, Reply::default());
                Ok(())
            }
            (RecordingRequest::Pause, Some(paused)) => self.pause_call_recording(call, !paused),
            (RecordingRequest::Pause, None) => Ok(()),
        };
        if let Err(error) = done {
            tracing::info!("call {}: {error}", call.0);
        }
        true
    }
}
