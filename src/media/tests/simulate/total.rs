//! Totals over worlds.

use std::ops::AddAssign;

#[derive(Debug, Default, Clone, Copy)]
pub struct Total {
    /// Lifetime of endpoints and listeners, ns.
    pub lived: u64,
    /// RTP packets received, and sent.
    pub packets: u64,
    pub sent: u64,
    /// Compound RTCP packets sent.
    pub reports: u64,
    /// Changes of joins.
    pub joins: u64,
    /// Frames of listeners, concealed frames, and pitch periods inserted or removed.
    pub frames: u64,
    pub concealed: u64,
    pub corrections: u64,
}

impl AddAssign for Total {
    fn add_assign(&mut self, other: Total) {
        self.lived += other.lived;
        self.packets += other.packets;
        self.sent += other.sent;
        self.reports += other.reports;
        self.joins += other.joins;
        self.frames += other.frames;
        self.concealed += other.concealed;
        self.corrections += other.corrections;
    }
}
