//! Recordings of the embedded controller: the recordings of each endpoint, and the formats of their packets.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use super::convert::relay_id;
use super::embedded::EmbeddedController;
use super::{EndpointId, MediaError, MediaEvent, MediaFuture, Mono, Recorded, RecordingId, RecordingSpec};
use crate::negotiate::pair::Side;
use b2b_media::recording::{Finished, Formats, Plan, Recorder, Started, Tap};

/// The recordings; see the module documentation.
pub(super) struct Recordings {
    recorder: Recorder,
    of: Mutex<HashMap<EndpointId, Vec<u64>>>,
}

/// The formats of both directions of a party's packets.
fn formats(side: &Side) -> (Formats, Formats) {
    let [said, heard] = side.codecs().map(|codecs| {
        let mut formats = Formats::default();
        codecs.into_iter().for_each(|(payload_type, codec)| formats.set(payload_type, codec));
        formats
    });
    (said, heard)
}

impl Recordings {
    /// Starts the writer threads.
    pub fn start(events: mpsc::UnboundedSender<MediaEvent>, free_bytes: u64) -> io::Result<Self> {
        let over = move |finished: Finished| {
            let recording = RecordingId(finished.recording);
            // The receiver is gone when the program is shutting down.
            let _ = events.send(MediaEvent::Recorded { recording, recorded: finished.into() });
        };
        Ok(Recordings { recorder: Recorder::start(free_bytes, over)?, of: Mutex::default() })
    }

    fn of(&self) -> MutexGuard<'_, HashMap<EndpointId, Vec<u64>>> {
        // A panic elsewhere leaves no inconsistent state behind this lock.
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a recording of an endpoint, whose packets are to go into the tap.
    pub fn begin(
        &self,
        endpoint: EndpointId,
        side: &Side,
        spec: &RecordingSpec,
    ) -> (Tap, MediaFuture<RecordingId>) {
        let (said, heard) = formats(side);
        let (recording, tap, begun) = self.begin_as(said, heard, spec);
        self.of().entry(endpoint).or_default().push(recording);
        (tap, begun)
    }

    /// Starts a recording of a room, whose packets have static payload types: one channel.
    pub fn begin_room(&self, spec: &RecordingSpec) -> (Tap, MediaFuture<RecordingId>) {
        let spec = RecordingSpec { stereo: false, mono: Mono::Said, ..spec.clone() };
        let (_, tap, begun) = self.begin_as(Formats::default(), Formats::default(), &spec);
        (tap, begun)
    }

    fn begin_as(
        &self,
        said: Formats,
        heard: Formats,
        spec: &RecordingSpec,
    ) -> (u64, Tap, MediaFuture<RecordingId>) {
        let plan = Plan {
            path: spec.path.clone(),
            stereo: spec.stereo,
            mono: spec.mono,
            rate_hz: spec.rate_hz,
            coding: spec.coding,
            longest: spec.longest,
            silence: spec.silence,
            append: spec.append,
        };
        let Started { recording, tap, created } = self.recorder.begin(plan, said, heard);
        let answer = MediaFuture::pending(async move {
            match created.await {
                Ok(Ok(())) => Ok(RecordingId(recording)),
                Ok(Err(error)) => Err(MediaError::File(error.to_string())),
                Err(_) => Err(MediaError::Stopped),
            }
        });
        (recording, tap, answer)
    }

    /// Continues a recording with another endpoint.
    pub fn follow(&self, recording: u64, endpoint: EndpointId, side: &Side, swapped: bool) -> Tap {
        let mut of = self.of();
        of.values_mut().for_each(|recordings| recordings.retain(|known| *known != recording));
        of.entry(endpoint).or_default().push(recording);
        let (said, heard) = formats(side);
        self.recorder.follow(recording, said, heard, swapped)
    }

    /// Updates the formats after an offer/answer exchange at an endpoint.
    pub fn described(&self, endpoint: EndpointId, side: &Side) {
        if let Some(recordings) = self.of().get(&endpoint) {
            let (said, heard) = formats(side);
            recordings.iter().for_each(|recording| self.recorder.formats(*recording, said, heard));
        }
    }

    /// Forgets a released endpoint.
    pub fn released(&self, endpoint: EndpointId) {
        self.of().remove(&endpoint);
    }

    /// See `Verb::PauseRecording`.
    pub fn pause(&self, RecordingId(recording): RecordingId, paused: bool) {
        self.recorder.pause(recording, paused);
    }

    /// See `Verb::StopRecording`.
    pub fn stop(&self, RecordingId(recording): RecordingId) -> MediaFuture<Recorded> {
        let finished = self.recorder.stop(recording);
        MediaFuture::pending(async move {
            let finished = finished.await;
            finished.map(Recorded::from).map_err(|_| MediaError::File("there is no such recording".into()))
        })
    }

    /// See `Verb::WaitForRecording`.
    pub fn wait(&self, RecordingId(recording): RecordingId) -> MediaFuture<Recorded> {
        let finished = self.recorder.wait(recording);
        MediaFuture::pending(async move {
            let finished = finished.await;
            finished.map(Recorded::from).map_err(|_| MediaError::File("there is no such recording".into()))
        })
    }

    /// Ends every recording and waits for the files.
    pub fn shutdown(&self) {
        self.recorder.shutdown();
    }
}

impl EmbeddedController {
    pub(super) fn record(
        &self,
        endpoint: EndpointId,
        spec: &RecordingSpec,
    ) -> Result<MediaFuture<RecordingId>, MediaError> {
        let mut state = self.state();
        let (tap, begun) = self.recordings.begin(endpoint, &state.get(endpoint)?.side, spec);
        self.relay.record(relay_id(endpoint), tap);
        Ok(begun)
    }

    /// Continues a recording with this endpoint.
    pub(super) fn record_on(
        &self,
        RecordingId(recording): RecordingId,
        endpoint: EndpointId,
        other_side: bool,
    ) -> Result<(), MediaError> {
        let mut state = self.state();
        let tap = self.recordings.follow(recording, endpoint, &state.get(endpoint)?.side, other_side);
        self.relay.record(relay_id(endpoint), tap);
        Ok(())
    }
}

impl From<Finished> for Recorded {
    fn from(finished: Finished) -> Self {
        let Finished { path, lasts, spoken, error, .. } = finished;
        Recorded { path, lasts, spoken, error }
    }
}

#[cfg(test)]
mod tests;
