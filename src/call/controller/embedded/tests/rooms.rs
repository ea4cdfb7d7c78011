//! Rooms of the embedded controller, with parties on loopback.

use std::f64::consts::TAU;
use std::time::Instant;

use super::sounding::{chirp, found, wait, wav};
use super::*;
use crate::controller::{ConferenceId, ConferenceSpec, Member, Played, RecordingId, RecordingSpec};
use b2b_media::codec::{Codec, Decoder, Encoder, OpusTuning};

const RATE: u32 = 16_000;

impl Lab {
    fn create_conference(&self, rate_hz: u32, most: usize) -> ConferenceId {
        let spec = ConferenceSpec { rate_hz, most };
        let created = self.controller.request(Verb::CreateConference { conference: None, spec });
        ready(created.read(Answer::conference)).unwrap()
    }

    fn end_conference(&self, conference: ConferenceId) {
        self.controller.tell(Verb::EndConference { conference });
    }

    fn add(&self, conference: ConferenceId, party: &Party, member: Member) -> Result<Answer, MediaError> {
        self.ask(Verb::AddToConference { conference, endpoint: party.id, member })
    }

    fn play_to_all(&self, conference: ConferenceId, prompt: &Prompt) -> Result<Played, MediaError> {
        let verb = Verb::PlayToConference { conference, prompt: prompt.clone() };
        wait(self.controller.request(verb).read(Answer::played))
    }

    fn record_all(&self, conference: ConferenceId, spec: &RecordingSpec) -> Result<RecordingId, MediaError> {
        let verb = Verb::RecordConference { recording: None, conference, spec: spec.clone() };
        wait(self.controller.request(verb).read(Answer::recording))
    }
}

/// A party that sends a tone and stores what it hears.
struct Talker {
    party: Party,
    codec: Codec,
    hz: f64,
    said: usize,
    encoder: Encoder,
    decoder: Decoder,
    heard: Vec<i16>,
}

impl Talker {
    fn new(lab: &Lab, codec: Codec, hz: f64) -> Self {
        Talker {
            party: lab.caller(codec),
            codec,
            hz,
            said: 0,
            encoder: Encoder::new(codec, RATE, OpusTuning { bitrate: 24_000, expected_loss_pct: 0 }),
            decoder: Decoder::new(codec, RATE),
            heard: Vec::new(),
        }
    }

    fn talk(&mut self) {
        let mut samples = [0; 320];
        for (n, sample) in samples.iter_mut().enumerate() {
            let t = (self.said * 320 + n) as f64 / f64::from(RATE);
            *sample = (6_000.0 * (TAU * self.hz * t).sin()) as i16;
        }
        let mut payload = [0; 480];
        let len = self.encoder.encode(&samples, &mut payload).unwrap();
        let mut packet = vec![0x80, self.codec.payload_type()];
        packet.extend_from_slice(&(self.said as u16).to_be_bytes());
        packet.extend_from_slice(&(self.said as u32 * self.codec.clock_rate() / 50).to_be_bytes());
        packet.extend_from_slice(&[9, 9, 9, self.party.id.0 as u8]);
        packet.extend_from_slice(&payload[..len]);
        self.party.socket.send_to(&packet, self.party.local).unwrap();
        self.said += 1;
    }

    fn listen(&mut self) {
        self.party.socket.set_nonblocking(true).unwrap();
        let mut buffer = [0; 2_048];
        while let Ok(len) = self.party.socket.recv(&mut buffer) {
            let Some(header) = b2b_media::forward::Header::read(&buffer[..len]) else { continue };
            if header.payload_type == self.codec.payload_type() {
                let mut samples = [0; 1_920];
                let payload = &buffer[header.payload..len];
                let count = self.decoder.decode(payload, &mut samples).unwrap();
                self.heard.extend(&samples[..count]);
            }
        }
    }

    /// The level of a tone in the last 200 ms.
    fn strength(&self, hz: f64) -> f64 {
        let last = &self.heard[self.heard.len().saturating_sub(3_200)..];
        let angle = |n: usize| TAU * hz * n as f64 / f64::from(RATE);
        let part = |f: fn(f64) -> f64| -> f64 {
            last.iter().enumerate().map(|(n, sample)| f64::from(*sample) * f(angle(n))).sum()
        };
        2.0 * part(f64::cos).hypot(part(f64::sin)) / last.len().max(1) as f64
    }
}

/// All parties send audio until the condition holds.
fn talk_until(parties: &mut [Talker], what: impl Fn(&[Talker]) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        for party in parties.iter_mut() {
            party.talk();
        }
        std::thread::sleep(Duration::from_millis(20));
        parties.iter_mut().for_each(Talker::listen);
        if what(parties) {
            return;
        }
    }
    let heard: Vec<Vec<f64>> =
        parties.iter().map(|one| parties.iter().map(|other| one.strength(other.hz)).collect()).collect();
    panic!("not in time: {heard:?}");
}

/// Whether each party hears all others, and not itself.
fn all_but_himself(parties: &[Talker]) -> bool {
    parties.iter().all(|one| {
        parties.iter().all(|other| (one.strength(other.hz) > 2_000.0) == (one.party.id != other.party.id))
    })
}

#[test]
fn three_hear_each_other_on_one_thread_and_on_two() {
    for threads in [1, 2] {
        let ports = 24_600 + threads as u16 * 200;
        let config = EmbeddedConfig {
            threads: Some(threads),
            ..EmbeddedConfig::new(vec![(LOCALHOST, None)], ports..=ports + 199, 3)
        };
        let (controller, events) = EmbeddedController::start(config).unwrap();
        let mut lab = Lab { controller, events };
        let room = lab.create_conference(16_000, 3);
        let mut parties = [
            Talker::new(&lab, Codec::Pcmu, 500.0),
            Talker::new(&lab, Codec::Opus, 700.0),
            Talker::new(&lab, Codec::G722, 900.0),
        ];
        for talker in &parties {
            lab.add(room, &talker.party, Member::default()).unwrap();
        }
        let fourth = lab.caller(Codec::Pcmu);
        let full = lab.add(room, &fourth, Member::default());
        assert_eq!(full, Err(MediaError::Conference));
        talk_until(&mut parties, all_but_himself);
        let spoke: Vec<EndpointId> = std::iter::from_fn(|| lab.events.try_recv().ok())
            .filter_map(|event| match event {
                MediaEvent::Speaking { conference, endpoint, on: true } if conference == room => {
                    Some(endpoint)
                }
                _ => None,
            })
            .collect();
        assert!(parties.iter().all(|talker| spoke.contains(&talker.party.id)), "{spoke:?}");

        // Muting and unmuting a member.
        let mute = Member { muted: true, ..Member::default() };
        lab.add(room, &parties[1].party, mute).unwrap();
        talk_until(&mut parties, |parties| {
            parties[0].strength(700.0) < 300.0
                && parties[0].strength(900.0) > 2_000.0
                && parties[1].strength(500.0) > 2_000.0
        });
        lab.ask(Verb::RemoveFromConference { conference: room, endpoint: parties[2].party.id }).unwrap();
        lab.settle(&parties[2].party);
        talk_until(&mut parties, |parties| parties[0].strength(900.0) < 300.0);
        lab.end_conference(room);
        assert_eq!(lab.controller.conferences(), 0);
        let over = lab.add(room, &fourth, Member::default());
        assert_eq!(over, Err(MediaError::Conference));
        for id in parties.iter().map(|talker| talker.party.id).chain([fourth.id]) {
            lab.controller.release_endpoint(id);
        }
        let mut closed = 0;
        while closed < 4 {
            if let MediaEvent::Closed { endpoint, .. } = lab.events.blocking_recv().unwrap() {
                closed +=
                    usize::from(parties.iter().any(|it| it.party.id == endpoint) || endpoint == fourth.id);
            }
        }
        assert_eq!(lab.controller.relay.open_endpoints(), 0, "no end of a trunk is left");
        lab.controller.shutdown();
    }
}

#[test]
fn a_file_is_played_to_all_in_a_room() {
    let folder = tempfile::tempdir().unwrap();
    let path = wav(folder.path(), "prompt.wav", 48_000, &chirp(48_000, 500));
    let lab = Lab::new(25_100..=25_199);
    let room = lab.create_conference(8_000, 9);
    let empty = lab.play_to_all(room, &Prompt::default());
    assert_eq!(empty, Ok(Played::Complete), "nobody is there to hear it");
    let parties = [Codec::Pcma, Codec::G722].map(|codec| (lab.caller(codec), codec));
    for (party, _) in &parties {
        lab.add(room, party, Member::default()).unwrap();
    }
    let prompt = Prompt::file(&path);
    assert_eq!(lab.play_to_all(room, &prompt), Ok(Played::Complete));
    for (party, codec) in &parties {
        let heard = party.hear(*codec, 8_000, 40);
        let (alike, _) = found(&chirp(8_000, 500)[400..3_200], &heard);
        assert!(alike > 0.9, "{codec}: {alike}");
    }
    let missing = Prompt::file(folder.path().join("missing.wav"));
    assert!(matches!(lab.play_to_all(room, &missing), Err(MediaError::Prompt(_))));
    lab.end_conference(room);
    assert_eq!(lab.play_to_all(room, &prompt), Err(MediaError::Conference));
}

#[test]
fn a_room_is_recorded_as_one_channel_by_nobody_who_is_heard() {
    let folder = tempfile::tempdir().unwrap();
    for (threads, rate_hz) in [(1, 8_000), (2, 16_000)] {
        let ports = 25_200 + threads as u16 * 100;
        let config = EmbeddedConfig {
            threads: Some(threads),
            ..EmbeddedConfig::new(vec![(LOCALHOST, None)], ports..=ports + 99, 3)
        };
        let (controller, events) = EmbeddedController::start(config).unwrap();
        let mut lab = Lab { controller, events };
        let room = lab.create_conference(rate_hz, 2);
        let mut parties = [Talker::new(&lab, Codec::Pcmu, 500.0), Talker::new(&lab, Codec::G722, 700.0)];
        for talker in &parties {
            lab.add(room, &talker.party, Member::default()).unwrap();
        }
        let path = folder.path().join(format!("{rate_hz}.wav"));
        let spec = RecordingSpec { rate_hz: 16_000, ..RecordingSpec::new(&path) };
        let recording = lab.record_all(room, &spec).unwrap();
        let begun = Instant::now();
        talk_until(&mut parties, |parties| {
            all_but_himself(parties) && begun.elapsed() > Duration::from_millis(1_500)
        });
        let recorded =
            wait(lab.controller.request(Verb::StopRecording { recording }).read(Answer::recorded)).unwrap();
        assert_eq!((recorded.path, recorded.error), (path.clone(), None));
        let mut file = hound::WavReader::open(&path).unwrap();
        assert_eq!((file.spec().channels, file.spec().sample_rate), (1, 16_000));
        let samples: Vec<i16> = file.samples().map(Result::unwrap).collect();
        assert!(samples.len() > 16_000, "{}", samples.len());
        // Both at once within 200 ms: if this machine was late, audio is stretched.
        let both = samples.windows(3_200).step_by(800).any(|part| {
            parties[0].heard = part.to_vec();
            parties[0].strength(500.0) > 2_000.0 && parties[0].strength(700.0) > 2_000.0
        });
        assert!(both, "{threads}: {} samples", samples.len());
        let missing = lab.record_all(room, &RecordingSpec::new(path.join("x.wav")));
        assert!(matches!(missing, Err(MediaError::File(_))), "{missing:?}");
        let second = folder.path().join(format!("second-{rate_hz}.wav"));
        lab.record_all(room, &RecordingSpec::new(&second)).unwrap();
        lab.end_conference(room);
        let over = lab.record_all(room, &spec);
        assert_eq!(over, Err(MediaError::Conference));
        parties.iter().for_each(|talker| lab.controller.release_endpoint(talker.party.id));
        assert_eq!((lab.controller.endpoints(), lab.controller.relay.open_endpoints()), (0, 0));
        // The end of the room ends its recording.
        loop {
            match lab.events.blocking_recv().unwrap() {
                MediaEvent::Recorded { recorded, .. } if recorded.path == second => break,
                _ => {}
            }
        }
        lab.controller.shutdown();
    }
}
