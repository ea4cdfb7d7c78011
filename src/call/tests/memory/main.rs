//! The memory of calls, counted by the allocator. A separate program for that reason.

// As in test functions (clippy.toml): a failure in a helper fails the test.
#![allow(clippy::unwrap_used)]

mod relay;
mod sip;
