//! What a test sees of what applications do with media, and what it says of it.

use std::path::Path;
use std::time::Duration;

use super::media::FakeMedia;
use super::stage::{FakeRecording, FakeRoom, Heard};
use b2b_call::controller::{ConferenceId, EndpointId, RecordingId};

impl FakeMedia {
    /// What was played since this was last asked, to parties and in rooms.
    pub fn heard(&self) -> Vec<Heard> {
        self.state().stage.take_heard()
    }

    /// The same in words, see [`Heard::words`].
    pub fn heard_words(&self) -> Vec<String> {
        self.heard().iter().map(Heard::words).collect()
    }

    /// How long a file lasts; those of which nothing is said last a second.
    pub fn set_length(&self, path: impl AsRef<Path>, lasts: Duration) {
        self.state().stage.set_length(path.as_ref(), lasts);
    }

    /// This file is not there; recordings into a folder that is not there fail.
    pub fn lose_file(&self, path: impl AsRef<Path>) {
        self.state().stage.lose(path.as_ref());
    }

    /// A prompt ends before its time, as if it had come to its end by being stopped.
    pub fn end_prompt(&self, endpoint: EndpointId) {
        self.state().stage.stop_prompt(endpoint);
    }

    /// Whether a prompt is being played to a party.
    pub fn is_playing(&self, endpoint: EndpointId) -> bool {
        self.state().stage.is_playing(endpoint)
    }

    /// Whether digits of a party's are awaited.
    pub fn is_collecting(&self, endpoint: EndpointId) -> bool {
        self.state().stage.is_collecting(endpoint)
    }

    /// Whether tones of a party's are digits.
    pub fn hears_tones(&self, endpoint: EndpointId) -> bool {
        self.state().stage.hears_tones(endpoint)
    }

    /// Whether a party hears itself.
    pub fn hears_itself(&self, endpoint: EndpointId) -> bool {
        self.state().stage.hears_itself(endpoint)
    }

    /// Who hears music, and of which class.
    pub fn music(&self) -> Vec<(EndpointId, String)> {
        self.state().stage.music()
    }

    /// Every recording there was.
    pub fn recordings(&self) -> Vec<(RecordingId, FakeRecording)> {
        self.state().stage.recordings()
    }

    /// A recording ends by itself: after silence, or by this error.
    pub fn end_recording(&self, recording: RecordingId, error: Option<&str>) {
        self.state().stage.end_recording(recording, error);
    }

    /// Of a recording, so much is no silence.
    pub fn say_little(&self, recording: RecordingId, spoken: Duration) {
        self.state().stage.say_little(recording, spoken);
    }

    /// Rooms, and who is in them.
    pub fn rooms(&self) -> Vec<(ConferenceId, FakeRoom)> {
        self.state().stage.rooms()
    }

    /// Who is in a room begins or ceases to speak.
    pub fn speak(&self, room: ConferenceId, endpoint: EndpointId, on: bool) {
        self.state().stage.speaking(room, endpoint, on);
    }

    /// Prompts, collections, music, recordings and rooms that are under way.
    pub fn under_way(&self) -> usize {
        self.state().stage.busy()
    }
}
