//! Requirements on every media controller: the same steps for all of them. Real sockets on this machine
//! represent the parties.

mod formats;
mod verbs;

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use b2b::call::controller::{
    AddressFamily, Answer, Capability, CollectEnd, Collected, ConferenceId, ConferenceSpec, DigitPlan,
    EndpointId, EndpointSpec, Joined, MediaController, MediaError, MediaEvent, MediaFuture, Member, Music,
    PairPolicy, Part, Played, Prompt, Recorded, RecordingId, RecordingSpec, StreamSpec, Verb,
};
use b2b::media::codec::g711::{ulaw_decode, ulaw_encode};
use bytes::Bytes;
use tokio::sync::mpsc::UnboundedReceiver;

const PATIENCE: Duration = Duration::from_secs(30);

/// A controller, and its events.
pub struct Carried<'a> {
    pub media: &'a dyn MediaController,
    pub events: UnboundedReceiver<MediaEvent>,
    /// A folder that the controller may write to.
    pub folder: &'a std::path::Path,
    seen: Vec<MediaEvent>,
}

/// One party, with its sockets.
struct Party {
    rtp: UdpSocket,
    next: u16,
}

async fn soon<T: Unpin + Send + 'static>(what: &str, future: MediaFuture<T>) -> Result<T, MediaError> {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("no answer to {what}"))
}

async fn good<T: Unpin + Send + 'static>(what: &str, future: MediaFuture<T>) -> T {
    soon(what, future).await.unwrap_or_else(|error| panic!("{what}: {error}"))
}

impl Party {
    fn new() -> Party {
        let rtp = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        rtp.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
        Party { rtp, next: 0 }
    }

    /// Its description, with this direction.
    fn says(&self, version: u32, direction: &str) -> Bytes {
        let port = self.rtp.local_addr().expect("bound").port();
        let text = format!(
            "v=0\r\no=- 1 {version} IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP 0\r\na={direction}\r\n"
        );
        text.into()
    }

    fn speak(&mut self, to: SocketAddr) {
        self.send(to, &[0xff; 160]);
    }

    /// Sends the next PCMU packet.
    fn send(&mut self, to: SocketAddr, payload: &[u8]) {
        let mut packet = vec![0x80, 0];
        packet.extend_from_slice(&self.next.to_be_bytes());
        packet.extend_from_slice(&(u32::from(self.next) * 160).to_be_bytes());
        packet.extend_from_slice(&7u32.to_be_bytes());
        packet.extend_from_slice(payload);
        self.next += 1;
        self.rtp.send_to(&packet, to).expect("loopback");
    }

    /// Whether RTP arrives within a short while.
    fn hears(&self) -> bool {
        let mut buffer = [0; 2_048];
        while let Ok((length, _)) = self.rtp.recv_from(&mut buffer) {
            // RTP rather than a report.
            if length >= 172 && buffer[1] & 0x7f == 0 {
                return true;
            }
        }
        false
    }

    fn forget(&self) {
        let mut buffer = [0; 2_048];
        while self.rtp.recv_from(&mut buffer).is_ok() {}
    }
}

/// The RTP address in a description.
fn address(description: &[u8]) -> SocketAddr {
    let text = String::from_utf8_lossy(description);
    let word = |start: &str, n: usize| {
        let line = text.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{text}"));
        line.split(' ').nth(n).expect("a word").to_owned()
    };
    format!("{}:{}", word("c=", 2), word("m=", 1)).parse().expect("an address")
}

/// Sends audio both ways until both parties hear it.
fn both_hear(a: (&mut Party, SocketAddr), b: (&mut Party, SocketAddr), what: &str) {
    let (start, mut heard) = (Instant::now(), (false, false));
    while heard != (true, true) {
        assert!(start.elapsed() < PATIENCE, "{what}: heard {heard:?}");
        a.0.speak(a.1);
        b.0.speak(b.1);
        heard = (heard.0 || a.0.hears(), heard.1 || b.0.hears());
    }
}

/// Sends audio until none of it arrives any more.
fn falls_silent(from: &mut Party, to: SocketAddr, other: &Party, what: &str) {
    let start = Instant::now();
    let mut quiet = 0;
    while quiet < 5 {
        assert!(start.elapsed() < PATIENCE, "{what}: still heard");
        from.speak(to);
        quiet = if other.hears() { 0 } else { quiet + 1 };
    }
}

impl<'a> Carried<'a> {
    pub fn new(
        media: &'a dyn MediaController,
        events: UnboundedReceiver<MediaEvent>,
        folder: &'a std::path::Path,
    ) -> Self {
        Carried { media, events, folder, seen: Vec::new() }
    }

    /// The first matching event not yet taken; others stay.
    async fn event(&mut self, what: &str, like: impl Fn(&MediaEvent) -> bool) -> MediaEvent {
        let found = async {
            loop {
                if let Some(at) = self.seen.iter().position(&like) {
                    return self.seen.remove(at);
                }
                self.seen.push(self.events.recv().await.expect("the controller goes on"));
            }
        };
        tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("no {what}"))
    }

    async fn endpoint(&self, near: Option<EndpointId>) -> (EndpointId, SocketAddr) {
        let mut spec = EndpointSpec::new(AddressFamily::V4);
        spec.near = near;
        // A media server that has just started may not be available yet.
        let start = Instant::now();
        loop {
            match soon("an endpoint", self.media.allocate_endpoint(spec.clone())).await {
                Ok((id, local)) => return (id, local.rtp),
                Err(MediaError::Stopped) if start.elapsed() < PATIENCE => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) => panic!("an endpoint: {error}"),
            }
        }
    }

    /// Starts a verb that is answered by a description.
    fn describe(&self, verb: Verb) -> MediaFuture<Bytes> {
        self.media.request(verb).read(Answer::description)
    }

    fn pair_offer(
        &self,
        from: EndpointId,
        to: EndpointId,
        offer: Bytes,
        policy: &PairPolicy,
    ) -> MediaFuture<Bytes> {
        self.describe(Verb::PairOffer { from, to, offer, policy: policy.clone() })
    }

    fn pair_answer(&self, from: EndpointId, to: EndpointId, answer: Bytes) -> MediaFuture<Bytes> {
        self.describe(Verb::PairAnswer { from, to, answer })
    }

    fn local_answer(&self, endpoint: EndpointId, offer: Bytes) -> MediaFuture<Bytes> {
        self.describe(Verb::LocalAnswer { endpoint, offer, policy: PairPolicy::default() })
    }

    fn bridge(&self, a: EndpointId, b: EndpointId) -> MediaFuture<Joined> {
        let joined = |answer| if let Answer::Joined(joined) = answer { Some(joined) } else { None };
        self.media.request(Verb::Bridge { a, b }).read(joined)
    }

    fn play(&self, endpoint: EndpointId, prompt: &Prompt) -> MediaFuture<Played> {
        self.media.request(Verb::Play { endpoint, prompt: prompt.clone() }).read(Answer::played)
    }

    fn collect(
        &self,
        endpoint: EndpointId,
        prompt: Option<Prompt>,
        plan: DigitPlan,
    ) -> MediaFuture<Collected> {
        self.media.request(Verb::Collect { endpoint, prompt, plan }).read(Answer::collected)
    }

    fn record(&self, endpoint: EndpointId, spec: &RecordingSpec) -> MediaFuture<RecordingId> {
        let verb = Verb::Record { recording: None, endpoint, spec: spec.clone() };
        self.media.request(verb).read(Answer::recording)
    }

    fn stop_recording(&self, recording: RecordingId) -> MediaFuture<Recorded> {
        self.media.request(Verb::StopRecording { recording }).read(Answer::recorded)
    }

    fn start_moh(&self, endpoint: EndpointId, class: &str) -> MediaFuture<Answer> {
        self.media.request(Verb::StartMoh { endpoint, class: Music::Named(class.to_owned()) })
    }

    /// A room for two.
    fn create_conference(&self) -> MediaFuture<ConferenceId> {
        let spec = ConferenceSpec { rate_hz: 8_000, most: 2 };
        self.media.request(Verb::CreateConference { conference: None, spec }).read(Answer::conference)
    }

    fn add_to_conference(&self, conference: ConferenceId, endpoint: EndpointId) -> MediaFuture<Answer> {
        self.media.request(Verb::AddToConference { conference, endpoint, member: Member::default() })
    }

    fn has(&self, capability: Capability) -> bool {
        self.media.capabilities().has(capability)
    }

    /// All steps.
    pub async fn suite(mut self) {
        self.calls().await;
        self.transcoding().await;
        self.encrypted().await;
        self.refusals().await;
        self.applications().await;
        self.rooms().await;
        self.verbs().await;
    }

    /// A call: offer and answer across, RTP both ways, hold, resume, counters, the end.
    async fn calls(&mut self) {
        let (mut ann, mut bob, policy) = (Party::new(), Party::new(), PairPolicy::default());
        let (a, _) = self.endpoint(None).await;
        let (b, _) = self.endpoint(Some(a)).await;
        assert_ne!(a, b);
        let offer = good("an offer", self.pair_offer(a, b, ann.says(1, "sendrecv"), &policy)).await;
        let to_b = address(&offer);
        assert!(!self.media.repeats(a, &ann.says(1, "sendrecv")), "nothing is agreed on");
        let answer = good("an answer", self.pair_answer(b, a, bob.says(1, "sendrecv"))).await;
        let to_a = address(&answer);
        assert_ne!(to_a, to_b);
        let joined = good("a bridge", self.bridge(a, b)).await;
        assert!(joined.is_relay(), "{joined:?}");
        both_hear((&mut ann, to_a), (&mut bob, to_b), "joined");
        let started =
            |id| move |it: &MediaEvent| matches!(it, MediaEvent::Started { endpoint, .. } if *endpoint == id);
        self.event("start of a's media", started(a)).await;

        // Both descriptions are known to the controller without a request.
        assert!(self.media.repeats(a, &ann.says(1, "sendrecv")));
        assert!(!self.media.repeats(a, &ann.says(2, "sendrecv")));
        let described = self.media.descriptions(b).expect("described");
        assert_eq!(&*described.said, &bob.says(1, "sendrecv")[..]);
        assert_eq!(&*described.told, &offer[..]);
        let refresh = good("a refresh", self.describe(Verb::RepeatOffer { endpoint: b })).await;
        assert_eq!(address(&refresh), to_b);
        self.media.tell(Verb::WithdrawOffer { endpoint: b });

        // Hold answered by b2b, and resume.
        let held = good("hold", self.local_answer(a, ann.says(2, "sendonly"))).await;
        assert!(String::from_utf8_lossy(&held).contains("a=recvonly"), "{held:?}");
        ann.forget();
        falls_silent(&mut bob, to_b, &ann, "a holds");
        let back = good("resume", self.local_answer(a, ann.says(3, "sendrecv"))).await;
        assert_eq!(address(&back), to_a, "the address stays");
        both_hear((&mut ann, to_a), (&mut bob, to_b), "resumed");

        let start = Instant::now();
        loop {
            let counted = good("counters", self.media.stats(a)).await;
            if counted.received.packets > 0 && counted.sent.packets > 0 {
                break;
            }
            assert!(start.elapsed() < PATIENCE, "{counted:?}");
        }
        good("the bridge's end", self.media.request(Verb::Unbridge { a, b })).await;
        bob.forget();
        falls_silent(&mut ann, to_a, &bob, "parted");
        good("a bridge", self.bridge(a, b)).await;
        both_hear((&mut ann, to_a), (&mut bob, to_b), "joined again");

        // An offer from b2b, as in a transfer.
        let (mut eve, (c, _)) = (Party::new(), self.endpoint(Some(a)).await);
        let verb = Verb::LocalOffer { endpoint: c, like: Some(a), policy };
        let offer = good("our offer", self.describe(verb)).await;
        let to_c = address(&offer);
        let verb = Verb::ApplyRemote { endpoint: c, answer: eve.says(1, "sendrecv") };
        good("its answer", self.media.request(verb)).await;
        good("a bridge", self.bridge(a, c)).await;
        both_hear((&mut ann, to_a), (&mut eve, to_c), "transferred");

        for id in [a, b, c] {
            self.media.release_endpoint(id);
            self.media.release_endpoint(id);
            let closed =
                |it: &MediaEvent| matches!(it, MediaEvent::Closed { endpoint, .. } if *endpoint == id);
            let last = self.event("last word", closed).await;
            if id == a {
                let MediaEvent::Closed { stats, .. } = last else { unreachable!() };
                assert!(stats.received.packets > 0 && stats.sent.packets > 0, "{stats:?}");
            }
        }
    }

    /// Impossible requests are refused, with the same errors by every controller.
    async fn refusals(&mut self) {
        let (ann, policy) = (Party::new(), PairPolicy::default());
        let (a, _) = self.endpoint(None).await;
        let (b, _) = self.endpoint(Some(a)).await;
        let nonsense = soon("nonsense", self.pair_offer(a, b, Bytes::from_static(b"v=1"), &policy)).await;
        assert_eq!(nonsense.expect_err("refused").status().0, 400);
        let early = soon("an answer to nothing", self.pair_answer(b, a, ann.says(1, "sendrecv"))).await;
        assert_eq!(early, Err(MediaError::NoOffer));
        let early = soon("a bridge of nothing", self.bridge(a, b)).await;
        assert!(matches!(early, Err(MediaError::Undescribed)), "{early:?}");
        self.media.release_endpoint(b);
        let gone = soon("a bridge of what is gone", self.bridge(a, b)).await;
        assert!(matches!(gone, Err(MediaError::NoSuchEndpoint(_))), "{gone:?}");
        let gone = soon("counters of what is gone", self.media.stats(b)).await;
        assert!(matches!(gone, Err(MediaError::NoSuchEndpoint(_))), "{gone:?}");
        self.media.release_endpoint(a);
        for id in [b, a] {
            let closed =
                |it: &MediaEvent| matches!(it, MediaEvent::Closed { endpoint, .. } if *endpoint == id);
            self.event("last word", closed).await;
        }
    }

    /// Prompts, digits, recordings, music, or the error that they are not supported.
    async fn applications(&mut self) {
        let mut ann = Party::new();
        let (a, _) = self.endpoint(None).await;
        let told = good("an answer", self.local_answer(a, ann.says(1, "sendrecv"))).await;
        let to_a = address(&told);
        let tone = Prompt::new(vec![Part::tone(440, Duration::from_millis(200))]);
        if !self.has(Capability::Prompts) {
            let refused = soon("a prompt", self.play(a, &tone)).await;
            assert_eq!(refused, Err(MediaError::Unsupported(Capability::Prompts)));
            let refused = soon("digits", self.collect(a, None, DigitPlan::new(1))).await;
            assert_eq!(refused.map(drop), Err(MediaError::Unsupported(Capability::DigitCollection)));
            self.media.release_endpoint(a);
            return;
        }
        assert_eq!(good("a prompt", self.play(a, &tone)).await, Played::Complete);
        assert!(ann.hears(), "a tone");
        let missing = soon("a file", self.play(a, &Prompt::file("/nowhere/at.wav"))).await;
        assert!(matches!(missing, Err(MediaError::Prompt(_))), "{missing:?}");
        let endless = self.play(a, &tone.clone().forever());
        self.media.tell(Verb::StopPrompt { endpoint: a });
        assert_eq!(good("a prompt's end", endless).await, Played::Stopped);

        let collecting = self.collect(a, Some(tone), DigitPlan::new(3));
        "12#".chars().for_each(|digit| self.media.tell(Verb::FeedDigit { endpoint: a, digit }));
        let collected = good("digits", collecting).await;
        assert_eq!((collected.digits.as_str(), collected.end), ("12", CollectEnd::Terminator('#')));

        let spec = RecordingSpec::new(self.folder.join("suite.wav"));
        let recording = good("a recording", self.record(a, &spec)).await;
        for _ in 0..20 {
            ann.speak(to_a);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let over = self.media.request(Verb::WaitForRecording { recording }).read(Answer::recorded);
        let recorded = good("its end", self.stop_recording(recording)).await;
        assert_eq!(recorded.path, spec.path);
        assert!(spec.path.is_file());
        assert_eq!(good("its end", over).await.path, spec.path);
        let said =
            |it: &MediaEvent| matches!(it, MediaEvent::Recorded { recording: it, .. } if *it == recording);
        self.event("word of the recording", said).await;

        good("music", self.start_moh(a, "default")).await;
        ann.forget();
        let start = Instant::now();
        while !ann.hears() {
            assert!(start.elapsed() < PATIENCE, "music");
        }
        self.media.tell(Verb::StopMoh { endpoint: a });
        let none = soon("music", self.start_moh(a, "no such class")).await;
        assert!(matches!(none, Err(MediaError::Prompt(_))), "{none:?}");
        self.media.release_endpoint(a);
    }

    /// A conference of two.
    async fn rooms(&mut self) {
        if !self.has(Capability::Conferences) {
            let refused = soon("a room", self.create_conference()).await;
            assert_eq!(refused, Err(MediaError::Unsupported(Capability::Conferences)));
            return;
        }
        let room = good("a room", self.create_conference()).await;
        let (mut ann, mut bob) = (Party::new(), Party::new());
        let mut there = Vec::new();
        for party in [&ann, &bob] {
            let (id, _) = self.endpoint(None).await;
            let told = good("an answer", self.local_answer(id, party.says(1, "sendrecv"))).await;
            good("a place", self.add_to_conference(room, id)).await;
            there.push((id, address(&told)));
        }
        both_hear((&mut ann, there[0].1), (&mut bob, there[1].1), "in a room");
        let (third, _) = self.endpoint(None).await;
        let full = soon("a third place", self.add_to_conference(room, third)).await;
        assert_eq!(full, Err(MediaError::Conference));
        self.media.release_endpoint(third);
        self.media.tell(Verb::EndConference { conference: room });
        let gone = soon("a place", self.add_to_conference(room, there[0].0)).await;
        assert_eq!(gone, Err(MediaError::Conference));
        there.iter().for_each(|(id, _)| self.media.release_endpoint(*id));
    }
}
