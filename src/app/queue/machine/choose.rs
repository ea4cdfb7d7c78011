//! The selection of agents. Pure.

use std::cmp::Reverse;
use std::time::Instant;

use super::values::{AgentNo, Skills, Strategy};

/// An agent who could be called for a caller: free, and with the required skills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    pub agent: AgentNo,
    /// The agent's index in the queue.
    pub place: usize,
    /// The sum of the agent's levels in the required skills.
    pub level: u32,
    pub priority: u8,
    /// The time since which the agent is free.
    pub free_since: Instant,
}

/// Whether the skills `has` meet the requirements `needs`.
pub fn has_skills(has: &Skills, needs: &Skills) -> bool {
    needs.iter().all(|(skill, level)| has.get(skill).is_some_and(|has| has >= level))
}

/// The sum of the levels of `has` in the skills of `needs`.
pub fn level(has: &Skills, needs: &Skills) -> u32 {
    needs.keys().filter_map(|skill| has.get(skill)).map(|level| u32::from(*level)).sum()
}

/// The agents to call now; `last` is the index of the agent that the queue called last. All strategies except
/// [`Strategy::SkillsThenPriority`] consider only the free agents of the best priority. [`Strategy::RingAll`]
/// returns all of these, the others one.
pub fn choose(strategy: Strategy, last: Option<usize>, candidates: &mut Vec<Candidate>) {
    if strategy != Strategy::SkillsThenPriority {
        let best = candidates.iter().map(|it| it.priority).min();
        candidates.retain(|it| Some(it.priority) == best);
    }
    let longest = |it: &Candidate| (it.free_since, it.place);
    match strategy {
        Strategy::RingAll => return candidates.sort_by_key(|it| it.place),
        Strategy::LongestIdle => candidates.sort_by_key(longest),
        // Those after the last one come first.
        Strategy::RoundRobin => candidates.sort_by_key(|it| (Some(it.place) <= last, it.place)),
        Strategy::SkillsThenPriority => {
            candidates.sort_by_key(|it| (Reverse(it.level), it.priority, longest(it)));
        }
    }
    candidates.truncate(1);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Agents by index: level, priority, seconds free.
    fn chosen(strategy: Strategy, last: Option<usize>, agents: &[(u32, u8, u64)]) -> Vec<usize> {
        let now = Instant::now();
        let candidate = |(place, (level, priority, free)): (usize, &(u32, u8, u64))| Candidate {
            agent: AgentNo(place),
            place,
            level: *level,
            priority: *priority,
            free_since: now - Duration::from_secs(*free),
        };
        let mut candidates = agents.iter().enumerate().map(candidate).collect();
        choose(strategy, last, &mut candidates);
        candidates.into_iter().map(|it| it.place).collect()
    }

    #[test]
    fn who_has_been_free_for_longest_is_called_first() {
        assert_eq!(chosen(Strategy::LongestIdle, None, &[(0, 1, 5), (0, 1, 60), (0, 1, 20)]), [1]);
        assert_eq!(chosen(Strategy::LongestIdle, None, &[]), [0; 0]);
    }

    #[test]
    fn agents_take_turns() {
        let agents = [(0, 1, 5), (0, 1, 60), (0, 1, 20)];
        assert_eq!(chosen(Strategy::RoundRobin, None, &agents), [0]);
        assert_eq!(chosen(Strategy::RoundRobin, Some(0), &agents), [1]);
        assert_eq!(chosen(Strategy::RoundRobin, Some(2), &agents), [0]);
    }

    #[test]
    fn all_of_the_best_priority_ring() {
        assert_eq!(chosen(Strategy::RingAll, None, &[(0, 2, 5), (0, 1, 60), (0, 1, 20)]), [1, 2]);
    }

    #[test]
    fn a_backup_is_called_when_nobody_better_is_free() {
        assert_eq!(chosen(Strategy::LongestIdle, None, &[(0, 2, 500), (0, 1, 1)]), [1]);
        assert_eq!(chosen(Strategy::RoundRobin, None, &[(0, 2, 500), (0, 1, 1)]), [1]);
        assert_eq!(chosen(Strategy::LongestIdle, None, &[(0, 2, 500)]), [0]);
    }

    #[test]
    fn skill_goes_before_priority_and_priority_before_rest() {
        let strategy = Strategy::SkillsThenPriority;
        assert_eq!(chosen(strategy, None, &[(3, 1, 60), (8, 2, 1)]), [1]);
        assert_eq!(chosen(strategy, None, &[(8, 2, 60), (8, 1, 1)]), [1]);
        assert_eq!(chosen(strategy, None, &[(8, 1, 1), (8, 1, 60)]), [1]);
    }

    #[test]
    fn a_skill_has_to_be_there_and_to_be_enough() {
        let skills = |list: &[(&str, u8)]| -> Skills {
            list.iter().map(|(skill, level)| ((*skill).to_owned(), *level)).collect()
        };
        let has = skills(&[("french", 3), ("billing", 5)]);
        assert!(has_skills(&has, &Skills::new()));
        assert!(has_skills(&has, &skills(&[("french", 3)])));
        assert!(!has_skills(&has, &skills(&[("french", 4)])));
        assert!(!has_skills(&has, &skills(&[("french", 1), ("german", 1)])));
        assert_eq!(level(&has, &skills(&[("french", 1), ("billing", 1)])), 8);
    }
}
