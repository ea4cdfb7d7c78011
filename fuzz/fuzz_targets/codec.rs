#![no_main]
//! Payloads for the decoders: the first octet selects codec and rate; then come payloads, each after its
//! length, some of which count as lost.

use b2b::media::codec::{Codec, Decoder};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&kind, mut rest)) = data.split_first() else { return };
    let codec = Codec::ALL[usize::from(kind & 3)];
    let rate_hz = [8_000, 16_000, 24_000, 48_000][usize::from(kind >> 2 & 3)];
    let mut decoder = Decoder::new(codec, rate_hz);
    // Room for 120 ms; some packets get less.
    let mut samples = vec![0; rate_hz as usize * 12 / 100];
    while let Some((&length, behind)) = rest.split_first() {
        let (payload, behind) = behind.split_at(usize::from(length).min(behind.len()));
        rest = behind;
        let room = match length % 3 {
            0 => samples.len(),
            1 => samples.len() / 6,
            _ => usize::from(length),
        };
        if payload.is_empty() {
            assert!(decoder.conceal(room.min(samples.len()), &mut samples) <= samples.len());
            continue;
        }
        if decoder.recovers(payload) {
            assert!(decoder.recover(payload, &mut samples) <= samples.len());
        }
        if let Ok(made) = decoder.decode(payload, &mut samples[..room]) {
            assert!(made <= room);
        }
    }
});
