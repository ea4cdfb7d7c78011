#![no_main]
//! Datagrams at an endpoint with calls.

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    b2b_test_support::sip_in::run(data);
});
