//! A call's sound between the program and the media thread: both sides' ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::incoming::{InLine, Listener, incoming};
use super::outgoing::{OutLine, Speech, outgoing};
use super::pipeline::AudioPipeline;
use super::player::{Player, Talker, player};
use super::post::{Desk, Post, Used, post};
use super::{CallAudio, Ear, Prepared, Progress, Voice};
use b2b_media::stereo::{Joined, Tape, tapes};

/// What is left out of a call; the media thread looks with each packet.
#[derive(Debug, Default)]
pub(super) struct LeftOut {
    /// The far end is held: source and sink of the pipeline.
    pub held: AtomicBool,
    /// A source that is the client's microphone: another call of a conference takes it there.
    pub microphone: AtomicBool,
    /// A sink that is the client's loudspeaker: another call of a conference has all voices.
    pub loudspeaker: AtomicBool,
}

/// The program's side of a call's sound.
pub(crate) struct Program {
    player: Player,
    speech: Post<Speech>,
    listener: Post<Listener>,
    sent: Post<Tape>,
    received: Post<Tape>,
    muted: Arc<AtomicBool>,
    left_out: Arc<LeftOut>,
}

/// The media thread's side, until it is attached.
pub(crate) struct Media {
    pub(super) talker: Talker,
    pub(super) speech: Desk<Speech>,
    pub(super) listener: Desk<Listener>,
    pub(super) sent: Desk<Tape>,
    pub(super) received: Desk<Tape>,
    /// The session sends silence in place of what is said.
    pub(super) muted: Arc<AtomicBool>,
    pub(super) left_out: Arc<LeftOut>,
}

/// Both sides of a new call's sound.
pub(crate) fn sides() -> (Program, Media) {
    let (player, talker) = player();
    let ((speech, speeches), (listener, listeners)) = (post(), post());
    let ((sent, of_sent), (received, of_received)) = (post(), post());
    let (muted, left_out) = (Arc::new(AtomicBool::new(false)), Arc::new(LeftOut::default()));
    let (muted_too, left_out_too) = (muted.clone(), left_out.clone());
    let program = Program { player, speech, listener, sent, received, muted, left_out };
    let media = Media {
        talker,
        speech: speeches,
        listener: listeners,
        sent: of_sent,
        received: of_received,
        muted: muted_too,
        left_out: left_out_too,
    };
    (program, media)
}

impl Program {
    /// Plays this next, in place of what is played; `None`: too much at once.
    pub fn play(&self, source: Prepared) -> Option<Arc<Progress>> {
        self.player.play(source)
    }

    /// Frames of the program's own, at its rate; `None`: too many at once.
    pub fn open(&self, call_hz: u32, rate_hz: u32) -> Option<(CallAudio, Lines)> {
        let (heard, listener, incoming) = incoming(call_hz, rate_hz);
        let (said, speech, outgoing) = outgoing(call_hz, rate_hz);
        self.listener.send(listener).ok()?;
        self.speech.send(speech).ok()?;
        Some((CallAudio { incoming: heard, outgoing: said }, Lines { incoming, outgoing }))
    }
}

impl Program {
    /// Both sides of the call from now on, in place of those of before; `None`: too many at once.
    pub fn tape(&self, rate_hz: u32) -> Option<Joined> {
        let (sent, received, joined) = tapes(rate_hz);
        // Received sound is the clock.
        self.received.send(received).ok()?;
        self.sent.send(sent).ok()?;
        Some(joined)
    }

    /// The session sends silence in place of what is said, or no longer.
    pub fn mute(&self, muted: bool) {
        self.muted.store(muted, Ordering::Relaxed);
    }

    /// The far end is held from now on, or no longer: the pipeline's source is not heard there and
    /// its sink hears nothing.
    pub fn hold(&self, held: bool) {
        self.left_out.held.store(held, Ordering::Relaxed);
    }

    /// Whether it is.
    pub fn is_held(&self) -> bool {
        self.left_out.held.load(Ordering::Relaxed)
    }

    /// Whether it is muted.
    pub fn is_muted(&self) -> bool {
        self.muted.load(Ordering::Relaxed)
    }

    /// Whether this call takes the client's microphone to its far end, and has its far end in the
    /// client's loudspeaker.
    pub fn seat(&self, microphone: bool, loudspeaker: bool) {
        self.left_out.microphone.store(!microphone, Ordering::Relaxed);
        self.left_out.loudspeaker.store(!loudspeaker, Ordering::Relaxed);
    }
}

impl Used for Tape {
    fn end(&self) {
        self.end();
    }

    fn is_abandoned(&self) -> bool {
        self.is_abandoned()
    }
}

impl Media {
    /// What the media thread asks and tells, through this pipeline.
    pub fn attached(self, mut pipeline: AudioPipeline, rate_hz: u32) -> (Voice, Ear) {
        let Media { talker, speech, listener, sent, received, muted, left_out } = self;
        let voice = Voice::new(talker, speech, sent, (muted, left_out.clone()), &mut pipeline, rate_hz);
        (voice, Ear::new(listener, received, left_out, &mut pipeline, rate_hz))
    }
}

/// What the client's thread looks at while a program has a call's frames.
pub(crate) struct Lines {
    incoming: Arc<InLine>,
    pub(crate) outgoing: Arc<OutLine>,
}

impl Lines {
    /// Wakes who waits for what is there now, and says whether the media thread has gone on.
    pub fn look(&self) -> bool {
        let heard = self.incoming.look();
        self.outgoing.look() || heard
    }

    /// Whether looks may end.
    pub fn is_done(&self) -> bool {
        self.incoming.gate.is_done() && self.outgoing.gate.is_done()
    }
}

impl Drop for Lines {
    /// Nothing will happen any more: wakes all who wait.
    fn drop(&mut self) {
        for gate in [&self.incoming.gate, &self.outgoing.gate] {
            gate.close();
            gate.wake();
        }
    }
}
