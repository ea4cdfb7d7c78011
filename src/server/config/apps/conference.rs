//! `[[conference]]`.

use super::{app_name, music_of, name, pin};
use crate::config::check::Names;
use crate::config::docs::{SectionDoc, key};
use crate::config::error::ConfigError;
use crate::config::parse::Outside;
use crate::config::reader::Section;
use b2b_app::Prompts;
use b2b_app::conference::{RoomConfig, Word, Words};

pub const CONFERENCE: SectionDoc = SectionDoc {
    name: "conference",
    written: "[[conference]]",
    about: "A room: the application `conference/` and its name. See [apps/conference.md](apps/conference.md).",
    keys: &[
        key("name", "text", "", "Its name."),
        key("most", "2 to 1000", "100", "Members at most."),
        key("rate_hz", "8000 or 16000", "16000", "Samples a second of what is mixed."),
        key("pin", "digits", "", "Who dials in is asked for it, 4 to 16. Without it: nobody is."),
        key(
            "moderator_pin",
            "digits",
            "",
            "What makes somebody a moderator. Without it: with `pin` nobody is one, without `pin` everybody is.",
        ),
        key("short_pin", "true or false", "false", "Whether the PINs may have less than 4 digits."),
        key(
            "needs_moderator",
            "true or false",
            "false",
            "Whether others hear music until a moderator is there, and are sent away when the last one goes.",
        ),
        key("music", "name of a `[[music]]`", r#""default""#, "That music."),
        key("announced", "true or false", "true", "Whether all hear somebody come and go."),
        key(
            "recordings",
            "path",
            "",
            "The folder for recordings, which has to exist. Without it: the room cannot be recorded.",
        ),
        key("recorded", "true or false", "false", "Whether it is recorded without being asked for."),
        key(
            "then",
            "name of an application",
            "",
            "Who leaves by `*2` is given to it: `ivr/main`. Without it: hung up.",
        ),
        key(
            "prompts",
            "{ occasion = file }",
            "",
            "What it says in place of tones; occasions are in [apps/conference.md](apps/conference.md).",
        ),
    ],
};

pub(super) fn conference(
    section: &Section<'_>,
    prompts: &Prompts,
    outside: &dyn Outside,
    names: &Names,
) -> Result<RoomConfig, ConfigError> {
    let usual = RoomConfig::new(name(section)?);
    let rate_hz = section.whole("rate_hz", 8_000..=16_000)?.unwrap_or(u64::from(usual.rate_hz)) as u32;
    if rate_hz != 8_000 && rate_hz != 16_000 {
        let reason = "choose 8000 or 16000".to_string();
        return Err(section.bad("rate_hz", section.place("rate_hz"), &rate_hz.to_string(), reason));
    }
    let most = section.whole("most", 2..=1_000)?.map_or(usual.most, |most| most as usize);
    let (pin, moderator_pin) = (pin(section, "pin")?, pin(section, "moderator_pin")?);
    if pin.is_some() && pin == moderator_pin {
        let reason = "it is the same as pin: nobody would be a participant".to_string();
        return Err(section.bad("moderator_pin", section.place("moderator_pin"), "…", reason));
    }
    let needs_moderator = section.switch("needs_moderator")?.unwrap_or(false);
    if needs_moderator && moderator_pin.is_none() {
        return Err(section.missing("moderator_pin", "needs_moderator waits for somebody who knows it"));
    }
    let recordings = section.text("recordings")?.map(|folder| outside.resolve(&folder.text));
    let recorded = section.switch("recorded")?.unwrap_or(false);
    if recorded && recordings.is_none() {
        return Err(
            section.missing("recordings", "say where recordings go, like recordings = \"recordings\"")
        );
    }
    let then = section.text("then")?;
    let then = match then {
        Some(text) => {
            let read = app_name(&text.text).map_err(|why| section.bad("then", text.at, &text.text, why))?;
            if let Some(problem) = names.no_such_app(section.full("then"), &read) {
                return Err(section.lines.error(text.at, problem));
            }
            Some(read)
        }
        None => None,
    };
    let config = RoomConfig {
        most,
        rate_hz,
        pin,
        moderator_pin,
        needs_moderator,
        music: music_of(section, names)?,
        announced: section.switch("announced")?.unwrap_or(true),
        recordings,
        recorded,
        then,
        words: words(section, prompts, outside)?,
        ..usual
    };
    section.finish();
    Ok(config)
}

fn words(section: &Section<'_>, prompts: &Prompts, outside: &dyn Outside) -> Result<Words, ConfigError> {
    let mut words = Words::default();
    for (occasion, file) in section.pairs("prompts")? {
        let bad = |reason: String| section.bad("prompts", file.at, &file.text, reason);
        let known = Word::ALL.into_iter().find(|word| word.as_str() == occasion);
        let Some(word) = known else {
            let all: Vec<_> = Word::ALL.iter().map(|word| word.as_str()).collect();
            return Err(bad(format!("there is no occasion {occasion}; choose one of {}", all.join(", "))));
        };
        let path = prompts.path(&file.text);
        if !outside.is_file(&path) {
            return Err(bad(format!("there is no file {}", path.display())));
        }
        words.set(word, &*path);
    }
    Ok(words)
}
