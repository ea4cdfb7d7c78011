//! The default recording settings, and the DTMF codes by which parties control recordings. Pure.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use super::controller::RecordingSpec;
use super::{CallId, LegId};
pub use b2b_media::recording::{Coding, Mono, is_complete, opus_lasts, recover};

/// Maximum time between two digits of a code.
const APART: Duration = Duration::from_secs(3);

/// The recording settings of a switch.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RecordingRules {
    /// The folder of the recordings, with a subfolder per day. Not serialized.
    #[serde(skip)]
    pub folder: PathBuf,
    /// Two channels, the party of leg A on the left; otherwise `mono`.
    pub stereo: bool,
    /// The one channel, as of leg A.
    pub mono: Mono,
    /// Sample rate in Hz.
    pub rate_hz: u32,
    /// How the files are coded.
    pub coding: Coding,
    /// The maximum duration of a recording.
    pub longest: Option<Duration>,
    /// The code that starts or stops a recording; empty for none.
    pub code: String,
    /// The code that pauses or resumes it; empty for none.
    pub pause_code: String,
}

/// A request made by a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RecordingRequest {
    Toggle,
    Pause,
}

/// The most recent digits of a party.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Keys {
    pressed: String,
    #[serde(with = "b2b_base::ages::option")]
    last: Option<Instant>,
}

impl RecordingRules {
    /// The default settings, with this folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        RecordingRules {
            folder: folder.into(),
            stereo: true,
            mono: Mono::Said,
            rate_hz: 8_000,
            coding: Coding::Pcm,
            longest: None,
            code: "*1".to_owned(),
            pause_code: "*2".to_owned(),
        }
    }

    /// The file of the `nth` recording of a call. Its name begins with the start time in seconds.
    pub fn spec(&self, call: CallId, nth: u32, wall: SystemTime) -> RecordingSpec {
        let time = humantime::format_rfc3339_seconds(wall).to_string();
        let day = time.get(..10).unwrap_or("undated");
        let compact = time.replace(['-', ':'], "");
        let part = if nth > 1 { format!("-{nth}") } else { String::new() };
        let name = format!("{compact}-call-{}{part}.{}", call.0, self.coding.ending());
        RecordingSpec {
            stereo: self.stereo,
            mono: self.mono,
            rate_hz: self.rate_hz,
            coding: self.coding,
            longest: self.longest,
            ..RecordingSpec::new(self.folder.join(day).join(name))
        }
    }

    /// The file of the `nth` recording of one leg; without `both`, only what its party says.
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
        // Two channels are no GSM.
        let coding = if both && whole.coding == Coding::Gsm { Coding::Pcm } else { whole.coding };
        let path = whole.path.with_file_name(format!("{name}-leg-{}.{}", leg.0, coding.ending()));
        RecordingSpec { path, stereo: both, mono: Mono::Said, coding, ..whole }
    }

    /// Processes a digit from a party.
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
