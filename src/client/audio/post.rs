//! Things that a program hands to the media thread, and that come back by another ring, to be
//! dropped where that may take time. Neither side of the media thread locks or waits.

use std::sync::{Mutex, PoisonError};

use rtrb::{Consumer, Producer, PushError, RingBuffer};

/// What may be under way at once.
pub(super) const ROOM: usize = 8;

/// The program's end.
pub(super) struct Post<T>(Mutex<Ends<T>>);

struct Ends<T> {
    there: Producer<T>,
    back: Consumer<T>,
}

/// The media thread's end.
pub(super) struct Desk<T> {
    arrived: Consumer<T>,
    back: Producer<T>,
}

/// A way to the media thread, which holds at most `held` of what has arrived.
pub(super) fn post<T>(held: usize) -> (Post<T>, Desk<T>) {
    let (there, arrived) = RingBuffer::new(ROOM);
    // Room for all that there can be: giving back never fails.
    let (back, used) = RingBuffer::new(ROOM + held);
    (Post(Mutex::new(Ends { there, back: used })), Desk { arrived, back })
}

impl<T> Post<T> {
    /// Drops what has come back, and sends this; gives it back when too much is under way.
    pub fn send(&self, thing: T) -> Result<(), T> {
        let mut ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while ends.back.pop().is_ok() {}
        ends.there.push(thing).map_err(|PushError::Full(thing)| thing)
    }
}

impl<T> Desk<T> {
    /// What has arrived next.
    pub fn take(&mut self) -> Option<T> {
        self.arrived.pop().ok()
    }

    /// Hands over what is to be dropped.
    pub fn give_back(&mut self, thing: Option<T>) {
        if let Some(thing) = thing {
            let _ = self.back.push(thing);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_arrives_comes_back_and_is_dropped_at_the_programs_side() {
        let thing = std::sync::Arc::new(());
        let (post, mut desk) = post(1);
        let mut held = None;
        for round in 0..100 {
            for _ in 0..ROOM {
                assert!(post.send(thing.clone()).is_ok(), "round {round}");
            }
            assert!(post.send(thing.clone()).is_err());
            while let Some(next) = desk.take() {
                desk.give_back(held.replace(next));
            }
        }
        assert_eq!(std::sync::Arc::strong_count(&thing), 1 + ROOM + 1);
        assert!(post.send(thing.clone()).is_ok());
        assert_eq!(std::sync::Arc::strong_count(&thing), 1 + 2);
    }
}
