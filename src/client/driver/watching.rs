//! What the media thread has done, looked at in time while somebody waits for it: that thread
//! wakes nobody.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::audio::{Lines, PlayEnd, Progress};
use super::super::{CallId, ClientEvent};
use super::{Driver, Events};
use b2b_call::LegId;
use b2b_media::tap::Pace;

/// What is looked at, and when. All calls have their frames at the same time: a look right after
/// that finds them all.
pub(super) struct Watching {
    sounds: Vec<Watched>,
    lines: Vec<(LegId, CallId, Lines)>,
    pace: Pace,
    due: Instant,
}

/// Somebody waits for the end of a sound.
struct Watched {
    leg: LegId,
    progress: Arc<Progress>,
    done: Option<oneshot::Sender<PlayEnd>>,
}

impl Watching {
    pub fn new() -> Self {
        let due = Instant::now();
        Watching { sounds: Vec::new(), lines: Vec::new(), pace: Pace::new(due.into_std()), due }
    }

    /// When to look; `None`: nobody waits.
    pub fn due(&self) -> Option<Instant> {
        (!self.sounds.is_empty() || !self.lines.is_empty()).then_some(self.due)
    }

    /// Looks, and says when to do so again.
    pub fn look(&mut self, events: &Events) {
        let moved = self.tell(events);
        let now = Instant::now();
        self.due = now + self.pace.rest(now.into_std(), moved);
    }

    /// Tells who waits, and says whether the media thread has gone on.
    fn tell(&mut self, events: &Events) -> bool {
        self.sounds.retain_mut(|watched| match watched.progress.end() {
            None => true,
            Some(end) => {
                let _ = watched.done.take().map(|done| done.send(end));
                false
            }
        });
        let mut moved = false;
        self.lines.retain(|(_, call, lines)| {
            moved |= lines.look();
            while let Some((mark, played)) = lines.outgoing.passed() {
                let call = *call;
                // Without a reader there is nobody to tell.
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
        // Dropping them says that the call is over.
        if let Some(record) = self.calls.get(&leg) {
            self.watching.lines.push((leg, record.shared.id(), lines));
        }
    }

    pub(super) fn watch(&mut self, leg: LegId, progress: Arc<Progress>, done: oneshot::Sender<PlayEnd>) {
        // The same for `done`.
        if self.calls.contains_key(&leg) {
            self.watching.sounds.push(Watched { leg, progress, done: Some(done) });
        }
    }

    /// The call is over, and its media are closed.
    pub(super) fn forget(&mut self, leg: LegId) {
        self.watching.tell(&self.events);
        self.watching.sounds.retain(|watched| watched.leg != leg);
        self.watching.lines.retain(|(of, ..)| *of != leg);
    }
}
