//! A session of the lab or of the client library, and a far end that is no session, under the same networks.

use std::f64::consts::TAU;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use b2b_base::frame::{Fill, FrameSink, FrameSource, InFrame, OutFrame};
use b2b_base::util::ntp::{Now, NtpTime};
use b2b_media::remote::{Remote, SendFormat, Voice};
use b2b_media::session::{MediaParams, Output, PacketRecord, Session, SessionConfig, SessionEvent, Verdict};
use b2b_media::transport::Channel;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::network::{MS, SECOND, Weather};
use crate::party::{Joint, Party, Reported, Sent};
use crate::queue::Queue;
use crate::stream::Received;
use crate::total::Total;
use crate::world::{CHANGE, CLEAN, TIMEOUT};

/// Frames in which the program has heard somebody.
struct Ear(Arc<AtomicU64>);

impl FrameSink for Ear {
    fn frame(&mut self, frame: &InFrame<'_>) {
        let loud = frame.samples.iter().step_by(7).any(|sample| sample.unsigned_abs() > 1_000);
        self.0.fetch_add(u64::from(loud), Ordering::Relaxed);
    }
}

/// A tone.
struct Mouth(u64, u32);

impl FrameSource for Mouth {
    fn fill(&mut self, frame: &mut OutFrame<'_>) -> Fill {
        for sample in frame.samples.iter_mut() {
            *sample = (8_000.0 * (TAU * 350.0 * self.0 as f64 / f64::from(self.1)).sin()) as i16;
            self.0 += 1;
        }
        Fill::Audio
    }
}

enum What {
    Speaks,
    Comes(Sent),
    Reports,
    ReportComes(SocketAddr, Reported),
    Turns,
    Moves,
    Looks,
}

/// Looks at what the session sends and tells.
struct Wire<'a> {
    party: &'a mut Party,
    rng: &'a mut StdRng,
    at: u64,
    wall: NtpTime,
    verdict: &'a mut Option<Verdict>,
}

impl Output for Wire<'_> {
    fn transmit(&mut self, _: Channel, to: SocketAddr, datagram: &[u8]) {
        let Wire { party, rng, at, wall, .. } = self;
        assert!(party.at == to || party.before == Some(to), "sent to {to}");
        match datagram.get(1).is_some_and(|second| (64..=95).contains(&(second & 0x7F))) {
            true => party.hears_rtcp(rng, *at, *wall, datagram),
            false => party.hears_rtp(rng, *at, datagram),
        }
    }

    fn event(&mut self, event: SessionEvent) {
        match event {
            SessionEvent::Started => assert!(!std::mem::replace(&mut self.party.started, true)),
            SessionEvent::RtpTimeout => {
                let silent = self.at - self.party.accepted_at;
                assert!(silent + 20 * MS >= TIMEOUT, "a timeout after {} ms", silent / MS);
            }
            SessionEvent::Digit(_) | SessionEvent::SourceEnded => panic!("{event:?}"),
        }
    }

    fn received(&mut self, record: PacketRecord) {
        *self.verdict = Some(record.verdict);
    }
}

struct Talk {
    rng: StdRng,
    session: Session,
    party: Party,
    epoch: Instant,
    wall: NtpTime,
    at: u64,
    queue: Queue<What>,
    verdict: Option<Verdict>,
    /// The packet that waits for one behind it.
    probation: Option<(u64, u64, u64)>,
    heard: Arc<AtomicU64>,
    heard_before: u64,
}

pub fn talk(seed: u64, span: u64) -> Total {
    let mut rng = StdRng::seed_from_u64(seed ^ 0x7A1C);
    let weather = |rng: &mut StdRng| Weather::KINDS[rng.random_range(0..Weather::KINDS.len())];
    let weather = [weather(&mut rng), weather(&mut rng)];
    let wide = rng.random_range(0..4) == 0;
    let mut party = Party::new(&mut rng, 0, weather, wide);
    party.joint = Joint::Session;
    let rate_hz = if wide { 16_000 } else { 8_000 };
    let config = SessionConfig {
        rate_hz,
        jitter_ms: [20, 40, 60][rng.random_range(0..3)],
        rtp_timeout: Some(Duration::from_nanos(TIMEOUT)),
        ..SessionConfig::default()
    };
    let epoch = Instant::now();
    let mut talk = Talk {
        session: Session::new(config, epoch, seed),
        party,
        epoch,
        wall: NtpTime::from_system(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)),
        at: 0,
        queue: Queue::new(),
        verdict: None,
        probation: None,
        heard: Arc::default(),
        heard_before: 0,
        rng,
    };
    talk.begin();
    let calm = talk.rng.random_range(0..3) == 0;
    if !calm {
        talk.put(5, 120, What::Turns);
        talk.put(60, 600, What::Moves);
    }
    while let Some((at, what)) = talk.queue.take(span) {
        talk.wakes_until(at);
        talk.at = at;
        talk.happens(what);
    }
    let Party { accepted_packets, reports, hears, .. } = talk.party;
    let sent = hears.packets;
    Total { lived: span, packets: accepted_packets, sent, reports: u64::from(reports.0), ..Total::default() }
}

impl Talk {
    fn begin(&mut self) {
        let Party { at, codec, ptime_ms, .. } = self.party;
        let number = codec.payload_type();
        let gets = SendFormat::new(number, codec, ptime_ms);
        let remote = Remote { voice: Voice::new(Some(gets), [(number, codec)]), ..Remote::at(at) };
        let params = MediaParams { remote, abs_capture_time_id: None, protection: None };
        let now = self.now();
        self.session.configure(now, now.at, params);
        let rate_hz = if codec.law().is_some() { 8_000 } else { 16_000 };
        self.session.attach(now.at, Box::new(Mouth(0, rate_hz)), Box::new(Ear(self.heard.clone())));
        self.queue.put(self.party.due(), What::Speaks);
        self.put(1, 5, What::Reports);
        self.queue.put(SECOND, What::Looks);
    }

    /// So many seconds from now, by chance.
    fn put(&mut self, least: u64, most: u64, what: What) {
        let at = self.at + self.rng.random_range(least * SECOND..most * SECOND);
        self.queue.put(at, what);
    }

    fn now(&self) -> Now {
        let gone = Duration::from_nanos(self.at);
        Now { at: self.epoch + gone, wall: self.wall.plus(gone) }
    }

    fn with(&mut self, act: impl FnOnce(&mut Session, Now, &mut Wire<'_>)) {
        let now = self.now();
        let Talk { party, rng, verdict, at, .. } = self;
        let mut wire = Wire { party, rng, at: *at, wall: now.wall, verdict };
        act(&mut self.session, now, &mut wire);
    }

    /// The session's time comes, a little late now and then.
    fn wakes_until(&mut self, end: u64) {
        while let Some(wake) = self.session.next_wake() {
            let mut wake = wake.saturating_duration_since(self.epoch).as_nanos() as u64;
            if self.rng.random_range(0..200) == 0 {
                wake += self.rng.random_range(0..4 * MS);
            }
            if wake > end {
                break;
            }
            self.at = self.at.max(wake);
            self.with(|session, now, wire| {
                while let Some(tick) = session.next_due(now.at) {
                    session.play(now, tick);
                    session.send(now, tick, wire);
                }
                session.maintain(now, wire);
            });
        }
    }

    fn happens(&mut self, what: What) {
        let at = self.at;
        match what {
            What::Speaks => {
                if let Ok((sent, comes)) = self.party.says(&mut self.rng, at, Vec::new()) {
                    for comes in comes.into_iter().flatten() {
                        self.queue.put(comes, What::Comes(sent.clone()));
                    }
                }
                self.queue.put(self.party.due(), What::Speaks);
            }
            What::Comes(sent) => self.comes(sent),
            What::Reports => {
                let (source, report) = (self.party.at, self.party.report(at));
                if let [Some(comes), _] = self.party.out.arrivals(&mut self.rng, at) {
                    self.queue.put(comes, What::ReportComes(source, report));
                }
                self.put(3, 7, What::Reports);
            }
            What::ReportComes(source, Reported { mut data, middle, echoes }) => {
                self.with(|session, now, wire| {
                    session.datagram(now, now.at, Channel::Rtp, source, &mut data, wire);
                });
                self.party.report_comes(at, middle, echoes);
            }
            What::Turns => {
                self.party.talks ^= true;
                self.party.accepted.steady = false;
                let (least, most) = if self.party.talks { (5, 120) } else { (1, 25) };
                self.put(least, most, What::Turns);
            }
            What::Moves => {
                match self.rng.random() {
                    true => self.party.moves(at),
                    false => self.party.begins_anew(&mut self.rng, at),
                }
                self.put(60, 600, What::Moves);
            }
            What::Looks => self.looks(),
        }
    }

    fn comes(&mut self, mut sent: Sent) {
        let (at, source) = (self.at, sent.source);
        let before = self.session.stats(self.now().at).packets_rx;
        self.verdict = None;
        self.with(|session, now, wire| {
            session.datagram(now, now.at, Channel::Rtp, source, &mut sent.data, wire);
        });
        let taken = self.session.stats(self.now().at).packets_rx - before;
        let verdict = self.verdict.expect("the fate of a packet");
        let party = &mut self.party;
        let rate = party.codec.clock_rate();
        if verdict == Verdict::Probation {
            self.probation = Some((sent.number, at, sent.timestamp));
        }
        if taken > 0 {
            if party.accepted.ssrc != sent.ssrc || party.accepted_packets == 0 {
                party.accepted = Received::new(sent.ssrc);
            }
            if taken == 2 {
                let (number, at, timestamp) = self.probation.take().expect("one that waited");
                party.accepted.takes(number, at, timestamp, rate);
            }
            party.accepted.takes(sent.number, at, sent.timestamp, rate);
            party.accepted_packets += taken;
            party.accepted_at = at;
            if at - sent.at > party.out.weather.base + 20 * MS {
                party.clean_since = at;
            }
        } else {
            party.clean_since = at;
            if verdict != Verdict::Duplicate {
                let settles = party.changed_at + CHANGE + party.out.weather.longest();
                let since = (at - party.changed_at) / MS;
                assert!(at <= settles, "a packet is {verdict} {since} ms after the last change");
            }
        }
    }

    /// Who speaks without a fault is heard, and what the session has counted is what came.
    fn looks(&mut self) {
        let (at, party) = (self.at, &self.party);
        let heard = self.heard.load(Ordering::Relaxed);
        let since = party.clean_since.max(party.changed_at + CHANGE + party.out.weather.longest());
        if party.talks && at > since + CLEAN {
            let frames = heard - self.heard_before;
            assert!(frames >= 25, "{frames} frames of a second are heard");
        }
        self.heard_before = heard;
        let stats = self.session.stats(self.now().at);
        assert_eq!(stats.packets_rx, party.accepted_packets, "packets received");
        assert_eq!(stats.packets_tx, party.hears.packets, "packets sent");
        if party.accepted.steady && party.changed_at == 0 {
            assert_eq!(stats.lost, party.accepted.lost(), "packets lost");
        }
        if let (Some(said), Some(was)) = (stats.rtt_ms, party.round_trip) {
            let was = was as f64 / 1e6;
            assert!((said - was).abs() < 1.0, "a round trip of {was:.2} ms is {said:.2}");
        }
        self.queue.put(at + SECOND, What::Looks);
    }
}
