//! A conference of several calls on one media thread: every far end hears all the others and what
//! our side says in any call; our side hears all far ends, on whichever call it listens.
//!
//! Each call gets a [`Participant`], which mixes into what it sends and what it plays. Participants
//! are connected by rings, so that a call can leave on its own: there is no lock and no allocation,
//! and an empty ring is silence. Within a tick every sink is served before any source, so what a
//! far end says reaches the others in the same tick.

use rtrb::{Consumer, Producer, RingBuffer};

use super::mix::{Limiter, add};

/// Maximum packet time, ms.
const LONGEST_MS: u32 = 60;
/// Capacity of a ring, ms: twice the longest packet.
const RING_MS: u32 = 2 * LONGEST_MS;

/// A call's mixer: adds the other calls to what its far end hears and to what our side hears.
pub struct Participant {
    others: Vec<Other>,
    mixed: Box<[i32]>,
    to_far: Limiter,
    to_near: Limiter,
}

/// The rings to and from another participant.
struct Other {
    outlets: Outlets,
    inlets: Inlets,
}

/// In each name, the first part is the speaker (far: the far end, near: our side), the second the listener.
struct Outlets {
    far_to_far: Producer<i16>,
    far_to_near: Producer<i16>,
    near_to_far: Producer<i16>,
}

struct Inlets {
    far_to_far: Inlet,
    far_to_near: Inlet,
    near_to_far: Inlet,
}

/// The reading end of a ring.
struct Inlet {
    ring: Consumer<i16>,
    /// If more than this is left over, it is outdated: the reader paused (hold).
    limit: usize,
}

impl Inlet {
    /// Adds pending samples; missing ones are silence.
    fn add_to(&mut self, mixed: &mut [i32]) {
        let there = self.ring.slots();
        if there > mixed.len() + self.limit
            && let Ok(old) = self.ring.read_chunk(there - mixed.len())
        {
            old.commit_all();
        }
        let wanted = mixed.len().min(self.ring.slots());
        let Ok(chunk) = self.ring.read_chunk(wanted) else { return };
        let (first, second) = chunk.as_slices();
        add(mixed, first.iter().chain(second));
        chunk.commit_all();
    }
}

/// Participants for `count` calls of one rate.
pub fn participants(count: usize, rate_hz: u32) -> Vec<Participant> {
    let longest = (rate_hz / 1_000 * LONGEST_MS) as usize;
    let participant = |_| Participant {
        others: Vec::with_capacity(count),
        mixed: vec![0; longest].into(),
        to_far: Limiter::OPEN,
        to_near: Limiter::OPEN,
    };
    let mut participants: Vec<Participant> = (0..count).map(participant).collect();
    for one in 0..count {
        for another in one + 1..count {
            let ((out, their_in), (their_out, back)) = (way(rate_hz), way(rate_hz));
            participants[one].others.push(Other { outlets: out, inlets: back });
            participants[another].others.push(Other { outlets: their_out, inlets: their_in });
        }
    }
    participants
}

/// The rings from one participant to another.
fn way(rate_hz: u32) -> (Outlets, Inlets) {
    let samples = |ms: u32| (rate_hz / 1_000 * ms) as usize;
    let ring = || {
        let (producer, ring) = RingBuffer::new(samples(RING_MS));
        (producer, Inlet { ring, limit: samples(LONGEST_MS) })
    };
    let (far_to_far, far_to_near, near_to_far) = (ring(), ring(), ring());
    (
        Outlets { far_to_far: far_to_far.0, far_to_near: far_to_near.0, near_to_far: near_to_far.0 },
        Inlets { far_to_far: far_to_far.1, far_to_near: far_to_near.1, near_to_far: near_to_far.1 },
    )
}

impl Participant {
    /// Takes the audio of a packet that our side sends, and adds what else the far end is to hear.
    /// At most 60 ms.
    pub fn sent(&mut self, samples: &mut [i16]) {
        let Some(mixed) = self.mixed.get_mut(..samples.len()) else { return };
        mixed.fill(0);
        add(mixed, &*samples);
        for other in &mut self.others {
            push(&mut other.outlets.near_to_far, samples);
            other.inlets.far_to_far.add_to(mixed);
            other.inlets.near_to_far.add_to(mixed);
        }
        self.to_far.write(mixed, samples);
    }

    /// Takes a frame of the far end that is played, and adds what else our side is to hear.
    pub fn heard(&mut self, samples: &mut [i16]) {
        let Some(mixed) = self.mixed.get_mut(..samples.len()) else { return };
        mixed.fill(0);
        add(mixed, &*samples);
        for other in &mut self.others {
            push(&mut other.outlets.far_to_far, samples);
            push(&mut other.outlets.far_to_near, samples);
            other.inlets.far_to_near.add_to(mixed);
        }
        self.to_near.write(mixed, samples);
    }
}

/// A full ring is not read, or too slowly. Its reader drops outdated samples.
fn push(ring: &mut Producer<i16>, samples: &[i16]) {
    let _ = ring.push_partial_slice(samples);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One tick: what each far end says and what our side says to each; returns what each far end
    /// hears, and what our side hears of each.
    fn tick(participants: &mut [Participant], far: &[i16], near: &[i16]) -> (Vec<i16>, Vec<i16>) {
        let one = |participant: &mut Participant, said: i16, act: fn(&mut Participant, &mut [i16])| {
            let mut samples = [said; 160];
            act(participant, &mut samples);
            assert!(samples.iter().all(|sample| *sample == samples[0]), "{samples:?}");
            samples[0]
        };
        let here = participants
            .iter_mut()
            .zip(far)
            .map(|(participant, said)| one(participant, *said, Participant::heard))
            .collect();
        let there = participants
            .iter_mut()
            .zip(near)
            .map(|(participant, said)| one(participant, *said, Participant::sent))
            .collect();
        (there, here)
    }

    #[test]
    fn everybody_hears_all_the_others() {
        let mut participants = participants(3, 8_000);
        for _ in 0..100 {
            tick(&mut participants, &[1, 10, 100], &[1_000, 2_000, 4_000]);
        }
        let (there, here) = tick(&mut participants, &[1, 10, 100], &[1_000, 2_000, 4_000]);
        assert_eq!(there, [7_110, 7_101, 7_011]);
        assert_eq!(here, [111; 3]);
    }

    #[test]
    fn who_speaks_is_heard_in_the_same_tick_and_nothing_is_left_behind() {
        let mut participants = participants(2, 8_000);
        assert_eq!(tick(&mut participants, &[5, 0], &[0, 0]).0, [0, 5]);
        assert_eq!(tick(&mut participants, &[0, 0], &[0, 0]).0, [0, 0]);
    }

    #[test]
    fn who_leaves_is_silence_for_the_others() {
        let mut participants = participants(3, 8_000);
        tick(&mut participants, &[1, 10, 100], &[0; 3]);
        participants.pop();
        for _ in 0..100 {
            tick(&mut participants, &[1, 10], &[0; 2]);
        }
        assert_eq!(tick(&mut participants, &[1, 10], &[0; 2]), (vec![10, 1], vec![11, 11]));
    }

    #[test]
    fn who_was_held_hears_nothing_old() {
        let mut participants = participants(2, 8_000);
        // Nothing is sent to the second far end for a second.
        for _ in 0..50 {
            let (first, _) = participants.split_at_mut(1);
            tick(first, &[7], &[0]);
        }
        let mut samples = [0; 160];
        participants[0].heard(&mut [9; 160]);
        participants[1].sent(&mut samples);
        participants[0].heard(&mut [9; 160]);
        participants[1].sent(&mut samples);
        participants[0].heard(&mut [9; 160]);
        samples.fill(0);
        participants[1].sent(&mut samples);
        assert_eq!(samples, [9; 160], "at most the longest packet behind");
    }

    #[test]
    fn packets_of_any_length_fit_and_loud_sums_are_limited() {
        let mut participants = participants(2, 48_000);
        for _ in 0..10 {
            for _ in 0..3 {
                participants[0].heard(&mut [30_000; 960]);
            }
            let mut long = [10_000; 2_880];
            participants[1].sent(&mut long);
            assert_eq!(
                long[32..],
                [30_000; 2_848],
                "0.8 dB below full scale, where a sum of 40,000 would be cut off"
            );
        }
    }
}
