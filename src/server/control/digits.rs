//! Which digits a program waits for.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Digits of a collection at most.
pub(super) const MOST_DIGITS: usize = 64;

/// Which digits are awaited.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Digits {
    /// No more than these: 1 to 64.
    pub max: usize,
    /// These end it and are not part of it.
    #[serde(default = "hash")]
    pub terminators: String,
    /// Longest wait for the first one, from the end of what is played.
    #[serde(default = "first")]
    pub first_s: f64,
    /// Longest wait between two.
    #[serde(default = "between")]
    pub between_s: f64,
    /// Longest wait for all.
    #[serde(default = "total")]
    pub total_s: f64,
    /// Whether digits count that came before.
    #[serde(default)]
    pub type_ahead: bool,
    /// Nobody but who asks for the result is told what is pressed: it is in no event, account or trace.
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
    /// What no type says.
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
