//! Echo cancellation, noise suppression and gain control of what a call says, by WebRTC's audio
//! processing (the crate `sonora`; feature `processing`).
//!
//! - `apart`: the same on a thread of its own, as processors of a call's pipeline

mod apart;
#[cfg(test)]
mod tests;

use sonora::config::{
    AdaptiveDigital, EchoCanceller, GainController2, HighPassFilter, NoiseSuppression, NoiseSuppressionLevel,
};
use sonora::{AudioProcessing, Config, StreamConfig};

pub(crate) use apart::processed;

/// Processing of the audio that a call sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Processing {
    /// Takes out what the loudspeaker has put into the microphone. Its reference is what the call
    /// hears, behind the processors of the pipeline.
    pub echo: bool,
    /// Takes out steady noise, by about 12 dB.
    pub noise: bool,
    /// Brings speech to the same level, however far away the microphone is.
    pub gain: bool,
}

impl Processing {
    /// All of it: for a loudspeaker and a microphone in one room.
    pub const ALL: Processing = Processing { echo: true, noise: true, gain: true };
    /// Nothing.
    pub const NONE: Processing = Processing { echo: false, noise: false, gain: false };

    /// Whether there is anything to do.
    pub fn is_none(self) -> bool {
        self == Processing::NONE
    }
}

/// Processes one direction of sound, in the thread of its caller. It allocates while it works: not
/// for the media thread, where [`crate::ClientBuilder::processing`] keeps it out.
pub struct Processor {
    engine: AudioProcessing,
    /// Samples of 10 ms, the engine's frames.
    block: usize,
    out: Box<[i16]>,
}

impl Processor {
    /// For mono samples at 8,000, 16,000, 24,000 or 48,000 Hz.
    pub fn new(processing: Processing, rate_hz: u32) -> Self {
        let Processing { echo, noise, gain } = processing;
        let config = Config {
            high_pass_filter: Some(HighPassFilter::default()),
            echo_canceller: echo.then(EchoCanceller::default),
            noise_suppression: noise.then(|| NoiseSuppression {
                level: NoiseSuppressionLevel::Moderate,
                ..NoiseSuppression::default()
            }),
            gain_controller2: gain.then(|| GainController2 {
                adaptive_digital: Some(AdaptiveDigital::default()),
                ..GainController2::default()
            }),
            ..Config::default()
        };
        let stream = StreamConfig::new(rate_hz, 1);
        let engine =
            AudioProcessing::builder().config(config).capture_config(stream).render_config(stream).build();
        let block = stream.num_frames();
        Processor { engine, block, out: vec![0; block].into_boxed_slice() }
    }

    /// Samples of 10 ms: both methods want multiples of it, and leave what is beyond them alone.
    pub fn block(&self) -> usize {
        self.block
    }

    /// The loudspeaker plays this: before the microphone can hear it.
    pub fn played(&mut self, samples: &[i16]) {
        for block in samples.chunks_exact(self.block) {
            // Only a wrong length is refused.
            let _ = self.engine.process_render_i16(block, &mut self.out);
        }
    }

    /// The microphone has heard this: changed in place.
    pub fn process(&mut self, samples: &mut [i16]) {
        for block in samples.chunks_exact_mut(self.block) {
            // The delay between both is found by the canceller itself.
            let _ = self.engine.set_stream_delay_ms(0);
            if self.engine.process_capture_i16(block, &mut self.out).is_ok() {
                block.copy_from_slice(&self.out);
            }
        }
    }
}
