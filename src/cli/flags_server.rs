//! The flags of the server only.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::Args;

use b2b_server::value;

/// Flags of the b2bua.
/// First and last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports(pub u16, pub u16);

fn ports(text: &str) -> Result<Ports, String> {
    value::port_range(text).map(|(first, last)| Ports(first, last))
}

#[derive(Debug, Clone, Args)]
pub struct ServerFlags {
    /// The configuration, TOML (required); docs/server.md lists the keys
    #[arg(long, help_heading = "B2bua", value_name = "FILE", value_parser = value::path)]
    pub config: Option<PathBuf>,
    /// Address of the HTTP interface; overrides the configuration
    #[arg(long, help_heading = "B2bua", value_name = "IP:PORT", value_parser = value::sip_bind)]
    pub http_bind: Option<SocketAddr>,
    /// Send calls to this number to this URI, before --target and the configuration's routes: for the lab. May be repeated
    #[arg(long, help_heading = "B2bua", value_name = "NUMBER=SIP-URI", value_parser = value::route)]
    pub route: Vec<(String, String)>,
    /// Start nothing; print the route of a call to this number, and why
    #[arg(long, help_heading = "B2bua", value_name = "NUMBER", value_parser = value::number)]
    pub explain: Option<String>,
    /// Start nothing; print a JSON Schema of the configuration, for editors
    #[arg(long, help_heading = "B2bua")]
    pub print_schema: bool,
    /// Start nothing; print the REGISTER, OPTIONS and INVITE for this gateway without sending them
    #[arg(long, help_heading = "B2bua", value_name = "NAME", value_parser = value::number)]
    pub explain_gateway: Option<String>,
    /// With --explain-gateway: the called number. Without it: +442079460000
    #[arg(long, help_heading = "B2bua", value_name = "NUMBER", value_parser = value::number)]
    pub to: Option<String>,
    /// With --explain: the caller, a user or a number. With --explain-gateway: the calling user; without it
    /// the first user
    #[arg(long, help_heading = "B2bua", value_name = "NUMBER", value_parser = value::number)]
    pub from: Option<String>,
    /// With --explain: the source address of the call
    #[arg(long, help_heading = "B2bua", value_name = "IP", value_parser = value::address)]
    pub source: Option<IpAddr>,

    // media
    /// Address of the media server's REST and gRPC interface for b2buas; any address except 127.0.0.1
    /// requires --token-file
    #[arg(long, help_heading = "Media", value_name = "IP:PORT", default_value = "127.0.0.1:8090", value_parser = value::listen)]
    pub listen: SocketAddr,
    /// A file with the token for b2buas in its first line
    #[arg(long, help_heading = "Media", value_name = "FILE", value_parser = value::path)]
    pub token_file: Option<PathBuf>,
    /// Local address of RTP
    #[arg(long, help_heading = "Media", value_name = "IP", default_value = "127.0.0.1", value_parser = value::address)]
    pub rtp_bind: IpAddr,
    /// Address of RTP in SDP, if it differs from --rtp-bind
    #[arg(long, help_heading = "Media", value_name = "IP", value_parser = value::address)]
    pub rtp_advertise: Option<IpAddr>,
    /// First and last port of RTP and RTCP
    #[arg(long, help_heading = "Media", value_name = "FIRST-LAST", default_value = "16384-65535", value_parser = ports)]
    pub rtp_ports: Ports,
    /// Limit of legs, above which new calls go to the next media server. Without it: the ports are the limit
    #[arg(long, help_heading = "Media", value_name = "NUMBER", value_parser = value::endpoints)]
    pub max_endpoints: Option<usize>,
}
