//! Refusals because of overload (RFC 3261 §21.5.4).

use std::time::Instant;

use super::Endpoint;
use super::outbox::ReplyPath;
use crate::msg::{Name, Request};

impl Endpoint {
    /// Whether server transactions have reached this many eighths of a limit, by number or by
    /// size.
    pub(super) fn is_full(&self, eighths: usize) -> bool {
        let limits = &self.config.limits;
        self.servers.count() >= limits.server_transactions + limits.server_transactions / 8 * (eighths - 8)
            || self.servers.bytes() >= limits.server_bytes / 8 * eighths
    }

    /// Refuses a request with 503 and Retry-After.
    pub(super) fn overloaded(&mut self, now: Instant, path: &ReplyPath, request: &Request) {
        self.out.counters.overloaded += 1;
        let wait = self.config.limits.retry_after.to_string();
        let headers = [(Name::RetryAfter, wait.as_bytes())];
        self.refuse_with(now, path, request, 503, "Service Unavailable", &headers);
    }
}
