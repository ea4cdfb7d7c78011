//! `[hep]`: copies of SIP messages for a collector.

use std::net::SocketAddr;

use super::Secret;
use super::docs::{SectionDoc, key};
use super::error::ConfigError;
use super::parse::{Outside, secret};
use super::reader::Section;

/// Whose messages go there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HepCalls {
    #[default]
    All,
    /// Those of calls that are captured (`POST /calls/{id}/capture`).
    Captured,
}

/// `[hep]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hep {
    /// Who collects, over UDP.
    pub collector: SocketAddr,
    /// Who we are there.
    pub capture_id: u32,
    pub password: Option<Secret>,
    pub calls: HepCalls,
}

pub const HEP: SectionDoc = SectionDoc {
    name: "hep",
    written: "[hep]",
    about: "Copies of the SIP messages of calls for a HEPv3 collector. See `docs/operations.md`.",
    keys: &[
        key("collector", "address with port", "", "Where they go, over UDP. Without it nowhere."),
        key("capture_id", "0 to 4294967295", "1", "Who we are to the collector."),
        key("password", "secret", "", "What the collector asks for; it goes in the clear, as HEP has it."),
        key("password_file", "path", "", "A file with the password in its first line."),
        key(
            "calls",
            "`all` or `captured`",
            r#""all""#,
            "Whose messages: those of every call, or of calls while they are captured.",
        ),
    ],
};

/// Reads it; none: there is no collector.
pub fn hep(section: &Section<'_>, outside: &dyn Outside) -> Result<Option<Hep>, ConfigError> {
    let collector = section.parsed("collector", |text| match text.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 && !address.ip().is_unspecified() => Ok(address),
        _ => Err("write an address with its port, like 192.0.2.9:9060".to_string()),
    })?;
    let calls = section.parsed("calls", |text| match text {
        "all" => Ok(HepCalls::All),
        "captured" => Ok(HepCalls::Captured),
        _ => Err("write all or captured".to_string()),
    })?;
    let password = secret(section, ["password", "password_file"], outside)?;
    let capture_id = section.whole("capture_id", 0..=u64::from(u32::MAX))?.unwrap_or(1) as u32;
    section.finish();
    let calls = calls.unwrap_or_default();
    Ok(collector.map(|collector| Hep { collector, capture_id, password, calls }))
}

#[cfg(test)]
mod tests {
    use super::super::parse_alone;
    use super::*;

    #[test]
    fn a_collector_is_an_address_and_without_one_nothing_is_sent() {
        assert_eq!(parse_alone("[hep]\ncapture_id = 7\n").expect("sound").hep, None);
        let hep =
            parse_alone("[hep]\ncollector = \"192.0.2.9:9060\"\n").expect("sound").hep.expect("a collector");
        assert_eq!((hep.capture_id, hep.password, hep.calls), (1, None, HepCalls::All));
        for bad in
            ["collector = \"homer\"", "collector = \"192.0.2.9:0\"", "calls = \"some\"", "capture_id = -1"]
        {
            let error = parse_alone(&format!("[hep]\n{bad}\n")).unwrap_err().to_string();
            assert!(error.contains("hep."), "{bad}: {error}");
        }
    }
}
