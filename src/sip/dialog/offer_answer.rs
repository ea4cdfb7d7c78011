//! The offer/answer phase of a dialog (RFC 3261 §13.2.1, RFC 3311 §5.2). Bodies
//! are opaque: one in an INVITE, or in the 2xx to an INVITE without one, is the
//! offer.

/// Whose offer is waiting for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OfferAnswer {
    /// None: a new offer may be made by either side.
    #[default]
    Idle,
    /// Ours.
    LocalOffer,
    /// Theirs.
    RemoteOffer,
}

impl OfferAnswer {
    /// The phase after a side has sent an INVITE or UPDATE.
    pub fn after_request(has_body: bool, ours: bool) -> Self {
        match (has_body, ours) {
            (false, _) => OfferAnswer::Idle,
            (true, true) => OfferAnswer::LocalOffer,
            (true, false) => OfferAnswer::RemoteOffer,
        }
    }

    /// The phase after the 2xx to it: what was offered is answered; a 2xx with a
    /// body to an INVITE without one is the other side's offer, answered in the ACK.
    pub fn after_success(self, has_body: bool, ours: bool) -> Self {
        match self {
            OfferAnswer::Idle => OfferAnswer::after_request(has_body, ours),
            _ => OfferAnswer::Idle,
        }
    }

    /// The status that refuses an offer coming in now (RFC 3311 §5.2): 491 while
    /// ours is open, 500 with Retry-After while theirs is.
    pub fn refuses_offer(self) -> Option<u16> {
        match self {
            OfferAnswer::Idle => None,
            OfferAnswer::LocalOffer => Some(491),
            OfferAnswer::RemoteOffer => Some(500),
        }
    }
}
