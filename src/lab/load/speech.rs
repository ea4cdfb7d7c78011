//! The sounds of steps: the files that they play, and the texts that they speak, synthesised by a program of
//! this machine.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::sound::RATE_HZ;
use b2b_config::step::{Deed, Step};
use b2b_media::sounds::{SoundError, load};
use b2b_media::stage::Sound;

/// Maximum length of a sound: sounds are kept as samples.
const LONGEST: Duration = Duration::from_secs(600);

/// Why a step has no sound.
#[derive(Debug, thiserror::Error)]
pub enum SpeechError {
    /// The file cannot be played.
    #[error("the step `{step}`: {error}; name a sound file")]
    File {
        /// The step, as written.
        step: String,
        /// The reason.
        error: SoundError,
    },
    /// There is no program that speaks.
    #[error("the step `{step}` needs a speech synthesiser, espeak-ng or flite; apt install espeak-ng")]
    Missing {
        /// The step, as written.
        step: String,
    },
    /// The program failed.
    #[error("the step `{step}`: {program}: {reason}; try it with a simple text")]
    Failed {
        /// The step, as written.
        step: String,
        /// The program.
        program: &'static str,
        /// The reason.
        reason: String,
    },
}

/// Reads or makes the sound of each step that has one, once for all calls.
///
/// # Errors
/// A file that cannot be played, or a text that cannot be spoken.
pub fn sounds<'a>(steps: impl IntoIterator<Item = &'a Step>) -> Result<Vec<(String, Sound)>, SpeechError> {
    let mut sounds: Vec<(String, Sound)> = Vec::new();
    for step in steps {
        let (Deed::Play(name) | Deed::Speak(name)) = &step.deed else { continue };
        if sounds.iter().any(|(known, _)| known == name) {
            continue;
        }
        let sound = match &step.deed {
            Deed::Speak(text) => spoken(text, &step.text)?,
            _ => load(Path::new(name), RATE_HZ, LONGEST)
                .map_err(|error| SpeechError::File { step: step.text.clone(), error })?,
        };
        sounds.push((name.clone(), sound));
    }
    Ok(sounds)
}

/// Synthesises a text with the first program that is there.
fn spoken(text: &str, step: &str) -> Result<Sound, SpeechError> {
    let step = || step.to_owned();
    let failed = |program, reason| SpeechError::Failed { step: step(), program, reason };
    for program in ["espeak-ng", "flite"] {
        let file = tempfile::Builder::new().suffix(".wav").tempfile();
        let file = file.map_err(|error| failed(program, error.to_string()))?.into_temp_path();
        let mut command = Command::new(program);
        match program {
            // a text may begin with a dash
            "espeak-ng" => command.arg("-w").arg(&file).args(["--", text]),
            _ => command.arg("-o").arg(&file).args(["-t", text]),
        };
        let made = command.stdin(Stdio::null()).stdout(Stdio::null()).output();
        return match made {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => Err(failed(program, error.to_string())),
            Ok(made) if !made.status.success() => {
                Err(failed(program, String::from_utf8_lossy(&made.stderr).trim().to_owned()))
            }
            Ok(_) => load(&file, RATE_HZ, LONGEST).map_err(|error| failed(program, error.to_string())),
        };
    }
    Err(SpeechError::Missing { step: step() })
}

#[cfg(test)]
mod tests {
    use b2b_config::step;

    use super::*;

    #[test]
    fn a_text_is_spoken_once_and_a_missing_file_is_told_of() {
        let steps = step::caller("dial 1; speak -1, or 2?; speak -1, or 2?; hang up").unwrap();
        match sounds(&steps) {
            Ok(sounds) => {
                let loud = |sound: &Sound| sound.iter().any(|sample| sample.unsigned_abs() > 3_000);
                assert!(sounds.len() == 1 && loud(&sounds[0].1), "{}", sounds.len());
                assert!(sounds[0].1.len() > 4_000, "{}", sounds[0].1.len());
            }
            // a machine without a synthesiser
            Err(error) => assert!(error.to_string().contains("apt install espeak-ng"), "{error}"),
        }
        let steps = step::caller("dial 1; play /no/such.wav; hang up").unwrap();
        assert!(sounds(&steps).unwrap_err().to_string().contains("name a sound file"));
    }
}
