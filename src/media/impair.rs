//! The lab's network impairer on received RTP, as a machine in virtual time.

/// What the impairer does to received RTP.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ImpairConfig {
    /// Random loss, percent.
    pub loss_pct: f64,
    /// Extra delay per packet, uniform between 0 and this, ms.
    pub jitter_ms: f64,
    /// Packets held back behind the next one, percent.
    pub reorder_pct: f64,
    /// Packets doubled, percent.
    pub dup_pct: f64,
    /// Seed of the random generator.
    pub seed: u64,
}
