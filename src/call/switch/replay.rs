//! Runs a call again from its journal: a switch and an endpoint that hold nothing else, in the journal's time.
//! Nothing is opened, looked up, asked or played: what came from outside is in the journal.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;

use super::SwitchConfig;
use super::run::{Mode, Run, SLACK};
use crate::history::Report;
use crate::journal::Journal;
use b2b_sip::endpoint::Flow;

/// How long after the last line what was sent may still come by itself: the longest retransmission.
const AFTER: Duration = Duration::from_secs(64);

/// Something that the run has done, for who looks on.
#[derive(Debug)]
pub enum Shown {
    /// A message came.
    Received {
        /// Since the call began.
        at: Duration,
        /// By which way.
        flow: Flow,
        /// As on the wire.
        message: Bytes,
    },
    /// A message went out.
    Sent {
        /// Since the call began.
        at: Duration,
        /// By which way.
        flow: Flow,
        /// As it would be on the wire.
        message: Bytes,
        /// Whether the journal has the same, octet by octet; none: the journal had ended.
        same: Option<bool>,
    },
    /// Another input began a turn.
    Input {
        /// Since the call began.
        at: Duration,
        /// Which: `command`, `media`, `answered`.
        kind: &'static str,
        /// What the journal has of it.
        told: Value,
    },
}

/// What a run came to.
#[derive(Debug)]
pub struct Replayed {
    /// Messages that were sent as the journal has them.
    pub same: usize,
    /// Where the run has left the journal first; none: it has not.
    pub differs: Option<Difference>,
    /// Messages of the journal that the run has not sent.
    pub unsent: usize,
}

/// Where a run is no longer what the journal has.
#[derive(Debug)]
pub struct Difference {
    /// Since the call began.
    pub at: Duration,
    /// What differs, in words.
    pub what: String,
}

/// A call that is run again.
pub struct Replay(Run);

impl Replay {
    /// The call of this journal, before it begins; `start` is the moment that stands for its beginning.
    pub fn new(journal: Journal, start: Instant) -> Self {
        let begin = &journal.begin;
        let config = SwitchConfig {
            domain: begin.domain.clone(),
            max_duration: begin.max_duration,
            recording: begin.records.clone().map(Arc::new),
            ..SwitchConfig::default()
        };
        let mut run = Run::new(config, begin.endpoint.clone(), start, Mode::Strict, SLACK);
        run.add(journal, start, start);
        Replay(run)
    }

    /// Runs it to the end of its journal, or to where it leaves it.
    pub fn run(&mut self, sees: &mut dyn FnMut(Shown)) -> Replayed {
        let has_left = |run: &Run| run.groups.iter().any(|it| it.differs.is_some());
        while !has_left(&self.0) && self.0.step(sees) {}
        let end = self.0.now + AFTER;
        self.0.pass_until(end, sees);
        match self.0.groups.first_mut() {
            Some(it) => Replayed { same: it.same, differs: it.differs.take(), unsent: it.missing.len() },
            None => Replayed { same: 0, differs: None, unsent: 0 },
        }
    }

    /// The accounts of its calls, as far as they have run, in the order in which they began. There was no media,
    /// and nothing is judged.
    pub fn reports(&self) -> Vec<Report> {
        let history = &self.0.switch.history;
        let calls = history.known().into_iter();
        let mut reports: Vec<Report> =
            calls.filter_map(|call| Some(history.report(call, self.0.now)?.without_media())).collect();
        reports.sort_by_key(|report| (report.began, report.call));
        reports
    }
}
