//! What callers of a queue hear: prompts composed of files.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use b2b_call::controller::{Part, Prompt};

/// The sounds of a queue; `None` skips a sound.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueSounds {
    /// Played once, first and to the end.
    pub welcome: Option<Arc<Path>>,
    /// The class of music on hold.
    pub music: Option<String>,
    /// Played before the position: “you are number”.
    pub position: Option<Arc<Path>>,
    /// Played before the estimate: “you will wait about”.
    pub wait: Option<Arc<Path>>,
    /// Played after the estimate: “minutes”.
    pub minutes: Option<Arc<Path>>,
    /// Played instead of an estimate of a minute or less.
    pub soon: Option<Arc<Path>>,
    /// The files for numbers.
    pub numbers: Numbers,
}

/// Files for numbers: 0 to 9, and optionally others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Numbers(pub BTreeMap<usize, Arc<Path>>);

impl Numbers {
    /// A number as files: its own file if there is one, otherwise digit by digit. Empty if a file is missing:
    /// a partial number is worse than none.
    pub fn say(&self, number: usize) -> Vec<Part> {
        if let Some(whole) = self.0.get(&number) {
            return vec![Part::File(whole.clone())];
        }
        let digit = |digit: char| self.0.get(&(digit.to_digit(10)? as usize)).cloned();
        let files: Option<Vec<_>> = number.to_string().chars().map(digit).collect();
        files.unwrap_or_default().into_iter().map(Part::File).collect()
    }
}

impl QueueSounds {
    /// The welcome.
    pub fn welcome(&self) -> Option<Prompt> {
        self.welcome.clone().map(|file| Prompt::new(vec![Part::File(file)]))
    }

    /// The announcement of a caller's position and expected wait; `None` if there is nothing to say.
    pub fn announcement(&self, position: usize, estimate: Option<Duration>) -> Option<Prompt> {
        let mut parts = Vec::new();
        let number = self.numbers.say(position);
        if let (Some(intro), false) = (&self.position, number.is_empty()) {
            parts.push(Part::File(intro.clone()));
            parts.extend(number);
        }
        let minutes = estimate.map(|estimate| estimate.as_secs().div_ceil(60) as usize);
        match (minutes, &self.wait, &self.soon) {
            (Some(0 | 1), _, Some(soon)) => parts.push(Part::File(soon.clone())),
            (Some(minutes), Some(wait), _) => {
                let number = self.numbers.say(minutes.max(1));
                if !number.is_empty() {
                    parts.push(Part::File(wait.clone()));
                    parts.extend(number);
                    parts.extend(self.minutes.clone().map(Part::File));
                }
            }
            _ => {}
        }
        (!parts.is_empty()).then(|| Prompt::new(parts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> Arc<Path> {
        Path::new(name).into()
    }

    fn sounds() -> QueueSounds {
        let numbers = (0..=9).chain([12]).map(|n| (n, file(&format!("digits/{n}")))).collect();
        QueueSounds {
            position: Some(file("position")),
            wait: Some(file("wait")),
            minutes: Some(file("minutes")),
            numbers: Numbers(numbers),
            ..QueueSounds::default()
        }
    }

    fn words(sounds: &QueueSounds, position: usize, estimate: Option<u64>) -> String {
        let prompt = sounds.announcement(position, estimate.map(Duration::from_secs));
        let word = |part: Part| match part {
            Part::File(path) => path.display().to_string(),
            other => format!("{other:?}"),
        };
        prompt.map(|it| it.parts).unwrap_or_default().into_iter().map(word).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_number_is_one_file_or_its_digits() {
        assert_eq!(words(&sounds(), 12, None), "position digits/12");
        assert_eq!(words(&sounds(), 207, None), "position digits/2 digits/0 digits/7");
    }

    #[test]
    fn the_wait_is_told_in_minutes_rounded_up() {
        assert_eq!(words(&sounds(), 1, Some(61)), "position digits/1 wait digits/2 minutes");
        assert_eq!(words(&sounds(), 1, Some(5)), "position digits/1 wait digits/1 minutes");
        let soon = QueueSounds { soon: Some(file("soon")), ..sounds() };
        assert_eq!(words(&soon, 1, Some(5)), "position digits/1 soon");
        assert_eq!(words(&soon, 1, Some(90)), "position digits/1 wait digits/2 minutes");
    }

    #[test]
    fn what_cannot_be_said_is_left_out() {
        let bare = QueueSounds { numbers: Numbers::default(), ..sounds() };
        assert_eq!(bare.announcement(1, Some(Duration::from_secs(90))), None);
        assert_eq!(QueueSounds::default().announcement(1, None), None);
        assert_eq!(QueueSounds::default().welcome(), None);
    }
}
