//! Limits on the resources that a peer can use, and counters.

use std::time::Duration;

use super::budget::Rate;

/// Limits of the network drivers.
#[derive(Debug, Clone)]
pub struct NetLimits {
    /// Messages per source address. Messages beyond it are dropped unparsed, except for the
    /// same number again that belong to existing calls or respond to our requests. Generous:
    /// a load generator on loopback sends some 1,500 per second at 500 calls per second.
    pub per_source: Rate,
    /// Sources with their own bucket.
    pub max_sources: usize,
    /// Concurrent TCP and TLS connections; an eighth is reserved for those that we open.
    pub max_connections: usize,
    /// Concurrent TCP and TLS connections opened by one source address. A known source may
    /// have half of all.
    pub max_connections_per_source: usize,
    /// Unproven ones among them. Beyond the limit the oldest is closed. With proof by password also the number
    /// of TLS handshakes a second with one source, five times as many at once; ten times as many for homes of
    /// registered users, and any number for named sources.
    pub max_unproven_per_source: usize,
    /// What proves a connection.
    pub proof: ProvenBy,
    /// Messages queued for one connection; when the queue is full, the connection is closed.
    pub write_queue: usize,
    /// A connection is closed when one write takes longer.
    pub write_stall: Duration,
    /// Time limit for the rest of a message once it has begun. Also for the TLS handshake of
    /// an accepted connection and for its first message. An unproven connection lasts three
    /// times as long.
    pub message_timeout: Duration,
    /// Time after which an idle connection is closed. Longer than most calls, because peers
    /// expect a dialog's connection to stay open.
    pub idle_timeout: Duration,
    /// Time limit for opening a connection, TLS handshake included.
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

impl NetLimits {
    /// The rate of TLS handshakes with one source, this many times that of a stranger.
    pub(super) fn handshakes(&self, times: u32) -> Rate {
        let most = u32::try_from(self.max_unproven_per_source).unwrap_or(u32::MAX);
        let per_second = most.saturating_mul(times);
        Rate { per_second, burst: per_second.saturating_mul(5) }
    }
}

/// What proves that a connection belongs to a legitimate peer: it may then be idle for long,
/// and is not closed to make room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProvenBy {
    /// Any message.
    Message,
    /// Authentication, reported by [`SipStack::prove`](super::SipStack::prove); or a message
    /// that carries an identifier of ours.
    Password,
}

/// Counters of the drivers since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NetCounters {
    /// Messages received within the budget of their source.
    pub received: u64,
    /// Messages given to the kernel (UDP) or to a connection's queue (TCP).
    pub sent: u64,
    /// Messages dropped because their source was over its budget.
    pub over_budget: u64,
    /// Messages dropped because their source was banned.
    pub banned: u64,
    /// Our datagrams reported undeliverable by ICMP.
    pub undelivered: u64,
    /// Datagrams that the kernel refused to send.
    pub send_errors: u64,
    /// Connections opened by peers or by us.
    pub connections_opened: u64,
    /// Connections refused because there were too many, or their source was banned.
    pub connections_refused: u64,
    /// Unproven connections closed to make room for another one.
    pub connections_displaced: u64,
    /// Failed accepts: no descriptors left.
    pub accept_errors: u64,
    /// Connections closed because the peer did not read.
    pub closed_not_reading: u64,
    /// Connections closed because their input was not SIP or exceeded a limit.
    pub closed_bad_framing: u64,
    /// Connections closed because a handshake or message took too long, or because they were
    /// idle.
    pub closed_timeout: u64,
    /// Accepted connections whose TLS handshake failed.
    pub failed_handshakes: u64,
}
