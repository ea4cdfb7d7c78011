//! What an endpoint may be joined with: a source of frames that its party hears, and a sink for what the party says.
//!
//! - `params`: how that begins, and what offer and answer settle; `counters`: what is counted of it
//! - `playout`: what is heard; `sender`: what is sent
//! - `digits`: digits that we send; `inband`: digits heard in the sound; `meter`: levels
//! - `record`: what is kept of every received packet
//! - `collision`: our SSRC from the far end

pub(crate) mod collision;
mod counters;
mod digits;
mod inband;
pub(crate) mod meter;
mod params;
pub(crate) mod playout;
mod record;
pub(crate) mod sender;

use std::time::Duration;

pub use counters::{Diagnostics, Reception};
pub use meter::{Level, Levels};
pub use params::{Adapt, DigitMode, MediaParams, ParamsError, SessionConfig};
pub use record::{PacketRecord, Verdict};

/// Playout is one frame of 20 ms per tick.
pub const TICK: Duration = Duration::from_millis(20);
/// A thread that came this late catches up: a busy machine then costs delay, and no
/// packet. One that came later (a stopped process) gives up all but the tick that is
/// due, instead of bursting.
const CATCH_UP: Duration = Duration::from_secs(1);
