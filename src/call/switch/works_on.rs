//! What a turn works on is written down, for the process after one that it has brought down.

use std::net::IpAddr;

use bytes::Bytes;

use crate::CallId;
use b2b_base::stepping::Stepping;
use b2b_sip::net::tap::{Direction, Seen};

/// Writes down what a turn works on.
#[derive(Default)]
pub(crate) struct WorksOn {
    /// `None`: nowhere.
    pub stepping: Option<Stepping>,
    /// The latest messages, which events are of, and the calls of them.
    came: Vec<(Option<CallId>, IpAddr, Bytes)>,
    /// There has been a turn after the latest of them.
    are_old: bool,
    /// The turn handles an event of the endpoint.
    of_event: bool,
    /// The call that is written down.
    call: Option<CallId>,
}

impl WorksOn {
    /// A message has come, of this call.
    pub fn message(&mut self, seen: &Seen, call: Option<CallId>) {
        if let Some(stepping) = &self.stepping
            && seen.direction == Direction::Received
        {
            if std::mem::take(&mut self.are_old) {
                self.came.clear();
            }
            let source = seen.flow.remote.ip();
            stepping.message(source, &seen.data);
            call.iter().for_each(|call| stepping.call(call.0));
            self.came.push((call, source, seen.data.clone()));
        }
    }

    /// An event of the endpoint is handled, with its message if it belongs to no call yet.
    pub fn event(&mut self, message: Option<(IpAddr, &[u8])>) {
        self.of_event = true;
        if let Some((stepping, (source, message))) = self.stepping.as_ref().zip(message) {
            stepping.message(source, message);
        }
    }

    /// A call takes a step.
    pub fn call(&mut self, call: CallId) {
        if let Some(stepping) = &self.stepping
            && self.call.replace(call) != Some(call)
        {
            let of_call = |it: &&(Option<CallId>, IpAddr, Bytes)| it.0 == Some(call);
            if self.of_event
                && let Some((_, source, message)) = self.came.iter().rfind(of_call)
            {
                stepping.message(*source, message);
            }
            stepping.call(call.0);
        }
    }

    /// The turn is over.
    pub fn over(&mut self) {
        (self.are_old, self.of_event, self.call) = (true, false, None);
        if let Some(stepping) = &self.stepping {
            stepping.over();
        }
    }

    /// The turn has panicked.
    pub fn broke(&self) {
        if let Some(stepping) = &self.stepping {
            stepping.broke();
        }
    }
}
