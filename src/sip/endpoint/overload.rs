//! Refusals because of overload (RFC 3261 §21.5.4).

use std::time::Instant;

use super::{Endpoint, UsageId};
use crate::msg::{Name, Request};
use crate::outbox::ReplyPath;
use crate::transaction::shares::Held;

/// Octets that requests in one call may keep however small the limit for all is.
const LEAST_OF_CALL: usize = 1 << 16;

impl Endpoint {
    /// Whether no more server transactions are kept for this source; `reserve`: for requests in dialogs.
    pub(super) fn is_full(&self, now: Instant, path: &ReplyPath, reserve: bool) -> bool {
        let limits = &self.config.limits;
        let limit = Held { count: limits.server_transactions, octets: limits.server_bytes };
        self.servers.shares().is_full(now, path.flow.remote.ip(), limit, reserve)
    }

    /// Whether requests in this call keep as many octets as those of one call may.
    pub(super) fn is_full_of(&self, call: UsageId) -> bool {
        self.servers.shares().of_call(call) >= (self.config.limits.server_bytes / 128).max(LEAST_OF_CALL)
    }

    /// Refuses a request with 503 and Retry-After.
    pub(super) fn overloaded(&mut self, now: Instant, path: &ReplyPath, request: &Request) {
        self.out.counters.overloaded += 1;
        let wait = self.config.limits.retry_after.to_string();
        let headers = [(Name::RetryAfter, wait.as_bytes())];
        self.refuse_with(now, path, request, 503, "Service Unavailable", &headers);
    }
}
