//! Calls are written at the end of each turn in which they have changed, for the process after this one.

use std::time::Instant;

use crate::CallId;
use crate::controller::EndpointId;
use crate::switch::Switch;
use crate::switch::export::NotWritten;
use crate::switch::turn::Turn;
use b2b_sip::endpoint::Endpoint;

/// Where calls are written for the process after this one.
pub trait CallStore: Send {
    /// Writes a call as it is after a turn, whose messages leave when this returns; `None`: it is over, or cannot be
    /// written.
    fn keep(&mut self, call: CallId, written: Option<WrittenCall>);
}

/// A store, and the calls that have changed in this turn.
pub(crate) struct Kept {
    store: Box<dyn CallStore>,
    changed: Vec<CallId>,
}

impl Kept {
    pub fn new(store: Box<dyn CallStore>) -> Self {
        Kept { store, changed: Vec::new() }
    }

    /// A call changes in this turn.
    pub fn changes(&mut self, call: CallId) {
        if !self.changed.contains(&call) {
            self.changed.push(call);
        }
    }
}

/// Writes the calls that have changed in this turn.
pub(crate) fn keep(switch: &mut Switch, t: &Turn<'_>) {
    let Some(mut kept) = switch.common.kept.take() else { return };
    for call in kept.changed.drain(..) {
        let written = WrittenCall::of(switch, t.now, t.sip, call).unwrap_or_else(|error| {
            tracing::warn!("call {} would not outlive this process: {error}", call.0);
            None
        });
        kept.store.keep(call, written);
    }
    switch.common.kept = Some(kept);
}

/// A call that can go on in another process.
pub struct WrittenCall {
    /// As of [`Switch::write_call`].
    pub octets: Vec<u8>,
    /// The media endpoints that it needs there.
    pub endpoints: Vec<EndpointId>,
}

impl WrittenCall {
    /// A call as it is now; `None`: it is over.
    ///
    /// # Errors
    /// A value cannot be written.
    pub fn of(
        switch: &Switch,
        now: Instant,
        sip: &Endpoint,
        call: CallId,
    ) -> Result<Option<WrittenCall>, NotWritten> {
        let Some(it) = switch.calls.get(call) else { return Ok(None) };
        let endpoints = it.legs.iter().filter_map(|(_, leg)| leg.media.endpoint).collect();
        Ok(Some(WrittenCall { octets: switch.write_call(now, sip, call)?, endpoints }))
    }
}
