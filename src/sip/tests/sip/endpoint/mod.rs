//! The SIP endpoint in virtual time: two of them connected by a seeded network, or one with a
//! hand-made peer.

mod callee;
mod caller;
mod calls;
mod chaos;
mod failover;
mod flood;
mod hand;
mod headers;
mod hops;
mod hostile;
mod left;
mod mangled;
mod onward;
mod overtaken;
mod pair;
mod refer;
mod refusals;
mod reliable;
mod replaces;
mod replay;
mod requests;
mod schedules;
mod session;
mod session_timer;
mod shares;
mod stranger;
mod vanish;
