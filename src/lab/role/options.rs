//! What every role is told about its UA.

use std::path::{Path, PathBuf};

use b2b_ua::{Engine, UaConfig};

/// What source, mixer and sink share.
#[derive(Debug, Clone, Default)]
pub struct UaOptions {
    /// `--engine`
    pub engine: Engine,
    /// What the engine is told. SIP and RTP use one IP address; with `record` and without
    /// `--sip-trace`, the trace goes into that directory.
    pub config: UaConfig,
    /// `--record`: a directory for everything the report is made from.
    pub record: Option<RecordDir>,
}

/// The directory of `--record`; the file names in it are fixed (see
/// `designs/0001-borders.md`).
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
