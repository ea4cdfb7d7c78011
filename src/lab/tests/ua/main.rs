//! User agents of both engines, on the wire.

// As in test functions (clippy.toml): a helper that fails must fail the test.
#![allow(clippy::unwrap_used)]

mod agents;
#[cfg(feature = "baresip")]
mod baresip;
mod hostile;
mod native;
mod wire;
