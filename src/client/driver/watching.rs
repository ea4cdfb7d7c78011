//! Polls the progress of the media thread, which wakes no other thread, while the program waits for it.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::audio::{AudioProblem, Decoding, Lines, PlayEnd, Progress};
use super::super::{CallId, ClientEvent};
use super::{Driver, Events};
use b2b_call::LegId;
use b2b_media::tap::Pace;

/// What is polled, and when. All calls have their frames at the same time, so a poll right after the tick
/// finds them all.
pub(super) struct Watching {
    sounds: Vec<Watched>,
    lines: Vec<(LegId, CallId, Lines)>,
    pace: Pace,
    due: Instant,
}

/// A sound whose end is awaited.
struct Watched {
    leg: LegId,
    call: CallId,
    progress: Arc<Progress>,
    decoding: Option<Decoding>,
    done: Option<oneshot::Sender<PlayEnd>>,
}

impl Watching {
    pub fn new() -> Self {
        let due = Instant::now();
        Watching { sounds: Vec::new(), lines: Vec::new(), pace: Pace::new(due.into_std()), due }
    }

    /// When to poll next; `None` if there is nothing to poll.
    pub fn due(&self) -> Option<Instant> {
        (!self.sounds.is_empty() || !self.lines.is_empty()).then_some(self.due)
    }

    /// Polls, and schedules the next poll.
    pub fn look(&mut self, events: &Events) {
        let moved = self.tell(events);
        let now = Instant::now();
        self.due = now + self.pace.rest(now.into_std(), moved);
    }

    /// Wakes waiting tasks; returns whether the media thread has advanced.
    fn tell(&mut self, events: &Events) -> bool {
        self.sounds.retain_mut(|watched| {
            let Some(mut end) = watched.progress.end() else { return true };
            if let (PlayEnd::Finished, Some(decoding)) = (end, &watched.decoding) {
                // The decoding thread ends right after the last sample.
                let Some(broken) = decoding.end() else { return true };
                if let Some(why) = broken {
                    end = PlayEnd::Broken;
                    let problem = AudioProblem::Broken(why);
                    let _ = events.send(ClientEvent::Audio { call: watched.call, problem });
                }
            }
            let _ = watched.done.take().map(|done| done.send(end));
            false
        });
        let mut moved = false;
        self.lines.retain(|(_, call, lines)| {
            moved |= lines.look();
            while let Some((mark, played)) = lines.outgoing.passed() {
                let call = *call;
                // An error means that there is no subscriber.
                let _ = events.send(match played {
                    true => ClientEvent::MarkPlayed { call, mark },
                    false => ClientEvent::MarkFlushed { call, mark },
                });
            }
            !lines.is_done()
        });
        moved
    }
}

impl Driver {
    pub(super) fn look_at(&mut self, leg: LegId, lines: Lines) {
        // Otherwise they are dropped, which tells the program that the call is over.
        if let Some(record) = self.calls.get(&leg) {
            self.watching.lines.push((leg, record.shared.id(), lines));
        }
    }

    pub(super) fn watch(
        &mut self,
        leg: LegId,
        progress: Arc<Progress>,
        decoding: Option<Decoding>,
        done: oneshot::Sender<PlayEnd>,
    ) {
        // The same applies to `done`.
        if let Some(record) = self.calls.get(&leg) {
            let call = record.shared.id();
            self.watching.sounds.push(Watched { leg, call, progress, decoding, done: Some(done) });
        }
    }

    /// Called when the call is over and its media are closed.
    pub(super) fn forget(&mut self, leg: LegId) {
        self.watching.tell(&self.events);
        self.watching.sounds.retain(|watched| watched.leg != leg);
        self.watching.lines.retain(|(of, ..)| *of != leg);
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Sound;
    use super::super::super::audio::{AudioPipeline, sides};
    use super::*;
    use b2b_base::frame::{FrameSource, OutFrame};
    use b2b_base::util::ntp::NtpTime;

    #[test]
    fn a_file_that_cannot_be_read_to_its_end_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("broken.mp3");
        let tone = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/audio/tone.mp3");
        let mut octets = std::fs::read(tone).expect("a file");
        // More frames than the decoder skips, with valid headers (64 kbit/s, 208 octets) and no content.
        for _ in 0..2_000 {
            octets.extend([0xFF, 0xFB, 0x50, 0x64]);
            octets.extend([0xAA; 204]);
        }
        std::fs::write(&path, octets).expect("written");
        let (sender, mut events) = tokio::sync::broadcast::channel(4);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let _entered = runtime.enter();
        let mut ended = Vec::new();
        for path in [std::path::Path::new(tone), &path] {
            let (program, media) = sides();
            let prepared = Sound::file(path).prepare(8_000).expect("a file");
            let decoding = prepared.decoding();
            let progress = program.play(prepared).expect("room");
            let (mut voice, _ear) = media.attached(AudioPipeline::new(), 8_000);
            while progress.end().is_none() {
                voice.fill(&mut OutFrame { samples: &mut [0; 160], captured_at: NtpTime(0) });
                std::thread::yield_now();
            }
            let (done, mut end) = oneshot::channel();
            let mut watching = Watching::new();
            let (leg, call) = (LegId(1), CallId(1));
            watching.sounds.push(Watched { leg, call, progress, decoding, done: Some(done) });
            while watching.due().is_some() {
                watching.look(&sender);
            }
            ended.push(end.try_recv().expect("an end"));
        }
        assert_eq!(ended, [PlayEnd::Finished, PlayEnd::Broken]);
        let Ok(ClientEvent::Audio { problem: AudioProblem::Broken(why), .. }) = events.try_recv() else {
            panic!("it is not told")
        };
        assert!(why.contains("broken.mp3"), "{why}");
    }
}
