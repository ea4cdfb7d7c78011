//! The mixes of a room, and the packets that its listeners share.

use std::collections::VecDeque;
use std::time::Instant;

use super::Member;
use super::record::RoomTap;
use super::speakers::{Speaker, choose};
use crate::codec::{Encoder, MAX_PAYLOAD};
use crate::mix::{Limiter, add, saturate};
use crate::recording::Tap;
use crate::relay::{RelayId, Reply};
use crate::remote::SendFormat;
use crate::sounds::SoundError;
use crate::stage::{Played, Program, TICK_SAMPLES};
use crate::transcode::tuning;

/// Maximum samples of a packet: 60 ms at 16 kHz.
const LONGEST: usize = 960;
/// Maximum number of queued announcements.
const WAITING: usize = 16;

/// A member's place in a room.
#[derive(Debug)]
pub struct Chair {
    /// The member's endpoint.
    pub id: RelayId,
    /// The name used in events.
    pub party: RelayId,
    member: Member,
    gain: f32,
    speaker: Speaker,
    /// It had audio in this tick.
    heard: bool,
    /// The index of the shared packets it gets.
    shared: Option<usize>,
}

#[derive(Debug)]
struct Announcement {
    program: Box<Program>,
    reply: Reply<Result<Played, SoundError>>,
}

/// The packets of one tick, shared by listeners.
#[derive(Debug, Clone, Copy)]
pub struct Payloads<'a> {
    payloads: &'a [[u8; MAX_PAYLOAD]; 2],
    lengths: &'a [usize],
    /// Timestamp units per packet.
    pub ticks: u32,
}

impl<'a> Payloads<'a> {
    /// The payloads in order.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.payloads.iter().zip(self.lengths).map(|(payload, length)| &payload[..*length])
    }
}

/// An encoding shared by all listeners with the same settings.
struct Shared {
    /// The payload type in it is ignored.
    target: SendFormat,
    deaf: bool,
    encoder: Encoder,
    pending: [i16; LONGEST + TICK_SAMPLES],
    filled: usize,
    /// Samples per packet.
    frame: usize,
    ticks: u32,
    /// The last tick for which it was encoded.
    tick: u64,
    payloads: Box<[[u8; MAX_PAYLOAD]; 2]>,
    lengths: [usize; 2],
    count: usize,
}

/// The state of one room.
pub struct Room {
    /// The number used in events.
    pub number: u64,
    /// Its phase on the machine's wheel, if it is on it.
    pub phase: Option<u8>,
    rate_hz: u32,
    chairs: Vec<Chair>,
    /// The frames of all members, one after the other.
    frames: Vec<i16>,
    sum: [i32; TICK_SAMPLES],
    limiter: Limiter,
    all: [i16; TICK_SAMPLES],
    shared: Vec<Shared>,
    announcements: VecDeque<Announcement>,
    recording: Option<Box<RoomTap>>,
    tick: u64,
}

impl Room {
    /// An empty room, mixed at 8,000 or 16,000 Hz.
    pub fn new(number: u64, rate_hz: u32) -> Self {
        Room {
            number,
            phase: None,
            rate_hz: if rate_hz > 8_000 { 16_000 } else { 8_000 },
            chairs: Vec::new(),
            frames: Vec::new(),
            sum: [0; TICK_SAMPLES],
            limiter: Limiter::OPEN,
            all: [0; TICK_SAMPLES],
            shared: Vec::new(),
            announcements: VecDeque::with_capacity(WAITING),
            recording: None,
            tick: 0,
        }
    }

    /// Sends the mix to this recording from now on.
    pub fn record(&mut self, tap: Box<Tap>) {
        self.recording = Some(Box::new(RoomTap::new(tap, self.rate_hz)));
    }

    /// Sends the mix of this tick to the recording, if there is one.
    pub fn keep(&mut self, at: Instant) {
        let frame = self.frame();
        if self.recording.as_mut().is_some_and(|it| !it.take(at, &self.all[..frame])) {
            self.recording = None;
        }
    }

    /// Sampling rate of the mix, Hz.
    pub fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    /// The members.
    pub fn chairs(&self) -> &[Chair] {
        &self.chairs
    }

    /// Whether there is nothing to do in a tick.
    pub fn is_quiet(&self) -> bool {
        self.chairs.is_empty() && self.announcements.is_empty()
    }

    /// Samples per frame.
    pub fn frame(&self) -> usize {
        (self.rate_hz / 50) as usize
    }

    /// Adds a member, or updates its settings. Returns whether it is new.
    pub fn enter(&mut self, id: RelayId, party: RelayId, member: Member) -> bool {
        let gain = 10f32.powf(f32::from(member.volume_db) / 20.0);
        if let Some(chair) = self.chairs.iter_mut().find(|chair| chair.id == id) {
            (chair.member, chair.gain) = (member, gain);
            chair.speaker.has_voice = !member.muted;
            chair.shared = None;
            return false;
        }
        let speaker = Speaker { has_voice: !member.muted, ..Speaker::default() };
        self.chairs.push(Chair { id, party, member, gain, speaker, heard: false, shared: None });
        self.frames.resize(self.chairs.len() * self.frame(), 0);
        true
    }

    /// Removes a member; returns its name in events, and whether it was speaking.
    pub fn leave(&mut self, id: RelayId) -> Option<(RelayId, bool)> {
        let place = self.chairs.iter().position(|chair| chair.id == id)?;
        let chair = self.chairs.swap_remove(place);
        self.frames.truncate(self.chairs.len() * self.frame());
        if self.chairs.is_empty() {
            self.shared.clear();
        }
        Some((chair.party, chair.speaker.speaks))
    }

    /// Queues an announcement to all members.
    pub fn announce(&mut self, program: Box<Program>, reply: Reply<Result<Played, SoundError>>) {
        if self.announcements.len() == WAITING {
            return reply.give_with(Ok(Played::Stopped), program);
        }
        self.announcements.push_back(Announcement { program, reply });
    }

    /// Closes the room.
    pub fn close(&mut self) {
        for Announcement { program, reply } in self.announcements.drain(..) {
            reply.give_with(Ok(Played::Stopped), program);
        }
        self.chairs.clear();
    }

    /// The buffer for a member's frame of this tick.
    pub fn frame_of(&mut self, chair: usize) -> &mut [i16] {
        let frame = self.frame();
        &mut self.frames[chair * frame..(chair + 1) * frame]
    }

    /// Sets whether a member's frame of this tick is more than silence.
    pub fn heard(&mut self, chair: usize, heard: bool) {
        if let Some(chair) = self.chairs.get_mut(chair) {
            chair.heard = heard;
        }
    }

    /// Mixes the frames of all members. Members that begin or stop speaking are passed to `spoke`.
    pub fn mix(&mut self, mut spoke: impl FnMut(RelayId, bool)) {
        self.tick += 1;
        let frame = self.frame();
        for (chair, said) in self.chairs.iter_mut().zip(self.frames.chunks_exact(frame)) {
            if chair.speaker.hear(chair.heard.then_some(said)) {
                spoke(chair.party, chair.speaker.speaks);
            }
        }
        choose(&mut self.chairs, |chair| &mut chair.speaker);
        let sum = &mut self.sum[..frame];
        sum.fill(0);
        for (chair, said) in self.chairs.iter().zip(self.frames.chunks_exact(frame)) {
            if chair.speaker.mixed && chair.heard {
                add(sum, said);
            }
        }
        if let Some(announcement) = self.announcements.front_mut() {
            let mut said = [0; TICK_SAMPLES];
            announcement.program.read(&mut said[..frame]);
            add(sum, &said);
            if announcement.program.is_over()
                && let Some(Announcement { program, reply }) = self.announcements.pop_front()
            {
                reply.give_with(Ok(Played::Complete), program);
            }
        }
        self.limiter.write(&self.sum[..frame], &mut self.all);
    }

    /// The individual mix of a member, if it needs one: without its own audio, at its volume.
    pub fn own(&self, chair: usize, to: &mut [i16; TICK_SAMPLES]) -> bool {
        let frame = self.frame();
        let Some(Chair { speaker, member, gain, heard, .. }) = self.chairs.get(chair) else { return false };
        if member.deaf || !speaker.mixed && member.volume_db == 0 {
            return false;
        }
        let said = &self.frames[chair * frame..(chair + 1) * frame];
        for (place, ((to, sum), said)) in to.iter_mut().zip(&self.sum).zip(said).enumerate() {
            let rest = if speaker.mixed && *heard { sum - i32::from(*said) } else { *sum };
            let rest = self.limiter.sample(place, rest);
            *to = if member.volume_db == 0 { rest } else { saturate(f32::from(rest) * gain) };
        }
        true
    }

    /// The packets that a member shares with others; encoded on the first request in a tick.
    pub fn shared(&mut self, chair: usize, target: &SendFormat) -> Option<Payloads<'_>> {
        let rate_hz = self.rate_hz;
        let chair = self.chairs.get_mut(chair)?;
        let deaf = chair.member.deaf;
        let fits = |shared: &Shared| {
            shared.deaf == deaf
                && SendFormat { payload_type: target.payload_type, ..shared.target } == *target
        };
        let known = chair.shared.filter(|n| self.shared.get(*n).is_some_and(fits));
        let place = known.or_else(|| self.shared.iter().position(fits)).unwrap_or(self.shared.len());
        chair.shared = Some(place);
        if place == self.shared.len() {
            // Settings that are new in this room.
            self.shared.push(Shared::new(target, deaf, rate_hz));
        }
        let frame = (rate_hz / 50) as usize;
        let shared = self.shared.get_mut(place)?;
        shared.encode(self.tick, &self.all[..frame]);
        Some(Payloads {
            payloads: &shared.payloads,
            lengths: &shared.lengths[..shared.count],
            ticks: shared.ticks,
        })
    }
}

impl Shared {
    fn new(target: &SendFormat, deaf: bool, rate_hz: u32) -> Self {
        let frame = ((rate_hz / 1_000 * target.ptime_ms) as usize).clamp(1, LONGEST);
        Shared {
            target: *target,
            deaf,
            encoder: Encoder::new(target.codec, rate_hz, tuning(target)),
            pending: [0; LONGEST + TICK_SAMPLES],
            filled: 0,
            frame,
            ticks: (frame as u64 * u64::from(target.codec.clock_rate()) / u64::from(rate_hz)) as u32,
            tick: 0,
            payloads: Box::new([[0; MAX_PAYLOAD]; 2]),
            lengths: [0; 2],
            count: 0,
        }
    }

    fn encode(&mut self, tick: u64, samples: &[i16]) {
        if self.tick == tick {
            return;
        }
        if self.tick + 1 != tick {
            self.filled = 0;
        }
        (self.tick, self.count) = (tick, 0);
        let to = &mut self.pending[self.filled..self.filled + samples.len()];
        match self.deaf {
            true => to.fill(0),
            false => to.copy_from_slice(samples),
        }
        self.filled += samples.len();
        let mut taken = 0;
        while self.filled - taken >= self.frame && self.count < self.payloads.len() {
            let frame = &self.pending[taken..taken + self.frame];
            if let Some(octets) = self.encoder.encode(frame, &mut self.payloads[self.count]) {
                self.lengths[self.count] = octets;
                self.count += 1;
            }
            taken += self.frame;
        }
        self.pending.copy_within(taken..self.filled, 0);
        self.filled -= taken;
    }
}

impl std::fmt::Debug for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Room").field("number", &self.number).field("chairs", &self.chairs.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Codec, g711};

    fn id(slot: u32) -> RelayId {
        RelayId { thread: 0, slot, generation: 1 }
    }

    fn target(payload_type: u8) -> SendFormat {
        SendFormat { payload_type, codec: Codec::Pcma, ptime_ms: 20, fec: false, max_bitrate: None }
    }

    /// What each member hears of these frames, and whether the packets were shared.
    fn tick(room: &mut Room, said: &[i16]) -> Vec<(i16, bool)> {
        for (n, said) in said.iter().enumerate() {
            room.frame_of(n).fill(*said);
            room.heard(n, *said != 0);
        }
        room.mix(|_, _| {});
        (0..said.len())
            .map(|n| {
                let mut own = [0; TICK_SAMPLES];
                if room.own(n, &mut own) {
                    return (own[0], false);
                }
                let payload = room.shared(n, &target(n as u8)).unwrap().iter().next().unwrap()[0];
                (g711::alaw_decode(payload), true)
            })
            .collect()
    }

    #[test]
    fn everybody_hears_all_the_others_as_loud_as_they_want() {
        let mut room = Room::new(1, 8_000);
        for slot in 0..4 {
            room.enter(id(slot), id(slot), Member::default());
        }
        let alike = |heard: Vec<(i16, bool)>, wanted: [i16; 4]| {
            assert!(heard.iter().zip(wanted).all(|((a, _), b)| (a - b).abs() <= 130), "{heard:?} {wanted:?}");
        };
        alike(tick(&mut room, &[1_000, 2_000, 4_000, 0]), [6_000, 5_000, 3_000, 7_000]);
        room.enter(id(0), id(0), Member { volume_db: -6, ..Member::default() });
        room.enter(id(1), id(1), Member { muted: true, ..Member::default() });
        room.enter(id(3), id(3), Member { deaf: true, ..Member::default() });
        alike(tick(&mut room, &[1_000, 2_000, 4_000, 100]), [2_055, 5_100, 1_100, 0]);
        room.leave(id(2));
        // The last one now has that chair.
        alike(
            tick(&mut room, &[1_000, 2_000, 100]).into_iter().chain([(0, true)]).collect(),
            [50, 1_100, 0, 0],
        );
    }

    #[test]
    fn who_only_listens_shares_one_encoding() {
        let mut room = Room::new(1, 8_000);
        for slot in 0..50 {
            room.enter(id(slot), id(slot), Member::default());
        }
        let mut said = [0; 50];
        (said[7], said[9]) = (3_000, 5_000);
        let heard = tick(&mut room, &said);
        assert_eq!(heard.iter().filter(|(_, shared)| !shared).count(), 2);
        assert_eq!((heard[7].0, heard[9].0), (5_000, 3_000));
        assert!(heard.iter().filter(|(_, shared)| *shared).all(|(sample, _)| *sample == heard[0].0));
        assert_eq!(room.shared.len(), 1);
    }

    #[test]
    fn a_sum_beyond_the_rails_stays_there() {
        let mut room = Room::new(1, 8_000);
        for slot in 0..3 {
            room.enter(id(slot), id(slot), Member::default());
        }
        let heard = tick(&mut room, &[30_000, 30_000, 30_000]);
        assert!(heard.iter().all(|(sample, _)| *sample == i16::MAX));
    }
}
