//! The settings that a command line, or a table of a plan, gives to a role, as texts.

use crate::keys::{Keys, Kind};
use crate::value::Read;

/// Settings of a role, as texts that their rows have checked.
#[derive(Debug, Clone, Default)]
pub struct CommandLine {
    given: Vec<(&'static str, String)>,
}

impl CommandLine {
    /// Adds a setting; its last value counts. A switch has any text.
    pub fn add(&mut self, key: &'static str, text: String) {
        self.given.push((key, text));
    }

    /// Whether a setting is given, not defaulted.
    pub fn has(&self, key: &str) -> bool {
        self.given.iter().any(|(given, _)| *given == key)
    }

    /// The keys of what is given.
    pub fn keys(&self) -> impl Iterator<Item = &'static str> {
        self.given.iter().map(|(key, _)| *key)
    }

    /// The texts of a setting: those given, otherwise its default, unless that is empty.
    pub fn texts<'a>(&'a self, key: &str, default: &'a str) -> Vec<&'a str> {
        let given = self.given.iter().filter(|(given, _)| *given == key);
        let given: Vec<&str> = given.map(|(_, text)| text.as_str()).collect();
        if given.is_empty() && !default.is_empty() { vec![default] } else { given }
    }

    /// Reads words like `--rate 5 --rtp-echo --seed=3`.
    ///
    /// # Errors
    /// There is no such flag, or its value is missing or wrong.
    pub fn of_words(keys: Keys, words: impl IntoIterator<Item = String>) -> Read<CommandLine> {
        let (mut line, mut words) = (CommandLine::default(), words.into_iter());
        while let Some(word) = words.next() {
            let (flag, value) =
                word.split_once('=').map_or((word.as_str(), None), |(flag, it)| (flag, Some(it)));
            let key = keys.all().find(|key| key.flag() == flag);
            let key = key.ok_or_else(|| format!("there is no flag {flag}"))?;
            if key.kind == Kind::Switch {
                line.add(key.name, String::new());
                continue;
            }
            let text = value.map(str::to_owned).or_else(|| words.next());
            let text = text.ok_or_else(|| format!("{flag} needs a value"))?;
            (key.check)(&text).map_err(|reason| format!("{flag} {text}: {reason}"))?;
            line.add(key.name, text);
        }
        Ok(line)
    }
}
