//! Tags in front of lines, in the colour of the role.

use b2b_base::logging;
use b2b_config::RoleName;

/// The tag of a role, six columns wide.
pub fn plain(role: RoleName) -> &'static str {
    match role {
        RoleName::Orchestrator => "[ORCH]",
        RoleName::Source => "[SRC ]",
        RoleName::Mixer => "[MIX ]",
        RoleName::Sink => "[SINK]",
        RoleName::B2bua => "[B2B ]",
        RoleName::Phone => "[TEL ]",
        RoleName::Media => "[RTP ]",
        RoleName::Load => "[LOAD]",
    }
}

/// The tag, coloured if requested.
pub fn tag(role: RoleName, color: bool) -> String {
    if color { logging::of_role(role.as_str(), plain(role)) } else { plain(role).to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_has_its_colour() {
        for (role, code) in [
            (RoleName::Orchestrator, "33"),
            (RoleName::Source, "32"),
            (RoleName::Mixer, "35"),
            (RoleName::Sink, "34"),
            (RoleName::B2bua, "36"),
            (RoleName::Phone, "37"),
            (RoleName::Media, "90"),
            (RoleName::Load, "96"),
        ] {
            assert_eq!(tag(role, true), format!("\u{1b}[{code}m{}\u{1b}[39m", plain(role)));
            assert_eq!(tag(role, false), plain(role));
        }
    }
}
