//! The mixer: answers a caller, dials a target, and adds DTMF to what it forwards.

use std::time::Duration;

use crate::media::dtmf::Sequence;
use crate::role::{Role, UaOptions};

/// What the mixer is told.
#[derive(Debug, Clone)]
pub struct MixerConfig {
    /// SIP and RTP, for both legs.
    pub ua: UaOptions,
    /// `--target`
    pub target: String,
    /// `--dtmf-seq`; none: only forward.
    pub dtmf_seq: Option<Sequence>,
    /// `--dtmf-period-ms`: from the start of one sequence to the start of the next.
    pub dtmf_period: Duration,
    /// `--mix-gain-in`
    pub gain_in: f32,
    /// `--mix-gain-dtmf`
    pub gain_dtmf: f32,
}

/// The mixer role.
#[derive(Debug)]
pub struct Mixer {
    config: MixerConfig,
}

impl Mixer {
    /// A mixer that has not started.
    pub fn new(config: MixerConfig) -> Self {
        Mixer { config }
    }
}

impl Role for Mixer {
    fn run(self) -> anyhow::Result<()> {
        anyhow::bail!("not built yet: {}", self.config.target)
    }
}
