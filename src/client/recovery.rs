//! The reaction to lost RTP, as a table without I/O: Opus is sent more robustly in steps, a codec that
//! tolerates loss badly is replaced by one that does not, and silence of the far end is reported.
//!
//! # Robustness
//!
//! A call's loss is evaluated every 5 s. It is the worse of the local loss and the loss that the far end
//! reports, since a path that is bad one way often is bad the other way too.
//!
//! | step \ loss | below 1.5 % | to 3 % | to 5 % | to 10 % | above |
//! |---|---|---|---|---|---|
//! | [`Step::Usual`] | – | – | Robust | Robust | Sparing |
//! | [`Step::Robust`] | Usual, after three in a row | – | – | – | Sparing |
//! | [`Step::Sparing`] | Robust, after three in a row | Robust, after three in a row | – | – | – |
//!
//! Steps up are immediate, steps down are slow, and a band between the thresholds changes nothing.
//!
//! # Another codec
//!
//! Above 10 % twice in a row, a re-INVITE offers first the most robust codec of the client's list, if it is
//! more robust than the one in use (Opus before G.711 before G.722). This happens once per call: a refused
//! offer would be refused again, and going back would only lose more.
//!
//! # Silence
//!
//! 2 s without RTP where it is expected are reported, and so is its return. No re-INVITE is sent during a
//! silence: over a network that loses everything it would time out, and that ends the call (RFC 3261 §14.1),
//! which otherwise continues when the network is back.

use std::fmt;
use std::time::{Duration, Instant};

use b2b_call::agent::{Adapt, Codec};
use b2b_media::codec::OpusTuning;

/// Evaluations below the lower threshold before a step down.
const CALM: u8 = 3;
/// Evaluations above the highest threshold before another codec is offered.
const PATIENCE: u8 = 2;
/// Silence before it is reported.
const SILENCE: Duration = Duration::from_secs(2);

/// How robustly audio is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Initial: Opus with redundancy for 5 % loss.
    Usual,
    /// Redundancy for 15 % loss.
    Robust,
    /// Redundancy for 30 % loss at two thirds of the bit rate: the path may be too narrow.
    Sparing,
}

impl Step {
    /// The tuning for the session; it affects Opus only.
    pub(super) fn adapt(self, rate_hz: u32) -> Adapt {
        let usual = OpusTuning::bitrate(rate_hz);
        let (expected_loss_pct, bitrate) = match self {
            Step::Usual => (5, usual),
            Step::Robust => (15, usual),
            Step::Sparing => (30, usual * 2 / 3),
        };
        Adapt { expected_loss_pct, bitrate }
    }

    /// The next step, by the table of this module.
    fn next(self, loss_pct: f64, calm: u8) -> Step {
        match self {
            Step::Usual | Step::Robust if loss_pct > 10.0 => Step::Sparing,
            Step::Usual if loss_pct > 3.0 => Step::Robust,
            Step::Robust if calm >= CALM => Step::Usual,
            Step::Sparing if calm >= CALM => Step::Robust,
            step => step,
        }
    }

    /// The loss below which a step down is considered.
    fn floor(self) -> f64 {
        if self == Step::Sparing { 3.0 } else { 1.5 }
    }
}

/// A reaction to the state of a call's audio.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum RecoveryStep {
    /// Audio is sent more robustly, or less so again.
    Sending {
        /// The step from now on.
        step: Step,
        /// The loss that caused it, the worse of both directions, percent.
        loss_pct: f64,
    },
    /// Another codec is offered; [`super::ClientEvent::Agreed`] follows if it is taken.
    Offering {
        /// The offered codec.
        codec: Codec,
        /// The loss that caused it, the worse of both directions, percent.
        loss_pct: f64,
    },
    /// No RTP has arrived although it is expected. The call goes on until
    /// [`super::ClientBuilder::rtp_timeout`].
    Silent {
        /// The length of the silence so far.
        since: Duration,
    },
    /// RTP has resumed after a silence.
    Back {
        /// The length of the silence.
        after: Duration,
    },
}

impl fmt::Display for RecoveryStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecoveryStep::Sending { step, loss_pct } => {
                write!(
                    f,
                    "{loss_pct:.1} % packet loss: audio is sent {}",
                    match step {
                        Step::Usual => "as usual",
                        Step::Robust => "with more protection",
                        Step::Sparing => "with more protection, at a lower bit rate",
                    }
                )
            }
            RecoveryStep::Offering { codec, loss_pct } => {
                write!(f, "{loss_pct:.1} % packet loss: offering {codec}, which tolerates it better")
            }
            RecoveryStep::Silent { since } => {
                write!(
                    f,
                    "no RTP for {:.0} s: the far end sends none, or the network loses it",
                    since.as_secs_f64()
                )
            }
            RecoveryStep::Back { after } => {
                write!(f, "RTP is back after {:.0} s", after.as_secs_f64())
            }
        }
    }
}

/// One observation of a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub at: Instant,
    /// Packets received so far.
    pub received: u64,
    /// Whether RTP is expected: neither side is on hold.
    pub expected: bool,
    /// The worse loss of both directions, if an evaluation is due.
    pub loss_pct: Option<f64>,
    /// The codec of sent audio.
    pub codec: Option<Codec>,
}

/// The state of one call. See the module documentation.
#[derive(Debug, Clone)]
pub(super) struct Recovery {
    step: Step,
    /// Evaluations in a row below the step's floor, and above every threshold.
    calm: u8,
    heavy: u8,
    offered: bool,
    received: u64,
    heard_at: Instant,
    silent: bool,
}

impl Recovery {
    pub fn new(at: Instant) -> Self {
        Recovery {
            step: Step::Usual,
            calm: 0,
            heavy: 0,
            offered: false,
            received: 0,
            heard_at: at,
            silent: false,
        }
    }

    /// The reactions to an observation. `codecs` are the client's own.
    pub fn look(&mut self, seen: Seen, codecs: &[Codec]) -> Vec<RecoveryStep> {
        let mut steps = Vec::new();
        steps.extend(self.silence(&seen));
        // Loss during a silence says nothing about the path, and a re-INVITE then would end the call.
        if let (Some(loss_pct), false) = (seen.loss_pct, self.silent) {
            self.robustness(loss_pct, &mut steps);
            let better = seen.codec.and_then(|codec| more_robust(codec, codecs));
            if let (Some(codec), true, false) = (better, self.heavy >= PATIENCE, self.offered) {
                self.offered = true;
                steps.push(RecoveryStep::Offering { codec, loss_pct });
            }
        }
        steps
    }

    fn silence(&mut self, seen: &Seen) -> Option<RecoveryStep> {
        let since = seen.at.saturating_duration_since(self.heard_at);
        if seen.received != self.received || !seen.expected {
            self.received = seen.received;
            self.heard_at = seen.at;
            return std::mem::take(&mut self.silent).then_some(RecoveryStep::Back { after: since });
        }
        let begins = !self.silent && since >= SILENCE;
        self.silent |= begins;
        begins.then_some(RecoveryStep::Silent { since })
    }

    fn robustness(&mut self, loss_pct: f64, steps: &mut Vec<RecoveryStep>) {
        self.calm = if loss_pct < self.step.floor() { self.calm.saturating_add(1) } else { 0 };
        self.heavy = if loss_pct > 10.0 { self.heavy.saturating_add(1) } else { 0 };
        let step = self.step.next(loss_pct, self.calm);
        if step != self.step {
            self.step = step;
            self.calm = 0;
            steps.push(RecoveryStep::Sending { step, loss_pct });
        }
    }
}

/// The most robust of these codecs, if it is more robust than `codec`.
fn more_robust(codec: Codec, codecs: &[Codec]) -> Option<Codec> {
    let rank = |codec: &Codec| match codec {
        Codec::Opus => 2,
        Codec::Pcmu | Codec::Pcma => 1,
        Codec::G722 => 0,
    };
    // Of equals the first: the order is the user's.
    let best = codecs.iter().rev().max_by_key(|codec| rank(codec))?;
    (rank(best) > rank(&codec)).then_some(*best)
}

/// The codecs to offer, this one first.
pub(super) fn first(codec: Codec, codecs: &[Codec]) -> Vec<Codec> {
    std::iter::once(codec).chain(codecs.iter().copied().filter(|other| *other != codec)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A call that receives packets and is evaluated every 5 s.
    struct Bench {
        recovery: Recovery,
        seen: Seen,
        codecs: Vec<Codec>,
    }

    impl Bench {
        fn new(codec: Codec, codecs: &[Codec]) -> Self {
            let at = Instant::now();
            let seen = Seen { at, received: 0, expected: true, loss_pct: None, codec: Some(codec) };
            Bench { recovery: Recovery::new(at), seen, codecs: codecs.to_vec() }
        }

        fn look(&mut self, after: Duration, packets: u64) -> Vec<RecoveryStep> {
            self.seen.at += after;
            self.seen.received += packets;
            self.recovery.look(self.seen, &self.codecs)
        }

        fn loss(&mut self, loss_pct: f64) -> Vec<RecoveryStep> {
            self.seen.loss_pct = Some(loss_pct);
            self.look(Duration::from_secs(5), 250)
        }

        fn steps(&mut self, losses: &[f64]) -> Vec<Step> {
            for loss in losses {
                self.loss(*loss);
            }
            vec![self.recovery.step]
        }
    }

    #[test]
    fn robustness_goes_up_at_once_and_down_after_three_calm_looks() {
        let mut bench = Bench::new(Codec::Opus, &Codec::ALL);
        let cases: &[(&[f64], Step)] = &[
            (&[0.0, 2.9], Step::Usual),
            (&[3.1], Step::Robust),
            (&[0.0, 0.0], Step::Robust),
            (&[2.0, 0.0, 0.0], Step::Robust),
            (&[0.0], Step::Usual),
            (&[50.0], Step::Sparing),
            (&[2.9, 2.9], Step::Sparing),
            (&[2.9], Step::Robust),
            (&[2.9, 2.9, 2.9, 2.9], Step::Robust),
            (&[10.1], Step::Sparing),
        ];
        for (index, (losses, step)) in cases.iter().enumerate() {
            assert_eq!(bench.steps(losses), [*step], "{index}");
        }
        assert!(Step::Sparing.adapt(16_000).bitrate < Step::Usual.adapt(16_000).bitrate);
        assert!(Step::Robust.adapt(16_000).expected_loss_pct > Step::Usual.adapt(16_000).expected_loss_pct);
    }

    #[test]
    fn a_codec_that_takes_loss_badly_gives_way_once() {
        let offers = |steps: Vec<RecoveryStep>| {
            steps.into_iter().find_map(|step| match step {
                RecoveryStep::Offering { codec, .. } => Some(codec),
                _ => None,
            })
        };
        let mut bench = Bench::new(Codec::G722, &[Codec::G722, Codec::Pcma, Codec::Pcmu]);
        assert_eq!([11.0, 5.0, 11.0].map(|loss| offers(bench.loss(loss))), [None; 3], "not in a row");
        assert_eq!(offers(bench.loss(11.0)), Some(Codec::Pcma));
        assert_eq!([20.0; 5].map(|loss| offers(bench.loss(loss))), [None; 5], "it was refused");
        assert_eq!(first(Codec::Pcma, &bench.codecs), [Codec::Pcma, Codec::G722, Codec::Pcmu]);
        let mut bench = Bench::new(Codec::Opus, &Codec::ALL);
        assert_eq!([90.0; 5].map(|loss| offers(bench.loss(loss))), [None; 5], "there is no better one");
    }

    #[test]
    fn silence_is_told_once_and_so_is_its_end() {
        let mut bench = Bench::new(Codec::Pcmu, &Codec::ALL);
        let half = Duration::from_millis(500);
        assert_eq!(bench.look(half, 25), []);
        assert_eq!([0; 3].map(|none| bench.look(half, none).len()), [0; 3]);
        assert_eq!(bench.look(half, 0), [RecoveryStep::Silent { since: half * 4 }]);
        bench.seen.loss_pct = Some(100.0);
        assert_eq!([0; 50].map(|none| bench.look(half, none).len()), [0; 50], "nor is anything offered");
        bench.seen.loss_pct = None;
        assert_eq!(bench.look(half, 1), [RecoveryStep::Back { after: half * 55 }]);
        bench.seen.expected = false;
        assert_eq!([0; 50].map(|none| bench.look(half, none).len()), [0; 50], "on hold silence is right");
    }
}
