//! What a turn works on is written down, for the process after one that it has brought down.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::CallId;
use b2b_base::stepping::Stepping;
use b2b_sip::net::tap::{Direction, Seen};

/// An event so long after a message is not of it.
const FRESH: Duration = Duration::from_secs(1);

/// A message that has come.
struct Came {
    at: Instant,
    call: Option<CallId>,
    source: IpAddr,
    message: Bytes,
}

/// Writes down what a turn works on.
#[derive(Default)]
pub(crate) struct WorksOn {
    /// `None`: nowhere.
    pub stepping: Option<Stepping>,
    /// The latest messages, which events are of.
    came: Vec<Came>,
    /// There has been a turn after the latest of them.
    are_old: bool,
    /// The turn handles an event of the endpoint.
    of_event: bool,
    /// The message that is written down is that of the event.
    has_message: bool,
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
            self.came.push(Came { at: seen.at, call, source, message: seen.data.clone() });
        }
    }

    /// An event of the endpoint is handled, with its message if it belongs to no call yet.
    pub fn event(&mut self, now: Instant, message: Option<(IpAddr, &[u8])>) {
        self.came.retain(|it| it.at + FRESH > now);
        (self.of_event, self.has_message) = (true, message.is_some());
        if let Some((stepping, (source, message))) = self.stepping.as_ref().zip(message) {
            stepping.message(source, message);
        }
    }

    /// A call takes a step.
    pub fn call(&mut self, call: CallId) {
        if let Some(stepping) = &self.stepping
            && self.call.replace(call) != Some(call)
        {
            let of_call = self.came.iter().rfind(|it| it.call == Some(call));
            match of_call.filter(|_| self.of_event && !self.has_message) {
                Some(Came { source, message, .. }) => {
                    stepping.message(*source, message);
                    self.has_message = true;
                }
                None if self.has_message => {}
                // A message that has caused no event, an ACK perhaps, has nothing to do with this step.
                None => stepping.over(),
            }
            stepping.call(call.0);
        }
    }

    /// The turn is over.
    pub fn over(&mut self) {
        (self.are_old, self.of_event, self.has_message, self.call) = (true, false, false, None);
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;

    use b2b_base::stepping::{Left, Outlives, WORDS};
    use b2b_sip::flow::{Flow, FlowId};
    use b2b_sip::msg::Transport;

    use super::*;

    struct Memory(Vec<AtomicU64>);

    impl Outlives for Memory {
        fn words(&self) -> &[AtomicU64] {
            &self.0
        }
    }

    fn working() -> (WorksOn, Stepping) {
        let stepping = Stepping::new(Arc::new(Memory((0..WORDS).map(|_| AtomicU64::new(0)).collect())));
        (WorksOn { stepping: Some(stepping.clone()), ..WorksOn::default() }, stepping)
    }

    fn seen(data: &'static [u8]) -> Seen {
        let remote = "192.0.2.1:5060".parse().expect("an address");
        let local = "192.0.2.2:5060".parse().expect("an address");
        Seen {
            at: Instant::now(),
            direction: Direction::Received,
            flow: Flow { transport: Transport::Udp, local, remote, id: FlowId(1) },
            data: Bytes::from_static(data),
        }
    }

    #[test]
    fn a_message_without_an_event_is_not_blamed_for_a_timer_of_another_call() {
        let (mut works_on, stepping) = working();
        works_on.message(&seen(b"ACK"), Some(CallId(1)));
        works_on.call(CallId(2));
        assert_eq!(stepping.take_left(), Some(Left { broken: false, call: Some(2), message: None }));
        works_on.over();
        // Nor for an event of its own call that is none of its own.
        works_on.event(Instant::now() + FRESH, None);
        works_on.call(CallId(1));
        assert_eq!(stepping.take_left(), Some(Left { broken: false, call: Some(1), message: None }));
    }

    #[test]
    fn the_message_of_an_event_is_blamed_for_all_calls_that_step_because_of_it() {
        let (mut works_on, stepping) = working();
        works_on.message(&seen(b"INFO"), Some(CallId(1)));
        works_on.message(&seen(b"ACK"), Some(CallId(2)));
        works_on.event(Instant::now(), None);
        works_on.call(CallId(1));
        works_on.call(CallId(2));
        let left = stepping.take_left().expect("it works on something");
        assert_eq!((left.call, left.message.map(|(_, message)| message)), (Some(2), Some(b"INFO".to_vec())));
    }
}
