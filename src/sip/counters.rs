//! Counters of an endpoint, and the numbers of entries it holds.

/// Counters since the endpoint was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests parsed.
    pub requests_in: u64,
    /// Responses parsed.
    pub responses_in: u64,
    /// Messages given to the driver, retransmissions included.
    pub transmitted: u64,
    /// Requests and responses resent because of a timer or a retransmission.
    pub retransmitted: u64,
    /// Retransmissions received and absorbed.
    pub absorbed: u64,
    /// Messages that did not parse.
    pub malformed: u64,
    /// Responses that match no transaction.
    pub stray_responses: u64,
    /// ACKs that match nothing.
    pub stray_acks: u64,
    /// Requests that the endpoint itself refused.
    pub refused: u64,
    /// Requests refused with 503 because of a limit.
    pub overloaded: u64,
    /// Messages dropped without a response because the refusal budget was used up.
    pub dropped: u64,
    /// Requests that the user chose to leave unanswered.
    pub ignored: u64,
    /// Merged requests refused with 482 (RFC 3261 §8.2.2.2).
    pub merged: u64,
    /// Looped calls refused with 482.
    pub looped: u64,
    /// Dialog targets outside the peer's own addresses that were followed.
    pub hops_elsewhere: u64,
    /// Such targets that were not followed; the peer's flow was used instead.
    pub hops_refused: u64,
    /// Messages that could not be built from what was received.
    pub unbuildable: u64,
    /// Units of work: state transitions and timer entries processed. For tests that measure
    /// work instead of time.
    pub steps: u64,
}

/// The numbers of entries that an endpoint holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Client transactions (RFC 3261 §17.1).
    pub client_transactions: usize,
    /// Server transactions (RFC 3261 §17.2).
    pub server_transactions: usize,
    /// Usages, including those that only wait for late messages.
    pub usages: usize,
    /// Subscriptions in which we are the notifier.
    pub subscriptions: usize,
    /// Entries in timer queues.
    pub timer_entries: usize,
    /// Requests and responses that wait for a connection or a lookup.
    pub waiting: usize,
    /// Entries in lookup maps.
    pub map_entries: usize,
    /// Slots allocated in slabs, used or not.
    pub slab_capacity: usize,
}
