//! Numbers of what an endpoint holds.

/// An INVITE usage: one call leg from its INVITE to its terminal event. Ids are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct UsageId {
    // First, so that ids sort in order of creation.
    pub(crate) generation: u32,
    pub(crate) slot: u32,
}

/// A request that waits for [`crate::endpoint::Endpoint::respond`]. Ids are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct ServerTransactionId {
    // First, so that ids sort in order of creation.
    pub(crate) generation: u32,
    pub(crate) slot: u32,
}

impl ServerTransactionId {
    /// The id of a request that is over.
    pub(crate) const NOBODYS: Self = ServerTransactionId { generation: 0, slot: u32::MAX };

    /// An id that no endpoint has issued, for tests.
    #[doc(hidden)]
    pub fn of_nobody() -> Self {
        ServerTransactionId { slot: 1, generation: 1 }
    }
}

/// A request of ours other than INVITE, BYE and UPDATE. Ids are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct RequestId(pub(crate) u64);

/// A REFER, sent or received. Ids are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct ReferId(pub(crate) u64);

/// Matches an [`Output::Connect`](crate::outbox::Output::Connect) with its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectId(pub u64);

/// Matches an [`Output::Resolve`](crate::outbox::Output::Resolve) with its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResolveId(pub u64);
