//! One RTP stream pair as a machine: packets and frames in and out, with the
//! time as an argument; no socket, no clock, no thread.
//!
//! - `params`: what offer and answer settled, as values

mod params;

pub use params::{Direction, MediaParams, ParamsError, SendFormat, SessionConfig};
