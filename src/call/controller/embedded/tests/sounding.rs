//! Prompts, digits and music of the embedded controller, with parties on loopback.

use std::f64::consts::TAU;
use std::path::{Path, PathBuf};

use super::super::*;
use super::*;
use crate::controller::{
    CollectEnd, Collected, DigitPlan, MusicClass, MusicSource, Part, Played, check_sound,
};
use b2b_media::codec::{Codec, Decoder};
use b2b_media::dtmf::goertzel;
use b2b_media::mix::Energy;

pub(super) fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await.expect("an answer in time") })
}

/// A chirp and pauses: correlation finds it at exactly one position.
pub(super) fn chirp(rate_hz: u32, ms: usize) -> Vec<i16> {
    let at = |n: usize| {
        let t = n as f64 / f64::from(rate_hz);
        let hz = 400.0 + 900.0 * t;
        (9_000.0 * (TAU * hz * t).sin() * (0.6 + 0.4 * (TAU * 3.0 * t).sin())) as i16
    };
    (0..rate_hz as usize * ms / 1_000).map(at).collect()
}

/// Writes a WAV file to a folder of this test.
pub(super) fn wav(folder: &Path, name: &str, rate_hz: u32, samples: &[i16]) -> PathBuf {
    let path = folder.join(name);
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: rate_hz,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(&path, spec).unwrap();
    samples.iter().for_each(|sample| writer.write_sample(*sample).unwrap());
    writer.finalize().unwrap();
    path
}

/// The best normalised correlation of `wanted` with `heard`, and its position.
pub(super) fn found(wanted: &[i16], heard: &[i16]) -> (f64, usize) {
    let norm = |samples: &[i16]| samples.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>().sqrt();
    let at = |n: usize| {
        let part = &heard[n..n + wanted.len()];
        let sum: f64 = wanted.iter().zip(part).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        sum / (norm(wanted) * norm(part)).max(1.0)
    };
    let places = 0..heard.len().saturating_sub(wanted.len());
    places.map(|n| (at(n), n)).max_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((0.0, 0))
}

impl Lab {
    /// A party that supports this codec only, and telephone events in both directions.
    pub(super) fn caller(&self, codec: Codec) -> Party {
        let party = self.party();
        let (payload_type, name) = (codec.payload_type(), codec.name());
        let channels = if codec == Codec::Opus { "/2" } else { "" };
        let clock = codec.clock_rate();
        let lines = format!(
            "sendrecv\r\na=rtpmap:{payload_type} {name}/{clock}{channels}\r\na=rtpmap:101 telephone-event/{clock}"
        );
        let offer = party.session(&format!("{payload_type} 101"), &lines);
        self.local_answer(&party, offer).unwrap();
        party
    }

    fn play(&self, party: &Party, prompt: Prompt) -> MediaFuture<Played> {
        self.controller.request(Verb::Play { endpoint: party.id, prompt }).read(Answer::played)
    }

    pub(super) fn start_moh(&self, party: &Party, class: &str) -> Result<Answer, MediaError> {
        let class = crate::controller::Music::Named(class.to_owned());
        wait(self.controller.request(Verb::StartMoh { endpoint: party.id, class }))
    }

    /// Collects digits, after a prompt if there is one.
    pub(super) fn collect(
        &self,
        party: &Party,
        prompt: Option<Prompt>,
        plan: DigitPlan,
    ) -> MediaFuture<Collected> {
        let verb = Verb::Collect { endpoint: party.id, prompt, plan };
        self.controller.request(verb).read(Answer::collected)
    }
}

impl Party {
    /// The decoded audio of this many packets.
    pub(super) fn hear(&self, codec: Codec, rate_hz: u32, packets: usize) -> Vec<i16> {
        let mut decoder = Decoder::new(codec, rate_hz);
        let mut heard = Vec::new();
        for _ in 0..packets {
            let (payload_type, _, payload) = self.receive();
            assert_eq!(payload_type, codec.payload_type());
            let mut samples = [0; 1_920];
            let count = decoder.decode(&payload, &mut samples).unwrap();
            heard.extend(&samples[..count]);
        }
        heard
    }

    /// The packets received so far.
    fn waiting(&self) -> usize {
        self.socket.set_nonblocking(true).unwrap();
        let mut buffer = [0; 2_048];
        let mut next = || self.socket.recv(&mut buffer).ok().map(|_| buffer[1] & 0x7F);
        let count = std::iter::from_fn(&mut next).filter(|second| !(64..=95).contains(second)).count();
        self.socket.set_nonblocking(false).unwrap();
        count
    }
}

#[test]
fn a_prompt_is_heard_in_each_codec() {
    let folder = tempfile::tempdir().unwrap();
    let path = wav(folder.path(), "prompt.wav", 44_100, &chirp(44_100, 900));
    let lab = Lab::new(24_000..=24_199);
    for codec in [Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::Opus] {
        let party = lab.caller(codec);
        let playing = lab.play(&party, Prompt::file(&path));
        assert_eq!(wait(playing), Ok(Played::Complete));
        let rate_hz = codec.native_rate_hz();
        let heard = party.hear(codec, rate_hz, 45);
        // Without its ends, because of codec delay.
        let chirp = chirp(rate_hz, 900);
        let (alike, at) = found(&chirp[chirp.len() / 10..chirp.len() * 8 / 10], &heard);
        assert!(alike > 0.95, "{codec}: {alike}");
        let delay_ms = (at as f64 - chirp.len() as f64 / 10.0) / f64::from(rate_hz) * 1_000.0;
        assert!((-1.0..20.0).contains(&delay_ms), "{codec}: {delay_ms} ms");
        assert_eq!(party.waiting(), 0, "and nothing behind it");
        lab.controller.release_endpoint(party.id);
    }
    assert_eq!(lab.controller.sounds().decoded, 2, "once for each rate");
    lab.controller.shutdown();
}

#[test]
fn what_cannot_be_played_is_an_error_at_once_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.wav");
    std::fs::write(&text, "no sound at all").unwrap();
    let lab = Lab::new(24_200..=24_299);
    let party = lab.caller(Codec::Pcmu);
    for (path, why) in [(folder.path().join("missing.wav"), "No such file"), (text, "text.wav")] {
        assert!(check_sound(&path).is_err());
        for error in [
            wait(lab.play(&party, Prompt::file(&path))).err(),
            wait(lab.collect(&party, Some(Prompt::file(&path)), DigitPlan::new(1))).err(),
        ] {
            let said = error.unwrap().to_string();
            assert!(said.contains(why) && said.contains("cannot be played; correct the file"), "{said}");
        }
    }
    lab.controller.release_endpoint(party.id);
    let gone = wait(lab.play(&party, Prompt::default()));
    assert_eq!(gone, Err(MediaError::NoSuchEndpoint(party.id)));
    assert_eq!(party.waiting(), 0);
}

#[test]
fn a_key_stops_the_prompt_within_a_packet_and_is_collected() {
    let mut lab = Lab::new(24_300..=24_399);
    let party = lab.caller(Codec::Pcma);
    let prompt = Prompt::new(vec![Part::tone(425, Duration::from_secs(30))]);
    let collected = lab.collect(&party, Some(prompt), DigitPlan::new(2));
    assert!(Energy::of(&party.hear(Codec::Pcma, 8_000, 10)).rms() > 1_000.0);
    party.send(101, 1, &[4, 0x0A, 0, 160]);
    lab.settle(&party);
    party.waiting();
    std::thread::sleep(Duration::from_millis(60));
    assert_eq!(party.waiting(), 0, "silence while the key is still down");
    party.send(101, 2, &[4, 0x8A, 1, 64]);
    lab.settle(&party);
    lab.controller.tell(Verb::FeedDigit { endpoint: party.id, digit: '#' });
    let expected = Collected { digits: "4".into(), end: CollectEnd::Terminator('#') };
    assert_eq!(wait(collected), Ok(expected));
    let digits = std::iter::from_fn(|| lab.events.try_recv().ok())
        .filter(|event| matches!(event, MediaEvent::Digit { digit: '4', .. }));
    assert_eq!(digits.count(), 1, "reported as well, and what came by signalling is not");
}

#[test]
fn a_prompt_is_played_into_a_bridge_and_the_other_party_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = wav(folder.path(), "prompt.wav", 8_000, &chirp(8_000, 300));
    let lab = Lab::new(24_400..=24_499);
    let (a, b) = (lab.party(), lab.party());
    lab.pair_offer(&a, &b, a.session("0", "sendrecv")).unwrap();
    lab.pair_answer(&b, &a, b.session("0", "sendrecv")).unwrap();
    lab.bridge(&a, &b).unwrap();
    lab.settle(&a);
    a.send(0, 1, b"before");
    let (_, ssrc, payload) = b.receive();
    assert_eq!(payload, b"before");
    let playing = lab.play(&b, Prompt::file(&path));
    let (_, same, first) = b.receive();
    assert_eq!((same, first.len()), (ssrc, 160), "one stream");
    a.send(0, 2, b"not heard");
    b.send(0, 1, b"still heard");
    assert_eq!(a.receive().2, b"still heard");
    assert_eq!(wait(playing), Ok(Played::Complete));
    for _ in 1..15 {
        assert_eq!(b.receive().2.len(), 160);
    }
    a.send(0, 3, b"after");
    assert_eq!(b.receive(), (0, ssrc, b"after".to_vec()));
}

#[test]
fn music_of_a_folder_is_heard_and_two_hear_the_same_moment() {
    let folder = tempfile::tempdir().unwrap();
    let whole = chirp(8_000, 2_000);
    wav(folder.path(), "1.wav", 8_000, &whole[..8_000]);
    wav(folder.path(), "2.wav", 8_000, &whole[8_000..]);
    std::fs::write(folder.path().join("cover.txt"), "no music").unwrap();
    let mut config = EmbeddedConfig {
        threads: Some(1),
        ..EmbeddedConfig::new(vec![(LOCALHOST, None)], 24_500..=24_599, 3)
    };
    let class =
        |name: &str, source: MusicSource, shared: bool| MusicClass { name: name.into(), source, shared };
    let tone = MusicSource::Tone { hz: [350, 440], on: Duration::from_secs(1), off: Duration::from_secs(2) };
    config.music = vec![
        class("radio", MusicSource::Folder(folder.path().into()), true),
        class("own", MusicSource::File(folder.path().join("1.wav")), false),
        class("tone", tone, false),
        class("empty", MusicSource::Folder(folder.path().join("nowhere")), false),
    ];
    let (controller, events) = EmbeddedController::start(config).unwrap();
    let lab = Lab { controller, events };
    let (a, b) = (lab.caller(Codec::Pcmu), lab.caller(Codec::Pcmu));
    assert_eq!(lab.start_moh(&a, "radio"), Ok(Answer::Done));
    let early = a.hear(Codec::Pcmu, 8_000, 20);
    assert_eq!(lab.start_moh(&b, "radio"), Ok(Answer::Done));
    let late = b.hear(Codec::Pcmu, 8_000, 15);
    let both = [early, a.hear(Codec::Pcmu, 8_000, 20)].concat();
    let (alike, at) = found(&late[..1_600], &both);
    assert!(alike > 0.99 && at > 2_000, "{alike} at {at}");
    let round = [&whole[..], &whole[..]].concat();
    assert!(found(&late[..1_600], &round).0 > 0.99);

    assert_eq!(lab.start_moh(&b, "own"), Ok(Answer::Done));
    lab.controller.tell(Verb::StopMoh { endpoint: a.id });
    lab.settle(&a);
    a.waiting();
    b.waiting();
    assert!(Energy::of(&b.hear(Codec::Pcmu, 8_000, 5)).rms() > 1_000.0);
    assert_eq!(a.waiting(), 0);
    assert_eq!(lab.start_moh(&a, "tone"), Ok(Answer::Done));
    assert!(Energy::of(&a.hear(Codec::Pcmu, 8_000, 5)).rms() > 1_000.0);
    // Of a folder that is not there, a tone of 440 Hz is heard.
    lab.controller.tell(Verb::StopMoh { endpoint: a.id });
    assert_eq!(lab.start_moh(&a, "empty"), Ok(Answer::Done));
    a.waiting();
    let heard = a.hear(Codec::Pcmu, 8_000, 10);
    let (tone, all) = (goertzel(&heard, 440.0, 8_000), Energy::of(&heard).rms().powi(2));
    assert!(tone > 0.9 * all && all > 1e6, "{tone} of {all}");
}
