//! The event bus: a bounded window of the latest events that any number of subscribers read, each at its own
//! pace.
//!
//! A subscriber is only a position in the window, so publishing costs the same for one subscriber as for a
//! hundred: an allocation for the event, a push, and a wake-up of the waiting subscribers. Publishing never
//! waits for a reader. A subscriber that falls behind by more than the window loses its oldest unread events
//! and is told how many. `tokio::sync::broadcast` behaves the same, but cannot resume from a sequence number,
//! which a client needs after its connection broke.
//!
//! `crowd`: a large number of subscribers, of which the publisher wakes only one task.

mod crowd;

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;

use super::event::{Event, EventFilter, Published};
pub use crowd::Crowd;
use crowd::Member;

/// Maximum number of events that are skipped while the window is locked.
const SKIPPED: usize = 256;

/// Publishes events; clones publish to the same bus. When the last clone is dropped, subscribers read the
/// remaining events and then the end.
#[derive(Debug, Clone)]
pub struct EventBus {
    publisher: Arc<Publisher>,
}

#[derive(Debug)]
struct Publisher {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    window: Mutex<Window>,
    /// Wakes subscribers that wait in a task.
    tasks: Notify,
    /// Wakes subscribers that wait in a thread.
    threads: Condvar,
}

#[derive(Debug)]
struct Window {
    events: VecDeque<Arc<Published>>,
    capacity: usize,
    /// Sequence number of the first event of this process.
    first: u64,
    /// Sequence number of the next event.
    next: u64,
    waiting_threads: usize,
    closed: bool,
}

impl Window {
    /// Sequence number of the oldest event in the window.
    fn oldest(&self) -> u64 {
        self.next - self.events.len() as u64
    }
}

/// A result of reading the bus.
#[derive(Debug, Clone, PartialEq)]
pub enum Received {
    /// The next event.
    Event(Arc<Published>),
    /// This many events were lost, because the subscriber was too slow. The oldest remaining event follows.
    Lagged(u64),
}

/// The reason why a subscription cannot resume from a sequence number. Subscribe again, and read the current
/// state once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResumeError {
    /// The number is below the first one of this process.
    #[error("event {after} is from an earlier run, this run began with {first}; subscribe again")]
    EarlierRun {
        /// The requested number.
        after: u64,
        /// Number of the first event of this process.
        first: u64,
    },
    /// The number is above the latest one.
    #[error("event {after} is not published yet, the latest is {latest}; subscribe again")]
    Future {
        /// The requested number.
        after: u64,
        /// Number of the latest event.
        latest: u64,
    },
}

/// No event arrived before the timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no event before the timeout; try again")]
pub struct TimedOut;

impl EventBus {
    /// A bus that keeps the latest `capacity` events (at least one). Its first event gets the number `first_seq`: with
    /// the start of the process in µs since 1970, numbers increase over restarts, and [`EventBus::resume`] knows runs.
    pub fn new(capacity: usize, first_seq: u64) -> Self {
        let capacity = capacity.max(1);
        let window = Window {
            events: VecDeque::with_capacity(capacity),
            capacity,
            first: first_seq,
            next: first_seq,
            waiting_threads: 0,
            closed: false,
        };
        let shared = Shared { window: Mutex::new(window), tasks: Notify::new(), threads: Condvar::new() };
        EventBus { publisher: Arc::new(Publisher { shared: Arc::new(shared) }) }
    }

    /// Publishes an event that happened at `time`; returns its sequence number.
    pub fn publish(&self, time: SystemTime, event: Event) -> u64 {
        let shared = &self.publisher.shared;
        // The event is allocated, and the one it displaces is freed, outside the lock.
        let mut published = Arc::new(Published::new(time, event));
        let mut window = shared.lock();
        let seq = window.next;
        if let Some(published) = Arc::get_mut(&mut published) {
            published.seq = seq;
        }
        let oldest = if window.events.len() == window.capacity { window.events.pop_front() } else { None };
        window.events.push_back(published);
        window.next += 1;
        let wake_threads = window.waiting_threads > 0;
        drop(window);
        drop(oldest);
        shared.tasks.notify_waiters();
        if wake_threads {
            shared.threads.notify_all();
        }
        seq
    }

    /// Subscribes to every event from now on.
    pub fn subscribe(&self) -> Subscriber {
        let next = self.publisher.shared.lock().next;
        self.subscriber(next)
    }

    /// Subscribes to the events from now on that pass this filter. Others count as lost if the subscriber is too slow.
    pub fn subscribe_to(&self, filter: EventFilter) -> Subscriber {
        self.subscribe().only(filter)
    }

    /// Subscribes to every event after this sequence number. Events that have left the window since are
    /// reported as [`Received::Lagged`].
    ///
    /// # Errors
    /// The number is not from this run.
    pub fn resume(&self, after: u64) -> Result<Subscriber, ResumeError> {
        let window = self.publisher.shared.lock();
        let (first, next) = (window.first, window.next);
        drop(window);
        match after.checked_add(1) {
            Some(from) if from < first => Err(ResumeError::EarlierRun { after, first }),
            Some(from) if from <= next => Ok(self.subscriber(from)),
            _ => Err(ResumeError::Future { after, latest: next.saturating_sub(1) }),
        }
    }

    /// Ends the bus: subscribers get what is left, and then its end.
    pub fn close(&self) {
        self.publisher.shared.close();
    }

    fn subscriber(&self, next: u64) -> Subscriber {
        Subscriber { shared: self.publisher.shared.clone(), next, lost: 0, member: None, filter: None }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Shared {
    fn close(&self) {
        self.lock().closed = true;
        self.tasks.notify_waiters();
        self.threads.notify_all();
    }

    /// No code panics while it holds the lock; even if it were poisoned, the window would be consistent.
    fn lock(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reader of the bus, in a task or in a thread.
#[derive(Debug)]
pub struct Subscriber {
    shared: Arc<Shared>,
    next: u64,
    lost: u64,
    /// Its membership of a crowd, which wakes it.
    member: Option<Member>,
    /// The filter; `None` for every event.
    filter: Option<Box<EventFilter>>,
}

impl Subscriber {
    /// Restricts the subscription to events that pass this filter.
    #[must_use]
    pub fn only(mut self, filter: EventFilter) -> Self {
        self.filter = Some(Box::new(filter)).filter(|filter| **filter != EventFilter::all());
        self
    }

    /// Waits for the next event. `None` once the bus is closed and every event is read. Nothing is lost when
    /// the future is dropped.
    pub async fn recv(&mut self) -> Option<Received> {
        let (shared, wake) = (self.shared.clone(), self.member.as_ref().map(Member::wake));
        let tasks = wake.as_ref().map_or(&shared.tasks, |wake| &wake.tasks);
        loop {
            let mut notified = std::pin::pin!(tasks.notified());
            // Registered before the window is checked, so an event published later wakes this task.
            notified.as_mut().enable();
            let taken = self.take(&shared.lock());
            match taken {
                Taken::Nothing => notified.await,
                // The lock is released between batches, so others may publish.
                Taken::Skipped => {}
                Taken::Closed => return None,
                Taken::Received(received) => return Some(received),
            }
        }
    }

    /// Blocks this thread until the next event, at most for `patience`. `Ok(None)`: the bus is closed and all is read.
    ///
    /// # Errors
    /// No event arrived in time.
    pub fn recv_blocking(&mut self, patience: Duration) -> Result<Option<Received>, TimedOut> {
        let shared = self.shared.clone();
        let mut window = shared.lock();
        window.waiting_threads += 1;
        let empty = |window: &mut Window| {
            self.pass_over(window);
            window.next == self.next && !window.closed
        };
        let waited = shared.threads.wait_timeout_while(window, patience, empty);
        let (mut window, _) = waited.unwrap_or_else(PoisonError::into_inner);
        window.waiting_threads -= 1;
        match self.take(&window) {
            Taken::Nothing | Taken::Skipped => Err(TimedOut),
            Taken::Closed => Ok(None),
            Taken::Received(received) => Ok(Some(received)),
        }
    }

    /// Skips the next events that the filter rejects.
    fn pass_over(&mut self, window: &Window) {
        let Some(filter) = &self.filter else { return };
        let oldest = window.oldest();
        let next = |at: u64| window.events.get(at.checked_sub(oldest)? as usize);
        while next(self.next).is_some_and(|event| !filter.has(&event.event)) {
            self.next += 1;
        }
    }

    /// The next event, if there is one already.
    pub fn try_recv(&mut self) -> Option<Received> {
        let shared = self.shared.clone();
        loop {
            match self.take(&shared.lock()) {
                Taken::Received(received) => return Some(received),
                Taken::Skipped => {}
                Taken::Nothing | Taken::Closed => return None,
            }
        }
    }

    /// The number of events that this subscriber has lost so far.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    fn take(&mut self, window: &Window) -> Taken {
        let oldest = window.oldest();
        if self.next < oldest {
            let lost = oldest - self.next;
            self.next = oldest;
            self.lost += lost;
            return Taken::Received(Received::Lagged(lost));
        }
        let mut skipped = 0;
        while let Some(event) = window.events.get((self.next - oldest) as usize) {
            self.next += 1;
            if self.filter.as_ref().is_none_or(|filter| filter.has(&event.event)) {
                return Taken::Received(Received::Event(event.clone()));
            }
            skipped += 1;
            if skipped == SKIPPED {
                return Taken::Skipped;
            }
        }
        match window.closed {
            true => Taken::Closed,
            false if skipped > 0 => Taken::Skipped,
            false => Taken::Nothing,
        }
    }
}

enum Taken {
    Received(Received),
    /// Only events that the filter rejects, so far.
    Skipped,
    Nothing,
    Closed,
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn publish(bus: &EventBus, calls: usize) -> u64 {
        bus.publish(UNIX_EPOCH, Event::Draining { calls })
    }

    /// Everything available now: the numbers of `Draining` events, losses as negative numbers.
    fn read(subscriber: &mut Subscriber) -> Vec<i64> {
        std::iter::from_fn(|| subscriber.try_recv()).map(number).collect()
    }

    fn number(received: Received) -> i64 {
        match received {
            Received::Lagged(lost) => -(lost as i64),
            Received::Event(published) => match published.event {
                Event::Draining { calls } => calls as i64,
                _ => panic!("not ours"),
            },
        }
    }

    #[test]
    fn everybody_gets_everything_in_order_from_when_they_came() {
        let bus = EventBus::new(8, 100);
        let mut early = bus.subscribe();
        assert_eq!((publish(&bus, 1), publish(&bus, 2)), (100, 101));
        let mut late = bus.subscribe();
        publish(&bus, 3);
        assert_eq!(read(&mut early), [1, 2, 3]);
        assert_eq!(read(&mut late), [3]);
        assert_eq!(early.lost(), 0);
    }

    #[test]
    fn a_slow_subscriber_loses_its_oldest_and_only_it() {
        let bus = EventBus::new(4, 0);
        let (mut slow, mut quick) = (bus.subscribe(), bus.subscribe());
        for n in 0..10 {
            publish(&bus, n);
            assert_eq!(read(&mut quick), [n as i64]);
        }
        assert_eq!(read(&mut slow), [-6, 6, 7, 8, 9]);
        assert_eq!((slow.lost(), quick.lost()), (6, 0));
    }

    #[test]
    fn a_subscriber_to_a_type_hears_nothing_else_in_a_task_in_a_thread_and_at_once() {
        let bus = EventBus::new(2_048, 0);
        let only = || EventFilter::all().of_types("draining").unwrap();
        let [mut at_once, mut in_task, mut in_thread] = [(); 3].map(|()| bus.subscribe_to(only()));
        let thread = std::thread::spawn(move || {
            let first = in_thread.recv_blocking(LONG).map(|got| got.map(number));
            (first, in_thread.recv_blocking(Duration::ZERO).map(|got| got.map(number)))
        });
        for _ in 0..SKIPPED * 3 {
            bus.publish(UNIX_EPOCH, Event::Reloaded { error: None });
        }
        publish(&bus, 7);
        bus.publish(UNIX_EPOCH, Event::Reloaded { error: None });
        assert_eq!(read(&mut at_once), [7]);
        assert_eq!(pollster::block_on(in_task.recv()).map(number), Some(7));
        assert_eq!(thread.join().unwrap(), (Ok(Some(7)), Err(TimedOut)));
        drop(bus);
        assert_eq!(pollster::block_on(in_task.recv()), None);
    }

    #[test]
    fn a_subscription_goes_on_from_a_number() {
        let bus = EventBus::new(4, 100);
        for n in 0..6 {
            publish(&bus, n);
        }
        assert_eq!(read(&mut bus.resume(103).unwrap()), [4, 5]);
        assert_eq!(read(&mut bus.resume(105).unwrap()), [0i64; 0]);
        // 101 has left the window.
        assert_eq!(read(&mut bus.resume(100).unwrap()), [-1, 2, 3, 4, 5]);
        assert_eq!(read(&mut bus.resume(99).unwrap()), [-2, 2, 3, 4, 5]);
        assert_eq!(bus.resume(98).unwrap_err(), ResumeError::EarlierRun { after: 98, first: 100 });
        assert_eq!(bus.resume(106).unwrap_err(), ResumeError::Future { after: 106, latest: 105 });
        assert!(bus.resume(u64::MAX).is_err());
    }

    #[test]
    fn the_number_of_an_event_is_its_own() {
        let bus = EventBus::new(4, 7);
        let mut subscriber = bus.subscribe();
        publish(&bus, 1);
        publish(&bus, 2);
        let Some(Received::Event(first)) = subscriber.try_recv() else { panic!("no event") };
        assert_eq!(first.seq, 7);
        assert_eq!(read(&mut bus.resume(first.seq).unwrap()), [2]);
    }

    #[test]
    fn the_end_comes_after_what_is_left() {
        let bus = EventBus::new(4, 0);
        let other = bus.clone();
        let mut subscriber = bus.subscribe();
        drop(bus);
        publish(&other, 1);
        drop(other);
        assert_eq!(subscriber.recv_blocking(LONG).map(|got| got.map(number)), Ok(Some(1)));
        assert_eq!(subscriber.recv_blocking(LONG), Ok(None));
        let bus = EventBus::new(4, 0);
        let mut subscriber = bus.subscribe();
        bus.close();
        assert_eq!(subscriber.recv_blocking(LONG), Ok(None), "publishers are left");
    }

    #[test]
    fn a_thread_waits_and_gives_up() {
        let bus = EventBus::new(4, 0);
        let mut subscriber = bus.subscribe();
        assert_eq!(subscriber.recv_blocking(Duration::from_millis(1)), Err(TimedOut));
        let thread = std::thread::spawn(move || subscriber.recv_blocking(LONG));
        publish(&bus, 5);
        assert_eq!(thread.join().unwrap().map(|got| got.map(number)), Ok(Some(5)));
    }

    #[tokio::test]
    async fn a_task_waits_and_a_dropped_wait_loses_nothing() {
        let bus = EventBus::new(64, 0);
        let mut subscriber = bus.subscribe();
        let gave_up = tokio::time::timeout(Duration::from_millis(1), subscriber.recv()).await;
        assert!(gave_up.is_err());
        let task = tokio::spawn(async move {
            let mut got = Vec::new();
            while let Some(received) = subscriber.recv().await {
                got.push(number(received));
            }
            got
        });
        for n in 0..20 {
            publish(&bus, n);
            tokio::task::yield_now().await;
        }
        drop(bus);
        assert_eq!(task.await.unwrap(), (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn many_publishers_and_readers_agree_on_one_order() {
        let bus = EventBus::new(4_096, 0);
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let mut subscriber = bus.subscribe();
                std::thread::spawn(move || {
                    let mut got = Vec::new();
                    while let Ok(Some(received)) = subscriber.recv_blocking(LONG) {
                        got.push(number(received));
                    }
                    got
                })
            })
            .collect();
        let publishers: Vec<_> = (0..4)
            .map(|n| {
                let bus = bus.clone();
                std::thread::spawn(move || {
                    for k in 0..500 {
                        publish(&bus, n * 1_000 + k);
                    }
                })
            })
            .collect();
        publishers.into_iter().for_each(|thread| thread.join().unwrap());
        drop(bus);
        let read: Vec<Vec<i64>> = readers.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert_eq!(read[0].len(), 2_000);
        assert!(read.iter().all(|other| *other == read[0]));
    }
}
