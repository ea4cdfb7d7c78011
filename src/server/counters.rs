//! What admission control counted, for whoever observes.

use std::sync::{Arc, Mutex, PoisonError};

/// Counters since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AdmissionCounters {
    /// Requests with a right password.
    pub authenticated: u64,
    /// Requests that were asked for a password.
    pub challenged: u64,
    /// Requests with a wrong password.
    pub rejected: u64,
    /// Requests whose credentials could not be read.
    pub malformed: u64,
    /// Passwords that were not looked at, after too many wrong ones.
    pub slowed: u64,
    /// Bans that began.
    pub bans: u64,
    /// Requests of banned sources, not answered.
    pub banned: u64,
    /// Requests of strangers beyond their budget, not answered.
    pub ignored: u64,
    /// Calls refused because there were too many in a second.
    pub over_rate: u64,
    /// Calls refused because their user had begun too many in a second.
    pub user_over_rate: u64,
    /// The same by source.
    pub source_over_rate: u64,
    /// Calls refused because their source had enough.
    pub source_full: u64,
    /// Calls from and to users who had enough.
    pub user_full: u64,
    /// Calls from and to gateways without a free channel.
    pub gateway_full: u64,
    /// Calls to gateways that take no more in this second, nor in the next two.
    pub gateway_over_rate: u64,
    /// Keep-alives sent to phones.
    pub keep_alives: u64,
}

/// The counters; clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Counters(Arc<Mutex<AdmissionCounters>>);

impl Counters {
    /// The counters now.
    pub fn get(&self) -> AdmissionCounters {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts.
    pub(super) fn count(&self, of: impl FnOnce(&mut AdmissionCounters) -> &mut u64) {
        *of(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner)) += 1;
    }
}
