//! The source address from which a far end's packets are believed, and the destination of ours:
//! symmetric RTP (RFC 4961) for sources that the signalling or the configuration names.
//!
//! 1. Every source that may be learned has a rank: the signalled address and port, the signalled
//!    host, the host of its signalling, a named network. With SRTP each packet is authenticated, so
//!    any source counts as a named one. IPv6 hosts are compared by their /64. No other source is ever
//!    believed.
//! 2. A source of a better rank replaces the believed one at once; one of the same or a worse rank
//!    only after the believed one has been silent for 250 ms: a NAT binding has changed, or the party
//!    now sends from elsewhere.
//! 3. A new signalled address starts over. The former source is accepted for one more second, since
//!    its packets are still in flight, and any other source that may be learned replaces it at once.
//!    We send to the former source only if it may be learned itself, from its next packet on: a party
//!    behind a NAT has signalled again and still sends from the same address. After that second it
//!    counts as any other source.
//! 4. Packets go to the believed source, or always to the signalled address
//!    ([`Answering::Signalled`]).
//!
//! No I/O, no clock. Times are in ns since any fixed point; 0 means none.

mod snapshot;

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

pub(crate) use snapshot::LockSnapshot;

/// How long the believed source must have been silent before one of no better rank may replace it,
/// ns.
const SILENCE: u64 = 250_000_000;
/// How long a former source is accepted after another address was signalled, ns.
const FORMER: u64 = 1_000_000_000;

/// Where packets are sent once a source is believed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answering {
    /// To the believed source.
    #[default]
    Source,
    /// To where the far end said it receives.
    Signalled,
}

/// The sources that the configuration permits in addition to those the signalling names.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct NamedSources {
    /// Networks that are believed.
    pub networks: Vec<IpNet>,
    /// Where packets are sent once a source is believed.
    pub answer: Answering,
}

/// Hosts of a far end's signalling: that of its first message, and that of its last one.
pub type Signalling = [Option<IpAddr>; 2];

/// How well a source is known, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Rank {
    Signalled,
    SignalledHost,
    Signalling,
    Named,
    /// Believed until another address was signalled, and heard again since; it may be learned.
    Again,
    /// Believed until another address was signalled; it may not be learned.
    Former,
}

/// The outcome for a source that is not the believed one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Belief {
    /// The source is believed from now on.
    Believed {
        /// The source that was believed until now, without any signalling, or before the last
        /// signalled address; `None` if this is the first.
        before: Option<SocketAddr>,
    },
    /// The source may be learned, but another one is active.
    Waits,
    /// The source may not be learned.
    Refused,
}

/// The addresses of one far end; see the module documentation.
#[derive(Debug, Clone, Default)]
pub struct SourceLock {
    sources: NamedSources,
    signalled: Option<SocketAddr>,
    signalling: Signalling,
    believed: Option<(SocketAddr, Rank)>,
    /// Believed until another address was signalled, and not heard since.
    former: Option<SocketAddr>,
    /// Until when a former source is accepted; 0 if there is none.
    former_until: u64,
    authenticates: bool,
    changes: u32,
}

impl SourceLock {
    /// A lock for a far end of which nothing is known yet.
    pub fn new(sources: NamedSources) -> Self {
        SourceLock { sources, ..SourceLock::default() }
    }

    /// Applies the address at which the far end says it receives, and the hosts of its signalling.
    /// An unspecified address (RFC 2543's hold) is ignored.
    pub fn signal(&mut self, address: SocketAddr, signalling: Signalling, at: u64) {
        self.signalling = signalling;
        let new = self.signalled != Some(address) && !address.ip().is_unspecified();
        if new {
            self.signalled = Some(address);
        }
        let Some((source, before)) = self.believed else { return };
        let rank = self.rank(source);
        let was_former = before >= Rank::Again;
        match rank {
            Some(Rank::Signalled) => {
                (self.believed, self.former_until) = (Some((source, Rank::Signalled)), 0)
            }
            Some(rank) if !new && !was_former => self.believed = Some((source, rank)),
            // Its extra second is running already.
            _ if !new && was_former => {}
            Some(_) => (self.believed, self.former, self.former_until) = (None, Some(source), at + FORMER),
            None if was_former => self.believed = Some((source, Rank::Former)),
            None => (self.believed, self.former_until) = (Some((source, Rank::Former)), at + FORMER),
        }
    }

    /// Sets whether packets are authenticated before they get here (SRTP).
    pub fn authenticates(&mut self, authenticates: bool) {
        self.authenticates = authenticates;
    }

    /// The rank of a source; `None` if it may not be learned.
    fn rank(&self, source: SocketAddr) -> Option<Rank> {
        let host = source.ip().to_canonical();
        if let Some(signalled) = self.signalled {
            if signalled.port() == source.port() && signalled.ip().to_canonical() == host {
                return Some(Rank::Signalled);
            }
            if same_host(signalled.ip(), host) {
                return Some(Rank::SignalledHost);
            }
        }
        if self.signalling.iter().flatten().any(|known| same_host(*known, host)) {
            return Some(Rank::Signalling);
        }
        let named = self.authenticates || self.sources.networks.iter().any(|net| net.contains(&host));
        named.then_some(Rank::Named)
    }

    /// Why a packet from `source` at `at` would not be believed, if the believed source was last
    /// heard at `heard`; `None` if it would be.
    pub fn objection(&self, source: SocketAddr, at: u64, heard: u64) -> Option<Belief> {
        if self.believed() == Some(source) {
            return None;
        }
        let Some(rank) = self.rank(source) else { return Some(Belief::Refused) };
        let (_, known) = self.believed?;
        (rank >= known && at.saturating_sub(heard) < SILENCE).then_some(Belief::Waits)
    }

    /// Considers a packet from a source other than the believed one, which was last heard at
    /// `heard`.
    pub fn consider(&mut self, source: SocketAddr, at: u64, heard: u64) -> Belief {
        if let Some(objection) = self.objection(source, at, heard) {
            return objection;
        }
        let Some(rank) = self.rank(source) else { return Belief::Refused };
        let former = self.former.take();
        let again = former == Some(source) && at < self.former_until;
        let before = self.believed.replace((source, if again { Rank::Again } else { rank }));
        if !again {
            self.former_until = 0;
        }
        self.changes += u32::from(before.is_some_and(|(_, rank)| rank < Rank::Again));
        let before = before.map(|(source, _)| source).or(former);
        Belief::Believed { before: before.filter(|before| *before != source) }
    }

    /// When [`SourceLock::expire`] is to be called; 0 for never.
    pub fn due(&self) -> u64 {
        self.former_until
    }

    /// Ends the former source's extra second if it is over. Returns whether the believed source or
    /// the destination may have changed.
    pub fn expire(&mut self, at: u64) -> bool {
        if self.former_until == 0 || at < self.former_until {
            return false;
        }
        (self.former_until, self.former) = (0, None);
        self.believed = self.believed.and_then(|(source, _)| Some((source, self.rank(source)?)));
        true
    }

    /// The sources named by the configuration.
    pub(crate) fn sources(&self) -> &NamedSources {
        &self.sources
    }

    /// Where the far end said it receives.
    pub fn signalled(&self) -> Option<SocketAddr> {
        self.signalled
    }

    /// The believed source.
    pub fn believed(&self) -> Option<SocketAddr> {
        self.believed.map(|(source, _)| source)
    }

    /// How often another source was believed without any signalling.
    pub fn changes(&self) -> u32 {
        self.changes
    }

    /// Where to send; `None` if not known yet.
    pub fn destination(&self) -> Option<SocketAddr> {
        match (self.believed, self.sources.answer) {
            (Some((source, rank)), Answering::Source) if rank != Rank::Former => Some(source),
            _ => self.signalled,
        }
    }

    /// Whether RTCP from `source` is accepted: from any port of a host that RTP may come from.
    pub fn admits_rtcp(&self, source: SocketAddr) -> bool {
        self.rank(source).is_some() || self.believed().is_some_and(|known| same_host(known.ip(), source.ip()))
    }
}

/// Whether two addresses belong to one host: an IPv6 host has a /64 (RFC 8981).
pub fn same_host(one: IpAddr, other: IpAddr) -> bool {
    match (one.to_canonical(), other.to_canonical()) {
        (IpAddr::V6(one), IpAddr::V6(other)) => one.segments()[..4] == other.segments()[..4],
        (one, other) => one == other,
    }
}

#[cfg(test)]
mod tests;
