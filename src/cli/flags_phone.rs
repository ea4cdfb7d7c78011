//! The flags that only the phone has.

use std::path::PathBuf;

use clap::Args;

use b2b_client::{Codec, SrtpPolicy};
use b2b_phone::value::{self, Steps};

/// A list as one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Codecs(pub Vec<Codec>);

fn codecs(text: &str) -> Result<Codecs, String> {
    value::codecs(text).map(Codecs)
}

/// Flags of the phone.
#[derive(Debug, Clone, Args)]
pub struct PhoneFlags {
    /// Who calls, like sip:1001@127.0.0.1:5060 (required). With --password-file it registers there
    #[arg(long, help_heading = "Phone", value_name = "SIP-URI", value_parser = value::sip_uri)]
    pub identity: Option<String>,
    /// The name that others see beside it
    #[arg(long, help_heading = "Phone", value_name = "NAME", value_parser = value::text)]
    pub display_name: Option<String>,
    /// A file with the password in its first line
    #[arg(long, help_heading = "Phone", value_name = "FILE", value_parser = value::path)]
    pub password_file: Option<PathBuf>,
    /// Do not register: the password is for calls only
    #[arg(long, help_heading = "Phone")]
    pub no_register: bool,
    /// Through whom everything goes: an outbound proxy
    #[arg(long, help_heading = "Phone", value_name = "SIP-URI", value_parser = value::sip_uri)]
    pub proxy: Option<String>,
    /// Certificates (PEM) that are trusted for TLS, instead of the system's
    #[arg(long, help_heading = "Phone", value_name = "FILE", value_parser = value::path)]
    pub ca_file: Option<PathBuf>,
    /// Codecs in order of priority: opus, g722, pcmu, pcma
    #[arg(long, help_heading = "Phone", value_name = "LIST", default_value = "opus,g722,pcmu,pcma", value_parser = codecs)]
    pub codecs: Codecs,
    /// Encrypt sound (SDES): off, offered or required
    #[arg(long, help_heading = "Phone", value_name = "POLICY", default_value = "off", value_parser = value::srtp)]
    pub srtp: SrtpPolicy,

    /// Call this, then end: a URI, or a number at the identity's host. No screen
    #[arg(long, help_heading = "Phone, scripted", value_name = "SIP-URI", value_parser = value::text)]
    pub call: Option<String>,
    /// Answer so many calls, one after the other, then end. No screen
    #[arg(long, help_heading = "Phone, scripted", value_name = "NUMBER", value_parser = value::calls)]
    pub answer: Option<u32>,
    /// Do these steps, one after the other, and end at the first that fails, like
    /// "dial 8000; say 600 Hz; hears 440 Hz within 10 s; press 1; hung up". No screen;
    /// docs/client.md has every step
    #[arg(long, help_heading = "Phone, scripted", value_name = "STEPS", value_parser = value::steps)]
    pub steps: Option<Steps>,
    /// How long to wait for an answer, for the next call to answer, or until it is registered
    #[arg(long, help_heading = "Phone, scripted", value_name = "SECONDS", default_value = "60", value_parser = value::seconds)]
    pub wait: f64,
    /// Play this file once the call is up: MP3, WAV, FLAC or OGG Vorbis
    #[arg(long, help_heading = "Phone, scripted", value_name = "FILE", value_parser = value::path)]
    pub play: Option<PathBuf>,
    /// Send these digits (RFC 4733) once the call is up
    #[arg(long, help_heading = "Phone, scripted", value_name = "DIGITS", value_parser = value::digits)]
    pub dtmf: Option<String>,
    /// Hang up so long after the answer; without it when file and digits are through, or, without
    /// those, when the far end does
    #[arg(long, help_heading = "Phone, scripted", value_name = "SECONDS", value_parser = value::seconds)]
    pub hangup_after: Option<f64>,
    /// Write what happens as JSON, a line each, the last one a summary with the quality
    #[arg(long, help_heading = "Phone, scripted")]
    pub json: bool,
}
