//! System calls of the media threads, and for what outlives the process.
//!
//! - `udp`: batched receiving with kernel timestamps
//! - `wake`: sleeping until a given time or a wake-up
//! - `relay`: a relay endpoint's socket: one packet at a time, no kernel timestamps
//! - `descriptors`: a separate descriptor table for a thread
//! - `mapping`: a file in memory, for what outlives the process
//! - `manager`: the protocol of service managers; `restart`: starts this program again
//!
//! A thread with sources and sinks does not wait on its RTP sockets. Playout only happens on ticks,
//! and the kernel tells when a packet arrived, so it suffices to empty the sockets at each tick:
//! one wake-up and, per session, one receive and one send in 20 ms. An epoll set would wake the
//! thread once more per packet and gain nothing. A relay forwards at once, and therefore waits on
//! its sockets.

#[cfg(not(target_os = "linux"))]
compile_error!(
    "b2b runs on Linux: its media threads need epoll, ppoll, recvmmsg and the kernel's receive times"
);

pub mod descriptors;
pub mod manager;
pub mod mapping;
pub mod relay;
pub mod restart;
pub mod udp;
pub mod wake;
