//! The SIP endpoint in virtual time: two of them joined by a seeded network, or
//! one and a hand-made peer.

mod callee;
mod caller;
mod calls;
mod chaos;
mod flood;
mod hand;
mod hostile;
mod mangled;
mod pair;
mod refusals;
mod schedules;
mod session;
