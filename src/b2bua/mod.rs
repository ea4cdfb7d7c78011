//! The server: it assembles signalling, calls and media from a configuration.
//!
//! - `routing`: which route takes a call, and why the others do not

pub mod routing;

use crate::config::server::ServerConfig;
use crate::util::exit::{Exit, Failure};

/// Runs the server until it is told to stop; the number is the exit code.
///
/// # Errors
/// What keeps it from starting, with the exit code in a [`Failure`].
pub fn run(config: ServerConfig) -> anyhow::Result<u8> {
    drop(config);
    let words = "the B2BUA does not take calls yet: it is being built. \
                 Its configuration and routing work: --dry-run, --explain";
    Err(Failure::new(Exit::Usage, words).into())
}
