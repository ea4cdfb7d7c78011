//! The baresip engine behind the [`Ua`](super::Ua) trait.

use super::{Ua, UaConfig, UaError};

/// Starts a UA on libbaresip.
///
/// # Errors
/// The address cannot be bound, a trace cannot be written, or the configuration asks
/// for what this engine cannot do.
pub fn open(_config: UaConfig) -> Result<Box<dyn Ua>, UaError> {
    Err(UaError::Unsupported("the baresip engine is being built".into()))
}
