//! The flags of the phone.

use std::path::PathBuf;

use b2b_client::{Codec, SrtpPolicy};
use b2b_config::keys;
use b2b_config::role_name::RoleName::Phone;

use crate::value::{self, Steps};

keys! {
    /// Flags of `--role phone` besides the shared ones.
    PHONE, PhoneFlags, "":
    maybe identity: String, &[Phone], Text "SIP-URI" sip_uri,
        "The phone's address, like sip:1001@127.0.0.1:5060 (required). With --password-file it registers there";
    maybe display_name: String, &[Phone], Text "NAME" text,
        "The display name";
    maybe password_file: PathBuf, &[Phone], InputPath "FILE" path,
        "A file with the password in its first line";
    switch no_register, &[Phone], Switch,
        "Do not register; use the password for calls only";
    maybe proxy: String, &[Phone], Text "SIP-URI" sip_uri,
        "The outbound proxy";
    maybe ca_file: PathBuf, &[Phone], InputPath "FILE" path,
        "Trusted certificates for TLS (PEM), instead of the system's";
    one codecs: Vec<Codec> = "opus,g722,pcmu,pcma", &[Phone], Text "LIST" codecs,
        "Codecs in order of priority: opus, g722, pcmu, pcma";
    one srtp: SrtpPolicy = "off", &[Phone], Text "POLICY" srtp,
        "Media encryption (SRTP, SDES): off, offered or required";
}

keys! {
    /// Flags of a phone without a screen.
    SCRIPTED, ScriptFlags, "Phone, scripted":
    maybe call: String, &[Phone], Text "SIP-URI" text,
        "Make one call and exit: to a URI, or to a number at the identity's host. No screen";
    maybe answer: u32, &[Phone], Integer "NUMBER" calls,
        "Answer this many calls, one after the other, and exit. No screen";
    maybe steps: Steps, &[Phone], Text "STEPS" steps,
        "Run these steps in order and exit at the first that fails, like \"dial 8000; say 600 Hz; hears 440 Hz within 10 s; press 1; hung up\". No screen; docs/client.md lists the steps";
    one wait: f64 = "60", &[Phone], Number "SECONDS" seconds,
        "How long to wait for an answer, for the next inbound call, or for the registration; steps have `within` for the first two";
    maybe play: PathBuf, &[Phone], InputPath "FILE" path,
        "Play this file after the answer: WAV, MP3, FLAC, Ogg, AU, .ulaw, .alaw, .sln, .g722 or .gsm";
    maybe dtmf: String, &[Phone], Text "DIGITS" digits,
        "Send these digits (RFC 4733) after the answer";
    maybe hangup_after: f64, &[Phone], Number "SECONDS" seconds,
        "Hang up this long after the answer. Without it: after the file and the digits, or, without those, when the far end hangs up";
    switch json, &[Phone], Switch,
        "Write events as JSON lines; the last line is a summary with the quality";
    maybe junit: PathBuf, &[Phone], OutputPath "FILE" path,
        "Write the result as JUnit XML, for CI services: a test case for each step or call";
}
