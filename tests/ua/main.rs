//! User agents of both engines, on the wire.

#[path = "../ua_support/mod.rs"]
mod ua_support;

#[cfg(feature = "baresip")]
mod baresip;
mod hostile;
mod native;
mod wire;
