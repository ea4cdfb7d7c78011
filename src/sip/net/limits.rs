//! What a peer may cost us, and the counters of what was refused.

use std::time::Duration;

use super::budget::Rate;

/// Limits of the network drivers.
#[derive(Debug, Clone)]
pub struct NetLimits {
    /// Messages per source address; more are dropped unparsed, but for as many again
    /// that belong to calls that are up or answer requests of ours. Generous: a load
    /// generator on loopback sends some 1,500 a second at 500 calls a second.
    pub per_source: Rate,
    /// Sources with a bucket of their own.
    pub max_sources: usize,
    /// TCP and TLS connections at once; an eighth is for those that we open.
    pub max_connections: usize,
    /// TCP and TLS connections at once that one source address opened. One that is known
    /// may have half of all.
    pub max_connections_per_source: usize,
    /// Those of them that have proven nothing yet. One more, and the oldest goes.
    pub max_unproven_per_source: usize,
    /// What proves a connection.
    pub proof: ProvenBy,
    /// Messages that may wait for one connection to be read; one more, and the
    /// connection is closed.
    pub write_queue: usize,
    /// One write that takes longer closes its connection.
    pub write_stall: Duration,
    /// A message that began must be complete within this time. Also the time
    /// that a connection accepted may take for its TLS handshake, and to send its first
    /// message; three times as long it may go without a proof.
    pub message_timeout: Duration,
    /// A connection without traffic is closed after this time. Longer than most
    /// calls: peers expect to find a dialog's connection open.
    pub idle_timeout: Duration,
    /// Opening a connection may take this long, TLS included.
    pub connect_timeout: Duration,
}

impl Default for NetLimits {
    fn default() -> Self {
        NetLimits {
            per_source: Rate { per_second: 10_000, burst: 20_000 },
            max_sources: 4096,
            max_connections: 1000,
            max_connections_per_source: 200,
            max_unproven_per_source: 200,
            proof: ProvenBy::Message,
            write_queue: 256,
            write_stall: Duration::from_secs(10),
            message_timeout: Duration::from_secs(20),
            idle_timeout: Duration::from_secs(3600),
            connect_timeout: Duration::from_secs(10),
        }
    }
}

/// What shows that a connection belongs to somebody who has business here: it may be idle for
/// long, and is not closed to make room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProvenBy {
    /// Any message.
    Message,
    /// Whoever authenticates, by [`SipStack::prove`](super::SipStack::prove); or a message that
    /// carries an identifier of ours.
    Password,
}

/// What the drivers counted since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NetCounters {
    /// Messages received and within their source's budget.
    pub received: u64,
    /// Messages handed to the kernel (UDP) or a connection's queue (TCP).
    pub sent: u64,
    /// Messages dropped because their source was over its budget.
    pub over_budget: u64,
    /// Messages dropped because their source was banned.
    pub banned: u64,
    /// Datagrams of ours that found nobody, by ICMP.
    pub undelivered: u64,
    /// Datagrams that the kernel would not take.
    pub send_errors: u64,
    /// Connections opened to us, or by us.
    pub connections_opened: u64,
    /// Connections refused because there were too many, or their source was banned.
    pub connections_refused: u64,
    /// Connections that had proven nothing, closed to make room for another one.
    pub connections_displaced: u64,
    /// Times that the system refused to accept one: no descriptors left.
    pub accept_errors: u64,
    /// Connections closed because the peer did not read.
    pub closed_not_reading: u64,
    /// Connections closed because what came was not SIP, or beyond a limit.
    pub closed_bad_framing: u64,
    /// Connections closed because a handshake or a message took too long, or for
    /// idleness.
    pub closed_timeout: u64,
    /// Connections to us whose TLS handshake failed.
    pub failed_handshakes: u64,
}
