//! Recordings of calls, and of single legs.
//!
//! That of a call begins with the first answer, and goes on in the same file whoever of the call's legs comes and goes.
//! What is recorded is an endpoint: the party of leg A on the left. When that leg goes, and another one stays, the
//! recording goes over to that one, which is the other side.
//!
//! That of a leg is what its party says, or what it hears, too, wherever it goes. It ends with the leg, and stands beside
//! the recording of its call.

use std::collections::VecDeque;
use std::path::Path;

use super::command::{Record, RecordLeg, Reply};
use super::waiting::OnMedia;
use super::{Switch, Turn};
use crate::controller::{EndpointId, MediaError, Recorded, RecordingId, RecordingSpec};
use crate::event::{Event, RecordingNews};
use crate::recording::RecordingRequest;
use crate::service::{CallError, Watched};
use crate::{CallId, LegId};

/// The way back to who has asked for a recording, or for its end.
pub(super) type Asks = Reply<Result<Option<Recorded>, CallError>>;

/// Whose recording it is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Subject {
    Call(CallId),
    Leg(LegId),
}

impl Subject {
    fn leg(self) -> Option<LegId> {
        match self {
            Subject::Call(_) => None,
            Subject::Leg(leg) => Some(leg),
        }
    }

    fn wrong(self, of_call: &'static str, of_leg: &'static str) -> CallError {
        CallError::WrongState(if self.leg().is_some() { of_leg } else { of_call })
    }

    fn not_recorded(self) -> CallError {
        self.wrong("the call is not recorded", "the leg is not recorded")
    }
}

/// Recordings that are ended and whose files are not known to be complete, at most: who carries media says so of
/// each, and says nothing any more once it is gone.
const ENDING: usize = 1_024;

/// Recordings whose calls or legs have them no more, and whose files are on their way to being complete.
#[derive(Default)]
pub(super) struct Ending(VecDeque<(RecordingId, CallId, Option<LegId>)>);

impl Ending {
    fn add(&mut self, id: RecordingId, call: CallId, leg: Option<LegId>) {
        if self.0.len() == ENDING {
            self.0.pop_front();
        }
        self.0.push_back((id, call, leg));
    }

    /// Whose it was; none: it is not one of them.
    fn take(&mut self, id: RecordingId) -> Option<(CallId, Option<LegId>)> {
        let place = self.0.iter().position(|(it, ..)| *it == id)?;
        self.0.remove(place).map(|(_, call, leg)| (call, leg))
    }
}

/// A recording that runs, or is to.
pub(super) struct Recording {
    spec: RecordingSpec,
    /// Whose endpoint it is; none: nobody has answered yet.
    leg: Option<LegId>,
    /// None: there is no file yet.
    id: Option<RecordingId>,
    paused: bool,
    /// What is recorded is the other side of who was recorded at first.
    swapped: bool,
}

impl Recording {
    /// The file, and whether it is paused; none: it has not begun.
    pub fn shown(&self) -> Option<(&Path, bool)> {
        self.id.map(|_| (self.spec.path.as_path(), self.paused))
    }
}

/// What is recorded of a call or of a leg, and how often something was.
#[derive(Default)]
pub(super) struct Recordings {
    pub running: Option<Box<Recording>>,
    begun: u32,
}

impl Recordings {
    /// One is to run; `spec`: of this number of it.
    fn begin(
        &mut self,
        subject: Subject,
        spec: impl FnOnce(u32) -> Option<RecordingSpec>,
    ) -> Result<(), CallError> {
        if self.running.is_some() {
            return Err(subject.wrong("the call is recorded already", "the leg is recorded already"));
        }
        let no_folder = CallError::WrongState("there is no folder for recordings");
        let spec = spec(self.begun + 1).ok_or(no_folder)?;
        self.begun += 1;
        self.running = Some(Box::new(Recording { spec, leg: None, id: None, paused: false, swapped: false }));
        Ok(())
    }
}

impl Switch {
    /// Carries out what somebody wants of a call's recording.
    pub(super) fn obey_record(&mut self, t: &mut Turn<'_>, call: CallId, what: Record, reply: Asks) {
        let subject = Subject::Call(call);
        // An answer that nobody waits for is no fault.
        let done = match what {
            Record::Begin(spec) => self.record_call(t, call, spec.map(|spec| *spec)),
            Record::Pause(paused) => self.pause_recording(subject, paused),
            Record::End => return self.stop_recording(t, subject, reply),
        };
        let _ = reply.send(done.map(|()| None));
    }

    /// The same of a leg's recording.
    pub(super) fn obey_record_leg(&mut self, t: &mut Turn<'_>, leg: LegId, what: RecordLeg, reply: Asks) {
        let subject = Subject::Leg(leg);
        let done = match what {
            RecordLeg::Begin { both } => match self.record_leg(t, leg, both) {
                Ok(endpoint) => return self.start_recording(t, subject, (leg, endpoint), reply),
                Err(error) => Err(error),
            },
            RecordLeg::Pause(paused) => self.pause_recording(subject, paused),
            RecordLeg::End => return self.stop_recording(t, subject, reply),
        };
        let _ = reply.send(done.map(|()| None));
    }

    /// What is recorded of this one, and of which call it is now.
    fn recordings(&mut self, subject: Subject) -> Option<(CallId, &mut Recordings)> {
        match subject {
            Subject::Call(call) => Some((call, &mut self.calls.get_mut(call)?.recordings)),
            Subject::Leg(leg) => self.calls.leg_mut(leg).map(|it| (it.call, &mut it.recordings)),
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
        let rules = self.config.recording.as_deref();
        let usual = |nth| rules.map(|rules| rules.spec(call, nth, t.wall));
        it.recordings.begin(Subject::Call(call), |nth| spec.or_else(|| usual(nth)))?;
        self.begin_recording(t, call);
        Ok(())
    }

    /// A leg is to be recorded: its endpoint.
    fn record_leg(&mut self, t: &Turn<'_>, leg: LegId, both: bool) -> Result<EndpointId, CallError> {
        let endpoint = self.leg_media(leg)?.endpoint;
        let it = self.calls.leg_mut(leg).ok_or(CallError::Gone)?;
        let (rules, call) = (self.config.recording.as_deref(), it.call);
        let spec = |nth| rules.map(|rules| rules.spec_of_leg(call, leg, nth, both, t.wall));
        it.recordings.begin(Subject::Leg(leg), spec)?;
        Ok(endpoint)
    }

    /// Begins the recording that a call is to have, once one of its legs is up.
    pub(super) fn begin_recording(&mut self, t: &mut Turn<'_>, call: CallId) {
        let Some(it) = self.calls.get(call) else { return self.counters.impossible("begin_recording") };
        if it.recordings.running.as_ref().is_none_or(|recording| recording.leg.is_some()) {
            return;
        }
        let up = |leg| Some((leg, self.up_endpoint(leg)?));
        if let Some(of) = up(it.a).or_else(|| it.legs.ids().find_map(up)) {
            self.start_recording(t, Subject::Call(call), of, Reply::default());
        }
    }

    fn start_recording(
        &mut self,
        t: &mut Turn<'_>,
        subject: Subject,
        (leg, endpoint): (LegId, EndpointId),
        reply: Asks,
    ) {
        let recordings = self.recordings(subject);
        let Some((call, Some(it))) = recordings.map(|(call, it)| (call, it.running.as_mut())) else {
            return self.counters.impossible("start_recording");
        };
        it.leg = Some(leg);
        let spec = it.spec.clone();
        // What goes past b2b cannot be recorded.
        self.never_direct(call);
        self.lead(t, call);
        let begun = self.parts.controller.start_recording(endpoint, &spec);
        self.media(t, begun, OnMedia::Recording { call, subject, reply });
    }

    /// It has begun, or could not. `call`: whose it was then.
    pub(super) fn recording_begun(
        &mut self,
        t: &mut Turn<'_>,
        (call, subject): (CallId, Subject),
        begun: Result<RecordingId, MediaError>,
        reply: Asks,
    ) {
        let recordings = self.recordings(subject);
        let (call, recording) = recordings.map_or((call, None), |(call, it)| (call, it.running.as_mut()));
        let leg = subject.leg();
        let done = match (recording, begun) {
            (Some(it), Ok(id)) => {
                it.id = Some(id);
                let (paused, path) = (it.paused, it.spec.path.to_string_lossy().into_owned());
                if paused {
                    self.parts.controller.pause_recording(id, true);
                }
                self.note_recording(call, "recording", &path);
                let file = Some(path);
                let news = RecordingNews { call, leg, on: true, file, seconds: None, error: None };
                self.tell(t, Event::Recording(news));
                Ok(None)
            }
            // Nobody wants it any more.
            (None, Ok(id)) => {
                self.counters.late();
                drop(self.parts.controller.stop_recording(id));
                Err(CallError::Gone)
            }
            (_, Err(error)) => {
                tracing::warn!("call {}: {error}", call.0);
                if let Some((_, it)) = self.recordings(subject) {
                    it.running = None;
                }
                self.note_recording(call, "recording_error", &error.to_string());
                // Who has asked for that of a leg hears it.
                if leg.is_none() {
                    self.tell_not_recorded(t, call, leg, &error);
                }
                Err(error.into())
            }
        };
        let _ = reply.send(done);
    }

    /// For the records of the call's legs. Several recordings stand one behind the other.
    fn note_recording(&mut self, call: CallId, name: &str, text: &str) {
        let known = self.variables_of(call).into_iter().find(|(known, _)| known == name);
        let all = known.map_or_else(|| text.to_owned(), |(_, before)| format!("{before} {text}"));
        if let Err(error) = self.set_variable(Watched::Call(call), name.to_owned(), all) {
            tracing::warn!("call {}: variable {name} is missing in its call record: {error}", call.0);
        }
    }

    fn pause_recording(&mut self, subject: Subject, paused: bool) -> Result<(), CallError> {
        let (_, it) = self.recordings(subject).ok_or(CallError::Gone)?;
        let it = it.running.as_mut().ok_or(subject.not_recorded())?;
        it.paused = paused;
        if let Some(id) = it.id {
            self.parts.controller.pause_recording(id, paused);
        }
        Ok(())
    }

    /// Ends a recording, and answers with what has become of it.
    fn stop_recording(&mut self, t: &mut Turn<'_>, subject: Subject, reply: Asks) {
        let Some((call, it)) = self.recordings(subject) else {
            return drop(reply.send(Err(CallError::Gone)));
        };
        let Some(recording) = it.running.take() else {
            return drop(reply.send(Err(subject.not_recorded())));
        };
        let Some(id) = recording.id else { return drop(reply.send(Ok(None))) };
        self.recordings_ending.add(id, call, subject.leg());
        let recorded = self.parts.controller.stop_recording(id);
        self.media(t, recorded, OnMedia::Recorded { call, id, reply });
    }

    /// There is no file.
    fn tell_not_recorded(&mut self, t: &Turn<'_>, call: CallId, leg: Option<LegId>, error: &MediaError) {
        let error = Some(error.to_string());
        let news = RecordingNews { call, leg, on: false, file: None, seconds: None, error };
        self.tell(t, Event::Recording(news));
    }

    /// Its file is complete, or is not.
    pub(super) fn recording_finished(
        &mut self,
        t: &Turn<'_>,
        (call, id): (CallId, RecordingId),
        recorded: Result<Recorded, MediaError>,
        reply: Asks,
    ) {
        if let Err(error) = &recorded
            && let Some((call, leg)) = self.recordings_ending.take(id)
        {
            self.tell_not_recorded(t, call, leg, error);
        }
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
        let legs = self.calls.leg_ids().into_iter().map(Subject::Leg);
        let mut all = self.calls.ids().into_iter().map(Subject::Call).chain(legs);
        let its = all.find_map(|subject| {
            let (call, it) = self.recordings(subject)?;
            it.running.take_if(|it| it.id == Some(id)).map(|_| (call, subject))
        });
        let ended_here = its.map(|(call, subject)| (call, subject.leg()));
        // One that was ended on request, or with its call or its leg, is nobody's any more.
        let Some((call, leg)) = ended_here.or_else(|| self.recordings_ending.take(id)) else {
            return self.counters.late();
        };
        if let Some(error) = recorded.error.as_deref().filter(|_| ended_here.is_some()) {
            self.note_recording(call, "recording_error", error);
        }
        let news = RecordingNews {
            call,
            leg,
            on: false,
            file: Some(recorded.path.to_string_lossy().into_owned()),
            seconds: Some(recorded.lasts.as_secs_f64()),
            error: recorded.error.clone(),
        };
        self.tell(t, Event::Recording(news));
    }

    /// A call is about to be over; its file is completed in time.
    pub(super) fn recording_over(&mut self, call: CallId) {
        let recording = self.calls.get_mut(call).and_then(|it| it.recordings.running.take());
        if let Some(id) = recording.and_then(|it| it.id) {
            self.recordings_ending.add(id, call, None);
            drop(self.parts.controller.stop_recording(id));
        }
    }

    /// The media of a leg is about to go, and its own recording with it.
    pub(super) fn recording_ends_with(&mut self, leg: LegId) {
        let ends = self.calls.leg_mut(leg).and_then(|it| Some((it.call, it.recordings.running.take()?.id?)));
        if let Some((call, id)) = ends {
            self.recordings_ending.add(id, call, Some(leg));
        }
    }

    fn up_endpoint(&self, leg: LegId) -> Option<EndpointId> {
        self.calls.leg(leg).filter(|it| it.is_up())?.media.endpoint
    }

    /// The media of a leg is about to go: what is recorded of it goes on with who stays.
    pub(super) fn recording_goes_over(&mut self, leg: LegId) {
        if let Some((call, stays, endpoint)) = self.recorded_next(leg)
            && let Some(it) = self.calls.get_mut(call).and_then(|it| it.recordings.running.as_mut())
            && let Some(id) = it.id
        {
            match self.parts.controller.follow_recording(id, endpoint, !it.swapped) {
                Ok(()) => (it.leg, it.swapped) = (Some(stays), !it.swapped),
                Err(error) => {
                    tracing::warn!(
                        "call {}: its recording ends together with leg {}: {error}",
                        call.0,
                        leg.0
                    );
                }
            }
        }
    }

    /// With whom the recording of this leg goes on, if it is recorded and somebody stays.
    fn recorded_next(&self, leg: LegId) -> Option<(CallId, LegId, EndpointId)> {
        let call = self.calls.leg(leg)?.call;
        let it = self.calls.get(call)?;
        it.recordings
            .running
            .as_ref()
            .filter(|recording| recording.leg == Some(leg) && recording.id.is_some())?;
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
        let its = self.calls.get_mut(from);
        let recording =
            its.and_then(|it| it.recordings.running.take_if(|recording| recording.leg == Some(leg)));
        let into = self.calls.get_mut(into).filter(|it| it.recordings.running.is_none());
        match (recording, into) {
            (Some(recording), Some(into)) => into.recordings.running = Some(recording),
            (Some(recording), None) => {
                if let Some(id) = recording.id {
                    self.recordings_ending.add(id, from, None);
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
        let running = self.calls.get(call).and_then(|it| it.recordings.running.as_ref()).map(|it| it.paused);
        let done = match (request, running) {
            (RecordingRequest::Toggle, None) => self.record_call(t, call, None),
            (RecordingRequest::Toggle, Some(_)) => {
                self.stop_recording(t, Subject::Call(call), Reply::default());
                Ok(())
            }
            (RecordingRequest::Pause, Some(paused)) => self.pause_recording(Subject::Call(call), !paused),
            (RecordingRequest::Pause, None) => Ok(()),
        };
        if let Err(error) = done {
            tracing::info!("call {}: {error}", call.0);
        }
        true
    }
}
