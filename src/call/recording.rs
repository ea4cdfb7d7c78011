//! Which calls are recorded without a word of where to, and by which codes parties ask for it.
//! Pure.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use super::controller::RecordingSpec;
use super::{CallId, LegId};
pub use b2b_media::recording::recover;

/// How long the digits of a code may be apart.
const APART: Duration = Duration::from_secs(3);

/// What a switch is told of recordings.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RecordingRules {
    /// Where files go: into a folder of the day. Written down nowhere.
    #[serde(skip)]
    pub folder: PathBuf,
    /// Left and right; else what the party of leg A says.
    pub stereo: bool,
    /// Samples a second.
    pub rate_hz: u32,
    /// A recording ends by itself then.
    pub longest: Option<Duration>,
    /// What a party presses to begin or end a recording; empty: nothing.
    pub code: String,
    /// What it presses to pause it, or to go on; empty: nothing.
    pub pause_code: String,
}

/// What a party has asked for by its digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RecordingRequest {
    Toggle,
    Pause,
}

/// The last digits of a party.
#[derive(Debug, Default)]
pub(super) struct Keys {
    pressed: String,
    last: Option<Instant>,
}

impl RecordingRules {
    /// The usual ones, into this folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        RecordingRules {
            folder: folder.into(),
            stereo: true,
            rate_hz: 8_000,
            longest: None,
            code: "*1".to_owned(),
            pause_code: "*2".to_owned(),
        }
    }

    /// The file of a call's recording, the `nth` of it: of the second at which it begins, so
    /// that numbers of calls may begin anew.
    pub fn spec(&self, call: CallId, nth: u32, wall: SystemTime) -> RecordingSpec {
        let time = humantime::format_rfc3339_seconds(wall).to_string();
        let day = time.get(..10).unwrap_or("undated");
        let compact = time.replace(['-', ':'], "");
        let part = if nth > 1 { format!("-{nth}") } else { String::new() };
        let name = format!("{compact}-call-{}{part}.wav", call.0);
        RecordingSpec {
            stereo: self.stereo,
            rate_hz: self.rate_hz,
            longest: self.longest,
            ..RecordingSpec::new(self.folder.join(day).join(name))
        }
    }

    /// The file of the `nth` recording of one leg; without `both`, what its party says.
    pub fn spec_of_leg(
        &self,
        call: CallId,
        leg: LegId,
        nth: u32,
        both: bool,
        wall: SystemTime,
    ) -> RecordingSpec {
        let whole = self.spec(call, nth, wall);
        let name = whole.path.file_stem().unwrap_or_default().to_string_lossy();
        let path = whole.path.with_file_name(format!("{name}-leg-{}.wav", leg.0));
        RecordingSpec { path, stereo: both, ..whole }
    }

    /// Takes a digit of a party.
    pub(super) fn digit(&self, keys: &mut Keys, digit: char, now: Instant) -> Option<RecordingRequest> {
        if keys.last.is_none_or(|last| now.saturating_duration_since(last) > APART) {
            keys.pressed.clear();
        }
        keys.last = Some(now);
        keys.pressed.push(digit);
        let longest = self.code.len().max(self.pause_code.len());
        let surplus = keys.pressed.len().saturating_sub(longest);
        keys.pressed.drain(..surplus);
        let is = |code: &str| !code.is_empty() && keys.pressed.ends_with(code);
        let request = if is(&self.code) {
            RecordingRequest::Toggle
        } else if is(&self.pause_code) {
            RecordingRequest::Pause
        } else {
            return None;
        };
        keys.pressed.clear();
        Some(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_call_have_names_of_their_own_in_the_folder_of_the_day() {
        let rules = RecordingRules::new("/var/rec");
        let wall = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_404_615_900);
        let path = |nth| rules.spec(CallId(7), nth, wall).path;
        assert_eq!(path(1), PathBuf::from("/var/rec/2026-11-23/20261123T033015Z-call-7.wav"));
        assert_eq!(path(2), PathBuf::from("/var/rec/2026-11-23/20261123T033015Z-call-7-2.wav"));
    }

    #[test]
    fn a_code_is_heard_among_other_digits_if_it_is_pressed_at_one_go() {
        let rules = RecordingRules::new("x");
        let (mut keys, now) = (Keys::default(), Instant::now());
        let mut press = |digits: &str, at: u64| {
            digits
                .chars()
                .filter_map(|digit| rules.digit(&mut keys, digit, now + Duration::from_secs(at)))
                .collect::<Vec<_>>()
        };
        assert_eq!(press("47*1", 0), [RecordingRequest::Toggle]);
        assert_eq!(press("1**2*1", 1), [RecordingRequest::Pause, RecordingRequest::Toggle]);
        assert_eq!(press("*", 10), []);
        assert_eq!(press("1", 14), [], "too late");
        let none = RecordingRules { code: String::new(), pause_code: String::new(), ..rules.clone() };
        assert_eq!(none.digit(&mut Keys::default(), '1', now), None);
    }
}
