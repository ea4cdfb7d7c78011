//! Every pair of codecs: negotiated between two clients, and transcoded by the server. Audio sent at one side
//! is searched for in the audio heard at the other.

use std::sync::Arc;

use b2b::client::{Call, Codec, Fill, FrameSource, OutFrame, SipClient, Sound};
use b2b_test_support::client::{PATIENCE, connected, named, within};

const RATE_HZ: u32 = 16_000;

/// Plays these samples repeatedly.
struct Voice(Arc<[i16]>, usize);

impl FrameSource for Voice {
    fn fill(&mut self, frame: &mut OutFrame<'_>) -> Fill {
        for sample in frame.samples.iter_mut() {
            *sample = self.0[self.1];
            self.1 = (self.1 + 1) % self.0.len();
        }
        Fill::Audio
    }
}

/// A quarter of the samples: the voices contain nothing above 2 kHz.
fn coarse(samples: &[i16]) -> Vec<i16> {
    samples.chunks(4).map(|four| (four.iter().map(|&s| i32::from(s)).sum::<i32>() / 4) as i16).collect()
}

/// The two voices: the second is the first backwards, so that neither occurs in the other.
fn voices() -> [Arc<[i16]>; 2] {
    let there = crate::common::audio::speech_like(RATE_HZ, 2.0);
    let here: Vec<i16> = there.iter().rev().copied().collect();
    [there.into(), here.into()]
}

/// Waits until half a second of a voice occurs in three seconds of received audio. The likeness is below 1
/// because Opus keeps the sound, not the waveform; if a stall of the machine spoils three seconds, the next
/// three are searched.
async fn hears(call: &Call, voice: &[i16], what: &str) {
    let mut incoming = call.audio().expect("sound").incoming;
    let needle = coarse(&voice[8_000..16_000]);
    let start = std::time::Instant::now();
    loop {
        let mut heard = Vec::new();
        while heard.len() < 3 * RATE_HZ as usize {
            let frame = within(what, incoming.next()).await.expect("the call is up");
            heard.extend_from_slice(frame.samples());
        }
        let heard = coarse(&heard);
        let (likeness, _) = crate::common::audio::find(&needle, &heard, 0..heard.len());
        if likeness > 0.7 {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{what}: {likeness}");
    }
}

/// Both parties send a voice, and both hear the other's.
async fn talk(calls: [&Call; 2], what: &str) {
    let voices = voices();
    for (call, voice) in calls.iter().zip(&voices) {
        call.play(Sound::source(Voice(voice.clone(), 0))).await.expect("said");
    }
    let [there, here] = &voices;
    tokio::join!(hears(calls[0], here, what), hears(calls[1], there, what));
}

#[tokio::test]
async fn of_two_lists_the_first_codec_of_the_offer_that_both_have_is_spoken() {
    for first in Codec::ALL {
        // All four second codecs at once.
        let talks = Codec::ALL.map(|second| async move {
            let offer = if first == second { vec![first] } else { vec![first, second] };
            let alice = named("alice").codecs(offer).build().expect("a client");
            let bob = named("bob").codecs([second]).build().expect("a client");
            bob.start().await.expect("started");
            let (at_alice, at_bob) = connected(&alice, &bob).await;
            for call in [&at_alice, &at_bob] {
                assert_eq!(call.agreed().map(|agreed| agreed.codec), Some(second), "{first} and {second}");
            }
            talk([&at_alice, &at_bob], &format!("{first} offered before {second}")).await;
        });
        let [a, b, c, d] = talks;
        tokio::join!(a, b, c, d);
    }
}

#[tokio::test]
async fn the_server_transcodes_between_clients_that_have_no_codec_in_common() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("b2bua.toml");
    let mut text = "[server]\nlisten = [\"udp:127.0.0.1:0\"]\nstore = \"memory\"\ndomains = [\"b2b.example\"]\n\
                    drain_s = 0\n[http]\nlisten = \"off\"\n[[route]]\nto = \"user/$0\"\nmode = \"translating\"\n"
        .to_owned();
    for name in ["pcmu", "pcma", "g722", "opus", "caller"] {
        text.push_str(&format!("[[user]]\nname = \"{name}\"\npassword = \"secret\"\n"));
    }
    std::fs::write(&config, text).expect("a file");
    let mut server =
        crate::common::child::b2b(&["--role", "b2bua", "--config", config.to_str().expect("UTF-8")]);
    let server = server.ready();
    let user = |name: &str, codec: Codec| -> SipClient {
        let builder = SipClient::builder().identity(format!("sip:{name}@b2b.example")).bind("127.0.0.1:0");
        let builder = builder.registrar(format!("sip:{server}")).credentials(name, "secret");
        builder.codecs([codec]).build().expect("a client")
    };
    let caller = &user;
    // Four phones at once, each called with the three other codecs.
    let [a, b, c, d] = Codec::ALL.map(|theirs| async move {
        let name = theirs.to_string().to_lowercase();
        let bob = caller(&name, theirs);
        let mut incoming = bob.incoming().await.expect("calls");
        within("registered", bob.register()).await.expect("registered");
        for ours in Codec::ALL.into_iter().filter(|ours| *ours != theirs) {
            let alice = caller("caller", ours);
            let call = alice.call(format!("sip:{name}@b2b.example")).await.expect("a call");
            let at_bob = within("a call", incoming.next()).await.expect("it rings").answer();
            let at_bob = within("acknowledged", at_bob).await.expect("answered");
            within("answered", call.wait_for_answer()).await.expect("answered");
            let agreed = [&call, &at_bob].map(|call| call.agreed().map(|agreed| agreed.codec));
            assert_eq!(agreed, [Some(ours), Some(theirs)]);
            talk([&call, &at_bob], &format!("{ours} to {theirs}")).await;
            within("hung up", call.hangup()).await.expect("hung up");
        }
    });
    tokio::join!(a, b, c, d);
}
