//! One direction of a recording: converts RTP packets with their times, in any order, to samples at
//! their positions. No I/O, no clock.
//!
//! A stream's first packet is placed by its arrival, later ones by the stream's clock
//! (`rtp::stream_clock`), so that network jitter is not audible. How much earlier or later than their positions packets arrive
//! shows clock drift: the earliest packet within a few seconds should arrive exactly at its
//! position. If it does not, the stream is moved: during silence if there is any, otherwise a
//! little with each packet.

use super::Formats;
use crate::codec::{self, Codec, Decoder, LONGEST_MS};
use crate::conceal::Concealer;
use crate::forward::Header;
use crate::rtp::stream_clock::{self, Arrived, StreamClock, TICKS_HZ};
use crate::timeline::Track;

/// Maximum loss that is concealed; a longer one is a pause, ms.
const CONCEALED_MS: i64 = 120;
/// Distance between position and arrival beyond which the stream has restarted, ms, unless its numbers and its clock go
/// on: a network that stalls delivers a burst, whose packets are late or, after a late first one, early.
const ASTRAY_MS: i64 = 100;
/// How late a packet of a burst may be, ms: what is later has been written as silence.
const LATE_MS: i64 = 500;
/// How early a packet of a burst may be, ms.
const EARLY_MS: i64 = 1_000;
/// How long packets may be late for a burst, ns. A stream that stays late has paused with its clock standing still.
const BURST: u64 = 500_000_000;
/// How long packets are observed before they are moved, ns.
const WATCHED: u64 = 4_000_000_000;
/// Deviation up to which a stream is not moved, ms.
const GOOD_MS: i64 = 4;
/// How far a stream is moved per packet, ms.
const STEP_MS: i64 = 5;
/// How long it waits for silence before that, ns.
const PATIENCE: u64 = 1_000_000_000;
/// Samples below this value are silence.
const QUIET: u16 = 100;
/// Gap in sequence numbers beyond which a stream counts as another one.
const JUMP: i64 = 1_000;
/// Maximum number of waiting packets: more than a ring can bring.
const WAITING: usize = 1_024;
/// Waiting packets for which memory is kept: more than there are unless the recorder has been delayed.
const KEPT: usize = 64;

struct Packet {
    /// The sort key: the stream, and its extended sequence number.
    order: (u32, i64),
    at: u64,
    payload_type: u8,
    timestamp: u32,
    payload: Box<[u8]>,
}

/// The position of a stream.
struct Stream {
    id: u32,
    codec: Codec,
    sequence: i64,
    clock: StreamClock,
    /// Where its last packet ends by its clock, ticks of [`TICKS_HZ`].
    end: i64,
    /// Position of the next sample.
    next: i64,
    /// How often the recording had been paused.
    pauses: usize,
}

/// The deviation of a stream's arrivals from its positions.
#[derive(Default)]
struct Watch {
    since: Option<u64>,
    /// How much later than its position the earliest packet arrived, samples.
    earliest: i64,
    /// How far the stream is to be moved, samples; and since when.
    owed: i64,
    owed_since: u64,
}

/// The state of one direction.
pub struct Line {
    rate_hz: u32,
    pub formats: Formats,
    waiting: Vec<Packet>,
    /// SSRC, number and highest sequence number of the newest stream.
    newest: Option<(u32, u32, i64)>,
    stream: Option<Stream>,
    watch: Watch,
    /// Since when packets have been late as in a burst.
    late_since: Option<u64>,
    decoders: [Option<Decoder>; Codec::ALL.len()],
    concealer: Concealer,
    room: Box<[i16]>,
    pub track: Track,
    /// The last packet was silent.
    was_quiet: bool,
    /// Packets decoded, and packets that could not be decoded.
    pub decoded: u64,
    pub undecodable: u64,
}

/// The position of a time on the timeline, in samples, and the number of pauses before it; `None`
/// while the recording is paused.
pub type Place<'a> = &'a dyn Fn(u64) -> Option<(i64, usize)>;

impl Line {
    /// An empty line at 8,000, 16,000 or 48,000 Hz.
    pub fn new(rate_hz: u32, formats: Formats) -> Self {
        let longest = (rate_hz * LONGEST_MS / 1_000) as usize;
        Line {
            rate_hz,
            formats,
            waiting: Vec::new(),
            newest: None,
            stream: None,
            watch: Watch::default(),
            late_since: None,
            decoders: [const { None }; Codec::ALL.len()],
            concealer: Concealer::new(rate_hz),
            room: vec![0; longest].into_boxed_slice(),
            track: Track::new(rate_hz),
            was_quiet: true,
            decoded: 0,
            undecodable: 0,
        }
    }

    /// Switches to another party's stream: the next packet starts a new one.
    pub fn restart(&mut self) {
        if let Some((ssrc, ..)) = &mut self.newest {
            *ssrc = !*ssrc;
        }
    }

    /// Adds a packet of time `at`, ns.
    pub fn push(&mut self, at: u64, packet: &[u8]) {
        let Some(header) = Header::read(packet) else { return };
        let Some(payload) = packet.get(header.payload..header.payload + header.payload_len) else { return };
        let sequence = i64::from(header.sequence);
        let order = match self.newest {
            Some((ssrc, id, highest)) if ssrc == header.ssrc => {
                let ahead = i64::from(header.sequence.wrapping_sub(highest as u16) as i16);
                if ahead.abs() > JUMP { (id + 1, sequence) } else { (id, highest + ahead) }
            }
            Some((_, id, _)) => (id + 1, sequence),
            None => (0, sequence),
        };
        if self.newest.is_none_or(|(_, id, highest)| (id, highest) < order) {
            self.newest = Some((header.ssrc, order.0, order.1));
        }
        let place = self.waiting.partition_point(|waiting| waiting.order < order);
        let double = self.waiting.get(place).is_some_and(|waiting| waiting.order == order);
        if double || self.waiting.len() >= WAITING {
            return;
        }
        let (payload_type, timestamp) = (header.payload_type, header.timestamp);
        self.waiting.insert(place, Packet { order, at, payload_type, timestamp, payload: payload.into() });
    }

    /// Decodes the packets up to `until`, ns; all packets that precede them must have arrived.
    pub fn play(&mut self, until: u64, place: Place<'_>) {
        let ready = self.waiting.iter().take_while(|packet| packet.at <= until).count();
        let ready: Vec<Packet> = self.waiting.drain(..ready).collect();
        self.waiting.shrink_to(KEPT);
        for packet in &ready {
            if let Some((arrival, pauses)) = place(packet.at) {
                self.packet(packet, arrival, pauses);
            }
        }
    }

    fn ms(&self, ms: i64) -> i64 {
        ms * i64::from(self.rate_hz) / 1_000
    }

    fn packet(&mut self, packet: &Packet, arrival: i64, pauses: usize) {
        let Some(codec) = self.formats.get(packet.payload_type) else {
            // Events and comfort noise: the sequence numbers continue.
            if let Some(stream) = self.stream.as_mut().filter(|stream| stream.id == packet.order.0) {
                stream.sequence = stream.sequence.max(packet.order.1 + 1);
            }
            self.undecodable += 1;
            return;
        };
        let mut begins = arrival;
        let (sequence, timestamp, at) = (packet.order.1 as u16, packet.timestamp, packet.at);
        let length = stream_clock::length(codec, &packet.payload);
        let arrived = Arrived { sequence, timestamp, clock_hz: codec.clock_rate(), length, at };
        let known = |stream: &&mut Stream| {
            stream.id == packet.order.0
                && stream.codec.clock_rate() == codec.clock_rate()
                && stream.pauses == pauses
        };
        let (clock, end) = match self.stream.as_mut().filter(known) {
            Some(stream) => {
                if packet.order.1 < stream.sequence {
                    return;
                }
                let place = stream.clock.place(&arrived);
                let gap = (place - stream.end) * i64::from(self.rate_hz) / i64::from(TICKS_HZ);
                let (clock, next, lost) = (stream.clock, stream.next, packet.order.1 > stream.sequence);
                let stands = next + gap;
                if gap >= -self.ms(CONCEALED_MS) && self.is_in_place(packet.at, arrival - stands, gap) {
                    begins = stands;
                    if gap > 0 && lost && gap <= self.ms(CONCEALED_MS) {
                        self.fill(codec, next, gap, &packet.payload);
                    }
                    begins += self.moved(packet.at, arrival - begins, gap > self.ms(CONCEALED_MS));
                } else {
                    self.watch = Watch::default();
                }
                (clock, place + length)
            }
            None => {
                self.watch = Watch::default();
                let mut clock = StreamClock::default();
                let place = clock.place(&arrived);
                (clock, place + length)
            }
        };
        let next = self.decode(codec, &packet.payload, begins);
        let (id, sequence) = (packet.order.0, packet.order.1 + 1);
        self.stream = Some(Stream { id, codec, sequence, clock, end, next, pauses });
    }

    /// Whether a packet belongs where its stream's clock has it, although it arrived `late` samples after that; `gap`:
    /// samples missing before it.
    fn is_in_place(&mut self, at: u64, late: i64, gap: i64) -> bool {
        if late.abs() <= self.ms(ASTRAY_MS) {
            self.late_since = None;
            return true;
        }
        if late < 0 {
            return late >= -self.ms(EARLY_MS) && gap <= self.ms(CONCEALED_MS);
        }
        let since = *self.late_since.get_or_insert(at);
        let is_burst = late <= self.ms(LATE_MS) && at.saturating_sub(since) <= BURST;
        if !is_burst {
            self.late_since = None;
        }
        is_burst && gap <= self.ms(CONCEALED_MS)
    }

    /// How far to move the stream before this packet, which arrived `late` samples after its
    /// position. In a `pause` it is moved all the way.
    fn moved(&mut self, at: u64, late: i64, pause: bool) -> i64 {
        let (good, step) = (self.ms(GOOD_MS), self.ms(STEP_MS));
        let watch = &mut self.watch;
        if watch.owed == 0 {
            let since = *watch.since.get_or_insert(at);
            watch.earliest = if since == at { late } else { watch.earliest.min(late) };
            if at.saturating_sub(since) >= WATCHED {
                if watch.earliest.abs() > good {
                    (watch.owed, watch.owed_since) = (watch.earliest, at);
                }
                watch.since = None;
            }
        }
        if watch.owed == 0 {
            return 0;
        }
        let by = match () {
            () if pause => watch.owed,
            () if at.saturating_sub(watch.owed_since) > PATIENCE => watch.owed.clamp(-step, step),
            () => return 0,
        };
        watch.owed -= by;
        by
    }

    /// Decodes a payload at its position; returns the position of the next one.
    fn decode(&mut self, codec: Codec, payload: &[u8], begins: i64) -> i64 {
        codec.parts(payload).fold(begins, |begins, part| self.decode_part(codec, part, begins))
    }

    fn decode_part(&mut self, codec: Codec, payload: &[u8], begins: i64) -> i64 {
        let rate_hz = self.rate_hz;
        let place = Codec::ALL.iter().position(|known| *known == codec).unwrap_or(0);
        let decoder = self.decoders[place].get_or_insert_with(|| Decoder::new(codec, rate_hz));
        let Ok(made) = decoder.decode(payload, &mut self.room) else {
            self.undecodable += 1;
            return begins + codec::samples(codec, payload, rate_hz).unwrap_or(0) as i64;
        };
        // A move that waits for silence can be made now. One to the front covers earlier samples.
        let quiet = self.room[..made].iter().all(|sample| sample.unsigned_abs() < QUIET);
        let was_quiet = std::mem::replace(&mut self.was_quiet, quiet);
        let mut begins = begins;
        if quiet && was_quiet && self.watch.owed != 0 {
            let by = self.watch.owed.max(-(made as i64));
            self.watch.owed -= by;
            begins += by;
        }
        self.decoded += 1;
        let end = self.track.end();
        if begins > end && begins - end <= self.ms(STEP_MS) && self.stream.is_some() {
            self.conceal(codec, end, begins - end);
        }
        if !self.decoders[place].as_ref().is_some_and(Decoder::conceals) {
            self.concealer.good(&mut self.room[..made]);
        }
        self.track.put(begins, &self.room[..made]);
        begins + made as i64
    }

    /// Fills `missing` samples before this payload: the end of them with what Opus carries of the packet
    /// before, the rest by concealment.
    fn fill(&mut self, codec: Codec, from: i64, missing: i64, payload: &[u8]) {
        let length = codec::samples(codec, payload, self.rate_hz).unwrap_or(0) as i64;
        let place = Codec::ALL.iter().position(|known| *known == codec).unwrap_or(0);
        let recovers = self.decoders[place].as_ref().is_some_and(|decoder| decoder.recovers(payload));
        let carried = if recovers && length <= missing { length } else { 0 };
        self.conceal(codec, from, missing - carried);
        if let Some(decoder) = self.decoders[place].as_mut().filter(|_| carried > 0) {
            let made = decoder.recover(payload, &mut self.room);
            self.track.put(from + missing - carried, &self.room[..made]);
        }
    }

    /// Conceals `missing` samples.
    fn conceal(&mut self, codec: Codec, from: i64, missing: i64) {
        let (mut at, mut missing) = (from, usize::try_from(missing).unwrap_or(0));
        let place = Codec::ALL.iter().position(|known| *known == codec).unwrap_or(0);
        let room = &mut self.room;
        while missing > 0 {
            let wanted = missing.min(self.rate_hz as usize / 50);
            let own = self.decoders[place].as_mut().filter(|decoder| decoder.conceals());
            let made = own.map_or(0, |decoder| decoder.conceal(wanted, room));
            let made = match made {
                0 => {
                    self.concealer.lost(&mut room[..wanted]);
                    wanted
                }
                made => made.min(wanted),
            };
            self.track.put(at, &room[..made]);
            at += made as i64;
            missing -= made;
        }
    }
}
