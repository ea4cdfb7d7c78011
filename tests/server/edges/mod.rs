//! The server's edges, on the real binary: strangers, floods, wrong passwords, NAT, dialogs, drain, reload, a
//! provider. Each peer has its own address in 127.0.0.0/8.

mod abuse;
mod dialogs;
mod doors_open;
mod identity;
mod led;
mod lifecycle;
pub mod peer;
mod proxied;
mod reach;
pub mod refusals;
mod registering;
