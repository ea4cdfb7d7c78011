//! Media that somebody else carries: the [`MediaController`](b2b_call::controller::MediaController)s
//! beside the embedded engine of this process.
//!
//! - `rtpengine`: relays by another program, over its `ng` protocol
//! - `remote`: all of it by media servers, over REST and gRPC

pub mod remote;
pub mod rtpengine;
