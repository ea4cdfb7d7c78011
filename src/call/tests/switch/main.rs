//! The switch in virtual time: calls between parties, with a simulated media controller.

// As in test functions (clippy.toml): a failure in a helper fails the test.
#![allow(clippy::unwrap_used)]

mod account;
mod applications;
mod capture;
mod challenges;
mod codes;
mod dialling;
mod digits;
mod direct;
mod ends;
mod groups;
mod hand;
mod handlers;
mod header_rules;
mod identity;
mod in_call;
mod machines;
mod media_moves;
mod missed;
mod moved;
mod news;
mod pacing;
mod parted;
mod pending_offers;
mod reliable;
mod replacing;
mod replaying;
mod retry_after;
mod rfc3262;
mod rfc5057;
mod rfc5407;
mod rfc6141;
mod routed;
mod sent_away;
mod several_2xx;
mod snapshots;
mod storm;
mod timers;
mod told;
mod topology;
mod transfers;
mod trouble;
mod waits;
