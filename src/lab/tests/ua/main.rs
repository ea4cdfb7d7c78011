//! User agents of both engines, on the wire.

mod agents;
#[cfg(feature = "baresip")]
mod baresip;
mod hostile;
mod native;
mod wire;
