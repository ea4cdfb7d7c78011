//! Calls with devices: their audio, and the events when one is unplugged.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use b2b_client::{
    Audio, AudioProblem, CallState, ClientBuilder, ClientEvent, Codec, DeviceSide, Devices, Loudspeaker,
    Microphone, SipClient, Sound, SoundSystem,
};
use b2b_test_support::client::server::Hand;
use b2b_test_support::client::within;

/// A headset that can be unplugged, beside permanent default devices.
#[derive(Clone, Default)]
struct Fake(Arc<State>);

#[derive(Default)]
struct State {
    unplugged: AtomicBool,
    /// Non-silent frames played by the headset, and by the default device.
    headset: AtomicU64,
    default: AtomicU64,
}

struct Device(Fake, bool);

impl Device {
    fn is_gone(&self) -> io::Result<()> {
        let gone = self.1 && self.0.0.unplugged.load(Ordering::SeqCst);
        if gone { Err(io::Error::new(io::ErrorKind::NotConnected, "unplugged")) } else { Ok(()) }
    }
}

impl Microphone for Device {
    fn read(&mut self, frame: &mut [i16]) -> io::Result<()> {
        std::thread::sleep(Duration::from_millis(20));
        frame
            .iter_mut()
            .enumerate()
            .for_each(|(n, sample)| *sample = if n % 20 < 10 { 8_000 } else { -8_000 });
        self.is_gone()
    }
}

impl Loudspeaker for Device {
    fn write(&mut self, frame: &[i16]) -> io::Result<()> {
        if frame.iter().any(|sample| sample.unsigned_abs() > 2_000) {
            let played = if self.1 { &self.0.0.headset } else { &self.0.0.default };
            played.fetch_add(1, Ordering::SeqCst);
        }
        self.is_gone()
    }
}

impl SoundSystem for Fake {
    fn microphone(&self, name: Option<&str>, _: u32) -> io::Result<Box<dyn Microphone>> {
        let device = Device(self.clone(), name.is_some());
        device.is_gone().map(|()| Box::new(device) as Box<dyn Microphone>)
    }

    fn loudspeaker(&self, name: Option<&str>, _: u32) -> io::Result<Box<dyn Loudspeaker>> {
        let device = Device(self.clone(), name.is_some());
        device.is_gone().map(|()| Box::new(device) as Box<dyn Loudspeaker>)
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    within(what, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_unplugged_headset_moves_the_call_to_the_default_devices_which_is_told() {
    let fake = Fake::default();
    let devices = Devices::new(fake.clone()).microphone("headset").loudspeaker("headset");
    let codecs = [Codec::Pcmu];
    let alice = SipClient::builder().identity("sip:alice@127.0.0.1").codecs(codecs);
    let alice = alice.audio(Audio::Devices(devices)).build().expect("a client");
    let bob = SipClient::builder().identity("sip:bob@127.0.0.1").codecs(codecs).build().expect("a client");
    let mut incoming = bob.incoming().await.expect("calls");
    let at_alice = alice.call(bob.uri().expect("started")).await.expect("a call");
    let at_bob =
        within("a call", incoming.next()).await.expect("bob is there").answer().await.expect("answered");
    within("answered", at_alice.wait_for_answer()).await.expect("answered");
    let mut events = at_alice.events();
    at_bob.play(Sound::tone(440.0, 3_600_000)).await.expect("playing");

    until("bob's tone in the headset", || fake.0.headset.load(Ordering::SeqCst) > 10).await;
    within("alice's voice", async {
        while at_bob.quality().await.and_then(|quality| quality.heard_dbfs).is_none_or(|level| level < -20.0)
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;

    fake.0.unplugged.store(true, Ordering::SeqCst);
    let mut told = Vec::new();
    let both = async {
        while told.len() < 2 {
            if let Some(ClientEvent::Device { side, problem, works, .. }) = events.next().await {
                let problem = problem.expect("why");
                assert!(works && problem.contains("\"headset\": unplugged"), "{problem}");
                told.push(side);
            }
        }
    };
    within("devices", both).await;
    assert!(told.contains(&DeviceSide::Microphone) && told.contains(&DeviceSide::Loudspeaker), "{told:?}");
    until("bob's tone in the default device", || fake.0.default.load(Ordering::SeqCst) > 10).await;
    assert_eq!(at_alice.state(), CallState::Answered);
    within("hung up", at_alice.hangup()).await.expect("hung up");
}

#[test]
fn a_preset_sets_the_rate_over_what_stood_before_it() {
    let mistaken = SipClient::builder().identity("sip:a@127.0.0.1").rate_hz(1).headless().build();
    mistaken.expect("the preset has set the rate");
}

/// The payload types of the first offer, in order of preference.
async fn offered(client: SipClient) -> Vec<String> {
    let server = Hand::new().await;
    let _call = client.call(format!("sip:bob@{}", server.address())).await.expect("a call");
    let invite = server.hear("INVITE").await;
    let line = invite.text.lines().find(|line| line.starts_with("m=audio ")).expect("an audio line");
    line.split(' ').skip(3).map(str::to_owned).collect()
}

#[tokio::test]
async fn presets_offer_what_they_are_for_and_what_is_set_after_them_counts() {
    let builder = || SipClient::builder().identity("sip:a@127.0.0.1");
    let built = |builder: ClientBuilder| builder.audio(Audio::None).build().expect("a client");
    let [pcmu, pcma, g722] = ["0", "8", "9"];
    for wide in [builder().softphone(), builder().agent()] {
        let offered = offered(built(wide)).await;
        let opus: u8 = offered[0].parse().expect("a payload type");
        assert!(
            opus >= 96 && [g722, pcmu, pcma].iter().all(|it| offered.iter().any(|o| o == it)),
            "{offered:?}"
        );
    }
    let plain = offered(built(builder().headless())).await;
    assert_eq!(plain[..3], [pcmu, pcma, g722]);
    let set_after = offered(built(builder().headless().codecs([Codec::G722]))).await;
    assert!(set_after[0] == g722 && !set_after.iter().any(|it| it == pcmu), "{set_after:?}");
}

#[tokio::test]
async fn each_call_says_the_file_again_and_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tone.wav");
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut wav = hound::WavWriter::create(&file, spec).expect("a file");
    for n in 0..1_600 {
        wav.write_sample(if n % 32 < 16 { 8_000i16 } else { -8_000 }).expect("written");
    }
    wav.finalize().expect("written");
    let builder = || SipClient::builder().identity("sip:alice@127.0.0.1");
    let alice = builder().audio(Audio::Files { say: file.clone() }).build().expect("a client");
    let bob = SipClient::builder().identity("sip:bob@127.0.0.1").build().expect("a client");
    let mut incoming = bob.incoming().await.expect("calls");
    let at_alice = alice.call(bob.uri().expect("started")).await.expect("a call");
    let at_bob =
        within("a call", incoming.next()).await.expect("bob is there").answer().await.expect("answered");
    // The file holds a tenth of a second, so a second of audio repeats it ten times. On a loaded machine
    // concealed audio is quieter: then later audio counts.
    let loud = |level: Option<f64>| level.is_some_and(|level| level > -20.0);
    within("a second of sound, and then loud", async {
        while at_bob.quality().await.is_none_or(|it| it.received < 50 || !loud(it.heard_dbfs)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    within("hung up", at_alice.hangup()).await.expect("hung up");

    std::fs::remove_file(&file).expect("removed");
    let mut events = alice.events().await.expect("events");
    let silent = alice.call(bob.uri().expect("started")).await.expect("a call");
    let told = |event: &ClientEvent| match event {
        ClientEvent::Audio { call, problem: AudioProblem::NoFile(_) } => *call == silent.id(),
        _ => false,
    };
    within("it is told", async { while !events.next().await.as_ref().is_some_and(told) {} }).await;
    within("hung up", silent.hangup()).await.expect("hung up");
    let error = builder().audio(Audio::Files { say: file }).build().expect_err("there is no file");
    assert_eq!(error.mistakes[0].key, "audio", "{error}");
}
