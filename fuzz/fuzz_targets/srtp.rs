#![no_main]
//! Datagrams for SRTP and SRTCP, and SDP crypto attributes.

use b2b::media::transport::protection::{Inbound, MasterKey, Outbound, RTCP_OVERHEAD, Suite};
use b2b::sdp::Crypto;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = text.parse::<Crypto>();
    }
    for suite in Suite::ALL {
        let key = MasterKey::generate(suite, |octets| octets.fill(7));
        let (mut outbound, mut inbound) = (Outbound::new(&key), Inbound::new(&key));
        // A guess, or a seed, may match a 32-bit tag; a separate receiver keeps that from appearing as a
        // replay below.
        let mut strange = Inbound::new(&key);
        let _ = strange.rtp(&mut data.to_vec());
        let _ = strange.rtcp(&mut data.to_vec());
        let mut buffer = [data, &[0; RTCP_OVERHEAD]].concat();
        if let Ok(len) = outbound.rtp(&mut buffer, data.len()) {
            assert_eq!(inbound.rtp(&mut buffer[..len]), Ok(data.len()));
            assert_eq!(&buffer[..data.len()], data);
        }
        let mut buffer = [data, &[0; RTCP_OVERHEAD]].concat();
        if let Ok(len) = outbound.rtcp(&mut buffer, data.len()) {
            assert_eq!(inbound.rtcp(&mut buffer[..len]), Ok(data.len()));
            assert_eq!(&buffer[..data.len()], data);
        }
    }
});
