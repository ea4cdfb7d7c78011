//! Files that are played to many: decoded once for each rate, on threads of their own, and
//! kept as samples in memory within a bound.
//!
//! - `shelf`: what is kept, and which of it leaves first; no I/O
//! - `load`: a file to samples
//! - `store`: the thread that answers, those that decode, and the one that encodes

mod load;
mod shelf;
mod store;
#[cfg(test)]
mod tests;

pub use load::{check, load};
pub use store::{Fetched, Limits, Listener, SoundStore, StoreStats, Want};

/// Why something cannot be played: its name and the reason in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} cannot be played")]
pub struct SoundError(pub String);
