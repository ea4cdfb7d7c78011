//! What a receiver must know of an RTP stream, by a direct implementation of RFC 3550.

/// A received stream. Sequence numbers are those of the sender, which never wrap.
#[derive(Debug, Clone, Default)]
pub struct Received {
    pub ssrc: u32,
    pub base: u64,
    pub highest: u64,
    /// A bit for each number from `zero` on.
    came: Vec<u64>,
    zero: u64,
    pub unique: u64,
    /// Interarrival jitter, in timestamp units (§6.4.1).
    pub jitter: f64,
    transit: Option<f64>,
    /// Expected and received as of the last report.
    prior: (u64, u64),
    /// Only the network intervened: no pause, and no change of the sender's join.
    pub steady: bool,
}

/// Numbers before the first one that may still arrive.
const BEFORE: u64 = 1_000;

impl Received {
    pub fn new(ssrc: u32) -> Self {
        Received { ssrc, steady: true, ..Received::default() }
    }

    /// Counts a packet with this number that arrived at `at` ns, with this timestamp at this clock rate.
    pub fn takes(&mut self, number: u64, at: u64, timestamp: u64, rate: u32) {
        if self.unique == 0 {
            (self.base, self.highest, self.zero) = (number, number, number.saturating_sub(BEFORE));
        }
        let place = (number - self.zero) as usize;
        if self.came.len() <= place / 64 {
            self.came.resize(place / 64 + 64, 0);
        }
        let bit = 1 << (place % 64);
        self.unique += u64::from(self.came[place / 64] & bit == 0);
        self.came[place / 64] |= bit;
        (self.base, self.highest) = (self.base.min(number), self.highest.max(number));
        let transit = at as f64 * f64::from(rate) / 1e9 - timestamp as f64;
        if let Some(before) = self.transit.replace(transit) {
            self.jitter += ((transit - before).abs() - self.jitter) / 16.0;
        }
    }

    pub fn expected(&self) -> u64 {
        if self.unique == 0 { 0 } else { self.highest - self.base + 1 }
    }

    pub fn lost(&self) -> u64 {
        self.expected() - self.unique
    }

    /// The fraction lost in a report of now; the next one counts from here.
    pub fn fraction(&mut self) -> u8 {
        let now = (self.expected(), self.unique);
        let due = now.0 - self.prior.0;
        let lost = due.saturating_sub(now.1 - self.prior.1);
        self.prior = now;
        (lost * 256).checked_div(due).unwrap_or(0).min(255) as u8
    }
}
