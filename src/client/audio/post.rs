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

/// The media thread's end, with what is in use there.
pub(super) struct Desk<T> {
    arrived: Consumer<T>,
    back: Producer<T>,
    current: Option<T>,
}

/// What the media thread may use.
pub(super) trait Used {
    /// Another one is in its place.
    fn end(&self);
    /// Nobody wants it any more.
    fn is_abandoned(&self) -> bool;
}

/// A way to the media thread.
pub(super) fn post<T>() -> (Post<T>, Desk<T>) {
    let (there, arrived) = RingBuffer::new(ROOM);
    // Room for all that there can be: giving back never fails.
    let (back, used) = RingBuffer::new(ROOM + 1);
    (Post(Mutex::new(Ends { there, back: used })), Desk { arrived, back, current: None })
}

impl<T> Post<T> {
    /// Drops what has come back, and sends this; gives it back when too much is under way.
    pub fn send(&self, thing: T) -> Result<(), T> {
        let mut ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while ends.back.pop().is_ok() {}
        ends.there.push(thing).map_err(|PushError::Full(thing)| thing)
    }
}

impl<T: Used> Desk<T> {
    /// What has arrived last, until it is given back.
    pub fn current(&mut self) -> Option<&mut T> {
        while let Ok(next) = self.arrived.pop() {
            self.current.iter().for_each(T::end);
            self.give_back();
            self.current = Some(next);
        }
        if self.current.as_ref().is_some_and(T::is_abandoned) {
            self.give_back();
        }
        self.current.as_mut()
    }

    /// Hands over what is in use, to be dropped.
    pub fn give_back(&mut self) {
        if let Some(thing) = self.current.take() {
            let _ = self.back.push(thing);
        }
    }
}

impl<T> Drop for Desk<T> {
    /// What was sent and never taken would stay in the ring for as long as the program has its end:
    /// a file that is decoded, say, with its thread.
    fn drop(&mut self) {
        while self.arrived.pop().is_ok() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_never_taken_goes_with_the_call() {
        let (post, desk) = post();
        let sound = std::sync::Arc::new(());
        assert!(post.send(sound.clone()).is_ok());
        drop(desk);
        assert_eq!(std::sync::Arc::strong_count(&sound), 1);
    }

    impl Used for std::sync::Arc<()> {
        fn end(&self) {}

        fn is_abandoned(&self) -> bool {
            false
        }
    }

    #[test]
    fn all_that_arrives_comes_back_and_is_dropped_at_the_programs_side() {
        let thing = std::sync::Arc::new(());
        let (post, mut desk) = post();
        for round in 0..100 {
            for _ in 0..ROOM {
                assert!(post.send(thing.clone()).is_ok(), "round {round}");
            }
            assert!(post.send(thing.clone()).is_err());
            assert!(desk.current().is_some());
        }
        assert_eq!(std::sync::Arc::strong_count(&thing), 1 + ROOM + 1);
        assert!(post.send(thing.clone()).is_ok());
        assert_eq!(std::sync::Arc::strong_count(&thing), 1 + 2);
    }
}
