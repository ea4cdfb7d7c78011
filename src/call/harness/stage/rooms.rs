//! Recordings and rooms, which hold nothing but who is in them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::{Hears, Playing, Stage, answer, finish};
use crate::call::controller::{
    ConferenceId, ConferenceSpec, EndpointId, MediaError, MediaEvent, MediaFuture, Member, Played, Prompt,
    Recorded, RecordingId, RecordingSpec,
};

/// A recording that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FakeRecording {
    pub of: Hears,
    pub spec: RecordingSpec,
    pub paused: bool,
    pub running: bool,
    /// Of sound, pauses left out.
    pub lasts: Duration,
}

/// A room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FakeRoom {
    pub spec: ConferenceSpec,
    pub members: BTreeMap<EndpointId, Member>,
}

#[derive(Debug)]
pub(super) struct Recording {
    pub shown: FakeRecording,
    pub since: Instant,
    pub ends: Option<Instant>,
}

impl Stage {
    // ---- recordings

    pub(super) fn recorded_since(&self, it: &Recording) -> Duration {
        match it.shown.running && !it.shown.paused {
            true => self.now.saturating_duration_since(it.since),
            false => Duration::ZERO,
        }
    }

    pub fn record(&mut self, of: Hears, spec: &RecordingSpec) -> MediaFuture<RecordingId> {
        self.last += 1;
        let id = RecordingId(self.last);
        let shown =
            FakeRecording { of, spec: spec.clone(), paused: false, running: true, lasts: Duration::ZERO };
        let ends = spec.longest.map(|longest| self.now + longest);
        self.recordings.insert(id, Recording { shown, since: self.now, ends });
        MediaFuture::ready(Ok(id))
    }

    pub fn pause(&mut self, recording: RecordingId, paused: bool) {
        let Some(it) = self.recordings.get(&recording) else { return };
        let more = self.recorded_since(it);
        if let Some(it) = self.recordings.get_mut(&recording) {
            it.shown.lasts += more;
            it.since = self.now;
            it.shown.paused = paused;
            let left = it.shown.spec.longest.map(|longest| longest.saturating_sub(it.shown.lasts));
            it.ends = left.filter(|_| !paused).map(|left| self.now + left);
        }
    }

    /// It is of this party from now on.
    pub fn follow(&mut self, recording: RecordingId, endpoint: EndpointId) {
        if let Some(it) = self.recordings.get_mut(&recording) {
            it.shown.of = Hears::Party(endpoint);
        }
    }

    pub fn stop_recording(&mut self, recording: RecordingId) -> MediaFuture<Recorded> {
        let running = self.recordings.get(&recording).is_some_and(|it| it.shown.running);
        let gone = || MediaError::File("it is over".to_owned());
        let recorded = running.then(|| self.end_recording(recording, None)).flatten();
        MediaFuture::ready(recorded.ok_or_else(gone))
    }

    pub fn end_recording(&mut self, recording: RecordingId, error: Option<&str>) -> Option<Recorded> {
        let more = self.recorded_since(self.recordings.get(&recording)?);
        let it = self.recordings.get_mut(&recording).filter(|it| it.shown.running)?;
        it.shown.lasts += more;
        it.shown.running = false;
        let recorded = Recorded {
            path: it.shown.spec.path.clone(),
            lasts: it.shown.lasts,
            error: error.map(str::to_owned),
        };
        self.events.push(MediaEvent::Recorded { recording, recorded: recorded.clone() });
        Some(recorded)
    }

    // ---- rooms

    pub fn create_room(&mut self, spec: &ConferenceSpec) -> MediaFuture<ConferenceId> {
        self.last += 1;
        let id = ConferenceId(self.last);
        self.rooms.insert(id, FakeRoom { spec: *spec, members: BTreeMap::new() });
        MediaFuture::ready(Ok(id))
    }

    pub fn end_room(&mut self, room: ConferenceId) {
        finish(self.announcing.remove(&room), Played::Stopped);
        self.rooms.remove(&room);
        self.end_recordings_of(Hears::Room(room));
    }

    pub fn join_room(&mut self, room: ConferenceId, endpoint: EndpointId, member: Member) -> MediaFuture<()> {
        let place = self
            .rooms
            .get_mut(&room)
            .filter(|it| it.members.contains_key(&endpoint) || it.members.len() < it.spec.most);
        let joined = place.map(|it| {
            it.members.insert(endpoint, member);
        });
        MediaFuture::ready(joined.ok_or(MediaError::Conference))
    }

    pub fn leave_room(&mut self, room: ConferenceId, endpoint: EndpointId) {
        if let Some(room) = self.rooms.get_mut(&room) {
            room.members.remove(&endpoint);
        }
    }

    pub fn announce(&mut self, room: ConferenceId, prompt: &Prompt) -> MediaFuture<Played> {
        if !self.rooms.contains_key(&room) {
            return MediaFuture::ready(Err(MediaError::Conference));
        }
        let ends = match self.begin(Hears::Room(room), prompt) {
            Ok(ends) => ends,
            Err(error) => return MediaFuture::ready(Err(error)),
        };
        finish(self.announcing.remove(&room), Played::Stopped);
        let (waits, played) = oneshot::channel();
        self.announcing.insert(room, Playing { ends, waits: Some(waits) });
        answer(played)
    }

    pub(super) fn end_recordings_of(&mut self, whose: Hears) {
        let running = self.recordings.iter().filter(|(_, it)| it.shown.running && it.shown.of == whose);
        let running: Vec<_> = running.map(|(id, _)| *id).collect();
        for recording in running {
            self.end_recording(recording, None);
        }
    }
}
