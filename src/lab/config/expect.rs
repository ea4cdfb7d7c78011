//! `[expect]`: the limits that a run is judged by.

/// Limits of a plan; an unset one is not checked.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Expect {
    /// Minimum audio played out at the sink, seconds.
    pub min_duration_s: Option<f64>,
    /// Maximum gap between RTP timestamps at any receiver, ms.
    pub max_rtp_gap_ms: Option<f64>,
    /// Maximum time between two arrivals at any receiver, ms.
    pub max_arrival_gap_ms: Option<f64>,
    /// Maximum loss over the whole chain, percent.
    pub max_loss_pct: Option<f64>,
    /// Maximum mouth-to-ear latency, 95th percentile, ms.
    pub max_latency_ms: Option<f64>,
    /// Minimum MOS of the whole chain.
    pub min_mos: Option<f64>,
    /// Minimum share of the non-silent sent audio received intact, by comparison of the audio, percent.
    pub min_intact_pct: Option<f64>,
    /// Maximum time from dialling to the answer of each call of the chain, ms.
    pub max_setup_ms: Option<f64>,
    /// Maximum CPU of each role over its whole life, percent of one core.
    pub max_cpu_pct: Option<f64>,
}

impl Expect {
    /// Its keys.
    pub const KEYS: [&'static str; 9] = [
        "min_duration_s",
        "max_rtp_gap_ms",
        "max_arrival_gap_ms",
        "max_loss_pct",
        "max_latency_ms",
        "min_mos",
        "min_intact_pct",
        "max_setup_ms",
        "max_cpu_pct",
    ];

    /// The limit of this key, to be set; `None` for an unknown key.
    pub fn slot(&mut self, key: &str) -> Option<&mut Option<f64>> {
        Some(match key {
            "min_duration_s" => &mut self.min_duration_s,
            "max_rtp_gap_ms" => &mut self.max_rtp_gap_ms,
            "max_arrival_gap_ms" => &mut self.max_arrival_gap_ms,
            "max_loss_pct" => &mut self.max_loss_pct,
            "max_latency_ms" => &mut self.max_latency_ms,
            "min_mos" => &mut self.min_mos,
            "min_intact_pct" => &mut self.min_intact_pct,
            "max_setup_ms" => &mut self.max_setup_ms,
            "max_cpu_pct" => &mut self.max_cpu_pct,
            _ => return None,
        })
    }

    /// Checks the range of a limit; the error states the valid one.
    pub fn check(key: &str, limit: f64) -> Result<(), String> {
        let range = match key {
            "max_loss_pct" | "min_intact_pct" => 0.0..=100.0,
            "min_mos" => 1.0..=5.0,
            _ => 0.0..=1e9,
        };
        if range.contains(&limit) {
            Ok(())
        } else {
            Err(format!("not a number from {} to {}", range.start(), range.end()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_its_slot() {
        let mut expect = Expect::default();
        for key in Expect::KEYS {
            *expect.slot(key).unwrap() = Some(1.0);
        }
        assert_eq!(expect.min_mos, Some(1.0));
        assert!(expect.slot("max_loss").is_none());
    }
}
