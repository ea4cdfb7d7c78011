//! The audio pipeline of a call: the program's own processors, sources and sinks.

use std::fmt;
use std::sync::Arc;

use super::Problems;
use super::detour::apart;
use b2b_base::frame::{FrameSink, FrameSource};

/// Changes audio in transit: filters, gain, echo cancellation.
///
/// It is called on the media thread: it must not allocate, lock, log, make a system call or wait, and must be
/// quick (see [`b2b_base::frame`]). A slower one runs on a separate thread, see [`AudioPipeline::apart`].
pub trait AudioProcessor: Send {
    /// Changes one frame in place: mono samples at `rate_hz`, which is constant during a call. Received
    /// frames hold 20 ms, sent ones one packet: 10, 20, 40 or 60 ms.
    fn process(&mut self, frame: &mut [i16], rate_hz: u32);
}

impl<F: FnMut(&mut [i16], u32) + Send> AudioProcessor for F {
    fn process(&mut self, frame: &mut [i16], rate_hz: u32) {
        self(frame, rate_hz);
    }
}

/// In processing order.
pub(super) type Processors = Vec<Box<dyn AudioProcessor>>;

/// The format of a call's frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct FrameFormat {
    /// Sample rate, Hz.
    pub rate_hz: u32,
    /// Audio per sent packet, ms; the far end may request another value.
    pub ptime_ms: u32,
}

/// The audio pipeline of one call.
///
/// Within one tick of 20 ms the media thread first passes the received frame through its processors to its
/// sink, then the frame to be sent.
#[derive(Default)]
#[must_use]
pub struct AudioPipeline {
    /// Of what the source supplies, before `sent`.
    pub(super) of_source: Processors,
    pub(super) sent: Processors,
    pub(super) received: Processors,
    pub(super) source: Option<Box<dyn FrameSource>>,
    pub(super) sink: Option<Box<dyn FrameSink>>,
    apart: bool,
    /// Which of both are devices shared with other calls.
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
    /// An empty pipeline.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a processor of sent audio, after the existing ones.
    pub fn sent(mut self, processor: impl AudioProcessor + 'static) -> Self {
        self.sent.push(Box::new(processor));
        self
    }

    /// Adds a processor of received audio, after the existing ones.
    pub fn received(mut self, processor: impl AudioProcessor + 'static) -> Self {
        self.received.push(Box::new(processor));
        self
    }

    /// Runs all its processors on a separate thread of the call, where each packet may take up to a packet's
    /// time. Sent and received audio are then delayed by one packet, and a packet that is not ready in time
    /// is silent. Source and sink stay on the media thread.
    pub fn apart(mut self) -> Self {
        self.apart = true;
        self
    }

    /// The source of sent audio while nothing else plays, such as a microphone. A source that has ended is
    /// silent.
    pub fn source(mut self, source: impl FrameSource + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// Takes its problems out.
    pub(crate) fn problems(&mut self) -> Problems {
        std::mem::take(&mut self.problems)
    }

    /// The sink of received audio after its processors, such as a loudspeaker.
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

/// The factory of call pipelines.
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
