//! `[[park]]`.

use std::ops::RangeInclusive;

use super::{music_of, name};
use crate::ConfigError;
use crate::names::Names;
use crate::outside::Outside;
use crate::texts::NAME;
use b2b_app::Prompts;
use b2b_app::park::LotConfig;
use b2b_config::section::Section;
use b2b_config::table::Takes::{Switch, Text, Whole};
use b2b_config::table::{Table, any};
use b2b_config::value::Read;
use b2b_config::{rows, text};

/// Maximum slots of a lot: users watch them on BLF keys.
const SLOTS: u32 = 1_000;

pub const PARK: Table = Table {
    name: "park",
    written: "[[park]]",
    about: "A parking lot: the application `park/` and its name. Routes lead the numbers of its slots, and a number of its own, to it. See [apps/park.md](apps/park.md).",
    keys: rows! {
        name: NAME, "Its name.";
        slots: text!("first-last", slots) => "701-720", "The numbers of its slots.";
        timeout_s: Whole(5, 86_400) => 60, "How long a caller is parked before `back_to` is called.";
        ring_s: Whole(5, 600) => 20, "How long `back_to` then rings.";
        back_to: Text("target", any),
            "The target of parked callers that are not retrieved: `user/1001`, `group/reception`. Without it: the party that parked them.";
        music: Text("name of a `[[music]]`", any) => "default", "The music class for parked callers.";
        announce: Switch => false, needs(&["true"], "prompts", "take announce out"),
            "Whether a party that transfers a caller to the first free slot is called for `ring_s`, from the slot's number, and hears that number, with the digits of `[prompts]`; a party that dials the lot hears its own slot.";
    },
};

pub(super) fn park(
    section: &Section<'_>,
    prompts: &Prompts,
    outside: &dyn Outside,
    names: &Names,
) -> Result<LotConfig, ConfigError> {
    let announce = section.switch("announce")?.then(|| prompts.clone());
    let mut files = announce.iter().flat_map(Prompts::digit_files);
    if let Err(reason) = files.try_for_each(|file| outside.sound(&file)) {
        let reason = format!("digits cannot be played: {reason}");
        return Err(section.bad("announce", section.place("announce"), "true", reason));
    }
    let config = LotConfig {
        name: name(section)?,
        slots: section.parsed_or_default("slots", slots)?,
        timeout: section.seconds("timeout_s")?,
        ring: section.seconds("ring_s")?,
        back_to: section.text("back_to")?.map(|target| target.text),
        music: music_of(section, names)?,
        announce,
    };
    section.finish();
    Ok(config)
}

fn slots(text: &str) -> Read<RangeInclusive<u32>> {
    let numbers = text.split_once('-').and_then(|(first, last)| Some((number(first)?, number(last)?)));
    match numbers {
        Some((first, last)) if first <= last && last - first < SLOTS => Ok(first..=last),
        Some(_) => Err(format!("the first number must be below the last, and {SLOTS} slots are the limit")),
        None => Err("write the first and the last one, like 701-720".to_string()),
    }
}

/// A number as dialled, without leading zeros.
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number: &u32| *number > 0 && number.to_string() == text)
}
