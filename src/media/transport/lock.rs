//! The source address from which a far end's packets are believed, and the destination of ours:
//! symmetric RTP (RFC 4961) for sources that the signalling or the configuration names.
//!
//! 1. Every source that may be learned has a rank: the signalled address and port, the signalled
//!    host, the host of its signalling, a named network. With SRTP each packet is authenticated, so
//!    any source counts as a named one. No other source is ever believed, except a neighbour.
//! 2. A source of a better rank replaces the believed one at once; one of the same or a worse rank
//!    only after the believed one has been silent for 250 ms: a NAT binding has changed, or the party
//!    now sends from elsewhere.
//! 3. A neighbour shares the IPv6 /64 of the signalled host or of the signalling: it may be the party
//!    with a temporary address (RFC 8981), or anybody else on that link. It is believed once nothing
//!    has come from a source of rule 1 for 2 s, and yields to those at once. Its keys and its RTCP
//!    never count.
//! 4. A new signalled address starts over. The former source is heard for one more second, since its
//!    packets are still in flight, and any other source that may be learned replaces it at once. We
//!    send to it meanwhile only if nothing better is known: the new address names the same host as the
//!    old one, from which nothing came (a party behind a NAT has signalled again), or the party may
//!    not name it. Else we send to the new address: two parties that are told of each other at once
//!    would else both wait for the other. After that second it counts as any other source.
//! 5. Packets go to the believed source, or always to the signalled address
//!    ([`Answering::Signalled`]). Nothing goes to an address that the party may not name.
//!
//! No I/O, no clock. Times are in ns since any fixed point; 0 means none.

mod snapshot;

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

pub(crate) use snapshot::LockSnapshot;

/// How long the believed source must have been silent before one of no better rank may replace it,
/// ns.
const SILENCE: u64 = 250_000_000;
/// How long nothing must have come from any other source before a neighbour is believed, ns.
const NEIGHBOUR: u64 = 2_000_000_000;
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
    /// Believed until another address was signalled, and answered until a better one is heard.
    Again,
    /// Believed until another address was signalled, and no longer answered.
    Former,
    /// In the IPv6 /64 of the signalled host or of the signalling.
    Neighbour,
}

impl Rank {
    fn is_former(self) -> bool {
        matches!(self, Rank::Again | Rank::Former)
    }
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
    /// When another address was last signalled.
    since: u64,
    believed: Option<(SocketAddr, Rank)>,
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

    /// Applies the address at which the far end says it receives (`None`: a host name, or one that it may not
    /// name), and the hosts of its signalling. An unspecified address (RFC 2543's hold) is ignored.
    pub fn signal(&mut self, address: Option<SocketAddr>, signalling: Signalling, at: u64) {
        self.signalling = signalling;
        let holds = address.is_some_and(|address| address.ip().is_unspecified());
        let new = self.signalled != address && !holds;
        let before = self.signalled;
        if new {
            self.signalled = address;
        }
        if new || self.since == 0 {
            self.since = at;
        }
        let Some((source, known)) = self.believed else { return };
        let rank = self.rank(source).filter(|rank| *rank != Rank::Neighbour || !new);
        match rank {
            Some(Rank::Signalled) => {
                (self.believed, self.former_until) = (Some((source, Rank::Signalled)), 0)
            }
            Some(rank) if !new && !known.is_former() => self.believed = Some((source, rank)),
            // Its extra second is running already.
            _ if !new && known.is_former() => {}
            rank => {
                let same_host = before.zip(address).is_some_and(|(old, address)| old.ip() == address.ip());
                let elsewhere = known > Rank::SignalledHost && known != Rank::Former;
                let answered = rank.is_some() && (address.is_none() || same_host && elsewhere);
                let former = if answered { Rank::Again } else { Rank::Former };
                (self.believed, self.former_until) = (Some((source, former)), at + FORMER);
            }
        }
    }

    /// Applies the address of the host name that the far end has signalled; the believed source stays.
    pub fn found(&mut self, address: SocketAddr) {
        self.signalled = Some(address);
        self.believed = self.believed.and_then(|(source, _)| Some((source, self.rank(source)?)));
    }

    /// Sets whether packets are authenticated before they get here (SRTP).
    pub fn authenticates(&mut self, authenticates: bool) {
        self.authenticates = authenticates;
    }

    /// The rank of a source; `None` if it may not be learned.
    fn rank(&self, source: SocketAddr) -> Option<Rank> {
        let host = source.ip().to_canonical();
        let known = |known: IpAddr| known.to_canonical() == host;
        let signalled = self.signalled.filter(|signalled| known(signalled.ip()));
        if let Some(signalled) = signalled {
            let same_port = signalled.port() == source.port();
            return Some(if same_port { Rank::Signalled } else { Rank::SignalledHost });
        }
        if self.signalling.iter().flatten().any(|host| known(*host)) {
            return Some(Rank::Signalling);
        }
        if self.authenticates || self.sources.networks.iter().any(|net| net.contains(&host)) {
            return Some(Rank::Named);
        }
        let hosts = self.signalled.map(|signalled| signalled.ip());
        let mut hosts = hosts.into_iter().chain(self.signalling.into_iter().flatten());
        hosts.any(|known| are_neighbours(known, host)).then_some(Rank::Neighbour)
    }

    /// Why a packet from `source` at `at` would not be believed, if the believed source was last
    /// heard at `heard`; `None` if it would be.
    pub fn objection(&self, source: SocketAddr, at: u64, heard: u64) -> Option<Belief> {
        if self.believed() == Some(source) {
            return None;
        }
        let Some(rank) = self.rank(source) else { return Some(Belief::Refused) };
        let (known, since, silence) = match (rank, self.believed) {
            (Rank::Neighbour, _) => (rank, heard.max(self.since), NEIGHBOUR),
            (_, known) => (known?.1, heard, SILENCE),
        };
        (rank >= known && at.saturating_sub(since) < silence).then_some(Belief::Waits)
    }

    /// Considers a packet from a source other than the believed one, which was last heard at
    /// `heard`.
    pub fn consider(&mut self, source: SocketAddr, at: u64, heard: u64) -> Belief {
        if let Some(objection) = self.objection(source, at, heard) {
            return objection;
        }
        let Some(rank) = self.rank(source) else { return Belief::Refused };
        let before = self.believed.replace((source, rank));
        self.former_until = 0;
        self.changes += u32::from(before.is_some_and(|(_, rank)| !rank.is_former()));
        Belief::Believed { before: before.map(|(source, _)| source).filter(|before| *before != source) }
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
        self.former_until = 0;
        let rank = |source| self.rank(source).filter(|rank| *rank != Rank::Neighbour);
        self.believed = self.believed.and_then(|(source, _)| Some((source, rank(source)?)));
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
            (Some((source, _)), _) => self.signalled.or(Some(source)),
            (None, _) => self.signalled,
        }
    }

    /// Whether RTCP from `source` is accepted: from any port of a host that RTP may come from.
    pub fn admits_rtcp(&self, source: SocketAddr) -> bool {
        let former = || self.believed().is_some_and(|known| known.ip() == source.ip());
        self.rank(source).map_or_else(former, |rank| rank != Rank::Neighbour)
    }

    /// Whether RTCP from `source` shows that the party is there: it comes from the host of the believed
    /// source, or is authenticated.
    pub fn shows_life(&self, source: SocketAddr) -> bool {
        self.believed.is_some_and(|(known, rank)| {
            let same_host = known.ip().to_canonical() == source.ip().to_canonical();
            rank != Rank::Neighbour && (same_host || self.authenticates)
        })
    }

    /// Whether keys of the believed source count.
    pub fn admits_keys(&self) -> bool {
        self.believed.is_none_or(|(_, rank)| rank != Rank::Neighbour)
    }
}

/// Whether two IPv6 hosts share a /64 (RFC 4291 §2.5.4).
fn are_neighbours(one: IpAddr, other: IpAddr) -> bool {
    match (one.to_canonical(), other.to_canonical()) {
        (IpAddr::V6(one), IpAddr::V6(other)) => one.segments()[..4] == other.segments()[..4],
        _ => false,
    }
}

#[cfg(test)]
mod tests;
