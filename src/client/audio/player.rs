//! Playback: sounds go to the media thread and come back. The media thread takes no lock and wakes no other
//! thread; it stores the result in [`Progress`], which the client's thread polls while a program waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::oneshot;

use super::Prepared;
use super::post::{Desk, Post, Used, post};
use b2b_base::frame::{Fill, FrameSource as _, OutFrame};

/// How a playback ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlayEnd {
    /// All of it was sent.
    Finished,
    /// Another sound replaced it, or [`Playback::stop`] was called.
    Replaced,
    /// The file could not be read to its end; [`crate::ClientEvent::Audio`] reports the reason.
    Broken,
    /// The call ended first.
    CallEnded,
}

/// The state of a playback, for the client's thread.
#[derive(Debug, Default)]
pub(crate) struct Progress(AtomicU8);

const FINISHED: u8 = 1;
const REPLACED: u8 = 2;
const STOP: u8 = 3;

impl Progress {
    /// The end, once it is reached.
    pub(crate) fn end(&self) -> Option<PlayEnd> {
        match self.0.load(Ordering::Acquire) {
            FINISHED => Some(PlayEnd::Finished),
            REPLACED => Some(PlayEnd::Replaced),
            _ => None,
        }
    }

    fn set(&self, end: u8) {
        self.0.store(end, Ordering::Release);
    }
}

/// A sound that is playing. Dropping it has no effect.
#[derive(Debug)]
pub struct Playback {
    progress: Arc<Progress>,
    done: oneshot::Receiver<PlayEnd>,
}

impl Playback {
    pub(crate) fn new(progress: Arc<Progress>, done: oneshot::Receiver<PlayEnd>) -> Self {
        Playback { progress, done }
    }

    /// Waits for its end.
    pub async fn finished(self) -> PlayEnd {
        self.done.await.unwrap_or(PlayEnd::CallEnded)
    }

    /// Stops it with the next packet. Does nothing once it has ended.
    pub fn stop(&self) {
        let _ = self.progress.0.compare_exchange(0, STOP, Ordering::AcqRel, Ordering::Relaxed);
    }
}

/// A sound in transit or playing.
pub(super) struct Playing {
    source: Prepared,
    progress: Arc<Progress>,
}

/// The program's end.
pub(super) struct Player(Post<Playing>);

/// The media thread's end.
pub(super) struct Talker(Desk<Playing>);

pub(super) fn player() -> (Player, Talker) {
    let (player, desk) = post();
    (Player(player), Talker(desk))
}

impl Player {
    /// Plays this next, replacing the current sound; `None` if too many are in transit.
    pub fn play(&self, source: Prepared) -> Option<Arc<Progress>> {
        let progress = Arc::new(Progress::default());
        self.0.send(Playing { source, progress: progress.clone() }).ok()?;
        Some(progress)
    }
}

impl Used for Playing {
    fn end(&self) {
        self.progress.set(REPLACED);
    }

    /// Whether it was stopped; if so, marks it as ended.
    fn is_abandoned(&self) -> bool {
        self.progress.0.compare_exchange(STOP, REPLACED, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

impl Talker {
    /// Fills a frame with the playing sound; `None` if there is none, or it has just ended.
    pub(super) fn play(&mut self, frame: &mut OutFrame<'_>) -> Option<Fill> {
        let playing = self.0.current()?;
        match playing.source.fill(frame) {
            // The call goes on without it.
            Fill::End => {
                playing.progress.set(FINISHED);
                self.0.give_back();
                None
            }
            fill => Some(fill),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Sound;
    use super::super::post::ROOM;
    use super::*;
    use b2b_base::util::ntp::NtpTime;

    fn tone(ms: u32) -> Prepared {
        Sound::tone(400.0, ms).prepare(8_000).expect("a tone")
    }

    fn fill(talker: &mut Talker) -> Fill {
        let mut frame = OutFrame { samples: &mut [0; 160], captured_at: NtpTime(0) };
        talker.play(&mut frame).unwrap_or(Fill::Silence)
    }

    #[test]
    fn a_sound_is_finished_with_the_first_packet_after_it() {
        let (player, mut talker) = player();
        assert_eq!(fill(&mut talker), Fill::Silence);
        let progress = player.play(tone(40)).expect("room");
        assert_eq!([fill(&mut talker), fill(&mut talker)], [Fill::Audio; 2]);
        assert_eq!(progress.end(), None);
        assert_eq!(fill(&mut talker), Fill::Silence);
        assert_eq!(progress.end(), Some(PlayEnd::Finished));
    }

    #[test]
    fn the_last_sound_asked_for_is_the_one_that_is_played() {
        let (player, mut talker) = player();
        let first = player.play(tone(1_000)).expect("room");
        fill(&mut talker);
        let (second, third) = (player.play(tone(1_000)).expect("room"), player.play(tone(20)).expect("room"));
        assert_eq!(fill(&mut talker), Fill::Audio);
        assert_eq!(
            [first.end(), second.end(), third.end()],
            [Some(PlayEnd::Replaced), Some(PlayEnd::Replaced), None]
        );
    }

    #[test]
    fn a_sound_that_is_stopped_is_silent_from_the_next_packet_on() {
        let (player, mut talker) = player();
        let progress = player.play(tone(1_000)).expect("room");
        assert_eq!(fill(&mut talker), Fill::Audio);
        Playback::new(progress.clone(), oneshot::channel().1).stop();
        assert_eq!((fill(&mut talker), progress.end()), (Fill::Silence, Some(PlayEnd::Replaced)));
    }

    #[test]
    fn any_number_of_sounds_goes_through_while_they_are_taken() {
        let (player, mut talker) = player();
        for round in 0..100 {
            for _ in 0..ROOM {
                assert!(player.play(tone(20)).is_some(), "round {round}");
            }
            assert!(player.play(tone(20)).is_none());
            fill(&mut talker);
        }
    }
}
