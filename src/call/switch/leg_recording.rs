//! Recordings of one leg: what its party says, or what it hears, too, wherever it goes. They end
//! with the leg, and stand beside the recording of its call.

use std::path::{Path, PathBuf};

use super::command::{RecordLeg, Reply};
use super::waiting::OnMedia;
use super::{Switch, Turn};
use crate::controller::{MediaError, Recorded, RecordingId};
use crate::event::Event;
use crate::service::CallError;
use crate::{CallId, LegId};

/// The recording of a leg.
pub(super) struct LegRecording {
    path: PathBuf,
    /// None: there is no file yet.
    id: Option<RecordingId>,
    paused: bool,
}

impl LegRecording {
    /// The file, and whether it is paused; none: it has not begun.
    pub fn shown(&self) -> Option<(&Path, bool)> {
        self.id.map(|_| (self.path.as_path(), self.paused))
    }
}

/// What is recorded of a leg, and how often something was.
#[derive(Default)]
pub(super) struct LegRecordings {
    pub running: Option<LegRecording>,
    begun: u32,
}

const NOT_RECORDED: CallError = CallError::WrongState("the leg is not recorded");

impl Switch {
    /// Carries out what somebody wants of a leg's recording.
    pub(super) fn obey_record_leg(
        &mut self,
        t: &mut Turn<'_>,
        leg: LegId,
        what: RecordLeg,
        reply: Reply<Result<Option<Recorded>, CallError>>,
    ) {
        // An answer that nobody waits for is no fault.
        match what {
            RecordLeg::Begin { both } => self.record_leg(t, leg, both, reply),
            RecordLeg::Pause(paused) => {
                let recording = self.calls.leg_mut(leg).map(|it| it.recordings.running.as_mut());
                let done = recording.ok_or(CallError::Gone).and_then(|it| it.ok_or(NOT_RECORDED));
                let done = done.map(|it| {
                    it.paused = paused;
                    it.id
                });
                if let Ok(Some(id)) = done {
                    self.parts.controller.pause_recording(id, paused);
                }
                let _ = reply.send(done.map(|_| None));
            }
            RecordLeg::End => self.stop_leg_recording(t, leg, reply),
        }
    }

    fn record_leg(
        &mut self,
        t: &mut Turn<'_>,
        leg: LegId,
        both: bool,
        reply: Reply<Result<Option<Recorded>, CallError>>,
    ) {
        let media = match self.leg_media(leg) {
            Ok(media) => media,
            Err(error) => return drop(reply.send(Err(error))),
        };
        let Some(it) = self.calls.leg_mut(leg) else { return self.counters.impossible("record_leg") };
        if it.recordings.running.is_some() {
            return drop(reply.send(Err(CallError::WrongState("the leg is recorded already"))));
        }
        let Some(rules) = self.config.recording.as_deref() else {
            return drop(reply.send(Err(CallError::WrongState("there is no folder for recordings"))));
        };
        it.recordings.begun += 1;
        let call = it.call;
        let spec = rules.spec_of_leg(call, leg, it.recordings.begun, both, t.wall);
        it.recordings.running = Some(LegRecording { path: spec.path.clone(), id: None, paused: false });
        // What goes past b2b cannot be recorded.
        self.never_direct(call);
        self.lead(t, call);
        let begun = self.parts.controller.start_recording(media.endpoint, &spec);
        self.media(t, begun, OnMedia::LegRecording { call, leg, reply });
    }

    /// It has begun, or could not.
    pub(super) fn leg_recording_begun(
        &mut self,
        t: &mut Turn<'_>,
        (call, leg): (CallId, LegId),
        begun: Result<RecordingId, MediaError>,
        reply: Reply<Result<Option<Recorded>, CallError>>,
    ) {
        let it = self.calls.leg_mut(leg);
        let (call, recording) = it.map_or((call, None), |it| (it.call, it.recordings.running.as_mut()));
        let done = match (recording, begun) {
            (Some(recording), Ok(id)) => {
                recording.id = Some(id);
                if recording.paused {
                    self.parts.controller.pause_recording(id, true);
                }
                let path = recording.path.to_string_lossy().into_owned();
                self.note_recording(call, "recording", &path);
                self.tell(t, Event::Recording { call, leg: Some(leg), on: true });
                Ok(None)
            }
            // Nobody wants it any more.
            (None, Ok(id)) => {
                self.counters.late();
                drop(self.parts.controller.stop_recording(id));
                Err(CallError::Gone)
            }
            (_, Err(error)) => {
                if let Some(it) = self.calls.leg_mut(leg) {
                    it.recordings.running = None;
                }
                self.note_recording(call, "recording_error", &error.to_string());
                Err(error.into())
            }
        };
        let _ = reply.send(done);
    }

    fn stop_leg_recording(
        &mut self,
        t: &mut Turn<'_>,
        leg: LegId,
        reply: Reply<Result<Option<Recorded>, CallError>>,
    ) {
        let Some(it) = self.calls.leg_mut(leg) else { return drop(reply.send(Err(CallError::Gone))) };
        let Some(recording) = it.recordings.running.take() else {
            return drop(reply.send(Err(NOT_RECORDED)));
        };
        let call = it.call;
        let Some(id) = recording.id else { return drop(reply.send(Ok(None))) };
        self.finish_recording(t, (call, Some(leg)), id, reply);
    }

    /// A recording that is no call's is over, whoever ended it.
    pub(super) fn leg_recorded(&mut self, t: &mut Turn<'_>, id: RecordingId, recorded: &Recorded) {
        let its = |leg: &LegId| {
            let it = self.calls.leg(*leg).and_then(|it| it.recordings.running.as_ref());
            it.is_some_and(|it| it.id == Some(id))
        };
        // One that was ended on request is nobody's any more.
        let Some(leg) = self.calls.leg_ids().into_iter().find(its) else { return self.counters.late() };
        let Some(it) = self.calls.leg_mut(leg) else { return self.counters.impossible("leg_recorded") };
        it.recordings.running = None;
        let call = it.call;
        if let Some(error) = &recorded.error {
            self.note_recording(call, "recording_error", error);
        }
        self.tell(t, Event::Recording { call, leg: Some(leg), on: false });
    }
}
