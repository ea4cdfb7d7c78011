//! What the embedded engine of this process is started with.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::sounding::MusicClass;
use b2b_media::sounds::Limits;

/// Addresses that are bound, and as what each is told to far ends, where that differs.
pub type MediaAddresses = Vec<(IpAddr, Option<IpAddr>)>;

/// What the embedded controller needs to start.
#[derive(Debug, Clone)]
pub struct EmbeddedConfig {
    /// Addresses to receive at: at most one IPv4 and one IPv6 address, no wildcards; and as
    /// what each is told to far ends, where that differs (a NAT before us).
    pub addresses: MediaAddresses,
    /// Further networks, by name, each as `addresses`. Their parties are told no address but theirs.
    pub interfaces: Vec<(String, MediaAddresses)>,
    /// RTP takes even ports of this range, RTCP the odd ones behind them.
    pub ports: RangeInclusive<u16>,
    /// Media threads; none: one for each core but one. Each holds as many descriptors as
    /// a process may have.
    pub threads: Option<usize>,
    /// Far ends that do not multiplex RTCP get a socket for it.
    pub rtcp_sockets: bool,
    /// With less room on the disk, nothing is recorded.
    pub recording_free_bytes: u64,
    /// From the operating system's generator, except in tests.
    pub seed: u64,
    /// Music on hold, by name.
    pub music: Vec<MusicClass>,
    /// How much of prompts and music is kept decoded.
    pub sounds: Limits,
}

impl EmbeddedConfig {
    /// The usual settings.
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
