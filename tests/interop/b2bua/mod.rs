//! SIPp on both sides of the b2bua, with scenarios of `tests/sipp`.
//! `cargo test --test program interop::b2bua:: -- --ignored --test-threads 1`; needs `sipp`
//! (Debian: sip-tester) and `tshark`.

mod dialling;
mod ear;
mod group;
mod in_call;
mod lab;
mod media;
mod registrar;
mod sessions;
mod transfers;
mod transports;
