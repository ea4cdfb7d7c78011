//! What a configuration can be asked without serving it, and the settings of a media server.

use std::net::{IpAddr, SocketAddr};

use super::Secret;

/// `--explain`: the call whose route is explained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteQuestion {
    /// The called number.
    pub called: String,
    /// A user, or a number.
    pub from: Option<String>,
    /// The source address of the call.
    pub address: Option<IpAddr>,
}

/// `--explain-gateway`: whose messages are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayQuestion {
    /// The gateway's name.
    pub gateway: String,
    /// The calling user; `None`: the first of the configuration.
    pub from: Option<String>,
    /// The number called; `None`: +44 20 7946 0000, which is unassigned.
    pub to: Option<String>,
}

/// Configuration of a media server (`--role media`), which has no file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaServerConfig {
    /// Where controlling servers reach it, by REST and by gRPC.
    pub listen: SocketAddr,
    /// The token they must present; `None`: only clients on this machine are accepted.
    pub token: Option<Secret>,
    /// Local address of RTP, and the address in SDP, if it differs.
    pub bind: IpAddr,
    pub advertise: Option<IpAddr>,
    /// First and last port of RTP and RTCP, both included.
    pub ports: (u16, u16),
    /// Number of endpoints from which new calls are to go elsewhere; `None`: as many as the ports allow.
    pub most: Option<usize>,
}

impl MediaServerConfig {
    /// The number of endpoints from which new calls are to go elsewhere.
    pub fn most(&self) -> usize {
        let (first, last) = self.ports;
        self.most.unwrap_or(usize::from(last.saturating_sub(first)).div_ceil(2))
    }
}
