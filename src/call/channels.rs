//! Channels in use by calls, counted per holder: a source address, a user, a gateway. A channel is released
//! when its last clone is dropped; a holder without calls leaves no entry.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The holder whose calls are counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Holder {
    /// The source address of inbound calls.
    Source(IpAddr),
    /// A user, by name, as the caller or the callee.
    User(Arc<str>),
    /// A gateway, for calls in both directions.
    Gateway(Arc<str>),
    /// A user, for the calls that go out through a gateway: the gateway's name, the user's.
    Through(Arc<str>, Arc<str>),
    /// Emergency calls with precedence, which exceed the limits of other holders, by whom they count for.
    Emergency(Arc<str>),
}

/// All channels of the holder are in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("all {limit} channels are in use; wait until a call ends, or raise the limit")]
pub struct Full {
    pub limit: usize,
}

/// The channels in use; clones share the counters.
#[derive(Debug, Clone, Default)]
pub struct Channels(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    taken: HashMap<Holder, usize>,
    /// Channels of emergency calls, the oldest first.
    urgent: Vec<Weak<Taken>>,
}

impl Counts {
    fn release(&mut self, holder: &Holder) {
        if let Some(taken) = self.taken.get_mut(holder) {
            *taken -= 1;
            if *taken == 0 {
                self.taken.remove(holder);
            }
        }
    }
}

/// A channel in use; clones are the same channel.
#[derive(Debug, Clone)]
pub struct Channel(Arc<Taken>);

#[derive(Debug)]
struct Taken {
    holder: Holder,
    channels: Channels,
    /// Its holder had no other when it was taken.
    is_first: bool,
    use_of_it: AtomicU8,
}

/// The call has not been answered, or has no media.
const ATTEMPT: u8 = 0;
/// Its parties can talk.
const TALKS: u8 = 1;
/// A later call of the holder has taken its place.
const GIVEN_UP: u8 = 2;

impl Channels {
    /// Takes a channel if this holder has fewer than `limit`; `None` means no limit.
    ///
    /// # Errors
    /// [`Full`].
    pub fn take(&self, holder: Holder, limit: Option<usize>) -> Result<Channel, Full> {
        let counts = self.counts();
        let taken = counts.taken.get(&holder).copied().unwrap_or(0);
        if let Some(limit) = limit.filter(|limit| taken >= *limit) {
            return Err(Full { limit });
        }
        Ok(self.taken_by(counts, holder, taken == 0, ATTEMPT))
    }

    fn taken_by(
        &self,
        mut counts: MutexGuard<'_, Counts>,
        holder: Holder,
        is_first: bool,
        use_of_it: u8,
    ) -> Channel {
        *counts.taken.entry(holder.clone()).or_default() += 1;
        let is_urgent = matches!(holder, Holder::Emergency(_));
        let (channels, use_of_it) = (self.clone(), AtomicU8::new(use_of_it));
        let channel = Arc::new(Taken { holder, channels, is_first, use_of_it });
        if is_urgent {
            counts.urgent.retain(|it| it.strong_count() > 0);
            counts.urgent.push(Arc::downgrade(&channel));
        }
        drop(counts);
        Channel(channel)
    }

    /// Takes the channels that are read meanwhile, whatever the limits are: their calls have them.
    pub(crate) fn taking<T>(self, read: impl FnOnce() -> T) -> T {
        READ.set(Some((self, HashMap::new())));
        let done = read();
        READ.set(None);
        done
    }

    /// Gives up the holder's oldest emergency call that is unanswered or has no media: its channel no longer
    /// counts. `false`: the holder has none.
    pub fn give_up(&self, holder: &Holder) -> bool {
        let mut counts = self.counts();
        let all: Vec<Arc<Taken>> = counts.urgent.iter().filter_map(Weak::upgrade).collect();
        let given_up = all.iter().filter(|it| it.holder == *holder).any(|it| {
            it.use_of_it.compare_exchange(ATTEMPT, GIVEN_UP, Ordering::AcqRel, Ordering::Acquire).is_ok()
        });
        if given_up {
            counts.release(holder);
        }
        drop(counts);
        // Only now: the last clone of a channel takes the lock.
        drop(all);
        given_up
    }

    /// How many emergency calls have precedence, of the holders whose names begin so.
    pub fn urgent(&self, beginning: &str) -> usize {
        let counts = self.counts();
        let of = |(holder, taken): (&Holder, &usize)| match holder {
            Holder::Emergency(who) if who.starts_with(beginning) => *taken,
            _ => 0,
        };
        counts.taken.iter().map(of).sum()
    }

    /// How many channels a holder has in use.
    pub fn taken(&self, holder: &Holder) -> usize {
        self.counts().taken.get(holder).copied().unwrap_or(0)
    }

    /// Every holder with a channel in use and its count, sorted.
    pub fn all(&self) -> Vec<(Holder, usize)> {
        let counts = self.counts();
        let mut all: Vec<_> = counts.taken.iter().map(|(holder, taken)| (holder.clone(), *taken)).collect();
        drop(counts);
        all.sort_unstable();
        all
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether who has `own` of `most` shared places, of which `taken` are taken, may have one more: the last eighth
/// is for those who have none, and half is the most while others want some, too.
pub fn may_have(most: usize, taken: usize, own: usize, others: bool) -> bool {
    own == 0 || taken + most / 8 < most && (!others || own < most.div_ceil(2))
}

impl Channel {
    /// The holder of the channel.
    pub fn holder(&self) -> &Holder {
        &self.0.holder
    }

    /// Whether it is that of an emergency call with precedence whose caller had no other: the places that
    /// others leave free are for it.
    pub fn is_first_for_help(&self) -> bool {
        matches!(self.0.holder, Holder::Emergency(_)) && self.0.is_first
    }

    /// Notes whether the parties of an emergency call can talk.
    pub fn talks(&self, talks: bool) {
        let (from, to) = if talks { (ATTEMPT, TALKS) } else { (TALKS, ATTEMPT) };
        // A call that was given up stays so.
        let _ = self.0.use_of_it.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Whether a later call has taken its place: its call is to end.
    pub fn is_given_up(&self) -> bool {
        self.0.use_of_it.load(Ordering::Acquire) == GIVEN_UP
    }
}

/// Channels by their written numbers.
type Known = HashMap<(u64, Holder), Channel>;

thread_local! {
    /// Where channels are taken that are read, and those read so far.
    static READ: RefCell<Option<(Channels, Known)>> = const { RefCell::new(None) };
}

/// A channel as it is written. Clones have one number.
#[derive(Serialize, Deserialize)]
struct Written {
    number: u64,
    holder: Holder,
    is_first: bool,
    use_of_it: u8,
}

impl Serialize for Channel {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Taken { holder, is_first, use_of_it, .. } = &*self.0;
        let (number, use_of_it) = (Arc::as_ptr(&self.0) as usize as u64, use_of_it.load(Ordering::Acquire));
        Written { number, holder: holder.clone(), is_first: *is_first, use_of_it }.serialize(serializer)
    }
}

/// Outside of [`Channels::taking`] it counts nowhere.
impl<'de> Deserialize<'de> for Channel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Written { number, holder, is_first, use_of_it } = Written::deserialize(deserializer)?;
        let take =
            |channels: &Channels, holder| channels.taken_by(channels.counts(), holder, is_first, use_of_it);
        Ok(READ.with_borrow_mut(|read| match read {
            // In a journal a number may be given again, when its channel is free.
            Some((channels, known)) => {
                let key = (number, holder.clone());
                known.entry(key).or_insert_with(|| take(channels, holder)).clone()
            }
            None => take(&Channels::default(), holder),
        }))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if self.use_of_it.load(Ordering::Acquire) != GIVEN_UP {
            self.channels.counts().release(&self.holder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway(name: &str) -> Holder {
        Holder::Gateway(name.into())
    }

    #[test]
    fn a_holder_takes_as_many_places_as_it_may_and_others_are_not_concerned() {
        let channels = Channels::default();
        let first = channels.take(gateway("a"), Some(2)).unwrap();
        let _second = channels.take(gateway("a"), Some(2)).unwrap();
        assert_eq!(channels.take(gateway("a"), Some(2)).unwrap_err(), Full { limit: 2 });
        assert!(channels.take(gateway("b"), Some(1)).is_ok());
        assert_eq!(channels.taken(&gateway("a")), 2);
        drop(first);
        assert!(channels.take(gateway("a"), Some(2)).is_ok());
    }

    #[test]
    fn a_place_is_held_until_its_last_copy_goes_and_then_nothing_is_left() {
        let channels = Channels::default();
        let channel = channels.take(Holder::User("1001".into()), None).unwrap();
        let copy = channel.clone();
        drop(channel);
        assert_eq!(channels.all(), [(Holder::User("1001".into()), 1)]);
        drop(copy);
        assert_eq!(channels.all(), []);
    }

    #[test]
    fn a_redial_takes_the_place_of_an_attempt_and_never_of_a_conversation() {
        let channels = Channels::default();
        let holder = Holder::Emergency("user/1001".into());
        let talk = channels.take(holder.clone(), None).unwrap();
        let attempt = channels.take(holder.clone(), None).unwrap();
        let _other = channels.take(Holder::Emergency("user/1002".into()), None).unwrap();
        talk.talks(true);
        assert!(channels.give_up(&holder) && attempt.is_given_up() && !talk.is_given_up());
        assert_eq!(
            (channels.taken(&holder), channels.urgent("user/"), channels.urgent("gateway/")),
            (1, 2, 0)
        );
        drop(attempt);
        assert!(!channels.give_up(&holder));
        assert_eq!(channels.taken(&holder), 1, "it is counted once");
        talk.talks(false);
        assert!(channels.give_up(&holder) && talk.is_given_up());
    }

    #[test]
    fn without_a_limit_there_is_always_a_place() {
        let channels = Channels::default();
        let held: Vec<_> = (0..1_000).map(|_| channels.take(gateway("a"), None).unwrap()).collect();
        assert_eq!(channels.taken(&gateway("a")), held.len());
    }

    #[test]
    fn channels_that_are_written_count_for_their_holders_where_they_are_read() {
        let there = Channels::default();
        let (one, other) = (there.take(gateway("a"), None).unwrap(), there.take(gateway("a"), None).unwrap());
        let octets = rmp_serde::to_vec_named(&[&one, &one, &other]).unwrap();
        let here = Channels::default();
        let read = here.clone().taking(|| rmp_serde::from_slice::<Vec<Channel>>(&octets)).unwrap();
        assert_eq!((read.len(), here.taken(&gateway("a"))), (3, 2), "clones are one channel");
        assert_eq!(here.take(gateway("a"), Some(2)).unwrap_err(), Full { limit: 2 });
        drop(read);
        assert_eq!(here.all(), []);
    }
}
