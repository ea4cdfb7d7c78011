//! Recordings and rooms, which hold only their members.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::{Hears, Playing, Stage, answer, finish};
use crate::controller::{
    ConferenceId, ConferenceSpec, EndpointId, MediaError, MediaEvent, MediaFuture, Member, Played, Prompt,
    Recorded, RecordingId, RecordingSpec,
};

/// A requested recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FakeRecording {
    /// The recorded party or room.
    pub of: Hears,
    /// The request.
    pub spec: RecordingSpec,
    /// Whether it is paused.
    pub paused: bool,
    /// `false` once it was stopped, or has reached its limits.
    pub running: bool,
    /// Its length without pauses.
    pub lasts: Duration,
    /// How long the party was not silent; `None`: all the time.
    pub spoken: Option<Duration>,
}

/// A room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FakeRoom {
    /// The request.
    pub spec: ConferenceSpec,
    /// Its members and their settings.
    pub members: BTreeMap<EndpointId, Member>,
}

#[derive(Debug)]
pub(super) struct Recording {
    pub shown: FakeRecording,
    pub since: Instant,
    pub ends: Option<Instant>,
    /// Its result.
    pub recorded: Option<Recorded>,
    pub waiting: Vec<super::Waits<Recorded>>,
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
        if self.missing.contains(&spec.path) || spec.path.parent().is_some_and(|it| self.missing.contains(it))
        {
            return MediaFuture::ready(Err(MediaError::File("permission denied".to_owned())));
        }
        self.last += 1;
        let id = RecordingId(self.last);
        let mut before = self.recordings.values().rev().filter(|it| it.shown.spec.path == spec.path);
        let before = before.next().filter(|_| spec.append).map(|it| it.shown.lasts);
        let shown = FakeRecording {
            of,
            spec: spec.clone(),
            paused: false,
            running: true,
            lasts: before.unwrap_or_default(),
            spoken: None,
        };
        let left = spec.longest.map(|longest| longest.saturating_sub(shown.lasts));
        let ends = left.map(|left| self.now + left);
        self.recordings
            .insert(id, Recording { shown, since: self.now, ends, recorded: None, waiting: Vec::new() });
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

    /// Records this party from now on.
    pub fn follow(&mut self, recording: RecordingId, endpoint: EndpointId) {
        if let Some(it) = self.recordings.get_mut(&recording) {
            it.shown.of = Hears::Party(endpoint);
        }
    }

    pub fn stop_recording(&mut self, recording: RecordingId) -> MediaFuture<Recorded> {
        self.end_recording(recording, None);
        self.wait_for_recording(recording)
    }

    pub fn wait_for_recording(&mut self, recording: RecordingId) -> MediaFuture<Recorded> {
        let gone = || MediaError::File("there is no such recording".to_owned());
        let Some(it) = self.recordings.get_mut(&recording) else { return MediaFuture::ready(Err(gone())) };
        if let Some(recorded) = &it.recorded {
            return MediaFuture::ready(Ok(recorded.clone()));
        }
        let (waits, recorded) = oneshot::channel();
        it.waiting.push(waits);
        answer(recorded)
    }

    pub fn say_little(&mut self, recording: RecordingId, spoken: Duration) {
        if let Some(it) = self.recordings.get_mut(&recording) {
            it.shown.spoken = Some(spoken);
        }
    }

    pub fn end_recording(&mut self, recording: RecordingId, error: Option<&str>) -> Option<Recorded> {
        let more = self.recorded_since(self.recordings.get(&recording)?);
        let it = self.recordings.get_mut(&recording).filter(|it| it.shown.running)?;
        it.shown.lasts += more;
        it.shown.running = false;
        let recorded = Recorded {
            path: it.shown.spec.path.clone(),
            lasts: it.shown.lasts,
            spoken: it.shown.spoken.unwrap_or(it.shown.lasts),
            error: error.map(str::to_owned),
        };
        it.recorded = Some(recorded.clone());
        for waits in std::mem::take(&mut it.waiting) {
            // An error means that the receiver no longer waits.
            let _ = waits.send(Ok(recorded.clone()));
        }
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
