//! The source: plays a file into a call.

use std::path::PathBuf;
use std::time::Duration;

use crate::media::resample::Method;
use crate::role::{Role, UaOptions};

/// What the source is told.
#[derive(Debug, Clone)]
pub struct SourceConfig {
    /// SIP and RTP.
    pub ua: UaOptions,
    /// `--target`
    pub target: String,
    /// `--audio-file`
    pub audio_file: PathBuf,
    /// `--prebuffer-ms`: decoded before READY; at least 1000 ms are.
    pub prebuffer: Duration,
    /// `--resampler`
    pub resampler: Method,
    /// `--loop`: begin again at the end of the file.
    pub repeat: bool,
    /// `--duration-s`: hang up after this much audio.
    pub duration: Option<Duration>,
}

/// The source role.
#[derive(Debug)]
pub struct Source {
    config: SourceConfig,
}

impl Source {
    /// A source that has not started.
    pub fn new(config: SourceConfig) -> Self {
        Source { config }
    }
}

impl Role for Source {
    fn run(self) -> anyhow::Result<()> {
        anyhow::bail!("not built yet: {:?}", self.config.audio_file)
    }
}
