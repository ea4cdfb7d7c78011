//! After how long without RTP, where some should come, a call ends: the default of each product. Keys and flags, whose
//! defaults are text, say the same.

use std::time::Duration;

/// Of a server and of a switch: `media.rtp_timeout_s`.
pub const SERVER: Duration = Duration::from_secs(120);
/// Of a client.
pub const CLIENT: Duration = Duration::from_secs(60);
/// Of the lab: `--rtp-timeout-s`.
pub const LAB: Duration = Duration::from_secs(20);
