//! The configuration of the embedded engine.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::sounding::MusicClass;
use b2b_media::sounds::Limits;

/// Addresses to bind, each with the address in session descriptions where that differs.
pub type MediaAddresses = Vec<(IpAddr, Option<IpAddr>)>;

/// The configuration of the embedded controller.
#[derive(Debug, Clone)]
pub struct EmbeddedConfig {
    /// Addresses to receive at: at most one IPv4 and one IPv6 address, no wildcards; each with the address in
    /// session descriptions where that differs (behind a NAT).
    pub addresses: MediaAddresses,
    /// Further networks, by name, each as `addresses`. Their parties are told only addresses of their
    /// network.
    pub interfaces: Vec<(String, MediaAddresses)>,
    /// The port range: RTP takes even ports, RTCP the following odd ones.
    pub ports: RangeInclusive<u16>,
    /// The number of media threads; `None` for one per core but one. Each has as many file descriptors as a
    /// process may have.
    pub threads: Option<usize>,
    /// Whether far ends that do not multiplex RTCP get an RTCP socket.
    pub rtcp_sockets: bool,
    /// Minimum free disk space for recordings, in bytes.
    pub recording_free_bytes: u64,
    /// The seed of random identifiers; from the operating system, except in tests.
    pub seed: u64,
    /// The classes of music on hold.
    pub music: Vec<MusicClass>,
    /// The limits of the cache of decoded prompts and music.
    pub sounds: Limits,
}

impl EmbeddedConfig {
    /// The default settings.
    pub fn new(addresses: MediaAddresses, ports: RangeInclusive<u16>, seed: u64) -> Self {
        EmbeddedConfig {
            addresses,
            interfaces: Vec::new(),
            ports,
            threads: None,
            rtcp_sockets: true,
            recording_free_bytes: 0,
            seed,
            music: Vec::new(),
            sounds: Limits::default(),
        }
    }
}
