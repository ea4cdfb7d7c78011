//! How much audio a ring between a device and a call holds: as little as possible, more after it has run dry,
//! and less again when the extra was never needed.

/// Maximum number of frames to wait for before the first is taken.
const MOST: usize = 3;
/// Packets between checks whether less would suffice: 2 s at first, doubled each time the ring runs dry, up
/// to ten minutes.
const LOOK: u32 = 100;
const LOOK_MOST: u32 = 30_000;
/// Packets below this level may be skipped: -40 dBFS.
const QUIET: u16 = 328;

/// The depth of one ring. A frame is 20 ms of samples.
pub(super) struct Depth {
    /// Frames that have to be there before the first one is taken.
    start: usize,
    /// The minimum of `start`.
    floor: usize,
    /// Packets from one check to the next.
    look: u32,
    /// Packets since the last check.
    packets: u32,
    /// The fewest samples left after a packet since then.
    least: usize,
    /// The ring holds a frame more than needed.
    spare: bool,
}

impl Depth {
    /// Starts with waiting for `start` frames.
    pub fn new(start: usize) -> Self {
        Depth { start, floor: start, look: LOOK, packets: 0, least: usize::MAX, spare: false }
    }

    /// Frames that have to be there before the first one is taken.
    pub fn start(&self) -> usize {
        self.start
    }

    /// Notes that the ring was empty when a packet was due: more frames are waited for.
    pub fn ran_dry(&mut self) {
        self.start = (self.start + 1).min(MOST);
        self.look = (2 * self.look).min(LOOK_MOST);
        self.begin();
    }

    fn begin(&mut self) {
        (self.packets, self.least, self.spare) = (0, usize::MAX, false);
    }

    /// Notes that a packet was taken and `left` samples remain. Returns whether to skip it and take the next
    /// one instead: a quiet packet is not missed, and all later audio has less delay.
    pub fn skips(&mut self, packet: &[i16], left: usize, frame: usize) -> bool {
        let least = frame.max(packet.len());
        self.least = self.least.min(left);
        self.packets += 1;
        if self.packets >= self.look {
            let spare = self.least >= least;
            self.begin();
            self.spare = spare;
        }
        self.spare &= left >= least;
        if !self.spare || packet.iter().any(|sample| sample.unsigned_abs() > QUIET) {
            return false;
        }
        self.start = (self.start - 1).max(self.floor);
        self.begin();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: usize = 160;
    const SPEECH: [i16; FRAME] = [5_000; FRAME];
    const PAUSE: [i16; FRAME] = [3; FRAME];

    #[test]
    fn more_is_waited_for_each_time_that_it_ran_dry_up_to_a_bound() {
        let mut depth = Depth::new(1);
        let starts = [(); 4].map(|()| {
            depth.ran_dry();
            depth.start()
        });
        assert_eq!(starts, [2, 3, 3, 3]);
    }

    #[test]
    fn what_was_never_needed_is_left_out_in_a_pause() {
        let mut depth = Depth::new(1);
        depth.ran_dry();
        let looks = 2 * LOOK;
        assert!((0..looks + 50).all(|_| !depth.skips(&SPEECH, FRAME, FRAME)), "no speech is left out");
        assert!(depth.skips(&PAUSE, FRAME, FRAME));
        assert_eq!(depth.start(), 1);
        assert!(!depth.skips(&PAUSE, FRAME, FRAME), "one, until it was looked again");
    }

    #[test]
    fn what_was_needed_once_stays() {
        let mut depth = Depth::new(1);
        for n in 0..1_000 {
            let left = if n % 50 == 0 { 0 } else { FRAME };
            assert!(!depth.skips(&PAUSE, left, FRAME));
        }
    }

    #[test]
    fn a_ring_that_ran_dry_is_trusted_for_longer_each_time() {
        let mut depth = Depth::new(1);
        let mut after = || {
            depth.ran_dry();
            (1..).find(|_| depth.skips(&PAUSE, FRAME, FRAME)).expect("in the end")
        };
        assert_eq!([after(), after(), after()], [2 * LOOK, 4 * LOOK, 8 * LOOK]);
    }
}
