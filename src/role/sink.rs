//! The sink: answers, and plays or records what it hears.

use std::path::PathBuf;

use crate::role::player::PlayerCommand;
use crate::role::{Role, UaOptions};

/// `--output`: where the audio goes besides files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Output {
    /// To the player; a missing or dying player ends the role (exit 66).
    #[default]
    Aplay,
    /// To the player if there is one and a sound card; otherwise nowhere.
    Auto,
    /// Nowhere.
    Null,
}

/// What the sink is told.
#[derive(Debug, Clone)]
pub struct SinkConfig {
    /// SIP and RTP.
    pub ua: UaOptions,
    /// `--output`
    pub output: Output,
    /// `--aplay-cmd`
    pub player: PlayerCommand,
    /// `--wav`
    pub wav: Option<PathBuf>,
    /// `--calls`: end after this many calls.
    pub calls: u32,
}

/// The sink role.
#[derive(Debug)]
pub struct Sink {
    config: SinkConfig,
}

impl Sink {
    /// A sink that has not started.
    pub fn new(config: SinkConfig) -> Self {
        Sink { config }
    }
}

impl Role for Sink {
    fn run(self) -> anyhow::Result<()> {
        anyhow::bail!("not built yet: {:?}", self.config.output)
    }
}
