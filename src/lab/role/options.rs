//! What every role is told about its UA.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use b2b_ua::{Codec, Engine, Impairment, UaConfig};

/// The options that source, mixer and sink share.
#[derive(Debug, Clone)]
pub struct UaOptions {
    /// `--engine`
    pub engine: Engine,
    /// `--sip-bind`: SIP over UDP and TCP; RTP uses the same IP.
    pub bind: SocketAddr,
    /// `--codec` first, then the others: the order of our offers.
    pub codecs: Vec<Codec>,
    /// `--ptime-ms`
    pub ptime_ms: u32,
    /// `--jitter-ms`: minimum playout delay.
    pub jitter_ms: u32,
    /// `--impair`
    pub impairment: Option<Impairment>,
    /// `--rtp-timeout-s`
    pub rtp_timeout: Duration,
    /// `--sip-trace`; with `record` and without this, the trace goes there.
    pub sip_trace: Option<PathBuf>,
    /// `--record`: a directory for everything the report is made from.
    pub record: Option<RecordDir>,
}

impl Default for UaOptions {
    fn default() -> Self {
        UaOptions {
            engine: Engine::default(),
            bind: SocketAddr::from(([127, 0, 0, 1], 0)),
            codecs: vec![Codec::Pcmu, Codec::Pcma],
            ptime_ms: 20,
            jitter_ms: 60,
            impairment: None,
            rtp_timeout: Duration::from_secs(20),
            sip_trace: None,
            record: None,
        }
    }
}

impl UaOptions {
    /// The configuration of the UA of a role (`source`, `mixer` or `sink`).
    pub fn ua_config(&self, role: &str) -> UaConfig {
        let recorded = |extension| self.record.as_ref().map(|dir| dir.file(&format!("{role}.{extension}")));
        UaConfig {
            user: role.to_string(),
            bind: self.bind,
            codecs: self.codecs.clone(),
            ptime_ms: self.ptime_ms,
            jitter_ms: self.jitter_ms,
            impairment: self.impairment,
            rtp_timeout: self.rtp_timeout,
            sip_trace: self.sip_trace.clone().or_else(|| recorded("sip")),
            packet_log: recorded("packets.csv"),
        }
    }
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
