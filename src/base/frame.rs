//! Audio frames exchanged between an engine and an application.
//!
//! The engine owns the clock. It calls [`FrameSource::fill`] when a packet is due and
//! [`FrameSink::frame`] when a frame is played out, both on its audio thread, at most once
//! per ptime and call. Within one tick all sinks of an engine are served before any source,
//! so that a mixer forwards without delay.
//!
//! Rule for both: no allocation, lock, log line, system call or wait. Move samples through a
//! ring (`rtrb`) and do the work elsewhere.

use crate::util::ntp::NtpTime;

/// Sampling rate of every frame in the lab, in Hz. Other sessions use the rate that they were
/// opened with.
pub const RATE_HZ: u32 = 8_000;

/// What a source did with its frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// Samples were written.
    Audio,
    /// Nothing to send: the frame is silence. The next [`Fill::Audio`] gets a marker bit
    /// (RFC 3551 §4.1).
    Silence,
    /// The source unexpectedly ran dry: the frame is silence, timestamps continue without
    /// interruption, and the underrun is counted.
    Underrun,
    /// The source has ended: this frame has no audio from it. The engine reports
    /// `SourceEnded` once and sends silence until the hang-up.
    End,
}

/// A frame to be filled for sending.
#[derive(Debug)]
pub struct OutFrame<'a> {
    /// Mono samples at the session's rate ([`RATE_HZ`] in the lab) for one ptime; zeroed.
    pub samples: &'a mut [i16],
    /// Capture time of the first sample. Preset to the slot of this frame (send deadline
    /// minus ptime); a source that forwards audio overwrites it with the original capture
    /// time.
    pub captured_at: NtpTime,
}

/// The origin of a played-out frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// Decoded from a packet.
    Audio,
    /// Generated for a lost or late packet.
    Concealed,
    /// There is no stream to play, or the loss is too long to conceal.
    Silence,
}

/// A frame that is played out.
#[derive(Debug, Clone, Copy)]
pub struct InFrame<'a> {
    /// Mono samples at the session's rate; always 20 ms (160 samples at [`RATE_HZ`]).
    pub samples: &'a [i16],
    /// Capture time of the first sample at the sender, if it was sent (abs-capture-time
    /// header extension, RFC 8285).
    pub captured_at: Option<NtpTime>,
    /// The origin of the frame.
    pub kind: FrameKind,
}

/// Supplies the audio of a call to an engine.
pub trait FrameSource: Send {
    /// Fills one frame. See the module's rule.
    fn fill(&mut self, frame: &mut OutFrame<'_>) -> Fill;
}

/// Receives the audio of a call from an engine.
pub trait FrameSink: Send {
    /// Takes one frame. See the module's rule.
    fn frame(&mut self, frame: &InFrame<'_>);
}
