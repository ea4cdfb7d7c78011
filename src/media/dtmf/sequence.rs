//! Parses a sequence of digits as people write it.

use std::fmt;
use std::str::FromStr;

/// Digits to be played, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    digits: Vec<char>,
    skipped: String,
}

/// Why a `--dtmf-seq` was rejected.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SequenceError {
    /// A character is neither a digit nor ignored punctuation.
    #[error("{character:?} in the DTMF sequence {text:?} is not a DTMF digit; use 0-9 * # A-D")]
    NotADigit {
        /// The sequence as written.
        text: String,
        /// The first such character.
        character: char,
    },
    /// No digit is left without punctuation; the sequence as written.
    #[error("the DTMF sequence {0:?} has no digit; use 0-9 * # A-D")]
    Empty(String),
}

impl Sequence {
    /// The digits, in order: `0-9 * # A-D`.
    pub fn digits(&self) -> &[char] {
        &self.digits
    }

    /// The number punctuation that was ignored, as written; empty if there was none. Tell the user
    /// once.
    pub fn skipped(&self) -> &str {
        &self.skipped
    }
}

impl FromStr for Sequence {
    type Err = SequenceError;

    /// Parses `0-9 * # A-D` in either case; `+ - . ( )` and spaces are number punctuation and are
    /// ignored.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (mut digits, mut skipped) = (Vec::new(), String::new());
        for character in text.chars() {
            match character.to_ascii_uppercase() {
                digit @ ('0'..='9' | '*' | '#' | 'A'..='D') => digits.push(digit),
                '+' | '-' | '.' | '(' | ')' | ' ' => skipped.push(character),
                _ => return Err(SequenceError::NotADigit { text: text.into(), character }),
            }
        }
        if digits.is_empty() {
            return Err(SequenceError::Empty(text.into()));
        }
        Ok(Sequence { digits, skipped })
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.digits.iter().try_for_each(|digit| write!(f, "{digit}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_punctuation_is_skipped_and_reported() {
        let sequence: Sequence = "+44 (0)20-8366.1177".parse().unwrap();
        assert_eq!(sequence.to_string(), "4402083661177");
        assert_eq!(sequence.skipped(), "+ ()-.");
        assert_eq!("12#".parse::<Sequence>().unwrap().skipped(), "");
    }

    #[test]
    fn letters_are_read_in_either_case() {
        assert_eq!("abcdABCD*#".parse::<Sequence>().unwrap().to_string(), "ABCDABCD*#");
    }

    #[test]
    fn anything_else_is_refused_by_name() {
        for (text, character) in [("12E4", 'E'), ("1,2", ','), ("1\n", '\n'), ("१", '१')] {
            let error = text.parse::<Sequence>().unwrap_err();
            assert_eq!(error, SequenceError::NotADigit { text: text.into(), character });
        }
        assert_eq!("+-. ".parse::<Sequence>(), Err(SequenceError::Empty("+-. ".into())));
        assert_eq!("".parse::<Sequence>(), Err(SequenceError::Empty("".into())));
    }
}
