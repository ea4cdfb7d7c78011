//! User agents of both engines, on the wire.

// As in test functions (clippy.toml): what a helper cannot get fails the test.
#![allow(clippy::unwrap_used)]

mod agents;
#[cfg(feature = "baresip")]
mod baresip;
mod hostile;
mod native;
mod wire;
