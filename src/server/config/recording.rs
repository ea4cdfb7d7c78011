//! `[recording]`: where recordings go, what they are, and how long they are kept.

use std::path::PathBuf;
use std::time::Duration;

use super::docs::{SectionDoc, key};
use super::error::ConfigError;
use super::parse::Outside;
use super::reader::{Read, Section};
use b2b_config::value;

/// Bytes of a megabyte and of a gigabyte.
const MB: u64 = 1_000_000;
const GB: u64 = 1_000 * MB;

/// `[recording]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// The folder; none: nothing can be recorded.
    pub folder: Option<PathBuf>,
    /// Both directions, left and right; else what the caller says.
    pub stereo: bool,
    /// Samples a second.
    pub rate_hz: u32,
    /// A recording ends by itself then.
    pub longest: Option<Duration>,
    /// What a party presses to begin or end a recording; empty: nothing.
    pub code: String,
    /// What it presses to pause one, or to go on; empty: nothing.
    pub pause_code: String,
    /// Older recordings are removed.
    pub keep: Option<Duration>,
    /// All recordings together, bytes: the oldest beyond it are removed.
    pub keep_bytes: Option<u64>,
    /// With less room on the disk nothing is recorded, bytes.
    pub free_bytes: u64,
}

pub const RECORDING: SectionDoc = SectionDoc {
    name: "recording",
    written: "[recording]",
    about: "Recordings of calls: by a route's `record`, by a party's code, over HTTP. See `docs/apps/record.md`.",
    keys: &[
        key("folder", "path", "", "Where they go, in a folder for each day. Without it nothing is recorded."),
        key("stereo", "true or false", "true", "The caller left, what it hears right; else what it says."),
        key("rate_hz", "8000, 16000 or 48000", "8000", "Samples a second."),
        key("longest_s", "0 to 604800", "0", "A recording ends by itself then. 0: with its call."),
        key(
            "code",
            "digits",
            r#""*1""#,
            "Pressed in a call, begins or ends its recording. Empty: nothing does.",
        ),
        key("pause_code", "digits", r#""*2""#, "Pressed in a call, pauses its recording, or lets it go on."),
        key("keep_days", "0 to 36500", "0", "Older recordings are removed. 0: never."),
        key("keep_gb", "0 to 1000000", "0", "Beyond so much the oldest are removed. 0: never."),
        key(
            "free_mb",
            "0 to 1000000000",
            "100",
            "With less room on the disk nothing is recorded, calls go on.",
        ),
    ],
};

/// # Errors
/// The first value that cannot be.
pub fn recording(section: &Section<'_>, outside: &dyn Outside) -> Result<Recording, ConfigError> {
    let some = |value: Option<u64>| value.filter(|value| *value > 0);
    let folder = section.parsed("folder", |text| value::path(text).map(|_| text.to_string()))?;
    let rate = section.whole("rate_hz", 8_000..=48_000)?.unwrap_or(8_000);
    let rate_hz = match rate {
        8_000 => 8_000,
        16_000 => 16_000,
        48_000 => 48_000,
        other => {
            let place = section.place("rate_hz");
            return Err(section.bad("rate_hz", place, &other.to_string(), "choose 8000, 16000 or 48000"));
        }
    };
    let code = section.parsed("code", digits)?.unwrap_or_else(|| "*1".to_string());
    let pause_code = section.parsed("pause_code", digits)?.unwrap_or_else(|| "*2".to_string());
    if !code.is_empty()
        && !pause_code.is_empty()
        && (code.ends_with(&pause_code) || pause_code.ends_with(&code))
    {
        let place = section.place("pause_code");
        return Err(section.bad(
            "pause_code",
            place,
            &pause_code,
            "it cannot be told from code; choose another one",
        ));
    }
    let days = |days: u64| Duration::from_secs(days * 86_400);
    let recording = Recording {
        folder: folder.map(|folder| outside.resolve(&folder)),
        stereo: section.switch("stereo")?.unwrap_or(true),
        rate_hz,
        longest: section.seconds("longest_s", 0..=604_800)?.filter(|longest| !longest.is_zero()),
        code,
        pause_code,
        keep: some(section.whole("keep_days", 0..=36_500)?).map(days),
        keep_bytes: some(section.whole("keep_gb", 0..=1_000_000)?).map(|size| size * GB),
        free_bytes: section.whole("free_mb", 0..=1_000_000_000)?.unwrap_or(100) * MB,
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
    use super::super::parse_alone;

    #[test]
    fn a_route_that_records_needs_a_folder() {
        let route = "[[route]]\nname = \"in\"\nto = \"sip:a@b\"\nrecord = true\n";
        let error = parse_alone(route).unwrap_err().to_string();
        assert!(error.contains("recording.folder") && error.contains("\"in\" (line 1)"), "{error}");
        let config = parse_alone(&format!("[recording]\nfolder = \"rec\"\n{route}")).unwrap();
        assert!(config.recording.folder.is_some());
        assert_eq!(config.warnings(), [""; 0]);
        let direct =
            parse_alone(&format!("[recording]\nfolder = \"rec\"\n{route}media = \"direct\"\n")).unwrap();
        assert!(direct.warnings().join("").contains("media = \"direct\" has no effect"));
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_line() {
        for (lines, words) in [
            ("rate_hz = 11025", "choose 8000, 16000 or 48000"),
            ("code = \"record\"", "digits of a telephone"),
            ("pause_code = \"*1\"", "cannot be told from code"),
            ("folder = \"\"", "empty path"),
        ] {
            let error = parse_alone(&format!("\n[recording]\n{lines}\n")).unwrap_err();
            assert_eq!(error.line, 3);
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
