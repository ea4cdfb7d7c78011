//! Encodes samples into packets of a leg's outgoing stream, continuing from whatever was sent to
//! the leg before, with the next sequence number and the current timestamp.

use crate::codec::{Encoder, MAX_PAYLOAD};
use crate::forward::OutSpace;
use crate::remote::SendFormat;
use crate::rtp::packet::HEADER_LEN;
use crate::transcode::tuning;

use super::{OpusMode, Place, TICK_NS, TICK_SAMPLES};

/// Maximum samples of a packet: 60 ms at 16 kHz.
const LONGEST: usize = 960;

/// The encoder for one leg. About 3.5 KB, and the codec's state.
pub struct PromptEncoder {
    target: SendFormat,
    rate_hz: u32,
    /// The mode, if the codec is Opus.
    mode: Option<OpusMode>,
    /// `None` if everything played was pre-encoded, or nothing was played.
    encoder: Option<Encoder>,
    pending: [i16; LONGEST + TICK_SAMPLES],
    filled: usize,
    /// Samples per packet.
    frame: usize,
    /// Offset of the pending samples in their sound, if they are of one sound and its pre-encoded
    /// packets may be used, as they continue from what was played.
    place: Option<usize>,
    packet: [u8; HEADER_LEN + MAX_PAYLOAD],
}

/// The position of the next packet in the leg's stream.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    /// Its timestamp.
    next: u32,
    /// The last sequence number used here: if the leg's stream has another one, other packets were
    /// sent since.
    used: Option<u16>,
    /// There is a gap before the next packet.
    interrupted: bool,
    mark: bool,
    /// When the last tick was due.
    ticked: u64,
}

impl Default for Line {
    /// Nothing was sent yet.
    fn default() -> Self {
        Line { next: 0, used: None, interrupted: false, mark: true, ticked: 0 }
    }
}

impl Line {
    /// Whether there is a gap before the next packet, other packets were sent since, or none were sent yet.
    pub fn is_broken(&self, space: &OutSpace) -> bool {
        self.interrupted || self.used != Some(space.sequence)
    }

    /// Continues at this time, but not before the end of its own last packet, which may outlast the gap.
    pub fn resume(&mut self, at: u64, clock_rate: u32, space: &OutSpace) {
        let own = self.used.replace(space.sequence) == Some(space.sequence);
        let now = space.timestamp_at(at, clock_rate);
        let is_past = (now.wrapping_sub(self.next) as i32) < 0;
        self.next = if own && is_past { self.next } else { now };
        (self.interrupted, self.mark) = (false, true);
    }

    /// Starts the tick due at `due`. If ticks were skipped since the last one, there is a gap
    /// before the next packet. Its timestamp must show it (RFC 3550 §5.1): a stream that simply
    /// continued would be late by that much from then on.
    pub fn tick(&mut self, due: u64) {
        if due > self.ticked + TICK_NS * 3 / 2 {
            self.interrupt();
        }
        self.ticked = due;
    }

    /// Records a gap before the next packet.
    pub fn interrupt(&mut self) {
        self.interrupted = true;
    }

    /// Writes the header of the next packet, which has this many timestamp units and octets of
    /// payload, and counts it.
    pub fn write(
        &mut self,
        packet: &mut [u8],
        payload_type: u8,
        ticks: u32,
        payload: usize,
        at: u64,
        space: &mut OutSpace,
    ) {
        let sequence = space.sequence.wrapping_add(1);
        let marker = std::mem::take(&mut self.mark);
        space.header(marker, payload_type, sequence, self.next).write_fixed(packet);
        self.used = Some(sequence);
        space.sent(sequence, self.next, at, HEADER_LEN + payload, payload);
        self.next = self.next.wrapping_add(ticks);
    }
}

impl PromptEncoder {
    /// An encoder that has played nothing yet, for samples at 8,000 or 16,000 Hz.
    pub fn new(target: &SendFormat, rate_hz: u32) -> Self {
        PromptEncoder {
            target: *target,
            rate_hz,
            mode: OpusMode::of(target, rate_hz),
            encoder: None,
            pending: [0; LONGEST + TICK_SAMPLES],
            filled: 0,
            frame: ((rate_hz / 1_000 * target.ptime_ms) as usize).clamp(1, LONGEST),
            place: None,
            packet: [0; HEADER_LEN + MAX_PAYLOAD],
        }
    }

    /// Allocates the codec now.
    pub fn prepare(&mut self) {
        let new = || Encoder::new(self.target.codec, self.rate_hz, tuning(&self.target));
        self.encoder.get_or_insert_with(new);
    }

    /// Whether it encodes in this format and at this rate.
    pub fn is_for(&self, target: &SendFormat, rate_hz: u32) -> bool {
        self.target == *target && self.rate_hz == rate_hz
    }

    /// Encodes the samples of a tick, which are from `place`; each full packet goes to `send`. With
    /// `last` the remaining samples go too, padded with silence.
    pub fn say(
        &mut self,
        (samples, place): (&[i16], Option<Place<'_>>),
        last: bool,
        at: u64,
        line: &mut Line,
        space: &mut OutSpace,
        mut send: impl FnMut(&[u8]),
    ) {
        if line.is_broken(space) {
            line.resume(at, self.target.codec.clock_rate(), space);
            (self.filled, self.place) = (0, None);
            self.place = place.and_then(|place| self.begins(place));
        } else {
            self.place = place.and_then(|place| self.goes_on(place));
        }
        let end = (self.filled + samples.len()).min(self.pending.len());
        self.pending[self.filled..end].copy_from_slice(&samples[..end - self.filled]);
        self.filled = end;
        if last && !self.filled.is_multiple_of(self.frame) {
            let whole = self.filled.next_multiple_of(self.frame).min(self.pending.len());
            self.pending[self.filled..whole].fill(0);
            self.filled = whole;
        }
        let mut taken = 0;
        while self.filled - taken >= self.frame {
            self.packet(taken, place, at, line, space, &mut send);
            taken += self.frame;
            self.place = self.place.map(|place| place + self.frame);
        }
        self.pending.copy_within(taken..self.filled, 0);
        self.filled -= taken;
    }

    /// The offset in its sound of the pending samples, followed by a tick from `place`, if that
    /// sound's pre-encoded packets can be continued or started. They can start with the sound's
    /// beginning, or if nothing was encoded just before, since the decoder's state is that of what
    /// was before. An encoder that has encoded only this sound, from its beginning on, produces the
    /// same packets, so that pre-encoded ones can be used as soon as they exist.
    fn goes_on(&self, place: Place<'_>) -> Option<usize> {
        match self.place {
            Some(begun) if begun + self.filled == place.at => Some(begun),
            _ if self.filled == 0 && (place.at == 0 || self.encoder.is_none()) => self.begins(place),
            _ => None,
        }
    }

    /// The same if no samples are pending.
    fn begins(&self, place: Place<'_>) -> Option<usize> {
        let made = place.sound.packet(self.mode.as_ref()?, place.at).is_some();
        (made || place.at == 0 && self.encoder.is_none()).then_some(place.at)
    }

    /// Replaces pending samples by silence.
    pub fn hush(&mut self) {
        self.place = None;
        self.pending[..self.filled].fill(0);
    }

    fn packet(
        &mut self,
        from: usize,
        place: Option<Place<'_>>,
        at: u64,
        line: &mut Line,
        space: &mut OutSpace,
        send: &mut impl FnMut(&[u8]),
    ) {
        let clock = self.target.codec.clock_rate();
        let ticks = (self.frame as u64 * u64::from(clock) / u64::from(self.rate_hz)) as u32;
        let (header, payload) = self.packet.split_at_mut(HEADER_LEN);
        let made = || place?.sound.packet(self.mode.as_ref()?, self.place?);
        let octets = match made() {
            Some(made) => {
                payload[..made.len()].copy_from_slice(made);
                self.encoder = None;
                Some(made.len())
            }
            None => {
                // An encoder that starts within a sound does not produce the pre-encoded packets.
                self.place = self.place.filter(|at| *at == 0 || self.encoder.is_some());
                let new = || Encoder::new(self.target.codec, self.rate_hz, tuning(&self.target));
                let encoder = self.encoder.get_or_insert_with(new);
                encoder.encode(&self.pending[from..from + self.frame], payload)
            }
        };
        // The codec has failed permanently: the party hears nothing.
        let Some(octets) = octets else { return line.interrupt() };
        line.write(header, self.target.payload_type, ticks, octets, at, space);
        send(&self.packet[..HEADER_LEN + octets]);
    }
}

impl std::fmt::Debug for PromptEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PromptEncoder").field("target", &self.target).field("rate_hz", &self.rate_hz).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Codec;
    use crate::forward::Header;
    use crate::stage::Sound;

    fn target(codec: Codec, ptime_ms: u32) -> SendFormat {
        SendFormat { payload_type: 8, codec, ptime_ms, fec: false, max_bitrate: None }
    }

    fn space() -> OutSpace {
        OutSpace::new(77, 9, 1_000)
    }

    /// A prompt and its line.
    struct Said(PromptEncoder, Line);

    impl Said {
        fn new(target: &SendFormat, rate_hz: u32) -> Self {
            Said(PromptEncoder::new(target, rate_hz), Line::default())
        }

        fn say(
            &mut self,
            samples: &[i16],
            last: bool,
            at: u64,
            space: &mut OutSpace,
            send: impl FnMut(&[u8]),
        ) {
            self.0.say((samples, None), last, at, &mut self.1, space, send);
        }
    }

    /// The packets of this many ticks of 20 ms: marker, sequence, timestamp, octets.
    fn say(prompt: &mut Said, space: &mut OutSpace, ticks: u64, last: bool) -> Vec<(bool, u16, u32, usize)> {
        let mut sent = Vec::new();
        for n in 1..=ticks {
            prompt.say(&[0; 160], last && n == ticks, n * 20_000_000, space, |packet| {
                let header = Header::read(packet).unwrap();
                assert_eq!((header.ssrc, header.payload_type), (77, 8));
                sent.push((header.marker, header.sequence, header.timestamp, header.payload_len));
            });
        }
        sent
    }

    #[test]
    fn packets_are_as_long_as_the_party_wants_them() {
        for (ptime, expected) in [(10, 12), (20, 6), (30, 4), (40, 3), (60, 2)] {
            let mut prompt = Said::new(&target(Codec::Pcma, ptime), 8_000);
            let sent = say(&mut prompt, &mut space(), 6, false);
            assert_eq!(sent.len(), expected, "{ptime} ms");
            for (n, packet) in sent.iter().enumerate() {
                let ticks = n as u32 * ptime * 8;
                assert_eq!(*packet, (n == 0, 10 + n as u16, 1_000 + ticks, ptime as usize * 8));
            }
        }
    }

    #[test]
    fn the_last_packet_is_filled_up_with_silence() {
        let mut prompt = Said::new(&target(Codec::Pcma, 60), 8_000);
        let sent = say(&mut prompt, &mut space(), 4, true);
        assert_eq!(sent.len(), 2);
        assert_eq!(sent[1].3, 480);
    }

    #[test]
    fn who_sends_in_between_is_gone_on_from_with_a_marker_and_the_time() {
        let (mut prompt, mut space) = (Said::new(&target(Codec::Pcma, 20), 8_000), space());
        say(&mut prompt, &mut space, 1, false);
        space.sent(11, 50_000, 20_000_000, 172, 160);
        let mut seen = None;
        prompt.say(&[0; 160], false, 60_000_000, &mut space, |packet| seen = Header::read(packet));
        let header = seen.unwrap();
        assert_eq!((header.marker, header.sequence, header.timestamp), (true, 12, 50_000 + 320));
        prompt.1.interrupt();
        prompt.say(&[0; 160], false, 160_000_000, &mut space, |packet| seen = Header::read(packet));
        let header = seen.unwrap();
        assert_eq!((header.marker, header.sequence, header.timestamp), (true, 13, 50_320 + 800));
    }

    #[test]
    fn what_follows_a_gap_stands_behind_the_last_packet_however_long_that_is() {
        let (mut prompt, mut space) = (Said::new(&target(Codec::Pcma, 60), 8_000), space());
        assert_eq!(say(&mut prompt, &mut space, 3, false), [(true, 10, 1_000, 480)]);
        prompt.1.interrupt();
        let next = say(&mut prompt, &mut space, 3, false);
        assert_eq!(next, [(true, 11, 1_480, 480)], "20 ms later is within that packet");
    }

    #[test]
    fn ticks_left_out_are_time_gone_by_and_a_late_one_is_not() {
        const MS: u64 = 1_000_000;
        let (mut prompt, mut space) = (Said::new(&target(Codec::Pcma, 20), 8_000), space());
        let mut said = Vec::new();
        // Due time and actual time: the second is late, and the third comes after a gap.
        for (due, at) in [(20, 20), (40, 95), (60, 95), (80, 95), (100, 100), (340, 340), (360, 360)] {
            prompt.1.tick(due * MS);
            prompt.say(&[0; 160], false, at * MS, &mut space, |packet| {
                let header = Header::read(packet).unwrap();
                said.push((header.marker, header.timestamp - 1_000));
            });
        }
        let expected = [
            (true, 0),
            (false, 160),
            (false, 320),
            (false, 480),
            (false, 640),
            (true, 640 + 1_920),
            (false, 2_720),
        ];
        assert_eq!(said, expected);
    }

    /// For each packet of this many ticks, from here on in a sound or in none, whether it is a pre-encoded one.
    fn of_sound(
        prompt: &mut Said,
        space: &mut OutSpace,
        sound: &Sound,
        ticks: &[Option<usize>],
    ) -> Vec<bool> {
        let mut ours = Vec::new();
        for at in ticks {
            let place = at.map(|at| Place { sound, at });
            let Said(encoder, line) = prompt;
            let mode = encoder.mode.unwrap();
            encoder.say((&[900; 320], place), false, 20_000_000, line, space, |packet| {
                let packets = (0..50).filter_map(|n| sound.packet(&mode, n * 320));
                ours.push(packets.into_iter().any(|made| made == &packet[HEADER_LEN..]));
            });
        }
        ours
    }

    #[test]
    fn packets_that_were_made_before_are_taken_from_a_beginning_on() {
        let target = target(Codec::Opus, 20);
        let samples: Vec<i16> = (0..16_000).map(|n| (f64::from(n * n % 7_919) * 3.0) as i16).collect();
        let sound = Sound::from(samples);
        let (mut prompt, mut space) = (Said::new(&target, 16_000), space());
        assert_eq!(of_sound(&mut prompt, &mut space, &sound, &[None, Some(0)]), [false; 2], "not made yet");
        sound.encode(OpusMode::of(&target, 16_000).unwrap());
        let at = |n: usize| Some(n * 320);
        let ticks = [at(1), at(2), at(0), at(1), None, at(2), at(0), at(1), Some(645)];
        let expected = [false, false, true, true, false, false, true, true, false];
        assert_eq!(of_sound(&mut prompt, &mut space, &sound, &ticks), expected);
        prompt.1.interrupt();
        assert_eq!(
            of_sound(&mut prompt, &mut space, &sound, &[at(30), at(31)]),
            [true, true],
            "behind a gap"
        );
        assert!(prompt.0.encoder.is_none(), "its memory is given back");
    }

    #[test]
    fn who_began_before_the_packets_were_made_takes_them_in_the_middle() {
        let target = target(Codec::Opus, 20);
        let sound = Sound::from((0..16_000).map(|n| (n * n % 7_919 * 3) as i16).collect::<Vec<_>>());
        let (mut prompt, mut space, mut said) = (Said::new(&target, 16_000), space(), Vec::new());
        for n in 0..50 {
            if n == 20 {
                assert!(prompt.0.encoder.is_some());
                sound.encode(prompt.0.mode.unwrap());
            }
            let place = Place { sound: &sound, at: n * 320 };
            let samples = &sound[place.at..][..320];
            prompt.0.say((samples, Some(place)), false, 1, &mut prompt.1, &mut space, |packet| {
                said.push(packet[HEADER_LEN..].to_vec());
            });
        }
        let mode = prompt.0.mode.unwrap();
        assert!((0..50).all(|n| sound.packet(&mode, n * 320) == Some(&said[n][..])), "no other encoder's");
        assert!(prompt.0.encoder.is_none(), "its memory is given back");
    }

    #[test]
    fn who_decodes_hears_no_seam_where_packets_made_before_begin() {
        let target = target(Codec::Opus, 20);
        let at = |n: usize| {
            let t = n as f64 / 16_000.0;
            let pulse: f64 = (1..12).map(|h| (t * 880.0 * f64::from(h)).sin() / f64::from(h)).sum();
            (pulse * 4_000.0 * (0.6 + 0.4 * (t * 9.0).sin())) as i16
        };
        let sound = Sound::from((0..16_000).map(at).collect::<Vec<_>>());
        let (mut prompt, mut space) = (Said::new(&target, 16_000), space());
        let mut decoder = crate::codec::Decoder::new(Codec::Opus, 16_000);
        let mut heard = Vec::new();
        for round in 0..3 {
            for n in 0..50 {
                let place = Place { sound: &sound, at: n * 320 };
                let samples = &sound[place.at..][..320];
                prompt.0.say((samples, Some(place)), false, 1, &mut prompt.1, &mut space, |packet| {
                    let mut samples = [0; 1_920];
                    let count = decoder.decode(&packet[HEADER_LEN..], &mut samples).expect("decoded");
                    heard.extend_from_slice(&samples[..count]);
                });
            }
            // The first round is encoded for this listener, the others are pre-encoded.
            assert_eq!(prompt.0.encoder.is_some(), round == 0);
            sound.encode(prompt.0.mode.unwrap());
        }
        let level = |from: usize| crate::mix::Energy::of(&heard[from..from + 320]).rms();
        for n in 0..50 {
            let (live, made) = (level(n * 320), level((50 + n) * 320));
            assert!((made / live.max(1.0)).log10().abs() * 20.0 < 3.0 || n == 0, "{n}: {live} {made}");
        }
    }

    #[test]
    fn opus_counts_48_khz_whatever_rate_it_is_given() {
        let mut prompt = Said::new(&target(Codec::Opus, 20), 16_000);
        let (mut space, mut stamps) = (space(), Vec::new());
        for n in 1..4 {
            prompt.say(&[0; 320], false, n * 20_000_000, &mut space, |packet| {
                stamps.push(Header::read(packet).unwrap().timestamp);
            });
        }
        assert_eq!(stamps, [1_000, 1_960, 2_920]);
    }
}
