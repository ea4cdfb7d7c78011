//! What is played: files of the prompts folder, digits, tones, silence.

use std::path::{Component, Path};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use b2b_app::Prompts;
use b2b_call::controller::{Part, Prompt};

/// Maximum parts of one prompt.
const PARTS: usize = 100;
/// Maximum duration of a tone or silence.
const LONGEST_MS: u64 = 600_000;

/// One sound, or several one after the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Sounds {
    One(Sound),
    Many(Vec<Sound>),
}

/// A sound.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Sound {
    /// A file of the `[prompts]` folder.
    Name(String),
    File(FileSound),
    Digits(DigitSound),
    Tone(ToneSound),
    Silence(SilenceSound),
}

/// `{"file": "welcome.wav"}`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSound {
    file: String,
}

/// `{"digits": "4711"}`, spoken with the files in `digits/` of the folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DigitSound {
    digits: String,
}

/// `{"tone": 440, "ms": 500}`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ToneSound {
    /// Hz: 20 to 8000.
    tone: u16,
    /// The frequency of a second simultaneous tone.
    #[serde(default, skip_serializing_if = "is_zero")]
    and: u16,
    ms: u64,
}

/// `{"silence_ms": 300}`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SilenceSound {
    silence_ms: u64,
}

fn is_zero(number: &u16) -> bool {
    *number == 0
}

impl Sounds {
    fn each(&self) -> Vec<Sound> {
        match self {
            Sounds::One(one) => vec![one.clone()],
            Sounds::Many(many) => many.clone(),
        }
    }

    /// Checks what the types do not enforce.
    ///
    /// # Errors
    /// In words.
    pub fn check(&self) -> Result<(), String> {
        let all = self.each();
        match all.len() {
            0 => return Err("sound: set something to play".to_owned()),
            1..=PARTS => {}
            _ => return Err(format!("sound: {PARTS} parts at most")),
        }
        all.iter().try_for_each(|sound| match sound {
            Sound::Name(file) | Sound::File(FileSound { file }) => match is_below(file) {
                true => Ok(()),
                false => Err("sound: use a file below the folder of [prompts]".to_owned()),
            },
            Sound::Digits(DigitSound { digits }) => {
                match digits.len() <= PARTS && digits.chars().any(|key| "0123456789*#".contains(key)) {
                    true => Ok(()),
                    false => Err(format!("sound: 1 to {PARTS} digits")),
                }
            }
            Sound::Tone(ToneSound { tone, and, ms }) => {
                let sound = |hz: u16| (20..=8_000).contains(&hz);
                match sound(*tone) && (*and == 0 || sound(*and)) && (1..=LONGEST_MS).contains(ms) {
                    true => Ok(()),
                    false => Err(format!("sound: a tone has 20 to 8000 Hz and 1 to {LONGEST_MS} ms")),
                }
            }
            Sound::Silence(SilenceSound { silence_ms }) => match (1..=LONGEST_MS).contains(silence_ms) {
                true => Ok(()),
                false => Err(format!("sound: silence has 1 to {LONGEST_MS} ms")),
            },
        })
    }

    /// The prompt for the media engine.
    pub fn prompt(&self, prompts: &Prompts, times: u32) -> Prompt {
        let part = |sound: Sound| match sound {
            Sound::Name(file) | Sound::File(FileSound { file }) => vec![prompts.file(&file)],
            Sound::Digits(DigitSound { digits }) => prompts.say_digits(&digits),
            Sound::Tone(ToneSound { tone, and, ms }) => {
                let lasts = Duration::from_millis(ms);
                vec![Part::Tone { hz: [tone, and], lasts, dbm0: Part::TONE_DBM0 }]
            }
            Sound::Silence(SilenceSound { silence_ms }) => {
                vec![Part::Silence(Duration::from_millis(silence_ms))]
            }
        };
        Prompt { parts: self.each().into_iter().flat_map(part).collect(), times }
    }
}

/// Whether a name is that of a file below a folder, and cannot leave it.
fn is_below(name: &str) -> bool {
    !name.is_empty()
        && !name.contains('\0')
        && Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sounds_are_read_in_each_of_their_forms() {
        let prompts = Prompts::new("/p");
        let sounds: Sounds = serde_json::from_value(json!([
            "a.wav", { "file": "b/c.wav" }, { "digits": "12" }, { "tone": 440, "ms": 500 }, { "silence_ms": 20 },
        ]))
        .unwrap();
        sounds.check().unwrap();
        let prompt = sounds.prompt(&prompts, 2);
        assert_eq!((prompt.parts.len(), prompt.times), (6, 2));
        assert_eq!(prompt.parts[0], prompts.file("a.wav"));
        assert_eq!(prompt.parts[4], Part::tone(440, Duration::from_millis(500)));
        let one: Sounds = serde_json::from_value(json!("a.wav")).unwrap();
        assert_eq!(one.prompt(&prompts, 1).parts, [prompts.file("a.wav")]);
    }

    #[test]
    fn files_are_below_the_folder_and_nowhere_else() {
        for (name, below) in [
            ("a.wav", true),
            ("a/b.wav", true),
            ("/etc/passwd", false),
            ("../a", false),
            ("a/../../b", false),
            ("", false),
        ] {
            assert_eq!(is_below(name), below, "{name}");
        }
    }
}
