//! Admission control counters, for observers.

use std::sync::{Arc, Mutex, PoisonError};

/// Counters since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AdmissionCounters {
    /// Requests with a correct password.
    pub authenticated: u64,
    /// Requests that were challenged for a password.
    pub challenged: u64,
    /// Requests with a wrong password.
    pub rejected: u64,
    /// Requests whose credentials could not be read.
    pub malformed: u64,
    /// Passwords that were not checked, after too many wrong ones.
    pub slowed: u64,
    /// Bans imposed.
    pub bans: u64,
    /// Requests from banned sources, not answered.
    pub banned: u64,
    /// Requests from unknown sources beyond their budget, not answered.
    pub ignored: u64,
    /// Calls refused because too many began in one second.
    pub over_rate: u64,
    /// Calls refused because their user had begun too many in one second.
    pub user_over_rate: u64,
    /// Calls refused because their source had begun too many in one second.
    pub source_over_rate: u64,
    /// Calls refused because their source had its maximum.
    pub source_full: u64,
    /// Calls from and to users who had their maximum.
    pub user_full: u64,
    /// Calls from and to gateways without a free channel.
    pub gateway_full: u64,
    /// Calls refused because the gateway's rate limit was exhausted for this second and the next two.
    pub gateway_over_rate: u64,
    /// Keep-alives sent to phones.
    pub keep_alives: u64,
}

/// The counters; clones share the same state.
#[derive(Debug, Clone, Default)]
pub struct Counters(Arc<Mutex<AdmissionCounters>>);

impl Counters {
    /// The counters now.
    pub fn get(&self) -> AdmissionCounters {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one to a counter.
    pub(super) fn count(&self, of: impl FnOnce(&mut AdmissionCounters) -> &mut u64) {
        *of(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner)) += 1;
    }
}
