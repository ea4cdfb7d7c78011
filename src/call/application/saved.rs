//! The state of a machine as octets, for the process that goes on with its call.

use std::time::Instant;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use b2b_base::ages;
use b2b_base::numbers::{self, Numbers};

/// The state of a machine. Not `Debug`: it may have a PIN.
pub struct Saved {
    octets: Bytes,
    /// When it was written in another process, and the numbers that stand for those of that one.
    elsewhere: Option<(Instant, Numbers)>,
}

impl Saved {
    /// A state as [`Application::save`](super::Application::save) gives it; `None`: it cannot be written. Times in it are
    /// fields of [`b2b_base::ages`]; numbers of calls, legs and bridges are read as those of the other process.
    pub fn of(state: &impl Serialize) -> Option<Saved> {
        let octets = rmp_serde::to_vec_named(state).ok()?.into();
        Some(Saved { octets, elsewhere: None })
    }

    /// The state; `None`: it is of another kind or version.
    pub fn read<T: DeserializeOwned>(&self) -> Option<T> {
        let (written, numbers) = self.elsewhere.clone()?;
        let read = || ages::at(written, || rmp_serde::from_slice(&self.octets).ok());
        numbers::renumbered(numbers, read).0
    }

    /// What was written in another process.
    pub(crate) fn elsewhere(octets: Bytes, written: Instant, numbers: Numbers) -> Self {
        Saved { octets, elsewhere: Some((written, numbers)) }
    }

    pub(crate) fn into_octets(self) -> Bytes {
        self.octets
    }
}
