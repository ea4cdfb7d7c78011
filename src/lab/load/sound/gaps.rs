//! The gaps that judged calls heard, each with its time: what a failover of the target sounded like, and for whom.

use serde::Serialize;

use super::super::hearing::HeardGap;
use super::super::worst::Call;

/// Maximum gaps listed.
const LISTED: usize = 20_000;

/// A gap in the mark that a call heard.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Gap {
    /// `caller` or `callee`.
    side: &'static str,
    /// The number of the call on its side.
    number: u64,
    /// Its kind in the plan, empty if there is only one.
    #[serde(skip_serializing_if = "String::is_empty")]
    kind: String,
    /// Its start since the start of the run, s.
    at_s: f64,
    ms: u32,
}

/// The first gaps, in the order in which their calls ended.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Gaps {
    heard: Vec<Gap>,
    /// Number of further ones.
    left_out: u64,
}

impl Gaps {
    /// Adds those of a call. `run_s`: for how long the run has been going on.
    pub fn of(&mut self, call: &Call, gaps: &[HeardGap], run_s: f64) {
        for gap in gaps {
            if self.heard.len() == LISTED {
                self.left_out += 1;
                continue;
            }
            let at_s = ((run_s - gap.ago().as_secs_f64()) * 1e3).round() / 1e3;
            let (side, number, kind) = (call.side, call.number, call.kind.clone());
            self.heard.push(Gap { side, number, kind, at_s, ms: gap.ms });
        }
    }
}
