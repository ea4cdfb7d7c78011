//! The offer/answer state of a dialog (RFC 3261 §13.2.1, RFC 3311 §5.2). A session
//! description in an INVITE, or in the 2xx to an INVITE without one, is the offer.

/// The side whose offer is pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub enum OfferAnswer {
    /// No offer is pending: either side may make one.
    #[default]
    Idle,
    /// Our offer.
    LocalOffer,
    /// The peer's offer.
    RemoteOffer,
}

impl OfferAnswer {
    /// The state after an INVITE or UPDATE.
    pub fn after_request(has_session: bool, ours: bool) -> Self {
        match (has_session, ours) {
            (false, _) => OfferAnswer::Idle,
            (true, true) => OfferAnswer::LocalOffer,
            (true, false) => OfferAnswer::RemoteOffer,
        }
    }

    /// The state after its 2xx: a pending offer is answered. A 2xx with a session to an INVITE
    /// without one is the offer, to be answered in the ACK.
    pub fn after_success(self, has_session: bool, ours: bool) -> Self {
        match self {
            OfferAnswer::Idle => OfferAnswer::after_request(has_session, ours),
            _ => OfferAnswer::Idle,
        }
    }

    /// The status that refuses an offer received now (RFC 3311 §5.2): 491 while our offer is
    /// pending, 500 with Retry-After while the peer's is.
    pub fn refuses_offer(self) -> Option<u16> {
        match self {
            OfferAnswer::Idle => None,
            OfferAnswer::LocalOffer => Some(491),
            OfferAnswer::RemoteOffer => Some(500),
        }
    }
}
