//! The number of calls that fit into a configuration and a process. Pure.

use std::fmt;

use super::ServerConfig;

/// Ports per call: RTP and RTCP for each leg.
const PORTS_A_CALL: usize = 4;
/// Maximum descriptors per call: RTP and RTCP for each leg, if the peers do not multiplex RTCP on the RTP
/// port (RFC 5761).
const DESCRIPTORS_A_CALL: usize = 4;
/// Descriptors of a media thread that are not sockets of calls: sockets bound in advance for two addresses,
/// and a few of its own.
const SPARE: usize = 200;
/// Additional ones per listener: sockets bound in advance for its two addresses.
const SPARE_A_LISTENER: usize = 128;
/// Maximum media threads that are started by default.
const MOST_THREADS: usize = 64;

/// The number of calls that fit, by limiting resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// `limits.calls`.
    pub by_limit: usize,
    /// By the ports of `media.ports`.
    pub by_ports: usize,
    /// By descriptors, assuming that no peer multiplexes RTCP: each media thread has a descriptor table of
    /// its own.
    pub by_descriptors: usize,
    /// Media threads.
    pub threads: usize,
}

impl Capacity {
    /// The capacity of a process with this many descriptors, on this many cores.
    pub fn of(config: &ServerConfig, descriptors: usize, cores: usize) -> Self {
        let (first, last) = config.media.ports;
        let ports = usize::from(last.saturating_sub(first)) + 1;
        let spare = SPARE + SPARE_A_LISTENER * config.listeners.len();
        let calls_a_thread = descriptors.saturating_sub(spare) / DESCRIPTORS_A_CALL;
        let needed = config.limits.calls.div_ceil(calls_a_thread.max(1));
        let own = cores.saturating_sub(1).max(needed).clamp(1, MOST_THREADS);
        let threads = config.media.threads.unwrap_or(own);
        Capacity {
            by_limit: config.limits.calls,
            by_ports: ports / PORTS_A_CALL,
            by_descriptors: threads.saturating_mul(calls_a_thread),
            threads,
        }
    }

    /// The same where only this many media threads have a table of their own.
    pub fn with_tables(self, tables: usize) -> Self {
        let tables = tables.clamp(1, self.threads.max(1));
        Capacity { by_descriptors: self.by_descriptors / self.threads.max(1) * tables, ..self }
    }

    /// Maximum simultaneous calls.
    pub fn calls(&self) -> usize {
        self.by_limit.min(self.by_ports).min(self.by_descriptors)
    }
}

impl ServerConfig {
    /// Media endpoints for ordinary calls: an eighth of the ports, of up to 16 calls, is for emergency calls.
    pub fn ordinary_endpoints(&self) -> usize {
        let (first, last) = self.media.ports;
        let endpoints = (usize::from(last.saturating_sub(first)) + 1) / (PORTS_A_CALL / 2);
        endpoints - (endpoints / 8).min(32)
    }
}

impl fmt::Display for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Capacity { by_limit, by_ports, by_descriptors, threads } = self;
        let threads = match threads {
            1 => "1 media thread".to_owned(),
            threads => format!("{threads} media threads"),
        };
        write!(
            f,
            "{} calls fit: {by_limit} by limits.calls, {by_ports} by media.ports, \
             {by_descriptors} by descriptors ({threads})",
            self.calls()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse_made;

    #[test]
    fn the_scarcest_thing_decides() {
        let config =
            parse_made("[media]\nports = \"20000-20399\"\nthreads = 2\n[limits]\ncalls = 1000\n").unwrap();
        let capacity = Capacity::of(&config, 20_000, 8);
        assert_eq!(
            capacity.to_string(),
            "100 calls fit: 1000 by limits.calls, 100 by media.ports, 9900 by descriptors (2 media threads)"
        );
        assert_eq!(Capacity::of(&config, 240, 8).calls(), 20);
        assert_eq!(Capacity::of(&config, 10, 8).calls(), 0);
    }

    #[test]
    fn what_is_not_configured_holds_ten_thousand_calls_with_the_usual_limit_of_descriptors() {
        let config = parse_made("").unwrap();
        for cores in [1, 2, 8] {
            let capacity = Capacity::of(&config, 20_000, cores);
            assert_eq!(capacity.calls(), 10_000, "{capacity}");
            assert_eq!(capacity.threads, 3.max(cores - 1), "enough for RTCP on ports of its own");
        }
        let shared = Capacity::of(&config, 20_000, 2).with_tables(0);
        assert_eq!(shared.calls(), 4_950, "one table for all: {shared}");
    }
}
