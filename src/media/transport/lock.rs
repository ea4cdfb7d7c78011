//! From where a far end's packets are believed, and where ours go: symmetric RTP (RFC 4961)
//! for those whom the signalling or the configuration names.
//!
//! 1. Whoever may be learned has a rank: the signalled address and port, the signalled host,
//!    the host that its signalling comes from, a named network. With SRTP each packet has
//!    proved itself, so any source counts as a named one. IPv6 hosts are compared by their
//!    /64. Nobody else is ever believed.
//! 2. A source of a better rank takes the place of the believed one at once; one of the same
//!    or a worse rank only when that has been silent for 250 ms: a NAT has bound it anew, or
//!    the party sends from elsewhere now.
//! 3. A new signalled address begins again. The source of before is heard for a second more,
//!    since its packets are still on the way, and anybody else who may be learned takes its
//!    place at once. It is answered only if it may be learned itself, from its next packet on:
//!    a party behind a NAT has signalled anew and sends from where it did. After that second it
//!    counts as any other source.
//! 4. Packets go to the believed source, or to the signalled address whatever comes
//!    ([`Answering::Signalled`]).
//!
//! Pure. Times are in ns since any fixed moment, and 0 is none.

mod snapshot;

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

pub(crate) use snapshot::LockSnapshot;

/// How long the believed source must have been silent before one of no better rank may take
/// its place, ns.
const SILENCE: u64 = 250_000_000;
/// How long a source is heard after another address was signalled, ns.
const FORMER: u64 = 1_000_000_000;

/// Where packets go, once a source is believed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answering {
    /// To where packets come from.
    #[default]
    Source,
    /// To where the far end said that it receives.
    Signalled,
}

/// Whom the configuration lets a party send from, beside what the signalling names.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct NamedSources {
    /// Networks that are believed.
    pub networks: Vec<IpNet>,
    /// Whether what is believed is answered.
    pub answer: Answering,
}

/// Hosts that a far end's signalling comes from: at its beginning, and in its last message.
pub type Signalling = [Option<IpAddr>; 2];

/// How well a source is known, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Rank {
    Signalled,
    SignalledHost,
    Signalling,
    Named,
    /// Believed until another address was signalled, and again since; it may be learned.
    Again,
    /// Believed until another address was signalled; it may not be learned.
    Former,
}

/// What comes of a source that is not the believed one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Belief {
    /// It is believed from now on. `before`: instead of that one, without a word of signalling.
    Believed {
        /// The source that was believed until now, or before the last signalled address; `None`: the
        /// first.
        before: Option<SocketAddr>,
    },
    /// It may be learned, but another source is heard.
    Waits,
    /// It may not be learned.
    Refused,
}

/// One far end's addresses. See the module's text.
#[derive(Debug, Clone, Default)]
pub struct SourceLock {
    sources: NamedSources,
    signalled: Option<SocketAddr>,
    signalling: Signalling,
    believed: Option<(SocketAddr, Rank)>,
    /// Believed until another address was signalled, and not heard since.
    former: Option<SocketAddr>,
    /// Until when a former source is heard; 0 when there is none.
    former_until: u64,
    authenticates: bool,
    changes: u32,
}

impl SourceLock {
    /// A lock of a far end that nothing is known of yet.
    pub fn new(sources: NamedSources) -> Self {
        SourceLock { sources, ..SourceLock::default() }
    }

    /// The far end says where it receives, and its signalling comes from these hosts. An
    /// unspecified address (RFC 2543's hold) says nothing.
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
            // Its second runs already.
            _ if !new && was_former => {}
            Some(_) => (self.believed, self.former, self.former_until) = (None, Some(source), at + FORMER),
            None if was_former => self.believed = Some((source, Rank::Former)),
            None => (self.believed, self.former_until) = (Some((source, Rank::Former)), at + FORMER),
        }
    }

    /// Whether every packet has proved itself before it gets here (SRTP).
    pub fn authenticates(&mut self, authenticates: bool) {
        self.authenticates = authenticates;
    }

    /// How well a source is known; none: it may not be learned.
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

    /// What would come of a packet from `source` at `at`, if the believed one was heard last at
    /// `heard`; none: it is believed, or would be.
    pub fn objection(&self, source: SocketAddr, at: u64, heard: u64) -> Option<Belief> {
        if self.believed() == Some(source) {
            return None;
        }
        let Some(rank) = self.rank(source) else { return Some(Belief::Refused) };
        let (_, known) = self.believed?;
        (rank >= known && at.saturating_sub(heard) < SILENCE).then_some(Belief::Waits)
    }

    /// Looks at a packet from a source that is not the believed one; that was heard last at
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

    /// When [`SourceLock::expire`] is to be called; 0: never.
    pub fn due(&self) -> u64 {
        self.former_until
    }

    /// A former source's second may be over. Whether what is believed or answered has changed.
    pub fn expire(&mut self, at: u64) -> bool {
        if self.former_until == 0 || at < self.former_until {
            return false;
        }
        (self.former_until, self.former) = (0, None);
        self.believed = self.believed.and_then(|(source, _)| Some((source, self.rank(source)?)));
        true
    }

    /// Whom the configuration names.
    pub(crate) fn sources(&self) -> &NamedSources {
        &self.sources
    }

    /// Where the far end said that it receives.
    pub fn signalled(&self) -> Option<SocketAddr> {
        self.signalled
    }

    /// From where its packets are believed.
    pub fn believed(&self) -> Option<SocketAddr> {
        self.believed.map(|(source, _)| source)
    }

    /// How often another source was believed, without a word of signalling.
    pub fn changes(&self) -> u32 {
        self.changes
    }

    /// Where to send; none: nobody knows yet.
    pub fn destination(&self) -> Option<SocketAddr> {
        match (self.believed, self.sources.answer) {
            (Some((source, rank)), Answering::Source) if rank != Rank::Former => Some(source),
            _ => self.signalled,
        }
    }

    /// Whether RTCP from `source` is believed: any port of a host that RTP may come from.
    pub fn admits_rtcp(&self, source: SocketAddr) -> bool {
        self.rank(source).is_some() || self.believed().is_some_and(|known| same_host(known.ip(), source.ip()))
    }
}

/// Whether two addresses are of one host: an IPv6 host has its /64 (RFC 8981).
pub fn same_host(one: IpAddr, other: IpAddr) -> bool {
    match (one.to_canonical(), other.to_canonical()) {
        (IpAddr::V6(one), IpAddr::V6(other)) => one.segments()[..4] == other.segments()[..4],
        (one, other) => one == other,
    }
}

#[cfg(test)]
mod tests;
