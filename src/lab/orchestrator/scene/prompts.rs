//! Prompts that a scene generates before it starts: tones in place of speech.

use std::path::Path;

use crate::config::scene::Prompt;
use b2b_base::util::exit::{Exit, Failure};
use b2b_media::tone::Oscillator;

/// Sample rate of a prompt, Hz: the telephone rate.
const RATE_HZ: u32 = 8_000;
/// A quarter of full scale.
const LEVEL: f32 = 8_192.0;

/// Writes all prompts, overwriting existing files.
///
/// # Errors
/// The first prompt that cannot be written.
pub fn make(prompts: &[Prompt]) -> Result<(), Failure> {
    for prompt in prompts {
        write(prompt).map_err(|error| {
            let message = format!("cannot write the prompt {}: {error}", prompt.path.display());
            Failure::new(Exit::Audio, message)
        })?;
    }
    Ok(())
}

fn write(prompt: &Prompt) -> Result<(), hound::Error> {
    std::fs::create_dir_all(prompt.path.parent().unwrap_or(Path::new("")))?;
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: RATE_HZ,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut file = hound::WavWriter::create(&prompt.path, spec)?;
    let mut tone = Oscillator::new(prompt.hz, RATE_HZ);
    for _ in 0..u64::from(prompt.ms) * u64::from(RATE_HZ) / 1_000 {
        file.write_sample((LEVEL * tone.next_sample()) as i16)?;
    }
    file.finalize()
}
