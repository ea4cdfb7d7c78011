#![no_main]
//! Replies of rtpengine to the machine that has an endpoint there, each with the expected cookie.

use std::time::Instant;

use b2b::server::controller::rtpengine::hear_replies;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    hear_replies(Instant::now(), &mut data.split(|&octet| octet == b'\n'));
});
