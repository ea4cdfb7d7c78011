//! Audio frames: what an engine and an application hand each other.
//!
//! The engine owns the clock. It calls [`FrameSource::fill`] when a packet is
//! due and [`FrameSink::frame`] when a frame is played out, both on its audio
//! thread, at most once per ptime and call. Within one tick every sink of an
//! engine is served before any source, so that a mixer forwards without delay.
//!
//! Rule for both: no allocation, lock, log line, system call or wait. Move
//! samples through a ring (`rtrb`) and do the work elsewhere.

use crate::util::ntp::NtpTime;

/// Sampling rate of every frame in the lab, in Hz. Other sessions have the rate that they were
/// opened with.
pub const RATE_HZ: u32 = 8_000;

/// What a source did with the frame it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// Samples were written.
    Audio,
    /// Nothing to say now: the frame was filled with silence. A marker bit
    /// follows on the next [`Fill::Audio`] (RFC 3551 §4.1).
    Silence,
    /// The source ran dry although it should not have: silence was filled,
    /// timestamps go on undisturbed, and the underrun is counted.
    Underrun,
    /// The source has ended: this frame holds nothing of it. The engine reports
    /// `SourceEnded` once and goes on sending silence until the hang-up.
    End,
}

/// A frame to be filled for sending.
#[derive(Debug)]
pub struct OutFrame<'a> {
    /// Mono samples at the session's rate ([`RATE_HZ`] in the lab), as many as the ptime
    /// holds; zeroed.
    pub samples: &'a mut [i16],
    /// When the first sample was captured. Preset to the slot of this frame
    /// (send deadline minus ptime); a source that forwards audio overwrites it
    /// with the capture time of what it forwards.
    pub captured_at: NtpTime,
}

/// How a played-out frame came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// Decoded from a packet.
    Audio,
    /// Made up for a lost or late packet.
    Concealed,
    /// No stream to play, or a loss too long to conceal.
    Silence,
}

/// A frame that is played out.
#[derive(Debug, Clone, Copy)]
pub struct InFrame<'a> {
    /// Mono samples at the session's rate; always 20 ms (160 samples at [`RATE_HZ`]).
    pub samples: &'a [i16],
    /// When the first sample was captured at the far end, if the sender said so
    /// (abs-capture-time header extension, RFC 8285).
    pub captured_at: Option<NtpTime>,
    /// How the frame came about.
    pub kind: FrameKind,
}

/// Where an engine gets the audio of a call from.
pub trait FrameSource: Send {
    /// Fills one frame. See the module's rule.
    fn fill(&mut self, frame: &mut OutFrame<'_>) -> Fill;
}

/// Where an engine puts the audio of a call.
pub trait FrameSink: Send {
    /// Takes one frame. See the module's rule.
    fn frame(&mut self, frame: &InFrame<'_>);
}
