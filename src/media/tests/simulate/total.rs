//! What worlds have come to, together.

use std::ops::AddAssign;

#[derive(Debug, Default, Clone, Copy)]
pub struct Total {
    /// Of endpoints and listeners, ns.
    pub lived: u64,
    /// RTP packets that came, and that left.
    pub packets: u64,
    pub sent: u64,
    /// Compound RTCP packets that left.
    pub reports: u64,
    /// Changes of who is joined with whom.
    pub joins: u64,
    /// Frames of listeners, those that were made up, and pitch periods more or less.
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
