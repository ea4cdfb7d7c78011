//! One press of a key, whatever its packets look like: the one place that tells a press from the next one, for
//! digits that are heard and for events that are sent on.
//!
//! RFC 4733 identifies an event by its timestamp; senders exist that give it to several presses, or another one
//! to each packet. So a press is recognised by its beginning and its end as well:
//!
//! | packet | part |
//! |---|---|
//! | overtaken by another one | late: it never counts |
//! | another code | a new press |
//! | a segment after 0xFFFF | the same press |
//! | the next number, the same timestamp, no shorter; before an end, or an end after the end | the same press, however late |
//! | no end bit, after the end | a new press if it has another timestamp, begins again or comes well after it |
//! | an end bit, after the end | a new press if its whole duration fits in between, otherwise a repeat |
//! | before an end | a new press if it begins again, or if its whole duration fits in a gap |

use std::time::Duration;

use crate::rtp::header::Header;

/// After this time no packet is still in flight: what seems overtaken is of another stream.
pub(super) const UNDER_WAY: Duration = Duration::from_secs(2);
/// Maximum lag of an overtaken packet, in packets; one further behind is of another stream.
const LATE: i16 = 100;
/// Maximum time between an end and its repeat, ms.
const REPEAT_MS: u32 = 60;
/// Maximum time between two packets of a press of which none is lost, ms.
pub(super) const GAP_MS: u32 = 120;
/// Maximum delay of a packet against the one before, ms.
const JITTER_MS: u32 = 40;
/// Timestamp units of a segment of a long event (RFC 4733 §2.5.1.3).
pub(super) const SEGMENT: u32 = u16::MAX as u32;
/// Maximum number of segments that may be lost in succession.
const LOST_SEGMENTS: u32 = 8;

/// What one packet says of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventUpdate {
    /// Sequence number of the packet.
    pub sequence: u16,
    /// Its timestamp.
    pub timestamp: u32,
    /// Its marker bit.
    pub marker: bool,
    /// The event code.
    pub code: u8,
    /// The E bit, and the volume.
    pub flags: u8,
    /// Duration so far, timestamp units.
    pub duration: u16,
    /// Clock rate of the event, Hz.
    pub clock_rate: u32,
}

impl EventUpdate {
    /// Reads the payload of a packet; `None` if it is too short.
    pub fn read(header: &Header, payload: &[u8], clock_rate: u32) -> Option<Self> {
        let &[code, flags, d0, d1] = payload.first_chunk::<4>()?;
        Some(EventUpdate {
            sequence: header.sequence,
            timestamp: header.timestamp,
            marker: header.marker,
            code,
            flags,
            duration: u16::from_be_bytes([d0, d1]),
            clock_rate: clock_rate.max(1),
        })
    }

    /// Whether the E bit is set.
    pub fn end(&self) -> bool {
        self.flags & super::END != 0
    }

    fn lasts_ms(&self) -> u32 {
        (u64::from(self.duration) * 1_000 / u64::from(self.clock_rate)) as u32
    }
}

/// What a packet is to the last press.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// It begins another press.
    New,
    /// It belongs to the press.
    Same,
    /// It was overtaken.
    Late,
}

/// A press, as far as its packets have arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Press {
    /// The newest of its packets, with the longest duration of its segment, and the E bit once an end has come.
    pub(super) last: EventUpdate,
    /// Timestamp units of earlier segments.
    pub(super) segments: u32,
}

impl Press {
    /// A press that begins with this packet.
    pub fn new(first: EventUpdate) -> Self {
        Press { last: first, segments: 0 }
    }

    /// What this packet is, which arrives this long after the last one of the press.
    pub fn part(&self, update: &EventUpdate, elapsed: Duration) -> Part {
        let EventUpdate { sequence, timestamp, code, duration, .. } = self.last;
        let ahead = update.sequence.wrapping_sub(sequence) as i16;
        if (-LATE..=0).contains(&ahead) && elapsed < UNDER_WAY {
            return Part::Late;
        }
        let elapsed_ms = u32::try_from(elapsed.as_millis()).unwrap_or(u32::MAX);
        let is_elsewhere = update.timestamp != timestamp;
        let is_shorter = update.duration < duration;
        let begins = !update.end() && (is_shorter || update.marker);
        // Nothing is missing in between, and it goes on: only the network was late.
        let follows = ahead == 1 && !is_elsewhere && !is_shorter;
        let is_new = if update.code != code {
            true
        } else if self.is_continued_by(update) || !self.has_ended() && follows {
            false
        } else if !self.has_ended() {
            elapsed_ms > GAP_MS.max(update.lasts_ms() + JITTER_MS)
                || begins && elapsed_ms > REPEAT_MS
                || is_elsewhere && is_shorter
        } else if update.end() {
            // Where audio or another press has come in between, numbers are missing.
            !follows && elapsed_ms > REPEAT_MS.max(update.lasts_ms())
        } else {
            is_elsewhere || begins || elapsed_ms > REPEAT_MS
        };
        if is_new { Part::New } else { Part::Same }
    }

    /// Whether this packet is of a further segment.
    fn is_continued_by(&self, update: &EventUpdate) -> bool {
        let step = update.timestamp.wrapping_sub(self.last.timestamp);
        let is_segment = step != 0 && step.is_multiple_of(SEGMENT) && step / SEGMENT <= LOST_SEGMENTS;
        is_segment && (!self.has_ended() || self.last.duration == u16::MAX)
    }

    /// Adds a packet of the press.
    pub fn add(&mut self, update: &EventUpdate) {
        let mut next = *update;
        if self.is_continued_by(update) {
            self.segments = self.segments.saturating_add(update.timestamp.wrapping_sub(self.last.timestamp));
        } else {
            next.duration = next.duration.max(self.last.duration);
            next.flags |= self.last.flags & super::END;
        }
        self.last = next;
    }

    /// Whether an end has come.
    pub fn has_ended(&self) -> bool {
        self.last.end()
    }

    /// Clock rate of its duration, Hz.
    pub fn clock_rate(&self) -> u32 {
        self.last.clock_rate
    }

    /// Its duration so far, timestamp units.
    pub fn ticks(&self) -> u64 {
        u64::from(self.segments) + u64::from(self.last.duration)
    }
}
