//! `[prompts]`: the folder of files that callers hear.

use crate::ConfigError;
use crate::outside::Outside;
use crate::texts::plain_name;
use b2b_app::Prompts;
use b2b_config::section::Section;
use b2b_config::table::Table;
use b2b_config::value::Read;
use b2b_config::{rows, text};

pub const PROMPTS: Table = Table {
    name: "prompts",
    written: "[prompts]",
    about: "Prompts of applications.",
    keys: rows! {
        folder: text!("path", folder) => "prompts",
            "The folder of prompts. Other names of prompts are relative to it.";
        digits: text!("file extension", plain_name) => "wav",
            "Numbers are spoken with the files `digits/0.wav` to `digits/9.wav` of that folder, or with this extension.";
    },
};

pub(super) fn prompts(section: &Section<'_>, outside: &dyn Outside) -> Result<Prompts, ConfigError> {
    let folder = section.parsed_or_default("folder", folder)?;
    let ending = section.parsed_or_default("digits", plain_name)?;
    section.finish();
    Ok(Prompts { folder: outside.resolve(&folder), ending })
}

fn folder(text: &str) -> Read<String> {
    match text.trim() {
        "" => Err("it is empty".to_string()),
        text => Ok(text.to_string()),
    }
}
