//! Periodic measurement of calls, and the reaction to it.

use std::time::Duration;

use tokio::time::Instant;

use super::super::recovery::{Recovery, RecoveryStep, Seen, first};
use super::super::{CallState, ClientEvent, Quality};
use super::{Driver, Events, Record};
use b2b_base::metrics::MediaStats;
use b2b_call::LegId;
use b2b_call::agent::{Change, Codec, LegReport};

/// Interval of quality events.
const EVERY: Duration = Duration::from_secs(5);
/// How often the media thread's counters are read, and so their maximum age.
const COUNTERS: Duration = Duration::from_millis(500);
/// The same with levels, which cover a tenth of a second each.
const LEVELS: Duration = Duration::from_millis(100);

/// The measuring settings of all calls.
#[derive(Debug, Clone, Default)]
pub(crate) struct Measuring {
    /// Whether levels are reported.
    pub levels: bool,
    /// Whether lost RTP is reacted to.
    pub recovery: bool,
    /// The client's codecs, in order of preference.
    pub codecs: Vec<Codec>,
}

/// The measuring interval.
pub(super) fn pace(measuring: &Measuring) -> Duration {
    if measuring.levels { LEVELS } else { COUNTERS }
}

/// The measuring state of a call.
pub(super) struct Measured {
    told: LegReport,
    next: Instant,
    recovery: Recovery,
    holds: Holds,
}

impl Measured {
    /// Whether the far end is on hold.
    pub fn is_held(&self) -> bool {
        self.holds.ours
    }
}

/// The hold state of both sides.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Holds {
    pub ours: bool,
    pub theirs: bool,
}

impl Holds {
    /// Notes a change that the far end has accepted.
    pub fn changed(&mut self, change: Change) {
        match change {
            Change::Hold => self.ours = true,
            Change::Resume => self.ours = false,
            Change::Codecs => {}
        }
    }
}

impl Driver {
    /// Starts measuring an answered call.
    pub(super) fn measured(&mut self, leg: LegId) {
        let told = self.service.report(leg).unwrap_or_default();
        let now = Instant::now();
        if let Some(record) = self.calls.get_mut(&leg) {
            record.measured.get_or_insert_with(|| Measured {
                told,
                next: now + EVERY,
                recovery: Recovery::new(now.into_std()),
                holds: Holds::default(),
            });
        }
    }

    /// Updates the hold state.
    pub(super) fn holds(&mut self, leg: LegId, note: impl FnOnce(&mut Holds)) {
        if let Some(measured) = self.calls.get_mut(&leg).and_then(|record| record.measured.as_mut()) {
            note(&mut measured.holds);
        }
    }

    /// Measures every call.
    pub(super) fn measure(&mut self) {
        let now = Instant::now();
        let mut wanted = Vec::new();
        for (leg, record) in &mut self.calls {
            let Some(measured) = &mut record.measured else { continue };
            let Some(report) = self.service.report(*leg) else { continue };
            let call = record.shared.id();
            if self.measuring.levels {
                let Quality { heard_dbfs, sent_dbfs, .. } = Quality::of(&report, &report);
                let _ = self.events.send(ClientEvent::Level { call, heard_dbfs, sent_dbfs });
            }
            let mut loss_pct = None;
            if now >= measured.next {
                measured.next += EVERY;
                for problem in record.problems.take() {
                    let _ = self.events.send(ClientEvent::Audio { call, problem });
                }
                let quality = Quality::of(&report, &std::mem::replace(&mut measured.told, report));
                loss_pct = Some(quality.loss_pct.max(quality.remote_loss_pct.unwrap_or(0.0)));
                let _ = self.events.send(ClientEvent::Quality { call, quality, last: false });
            }
            if self.measuring.recovery {
                let seen = Seen {
                    at: now.into_std(),
                    received: report.stats.packets_rx,
                    expected: !measured.holds.ours && !measured.holds.theirs,
                    loss_pct,
                    codec: record.shared.agreed().map(|agreed| agreed.codec),
                };
                let steps = measured.recovery.look(seen, &self.measuring.codecs);
                wanted.extend(steps.into_iter().map(|step| (*leg, call, step)));
            }
        }
        for (leg, call, step) in wanted {
            self.recover(leg, &step);
            let _ = self.events.send(ClientEvent::Recovery { call, step });
        }
    }

    fn recover(&mut self, leg: LegId, step: &RecoveryStep) {
        // A failure means that the call has just ended.
        let _ = match step {
            RecoveryStep::Sending { step, .. } => self.service.adapt(leg, step.adapt(self.rate_hz)),
            RecoveryStep::Offering { codec, .. } => {
                self.service.offer(leg, &first(*codec, &self.measuring.codecs))
            }
            RecoveryStep::Silent { .. } | RecoveryStep::Back { .. } => Ok(()),
        };
    }

    /// The quality of the call so far.
    pub(super) fn quality(&mut self, leg: LegId) -> Option<(Quality, MediaStats)> {
        let report = self.service.report(leg)?;
        Some((Quality::of(&report, &LegReport::default()), report.stats))
    }
}

/// Reports the final measurements of a call whose media are closed, if it was answered.
pub(super) fn last(record: &Record, report: &LegReport, events: &Events) {
    let call = record.shared.id();
    let quality = Quality::of(report, &LegReport::default());
    record.shared.measured(quality, report.stats);
    if *record.shared.state.borrow() == CallState::Answered {
        let _ = events.send(ClientEvent::Quality { call, quality, last: true });
    }
}
