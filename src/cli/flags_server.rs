//! The flags that only the server has.

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
    /// The configuration, TOML (required); docs/server.md has every key
    #[arg(long, help_heading = "B2bua", value_name = "FILE", value_parser = value::path)]
    pub config: Option<PathBuf>,
    /// Where the control interface listens, instead of where the configuration says
    #[arg(long, help_heading = "B2bua", value_name = "IP:PORT", value_parser = value::sip_bind)]
    pub http_bind: Option<SocketAddr>,
    /// Send calls to this number there, before --target and the configuration's routes: for the lab. May be repeated
    #[arg(long, help_heading = "B2bua", value_name = "NUMBER=SIP-URI", value_parser = value::route)]
    pub route: Vec<(String, String)>,
    /// Start nothing; print which route a call to this number would take, and why
    #[arg(long, help_heading = "B2bua", value_name = "NUMBER", value_parser = value::number)]
    pub explain: Option<String>,
    /// Start nothing; print a JSON Schema of the configuration, for editors
    #[arg(long, help_heading = "B2bua")]
    pub print_schema: bool,
    /// Start nothing and send nothing; print the REGISTER, OPTIONS and INVITE that would leave for
    /// this gateway
    #[arg(long, help_heading = "B2bua", value_name = "NAME", value_parser = value::number)]
    pub explain_gateway: Option<String>,
    /// With --explain-gateway: the number that is called; without it +442079460000
    #[arg(long, help_heading = "B2bua", value_name = "NUMBER", value_parser = value::number)]
    pub to: Option<String>,
    /// With --explain: who calls, a user or a number; with --explain-gateway: a user, without it
    /// the first one
    #[arg(long, help_heading = "B2bua", value_name = "NUMBER", value_parser = value::number)]
    pub from: Option<String>,
    /// With --explain: the address that the call comes from
    #[arg(long, help_heading = "B2bua", value_name = "IP", value_parser = value::address)]
    pub source: Option<IpAddr>,

    // media
    /// Where b2buas reach the media server, by REST and by gRPC; elsewhere than on 127.0.0.1 it
    /// needs --token-file
    #[arg(long, help_heading = "Media", value_name = "IP:PORT", default_value = "127.0.0.1:8090", value_parser = value::listen)]
    pub listen: SocketAddr,
    /// A file with the token that b2buas must have, in its first line
    #[arg(long, help_heading = "Media", value_name = "FILE", value_parser = value::path)]
    pub token_file: Option<PathBuf>,
    /// Where RTP is bound
    #[arg(long, help_heading = "Media", value_name = "IP", default_value = "127.0.0.1", value_parser = value::address)]
    pub rtp_bind: IpAddr,
    /// The address that phones are told, if it is not the bound one
    #[arg(long, help_heading = "Media", value_name = "IP", value_parser = value::address)]
    pub rtp_advertise: Option<IpAddr>,
    /// First and last port of RTP and RTCP
    #[arg(long, help_heading = "Media", value_name = "FIRST-LAST", default_value = "16384-65535", value_parser = ports)]
    pub rtp_ports: Ports,
    /// With so many legs, new calls go to the next media server; without it: as many as have ports
    #[arg(long, help_heading = "Media", value_name = "NUMBER", value_parser = value::endpoints)]
    pub max_endpoints: Option<usize>,
}
