//! What an endpoint has done and what it holds, as numbers.

/// Counters since the endpoint was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests parsed.
    pub requests_in: u64,
    /// Responses parsed.
    pub responses_in: u64,
    /// Messages handed to the driver, retransmissions included.
    pub transmitted: u64,
    /// Requests and responses sent again by a timer or by a retransmission.
    pub retransmitted: u64,
    /// Messages received again and absorbed.
    pub absorbed: u64,
    /// Messages that did not parse.
    pub malformed: u64,
    /// Responses that match no transaction.
    pub stray_responses: u64,
    /// ACKs that match nothing.
    pub stray_acks: u64,
    /// Requests that the endpoint refused by itself.
    pub refused: u64,
    /// Requests refused with 503 at a limit.
    pub overloaded: u64,
    /// Messages dropped without an answer, beyond the refusal budget.
    pub dropped: u64,
    /// Requests that the user wanted left without an answer.
    pub ignored: u64,
    /// 482 (RFC 3261 §8.2.2.2).
    pub merged: u64,
    /// 482 for a call that has been here before.
    pub looped: u64,
    /// Targets of dialogs that are none of the peer's own, followed all the same.
    pub hops_elsewhere: u64,
    /// Those that were not followed: the peer's flow was taken.
    pub hops_refused: u64,
    /// Messages we could not build from what came in.
    pub unbuildable: u64,
    /// Steps of work: machine transitions and timer entries taken. For tests
    /// that count work instead of time.
    pub steps: u64,
}

/// What an endpoint holds at the moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Client transactions (RFC 3261 §17.1).
    pub client_transactions: usize,
    /// Server transactions (RFC 3261 §17.2).
    pub server_transactions: usize,
    /// Usages, those included that only wait for stragglers.
    pub usages: usize,
    /// Subscriptions of theirs that we notify.
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
