//! Settings of the kernel on which it depends what waits for a server that is started again.

use std::fs;
use std::ops::RangeInclusive;

use b2b_sip::net::SOCKET_BUFFER;

use crate::config::{Carrier, ServerConfig};

/// What of the kernel is too small for calls that outlive the process; nothing if they end with it.
pub fn warnings(config: &ServerConfig) -> Vec<String> {
    if config.survive.is_none() {
        return Vec::new();
    }
    let read = |name: &str| fs::read_to_string(format!("/proc/sys/net/{name}")).unwrap_or_default();
    let settings = Settings {
        rmem_max: read("core/rmem_max"),
        given_out: read("ipv4/ip_local_port_range"),
        reserved: read("ipv4/ip_local_reserved_ports"),
    };
    settings.too_small(config)
}

/// As the kernel writes them; empty if they are not to be read.
struct Settings {
    rmem_max: String,
    /// The ports that programs get that name none.
    given_out: String,
    reserved: String,
}

impl Settings {
    fn too_small(&self, config: &ServerConfig) -> Vec<String> {
        let mut all = Vec::new();
        if let Ok(most) = self.rmem_max.trim().parse::<usize>()
            && most < SOCKET_BUFFER
        {
            all.push(format!(
                "net.core.rmem_max is {most}: SIP that waits for the next process may not fit; set \
                 net.core.rmem_max={SOCKET_BUFFER}"
            ));
        }
        let (first, last) = config.media.ports;
        let open = ranges(&self.given_out.split_whitespace().collect::<Vec<_>>().join("-"));
        let reserved = ranges(&self.reserved);
        let is_of = |ranges: &[RangeInclusive<u16>], port| ranges.iter().any(|it| it.contains(&port));
        let taken = (first..=last).filter(|port| is_of(&open, *port) && !is_of(&reserved, *port)).count();
        if taken > 0 && config.media.controller == Carrier::Embedded {
            let before = self.reserved.trim();
            let comma = if before.is_empty() { "" } else { "," };
            all.push(format!(
                "other programs may get {taken} of media.ports from the kernel, a call's port, too, before the next \
                 process has it; set net.ipv4.ip_local_reserved_ports={before}{comma}{first}-{last}"
            ));
        }
        all
    }
}

/// Ranges and single ports, separated by commas.
fn ranges(text: &str) -> Vec<RangeInclusive<u16>> {
    let range = |text: &str| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    text.trim().split(',').filter_map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_alone;

    #[test]
    fn a_small_buffer_and_ports_that_others_may_get_are_told_with_what_to_set() {
        let config = parse_alone("[media]\nports = \"30000-39999\"\n").unwrap();
        let told = |rmem_max: &str, reserved: &str| {
            let settings = Settings {
                rmem_max: rmem_max.to_owned(),
                given_out: "32768\t60999\n".to_owned(),
                reserved: reserved.to_owned(),
            };
            settings.too_small(&config)
        };
        let [buffer, ports] = told("212992\n", "8080\n").try_into().unwrap();
        assert!(buffer.ends_with("set net.core.rmem_max=4194304"), "{buffer}");
        assert!(ports.starts_with("other programs may get 7232 of media.ports"), "{ports}");
        assert!(ports.ends_with("set net.ipv4.ip_local_reserved_ports=8080,30000-39999"), "{ports}");
        assert_eq!(told("4194304", "8080,30000-39999").len() + told("", "32768-40000").len(), 0);
    }
}
