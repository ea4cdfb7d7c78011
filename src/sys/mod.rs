//! System calls of the media threads.
//!
//! - `udp`: a session's socket pair; batched receiving with kernel times
//! - `wake`: sleeping until a moment or until somebody has a command
//! - `relay`: a relay endpoint's socket: one packet at a time, no kernel times
//! - `descriptors`: a descriptor table of a thread's own
//!
//! A worker does not wait on its RTP sockets. Playout only happens on ticks, and
//! the kernel says when a packet came, so it is enough to empty the sockets at
//! each tick: one wake and, per session, one receive and one send in 20 ms. An
//! epoll set would wake the thread once more per packet and win nothing. A relay
//! forwards at once, and so does wait on its sockets.

#[cfg(not(target_os = "linux"))]
compile_error!(
    "b2b runs on Linux: its media threads need epoll, ppoll, recvmmsg and the kernel's receive times"
);

pub mod descriptors;
pub mod relay;
pub mod udp;
pub mod wake;
