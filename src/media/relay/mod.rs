//! The relay: RTP of two legs joined, forwarded when it comes, not decoded.
//!
//! - `stats`: what an endpoint has seen and done, as a snapshot

mod stats;

pub use stats::{Drops, EndpointStats, Flow, RtcpStats, Sources};
