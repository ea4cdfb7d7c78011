//! What is kept of a call: recordings, call detail records, its history.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use bytes::Bytes;

use crate::cdr::{Cdr, Ending};
use crate::controller::{
    Coding, EndpointId, Joined, MediaError, Recorded, RecordingId, RecordingSpec, Route, Verb,
};
use crate::event::{Event, RecordingNews};
use crate::leg_fsm::{LegEvent, TerminationCause};
use crate::recording::RecordingRequest;
use crate::service::CallError;
use crate::service::command::{Record, RecordLeg, Reply};
use crate::switch::state::effect::{Effect, Note};
use crate::switch::state::follow::Outcome;
use crate::switch::state::leg::{Beginning, Leg};
use crate::switch::state::recording::{Asks, Pauses, Recordings, Subject};
use crate::switch::state::waits::OnMedia;
use crate::switch::step::CallStep;
use crate::switch::turn::Moment;
use crate::{BridgeId, CallId, LegId};
use b2b_sip::msg::{Request, chars};

impl CallStep<'_> {
    /// Carries out a command for a call's recording.
    pub(crate) fn obey_record(&mut self, t: Moment, what: Record, reply: Asks) {
        let call = self.id;
        let subject = Subject::Call(call);
        // A closed receiver is no error.
        let done = match what {
            Record::Begin(spec) => self.record_call(t, spec.map(|spec| *spec)),
            Record::Pause(paused) => self.pause_recording(subject, paused),
            Record::End => return self.stop_recording(subject, reply),
        };
        let _ = reply.send(done.map(|()| None));
    }

    /// Carries out a command for a leg's recording.
    pub(crate) fn obey_record_leg(&mut self, t: Moment, leg: LegId, what: RecordLeg, reply: Asks) {
        let subject = Subject::Leg(leg);
        let done = match what {
            RecordLeg::Begin { both } => match self.record_leg(t, leg, both) {
                Ok(endpoint) => return self.start_recording(t, subject, leg, endpoint, reply),
                Err(error) => Err(error),
            },
            RecordLeg::Pause(paused) => self.pause_recording(subject, paused),
            RecordLeg::End => return self.stop_recording(subject, reply),
        };
        let _ = reply.send(done.map(|()| None));
    }

    /// The recordings of this call, or of a leg in it.
    fn recordings(&mut self, subject: Subject) -> Option<&mut Recordings> {
        match subject {
            Subject::Call(_) => Some(&mut self.call.recordings),
            Subject::Leg(leg) => self.call.leg_mut(leg).map(|it| &mut it.recordings),
        }
    }

    /// Records a call from its first answer on; without a spec, as the switch is configured.
    pub(crate) fn record_call(&mut self, t: Moment, spec: Option<RecordingSpec>) -> Result<(), CallError> {
        let call = self.id;
        let rules = self.config.recording.as_deref();
        let usual = |nth| rules.map(|rules| rules.spec(call, nth, t.wall));
        self.call.recordings.begin(Subject::Call(call), |nth| spec.or_else(|| usual(nth)))?;
        self.begin_recording(t);
        Ok(())
    }

    /// Registers the recording of a leg; returns its endpoint.
    fn record_leg(&mut self, t: Moment, leg: LegId, both: bool) -> Result<EndpointId, CallError> {
        let endpoint = self.call.leg_media(leg)?;
        let it = self.call.leg_mut(leg).ok_or(CallError::Gone)?;
        let (rules, call) = (self.config.recording.as_deref(), it.call);
        let spec = |nth| rules.map(|rules| rules.spec_of_leg(call, leg, nth, both, t.wall));
        it.recordings.begin(Subject::Leg(leg), spec)?;
        Ok(endpoint)
    }

    /// Starts a call's waiting recording once one of its legs is up.
    pub(crate) fn begin_recording(&mut self, t: Moment) {
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

    /// The recordings of these legs, whose media was lost, go on, those that were about to begin, too: in their files, or
    /// in others next to them, where nothing can be added to them.
    pub(crate) fn record_on(&mut self, t: Moment, of: &[LegId]) {
        let legs = self.call.legs.ids().map(Subject::Leg);
        for subject in std::iter::once(Subject::Call(self.id)).chain(legs).collect::<Vec<_>>() {
            let Some(recordings) = self.recordings(subject) else { continue };
            let Some(it) = recordings.running.as_mut() else { continue };
            // Before the first answer there is none.
            let Some(leg) = it.leg.take_if(|leg| of.contains(leg)) else { continue };
            it.spec.append = it.spec.coding != Coding::Opus;
            if !it.spec.append {
                recordings.begun += 1;
                (it.spec.path, it.is_told) = (another(&it.spec.path, recordings.begun), false);
            }
            // If the leg is on its way out, and no other one is up, it waits for the next answer.
            let up = |leg| Some((leg, self.up_endpoint(leg)?));
            let others = self.call.legs.ids().filter(|_| subject.leg().is_none());
            let Some((stays, endpoint)) = std::iter::once(leg).chain(others).find_map(up) else { continue };
            if let Some(it) = self.recordings(subject).and_then(|it| it.running.as_mut()) {
                it.swapped ^= stays != leg;
            }
            self.start_recording(t, subject, stays, endpoint, Reply::default());
        }
    }

    fn start_recording(
        &mut self,
        t: Moment,
        subject: Subject,
        leg: LegId,
        endpoint: EndpointId,
        reply: Asks,
    ) {
        let call = self.id;
        let Some(it) = self.recordings(subject).and_then(|it| it.running.as_mut()) else {
            return self.impossible("start_recording");
        };
        it.leg = Some(leg);
        let spec = it.spec.clone();
        // Direct media cannot be recorded.
        self.never_direct();
        self.lead(t);
        let record = Verb::Record { recording: None, endpoint, spec };
        self.media(record, OnMedia::Recording { call, subject, reply });
    }

    /// The recording has begun, or starting has failed.
    pub(crate) fn recording_begun(
        &mut self,
        subject: Subject,
        begun: Result<RecordingId, MediaError>,
        reply: Asks,
    ) {
        let call = self.id;
        let for_secret = self.keeps_secret(subject);
        let recording = self.recordings(subject).and_then(|it| it.running.as_mut());
        let leg = subject.leg();
        let done = match (recording, begun) {
            (Some(it), Ok(id)) => {
                it.id = Some(id);
                it.pauses.for_secret = for_secret;
                let (paused, path) = (it.pauses.any(), it.spec.path.to_string_lossy().into_owned());
                // It goes on, and was begun with the leg that is on the other side now.
                let swapped = it.leg.filter(|_| it.swapped);
                let is_told = std::mem::replace(&mut it.is_told, true);
                if let Some(endpoint) = swapped.and_then(|leg| self.up_endpoint(leg)) {
                    self.tell_media(Verb::FollowRecording { recording: id, endpoint, other_side: true });
                }
                if paused {
                    self.tell_media(Verb::PauseRecording { recording: id, paused: true });
                }
                if !is_told {
                    self.note_recording("recording", &path);
                    let (file, id) = (Some(path), Some(id.0));
                    let news = RecordingNews { call, leg, id, on: true, file, seconds: None, error: None };
                    self.tell(Event::Recording(news));
                }
                Ok(None)
            }
            // The recording has been ended meanwhile.
            (None, Ok(id)) => {
                self.late();
                self.tell_media(Verb::StopRecording { recording: id });
                Err(CallError::Gone)
            }
            (_, Err(error)) => {
                tracing::warn!("call {}: {error}", call.0);
                if let Some(it) = self.recordings(subject) {
                    it.running = None;
                }
                self.note_recording("recording_error", &error.to_string());
                // For a leg the sender of the command gets the error.
                if leg.is_none() {
                    self.tell(not_recorded(call, leg, &error));
                }
                Err(error.into())
            }
        };
        let _ = reply.send(done);
    }

    /// Notes the recording for the records of the call's legs. Several recordings are listed one after the
    /// other.
    pub(crate) fn note_recording(&mut self, name: &str, text: &str) {
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
    pub(crate) fn pause_for_secrets(&mut self, subject: Subject) {
        let for_secret = self.keeps_secret(subject);
        // What is not recorded needs no pause.
        let _ = self.change_pauses(subject, |pauses| pauses.for_secret = for_secret);
    }

    fn change_pauses(&mut self, subject: Subject, change: impl FnOnce(&mut Pauses)) -> Result<(), CallError> {
        let it = self.recordings(subject).ok_or(CallError::Gone)?;
        let it = it.running.as_mut().ok_or(subject.not_recorded())?;
        let before = it.pauses.any();
        change(&mut it.pauses);
        let paused = it.pauses.any();
        if let Some(id) = it.id.filter(|_| paused != before) {
            self.tell_media(Verb::PauseRecording { recording: id, paused });
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
    fn stop_recording(&mut self, subject: Subject, reply: Asks) {
        let call = self.id;
        let Some(it) = self.recordings(subject) else { return drop(reply.send(Err(CallError::Gone))) };
        let Some(recording) = it.running.take() else { return drop(reply.send(Err(subject.not_recorded()))) };
        let Some(id) = recording.id else { return drop(reply.send(Ok(None))) };
        self.effect(Effect::RecordingEnds { id, call, leg: subject.leg() });
        self.media(Verb::StopRecording { recording: id }, OnMedia::Recorded { call, id, reply });
    }

    /// The file of a recording is complete, or completing it has failed.
    pub(crate) fn recording_finished(
        &mut self,
        id: RecordingId,
        recorded: Result<Recorded, MediaError>,
        reply: Asks,
    ) {
        if let Err(error) = &recorded {
            self.effect(Effect::NotRecorded { id, error: error.clone() });
        }
        if let Ok(Recorded { error: Some(error), .. }) = &recorded {
            self.note_recording("recording_error", error);
        }
        // A closed receiver is no error.
        let _ = reply.send(recorded.map(Some).map_err(CallError::from));
    }

    /// Ends the recording of a call that is about to end; its file is completed later.
    pub(crate) fn recording_over(&mut self) {
        let call = self.id;
        let recording = self.call.recordings.running.take();
        if let Some(id) = recording.and_then(|it| it.id) {
            self.effect(Effect::RecordingEnds { id, call, leg: None });
            self.tell_media(Verb::StopRecording { recording: id });
        }
    }

    /// The media of a leg is about to be released, which ends the leg's own recording.
    pub(crate) fn recording_ends_with(&mut self, leg: LegId) {
        let ends = self.call.leg_mut(leg).and_then(|it| Some((it.call, it.recordings.running.take()?.id?)));
        if let Some((call, id)) = ends {
            self.effect(Effect::RecordingEnds { id, call, leg: Some(leg) });
        }
    }

    fn up_endpoint(&self, leg: LegId) -> Option<EndpointId> {
        self.call.leg(leg).filter(|it| it.is_up())?.media.endpoint
    }

    /// The media of a leg is about to be released: the call's recording continues with a remaining leg.
    pub(crate) fn recording_goes_over(&mut self, leg: LegId) {
        if let Some((stays, endpoint)) = self.recorded_next(leg)
            && let Some(it) = self.call.recordings.running.as_mut()
            && let Some(id) = it.id
        {
            let other_side = !it.swapped;
            (it.leg, it.swapped) = (Some(stays), other_side);
            self.tell_media(Verb::FollowRecording { recording: id, endpoint, other_side });
        }
    }

    /// The leg with which the recording of this leg continues, if it is recorded and another one stays.
    fn recorded_next(&self, leg: LegId) -> Option<(LegId, EndpointId)> {
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
        Some((stays, endpoint))
    }

    /// Handles a digit of a bridged party as part of a feature code. Returns whether codes of this party are
    /// handled.
    pub(crate) fn feature_digit(&mut self, t: Moment, leg: LegId, digit: char) -> bool {
        let call = self.id;
        let Some(rules) = self.config.recording.clone() else { return false };
        if !self.call.bridged(leg).is_some_and(|(_, mode)| mode.intercepts()) {
            return false;
        }
        let Some(it) = self.call.leg_mut(leg) else {
            self.impossible("feature_digit");
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
                self.stop_recording(Subject::Call(call), Reply::default());
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

/// The name of another file of the same recording.
fn another(path: &Path, nth: u32) -> PathBuf {
    let [stem, ending] =
        [path.file_stem(), path.extension()].map(|it| it.unwrap_or_default().to_string_lossy());
    path.with_file_name(format!("{stem}-{nth}.{ending}"))
}

impl Outcome {
    /// The recording of a call or a leg that is over has begun, or starting has failed.
    pub(crate) fn recording_for_nobody(
        &mut self,
        call: CallId,
        subject: Subject,
        begun: Result<RecordingId, MediaError>,
        reply: Asks,
    ) {
        self.counters.late();
        let error = match begun {
            Ok(id) => {
                self.effect(Effect::TellMedia(Verb::StopRecording { recording: id }));
                CallError::Gone
            }
            Err(error) => {
                // For a leg the sender of the command gets the error.
                if subject.leg().is_none() {
                    self.tell(not_recorded(call, None, &error));
                }
                error.into()
            }
        };
        // A closed receiver is no error.
        let _ = reply.send(Err(error));
    }

    /// The file of a recording whose call is over is complete, or completing it has failed.
    pub(crate) fn recorded_for_nobody(
        &mut self,
        id: RecordingId,
        recorded: Result<Recorded, MediaError>,
        reply: Asks,
    ) {
        if let Err(error) = &recorded {
            self.effect(Effect::NotRecorded { id, error: error.clone() });
        }
        // A closed receiver is no error.
        let _ = reply.send(recorded.map(Some).map_err(CallError::from));
    }
}

/// The event that there is no file.
pub(crate) fn not_recorded(call: CallId, leg: Option<LegId>, error: &MediaError) -> Event {
    let error = Some(error.to_string());
    Event::Recording(RecordingNews { call, leg, id: None, on: false, file: None, seconds: None, error })
}

impl CallStep<'_> {
    /// Starts the record of a leg whose INVITE has come.
    pub(crate) fn record_incoming(&mut self, t: Moment, leg: LegId, request: &Request, remote: SocketAddr) {
        let from = request.from().ok();
        let (who, called) = match self.call.leg(leg) {
            Some(it) => (it.identity.who.clone().unwrap_or_default(), it.identity.called.clone()),
            None => return self.impossible("record_incoming"),
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let beginning = Beginning {
            start: t.wall,
            began: t.now,
            rang: None,
            sip_call_id: request.call_id().map(text).unwrap_or_default(),
            caller: who.said.clone(),
            caller_name: who
                .name
                .clone()
                .or_else(|| from?.display.map(|name| text(&chars::shown(name)).trim_matches('"').to_owned())),
            callee: called.as_deref().unwrap_or_default().to_owned(),
            remote: Some(remote),
            verstat: who.verstat.clone(),
        };
        let Some(it) = self.call.leg_mut(leg) else { return self.impossible("record_incoming") };
        it.beginning = Some(Box::new(beginning));
        let name = it.identity.party.user.clone().unwrap_or_else(|| who.said.clone());
        let party = request.from().map(|from| text(from.uri.raw)).unwrap_or_default();
        let call_id = Bytes::copy_from_slice(request.call_id().unwrap_or_default());
        self.note(Note::Leg { leg, call_id, name, party: Some(party) });
    }

    /// Starts the record of a leg whose INVITE is sent; `shown`: the caller's name and number if there is no
    /// asking leg.
    pub(crate) fn record_outgoing(
        &mut self,
        t: Moment,
        leg: LegId,
        call_id: Bytes,
        caller: Option<LegId>,
        shown: Option<(String, String)>,
    ) {
        let caller = caller.and_then(|leg| self.call.leg(leg)?.beginning.as_deref());
        let of_shown = |(name, number): (String, String)| {
            let name = name.trim().trim_matches('"').to_owned();
            (number, Some(name).filter(|name| !name.is_empty()))
        };
        let (caller, caller_name) = match caller {
            Some(it) => (it.caller.clone(), it.caller_name.clone()),
            None => shown.map(of_shown).unwrap_or_default(),
        };
        let Some(it) = self.call.leg_mut(leg) else { return self.impossible("record_outgoing") };
        let name = it.shown_as();
        it.beginning = Some(Box::new(Beginning {
            start: t.wall,
            began: t.now,
            rang: None,
            sip_call_id: String::from_utf8_lossy(&call_id).into_owned(),
            caller,
            caller_name,
            callee: it.contact.as_ref().map(|contact| contact.uri.clone()).unwrap_or_default(),
            remote: it.contact.as_ref().and_then(|contact| Some(contact.flow?.remote)),
            verstat: None,
        }));
        self.note(Note::Leg { leg, call_id, name, party: None });
    }

    /// Notes the time of the first 18x.
    pub(crate) fn record_step(&mut self, t: Moment, leg: LegId, event: LegEvent) {
        let beginning = self.call.leg_mut(leg).and_then(|it| it.beginning.as_mut());
        if let (Some(beginning), LegEvent::Ring | LegEvent::EarlyMedia) = (beginning, event) {
            beginning.rang.get_or_insert(t.now);
        }
    }

    /// Writes the record of a leg that is over.
    pub(crate) fn record_end(
        &mut self,
        t: Moment,
        id: LegId,
        leg: &mut Leg,
        cause: &TerminationCause,
        q850: Option<u8>,
    ) {
        // Its INVITE was never sent: there was no call.
        let Some(beginning) = leg.beginning.take() else { return self.ignored() };
        let direction = leg.direction();
        let since = |at: Instant| at.saturating_duration_since(beginning.began);
        let linked = self.call.linked.unwrap_or(leg.call);
        let diverted = leg.contact.as_ref().and_then(|contact| contact.diverted.as_deref());
        let record = Cdr {
            call: leg.call,
            linked,
            leg: id,
            direction,
            gateway: leg.gateway().map(ToString::to_string),
            start: beginning.start,
            rang: beginning.rang.map(since),
            answered: leg.life.answered_at().map(since),
            ended: since(t.now),
            ending: Ending::new(cause, leg.life.answered_at().is_some(), direction, q850),
            sip_call_id: beginning.sip_call_id,
            caller: beginning.caller,
            caller_name: beginning.caller_name,
            callee: beginning.callee,
            remote: beginning.remote,
            variables: self.call.recorded_variables(id),
            codec: None,
            audio: None,
            quality: None,
            voice_agent: None,
            route: diverted.and_then(|it| it.route.clone()),
            verstat: beginning.verstat,
            resumed: self.call.resumed,
            diverted_by: diverted.map(|it| it.user.as_deref().unwrap_or(&it.number).to_owned()),
        };
        self.note(Note::LegOver { leg: id, usage: leg.usage, record: Box::new(record) });
    }

    /// Records the end of a bridge, with the present counters of its legs that continue.
    pub(crate) fn account_talk_over(&mut self, bridge: BridgeId, legs: [LegId; 2], by: Option<LegId>) {
        let call = self.id;
        self.note(Note::TalkOver { bridge, by });
        for leg in legs {
            let Some(endpoint) = self.call.leg(leg).and_then(|it| it.media.endpoint) else { continue };
            self.media(Verb::Stats { endpoint }, OnMedia::Counted { call, bridge, leg });
        }
    }

    /// The media of two legs has been joined, or joining has failed.
    pub(crate) fn account_joined(&mut self, a: LegId, b: LegId, joined: &Result<Joined, MediaError>) {
        if self.call.leg(a).is_none() {
            return self.late();
        }
        match joined {
            Ok(Joined { forward, backward }) => {
                let codec = |route: &Route| match route {
                    Route::Relay { encoding } => encoding.clone(),
                    Route::Transcode { from, .. } => from.clone(),
                };
                let transcoded = matches!(forward, Route::Transcode { .. });
                let legs = [(a, codec(forward)), (b, codec(backward))];
                self.note(Note::Joined { legs, transcoded });
            }
            Err(error) => self.note_decision(Some(a), "no media", error.to_string()),
        }
    }
}
