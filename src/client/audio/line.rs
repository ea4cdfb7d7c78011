//! The audio of a call between the program and the media thread: both ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::incoming::{InLine, Listener, incoming};
use super::outgoing::{OutLine, Speech, outgoing};
use super::pipeline::AudioPipeline;
use super::player::{Player, Talker, player};
use super::post::{Desk, Post, Used, post};
use super::{CallAudio, Ear, Prepared, Progress, Voice};
use b2b_media::stereo::{Joined, Tape, tapes};

/// The parts of a call's audio that are left out; the media thread checks them with each packet.
#[derive(Debug, Default)]
pub(super) struct LeftOut {
    /// The far end is on hold: leaves out source and sink of the pipeline.
    pub held: AtomicBool,
    /// Leaves out a source that is the client's microphone: another call of the conference carries it.
    pub microphone: AtomicBool,
    /// Leaves out a sink that is the client's loudspeaker: another call of the conference plays all voices.
    pub loudspeaker: AtomicBool,
}

/// The program's end of a call's audio.
pub(crate) struct Program {
    player: Player,
    speech: Post<Speech>,
    listener: Post<Listener>,
    sent: Post<Tape>,
    received: Post<Tape>,
    muted: Arc<AtomicBool>,
    left_out: Arc<LeftOut>,
}

/// The media thread's end, until it is attached.
pub(crate) struct Media {
    pub(super) talker: Talker,
    pub(super) speech: Desk<Speech>,
    pub(super) listener: Desk<Listener>,
    pub(super) sent: Desk<Tape>,
    pub(super) received: Desk<Tape>,
    /// The session sends silence in place of all audio.
    pub(super) muted: Arc<AtomicBool>,
    pub(super) left_out: Arc<LeftOut>,
}

/// Creates both ends of a new call's audio.
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
    /// Plays this next, replacing the current sound; `None` if too many are in transit.
    pub fn play(&self, source: Prepared) -> Option<Arc<Progress>> {
        self.player.play(source)
    }

    /// Opens the audio for the program at its rate; `None` if too many requests are pending.
    pub fn open(&self, call_hz: u32, rate_hz: u32) -> Option<(CallAudio, Lines)> {
        let (heard, listener, incoming) = incoming(call_hz, rate_hz);
        let (said, speech, outgoing) = outgoing(call_hz, rate_hz);
        self.listener.send(listener).ok()?;
        self.speech.send(speech).ok()?;
        Some((CallAudio { incoming: heard, outgoing: said }, Lines { incoming, outgoing }))
    }
}

impl Program {
    /// Records both sides of the call from now on, replacing an earlier recording; `None` if too many
    /// requests are pending.
    pub fn tape(&self, rate_hz: u32) -> Option<Joined> {
        let (sent, received, joined) = tapes(rate_hz);
        // Received audio is the clock.
        self.received.send(received).ok()?;
        self.sent.send(sent).ok()?;
        Some(joined)
    }

    /// Mutes or unmutes sent audio.
    pub fn mute(&self, muted: bool) {
        self.muted.store(muted, Ordering::Relaxed);
    }

    /// Puts the far end on hold or resumes it: on hold, the pipeline's source is not sent and its sink
    /// receives nothing.
    pub fn hold(&self, held: bool) {
        self.left_out.held.store(held, Ordering::Relaxed);
    }

    /// Whether the far end is on hold.
    pub fn is_held(&self) -> bool {
        self.left_out.held.load(Ordering::Relaxed)
    }

    /// Whether sent audio is muted.
    pub fn is_muted(&self) -> bool {
        self.muted.load(Ordering::Relaxed)
    }

    /// Sets whether this call sends the client's microphone to its far end and plays its far end on the
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
    /// The media thread's source and sink of the call, with this pipeline.
    pub fn attached(self, mut pipeline: AudioPipeline, rate_hz: u32) -> (Voice, Ear) {
        let Media { talker, speech, listener, sent, received, muted, left_out } = self;
        let voice = Voice::new(talker, speech, sent, (muted, left_out.clone()), &mut pipeline, rate_hz);
        (voice, Ear::new(listener, received, left_out, &mut pipeline, rate_hz))
    }
}

/// What the client's thread polls while a program uses a call's audio.
pub(crate) struct Lines {
    incoming: Arc<InLine>,
    pub(crate) outgoing: Arc<OutLine>,
}

impl Lines {
    /// Wakes waiting tasks; returns whether the media thread has advanced.
    pub fn look(&self) -> bool {
        let heard = self.incoming.look();
        self.outgoing.look() || heard
    }

    /// Whether polling may end.
    pub fn is_done(&self) -> bool {
        self.incoming.gate.is_done() && self.outgoing.gate.is_done()
    }
}

impl Drop for Lines {
    /// Marks the call as over: wakes all waiting tasks.
    fn drop(&mut self) {
        for gate in [&self.incoming.gate, &self.outgoing.gate] {
            gate.close();
            gate.wake();
        }
    }
}
