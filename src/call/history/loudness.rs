//! How loud the party of a leg and its voice agent were, over the time of the call.

use serde::Serialize;

/// Steps that are kept; when there would be more, two become one.
const MOST: usize = 1_500;
/// Steps this far from the end of those before follow them: the last of a talk are told up to a second late.
const NEAR_MS: u64 = 2_000;
/// Levels of one event that are taken.
const AT_ONCE: usize = 100;

/// The levels of a leg; see [`LegLoudness`].
#[derive(Debug, Clone, Default)]
pub(super) struct Loudness {
    from_ms: u64,
    step_ms: u64,
    /// The end of what was added last.
    until_ms: u64,
    /// Of each step: the party's level in the upper four bits, the agent's in the lower ones.
    steps: Vec<u8>,
}

/// How loud the party of a leg and its voice agent were.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LegLoudness {
    /// The beginning of the first step, ms since that of the call.
    pub from_ms: u64,
    /// Length of a step.
    pub step_ms: u64,
    /// The loudest 20 ms of each step, a hexadecimal digit: 0 is silence, f is -4 dBov or more, 4 dB apart.
    pub party: String,
    /// The same of what the agent said.
    pub agent: String,
}

impl Loudness {
    /// Adds levels in steps of `step_ms`, whose last one ended at about `end_ms`.
    pub fn add(&mut self, end_ms: u64, step_ms: u64, party: &str, agent: &str) {
        let level = |digit: char| digit.to_digit(16).unwrap_or_default() as u8;
        let steps: Vec<u8> = party
            .chars()
            .zip(agent.chars())
            .take(AT_ONCE)
            .map(|(party, agent)| level(party) << 4 | level(agent))
            .collect();
        let begin = end_ms.saturating_sub(step_ms.saturating_mul(steps.len() as u64));
        if self.steps.is_empty() {
            (self.from_ms, self.step_ms, self.until_ms) = (begin, step_ms.max(1), begin);
        }
        let begin = if begin.abs_diff(self.until_ms) <= NEAR_MS { self.until_ms } else { begin };
        self.until_ms = begin.saturating_add(step_ms.saturating_mul(steps.len() as u64));
        for (place, step) in steps.into_iter().enumerate() {
            let since =
                begin.saturating_add(step_ms.saturating_mul(place as u64)).saturating_sub(self.from_ms);
            while since / self.step_ms >= MOST as u64 {
                self.halve();
            }
            let place = (since / self.step_ms) as usize;
            if place >= self.steps.len() {
                self.steps.resize(place + 1, 0);
            }
            self.steps[place] = louder(self.steps[place], step);
        }
    }

    fn halve(&mut self) {
        self.steps = self.steps.chunks(2).map(|pair| pair.iter().copied().fold(0, louder)).collect();
        self.step_ms = self.step_ms.saturating_mul(2);
    }

    /// For readers; `None`: nobody was heard.
    pub fn view(&self) -> Option<LegLoudness> {
        let digits = |shift: u32| {
            self.steps.iter().filter_map(|step| char::from_digit(u32::from(step >> shift & 15), 16)).collect()
        };
        let Loudness { from_ms, step_ms, .. } = *self;
        (!self.steps.is_empty()).then(|| LegLoudness { from_ms, step_ms, party: digits(4), agent: digits(0) })
    }

    /// The memory in use besides the value itself.
    pub fn bytes(&self) -> usize {
        self.steps.capacity()
    }
}

fn louder(one: u8, other: u8) -> u8 {
    (one >> 4).max(other >> 4) << 4 | (one & 15).max(other & 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_levels_of_a_long_talk_stay_at_their_time() {
        let mut loudness = Loudness::default();
        let quiet = "1".repeat(50);
        (1..=400).for_each(|batch| loudness.add(batch * 10_000, 200, &quiet, &quiet));
        loudness.add(4_010_000, 200, &"f".repeat(50), &quiet);
        let view = loudness.view().unwrap();
        let loud = view.party.find('f').unwrap() as u64 * view.step_ms + view.from_ms;
        assert!(loud.abs_diff(4_000_000) < view.step_ms, "{loud}: {} ms a step", view.step_ms);
    }

    #[test]
    fn levels_stand_at_their_time_and_a_long_talk_has_longer_steps() {
        let mut loudness = Loudness::default();
        assert_eq!(loudness.view(), None);
        loudness.add(3_000, 200, "0a", "f0");
        // Meanwhile another party was consulted; and the last part of a second is told late.
        loudness.add(5_600, 200, "1", "2");
        loudness.add(6_500, 200, "3", "4");
        let first = LegLoudness {
            from_ms: 2_600,
            step_ms: 200,
            party: "0a00000000000013".into(),
            agent: "f000000000000024".into(),
        };
        assert_eq!(loudness.view(), Some(first));
        loudness.add(2_600 + 200 * 1_501, 200, "9", "3");
        let view = loudness.view().unwrap();
        assert_eq!((view.from_ms, view.step_ms, view.party.len()), (2_600, 400, 751));
        assert!(
            view.party.starts_with("a0000003")
                && view.party.ends_with('9')
                && view.agent.starts_with("f0000004")
        );
        loudness.add(u64::MAX, 200, "1", "junk");
        loudness.add(0, u64::MAX, "1", "1");
        assert!(loudness.bytes() < 2 * MOST, "{}", loudness.bytes());
    }
}
