//! Media carried by other programs: the [`MediaController`](b2b_call::controller::MediaController)s beside
//! this process's embedded engine.
//!
//! - `rtpengine`: relays by rtpengine, over its `ng` protocol
//! - `remote`: all media by media servers, over REST and gRPC

pub mod remote;
pub mod rtpengine;
