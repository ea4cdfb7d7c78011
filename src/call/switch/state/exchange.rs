//! Offers of a call that are under way, and the way of its media, as values.

use std::time::{Duration, Instant};

use crate::LegId;
use crate::controller::Hold;
use b2b_sip::endpoint::ServerTransactionId;

/// Number of an exchange within its call; never reused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct ExchangeNo(pub u32);

/// The origin of an offer, which decides what becomes of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Origin {
    /// A party's re-INVITE.
    ReInvite,
    /// A party's UPDATE, or PRACK with an offer.
    Update(ServerTransactionId),
    /// An INVITE that is to replace this leg.
    Replacing(LegId),
    /// The asking party does not wait for the answer any more.
    Nobody,
    /// We describe `from` to `to`, its new partner. `back`: afterwards also the other way round.
    Refresh { back: bool },
    /// We connect `to`, which is also `from`, with ourselves.
    TalkToUs,
    /// We direct the media of `to` straight to the party of `from`.
    Direct,
    /// We direct the media of `to` back to us.
    Return,
    /// We tell `to`, which is also `from`, where its media is now.
    Moved,
    /// We repeat the session of `to`, which is also `from`, for its session timer.
    Timer,
    /// We put `to`, which is also `from`, on hold, or take it off hold.
    Hold(Hold),
}

/// An offer under way.
#[derive(Clone, Copy, serde::Serialize, serde::Deserialize)]
pub(crate) struct Exchange {
    pub no: ExchangeNo,
    /// The leg that made the offer, or asked for one.
    pub from: LegId,
    /// The leg that is to answer the offer, or to make one.
    pub to: LegId,
    pub origin: Origin,
    /// The request to `to` has been sent.
    pub sent: bool,
    /// `to` has answered with a 2xx; media is applying it.
    pub agreed: bool,
}

/// An offer to `to`, with the media of `like`, that has to wait.
#[derive(Clone, Copy, serde::Serialize, serde::Deserialize)]
pub(crate) struct PendingOffer {
    /// `None`: of b2b itself, with which `to` is alone.
    pub like: Option<LegId>,
    pub to: LegId,
    /// Afterwards the same the other way round.
    pub back: bool,
}

/// The exchanges of a call.
#[derive(Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Exchanges {
    pub under_way: Option<Box<Exchange>>,
    pub last: ExchangeNo,
    /// Offers that wait for the end of the one under way.
    pub pending: Vec<PendingOffer>,
    /// What the parties want may have changed since it was last compared with what they were told.
    pub changed: bool,
}

impl Exchanges {
    /// Begins an exchange; `None`: another one is under way.
    pub fn begin(&mut self, from: LegId, to: LegId, origin: Origin) -> Option<ExchangeNo> {
        if self.under_way.is_some() {
            return None;
        }
        self.last.0 += 1;
        let (no, sent, agreed) = (self.last, false, false);
        self.under_way = Some(Box::new(Exchange { no, from, to, origin, sent, agreed }));
        Some(no)
    }

    /// The exchange of this number, if it is still under way.
    pub(crate) fn of(&mut self, no: ExchangeNo) -> Option<&mut Exchange> {
        self.under_way.as_deref_mut().filter(|it| it.no == no)
    }

    /// Marks the exchange as agreed: this leg has answered with a 2xx.
    pub(crate) fn agree(&mut self, leg: LegId) -> Option<Exchange> {
        let it = self.under_way.as_deref_mut().filter(|it| it.to == leg && it.sent && !it.agreed)?;
        it.agreed = true;
        Some(*it)
    }
}

/// What a party that asked for another session gets from us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Described {
    /// An answer that changes nothing.
    Repeat,
    Answer,
    /// An offer: the ACK brings the answer.
    Offer,
}

/// The direction of what is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Crossing {
    pub from: LegId,
    pub to: LegId,
}

/// How long a bridge is left unchanged after its parties have changed something.
pub(crate) const SETTLE: Duration = Duration::from_secs(1);

/// The state of a bridge with regard to direct media.
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct Path {
    /// A party cannot or will not.
    pub refused: bool,
    /// No attempt before this time.
    #[serde(with = "b2b_base::ages")]
    pub settled: Instant,
    /// When to check again.
    #[serde(with = "b2b_base::ages::option")]
    pub look: Option<Instant>,
}

impl Path {
    pub fn new(now: Instant) -> Self {
        Path { refused: false, settled: now + SETTLE, look: Some(now + SETTLE) }
    }
}
