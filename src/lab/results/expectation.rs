//! A limit of a plan's `[expect]`, and its measurement.

use serde::{Deserialize, Serialize};

/// One line of the plan's `[expect]`, checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Expectation {
    /// Its key in the plan: `max_loss_pct`.
    pub name: String,
    /// Whether `expected` is an upper or a lower limit.
    pub bound: Bound,
    /// The limit.
    pub expected: f64,
    /// The measurement; `None` if there is none, which is a failure if it was judged.
    pub measured: Option<f64>,
    /// `ms`, `%`, `s` or empty.
    pub unit: String,
    /// Whether it was met.
    pub pass: bool,
    /// False if the engines of the chain cannot measure it: neither met nor missed.
    pub judged: bool,
    /// Why there is no measurement.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unmeasured: Option<String>,
    /// A remark on the measurement.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub note: Option<String>,
}

impl Expectation {
    /// A judged limit. A value that is not finite misses every limit.
    pub fn of(name: &str, bound: Bound, expected: f64, measured: Option<f64>, unit: &str) -> Self {
        let measured = measured.filter(|value| value.is_finite());
        let pass = measured.is_some_and(|measured| match bound {
            Bound::AtMost => measured <= expected,
            Bound::AtLeast => measured >= expected,
        });
        let (name, unit) = (name.to_owned(), unit.to_owned());
        Expectation {
            name,
            bound,
            expected,
            measured,
            unit,
            pass,
            judged: true,
            unmeasured: None,
            note: None,
        }
    }

    /// Whether it was judged and missed.
    pub fn missed(&self) -> bool {
        self.judged && !self.pass
    }

    /// The line with whether it was met: `expected  NOT MET max_loss_pct: …`
    pub fn told(&self) -> String {
        let word = match self {
            met if met.pass => "met ",
            missed if missed.missed() => "NOT MET ",
            _ => "",
        };
        format!("expected  {word}{}", self.line())
    }

    /// `max_loss_pct: expected at most 0 %, measured 0.42 %`
    pub fn line(&self) -> String {
        let bound = self.bound.words();
        let unit = if self.unit.is_empty() { String::new() } else { format!(" {}", self.unit) };
        let measured = match self.measured {
            Some(value) => {
                let note = self.note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
                format!("measured {value:.2}{unit}{note}")
            }
            None => {
                let word = if self.judged { "not measured" } else { "not judged" };
                format!("{word}: {}", self.unmeasured.as_deref().unwrap_or("nothing arrived"))
            }
        };
        format!("{}: expected {bound} {}{unit}, {measured}", self.name, self.expected)
    }
}

/// The side of the limit that is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Good at or below the limit.
    AtMost,
    /// Good at or above the limit.
    AtLeast,
}

impl Bound {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Bound::AtMost => "at most",
            Bound::AtLeast => "at least",
        }
    }
}
