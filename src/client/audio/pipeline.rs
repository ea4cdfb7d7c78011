//! The audio pipeline of a call: the program's own processors, sources and sinks.

use std::fmt;
use std::sync::Arc;

use super::Problems;
use super::detour::apart;
use b2b_base::frame::{FrameSink, FrameSource};

/// Changes sound on its way: filters, gain, echo cancellation.
///
/// It is asked on the media thread: it must not allocate, lock, log, make a system call or wait,
/// and has to be quick (see [`b2b_base::frame`]). One that cannot be so runs on a thread of its own,
/// see [`AudioPipeline::apart`].
pub trait AudioProcessor: Send {
    /// Changes one frame in place: mono samples at `rate_hz`, which is the same for the whole
    /// call. Received frames hold 20 ms, sent ones a packet's time: 10, 20, 40 or 60 ms.
    fn process(&mut self, frame: &mut [i16], rate_hz: u32);
}

impl<F: FnMut(&mut [i16], u32) + Send> AudioProcessor for F {
    fn process(&mut self, frame: &mut [i16], rate_hz: u32) {
        self(frame, rate_hz);
    }
}

/// In the order in which sound passes them.
pub(super) type Processors = Vec<Box<dyn AudioProcessor>>;

/// The format of a call's frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct FrameFormat {
    /// Samples a second.
    pub rate_hz: u32,
    /// How much sound is in a packet that we send, ms; the far end may ask for another time.
    pub ptime_ms: u32,
}

/// The audio pipeline of one call.
///
/// Within one tick of 20 ms the media thread takes the received frame through its processors and
/// to its sink first, and the frame to be sent after that.
#[derive(Default)]
#[must_use]
pub struct AudioPipeline {
    pub(super) sent: Processors,
    pub(super) received: Processors,
    pub(super) source: Option<Box<dyn FrameSource>>,
    pub(super) sink: Option<Box<dyn FrameSink>>,
    apart: bool,
    /// Which of both are devices, that other calls use, too.
    pub(super) devices: Shared,
    pub(super) problems: Problems,
}

/// Whether source and sink are devices of the client.
#[derive(Clone, Copy, Default)]
pub(super) struct Shared {
    pub source: bool,
    pub sink: bool,
}

impl AudioPipeline {
    /// One that changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a processor of what is sent, behind those that are there.
    pub fn sent(mut self, processor: impl AudioProcessor + 'static) -> Self {
        self.sent.push(Box::new(processor));
        self
    }

    /// Adds a processor of what is received, behind those that are there.
    pub fn received(mut self, processor: impl AudioProcessor + 'static) -> Self {
        self.received.push(Box::new(processor));
        self
    }

    /// Runs all its processors on a thread of the call's own, where they may take their time: up
    /// to a packet's. What is sent and what is received is a packet later then, and a packet that
    /// is not ready is silent. Source and sink stay where they are.
    pub fn apart(mut self) -> Self {
        self.apart = true;
        self
    }

    /// What the call says while nothing is played into it: a microphone. A source that has ended
    /// is silent.
    pub fn source(mut self, source: impl FrameSource + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// Takes what is wrong with it.
    pub(crate) fn problems(&mut self) -> Problems {
        std::mem::take(&mut self.problems)
    }

    /// Where received sound goes, behind its processors: a loudspeaker.
    pub fn sink(mut self, sink: impl FrameSink + 'static) -> Self {
        self.sink = Some(Box::new(sink));
        self
    }
}

impl fmt::Debug for AudioPipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AudioPipeline")
            .field("sent", &self.sent.len())
            .field("received", &self.received.len())
            .field("source", &self.source.is_some())
            .field("sink", &self.sink.is_some())
            .finish()
    }
}

/// Makes each call's pipeline.
#[derive(Clone)]
pub(crate) struct Pipelines(Arc<dyn Fn(FrameFormat) -> AudioPipeline + Send + Sync>);

impl Pipelines {
    pub fn new(make: impl Fn(FrameFormat) -> AudioPipeline + Send + Sync + 'static) -> Self {
        Pipelines(Arc::new(make))
    }

    pub fn make(&self, rate_hz: u32, ptime_ms: u32) -> AudioPipeline {
        let format = FrameFormat { rate_hz, ptime_ms };
        let pipeline = (self.0)(format);
        if pipeline.apart { apart(pipeline, format) } else { pipeline }
    }
}

impl Default for Pipelines {
    fn default() -> Self {
        Pipelines::new(|_| AudioPipeline::new())
    }
}

impl fmt::Debug for Pipelines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pipelines")
    }
}
