//! Files played to many listeners: decoded once per rate, on separate threads, and cached in memory
//! within a limit.
//!
//! - `shelf`: the cache, and which entry is evicted first; no I/O
//! - `load`: a file to samples
//! - `store`: the thread that answers requests, those that decode, and the one that encodes

mod load;
mod shelf;
mod store;
#[cfg(test)]
mod tests;

pub use load::{check, check_folder, load};
pub use store::{Fetched, Limits, Listener, SoundStore, StoreStats, Want};

/// Why something cannot be played: its name and the reason, human-readable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} cannot be played")]
pub struct SoundError(pub String);
