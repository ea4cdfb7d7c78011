//! `[prompts]`: where files are that callers hear.

use crate::config::docs::{SectionDoc, key};
use crate::config::error::ConfigError;
use crate::config::parse::Outside;
use crate::config::parse_parties::plain_name;
use crate::config::reader::Section;
use b2b_app::Prompts;

pub const PROMPTS: SectionDoc = SectionDoc {
    name: "prompts",
    written: "[prompts]",
    about: "What applications say.",
    keys: &[
        key(
            "folder",
            "path",
            r#""prompts""#,
            "Where prompts are: WAV, MP3, FLAC or Ogg Vorbis. Other names of prompts are relative to it.",
        ),
        key(
            "digits",
            "ending of a file's name",
            r#""wav""#,
            "Digits are said with the files `digits/0.wav` to `digits/9.wav` of that folder, or with this ending.",
        ),
    ],
};

pub(super) fn prompts(section: &Section<'_>, outside: &dyn Outside) -> Result<Prompts, ConfigError> {
    let path = |text: &str| match text.trim() {
        "" => Err("it is empty".to_string()),
        text => Ok(text.to_string()),
    };
    let folder = section.parsed("folder", path)?.unwrap_or_else(|| "prompts".to_string());
    let ending = section.parsed("digits", plain_name)?.unwrap_or_else(|| "wav".to_string());
    section.finish();
    Ok(Prompts { folder: outside.resolve(&folder), ending })
}
