//! Where calls are written at the end of each turn in which they have changed, for the process after this one.

use crate::CallId;
use crate::controller::EndpointId;

/// Where calls are written for the process after this one.
pub trait CallStore: Send {
    /// Writes a call as it is after a turn, whose messages leave when this returns; `None`: it is over, or cannot be
    /// written.
    fn keep(&mut self, call: CallId, written: Option<WrittenCall>);
}

/// A store, and the calls that have changed in this turn.
pub(crate) struct Kept {
    pub store: Box<dyn CallStore>,
    pub changed: Vec<CallId>,
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

/// A call that can go on in another process.
pub struct WrittenCall {
    /// As of [`Switch::write_call`](crate::switch::Switch::write_call).
    pub octets: Vec<u8>,
    /// The media endpoints that it needs there.
    pub endpoints: Vec<EndpointId>,
}
