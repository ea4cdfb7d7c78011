//! The parameters of the network impairer, as given by `--impair`.

use std::fmt;
use std::str::FromStr;

/// What the impairer does to RTP; seeded for reproducible runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ImpairConfig {
    /// Random loss, percent.
    pub loss_pct: f64,
    /// Extra delay per packet, uniform between 0 and this, ms.
    pub jitter_ms: f64,
    /// Packets delayed until after the next one, percent.
    pub reorder_pct: f64,
    /// Packets duplicated, percent.
    pub dup_pct: f64,
    /// Seed of the random generator.
    pub seed: u64,
}

impl ImpairConfig {
    /// The same for the call of this number, with another seed; that of call 0 is the given one.
    #[must_use]
    pub fn of_call(self, number: u64) -> ImpairConfig {
        // 2^64 divided by the golden ratio: the seeds of neighbours have nothing in common.
        ImpairConfig { seed: self.seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15), ..self }
    }
}

/// Why an `--impair` value was refused.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("bad impairment {part:?}: {reason}; write it like loss=1,jitter=20,reorder=0.5,dup=0.1,seed=7")]
pub struct ImpairError {
    part: String,
    reason: &'static str,
}

impl FromStr for ImpairConfig {
    type Err = ImpairError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut it = ImpairConfig { loss_pct: 0.0, jitter_ms: 0.0, reorder_pct: 0.0, dup_pct: 0.0, seed: 1 };
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let error = |reason| ImpairError { part: part.to_string(), reason };
            let (key, value) = part.split_once('=').ok_or_else(|| error("no '='"))?;
            let percent = || match value.parse::<f64>() {
                Ok(number) if (0.0..=100.0).contains(&number) => Ok(number),
                _ => Err(error("not a percentage from 0 to 100")),
            };
            match key.trim() {
                "loss" => it.loss_pct = percent()?,
                "reorder" => it.reorder_pct = percent()?,
                "dup" => it.dup_pct = percent()?,
                "jitter" => {
                    it.jitter_ms = match value.parse::<f64>() {
                        Ok(number) if (0.0..=1_000.0).contains(&number) => number,
                        _ => return Err(error("not a time from 0 to 1000 ms")),
                    }
                }
                "seed" => it.seed = value.parse().map_err(|_| error("not a whole number"))?,
                _ => return Err(error("unknown key")),
            }
        }
        Ok(it)
    }
}

impl fmt::Display for ImpairConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ImpairConfig { loss_pct, jitter_ms, reorder_pct, dup_pct, seed } = self;
        write!(f, "loss={loss_pct},jitter={jitter_ms},reorder={reorder_pct},dup={dup_pct},seed={seed}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_prints() {
        let it: ImpairConfig = "loss=1,jitter=20,reorder=0.5,dup=0.1,seed=7".parse().unwrap();
        assert_eq!(it.loss_pct, 1.0);
        assert_eq!(it.seed, 7);
        assert_eq!(it.to_string().parse::<ImpairConfig>(), Ok(it));
    }

    #[test]
    fn refuses_unknown_keys_and_wrong_ranges() {
        assert!("los=1".parse::<ImpairConfig>().is_err());
        assert!("loss=101".parse::<ImpairConfig>().is_err());
        assert!("jitter=-1".parse::<ImpairConfig>().is_err());
        assert!("loss".parse::<ImpairConfig>().is_err());
    }
}
