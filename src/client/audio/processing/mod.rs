//! Echo cancellation, noise suppression and gain control of a call's sent audio, with WebRTC's audio
//! processing (the crate `sonora`; feature `processing`).
//!
//! - `apart`: processing on a separate thread, as processors of a call's pipeline

mod apart;
#[cfg(test)]
mod tests;

use sonora::config::{
    AdaptiveDigital, EchoCanceller, GainController2, HighPassFilter, NoiseSuppression, NoiseSuppressionLevel,
};
use sonora::{AudioProcessing, Config, StreamConfig};

pub(crate) use apart::processed;

/// Processing of what a microphone or another source supplies to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Processing {
    /// Removes the loudspeaker's audio from the microphone's. The reference is the call's received audio
    /// after the processors of the pipeline.
    pub echo: bool,
    /// Suppresses steady noise, by about 12 dB.
    pub noise: bool,
    /// Brings speech to a constant level, however far away the microphone is.
    pub gain: bool,
}

impl Processing {
    /// All of them: for a loudspeaker and a microphone in one room.
    pub const ALL: Processing = Processing { echo: true, noise: true, gain: true };
    /// None of them.
    pub const NONE: Processing = Processing { echo: false, noise: false, gain: false };

    /// Whether nothing is enabled.
    pub fn is_none(self) -> bool {
        self == Processing::NONE
    }
}

/// Processes one direction of audio, in the thread of its caller. It allocates while it works, so it must not
/// run on the media thread; [`crate::ClientBuilder::processing`] uses a separate one.
pub struct Processor {
    engine: AudioProcessing,
    /// Samples in 10 ms, the frame length of the engine.
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

    /// Samples in 10 ms: both methods expect multiples of it, and ignore a remainder.
    pub fn block(&self) -> usize {
        self.block
    }

    /// Takes audio that the loudspeaker is about to play; call it before the microphone can pick that up.
    pub fn played(&mut self, samples: &[i16]) {
        for block in samples.chunks_exact(self.block) {
            // Only a wrong length is an error.
            let _ = self.engine.process_render_i16(block, &mut self.out);
        }
    }

    /// Processes microphone audio in place.
    pub fn process(&mut self, samples: &mut [i16]) {
        for block in samples.chunks_exact_mut(self.block) {
            // The canceller estimates the delay between both by itself.
            let _ = self.engine.set_stream_delay_ms(0);
            if self.engine.process_capture_i16(block, &mut self.out).is_ok() {
                block.copy_from_slice(&self.out);
            }
        }
    }
}
