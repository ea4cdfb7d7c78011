//! Numbers of what an endpoint holds.

/// An INVITE usage: one call leg from its INVITE to its terminal event. Ids are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(from = "written::UsageId")]
pub struct UsageId {
    // First, so that ids sort in order of creation.
    pub(crate) generation: u32,
    pub(crate) slot: u32,
}

impl UsageId {
    /// The id of a usage that is over.
    pub(crate) const NOBODYS: Self = UsageId { generation: 0, slot: u32::MAX };
}

/// A request that waits for [`crate::endpoint::Endpoint::respond`]. Ids are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(from = "written::ServerTransactionId")]
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
        Self::NOBODYS
    }
}

/// A request of ours other than INVITE, BYE and UPDATE. Ids are never reused, nor given by two endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct RequestId(pub(crate) u64);

/// A REFER, sent or received. Ids are never reused, nor given by two endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct ReferId(pub(crate) u64);

/// Matches an [`Output::Connect`](crate::outbox::Output::Connect) with its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectId(pub u64);

/// Matches an [`Output::Resolve`](crate::outbox::Output::Resolve) with its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResolveId(pub u64);

/// Ids in written values. What refers to a usage that another endpoint has taken in is read within
/// [`renamed`](written::renamed), which gives it the ids there, or that of nobody if it is over.
pub mod written {
    use std::cell::RefCell;
    use std::collections::HashMap;

    use serde::Deserialize;

    /// Old ids and new ones.
    #[derive(Debug, Default)]
    pub struct Names {
        /// Of usages.
        pub usages: HashMap<super::UsageId, super::UsageId>,
        /// Of requests of their peers.
        pub requests: HashMap<super::ServerTransactionId, super::ServerTransactionId>,
    }

    thread_local! {
        static NAMES: RefCell<Option<Names>> = const { RefCell::new(None) };
    }

    /// Reads values with these names.
    pub fn renamed<T>(names: Names, read: impl FnOnce() -> T) -> T {
        let before = NAMES.replace(Some(names));
        let done = read();
        NAMES.set(before);
        done
    }

    #[derive(Deserialize)]
    pub(super) struct UsageId {
        generation: u32,
        slot: u32,
    }

    impl From<UsageId> for super::UsageId {
        fn from(UsageId { generation, slot }: UsageId) -> Self {
            let old = super::UsageId { generation, slot };
            let new = |names: &Names| names.usages.get(&old).copied().unwrap_or(super::UsageId::NOBODYS);
            NAMES.with_borrow(|names| names.as_ref().map_or(old, new))
        }
    }

    #[derive(Deserialize)]
    pub(super) struct ServerTransactionId {
        generation: u32,
        slot: u32,
    }

    impl From<ServerTransactionId> for super::ServerTransactionId {
        fn from(ServerTransactionId { generation, slot }: ServerTransactionId) -> Self {
            let old = super::ServerTransactionId { generation, slot };
            let nobodys = super::ServerTransactionId::NOBODYS;
            let new = |names: &Names| names.requests.get(&old).copied().unwrap_or(nobodys);
            NAMES.with_borrow(|names| names.as_ref().map_or(old, new))
        }
    }
}
