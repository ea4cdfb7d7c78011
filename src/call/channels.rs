//! Channels in use by calls, counted per holder: a source address, a user, a gateway. A channel is released
//! when its last clone is dropped; a holder without calls leaves no entry.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The holder whose calls are counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Holder {
    /// The source address of inbound calls.
    Source(IpAddr),
    /// A user, by name, as the caller or the callee.
    User(Arc<str>),
    /// A gateway, for calls in both directions.
    Gateway(Arc<str>),
    /// A user, for the calls that go out through a gateway: the gateway's name, the user's.
    Through(Arc<str>, Arc<str>),
    /// Emergency calls that exceed the limits of other holders.
    Emergency,
}

/// All channels of the holder are in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("all {limit} channels are in use; wait until a call ends, or raise the limit")]
pub struct Full {
    pub limit: usize,
}

/// The channels in use; clones share the counters.
#[derive(Debug, Clone, Default)]
pub struct Channels(Arc<Mutex<HashMap<Holder, usize>>>);

/// A channel in use; clones are the same channel.
#[derive(Debug, Clone)]
pub struct Channel(Arc<Taken>);

#[derive(Debug)]
struct Taken {
    holder: Holder,
    channels: Channels,
}

impl Channels {
    /// Takes a channel if this holder has fewer than `limit`; `None` means no limit.
    ///
    /// # Errors
    /// [`Full`].
    pub fn take(&self, holder: Holder, limit: Option<usize>) -> Result<Channel, Full> {
        let mut counts = self.counts();
        let taken = counts.get(&holder).copied().unwrap_or(0);
        if let Some(limit) = limit.filter(|limit| taken >= *limit) {
            return Err(Full { limit });
        }
        counts.insert(holder.clone(), taken + 1);
        drop(counts);
        Ok(Channel(Arc::new(Taken { holder, channels: self.clone() })))
    }

    /// How many channels a holder has in use.
    pub fn taken(&self, holder: &Holder) -> usize {
        self.counts().get(holder).copied().unwrap_or(0)
    }

    /// Every holder with a channel in use and its count, sorted.
    pub fn all(&self) -> Vec<(Holder, usize)> {
        let mut all: Vec<_> = self.counts().iter().map(|(holder, taken)| (holder.clone(), *taken)).collect();
        all.sort_unstable();
        all
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<Holder, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Channel {
    /// The holder of the channel.
    pub fn holder(&self) -> &Holder {
        &self.0.holder
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut counts = self.channels.counts();
        if let Some(taken) = counts.get_mut(&self.holder) {
            *taken -= 1;
            if *taken == 0 {
                counts.remove(&self.holder);
            }
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
    fn without_a_limit_there_is_always_a_place() {
        let channels = Channels::default();
        let held: Vec<_> = (0..1_000).map(|_| channels.take(gateway("a"), None).unwrap()).collect();
        assert_eq!(channels.taken(&gateway("a")), held.len());
    }
}
