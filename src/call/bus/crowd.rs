//! A large number of subscribers. Waking a thousand tasks costs the publisher a third of a millisecond, and
//! serving each event to each of them separately takes more time than there is. So the publisher wakes one
//! task, which wakes the crowd on the crowd's own runtime, and does so less often the more members there are:
//! each then finds several events at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use super::{EventBus, ResumeError, Subscriber};

/// The time between two wake-ups, per member: about three times the cost of serving one member, so that a
/// crowd of any size below a thousand takes a third of a core.
const EACH: Duration = Duration::from_micros(100);
/// Maximum time between two wake-ups.
const LONGEST: Duration = Duration::from_millis(100);

/// A crowd of subscribers; see the module documentation. Clones are the same crowd.
#[derive(Debug, Clone)]
pub struct Crowd {
    bus: EventBus,
    wake: Arc<Wake>,
}

/// The wake-up of a crowd.
#[derive(Debug, Default)]
pub(super) struct Wake {
    pub tasks: Notify,
    members: AtomicUsize,
}

/// Membership of a crowd, until it is dropped.
#[derive(Debug)]
pub(super) struct Member(Arc<Wake>);

impl Member {
    fn of(wake: &Arc<Wake>) -> Member {
        wake.members.fetch_add(1, Ordering::Relaxed);
        Member(wake.clone())
    }

    pub fn wake(&self) -> Arc<Wake> {
        self.0.clone()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.0.members.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Crowd {
    /// An empty crowd. Its subscribers receive events only while [`Crowd::run`] is polled.
    pub fn new(bus: EventBus) -> Self {
        Crowd { bus, wake: Arc::default() }
    }

    /// Subscribes to every event from now on, as [`EventBus::subscribe`].
    pub fn subscribe(&self) -> Subscriber {
        self.join(self.bus.subscribe())
    }

    /// Subscribes to every event after this number, as [`EventBus::resume`].
    ///
    /// # Errors
    /// The number is not from this run.
    pub fn resume(&self, after: u64) -> Result<Subscriber, ResumeError> {
        Ok(self.join(self.bus.resume(after)?))
    }

    fn join(&self, subscriber: Subscriber) -> Subscriber {
        Subscriber { member: Some(Member::of(&self.wake)), ..subscriber }
    }

    /// The number of members.
    pub fn members(&self) -> usize {
        self.wake.members.load(Ordering::Relaxed)
    }

    /// Wakes the crowd until the bus is closed. Run it on the runtime of the subscribers.
    pub fn run(&self) -> impl Future<Output = ()> + Send + use<> {
        let (shared, wake) = (self.bus.publisher.shared.clone(), self.wake.clone());
        let mut seen = shared.lock().next;
        async move {
            loop {
                let mut notified = std::pin::pin!(shared.tasks.notified());
                // Registered before the window is checked, as subscribers do.
                notified.as_mut().enable();
                let (next, closed) = {
                    let window = shared.lock();
                    (window.next, window.closed)
                };
                if next == seen && !closed {
                    notified.await;
                    continue;
                }
                seen = next;
                wake.tasks.notify_waiters();
                if closed {
                    return;
                }
                let pause = pause(wake.members.load(Ordering::Relaxed));
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }
}

/// The time between two wake-ups of a crowd of this size; zero below the resolution of timers.
fn pause(members: usize) -> Duration {
    let pause = EACH.saturating_mul(u32::try_from(members).unwrap_or(u32::MAX)).min(LONGEST);
    if pause < Duration::from_millis(1) { Duration::ZERO } else { pause }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::bus::Received;
    use crate::event::Event;

    fn publish(bus: &EventBus, calls: usize) -> u64 {
        bus.publish(UNIX_EPOCH, Event::Draining { calls })
    }

    async fn next(subscriber: &mut Subscriber) -> Option<u64> {
        match subscriber.recv().await? {
            Received::Event(event) => Some(event.seq),
            Received::Lagged(lost) => panic!("{lost} lost"),
        }
    }

    #[tokio::test]
    async fn everybody_in_a_crowd_hears_everything_and_the_end() {
        let bus = EventBus::new(1_024, 0);
        let crowd = Crowd::new(bus.clone());
        let run = tokio::spawn(crowd.run());
        let listening: Vec<_> = (0..50)
            .map(|_| {
                let mut subscriber = crowd.subscribe();
                tokio::spawn(async move {
                    let mut heard = Vec::new();
                    while let Some(seq) = next(&mut subscriber).await {
                        heard.push(seq);
                    }
                    heard
                })
            })
            .collect();
        for n in 0..100 {
            publish(&bus, n);
            tokio::time::sleep(Duration::from_micros(700)).await;
        }
        assert_eq!(crowd.members(), 50);
        drop((bus, crowd));
        for heard in listening {
            let heard = tokio::time::timeout(Duration::from_secs(30), heard).await;
            assert_eq!(heard.expect("everybody is woken").unwrap(), (0..100).collect::<Vec<_>>());
        }
        run.await.unwrap();
    }

    #[test]
    fn the_more_there_are_the_seldomer_they_are_woken() {
        assert_eq!([0, 9].map(pause), [Duration::ZERO; 2], "a few are woken at once");
        assert_eq!(pause(500), Duration::from_millis(50));
        assert_eq!(pause(usize::MAX), LONGEST);
    }

    #[tokio::test]
    async fn a_member_goes_on_from_a_number() {
        let bus = EventBus::new(4, 100);
        let crowd = Crowd::new(bus.clone());
        let after = publish(&bus, 1);
        publish(&bus, 2);
        let mut subscriber = crowd.resume(after).unwrap();
        assert_eq!(next(&mut subscriber).await, Some(101));
        assert!(crowd.resume(500).is_err());
        assert_eq!(crowd.members(), 1);
        drop(subscriber);
        assert_eq!(crowd.members(), 0);
    }
}
