//! The flags of the phone only.

use std::path::PathBuf;

use clap::Args;

use b2b_client::{Codec, SrtpPolicy};
use b2b_phone::value::{self, Steps};

/// A list of codecs as one flag value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Codecs(pub Vec<Codec>);

fn codecs(text: &str) -> Result<Codecs, String> {
    value::codecs(text).map(Codecs)
}

/// Flags of the phone.
#[derive(Debug, Clone, Args)]
pub struct PhoneFlags {
    /// The phone's address, like sip:1001@127.0.0.1:5060 (required). With --password-file it registers there
    #[arg(long, help_heading = "Phone", value_name = "SIP-URI", value_parser = value::sip_uri)]
    pub identity: Option<String>,
    /// The display name
    #[arg(long, help_heading = "Phone", value_name = "NAME", value_parser = value::text)]
    pub display_name: Option<String>,
    /// A file with the password in its first line
    #[arg(long, help_heading = "Phone", value_name = "FILE", value_parser = value::path)]
    pub password_file: Option<PathBuf>,
    /// Do not register; use the password for calls only
    #[arg(long, help_heading = "Phone")]
    pub no_register: bool,
    /// The outbound proxy
    #[arg(long, help_heading = "Phone", value_name = "SIP-URI", value_parser = value::sip_uri)]
    pub proxy: Option<String>,
    /// Trusted certificates for TLS (PEM), instead of the system's
    #[arg(long, help_heading = "Phone", value_name = "FILE", value_parser = value::path)]
    pub ca_file: Option<PathBuf>,
    /// Codecs in order of priority: opus, g722, pcmu, pcma
    #[arg(long, help_heading = "Phone", value_name = "LIST", default_value = "opus,g722,pcmu,pcma", value_parser = codecs)]
    pub codecs: Codecs,
    /// Media encryption (SRTP, SDES): off, offered or required
    #[arg(long, help_heading = "Phone", value_name = "POLICY", default_value = "off", value_parser = value::srtp)]
    pub srtp: SrtpPolicy,

    /// Make one call and exit: to a URI, or to a number at the identity's host. No screen
    #[arg(long, help_heading = "Phone, scripted", value_name = "SIP-URI", value_parser = value::text)]
    pub call: Option<String>,
    /// Answer this many calls, one after the other, and exit. No screen
    #[arg(long, help_heading = "Phone, scripted", value_name = "NUMBER", value_parser = value::calls)]
    pub answer: Option<u32>,
    /// Run these steps in order and exit at the first that fails, like "dial 8000; say 600 Hz; hears 440 Hz
    /// within 10 s; press 1; hung up". No screen; docs/client.md lists the steps
    #[arg(long, help_heading = "Phone, scripted", value_name = "STEPS", value_parser = value::steps)]
    pub steps: Option<Steps>,
    /// How long to wait for an answer, for the next inbound call, or for the registration; steps have `within` for
    /// the first two
    #[arg(long, help_heading = "Phone, scripted", value_name = "SECONDS", default_value = "60", value_parser = value::seconds)]
    pub wait: f64,
    /// Play this file after the answer: WAV, MP3, FLAC, Ogg, AU, .ulaw, .alaw, .sln, .g722 or .gsm
    #[arg(long, help_heading = "Phone, scripted", value_name = "FILE", value_parser = value::path)]
    pub play: Option<PathBuf>,
    /// Send these digits (RFC 4733) after the answer
    #[arg(long, help_heading = "Phone, scripted", value_name = "DIGITS", value_parser = value::digits)]
    pub dtmf: Option<String>,
    /// Hang up this long after the answer. Without it: after the file and the digits, or, without those, when
    /// the far end hangs up
    #[arg(long, help_heading = "Phone, scripted", value_name = "SECONDS", value_parser = value::seconds)]
    pub hangup_after: Option<f64>,
    /// Write events as JSON lines; the last line is a summary with the quality
    #[arg(long, help_heading = "Phone, scripted")]
    pub json: bool,
    /// Write the result as JUnit XML, for CI services: a test case for each step or call
    #[arg(long, help_heading = "Phone, scripted", value_name = "FILE", value_parser = value::path)]
    pub junit: Option<PathBuf>,
}
