//! `[hep]`: copies of SIP messages for a HEP collector.

use std::net::SocketAddr;

use super::outside::{Outside, secret};
use super::texts::PATH;
use super::{ConfigError, Secret};
use b2b_config::section::Section;
use b2b_config::table::Takes::{self, Choice, Whole};
use b2b_config::table::{Named, Table};
use b2b_config::value::Read;
use b2b_config::{rows, text};

/// The calls whose messages are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HepCalls {
    #[default]
    All,
    /// Only those of calls that are captured (`POST /calls/{id}/capture`).
    Captured,
}

impl HepCalls {
    /// The names in the configuration.
    pub(super) const NAMED: Named<HepCalls> =
        Named { refusal: "write", values: &[("all", HepCalls::All), ("captured", HepCalls::Captured)] };
}

/// `[hep]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hep {
    /// The collector's address, over UDP.
    pub collector: SocketAddr,
    /// Our capture id.
    pub capture_id: u32,
    pub password: Option<Secret>,
    pub calls: HepCalls,
}

pub const HEP: Table = Table {
    name: "hep",
    written: "[hep]",
    about: "Copies of the SIP messages of calls for a HEPv3 collector. See `docs/operations.md`.",
    keys: rows! {
        collector: text!("address with port", collector), at_restart(),
            "The address of the collector, over UDP. Without it: no copies are sent.";
        capture_id: Whole(0, 4_294_967_295) => 1, at_restart(), "The capture agent ID of this server.";
        password: Takes::Secret("secret"), at_restart(),
            "The authentication key of the collector; HEP sends it in clear text.";
        password_file: PATH, at_restart(), "A file with the password in its first line.";
        calls: Choice(&HepCalls::NAMED) => "all", at_restart(),
            "Which messages are copied: those of every call, or of calls while they are captured.";
    },
};

/// Reads the table; `None`: there is no collector.
pub fn hep(section: &Section<'_>, outside: &dyn Outside) -> Result<Option<Hep>, ConfigError> {
    let collector = section.parsed("collector", collector)?;
    let calls = section.choice("calls", &HepCalls::NAMED)?;
    let password = secret(section, ["password", "password_file"], outside)?;
    let capture_id = section.whole("capture_id")?;
    section.finish();
    Ok(collector.map(|collector| Hep { collector, capture_id, password, calls }))
}

fn collector(text: &str) -> Read<SocketAddr> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 && !address.ip().is_unspecified() => Ok(address),
        _ => Err("write an address with its port, like 192.0.2.9:9060".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse_made;
    use super::*;

    #[test]
    fn a_collector_is_an_address_and_without_one_nothing_is_sent() {
        assert_eq!(parse_made("[hep]\ncapture_id = 7\n").expect("sound").hep, None);
        let hep =
            parse_made("[hep]\ncollector = \"192.0.2.9:9060\"\n").expect("sound").hep.expect("a collector");
        assert_eq!((hep.capture_id, hep.password, hep.calls), (1, None, HepCalls::All));
        for bad in
            ["collector = \"homer\"", "collector = \"192.0.2.9:0\"", "calls = \"some\"", "capture_id = -1"]
        {
            let error = parse_made(&format!("[hep]\n{bad}\n")).unwrap_err().to_string();
            assert!(error.contains("hep."), "{bad}: {error}");
        }
    }
}
