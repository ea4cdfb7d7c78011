//! The test's view of the media operations of applications, and its control over them.

use std::path::Path;
use std::time::Duration;

use super::media::FakeMedia;
use super::stage::{FakeRecording, FakeRoom, Heard};
use b2b_call::controller::{ConferenceId, EndpointId, RecordingId};

impl FakeMedia {
    /// What was played since the last query, to parties and in rooms.
    pub fn heard(&self) -> Vec<Heard> {
        self.state().stage.take_heard()
    }

    /// The same as text, see [`Heard::words`].
    pub fn heard_words(&self) -> Vec<String> {
        self.heard().iter().map(Heard::words).collect()
    }

    /// Sets the length of a file; the default is one second.
    pub fn set_length(&self, path: impl AsRef<Path>, lasts: Duration) {
        self.state().stage.set_length(path.as_ref(), lasts);
    }

    /// Makes this file missing; recordings into a missing folder fail.
    pub fn lose_file(&self, path: impl AsRef<Path>) {
        self.state().stage.lose(path.as_ref());
    }

    /// Ends a prompt early, as if it were stopped.
    pub fn end_prompt(&self, endpoint: EndpointId) {
        self.state().stage.stop_prompt(endpoint);
    }

    /// Whether a prompt is being played to a party.
    pub fn is_playing(&self, endpoint: EndpointId) -> bool {
        self.state().stage.is_playing(endpoint)
    }

    /// Whether digits of a party are being collected.
    pub fn is_collecting(&self, endpoint: EndpointId) -> bool {
        self.state().stage.is_collecting(endpoint)
    }

    /// Whether a party hears its own echo.
    pub fn hears_itself(&self, endpoint: EndpointId) -> bool {
        self.state().stage.hears_itself(endpoint)
    }

    /// The parties that hear music, with its class.
    pub fn music(&self) -> Vec<(EndpointId, String)> {
        self.state().stage.music()
    }

    /// All recordings so far.
    pub fn recordings(&self) -> Vec<(RecordingId, FakeRecording)> {
        self.state().stage.recordings()
    }

    /// Ends a recording by itself: after silence, or with this error.
    pub fn end_recording(&self, recording: RecordingId, error: Option<&str>) {
        self.state().stage.end_recording(recording, error);
    }

    /// Sets how much of a recording is not silent.
    pub fn say_little(&self, recording: RecordingId, spoken: Duration) {
        self.state().stage.say_little(recording, spoken);
    }

    /// The rooms and their members.
    pub fn rooms(&self) -> Vec<(ConferenceId, FakeRoom)> {
        self.state().stage.rooms()
    }

    /// A member of a room starts or stops speaking.
    pub fn speak(&self, room: ConferenceId, endpoint: EndpointId, on: bool) {
        self.state().stage.speaking(room, endpoint, on);
    }

    /// The number of prompts, collections, music, recordings and rooms in progress.
    pub fn under_way(&self) -> usize {
        self.state().stage.busy()
    }
}
