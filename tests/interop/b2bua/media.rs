//! Conversions of RTP: digits received by INFO, a codec change, transcoding.

use std::f64::consts::{SQRT_2, TAU};
use std::thread;
use std::time::{Duration, Instant};

use b2b::media::codec::g711::{alaw_decode, alaw_encode, ulaw_decode, ulaw_encode};

use super::ear::{Arrived, Ear};
use super::in_call::is_reinvite;
use super::lab::{Lab, Place};
use crate::interop::support::LIMIT;
use crate::interop::support::wire::Sip;
use b2b_test_support::codecs::{Codecs, Has, purity, rms};

/// Wait for further packets.
const SETTLES: Duration = Duration::from_millis(300);

/// The digit packets of this payload type, once the last digit has ended.
fn digit(ear: &Ear, payload_type: u8) -> Vec<Arrived> {
    let end = Instant::now() + LIMIT;
    loop {
        let arrived = ear.arrived();
        let digits: Vec<Arrived> = arrived.into_iter().filter(|it| it.payload_type == payload_type).collect();
        if digits.last().is_some_and(|it| it.payload.get(1).is_some_and(|flags| flags & 0x80 != 0)) {
            // The end is sent three times.
            thread::sleep(SETTLES);
            return ear.arrived().into_iter().filter(|it| it.payload_type == payload_type).collect();
        }
        assert!(Instant::now() < end, "no digit that ends: {digits:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
#[ignore = "needs sipp; .ci/run installs it"]
fn interop_b2bua_makes_digits_of_info_telephone_events_where_it_intercepts() {
    let bob = Place::new("bob", 42);
    let lab = Lab::new(&(bob.route("bob") + "mode = \"intercepting\"\n"));
    for (signal, event, payload_type) in [("5", 5, 97), ("#", 11, 120)] {
        let (ann, bob) = (Place::new("ann", 41), Place { ear: Ear::new(bob.sip.ip()), ..bob });
        let formats = format!("0 {payload_type}\r\na=rtpmap:{payload_type} telephone-event/8000");
        let callee = lab.sipp(&bob, "callee").key("formats", &formats).listens();
        let body = format!("Signal={signal}\r\nDuration=250\r\n");
        let caller = lab
            .sipp(&ann, "caller_asks_info")
            .key("formats", "0 101\r\na=rtpmap:101 telephone-event/8000")
            .args(&["-d", "1500"])
            .key("body", &body);
        let caller = caller.key("more_asked", "\r\nContent-Type: application/dtmf-relay").calls("bob");
        // The parties talk meanwhile.
        let speaking = [ann.ear.says(0x41, lab.media_for(&ann)), bob.ear.says(0x42, lab.media_for(&bob))];
        bob.ear.hears(0x41, 5);
        let digits = digit(&bob.ear, payload_type);
        drop(speaking);
        caller.wait_ok();
        callee.wait_ok();

        // RFC 4733 §2.5.1: one event, with a final duration of 250 ms, which is sent three times.
        let first = &digits[0];
        assert!(digits.iter().all(|it| it.payload.len() == 4 && it.payload[0] == event), "{digits:?}");
        let same = |it: &Arrived| (it.timestamp, it.ssrc) == (first.timestamp, first.ssrc);
        assert!(digits.iter().all(same), "{digits:?}");
        let marked: Vec<bool> = digits.iter().map(|it| it.marker).collect();
        assert!(marked[0] && !marked[1..].contains(&true), "{marked:?}");
        let durations: Vec<u16> =
            digits.iter().map(|it| u16::from_be_bytes([it.payload[2], it.payload[3]])).collect();
        let (rising, ends) = durations.split_at(durations.len() - 3);
        assert!(rising.windows(2).all(|two| two[0] < two[1]) && rising.len() > 5, "{durations:?}");
        assert!(ends == [2_000; 3] && rising.last() < Some(&2_000), "{durations:?}");
        let ended = digits.iter().filter(|it| it.payload[1] & 0x80 != 0).count();
        assert!(ended == 3 && digits[digits.len() - 3].payload[1] & 0x80 != 0, "{digits:?}");
        // In the same stream as the audio.
        let heard = bob.ear.arrived();
        assert!(heard.iter().all(|it| it.ssrc == first.ssrc), "{heard:?}");
        let steps = heard.windows(2).map(|two| two[1].seq.wrapping_sub(two[0].seq));
        assert!(steps.clone().all(|step| step == 1), "{:?}", steps.collect::<Vec<_>>());
        let told = lab.messages(&bob);
        assert!(!told.iter().any(|it| it.is_request("INFO")), "{told:#?}");
    }
}

#[test]
#[ignore = "needs sipp; .ci/run installs it"]
fn interop_b2bua_changes_the_codec_of_a_call_by_reinvite() {
    for mode in ["transparent", "intercepting", "translating"] {
        let (ann, bob) = (Place::new("ann", 41), Place::new("bob", 42));
        let lab = Lab::new(&(bob.route("bob") + &format!("mode = \"{mode}\"\n")));
        let across = mode == "transparent";
        let callee = lab.sipp(&bob, if across { "callee_moved" } else { "callee" });
        let callee = callee.key("formats_then", "8").listens();
        let caller = lab.sipp(&ann, "caller_changes_codec").key("formats_then", "8").args(&["-d", "3000"]);
        let caller = caller.calls("bob");
        let (to_ann, to_bob) = (lab.media_for(&ann), lab.media_for(&bob));
        let speaking = [ann.ear.says(0x41, to_ann), bob.ear.says(0x42, to_bob)];
        let is_pcmu = |octet: u8| move |it: &Arrived| it.payload_type == 0 && it.payload == [octet; 160];
        bob.ear.hears_so_many(10, is_pcmu(0x41));
        ann.ear.hears_so_many(10, is_pcmu(0x42));
        let then = lab.told(&ann, "answer", |it| it.field("CSeq") == Some("2 INVITE") && it.body() != "");
        assert!(then.body().contains(" RTP/AVP 8\r\n"), "{mode}: {}", then.text);
        let asked: Vec<Sip> = lab.messages(&bob).into_iter().filter(is_reinvite).collect();
        assert_eq!(asked.len(), usize::from(across), "{mode}: {asked:#?}");
        assert!(asked.iter().all(|it| it.body().contains(" RTP/AVP 8")), "{mode}: {asked:#?}");
        drop(speaking);

        // Where b2b has answered itself, the other party's codec does not change.
        let (type_of_bob, from_ann, from_bob) = match across {
            true => (8, 0x43, 0x44),
            false => (0, ulaw_encode(alaw_decode(0x43)), alaw_encode(ulaw_decode(0x44))),
        };
        let speaking = [
            ann.ear.speaks((8, 160), || vec![0x43; 160], to_ann),
            bob.ear.speaks((type_of_bob, 160), || vec![0x44; 160], to_bob),
        ];
        bob.ear.hears_so_many(10, |it| it.payload_type == type_of_bob && it.payload == [from_ann; 160]);
        ann.ear.hears_so_many(10, |it| it.payload_type == 8 && it.payload == [from_bob; 160]);
        drop(speaking);
        for ear in [&ann.ear, &bob.ear] {
            let heard = ear.arrived();
            assert!(heard.iter().all(|it| it.ssrc == heard[0].ssrc), "{mode}: a leg has one stream");
        }
        caller.wait_ok();
        callee.wait_ok();
    }
}

const LEVEL: f64 = 8_000.0;

/// A tone, frame by frame.
fn tone(has: Has, hz: f64) -> impl FnMut() -> Vec<u8> + Send + 'static {
    let (mut codecs, mut at) = (Codecs::new(has), 0);
    move || {
        let frame = at..at + has.rate() / 50;
        at = frame.end;
        let wave = |n: usize| (n as f64 * hz * TAU / has.rate() as f64).sin() * LEVEL;
        codecs.encode(&frame.map(|n| wave(n) as i16).collect::<Vec<_>>())
    }
}

/// Waits for two seconds of packets: all of this payload type, with little in them but a tone at its original
/// level.
fn hears_tone(ear: &Ear, (has, payload_type): (Has, u8), hz: f64, what: &str) {
    let missing = 100_usize.saturating_sub(ear.arrived().len());
    ear.hears_so_many(missing, |it| it.payload_type == payload_type);
    let heard = ear.arrived();
    assert!(heard.iter().all(|it| it.payload_type == payload_type), "{what}: {heard:?}");
    let mut codecs = Codecs::new(has);
    let samples: Vec<i16> = heard.iter().flat_map(|it| codecs.decode(&it.payload)).collect();
    // Codecs may adapt for the first half second.
    let blocks: Vec<&[i16]> = samples.chunks_exact(has.rate() / 10).skip(5).collect();
    let is_tone = |block: &&&[i16]| {
        let level = rms(block) / (LEVEL / SQRT_2);
        (0.85..1.15).contains(&level) && purity(block, has.rate(), hz) > 0.95
    };
    let pure = blocks.iter().filter(is_tone).count();
    assert!(blocks.len() >= 14 && pure * 10 >= blocks.len() * 9, "{what}: {pure} of {}", blocks.len());
}

#[test]
#[ignore = "needs sipp; .ci/run installs it"]
fn interop_b2bua_transcodes_between_parties_that_share_no_codec() {
    // G.711 and G.722 have static payload types (RFC 3551 §6); b2b uses 111 for Opus.
    let number = |has: Has| if has == Has::Opus { 111 } else { has.payload_type() };
    let formats = |has: Has| format!("{0}\r\n{1}", number(has), has.rtpmap(number(has)).trim_end());
    for (a, b) in
        [(Has::Pcmu, Has::Pcma), (Has::Pcmu, Has::G722), (Has::Pcmu, Has::Opus), (Has::G722, Has::Pcma)]
    {
        let what = format!("{a:?} and {b:?}");
        let (ann, bob) = (Place::new("ann", 41), Place::new("bob", 42));
        let lab = Lab::new(&bob.route("bob"));
        let callee = lab.sipp(&bob, "callee").key("formats", &formats(b)).listens();
        let caller = lab.sipp(&ann, "caller").key("formats", &formats(a)).args(&["-d", "6000"]).calls("bob");
        let (to_ann, to_bob) = (lab.media_for(&ann), lab.media_for(&bob));
        let offer = lab.told(&bob, "INVITE", |it| it.is_request("INVITE"));
        assert!(offer.body().contains(b.rtpmap(number(b)).trim_end()), "{what}: {}", offer.text);
        let ticks = |has: Has| has.clock() / 50;
        let speaking = [
            ann.ear.speaks((number(a), ticks(a)), tone(a, 440.0), to_ann),
            bob.ear.speaks((number(b), ticks(b)), tone(b, 600.0), to_bob),
        ];
        hears_tone(&bob.ear, (b, number(b)), 440.0, &what);
        hears_tone(&ann.ear, (a, number(a)), 600.0, &what);
        drop(speaking);
        caller.wait_ok();
        callee.wait_ok();
    }
}
