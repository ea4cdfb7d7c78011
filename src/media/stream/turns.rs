//! Who speaks in a stream: the party's speech, the outside's utterances, and how much of an utterance the party had
//! heard when it began to speak. Times are ns of one clock; nothing here waits, locks or allocates.
//!
//! | the party | event | next |
//! |---|---|---|
//! | is silent | a frame of speech | may speak |
//! | may speak | a second one | speaks: `Speaks`, and `Interrupted` if an utterance was not heard to its end |
//! | may speak | another frame | is silent |
//! | speaks | 0.6 s without speech | is silent: `Hushes` |
//!
//! An **utterance** is what the outside says in one go: it begins with the first sample after a second without any, after
//! a clear, or after the party has spoken; digital silence is none. Positions in it are samples since its beginning; silence
//! that we fill in does not count.
//!
//! **What was heard.** A party that begins to speak hears, at that moment, what was sent a round trip and both jitter
//! buffers before we play its first word ([`Lag`]). What was sent when is kept for two and a half seconds. The result is
//! an interval, since the parts of that time are not known exactly: a telephone may say how long its buffer is
//! (RFC 3611 §4.7.7), and need not.

use std::time::Duration;

use super::path::Lag;
use crate::mix::{Energy, NOTHING, SpeechDetector};
use b2b_base::frame::FrameKind;

/// Packets of which is known when they were sent.
const KEPT: usize = 128;
/// Silence of the party after which it does not speak any more, and of the outside after which an utterance is over.
const HUSH: u64 = 600_000_000;
const PAUSE: u64 = 1_000_000_000;
/// Parts of a frame, to find where in it speech begins.
const PARTS: usize = 4;
const FRAME: u64 = 20_000_000;
const PART: u64 = FRAME / PARTS as u64;
/// Frames of digital silence, while the outside speaks, after which a party is silent: 5 s.
const SILENT: u32 = 250;
/// Digital silence is one value all the time, of at most this magnitude, since G.711 A-law has no 0; resampling may round it
/// both ways. The quietest line has two values.
const DIGITAL_SILENCE: u16 = 8;
const ROUNDED: u16 = 1;
/// Frames of sound that are none yet: a filter rings when its input begins.
const RINGING: u32 = 2;
/// Frames that may have been lost with the beginning of speech.
const MOST_LOST: u64 = 3;

/// Who has begun or ended what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// The party has begun to speak.
    Speaks,
    /// The party has stopped speaking; `ms` is for how long it spoke.
    Hushes { ms: u32 },
    /// The party has sent digital silence for five seconds in which the outside spoke: since its first packet, or after
    /// sound.
    Silent { heard_before: bool },
    /// The first packet of an utterance was sent; `response_ms` is how long after the end of the party's speech, if it is
    /// the first one since.
    Utters { utterance: u32, response_ms: Option<u32> },
    /// All of an utterance was sent, `sent` samples.
    Uttered { utterance: u32, sent: u64 },
    /// The rest of an utterance was discarded after `sent` samples.
    Cut { utterance: u32, sent: u64 },
    /// The party has begun to speak before it had heard all of this utterance.
    Interrupted(Interrupted),
}

/// How far an utterance had come when its party began to speak, in samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interrupted {
    /// The utterance's number, from 1.
    pub utterance: u32,
    /// What was sent.
    pub sent: u64,
    /// What had arrived at the party as of its last report, if that report is about this utterance.
    pub arrived: Option<u64>,
    /// What the party had heard: at least and at most.
    pub heard: [u64; 2],
}

/// A packet that was sent: when, which samples were in it, and its sequence number.
#[derive(Debug, Clone, Copy, Default)]
struct Sent {
    at: u64,
    from: u64,
    to: u64,
    sequence: u16,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Speech {
    Silent,
    /// Since this time, if it is speech.
    May {
        since: u64,
        interrupted: Option<Interrupted>,
    },
    Speaks {
        since: u64,
        last: u64,
    },
}

/// The utterance that was begun last: its first position and the one behind its last sample, and when they were sent.
#[derive(Debug, Clone, Copy)]
struct Utterance {
    number: u32,
    begin: u64,
    begun_at: u64,
    end: u64,
    ended_at: u64,
    is_over: bool,
}

/// See the module documentation.
#[derive(Debug)]
pub struct Turns {
    /// Samples a second.
    rate_hz: u32,
    detector: SpeechDetector,
    speech: Speech,
    utterance: Utterance,
    /// The end of the party's speech, if it was not answered since.
    unanswered: Option<u64>,
    /// The position behind what was sent or discarded.
    position: u64,
    sent: [Sent; KEPT],
    /// Packets sent so far.
    count: usize,
    /// The position that the party's last report has reached.
    arrived: u64,
    /// Frames in a row before this one that were concealed.
    lost: u64,
    /// Frames of digital silence since the last sound, and of sound.
    silent: u32,
    heard: u32,
    /// The level of the last frame, dBov.
    level: f32,
    events: [Option<Turn>; 4],
}

impl Turns {
    /// Nobody has spoken yet; positions count samples at `rate_hz`.
    pub fn new(rate_hz: u32) -> Self {
        Turns {
            rate_hz,
            detector: SpeechDetector::default(),
            speech: Speech::Silent,
            utterance: Utterance { number: 0, begin: 0, begun_at: 0, end: 0, ended_at: 0, is_over: true },
            unanswered: None,
            position: 0,
            sent: [Sent::default(); KEPT],
            count: 0,
            arrived: 0,
            lost: 0,
            silent: 0,
            heard: 0,
            level: NOTHING,
            events: [None; 4],
        }
    }

    /// The next event.
    pub fn poll(&mut self) -> Option<Turn> {
        let event = self.events[0].take();
        self.events.rotate_left(1);
        event
    }

    /// The level of the party's last frame, dBov.
    pub fn level(&self) -> f32 {
        self.level
    }

    fn tell(&mut self, turn: Turn) {
        // A tick has at most four.
        if let Some(place) = self.events.iter_mut().find(|it| it.is_none()) {
            *place = Some(turn);
        }
    }

    /// A packet with the samples up to position `to` was sent; digital silence belongs to no utterance.
    pub fn sends(&mut self, at: u64, to: u64, sequence: u16, is_silent: bool) {
        let from = std::mem::replace(&mut self.position, to);
        self.sent[self.count % KEPT] = Sent { at, from, to, sequence };
        self.count += 1;
        let is_new = at.saturating_sub(self.utterance.ended_at) >= PAUSE;
        if is_new {
            self.ends();
        }
        if to == from || is_silent {
            return;
        }
        if self.utterance.is_over {
            let number = self.utterance.number + 1;
            self.utterance =
                Utterance { number, begin: from, begun_at: at, end: to, ended_at: at, is_over: false };
            let response_ms = self.silent_since(at).map(|since| ms(at.saturating_sub(since)));
            self.tell(Turn::Utters { utterance: number, response_ms });
        }
        (self.utterance.end, self.utterance.ended_at, self.unanswered) = (to, at, None);
    }

    /// Since when the party waits for an answer.
    fn silent_since(&self, at: u64) -> Option<u64> {
        match self.speech {
            Speech::Speaks { last, .. } => Some(last).filter(|last| last + 2 * FRAME < at),
            _ => self.unanswered,
        }
    }

    fn ends(&mut self) {
        let Utterance { number: utterance, begin, end, is_over, .. } = self.utterance;
        if !is_over {
            self.utterance.is_over = true;
            self.tell(Turn::Uttered { utterance, sent: end - begin });
        }
    }

    /// What was queued up to this position was discarded.
    pub fn cut(&mut self, to: u64) {
        self.position = to;
        let Utterance { number: utterance, begin, end, is_over, .. } = self.utterance;
        if !is_over {
            self.utterance.is_over = true;
            self.tell(Turn::Cut { utterance, sent: end - begin });
        }
    }

    /// The party has reported that it has received packets up to this number.
    pub fn arrives(&mut self, highest: u16) {
        let is_in = |sent: &&Sent| (highest.wrapping_sub(sent.sequence) as i16) >= 0;
        let to = self.recent().find(is_in).map_or(0, |sent| sent.to);
        self.arrived = self.arrived.max(to);
    }

    /// Plays a frame of the party at this time.
    pub fn hears(&mut self, at: u64, frame: &[i16], kind: FrameKind, lag: impl FnOnce() -> Lag) {
        let level = |samples: &[i16]| Energy::of(samples).dbov().map_or(NOTHING, |level| level as f32);
        let is_made_up = kind == FrameKind::Concealed;
        if kind == FrameKind::Audio {
            self.sounds(at, frame);
        }
        self.level = level(frame);
        let is_speech = self.detector.hears(self.level) && !is_made_up;
        match self.speech {
            Speech::Silent if is_speech => {
                let threshold = self.detector.threshold();
                let parts = frame.chunks((frame.len() / PARTS).max(1));
                let part = parts.take_while(|part| level(part) <= threshold).count().min(PARTS - 1);
                let since = at + part as u64 * PART;
                let lost = self.lost.min(MOST_LOST) * FRAME;
                let interrupted = self.interrupted(since, lost, lag());
                self.speech = Speech::May { since, interrupted };
            }
            Speech::May { since, interrupted } if is_speech => {
                self.speech = Speech::Speaks { since, last: at + FRAME };
                self.tell(Turn::Speaks);
                match interrupted {
                    Some(interrupted) => self.tell(Turn::Interrupted(interrupted)),
                    // What is sent from now on is the next one.
                    None => self.ends(),
                }
            }
            // A frame that was lost in the middle of a word is no end.
            Speech::May { .. } if !is_made_up => self.speech = Speech::Silent,
            Speech::Speaks { since, .. } if is_speech => {
                self.speech = Speech::Speaks { since, last: at + FRAME };
            }
            Speech::Speaks { since, last } if at.saturating_sub(last) >= HUSH => {
                self.speech = Speech::Silent;
                self.tell(Turn::Hushes { ms: ms(last - since) });
                self.unanswered = Some(last).filter(|last| self.utterance.begun_at < *last);
            }
            _ => {}
        }
        self.lost = if is_made_up { self.lost + 1 } else { 0 };
    }

    /// Counts digital silence of the party while the outside speaks.
    fn sounds(&mut self, at: u64, frame: &[i16]) {
        let (least, most) = frame
            .iter()
            .fold((i16::MAX, i16::MIN), |(least, most), sample| (least.min(*sample), most.max(*sample)));
        let is_small = least.unsigned_abs().max(most.unsigned_abs()) <= DIGITAL_SILENCE;
        if !is_small || least.abs_diff(most) > ROUNDED {
            (self.silent, self.heard) = (0, self.heard.saturating_add(1));
        } else if at.saturating_sub(self.utterance.ended_at) < 5 * FRAME && self.utterance.number > 0 {
            self.silent = self.silent.saturating_add(1);
            if self.silent == SILENT {
                self.tell(Turn::Silent { heard_before: self.heard > RINGING });
            }
        }
    }

    /// What a party had heard that began to speak at `since`, or up to `lost` earlier.
    fn interrupted(&self, since: u64, lost: u64, lag: Lag) -> Option<Interrupted> {
        let Utterance { number: utterance, begin, end, .. } = self.utterance;
        let ago = |echo: Duration| since.saturating_sub(echo.as_nanos() as u64);
        let heard =
            [self.sent_by(ago(lag.most).saturating_sub(lost + PART)), self.sent_by(ago(lag.least) + PART)];
        let inside = |position: u64| position.clamp(begin, end) - begin;
        let arrived = (self.arrived > begin).then(|| inside(self.arrived));
        let is_heard = utterance == 0 || heard[0] >= end;
        let heard = heard.map(inside);
        (!is_heard).then(|| Interrupted { utterance, sent: end - begin, arrived, heard })
    }

    /// The position that is heard when what was sent at this time is.
    fn sent_by(&self, at: u64) -> u64 {
        let samples = |ns: u64| ns * u64::from(self.rate_hz) / 1_000_000_000;
        match self.recent().find(|sent| sent.at <= at) {
            Some(sent) => (sent.from + samples(at - sent.at)).min(sent.to),
            // Older than what is kept, or before all of it.
            None => self.recent().last().map_or(0, |sent| sent.from),
        }
    }

    /// What was sent, the last first.
    fn recent(&self) -> impl Iterator<Item = &Sent> {
        (0..self.count.min(KEPT)).map(|back| &self.sent[(self.count - 1 - back) % KEPT])
    }
}

fn ms(ns: u64) -> u32 {
    u32::try_from(ns / 1_000_000).unwrap_or(u32::MAX)
}
