//! Replays a call from its journal, in a switch and an endpoint of its own and in the journal's time. No
//! sockets, look-ups, handlers or media: all external input is in the journal.

pub(crate) mod nobody;
pub(crate) mod run;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;

use crate::history::Report;
use crate::journal::Journal;
use crate::switch::common::SwitchConfig;
use crate::switch::replay::run::Run;
use b2b_sip::endpoint::Flow;
use b2b_sip::msg::veil::hide_fields;

/// How long after the last line messages may still be retransmitted.
const AFTER: Duration = Duration::from_secs(64);

/// A step of the replay, for the observer.
#[derive(Debug)]
pub enum Shown {
    /// A message was received.
    Received {
        /// Time since the call began.
        at: Duration,
        /// The flow of the message.
        flow: Flow,
        /// The message as on the wire.
        message: Bytes,
    },
    /// A message was sent.
    Sent {
        /// Time since the call began.
        at: Duration,
        /// The flow of the message.
        flow: Flow,
        /// The message as it would be on the wire.
        message: Bytes,
        /// Whether the journal has the same bytes; `None`: the journal had ended.
        same: Option<bool>,
    },
    /// Another input began a turn.
    Input {
        /// Time since the call began.
        at: Duration,
        /// Its kind: `command`, `media`, `answered`.
        kind: &'static str,
        /// The input as in the journal.
        told: Value,
    },
}

/// The result of a replay.
#[derive(Debug)]
pub struct Replayed {
    /// Number of sent messages that equal those in the journal.
    pub same: usize,
    /// The first difference from the journal; `None`: there is none.
    pub differs: Option<Difference>,
    /// Number of messages in the journal that the replay has not sent.
    pub unsent: usize,
}

/// The first point at which a replay differs from the journal.
#[derive(Debug)]
pub struct Difference {
    /// Time since the call began.
    pub at: Duration,
    /// A description of the difference.
    pub what: String,
}

/// A call that is replayed.
pub struct Replay(Run);

impl Replay {
    /// The call of this journal, before it begins; `start` stands for its beginning.
    pub fn new(journal: Journal, start: Instant) -> Self {
        let begin = &journal.begin;
        hide_fields(begin.hidden_fields.iter().cloned());
        let config = SwitchConfig {
            domain: begin.domain.clone(),
            max_duration: begin.max_duration,
            recording: begin.records.clone().map(Arc::new),
            ..SwitchConfig::default()
        };
        let endpoint = begin.endpoint.clone();
        Replay(Run::new(config, endpoint, journal, start))
    }

    /// Replays the call to the end of its journal, or to the first difference.
    pub fn run(&mut self, sees: &mut dyn FnMut(Shown)) -> Replayed {
        while self.0.step(sees) {}
        let end = self.0.now + AFTER;
        self.0.pass_until(end, sees);
        let Run { same, differs, missing, .. } = &mut self.0;
        Replayed { same: *same, differs: differs.take(), unsent: missing.len() }
    }

    /// The histories of its calls as far as they have been replayed, in the order in which the calls began.
    /// They contain no media and no quality ratings.
    pub fn reports(&self) -> Vec<Report> {
        let history = &self.0.switch.common.world.history;
        let calls = history.known().into_iter();
        let mut reports: Vec<Report> =
            calls.filter_map(|call| Some(history.report(call, self.0.now)?.without_media())).collect();
        reports.sort_by_key(|report| (report.began, report.call));
        reports
    }
}
