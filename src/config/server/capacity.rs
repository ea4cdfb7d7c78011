//! How many calls fit into a configuration and a process. Pure.

use std::fmt;

use super::ServerConfig;

/// Ports that a call takes: RTP and RTCP for each leg.
const PORTS_A_CALL: usize = 4;
/// Descriptors that a call may need: RTP and RTCP for each leg, where the peers do
/// not put RTCP on the RTP port (RFC 5761).
const DESCRIPTORS_A_CALL: usize = 4;
/// Descriptors of a media thread that are not sockets of calls.
const SPARE: usize = 100;

/// How many calls fit, by what holds them back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// `limits.calls`.
    pub by_limit: usize,
    /// By the ports of `media.ports`.
    pub by_ports: usize,
    /// By descriptors: each media thread has a table of its own.
    pub by_descriptors: usize,
}

impl Capacity {
    /// What fits where a process may have this many descriptors.
    pub fn of(config: &ServerConfig, descriptors: usize) -> Self {
        let (first, last) = config.media.ports;
        let ports = usize::from(last.saturating_sub(first)) + 1;
        let threads = config.media.threads;
        Capacity {
            by_limit: config.limits.calls,
            by_ports: ports / PORTS_A_CALL,
            by_descriptors: threads.saturating_mul(descriptors.saturating_sub(SPARE)) / DESCRIPTORS_A_CALL,
        }
    }

    /// Calls at once.
    pub fn calls(&self) -> usize {
        self.by_limit.min(self.by_ports).min(self.by_descriptors)
    }
}

impl fmt::Display for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Capacity { by_limit, by_ports, by_descriptors } = self;
        write!(
            f,
            "{} calls fit: {by_limit} by limits.calls, {by_ports} by media.ports, \
             {by_descriptors} by descriptors",
            self.calls()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::server::parse_alone;

    #[test]
    fn the_scarcest_thing_decides() {
        let config =
            parse_alone("[media]\nports = \"20000-20399\"\nthreads = 2\n[limits]\ncalls = 1000\n").unwrap();
        let capacity = Capacity::of(&config, 20_000);
        assert_eq!(
            capacity.to_string(),
            "100 calls fit: 1000 by limits.calls, 100 by media.ports, 9950 by descriptors"
        );
        assert_eq!(Capacity::of(&config, 140).calls(), 20);
        assert_eq!(Capacity::of(&config, 10).calls(), 0);
    }
}
