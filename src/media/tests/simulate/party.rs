//! A far end: it sends by its own clock, reports, moves, restarts, and checks everything it receives.

use std::net::SocketAddr;

use b2b_base::util::ntp::NtpTime;
use b2b_media::codec::{Codec, Encoder, MAX_PAYLOAD, OpusTuning, g711};
use b2b_media::relay::RelayId;
use b2b_media::remote::{Remote, SendFormat, Voice};
use b2b_media::rtp::RtpPacket;
use b2b_media::rtp::rtcp::{self, Report, ReportBlock, SenderInfo};
use rand::RngExt;
use rand::rngs::StdRng;

use crate::network::{MS, Path, SECOND, Weather};
use crate::stream::Received;

/// Packets of a voice before it repeats.
const LOOP: usize = 50;
/// Audio of parties is far louder than this.
const LOUD: u16 = 1_000;

/// How the machine has joined a party.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joint {
    Alone,
    /// Packets are forwarded to that party unchanged.
    Relayed(u32),
    /// They are recoded, octet by octet.
    Recoded(u32),
    Transcoded(u32),
    Room,
    Echo,
    /// A local source and sink of frames send to it and receive from it.
    Local,
}

impl Joint {
    pub fn peer(self) -> Option<u32> {
        match self {
            Joint::Relayed(peer) | Joint::Recoded(peer) | Joint::Transcoded(peer) => Some(peer),
            Joint::Alone | Joint::Room | Joint::Echo | Joint::Local => None,
        }
    }

    /// What it hears is produced by a clock of the machine.
    fn is_ticked(self) -> bool {
        matches!(self, Joint::Room | Joint::Local)
    }
}

/// The stream that the machine sends to it.
#[derive(Debug, Default)]
pub struct Hears {
    ssrc: Option<u32>,
    timestamp: u32,
    last_at: u64,
    pub packets: u64,
    pub octets: u64,
    /// When it last heard audio.
    pub loud_at: u64,
    /// Since when nothing has changed for it.
    pub since: u64,
    /// The highest number sent to it, which never wraps.
    number: u64,
    /// What of it arrived through its network.
    came: Received,
}

/// A datagram in flight to the machine.
#[derive(Debug, Clone)]
pub struct Sent {
    pub ssrc: u32,
    pub number: u64,
    pub timestamp: u64,
    pub source: SocketAddr,
    pub at: u64,
    pub data: Vec<u8>,
}

impl Sent {
    /// Octets of its payload.
    pub fn octets(&self) -> u64 {
        self.data.len() as u64 - 12
    }
}

/// A sender report of the machine: the middle of its NTP time, its send and its arrival time.
#[derive(Debug, Clone, Copy)]
struct SenderReport {
    middle: u32,
    sent: u64,
    comes: u64,
}

/// A report of a party in flight.
#[derive(Debug)]
pub struct Reported {
    pub data: Vec<u8>,
    /// The middle of its NTP time, if it is a sender report.
    pub middle: Option<u32>,
    /// The arrival time at which the round-trip time is 0.
    pub echoes: Option<u64>,
}

pub struct Party {
    pub id: RelayId,
    pub at: SocketAddr,
    /// Where it was, and when it left.
    pub before: Option<SocketAddr>,
    pub codec: Codec,
    pub ptime_ms: u32,
    /// Packet time by its own clock, ns.
    period: f64,
    begun: u64,
    made: u64,
    pub ssrc: u32,
    number: u64,
    timestamp: u64,
    pub talks: bool,
    /// It is on hold, in both directions.
    pub held: bool,
    marker: bool,
    voice: Vec<Vec<u8>>,
    sent: (u32, u32),
    pub out: Path,
    back: Path,
    /// When it was last received for the first time after a move or a new stream.
    pub changed_at: u64,
    changed: bool,
    /// Nothing of it was lost, late or refused since.
    pub clean_since: u64,
    /// What the machine has accepted of its stream.
    pub accepted: Received,
    pub accepted_packets: u64,
    pub accepted_at: u64,
    pub started: bool,
    /// The first number of its stream that the machine accepted since the current join.
    pub anchor: Option<u64>,
    pub joint: Joint,
    pub hears: Hears,
    /// Sender reports of the machine.
    srs: Vec<SenderReport>,
    /// Its last SR that arrived at the machine, and when.
    pub told: Option<(u32, u64)>,
    /// Seconds by its clock when the world began.
    wall: u64,
    /// Compound packets that the machine has sent, and received.
    pub reports: (u32, u32),
    /// Packets sent to it up to the last report, and up to the one before.
    reported: [u64; 2],
    /// The round-trip time in its last report that arrived at the machine, ns.
    pub round_trip: Option<u64>,
}

impl Party {
    /// With `wide` it may have a codec that takes more CPU time.
    pub fn new(rng: &mut StdRng, slot: u32, weather: [Weather; 2], wide: bool) -> Self {
        let codec = match rng.random_range(0..if wide { 8 } else { 4 }) {
            0..2 => Codec::Pcmu,
            2..4 => Codec::Pcma,
            4..7 => Codec::G722,
            _ => Codec::Opus,
        };
        let ptime_ms = codec.ptime_ms([10, 20, 20, 20, 20, 30, 40, 60][rng.random_range(0..8)]);
        // Phone crystals deviate by 100 ppm at most; some clocks are worse.
        let off = rng.random_range(-300.0..300.0);
        Party {
            id: RelayId { thread: 0, slot, generation: 1 },
            at: SocketAddr::from(([127, 0, 1, slot as u8 + 1], 4_000)),
            before: None,
            codec,
            ptime_ms,
            period: f64::from(ptime_ms) * 1e6 * (1.0 + off * 1e-6),
            begun: rng.random_range(0..SECOND),
            made: 0,
            ssrc: rng.random(),
            number: rng.random_range(0..65_536) + 65_536,
            timestamp: rng.random_range(0..1 << 32),
            talks: true,
            held: false,
            marker: true,
            voice: voice(codec, ptime_ms, 300.0 + 100.0 * f64::from(slot)),
            sent: (0, 0),
            out: Path::new(weather[0]),
            back: Path::new(weather[1]),
            changed_at: 0,
            changed: false,
            clean_since: 0,
            accepted: Received::default(),
            accepted_packets: 0,
            accepted_at: 0,
            started: false,
            anchor: None,
            joint: Joint::Alone,
            hears: Hears::default(),
            srs: Vec::new(),
            told: None,
            wall: rng.random_range(0..1_000_000) * SECOND,
            reports: (0, 0),
            reported: [0; 2],
            round_trip: None,
        }
    }

    /// Its description by offer and answer.
    pub fn remote(&self) -> Remote {
        Remote { voice: self.voice_of(), ..Remote::at(self.at) }
    }

    fn voice_of(&self) -> Voice {
        let says = [Some((self.codec.payload_type(), self.codec)), None, None, None];
        Voice { gets: Some(self.target()), says }
    }

    pub fn target(&self) -> SendFormat {
        SendFormat {
            payload_type: self.codec.payload_type(),
            codec: self.codec,
            ptime_ms: self.ptime_ms,
            fec: false,
            max_bitrate: None,
        }
    }

    /// When its next packet is due.
    pub fn due(&self) -> u64 {
        self.begun + (self.made as f64 * self.period) as u64
    }

    /// The packet that is due, and its arrival times: once, never or twice. Returns the buffer if it is silent.
    pub fn says(
        &mut self,
        rng: &mut StdRng,
        at: u64,
        data: Vec<u8>,
    ) -> Result<(Sent, [Option<u64>; 2]), Vec<u8>> {
        let said = self.speak(at, data).map(|sent| (sent, self.out.arrivals(rng, at)));
        if !matches!(said, Ok((_, [Some(_), _]))) {
            self.clean_since = at;
        }
        said
    }

    fn speak(&mut self, at: u64, mut data: Vec<u8>) -> Result<Sent, Vec<u8>> {
        let ticks = u64::from(self.codec.clock_rate() / 1_000 * self.ptime_ms);
        let payload = &self.voice[self.made as usize % LOOP];
        self.made += 1;
        self.timestamp += ticks;
        if !self.talks || self.held {
            self.marker = true;
            return Err(data);
        }
        if std::mem::take(&mut self.changed) {
            self.changed_at = at;
        }
        let marker = u8::from(std::mem::take(&mut self.marker)) << 7;
        data.clear();
        data.extend_from_slice(&[0x80, marker | self.codec.payload_type()]);
        data.extend_from_slice(&(self.number as u16).to_be_bytes());
        data.extend_from_slice(&(self.timestamp as u32).to_be_bytes());
        data.extend_from_slice(&self.ssrc.to_be_bytes());
        data.extend_from_slice(payload);
        self.sent = (self.sent.0 + 1, self.sent.1 + payload.len() as u32);
        let (number, timestamp) = (self.number, self.timestamp);
        self.number += 1;
        Ok(Sent { ssrc: self.ssrc, number, timestamp, source: self.at, at, data })
    }

    /// Switches to another SSRC, as after a restart.
    pub fn begins_anew(&mut self, rng: &mut StdRng, at: u64) {
        (self.ssrc, self.number) = (rng.random(), rng.random_range(0..65_536) + 65_536);
        self.timestamp = rng.random_range(0..1 << 32);
        (self.changed_at, self.changed, self.sent, self.marker) = (at, true, (0, 0), true);
    }

    /// A NAT has assigned it another port.
    pub fn moves(&mut self, at: u64) {
        let next = SocketAddr::new(self.at.ip(), self.at.port() + 2);
        self.before = Some(std::mem::replace(&mut self.at, next));
        (self.changed_at, self.changed) = (at, true);
        // Packets refused before the other port is believed are not lost.
        self.accepted.steady = false;
    }

    fn wall(&self, at: u64) -> NtpTime {
        NtpTime(0x1234_5678 << 32).plus(std::time::Duration::from_nanos(self.wall + at))
    }

    /// A report of its own.
    pub fn report(&mut self, at: u64) -> Reported {
        let wall = self.wall(at);
        let (packets, octets) = self.sent;
        let sender = SenderInfo { ntp: wall.0, rtp: self.timestamp as u32, packets, octets };
        let sender = (packets > 0).then_some(sender);
        let sr = self.srs.iter().rfind(|sr| sr.comes <= at).copied();
        let Hears { ssrc, came, .. } = &mut self.hears;
        let block = ssrc.filter(|_| came.unique > 0).map(|ssrc| ReportBlock {
            ssrc,
            fraction_lost: came.fraction(),
            cumulative_lost: came.lost() as i32,
            highest_sequence: came.highest as u32,
            jitter: 0,
            lsr: sr.map_or(0, |sr| sr.middle),
            dlsr: sr.map_or(0, |sr| ((at - sr.comes) * 65_536 / SECOND) as u32),
        });
        let mut buffer = [0; rtcp::MAX_LEN];
        let length = Report { ssrc: self.ssrc, sender, block, metrics: None, cname: b"party", bye: false }
            .write(&mut buffer);
        Reported {
            data: buffer[..length].to_vec(),
            middle: sender.map(|_| wall.middle()),
            echoes: block.and(sr).map(|sr| sr.sent + (at - sr.comes)),
        }
    }

    /// Records that a report of its own arrived at the machine.
    pub fn report_comes(&mut self, at: u64, middle: Option<u32>, echoes: Option<u64>) {
        self.reports.1 += 1;
        self.told = middle.map(|middle| (middle, at)).or(self.told);
        self.round_trip = echoes.map(|echoes| at - echoes).or(self.round_trip);
    }

    /// Processes RTP of the machine.
    pub fn hears_rtp(&mut self, rng: &mut StdRng, at: u64, datagram: &[u8]) {
        let packet = RtpPacket::parse(datagram).expect("RTP");
        let rate = self.codec.clock_rate();
        let hears = &mut self.hears;
        assert_eq!(packet.payload_type, self.codec.payload_type(), "a payload type that it has not");
        let ssrc = *hears.ssrc.get_or_insert(packet.ssrc);
        assert_eq!(packet.ssrc, ssrc, "a second stream to one party");
        if hears.packets == 0 {
            hears.number = 65_535 + u64::from(packet.sequence);
        }
        let step = packet.sequence.wrapping_sub(hears.number as u16) as i16;
        let number = hears.number.wrapping_add_signed(i64::from(step));
        if step > 0 {
            let ticks = packet.timestamp.wrapping_sub(hears.timestamp) as i32;
            assert!(hears.packets == 0 || ticks > 0, "number {step} further, {ticks} ticks");
            if self.joint.is_ticked() && hears.last_at > hears.since {
                let frame = (rate / 1_000 * self.ptime_ms) as i32;
                // If a tick does not hold a whole number of packets, a party that begins to speak
                // gets other ones.
                let (most, late) = match self.ptime_ms {
                    _ if self.joint == Joint::Local => (frame, 25),
                    10 | 20 => (frame, 25),
                    _ => (2 * frame, 65),
                };
                let how =
                    || format!("{} of {} ms at {at}, joined at {}", self.codec, self.ptime_ms, hears.since);
                let goes_on = step == 1 && (frame..=most).contains(&ticks);
                assert!(goes_on, "a room goes {step} and {ticks} ticks on: {}", how());
                let off = (at - hears.last_at).abs_diff(u64::from(self.ptime_ms) * MS);
                assert!(off <= late * MS, "a packet of a room {off} ns off");
            }
            (hears.number, hears.timestamp) = (number, packet.timestamp);
        } else {
            assert!(!self.joint.is_ticked() || hears.last_at <= hears.since, "a room sends {step}");
        }
        hears.last_at = at;
        hears.packets += 1;
        hears.octets += packet.payload.len() as u64;
        let sample = |octet: &u8| match self.codec {
            Codec::Pcmu => g711::ulaw_decode(*octet),
            _ => g711::alaw_decode(*octet),
        };
        if self.codec.is_g711() && packet.payload.iter().step_by(7).any(|it| sample(it).unsigned_abs() > LOUD)
        {
            hears.loud_at = at;
        }
        for comes in self.back.arrivals(rng, at).into_iter().flatten() {
            hears.came.takes(number, comes, u64::from(packet.timestamp), rate);
        }
    }

    /// Processes RTCP of the machine, whose contents must be correct.
    pub fn hears_rtcp(&mut self, rng: &mut StdRng, at: u64, wall: NtpTime, datagram: &[u8]) {
        let report = rtcp::parse(datagram, self.accepted.ssrc).expect("RTCP");
        self.reports.0 += 1;
        assert!(self.hears.ssrc.is_none_or(|ssrc| ssrc == report.ssrc), "an SSRC of its own for RTCP");
        assert_eq!(report.sender.is_some(), self.hears.packets > self.reported[1], "a sender, or none");
        self.reported = [self.hears.packets, self.reported[0]];
        if let Some(info) = report.sender {
            assert_eq!(info.ntp, wall.0);
            assert_eq!(u64::from(info.packets), self.hears.packets, "packets of a sender report");
            assert_eq!(u64::from(info.octets), self.hears.octets & 0xFFFF_FFFF, "octets of a sender report");
            let gone = (at - self.hears.last_at) as f64 / 1e9 * f64::from(self.codec.clock_rate());
            let off = f64::from(info.rtp.wrapping_sub(self.hears.timestamp) as i32) - gone;
            let most = f64::from(self.codec.clock_rate()) * 0.7;
            assert!(off.abs() <= most, "its timestamp is {off} ticks off");
            let middle = NtpTime(info.ntp).middle();
            if let [Some(comes), _] = self.back.arrivals(rng, at) {
                self.srs.push(SenderReport { middle, sent: at, comes });
                self.srs.drain(..self.srs.len().saturating_sub(4));
            }
        }
        let Some(block) = report.block else { return };
        let accepted = &mut self.accepted;
        assert_eq!(block.highest_sequence as u16, accepted.highest as u16, "the highest number");
        let fraction = accepted.fraction();
        if accepted.steady {
            assert_eq!(block.cumulative_lost as u64, accepted.lost(), "packets lost of {accepted:.0?}");
            assert_eq!(block.fraction_lost, fraction, "fraction lost");
            let off = (f64::from(block.jitter) - accepted.jitter).abs();
            assert!(
                off <= 3.0 + accepted.jitter / 20.0,
                "jitter {} and not {:.1}",
                block.jitter,
                accepted.jitter
            );
        } else {
            let (most, told) = (accepted.lost() as i32, block.cumulative_lost);
            assert!((0..=most).contains(&told), "{told} are told lost, {most} did not come");
        }
        match self.told {
            Some((middle, came)) => {
                assert_eq!(block.lsr, middle, "the last SR");
                let waited = (at - came) as f64 / 1e9 * 65_536.0;
                assert!(
                    (f64::from(block.dlsr) - waited).abs() <= 2.0,
                    "{} since it, {waited:.1}",
                    block.dlsr
                );
            }
            None => assert_eq!((block.lsr, block.dlsr), (0, 0), "no SR has come"),
        }
    }
}

/// The packets of a tone.
pub fn voice(codec: Codec, ptime_ms: u32, hz: f64) -> Vec<Vec<u8>> {
    let rate = codec.native_rate_hz().min(16_000);
    let mut encoder = Encoder::new(codec, rate, OpusTuning { bitrate: 24_000, expected_loss_pct: 0 });
    let frame = (rate / 1_000 * ptime_ms) as usize;
    let packet = |n: usize| {
        let sample = |m: usize| {
            let t = (n * frame + m) as f64 / f64::from(rate);
            (8_000.0 * (std::f64::consts::TAU * hz * t).sin()) as i16
        };
        let samples: Vec<i16> = (0..frame).map(sample).collect();
        let mut payload = [0; MAX_PAYLOAD];
        let length = encoder.encode(&samples, &mut payload).expect("a packet");
        payload[..length].to_vec()
    };
    (0..LOOP).map(packet).collect()
}
