//! SIPp on both sides of the b2bua, with scenarios of `tests/sipp`.
//! `cargo test --release --test interop_b2bua -- --ignored --test-threads 1`; needs `sipp`
//! (Debian: sip-tester) and `tshark`.
#![cfg(feature = "server")]

#[path = "../interop_support/mod.rs"]
mod interop_support;

mod dialling;
mod group;
mod in_call;
mod lab;
mod registrar;
mod transfers;
mod transports;
