//! What calls hold in memory, counted by the allocator. Alone in its program, for that.

// As in test functions (clippy.toml): what a helper cannot get fails the test.
#![allow(clippy::unwrap_used)]

mod relay;
mod sip;
