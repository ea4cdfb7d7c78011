//! Recordings of parties on loopback, by the embedded controller.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;
use crate::controller::{
    AddressFamily, Answer, EmbeddedConfig, EmbeddedController, EndpointSpec, MediaBackend, MediaController,
    PairPolicy, Verb,
};
use b2b_media::codec::g711::alaw_encode;
use b2b_media::dtmf::goertzel;

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

struct Party {
    socket: UdpSocket,
    id: EndpointId,
    local: SocketAddr,
    hz: f64,
    sent: u32,
}

fn wait<T: Unpin>(future: MediaFuture<T>) -> Result<T, MediaError> {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

impl Party {
    fn new(controller: &EmbeddedController, hz: f64) -> Party {
        let socket = UdpSocket::bind((LOCALHOST, 0)).unwrap();
        let (id, local) = wait(controller.allocate_endpoint(EndpointSpec::new(AddressFamily::V4))).unwrap();
        Party { socket, id, local: local.rtp, hz, sent: 0 }
    }

    fn session(&self) -> Bytes {
        let port = self.socket.local_addr().unwrap().port();
        format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP 8\r\na=rtcp-mux\r\n"
        )
        .into()
    }

    /// Sends 20 ms of its tone.
    fn speak(&mut self) {
        let mut packet = vec![0x80, 8];
        packet.extend_from_slice(&(self.sent as u16).to_be_bytes());
        packet.extend_from_slice(&(self.sent * 160).to_be_bytes());
        packet.extend_from_slice(&[9, 9, 9, self.hz as u8]);
        let sample = |n: u32| {
            let t = f64::from(self.sent * 160 + n) / 8_000.0;
            alaw_encode((8_000.0 * (std::f64::consts::TAU * self.hz * t).sin()) as i16)
        };
        packet.extend((0..160).map(sample));
        self.socket.send_to(&packet, self.local).unwrap();
        self.sent += 1;
    }
}

struct Call {
    controller: EmbeddedController,
    events: mpsc::UnboundedReceiver<MediaEvent>,
    parties: [Party; 2],
}

impl Call {
    /// Two parties with tones of 440 and 700 Hz.
    fn new(ports: std::ops::RangeInclusive<u16>) -> Call {
        let config =
            EmbeddedConfig { threads: Some(1), ..EmbeddedConfig::new(vec![(LOCALHOST, None)], ports, 3) };
        let (controller, events) = EmbeddedController::start(config).unwrap();
        let parties = [Party::new(&controller, 440.0), Party::new(&controller, 700.0)];
        let [a, b] = &parties;
        let (from, to, policy) = (a.id, b.id, PairPolicy::default());
        for verb in [
            Verb::PairOffer { from, to, offer: a.session(), policy },
            Verb::PairAnswer { from: to, to: from, answer: b.session() },
            Verb::Bridge { a: from, b: to },
        ] {
            wait(controller.request(verb)).unwrap();
        }
        wait(controller.stats(a.id)).unwrap();
        Call { controller, events, parties }
    }

    /// Starts to record the first party.
    fn record(&self, spec: &RecordingSpec) -> Result<RecordingId, MediaError> {
        let verb = Verb::Record { recording: None, endpoint: self.parties[0].id, spec: spec.clone() };
        wait(self.controller.request(verb).read(Answer::recording))
    }

    fn stop(&self, recording: RecordingId) -> Result<Recorded, MediaError> {
        wait(self.controller.request(Verb::StopRecording { recording }).read(Answer::recorded))
    }

    /// Both send this many packets.
    fn speak(&mut self, packets: u32) {
        let start = Instant::now();
        for n in 0..packets {
            self.parties.iter_mut().for_each(Party::speak);
            let next = start + Duration::from_millis(20) * (n + 1);
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    }

    fn recorded(&mut self) -> Recorded {
        loop {
            if let MediaEvent::Recorded { recorded, .. } = self.events.blocking_recv().expect("a recording") {
                return recorded;
            }
        }
    }
}

/// The left and right channels.
fn channels(path: &Path) -> (Vec<i16>, Vec<i16>) {
    let mut reader = hound::WavReader::open(path).unwrap();
    assert_eq!((reader.spec().channels, reader.spec().sample_rate), (2, 8_000));
    let all: Vec<i16> = reader.samples::<i16>().map(Result::unwrap).collect();
    all.chunks_exact(2).map(|both| (both[0], both[1])).unzip()
}

/// The number of 20 ms sections in which each tone dominates: 440 Hz, 700 Hz.
fn tones(samples: &[i16]) -> (usize, usize) {
    let mut found = (0, 0);
    for stretch in samples.chunks_exact(160) {
        let [low, high] = [440.0, 700.0].map(|hz| goertzel(stretch, hz, 8_000));
        found.0 += usize::from(low > 1e3 && low > 20.0 * high);
        found.1 += usize::from(high > 1e3 && high > 20.0 * low);
    }
    found
}

#[test]
fn a_bridged_call_is_recorded_with_what_the_party_says_left_and_hears_right() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("call.wav");
    let mut call = Call::new(22_900..=22_949);
    let recording = call.record(&RecordingSpec::new(&path)).unwrap();
    // More than is checked: a machine that stalls loses the packets that it did not send.
    call.speak(150);
    assert!(!path.exists(), "it is not complete");
    let recorded = call.stop(recording).unwrap();
    assert_eq!((recorded.path.as_path(), &recorded.error), (path.as_path(), &None));
    assert_eq!(call.recorded(), recorded, "everybody is told the same");
    let (left, right) = channels(&path);
    assert_eq!(left.len(), (recorded.lasts.as_secs_f64() * 8_000.0).round() as usize);
    let (said, heard) = (tones(&left), tones(&right));
    assert!(said.0 > 80 && said.1 == 0, "left: {said:?}");
    assert!(heard.1 > 80 && heard.0 == 0, "right: {heard:?}");
    assert_eq!(call.stop(recording).unwrap(), recorded, "it is known for a while");
    let none = call.stop(RecordingId(99));
    assert!(matches!(none, Err(MediaError::File(_))));
}

#[test]
fn a_recording_ends_with_its_endpoint_and_a_second_one_needs_another_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("call.wav");
    let mut call = Call::new(22_950..=22_999);
    let id = call.parties[0].id;
    let spec = RecordingSpec::new(&path);
    call.record(&spec).unwrap();
    let second = call.record(&spec);
    assert!(matches!(second, Err(MediaError::File(_))), "{second:?}");
    call.speak(50);
    call.controller.release_endpoint(id);
    assert_eq!(call.recorded().error, None);
    assert!(tones(&channels(&path).0).0 > 5);
    assert_eq!(call.record(&spec), Err(MediaError::NoSuchEndpoint(id)), "it is gone");
}
