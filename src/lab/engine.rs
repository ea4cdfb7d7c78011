//! The engines of `ua`, and which of them this build includes.

use crate::native;
use b2b_ua::{Engine, Ua, UaConfig, UaError};

/// The error for the baresip engine in a build without it.
const NO_BARESIP: &str = "this build has no baresip engine; install libre and libbaresip 4.0 or later \
                          (docs/engines.md says how) and build with: cargo build --release --features baresip";

/// Checks that this build includes the engine.
///
/// # Errors
/// [`UaError::Unsupported`] if it does not, with the build command that includes it.
pub fn in_this_build(engine: Engine) -> Result<(), UaError> {
    match engine {
        Engine::Baresip if cfg!(not(feature = "baresip")) => Err(UaError::Unsupported(NO_BARESIP.into())),
        Engine::Native | Engine::Baresip => Ok(()),
    }
}

/// Starts a UA on an engine.
///
/// # Errors
/// The address cannot be bound, a trace cannot be written, or the engine does not support the configuration.
pub fn open(engine: Engine, config: UaConfig) -> Result<Box<dyn Ua>, UaError> {
    match engine {
        Engine::Native => Ok(Box::new(native::open(config)?)),
        #[cfg(feature = "baresip")]
        Engine::Baresip => Ok(b2b_baresip::open(config)?),
        #[cfg(not(feature = "baresip"))]
        Engine::Baresip => Err(UaError::Unsupported(NO_BARESIP.into())),
    }
}
