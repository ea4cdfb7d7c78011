//! Digits that a program collects.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Maximum digits of a collection.
pub(super) const MOST_DIGITS: usize = 64;

/// The digits to collect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Digits {
    /// Maximum number of digits: 1 to 64.
    pub max: usize,
    /// Digits that end the collection and are not part of the result.
    #[serde(default = "hash")]
    pub terminators: String,
    /// Maximum wait for the first digit, from the end of the playback.
    #[serde(default = "first")]
    pub first_s: f64,
    /// Maximum wait between two digits.
    #[serde(default = "between")]
    pub between_s: f64,
    /// Maximum time for the whole collection.
    #[serde(default = "total")]
    pub total_s: f64,
    /// Whether digits pressed earlier count.
    #[serde(default)]
    pub type_ahead: bool,
    /// Whether the digits are secret: they are in no event, account or trace, only in the result of the
    /// command.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub secret: bool,
}

fn hash() -> String {
    "#".to_owned()
}

fn first() -> f64 {
    5.0
}

fn between() -> f64 {
    3.0
}

fn total() -> f64 {
    30.0
}

impl Digits {
    /// Checks what the types do not enforce.
    pub(super) fn check(&self) -> Result<(), String> {
        if !(1..=MOST_DIGITS).contains(&self.max) {
            return Err(format!("max: 1 to {MOST_DIGITS}"));
        }
        if !self.terminators.chars().all(|key| "0123456789*#ABCD".contains(key)) {
            return Err("terminators: of 0-9 * # A-D".to_owned());
        }
        let sound = |seconds: f64| (0.0..=86_400.0).contains(&seconds);
        match [self.first_s, self.between_s, self.total_s].into_iter().all(sound) {
            true => Ok(()),
            false => Err("first_s, between_s, total_s: 0 to 86400".to_owned()),
        }
    }
}
