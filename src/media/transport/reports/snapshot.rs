//! Reports, to be written and read back: the same CNAME, and the counters of both sides.

use super::{Reports, RtcpStats};
use crate::snapshot::{self, Back, RestoreError, age, holds};

/// [`Reports`], with ages in place of times. The next report is scheduled anew.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct ReportsSnapshot {
    stats: RtcpStats,
    cname: [u8; 24],
    sent: [u32; 2],
    prior: (u32, u32, u32),
    last_sr: u32,
    last_sr_age: Option<u64>,
}

impl ReportsSnapshot {
    /// The reports as of `at`.
    pub fn new(reports: &Reports, at: u64) -> Self {
        ReportsSnapshot {
            stats: reports.stats,
            cname: reports.cname,
            sent: reports.sent,
            prior: reports.prior,
            last_sr: reports.last_sr,
            last_sr_age: age(at, reports.last_sr_at),
        }
    }

    /// Checks that the reports can be continued.
    pub fn check(&self) -> Result<(), RestoreError> {
        let RtcpStats { sent, received, refused, blocks, rtt_ms, .. } = self.stats;
        holds(self.cname.iter().all(u8::is_ascii_hexdigit), "CNAME")?;
        holds(rtt_ms.is_none_or(|rtt| rtt.is_finite()), "round trip")?;
        snapshot::counters_32([sent, received, refused, blocks])?;
        snapshot::ages([self.last_sr_age])
    }

    /// The reports, which must have been checked; none is due yet.
    pub fn restored(&self, back: Back) -> Reports {
        Reports {
            due: 0,
            stats: self.stats,
            cname: self.cname,
            sent: self.sent,
            prior: self.prior,
            last_sr: self.last_sr,
            last_sr_at: back.moment(self.last_sr_age),
            left_at: if self.stats.bye { super::tenths(back.moment(Some(0))) } else { 0 },
        }
    }
}
