//! `[[park]]`.

use std::ops::RangeInclusive;

use super::{music_of, name};
use crate::config::check::Names;
use crate::config::docs::{SectionDoc, key};
use crate::config::error::ConfigError;
use crate::config::reader::{Read, Section};
use b2b_app::park::LotConfig;

/// Slots of a lot at most: somebody looks at their BLF keys.
const SLOTS: u32 = 1_000;

pub const PARK: SectionDoc = SectionDoc {
    name: "park",
    written: "[[park]]",
    about: "A parking lot: the application `park/` and its name. Routes give it the numbers of its slots and one of its own. See [apps/park.md](apps/park.md).",
    keys: &[
        key("name", "text", "", "Its name."),
        key("slots", "first-last", r#""701-720""#, "The numbers of its slots."),
        key("timeout_s", "5 to 86400", "60", "How long somebody waits before he goes back."),
        key("ring_s", "5 to 600", "20", "How long the one who parked him is called then."),
        key(
            "back_to",
            "target",
            "",
            "Whom he goes back to: `user/1001`, `group/reception`. Without it: who parked him.",
        ),
        key("music", "name of a `[[music]]`", r#""default""#, "What he hears."),
    ],
};

pub(super) fn park(section: &Section<'_>, names: &Names) -> Result<LotConfig, ConfigError> {
    let usual = LotConfig::new(name(section)?);
    let config = LotConfig {
        slots: section.parsed("slots", slots)?.unwrap_or(usual.slots),
        timeout: section.seconds("timeout_s", 5..=86_400)?.unwrap_or(usual.timeout),
        ring: section.seconds("ring_s", 5..=600)?.unwrap_or(usual.ring),
        back_to: section.text("back_to")?.map(|target| target.text),
        music: music_of(section, names)?,
        name: usual.name,
    };
    section.finish();
    Ok(config)
}

fn slots(text: &str) -> Read<RangeInclusive<u32>> {
    let numbers = text.split_once('-').and_then(|(first, last)| Some((number(first)?, number(last)?)));
    match numbers {
        Some((first, last)) if first <= last && last - first < SLOTS => Ok(first..=last),
        Some(_) => Err(format!("the first comes first, and there are {SLOTS} at most")),
        None => Err("write the first and the last one, like 701-720".to_string()),
    }
}

/// As it is dialled: without zeros before it.
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number: &u32| *number > 0 && number.to_string() == text)
}
