//! Passes objects from a program to the media thread, and back through another ring to be dropped where that
//! may take time. The media thread neither locks nor waits.

use std::sync::{Mutex, PoisonError};

use rtrb::{Consumer, Producer, PushError, RingBuffer};

/// Maximum number of objects in transit.
pub(super) const ROOM: usize = 8;

/// The program's end.
pub(super) struct Post<T>(Mutex<Ends<T>>);

struct Ends<T> {
    there: Producer<T>,
    back: Consumer<T>,
}

/// The media thread's end, with the object in use.
pub(super) struct Desk<T> {
    arrived: Consumer<T>,
    back: Producer<T>,
    current: Option<T>,
}

/// An object that the media thread uses.
pub(super) trait Used {
    /// Called when another object replaces it.
    fn end(&self);
    /// Whether the program no longer needs it.
    fn is_abandoned(&self) -> bool;
}

/// Creates a channel to the media thread.
pub(super) fn post<T>() -> (Post<T>, Desk<T>) {
    let (there, arrived) = RingBuffer::new(ROOM);
    // Room for every object that can exist, so returning one never fails.
    let (back, used) = RingBuffer::new(ROOM + 1);
    (Post(Mutex::new(Ends { there, back: used })), Desk { arrived, back, current: None })
}

impl<T> Post<T> {
    /// Drops the returned objects and sends this one; returns it if too many are in transit.
    pub fn send(&self, thing: T) -> Result<(), T> {
        let mut ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while ends.back.pop().is_ok() {}
        ends.there.push(thing).map_err(|PushError::Full(thing)| thing)
    }
}

impl<T: Used> Desk<T> {
    /// The latest object, until it is returned.
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

    /// Returns the object in use, to be dropped by the program's side.
    pub fn give_back(&mut self) {
        if let Some(thing) = self.current.take() {
            let _ = self.back.push(thing);
        }
    }
}

impl<T> Drop for Desk<T> {
    /// Drops objects that never were taken. They would otherwise stay in the ring for as long as the program
    /// keeps its end, such as a file being decoded with its thread.
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
