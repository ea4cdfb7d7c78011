//! `[recording]`: the place, the format and the retention of recordings.

use std::path::PathBuf;
use std::time::Duration;

use super::ConfigError;
use super::outside::Outside;
use super::texts::{PATH, path};
use b2b_app::voicemail::Coding;
use b2b_config::section::Section;
use b2b_config::table::Takes::{Choice, OneOf, Switch, Whole};
use b2b_config::table::{Named, Table};
use b2b_config::value::Read;
use b2b_config::{rows, text};

/// Octets of a megabyte and of a gigabyte.
const MB: u64 = 1_000_000;
const GB: u64 = 1_000 * MB;

/// `[recording]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// The folder; `None`: nothing can be recorded.
    pub folder: Option<PathBuf>,
    /// What is recorded.
    pub channels: Channels,
    /// `stereo` is written, in place of `channels`.
    pub by_old_key: bool,
    /// Samples per second.
    pub rate_hz: u32,
    /// How the files are coded.
    pub coding: Coding,
    /// Maximum duration of a recording.
    pub longest: Option<Duration>,
    /// The digits by which a party begins or ends a recording; empty: none.
    pub code: String,
    /// The digits by which it pauses or continues one; empty: none.
    pub pause_code: String,
    /// Maximum age of recordings.
    pub keep: Option<Duration>,
    /// Maximum octets of all recordings together: the oldest beyond it are removed.
    pub keep_bytes: Option<u64>,
    /// Minimum free octets on the disk: with less, nothing is recorded.
    pub free_bytes: u64,
}

/// What a recording has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channels {
    /// The caller left, what they hear right.
    Stereo,
    /// Both in one channel.
    Mixed,
    /// The caller alone.
    Caller,
    /// What the caller hears, alone.
    Callee,
}

const CHANNELS: Named<Channels> = Named {
    refusal: "no such channels; choose",
    values: &[
        ("stereo", Channels::Stereo),
        ("mixed", Channels::Mixed),
        ("caller", Channels::Caller),
        ("callee", Channels::Callee),
    ],
};

/// `wav49` as in Asterisk.
pub(super) const FORMAT: Named<Coding> = Named {
    refusal: "no such format; choose",
    values: &[("wav", Coding::Pcm), ("wav49", Coding::Gsm), ("opus", Coding::Opus)],
};

pub const RECORDING: Table = Table {
    name: "recording",
    written: "[recording]",
    about: "Call recording: by a route's `record`, by a digit code of a party, over HTTP. See `docs/apps/record.md`.",
    keys: rows! {
        folder: PATH, at_restart(),
            "The folder of recordings, with a subfolder for each day. Without it nothing is recorded.";
        channels: Choice(&CHANNELS), at_restart(), "`stereo`: the caller (leg A) left, what they hear right; or one channel: `mixed`, `caller`, or `callee` (what the caller hears). Default: `stereo`, with `wav49` `mixed`.";
        stereo: Switch => true, at_restart(), "`false` is `channels = \"caller\"`, which is to be written instead.";
        rate_hz: OneOf(&[8_000, 16_000, 48_000]) => 8000, at_restart(), "The sample rate.";
        format: Choice(&FORMAT) => "wav", at_restart(), "`wav`: 16-bit samples; `wav49`: GSM in WAV, a tenth of the size, for one channel at 8000; `opus`: Opus in Ogg, 24 kbit/s, or 32 for each of two channels and at 48000.";
        longest_s: Whole(0, 604_800) => 0, at_restart(), "The longest recording. 0: until its call ends.";
        code: text!("digits", digits) => "*1", at_restart(),
            "Starts or stops the recording when it is pressed in a call. Empty: no code.";
        pause_code: text!("digits", digits) => "*2", at_restart(),
            "Pauses or resumes the recording when it is pressed in a call.";
        keep_days: Whole(0, 36_500) => 0, at_restart(), "Older recordings are deleted. 0: never.";
        keep_gb: Whole(0, 1_000_000) => 0, at_restart(), "Above this total the oldest recordings are deleted. 0: never.";
        free_mb: Whole(0, 1_000_000_000) => 100, at_restart(),
            "With less free disk space nothing is recorded; calls continue.";
    },
};

/// Reads the table.
///
/// # Errors
/// The first invalid value.
pub fn recording(section: &Section<'_>, outside: &dyn Outside) -> Result<Recording, ConfigError> {
    let some = |key: &'static str| -> Result<Option<u64>, ConfigError> {
        Ok(Some(section.whole(key)?).filter(|value| *value > 0))
    };
    let code = section.parsed_or_default("code", digits)?;
    let pause_code = section.parsed_or_default("pause_code", digits)?;
    if !code.is_empty()
        && !pause_code.is_empty()
        && (code.ends_with(&pause_code) || pause_code.ends_with(&code))
    {
        let place = section.place("pause_code");
        return Err(section.bad(
            "pause_code",
            place,
            &pause_code,
            "it overlaps with code; choose another one",
        ));
    }
    let (rate_hz, coding) = (section.whole("rate_hz")?, section.choice("format", &FORMAT)?);
    let stereo = section.switch("stereo")?;
    let written = section.choice_if_set("channels", &CHANNELS)?;
    let channels = match written {
        Some(channels) if stereo => channels,
        // GSM has one channel.
        None if stereo && coding == Coding::Gsm => Channels::Mixed,
        None if stereo => Channels::Stereo,
        None => Channels::Caller,
        Some(_) => {
            let place = section.place("stereo");
            return Err(section.bad(
                "stereo",
                place,
                "false",
                "channels says what is recorded; leave stereo out",
            ));
        }
    };
    if coding == Coding::Gsm && (rate_hz != 8_000 || channels == Channels::Stereo) {
        let fix = "GSM has one channel at 8000; write rate_hz = 8000 and channels = \"mixed\"";
        return Err(section.bad("format", section.place("format"), "wav49", fix));
    }
    let days = |days: u64| Duration::from_secs(days * 86_400);
    let recording = Recording {
        folder: section.parsed("folder", path)?.map(|folder| outside.resolve(&folder)),
        channels,
        by_old_key: channels == Channels::Caller && !stereo,
        rate_hz,
        coding,
        longest: section.seconds_unless_zero("longest_s")?,
        code,
        pause_code,
        keep: some("keep_days")?.map(days),
        keep_bytes: some("keep_gb")?.map(|size| size * GB),
        free_bytes: section.whole::<u64>("free_mb")? * MB,
    };
    section.finish();
    Ok(recording)
}

fn digits(text: &str) -> Read<String> {
    match text.chars().all(|digit| "0123456789*#ABCD".contains(digit)) && text.len() <= 8 {
        true => Ok(text.to_string()),
        false => Err("write up to eight digits of a telephone, like *1".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse_made;
    use super::*;

    #[test]
    fn a_route_that_records_needs_a_folder() {
        let route = "[[route]]\nname = \"in\"\nto = \"sip:a@b\"\nrecord = true\n";
        let error = parse_made(route).unwrap_err().to_string();
        assert!(error.contains("recording.folder") && error.contains("\"in\" (line 1)"), "{error}");
        let config = parse_made(&format!("[recording]\nfolder = \"rec\"\n{route}")).unwrap();
        assert!(config.recording.folder.is_some());
        assert_eq!(config.warnings(), [""; 0]);
        let direct =
            parse_made(&format!("[recording]\nfolder = \"rec\"\n{route}media = \"direct\"\n")).unwrap();
        assert!(direct.warnings().join("").contains("media = \"direct\" has no effect"));
    }

    #[test]
    fn gsm_is_for_recordings_of_one_channel_and_for_messages() {
        let text = "[recording]\nformat = \"wav49\"\n[voicemail]\nformat = \"wav49\"\n";
        let config = parse_made(text).unwrap();
        let codings = (config.recording.coding, config.apps.voicemail.coding);
        assert_eq!((codings, config.recording.channels), ((Coding::Gsm, Coding::Gsm), Channels::Mixed));
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_line() {
        for (lines, words) in [
            ("rate_hz = 11025", "choose 8000, 16000 or 48000"),
            ("code = \"record\"", "digits of a telephone"),
            ("pause_code = \"*1\"", "overlaps with code"),
            ("folder = \"\"", "empty path"),
            ("format = \"wav49\"\nchannels = \"stereo\"", "channels = \"mixed\""),
            ("format = \"wav49\"\nrate_hz = 16000", "rate_hz = 8000"),
            ("format = \"mp3\"", "no such format"),
        ] {
            let error = parse_made(&format!("\n[recording]\n{lines}\n")).unwrap_err();
            assert_eq!(error.line, 3);
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
