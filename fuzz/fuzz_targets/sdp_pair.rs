#![no_main]
//! Offer and answer across two legs, and with local audio: the input is an offer and an answer, separated by
//! a zero octet.

use b2b::call::negotiate::pair::{self, OwnAudio, PairPolicy, Side};
use b2b::media::codec::Codec;
use b2b::sdp::SessionDescription;
use libfuzzer_sys::fuzz_target;

/// Checks that a generated description parses, and has each payload type once.
fn check(body: &[u8]) {
    let description = SessionDescription::parse(body).expect("ours parses");
    for index in 0..description.lines().count() {
        let Ok(audio) = description.audio(index) else { continue };
        if audio.port == 0 {
            continue;
        }
        let mut types: Vec<u8> = audio.formats.iter().map(|format| format.payload_type).collect();
        types.sort_unstable();
        let listed = types.len();
        types.dedup();
        assert_eq!(types.len(), listed, "a payload type with two meanings");
        assert_eq!(audio.address.to_string(), "192.0.2.1", "our address, and nobody else's");
    }
}

/// A party in conversation with local audio, as callee and as caller.
fn ours(side: Side, offer: &[u8], answer: &[u8]) {
    let own = OwnAudio { codecs: Codec::ALL.to_vec(), ptime_ms: 20, attributes: Vec::new() };
    let mut side = side.with_own(own);
    let policy = PairPolicy { transcode: false, ..PairPolicy::default() };
    let checked = side.check(offer);
    let answered = side.own_answer(offer, &policy);
    assert_eq!(checked.err(), answered.as_ref().err().cloned(), "what is refused is refused at once");
    if let Ok((body, params)) = answered {
        check(&body);
        params.validate().expect("what we agree to can be sent");
    }
    // A party that has used every payload type gets no offer.
    if let Ok(body) = side.own_offer(&policy) {
        check(&body);
    }
    if let Ok(params) = side.own_settled(answer) {
        params.validate().expect("what we agree to can be sent");
    }
}

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(2, |octet| *octet == 0);
    let (offer, answer) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let side = |port: u16| Side::new(([192, 0, 2, 1], port).into(), 7);
    ours(side(10_004), offer, answer);
    for transcode in [true, false] {
        let policy = PairPolicy { transcode, unknown_attributes: transcode, ..PairPolicy::default() };
        let (mut a, mut b) = (side(10_000), side(10_002));
        let Ok(offered) = pair::offer(&mut a, &mut b, offer, &policy) else { return };
        check(&offered);
        assert_eq!(pair::offer(&mut a, &mut b, offer, &policy).as_ref(), Ok(&offered), "the same again");
        let Ok(answered) = pair::answer(&mut b, &mut a, answer) else { continue };
        check(&answered);
        assert!(a.is_described() && b.is_described());
        let _ = (a.remote(), b.remote());
        pair::join(&a, &b).expect("what was answered can be carried");
        // Hold, and a new offer in the other direction.
        if let Ok(again) = pair::local_answer(&mut a, offer, &policy) {
            check(&again);
        }
        if let Ok(like) = pair::local_offer(&mut a, Some(&b), &policy) {
            check(&like);
        }
    }
});
