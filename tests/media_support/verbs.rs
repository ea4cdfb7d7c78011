//! Requests of applications to a media controller, verb by verb: verified by the audio at a party's socket,
//! and by files.

use super::*;

/// A sample value above all silence and below every tone here.
const LOUD: u16 = 1_500;
/// Number of 20 ms turns without audio that count as silence.
const QUIET_TURNS: usize = 15;

/// The signal a party sends: 20 ms of simultaneous sines.
#[derive(Clone, Copy)]
struct Saying(&'static [f64]);

const NOTHING: Saying = Saying(&[]);
const A_TONE: Saying = Saying(&[1_000.0]);
/// The key 5 (ITU-T Q.23).
const KEY_5: Saying = Saying(&[770.0, 1_336.0]);

/// Packets received in a turn.
#[derive(Default)]
struct Heard {
    loudest: u16,
    /// Event codes of RFC 4733.
    events: Vec<u8>,
}

impl Party {
    /// Its description, with telephone events as payload type 101.
    fn says_with_events(&self, version: u32) -> Bytes {
        let text = String::from_utf8(self.says(version, "sendrecv").to_vec()).expect("text");
        let text = text.replace("RTP/AVP 0\r\n", "RTP/AVP 0 101\r\n");
        format!("{text}a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n").into()
    }

    /// Sends the next 20 ms.
    fn say(&mut self, to: SocketAddr, saying: Saying) {
        let from = usize::from(self.next) * 160;
        let sample = |n: usize| {
            let at = (from + n) as f64 / 8_000.0;
            let sum: f64 = saying.0.iter().map(|hz| (at * hz * std::f64::consts::TAU).sin()).sum();
            ulaw_encode((sum * 8_000.0) as i16)
        };
        self.send(to, &(0..160).map(sample).collect::<Vec<u8>>());
    }

    /// Packets received so far, and within 20 ms.
    fn listen(&self) -> Heard {
        let (start, mut heard, mut buffer) = (Instant::now(), Heard::default(), [0; 2_048]);
        while start.elapsed() < Duration::from_millis(20) {
            let Ok((length, _)) = self.rtp.recv_from(&mut buffer) else { break };
            match buffer[1] & 0x7f {
                0 if length >= 172 => {
                    let loudest =
                        buffer[12..length].iter().map(|byte| ulaw_decode(*byte).unsigned_abs()).max();
                    heard.loudest = heard.loudest.max(loudest.unwrap_or_default());
                }
                101 if length >= 16 => heard.events.push(buffer[12]),
                _ => {}
            }
        }
        heard
    }
}

/// Sends a signal until the condition on received audio holds.
async fn says_until(
    (party, to): (&mut Party, SocketAddr),
    saying: Saying,
    what: &str,
    mut holds: impl FnMut(&Party) -> bool,
) {
    let start = Instant::now();
    loop {
        assert!(start.elapsed() < PATIENCE, "in vain: {what}");
        party.say(to, saying);
        if holds(party) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Sends a tone until the other party has heard nothing loud for a while.
async fn is_not_heard(from: (&mut Party, SocketAddr), by: Option<&Party>, what: &str) {
    let mut quiet = 0;
    says_until(from, A_TONE, what, |party| {
        let loud = by.unwrap_or(party).listen().loudest > LOUD;
        quiet = if loud { 0 } else { quiet + 1 };
        quiet >= QUIET_TURNS
    })
    .await;
}

/// The loudest sample of a file.
fn loudest(path: &std::path::Path) -> u16 {
    let mut file = hound::WavReader::open(path).expect("a WAV file");
    file.samples::<i16>().map(|sample| sample.expect("a sample").unsigned_abs()).max().unwrap_or_default()
}

impl Carried<'_> {
    /// A described party, and its address at the controller.
    async fn described(&self) -> (Party, EndpointId, SocketAddr) {
        let party = Party::new();
        let (id, _) = self.endpoint(None).await;
        let told = good("an answer", self.local_answer(id, party.says_with_events(1))).await;
        let to = address(&told);
        (party, id, to)
    }

    pub(super) async fn verbs(&mut self) {
        self.opening().await;
        self.digits().await;
        self.echo().await;
        self.recordings().await;
        self.room_verbs().await;
        self.direct().await;
        self.what_it_cannot().await;
    }

    /// An endpoint opened with its first description.
    async fn opening(&mut self) {
        let mut ann = Party::new();
        let id = good("an endpoint", self.media.open_endpoint(EndpointSpec::new(AddressFamily::V4))).await;
        let told = good("an answer", self.local_answer(id, ann.says(1, "sendrecv"))).await;
        let start = Instant::now();
        while good("counters", self.media.stats(id)).await.received.packets == 0 {
            assert!(start.elapsed() < PATIENCE, "nothing received");
            ann.say(address(&told), NOTHING);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.media.release_endpoint(id);
    }

    /// Digits sent as events, received as tones, and a collection that is cancelled.
    async fn digits(&mut self) {
        let (mut ann, a, to_a) = self.described().await;
        // A controller that does not detect digits does not send them, either.
        if self.has(Capability::DigitEvents) {
            says_until((&mut ann, to_a), NOTHING, "an event", |ann| {
                self.media.tell(Verb::SendDigit { endpoint: a, digit: '5', duration_ms: 100 });
                ann.listen().events.contains(&5)
            })
            .await;
        }
        if self.has(Capability::DigitCollection) {
            let collecting = tokio::spawn(self.collect(a, None, DigitPlan::new(3)));
            self.media.tell(Verb::FeedDigit { endpoint: a, digit: '7' });
            good("counters", self.media.stats(a)).await;
            self.media.tell(Verb::StopCollecting { endpoint: a });
            let collected = collecting.await.expect("no panic").expect("collected");
            assert_eq!((collected.digits.as_str(), collected.end), ("7", CollectEnd::Stopped));

            drop(self.media.request(Verb::HearTones { endpoint: a, on: Some(true) }));
            let collecting = tokio::spawn(self.collect(a, None, DigitPlan::new(1)));
            let mut turn = 0;
            while !collecting.is_finished() {
                assert!(turn < 1_500, "no digit of the tones");
                // A key for 120 ms, then 120 ms of silence.
                ann.say(to_a, if turn % 12 < 6 { KEY_5 } else { NOTHING });
                turn += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let collected = collecting.await.expect("no panic").expect("collected");
            assert_eq!((collected.digits.as_str(), collected.end), ("5", CollectEnd::Full));
            drop(self.media.request(Verb::HearTones { endpoint: a, on: Some(false) }));
        }
        self.media.release_endpoint(a);
    }

    async fn echo(&mut self) {
        let (mut ann, a, to_a) = self.described().await;
        if !self.has(Capability::Echo) {
            let refused = soon("an echo", self.media.request(Verb::Echo { endpoint: a, on: true })).await;
            assert_eq!(refused, Err(MediaError::Unsupported(Capability::Echo)));
        } else {
            good("an echo", self.media.request(Verb::Echo { endpoint: a, on: true })).await;
            says_until((&mut ann, to_a), A_TONE, "an echo", |ann| ann.listen().loudest > LOUD).await;
            good("no echo", self.media.request(Verb::Echo { endpoint: a, on: false })).await;
            is_not_heard((&mut ann, to_a), None, "the echo's end").await;
        }
        self.media.release_endpoint(a);
    }

    /// Audio sent while a recording is paused is not in it; audio of another party after it resumes is.
    async fn recordings(&mut self) {
        if !self.has(Capability::Recording) {
            return;
        }
        let (mut ann, a, to_a) = self.described().await;
        let (mut eve, c, to_c) = self.described().await;
        let spec = RecordingSpec::new(self.folder.join("paused.wav"));
        let recording = good("a recording", self.record(a, &spec)).await;
        self.media.tell(Verb::PauseRecording { recording, paused: true });
        good("counters", self.media.stats(a)).await;
        for saying in [A_TONE, NOTHING] {
            for _ in 0..25 {
                ann.say(to_a, saying);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        self.media.tell(Verb::PauseRecording { recording, paused: false });
        good("its end", self.stop_recording(recording)).await;
        assert!(loudest(&spec.path) < LOUD, "what was said in the pause");

        let spec = RecordingSpec::new(self.folder.join("followed.wav"));
        let recording = good("a recording", self.record(a, &spec)).await;
        self.media.follow_recording(recording, c, false).expect("followed");
        self.media.release_endpoint(a);
        good("counters", self.media.stats(c)).await;
        for _ in 0..50 {
            eve.say(to_c, A_TONE);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        good("its end", self.stop_recording(recording)).await;
        assert!(loudest(&spec.path) > LOUD, "what the other party said");
        self.media.release_endpoint(c);
    }

    /// A prompt for all members of a conference, its recording, and the removal of a member.
    async fn room_verbs(&mut self) {
        if !self.has(Capability::Conferences) {
            return;
        }
        let room = good("a room", self.create_conference()).await;
        let (mut ann, a, to_a) = self.described().await;
        let (bob, b, _) = self.described().await;
        for id in [a, b] {
            good("a place", self.add_to_conference(room, id)).await;
        }
        let tone = Prompt::new(vec![Part::tone(440, Duration::from_secs(2))]);
        let play = Verb::PlayToConference { conference: room, prompt: tone };
        let playing = tokio::spawn(self.media.request(play).read(Answer::played));
        let mut heard = (false, false);
        says_until((&mut ann, to_a), NOTHING, "a prompt for both", |ann| {
            heard = (heard.0 || ann.listen().loudest > LOUD, heard.1 || bob.listen().loudest > LOUD);
            heard == (true, true)
        })
        .await;
        assert_eq!(playing.await.expect("no panic"), Ok(Played::Complete));

        let spec = RecordingSpec::new(self.folder.join("room.wav"));
        let verb = Verb::RecordConference { recording: None, conference: room, spec: spec.clone() };
        let recording = good("a recording", self.media.request(verb).read(Answer::recording)).await;
        let mut turns = 0;
        says_until((&mut ann, to_a), A_TONE, "a tone in the room", |_| {
            turns += usize::from(bob.listen().loudest > LOUD);
            turns >= 25
        })
        .await;
        good("its end", self.stop_recording(recording)).await;
        assert!(loudest(&spec.path) > LOUD, "what was said in the room");

        self.media.tell(Verb::RemoveFromConference { conference: room, endpoint: b });
        is_not_heard((&mut ann, to_a), Some(&bob), "bob is out").await;
        self.media.tell(Verb::EndConference { conference: room });
        [a, b].into_iter().for_each(|id| self.media.release_endpoint(id));
    }

    /// Parties that exchange media directly, and return to the controller.
    async fn direct(&mut self) {
        let (ann, bob, policy) = (Party::new(), Party::new(), PairPolicy::default());
        let (a, _) = self.endpoint(None).await;
        let (b, _) = self.endpoint(Some(a)).await;
        let offer = good("an offer", self.pair_offer(a, b, ann.says(1, "sendrecv"), &policy)).await;
        good("an answer", self.pair_answer(b, a, bob.says(1, "sendrecv"))).await;
        good("a bridge", self.bridge(a, b)).await;
        let there = ann.rtp.local_addr().expect("bound");
        let verb = Verb::DirectOffer { from: a, to: b, heard: there, policy: policy.clone() };
        let direct = soon("a direct offer", self.describe(verb)).await;
        if self.has(Capability::DirectMedia) {
            assert_eq!(address(&direct.expect("an offer")), there);
            good(
                "its answer",
                self.media.request(Verb::ApplyRemote { endpoint: b, answer: bob.says(2, "sendrecv") }),
            )
            .await;
            let back = good("an offer back", self.describe(Verb::ReturnOffer { endpoint: b, policy })).await;
            assert_eq!(address(&back), address(&offer));
            good(
                "its answer",
                self.media.request(Verb::ApplyRemote { endpoint: b, answer: bob.says(3, "sendrecv") }),
            )
            .await;
        } else {
            assert_eq!(direct, Err(MediaError::Unsupported(Capability::DirectMedia)));
        }
        [a, b].into_iter().for_each(|id| self.media.release_endpoint(id));
    }

    /// A controller refuses unsupported requests by capability.
    async fn what_it_cannot(&mut self) {
        let (_, a, _) = self.described().await;
        if !self.has(Capability::Capture) {
            let refused = soon("a capture", self.media.capture(a, None)).await;
            assert_eq!(refused, Err(MediaError::Unsupported(Capability::Capture)));
        }
        if !self.has(Capability::Streams) {
            let spec = StreamSpec::new(16_000);
            let refused = soon("a stream", self.media.open_stream(a, spec)).await;
            assert_eq!(refused.map(drop), Err(MediaError::Unsupported(Capability::Streams)));
        }
        self.media.release_endpoint(a);
    }
}
