//! Recordings of calls, and of single legs.
//!
//! The recording of a call begins with its first answer and continues in the same file as legs come and go.
//! The recorded object is an endpoint: the party of leg A is on the left. When that leg goes and another one
//! stays, the recording moves to the latter, with the sides swapped.
//!
//! The recording of a leg contains what its party says, optionally also what it hears, wherever the leg goes.
//! It ends with the leg, and is independent of the recording of its call.

use std::collections::VecDeque;
use std::path::Path;

use super::table::{Call, Leg};
use super::waiting::OnMedia;
use super::{CallStep, Common, Switch, Turn};
use crate::controller::{EndpointId, MediaError, Recorded, RecordingId, RecordingSpec};
use crate::event::{Event, RecordingNews};
use crate::recording::RecordingRequest;
use crate::service::CallError;
use crate::service::command::{Record, RecordLeg, Reply};
use crate::{CallId, LegId};

/// Where the outcome of a request to start or end a recording is sent.
pub(super) type Asks = Reply<Result<Option<Recorded>, CallError>>;

/// The owner of a recording.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
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

/// Maximum number of ended recordings whose files are not known to be complete: the media backend reports
/// each, but none once it is gone.
const ENDING: usize = 1_024;

/// Ended recordings whose files are still being completed.
#[derive(Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Ending(VecDeque<(RecordingId, CallId, Option<LegId>)>);

impl Ending {
    pub fn add(&mut self, id: RecordingId, call: CallId, leg: Option<LegId>) {
        if self.0.len() == ENDING {
            self.0.pop_front();
        }
        self.0.push_back((id, call, leg));
    }

    /// The owner of a recording; `None`: it is not among them.
    fn take(&mut self, id: RecordingId) -> Option<(CallId, Option<LegId>)> {
        let place = self.0.iter().position(|(it, ..)| *it == id)?;
        self.0.remove(place).map(|(_, call, leg)| (call, leg))
    }
}

/// Why a recording pauses. It continues when there is no reason left.
#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Pauses {
    /// An operator or a party has paused it.
    by_request: bool,
    /// What a party enters is kept secret.
    for_secret: bool,
}

impl Pauses {
    fn any(&self) -> bool {
        self.by_request || self.for_secret
    }
}

/// A recording that is running or waiting to start.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct Recording {
    spec: RecordingSpec,
    /// The leg whose endpoint is recorded; `None`: no leg is answered yet.
    leg: Option<LegId>,
    /// `None`: there is no file yet.
    id: Option<RecordingId>,
    pauses: Pauses,
    /// The recorded endpoint is the other side of the first one.
    swapped: bool,
}

impl Recording {
    /// The file, and whether it is paused; `None`: the recording has not begun.
    pub fn shown(&self) -> Option<(&Path, bool)> {
        self.id.map(|_| (self.spec.path.as_path(), self.pauses.any()))
    }
}

/// The recording of a call or leg, and the number of recordings begun so far.
#[derive(Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Recordings {
    pub running: Option<Box<Recording>>,
    begun: u32,
}

impl Recordings {
    /// Starts a recording; `spec` makes the specification for its sequence number.
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
        let (leg, id, pauses) = (None, None, Pauses::default());
        self.running = Some(Box::new(Recording { spec, leg, id, pauses, swapped: false }));
        Ok(())
    }
}

impl Call {
    /// Takes the recording with this number out, and says whose it is: that of a leg, or the call's own.
    fn recorded_by(&mut self, id: RecordingId) -> Option<Option<LegId>> {
        let take = |it: &mut Recordings| it.running.take_if(|it| it.id == Some(id)).is_some();
        if take(&mut self.recordings) {
            return Some(None);
        }
        self.legs.each_mut().find_map(|(leg, it)| take(&mut it.recordings).then_some(Some(leg)))
    }
}

impl Switch {
    /// A recording has ended, for whatever reason.
    pub(super) fn recorded(&mut self, t: &mut Turn<'_>, id: RecordingId, recorded: &Recorded) {
        if let Some(error) = &recorded.error {
            tracing::warn!("the recording {} ended: {error}", recorded.path.display());
            self.tell(t, Event::Error { component: "recording".to_owned(), message: error.clone() });
        }
        let ended_here = self.calls.ids().into_iter().find_map(|call| {
            let it = self.calls.get_mut(call)?;
            let leg = it.recorded_by(id)?;
            Some((call, leg))
        });
        // A recording ended on request, or with its call or leg, has no owner any more.
        let Some((call, leg)) = ended_here.or_else(|| self.common.recordings_ending.take(id)) else {
            return self.common.counters.late();
        };
        if let Some(error) = recorded.error.as_deref().filter(|_| ended_here.is_some()) {
            self.in_call(call, |step| step.note_recording("recording_error", error));
        }
        let news = RecordingNews {
            call,
            leg,
            id: Some(id.0),
            on: false,
            file: Some(recorded.path.to_string_lossy().into_owned()),
            seconds: Some(recorded.lasts.as_secs_f64()),
            error: recorded.error.clone(),
        };
        self.tell(t, Event::Recording(news));
    }

    /// A leg has moved from one call to another: its recording moves with it, unless that call has one.
    pub(super) fn move_recording(&mut self, leg: LegId, from: CallId, into: CallId) {
        let its = self.calls.get_mut(from);
        let recording =
            its.and_then(|it| it.recordings.running.take_if(|recording| recording.leg == Some(leg)));
        let into = self.calls.get_mut(into).filter(|it| it.recordings.running.is_none());
        match (recording, into) {
            (Some(recording), Some(into)) => into.recordings.running = Some(recording),
            (Some(recording), None) => {
                if let Some(id) = recording.id {
                    self.common.recordings_ending.add(id, from, None);
                    drop(self.common.parts.controller.stop_recording(id));
                }
            }
            (None, _) => {}
        }
    }
}

impl CallStep<'_> {
    /// Carries out a command for a call's recording.
    pub(super) fn obey_record(&mut self, t: &mut Turn<'_>, what: Record, reply: Asks) {
        let call = self.id;
        let subject = Subject::Call(call);
        // A closed receiver is no error.
        let done = match what {
            Record::Begin(spec) => self.record_call(t, spec.map(|spec| *spec)),
            Record::Pause(paused) => self.pause_recording(subject, paused),
            Record::End => return self.stop_recording(t, subject, reply),
        };
        let _ = reply.send(done.map(|()| None));
    }

    /// Carries out a command for a leg's recording.
    pub(super) fn obey_record_leg(&mut self, t: &mut Turn<'_>, leg: LegId, what: RecordLeg, reply: Asks) {
        let subject = Subject::Leg(leg);
        let done = match what {
            RecordLeg::Begin { both } => match self.record_leg(t, leg, both) {
                Ok(endpoint) => return self.start_recording(t, subject, leg, endpoint, reply),
                Err(error) => Err(error),
            },
            RecordLeg::Pause(paused) => self.pause_recording(subject, paused),
            RecordLeg::End => return self.stop_recording(t, subject, reply),
        };
        let _ = reply.send(done.map(|()| None));
    }

    /// The recordings of a subject, and the call it belongs to now.
    fn recordings(&mut self, subject: Subject) -> Option<(CallId, &mut Recordings)> {
        match subject {
            Subject::Call(call) => Some((call, &mut self.call.recordings)),
            Subject::Leg(leg) => self.call.leg_mut(leg).map(|it| (it.call, &mut it.recordings)),
        }
    }

    /// Records a call from its first answer on; without a spec, as the switch is configured.
    pub(super) fn record_call(
        &mut self,
        t: &mut Turn<'_>,
        spec: Option<RecordingSpec>,
    ) -> Result<(), CallError> {
        let call = self.id;
        let it = &mut *self.call;
        let rules = self.common.config.recording.as_deref();
        let usual = |nth| rules.map(|rules| rules.spec(call, nth, t.wall));
        it.recordings.begin(Subject::Call(call), |nth| spec.or_else(|| usual(nth)))?;
        self.begin_recording(t);
        Ok(())
    }

    /// Registers the recording of a leg; returns its endpoint.
    fn record_leg(&mut self, t: &Turn<'_>, leg: LegId, both: bool) -> Result<EndpointId, CallError> {
        let endpoint = self.call.leg_media(leg)?;
        let it = self.call.leg_mut(leg).ok_or(CallError::Gone)?;
        let (rules, call) = (self.common.config.recording.as_deref(), it.call);
        let spec = |nth| rules.map(|rules| rules.spec_of_leg(call, leg, nth, both, t.wall));
        it.recordings.begin(Subject::Leg(leg), spec)?;
        Ok(endpoint)
    }

    /// Starts a call's waiting recording once one of its legs is up.
    pub(super) fn begin_recording(&mut self, t: &mut Turn<'_>) {
        let call = self.id;
        let it = &*self.call;
        if it.recordings.running.as_ref().is_none_or(|recording| recording.leg.is_some()) {
            return;
        }
        let up = |leg| Some((leg, self.up_endpoint(leg)?));
        if let Some((leg, endpoint)) = up(it.a).or_else(|| it.legs.ids().find_map(up)) {
            self.start_recording(t, Subject::Call(call), leg, endpoint, Reply::default());
        }
    }

    fn start_recording(
        &mut self,
        t: &mut Turn<'_>,
        subject: Subject,
        leg: LegId,
        endpoint: EndpointId,
        reply: Asks,
    ) {
        let recordings = self.recordings(subject);
        let Some((call, Some(it))) = recordings.map(|(call, it)| (call, it.running.as_mut())) else {
            return self.common.counters.impossible("start_recording");
        };
        it.leg = Some(leg);
        let spec = it.spec.clone();
        // Direct media cannot be recorded.
        self.never_direct();
        self.lead(t);
        let begun = self.common.parts.controller.start_recording(endpoint, &spec);
        self.media(t, begun, OnMedia::Recording { call, subject, reply });
    }

    /// The recording has begun, or starting has failed. `call`: the call it belonged to when requested.
    pub(super) fn recording_begun(
        &mut self,
        t: &mut Turn<'_>,
        subject: Subject,
        begun: Result<RecordingId, MediaError>,
        reply: Asks,
    ) {
        let call = self.id;
        let for_secret = self.keeps_secret(subject);
        let recordings = self.recordings(subject);
        let (call, recording) = recordings.map_or((call, None), |(call, it)| (call, it.running.as_mut()));
        let leg = subject.leg();
        let done = match (recording, begun) {
            (Some(it), Ok(id)) => {
                it.id = Some(id);
                it.pauses.for_secret = for_secret;
                let (paused, path) = (it.pauses.any(), it.spec.path.to_string_lossy().into_owned());
                if paused {
                    self.common.parts.controller.pause_recording(id, true);
                }
                self.note_recording("recording", &path);
                let file = Some(path);
                let id = Some(id.0);
                let news = RecordingNews { call, leg, id, on: true, file, seconds: None, error: None };
                self.tell(t, Event::Recording(news));
                Ok(None)
            }
            // The recording has been ended meanwhile.
            (None, Ok(id)) => {
                self.common.counters.late();
                drop(self.common.parts.controller.stop_recording(id));
                Err(CallError::Gone)
            }
            (_, Err(error)) => {
                tracing::warn!("call {}: {error}", call.0);
                if let Some((_, it)) = self.recordings(subject) {
                    it.running = None;
                }
                self.note_recording("recording_error", &error.to_string());
                // For a leg the sender of the command gets the error.
                if leg.is_none() {
                    self.tell(t, not_recorded(call, leg, &error));
                }
                Err(error.into())
            }
        };
        let _ = reply.send(done);
    }

    /// Notes the recording for the records of the call's legs. Several recordings are listed one after the
    /// other.
    fn note_recording(&mut self, name: &str, text: &str) {
        let call = self.id;
        let known = self.call.variables().into_iter().find(|(known, _)| known == name);
        let all = known.map_or_else(|| text.to_owned(), |(_, before)| format!("{before} {text}"));
        if let Err(error) = self.call.set_variable(name.to_owned(), all) {
            tracing::warn!("call {}: variable {name} is missing in its call record: {error}", call.0);
        }
    }

    fn pause_recording(&mut self, subject: Subject, paused: bool) -> Result<(), CallError> {
        self.change_pauses(subject, |pauses| pauses.by_request = paused)
    }

    /// A secret has begun or ended, or the leg that it is about has come or gone.
    pub(super) fn pause_for_secrets(&mut self, subject: Subject) {
        let for_secret = self.keeps_secret(subject);
        // What is not recorded needs no pause.
        let _ = self.change_pauses(subject, |pauses| pauses.for_secret = for_secret);
    }

    fn change_pauses(&mut self, subject: Subject, change: impl FnOnce(&mut Pauses)) -> Result<(), CallError> {
        let (_, it) = self.recordings(subject).ok_or(CallError::Gone)?;
        let it = it.running.as_mut().ok_or(subject.not_recorded())?;
        let before = it.pauses.any();
        change(&mut it.pauses);
        let paused = it.pauses.any();
        if let Some(id) = it.id.filter(|_| paused != before) {
            self.common.parts.controller.pause_recording(id, paused);
        }
        Ok(())
    }

    /// Whether something is kept secret that a recording would have.
    fn keeps_secret(&self, subject: Subject) -> bool {
        let keeps = |it: &Leg| it.keys.secrets > 0 && it.media.endpoint.is_some();
        match subject {
            Subject::Call(_) => self.call.legs.iter().any(|(_, leg)| keeps(leg)),
            Subject::Leg(leg) => self.call.leg(leg).is_some_and(keeps),
        }
    }

    /// Ends a recording, and answers with the outcome.
    fn stop_recording(&mut self, t: &mut Turn<'_>, subject: Subject, reply: Asks) {
        let Some((call, it)) = self.recordings(subject) else {
            return drop(reply.send(Err(CallError::Gone)));
        };
        let Some(recording) = it.running.take() else {
            return drop(reply.send(Err(subject.not_recorded())));
        };
        let Some(id) = recording.id else { return drop(reply.send(Ok(None))) };
        self.common.recordings_ending.add(id, call, subject.leg());
        let recorded = self.common.parts.controller.stop_recording(id);
        self.media(t, recorded, OnMedia::Recorded { call, id, reply });
    }

    /// The file of a recording is complete, or completing it has failed.
    pub(super) fn recording_finished(
        &mut self,
        t: &Turn<'_>,
        id: RecordingId,
        recorded: Result<Recorded, MediaError>,
        reply: Asks,
    ) {
        if let Err(error) = &recorded
            && let Some((call, leg)) = self.common.recordings_ending.take(id)
        {
            self.tell(t, not_recorded(call, leg, error));
        }
        if let Ok(Recorded { error: Some(error), .. }) = &recorded {
            self.note_recording("recording_error", error);
        }
        // A closed receiver is no error.
        let _ = reply.send(recorded.map(Some).map_err(CallError::from));
    }

    /// Ends the recording of a call that is about to end; its file is completed later.
    pub(super) fn recording_over(&mut self) {
        let call = self.id;
        let recording = self.call.recordings.running.take();
        if let Some(id) = recording.and_then(|it| it.id) {
            self.common.recordings_ending.add(id, call, None);
            drop(self.common.parts.controller.stop_recording(id));
        }
    }

    /// The media of a leg is about to be released, which ends the leg's own recording.
    pub(super) fn recording_ends_with(&mut self, leg: LegId) {
        let ends = self.call.leg_mut(leg).and_then(|it| Some((it.call, it.recordings.running.take()?.id?)));
        if let Some((call, id)) = ends {
            self.common.recordings_ending.add(id, call, Some(leg));
        }
    }

    fn up_endpoint(&self, leg: LegId) -> Option<EndpointId> {
        self.call.leg(leg).filter(|it| it.is_up())?.media.endpoint
    }

    /// The media of a leg is about to be released: the call's recording continues with a remaining leg.
    pub(super) fn recording_goes_over(&mut self, leg: LegId) {
        if let Some((call, stays, endpoint)) = self.recorded_next(leg)
            && let Some(it) = self.call.recordings.running.as_mut()
            && let Some(id) = it.id
        {
            match self.common.parts.controller.follow_recording(id, endpoint, !it.swapped) {
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

    /// The leg with which the recording of this leg continues, if it is recorded and another one stays.
    fn recorded_next(&self, leg: LegId) -> Option<(CallId, LegId, EndpointId)> {
        let call = self.call.leg(leg)?.call;
        let it = &*self.call;
        it.recordings
            .running
            .as_ref()
            .filter(|recording| recording.leg == Some(leg) && recording.id.is_some())?;
        let bridge = it.bridge.as_ref();
        // After a transfer leg `a` of the bridge is the one that stayed.
        let other = bridge.map(|bridge| bridge.other(leg).unwrap_or(bridge.a));
        let up = |other| Some((other, self.up_endpoint(other).filter(|_| other != leg)?));
        let (stays, endpoint) = other.and_then(up).or_else(|| it.legs.ids().find_map(up))?;
        Some((call, stays, endpoint))
    }

    /// Handles a digit of a bridged party as part of a feature code. Returns whether codes of this party are
    /// handled.
    pub(super) fn feature_digit(&mut self, t: &mut Turn<'_>, leg: LegId, digit: char) -> bool {
        let call = self.id;
        let Some(rules) = self.common.config.recording.clone() else { return false };
        if !self.call.bridged(leg).is_some_and(|(_, mode)| mode.intercepts()) {
            return false;
        }
        let Some(it) = self.call.leg_mut(leg) else {
            self.common.counters.impossible("feature_digit");
            return false;
        };
        // Parties behind a gateway are not users of ours.
        if it.identity.party.gateway.is_some() {
            return false;
        }
        let Some(request) = rules.digit(it.keys.codes.get_or_insert_default(), digit, t.now) else {
            return true;
        };
        let running = self.call.recordings.running.as_ref();
        let running = running.map(|it| it.pauses.by_request);
        let done = match (request, running) {
            (RecordingRequest::Toggle, None) => self.record_call(t, None),
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

impl Common {
    /// The recording of a call or a leg that is over has begun, or starting has failed.
    pub(super) fn recording_for_nobody(
        &mut self,
        t: &Turn<'_>,
        call: CallId,
        subject: Subject,
        begun: Result<RecordingId, MediaError>,
        reply: Asks,
    ) {
        self.counters.late();
        let error = match begun {
            Ok(id) => {
                drop(self.parts.controller.stop_recording(id));
                CallError::Gone
            }
            Err(error) => {
                // For a leg the sender of the command gets the error.
                if subject.leg().is_none() {
                    self.publish(t, not_recorded(call, None, &error));
                }
                error.into()
            }
        };
        // A closed receiver is no error.
        let _ = reply.send(Err(error));
    }

    /// The file of a recording whose call is over is complete, or completing it has failed.
    pub(super) fn recorded_for_nobody(
        &mut self,
        t: &Turn<'_>,
        id: RecordingId,
        recorded: Result<Recorded, MediaError>,
        reply: Asks,
    ) {
        if let Err(error) = &recorded
            && let Some((call, leg)) = self.recordings_ending.take(id)
        {
            self.publish(t, not_recorded(call, leg, error));
        }
        // A closed receiver is no error.
        let _ = reply.send(recorded.map(Some).map_err(CallError::from));
    }
}

/// The event that there is no file.
fn not_recorded(call: CallId, leg: Option<LegId>, error: &MediaError) -> Event {
    let error = Some(error.to_string());
    Event::Recording(RecordingNews { call, leg, id: None, on: false, file: None, seconds: None, error })
}
