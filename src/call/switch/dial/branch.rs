//! A branch of a dialling: one target.

use std::sync::Arc;
use std::time::{Duration, Instant};

/// The silence of a branch whose time for a response is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// It has had a response, 100 included, or needs none in time.
    Over,
    /// It has turned to another address of its target, which may be silent for as long as the first.
    Since(Instant),
    FromTheStart,
}

#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(super) enum Branch {
    Open {
        kin: Option<Arc<str>>,
        member: Option<Arc<str>>,
        #[serde(with = "b2b_base::ages")]
        ends: Instant,
        /// Since when no response has come, and for how long none may; `None`: one has come, or there is no
        /// such limit.
        #[serde(with = "b2b_base::ages")]
        silent_since: Instant,
        trying: Option<Duration>,
        /// A provisional response has come.
        rang: bool,
    },
    Over,
}

impl Branch {
    /// When to give the branch up if no response has come.
    pub(super) fn silent_until(&self) -> Option<Instant> {
        match self {
            Branch::Open { silent_since, trying, .. } => trying.map(|trying| *silent_since + trying),
            Branch::Over => None,
        }
    }

    /// Takes what is known of its silence.
    pub(super) fn silence(&mut self, silence: Silence) {
        if let Branch::Open { trying, silent_since, .. } = self {
            match silence {
                Silence::Over => *trying = None,
                Silence::Since(at) => *silent_since = at,
                Silence::FromTheStart => {}
            }
        }
    }
}
