//! How many calls fit into a configuration and a process. Pure.

use std::fmt;

use super::ServerConfig;

/// Ports that a call takes: RTP and RTCP for each leg.
const PORTS_A_CALL: usize = 4;
/// Descriptors that a call may need: RTP and RTCP for each leg, where the peers do
/// not put RTCP on the RTP port (RFC 5761).
const DESCRIPTORS_A_CALL: usize = 4;
/// Descriptors of a media thread that are not sockets of calls: sockets bound ahead for
/// two addresses, and its own few.
const SPARE: usize = 200;
/// More of them for a network of its own: sockets bound ahead for its two addresses.
const SPARE_A_LISTENER: usize = 128;
/// More media threads than this are not started by themselves.
const MOST_THREADS: usize = 64;

/// How many calls fit, by what holds them back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// `limits.calls`.
    pub by_limit: usize,
    /// By the ports of `media.ports`.
    pub by_ports: usize,
    /// By descriptors, whatever the peers do with RTCP: each media thread has a table of
    /// its own.
    pub by_descriptors: usize,
    /// Media threads.
    pub threads: usize,
}

impl Capacity {
    /// What fits where a process may have this many descriptors, on so many cores.
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

    /// The same where only so many media threads have a table of their own.
    pub fn with_tables(self, tables: usize) -> Self {
        let tables = tables.clamp(1, self.threads.max(1));
        Capacity { by_descriptors: self.by_descriptors / self.threads.max(1) * tables, ..self }
    }

    /// Calls at once.
    pub fn calls(&self) -> usize {
        self.by_limit.min(self.by_ports).min(self.by_descriptors)
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
    use crate::config::parse_alone;

    #[test]
    fn the_scarcest_thing_decides() {
        let config =
            parse_alone("[media]\nports = \"20000-20399\"\nthreads = 2\n[limits]\ncalls = 1000\n").unwrap();
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
        let config = parse_alone("").unwrap();
        for cores in [1, 2, 8] {
            let capacity = Capacity::of(&config, 20_000, cores);
            assert_eq!(capacity.calls(), 10_000, "{capacity}");
            assert_eq!(capacity.threads, 3.max(cores - 1), "enough for RTCP on ports of its own");
        }
        let shared = Capacity::of(&config, 20_000, 2).with_tables(0);
        assert_eq!(shared.calls(), 4_950, "one table for all: {shared}");
    }
}
