//! The flags that only the server has.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::Args;

use crate::config::value;

/// Flags of the b2bua.
#[derive(Debug, Clone, Args)]
pub struct ServerFlags {
    /// The configuration, TOML (required); docs/server.md has every key
    #[arg(long, help_heading = "B2bua", value_name = "FILE", value_parser = value::path)]
    pub config: Option<PathBuf>,
    /// Where the control interface listens, instead of where the configuration says
    #[arg(long, help_heading = "B2bua", value_name = "IP:PORT", value_parser = value::sip_bind)]
    pub http_bind: Option<SocketAddr>,
    /// Start nothing; print which route a call to this number would take, and why
    #[arg(long, help_heading = "B2bua", value_name = "NUMBER", value_parser = value::number)]
    pub explain: Option<String>,
    /// With --explain: who calls, a user or a number
    #[arg(long, help_heading = "B2bua", value_name = "NUMBER", value_parser = value::number)]
    pub from: Option<String>,
    /// With --explain: the address that the call comes from
    #[arg(long, help_heading = "B2bua", value_name = "IP", value_parser = value::address)]
    pub source: Option<IpAddr>,
}
