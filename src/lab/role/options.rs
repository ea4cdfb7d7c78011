//! The UA settings of every role.

use std::path::{Path, PathBuf};

use b2b_ua::{Engine, UaConfig};

/// The common settings of source, mixer and sink.
#[derive(Debug, Clone, Default)]
pub struct UaOptions {
    /// `--engine`
    pub engine: Engine,
    /// The settings of the engine. SIP and RTP use one IP address; with `record` and without `--sip-trace`,
    /// the trace goes into that directory.
    pub config: UaConfig,
    /// `--record`: a directory for all data of the report.
    pub record: Option<RecordDir>,
}

/// The directory of `--record`; its file names are fixed (see `designs/0001-borders.md`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordDir(pub PathBuf);

impl RecordDir {
    /// The path of one file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }
}
