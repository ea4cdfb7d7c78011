//! The way to a party and back, as RTCP reports it, and how long what is sent takes until the party hears it.

use std::time::Duration;

use crate::rtp::rtcp::{self, Received};
use b2b_base::util::ntp::NtpTime;

/// Reports of which the lowest round trip is taken: with jitter, one report may be late both ways.
const REPORTS: usize = 8;
/// By how many interarrival jitters of both ways together the lowest round trip of so many reports may still be too
/// long. In a network whose packets are late by up to `d`, evenly, the interarrival jitter is `d / 3`, and the least of n
/// sums of two delays is below these in nine of ten cases, and with few reports in 19 of 20; in most others the rest of the
/// interval has room for it.
const EXCESS: [f32; REPORTS] = [2.53, 2.0, 1.71, 1.40, 1.29, 1.20, 1.12, 1.06];
/// The delay of a jitter buffer of which nothing is known, ms, without jitter.
const UNKNOWN_BUFFER: (f32, f32) = (0.0, 120.0);
/// How much of the jitter a buffer of which nothing is known may add.
const UNKNOWN_JITTERS: f32 = 4.0;
/// By how much a buffer that was reported may have changed since, ms; and how much more with jitter.
const SETTLED: (f32, f32) = (6.0, 1.0 / 5.0);
/// What a telephone's sound card adds in both directions together, ms.
const SOUND_CARD: (f32, f32) = (0.0, 15.0);

/// What a party's reports say of the way to it and back.
#[derive(Debug, Clone, Copy, Default)]
pub struct PathReports {
    /// Round trips, ms, the last one first, and their number.
    round_trips: [f32; REPORTS],
    count: usize,
    /// Interarrival jitter of what it receives, in timestamp units, and of what it sends, ms: the means at its reports, and
    /// their number. That of one moment is uncertain by a sixth.
    jitter: f32,
    sent_jitter_ms: f32,
    blocks: u32,
    buffer_ms: Option<f32>,
}

impl PathReports {
    /// Adds a report that arrived at this time, with the jitter of what the party sends.
    pub fn add(&mut self, wall: NtpTime, received: &Received, jitter_ms: f32) {
        self.buffer_ms = received.buffer_ms.map(f32::from).or(self.buffer_ms);
        let Some(block) = received.block else { return };
        self.blocks = (self.blocks + 1).min(REPORTS as u32);
        let share = 1.0 / self.blocks as f32;
        self.jitter += (block.jitter as f32 - self.jitter) * share;
        self.sent_jitter_ms += (jitter_ms - self.sent_jitter_ms) * share;
        if let Some(ms) = rtcp::round_trip_ms(&block, wall.middle()) {
            self.round_trips.rotate_right(1);
            self.round_trips[0] = ms as f32;
            self.count = (self.count + 1).min(REPORTS);
        }
    }

    /// How long after the sending of a sample we play what the party said while it heard this sample. `delay_ms` is that of
    /// our jitter buffer.
    ///
    /// Both ways together are the round trip, however long each of them is.
    pub fn lag(&self, link: &Link, delay_ms: f32) -> Lag {
        let theirs = self.jitter * 1_000.0 / link.clock_rate.max(1) as f32;
        let ours = if self.blocks > 0 { self.sent_jitter_ms } else { link.jitter_ms };
        let slack = (theirs + ours) * EXCESS[self.count.clamp(1, REPORTS) - 1];
        let round_trip = self.round_trips[..self.count].iter().copied().reduce(f32::min).unwrap_or(0.0);
        let (least, most) = match self.buffer_ms {
            Some(ms) => {
                let change = SETTLED.0 + theirs * SETTLED.1;
                (ms - change, ms + change)
            }
            None => (UNKNOWN_BUFFER.0, UNKNOWN_BUFFER.1 + theirs * UNKNOWN_JITTERS),
        };
        let known = link.packet_ms + delay_ms;
        let ms = |ms: f32| Duration::from_secs_f32(ms.clamp(0.0, 10_000.0) / 1_000.0);
        Lag {
            least: ms(known + (round_trip - slack).max(0.0) + least.max(0.0) + SOUND_CARD.0),
            most: ms(known + round_trip + most + SOUND_CARD.1),
        }
    }
}

/// A time that is known to lie between these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lag {
    pub least: Duration,
    pub most: Duration,
}

/// The packets between a party and us.
#[derive(Debug, Clone, Copy)]
pub struct Link {
    /// Clock rate of ours, Hz.
    pub clock_rate: u32,
    /// Interarrival jitter of the party's, ms.
    pub jitter_ms: f32,
    /// Length of the party's, ms.
    pub packet_ms: f32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_narrows_the_time_and_jitter_widens_it() {
        let link = Link { clock_rate: 8_000, jitter_ms: 0.0, packet_ms: 20.0 };
        let width = |reports: PathReports, jitter_ms: f32| {
            let Lag { least, most } = reports.lag(&Link { jitter_ms, ..link }, 40.0);
            let ms = |time: Duration| (time.as_secs_f32() * 1_000.0).round() as u32;
            (ms(least), ms(most - least))
        };
        let quiet = PathReports { round_trips: [60.0; REPORTS], count: 1, ..PathReports::default() };
        assert_eq!(width(quiet, 0.0), (120, 135), "the buffer is not known");
        let known = PathReports { buffer_ms: Some(40.0), ..quiet };
        assert_eq!(width(known, 0.0), (154, 27));
        // 13 ms
        let shaky = PathReports { jitter: 104.0, sent_jitter_ms: 13.0, blocks: 1, ..known };
        assert_eq!(width(shaky, 13.0).1, 27 + 5 + 60, "the one report may be late by all of the round trip");
        assert!(width(PathReports { count: 8, ..shaky }, 13.0).1 < 80);
        let (least, _) = width(PathReports::default(), 0.0);
        assert_eq!(least, 60, "without reports: at least a packet and our own delay");
    }
}
