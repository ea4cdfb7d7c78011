//! `[[conference]]`.

use super::{music_of, name, pin, spoken};
use crate::ConfigError;
use crate::names::{Names, What};
use crate::outside::Outside;
use crate::texts::{NAME, app_name};
use b2b_app::Prompts;
use b2b_app::conference::{RoomConfig, Word, Words};
use b2b_config::section::Section;
use b2b_config::table::Takes::{OneOf, Pairs, Secret, Switch, Text, Whole};
use b2b_config::table::{Table, any};
use b2b_config::{rows, text};

pub const CONFERENCE: Table = Table {
    name: "conference",
    written: "[[conference]]",
    about: "A conference room: the application `conference/` and its name. See [apps/conference.md](apps/conference.md).",
    keys: rows! {
        name: NAME, "Its name.";
        most: Whole(2, 1_000) => 100, "The most participants.";
        rate_hz: OneOf(&[8_000, 16_000]) => 16000, "The sample rate of the mixer.";
        pin: Secret("digits"), "The PIN of participants, 4 to 16 digits. Without it: none is asked for.";
        moderator_pin: Secret("digits"),
            "The PIN of moderators. Without it: with `pin` nobody is a moderator, without `pin` everybody is.";
        short_pin: Switch => false, "Whether the PINs may have fewer than 4 digits.";
        needs_moderator: Switch => false,
            "Whether participants hear music until a moderator joins, and are disconnected when the last moderator leaves.";
        music: Text("name of a `[[music]]`", any) => "default", "The music class for that.";
        announced: Switch => true, "Whether participants hear others join and leave.";
        recordings: Text("path", any),
            "The folder for recordings, created if missing. Without it: the room cannot be recorded.";
        recorded: Switch => false, "Whether every conference is recorded from its start.";
        then: text!("name of an application", app_name),
            "The application for participants who leave by `*2`: `ivr/main`. Without it: hung up.";
        prompts: Pairs("{ occasion = file }"),
            "Prompts instead of tones; [apps/conference.md](apps/conference.md) lists the occasions.";
    },
};

pub(super) fn conference(
    section: &Section<'_>,
    prompts: &Prompts,
    outside: &dyn Outside,
    names: &Names,
) -> Result<RoomConfig, ConfigError> {
    let name = name(section)?;
    let (pin, moderator_pin) = (pin(section, "pin")?, pin(section, "moderator_pin")?);
    if pin.is_some() && pin == moderator_pin {
        let reason = "it is the same as pin: every participant would be a moderator";
        return Err(section.bad("moderator_pin", section.place("moderator_pin"), "…", reason));
    }
    let needs_moderator = section.switch("needs_moderator")?;
    if needs_moderator && moderator_pin.is_none() {
        return Err(section.missing("moderator_pin", "needs_moderator requires a PIN for moderators"));
    }
    let recordings = section.text("recordings")?.map(|folder| outside.resolve(&folder.text));
    let recorded = section.switch("recorded")?;
    if recorded && recordings.is_none() {
        return Err(
            section.missing("recordings", "say where recordings go, like recordings = \"recordings\"")
        );
    }
    let then = section.parsed("then", app_name)?;
    let missing = then.as_ref().and_then(|name| names.no_such(What::App, section.full("then"), name));
    section.refer(section.place("then"), missing);
    let mut words = Words::default();
    for (word, path) in spoken(section, Word::ALL, prompts, outside)? {
        words.set(word, &*path);
    }
    let config = RoomConfig {
        name,
        most: section.whole("most")?,
        rate_hz: section.whole("rate_hz")?,
        pin,
        moderator_pin,
        needs_moderator,
        music: music_of(section, names)?,
        announced: section.switch("announced")?,
        recordings,
        recorded,
        then,
        words,
    };
    section.finish();
    Ok(config)
}
