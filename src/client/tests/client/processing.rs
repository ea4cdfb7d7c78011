//! Echo cancellation in a call: in a room where the microphone picks up the loudspeaker, how much of its own
//! voice does the far end hear?

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use b2b_client::audio::Incoming;
use b2b_client::{
    Audio, Call, Codec, Devices, Fill, FrameSource, Loudspeaker, Microphone, OutFrame, Processing, SipClient,
    Sound, SoundSystem,
};
use b2b_test_support::client::{connected, within};

const RATE_HZ: u32 = 16_000;
const FRAME: usize = RATE_HZ as usize / 50;
/// Delay from the loudspeaker to the microphone, frames: 80 ms.
const AWAY: usize = 4;

/// A room: played audio returns with half its amplitude.
#[derive(Clone)]
struct Room {
    air: Arc<Mutex<VecDeque<i16>>>,
    /// Whether the user speaks in the room.
    speaks: Arc<AtomicBool>,
}

impl Room {
    fn new() -> Self {
        Room { air: Arc::new(Mutex::new(vec![0; AWAY * FRAME].into())), speaks: Arc::default() }
    }
}

struct Ear(Room, Instant, Voice);

impl Microphone for Ear {
    fn read(&mut self, frame: &mut [i16]) -> io::Result<()> {
        self.1 += Duration::from_millis(20);
        std::thread::sleep(self.1.saturating_duration_since(Instant::now()));
        let mut air = self.0.air.lock().expect("not poisoned");
        let speaks = self.0.speaks.load(Ordering::SeqCst);
        for sample in frame {
            let near = self.2.next();
            *sample = air.pop_front().unwrap_or(0) / 2 + if speaks { near } else { 0 };
        }
        Ok(())
    }
}

struct Mouth(Room);

impl Loudspeaker for Mouth {
    fn write(&mut self, frame: &[i16]) -> io::Result<()> {
        let mut air = self.0.air.lock().expect("not poisoned");
        // On a loaded machine a loudspeaker far ahead of the microphone drops audio.
        if air.len() < 10 * FRAME {
            air.extend(frame);
        }
        Ok(())
    }
}

impl SoundSystem for Room {
    fn microphone(&self, _: Option<&str>, _: u32) -> io::Result<Box<dyn Microphone>> {
        Ok(Box::new(Ear(self.clone(), Instant::now(), Voice(77, 0.0))))
    }

    fn loudspeaker(&self, _: Option<&str>, _: u32) -> io::Result<Box<dyn Loudspeaker>> {
        Ok(Box::new(Mouth(self.clone())))
    }
}

/// Noise with the spectrum of speech.
struct Voice(u32, f64);

impl Voice {
    fn next(&mut self) -> i16 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let white = f64::from(self.0 >> 16) / 32_768.0 - 1.0;
        self.1 += (white - self.1) * 0.35;
        (self.1 * 16_000.0) as i16
    }
}

impl FrameSource for Voice {
    fn fill(&mut self, frame: &mut OutFrame<'_>) -> Fill {
        frame.samples.fill_with(|| self.next());
        Fill::Audio
    }
}

/// The level of the next two seconds, dB below full scale.
async fn level(hears: &mut Incoming) -> f64 {
    let (mut energy, mut samples) = (1.0, 0);
    while samples < 2 * RATE_HZ as usize {
        let frame = within("a frame", hears.next()).await.expect("the call is up");
        energy += frame.samples().iter().map(|it| f64::from(*it).powi(2)).sum::<f64>();
        samples += frame.samples().len();
    }
    10.0 * (energy / samples as f64 / f64::from(i16::MAX).powi(2)).log10()
}

/// A call between a room and bob, who has a headset; returns what bob hears.
async fn call(room: &Room, processing: Processing) -> (SipClient, SipClient, Call, Incoming) {
    let builder = || SipClient::builder().codecs([Codec::G722]).rate_hz(RATE_HZ);
    let alice = builder().identity("sip:alice@127.0.0.1").processing(processing);
    let alice = alice.audio(Audio::Devices(Devices::new(room.clone()))).build().expect("a client");
    let bob = builder().identity("sip:bob@127.0.0.1").build().expect("a client");
    let (_, at_bob) = connected(&alice, &bob).await;
    let hears = at_bob.audio().expect("sound").incoming;
    (alice, bob, at_bob, hears)
}

#[tokio::test]
async fn the_far_end_does_not_hear_itself_where_the_microphone_hears_the_loudspeaker() {
    let plain = {
        let (_alice, _bob, at_bob, mut hears) = call(&Room::new(), Processing::NONE).await;
        at_bob.play(Sound::source(Voice(1, 0.0))).await.expect("bob speaks");
        within("an echo", async {
            loop {
                let level = level(&mut hears).await;
                if level > -40.0 {
                    return level;
                }
            }
        })
        .await
    };
    let room = Room::new();
    let echo = Processing { echo: true, ..Processing::NONE };
    let (_alice, _bob, at_bob, mut hears) = call(&room, echo).await;
    let voice = at_bob.play(Sound::source(Voice(1, 0.0))).await.expect("bob speaks");
    // It has to estimate the delay and adapt to the room.
    let mut last = 0.0;
    within("15 dB less", async {
        while last > plain - 15.0 {
            last = level(&mut hears).await;
            println!("plain {plain:.1} dB, with cancellation {last:.1} dB");
        }
    })
    .await;
    // A speaker in the room is heard.
    voice.stop();
    room.speaks.store(true, Ordering::SeqCst);
    within("the voice in the room", async { while level(&mut hears).await < plain - 6.0 {} }).await;
}
