//! The distribution of call durations.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rand::{Rng, RngExt};

/// A distribution of call durations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Holding {
    /// Constant, s.
    Fixed(f64),
    /// Uniform between these, s.
    Uniform(f64, f64),
    /// Exponential, the model of telephone traffic (Erlang), with this mean, s.
    Exponential(f64),
}

/// Maximum duration of a call.
const LONGEST_S: f64 = 86_400.0;

impl Holding {
    /// Draws a duration.
    pub fn draw(self, chance: &mut impl Rng) -> Duration {
        let seconds = match self {
            Holding::Fixed(seconds) => seconds,
            Holding::Uniform(from, to) => from + (to - from) * chance.random::<f64>(),
            Holding::Exponential(mean) => -mean * (1.0 - chance.random::<f64>()).ln(),
        };
        Duration::from_secs_f64(seconds.clamp(0.0, LONGEST_S))
    }
}

impl FromStr for Holding {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let second = |text: &str| {
            let seconds = text.parse::<f64>().ok().filter(|seconds| (0.0..=LONGEST_S).contains(seconds));
            seconds.ok_or_else(|| format!("{text:?} is no length; write seconds, 0 to {LONGEST_S}"))
        };
        match text.split_whitespace().collect::<Vec<_>>()[..] {
            [length] => Ok(Holding::Fixed(second(length)?)),
            ["uniform", from, to] => {
                let (from, to) = (second(from)?, second(to)?);
                if from <= to {
                    Ok(Holding::Uniform(from, to))
                } else {
                    Err("the shorter length stands first, like uniform 5 15".to_owned())
                }
            }
            ["exponential", mean] => Ok(Holding::Exponential(second(mean)?)),
            _ => Err("no such distribution; write 10, uniform 5 15 or exponential 20 (s)".to_owned()),
        }
    }
}

impl fmt::Display for Holding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Holding::Fixed(seconds) => write!(f, "{seconds} s"),
            Holding::Uniform(from, to) => write!(f, "uniform {from} to {to} s"),
            Holding::Exponential(mean) => write!(f, "exponential, mean {mean} s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    #[test]
    fn lengths_have_the_mean_of_their_distribution() {
        let mut chance = StdRng::seed_from_u64(7);
        for (text, mean) in [("10", 10.0), ("uniform 5 15", 10.0), ("exponential 20", 20.0)] {
            let holding: Holding = text.parse().unwrap();
            let sum: f64 = (0..20_000).map(|_| holding.draw(&mut chance).as_secs_f64()).sum();
            assert!((sum / 20_000.0 - mean).abs() < 0.03 * mean, "{text}: {}", sum / 20_000.0);
        }
    }

    #[test]
    fn what_is_no_distribution_says_how_to_write_one() {
        for text in ["", "long", "uniform 15 5", "normal 3 4", "-1", "NaN"] {
            assert!(text.parse::<Holding>().is_err(), "{text}");
        }
    }
}
