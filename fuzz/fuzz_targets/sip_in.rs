#![no_main]
//! Datagrams at an endpoint with calls.

#[path = "support/sip_in.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    support::run(data);
});
