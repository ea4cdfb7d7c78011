//! Thousands of callers and dozens of agents in virtual time, who reject, vanish, pause and hang up at
//! random: no caller is skipped, lost or bridged twice, no agent is called twice at once, and nothing is left
//! at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use proptest::prelude::{Just, ProptestConfig, any, prop, prop_oneof, proptest};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::agent::Duty;
use super::tests::{agent, queue, skills, who};
use super::values::*;
use super::*;

/// The parameters of a storm.
#[derive(Debug, Clone)]
struct Weather {
    seed: u64,
    callers: u64,
    agents: usize,
    /// Mean time between two callers, in ms.
    between: u64,
    strategies: Vec<Strategy>,
    /// Number of failed calls among 100 calls to an agent.
    trouble: u32,
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The state of a caller, tracked outside the machine.
struct Known {
    queue: QueueNo,
    priority: u8,
    skills: Skills,
    ready: bool,
    joining: Option<OfferId>,
    /// How the caller's wait ended.
    left: Option<Left>,
}

struct Storm {
    weather: Weather,
    rng: StdRng,
    floor: Floor,
    plan: FloorPlan,
    start: Instant,
    now: Instant,
    /// Future events, by time.
    coming: BTreeMap<(Instant, u64), Input>,
    number: u64,
    callers: BTreeMap<CallerId, Known>,
    /// The calls to agents in progress, with their agent.
    calls: BTreeMap<OfferId, AgentNo>,
    /// Calls to be ended; later events about them are dropped.
    cancelled: BTreeSet<OfferId>,
    bridged: BTreeMap<OfferId, CallerId>,
    outs: u64,
}

impl Storm {
    fn new(weather: Weather) -> Self {
        let mut rng = StdRng::seed_from_u64(weather.seed);
        let gifts = [&[][..], &[("french", 3)], &[("french", 5), ("billing", 2)]];
        let agents = (0..weather.agents).map(|n| AgentPlan {
            skills: skills(gifts[rng.random_range(0..3)]),
            priority: rng.random_range(1..3),
            ..agent(&format!("agent{n}"))
        });
        let agents: Vec<_> = agents.collect();
        let queues = weather.strategies.iter().enumerate().map(|(n, strategy)| {
            // Each agent is in most queues.
            let mut of: Vec<usize> = (0..weather.agents).filter(|_| rng.random_range(0..4) > 0).collect();
            of.push(n % weather.agents);
            of.sort_unstable();
            of.dedup();
            QueuePlan {
                strategy: *strategy,
                most: 400,
                misses: 3,
                priority: rng.random_range(1..3),
                patience: Some(Duration::from_secs(rng.random_range(60..600))),
                wrap_up: ms(rng.random_range(0..2) * 3_000),
                rest: ms(rng.random_range(0..2) * 5_000),
                ..queue(&format!("queue{n}"), &of)
            }
        });
        let plan = FloorPlan { queues: queues.collect(), agents };
        let start = Instant::now();
        let mut storm = Storm {
            weather,
            rng,
            floor: Floor::new(start, plan.clone()),
            plan,
            start,
            now: start,
            coming: BTreeMap::new(),
            number: 0,
            callers: BTreeMap::new(),
            calls: BTreeMap::new(),
            cancelled: BTreeSet::new(),
            bridged: BTreeMap::new(),
            outs: 0,
        };
        storm.arrivals();
        storm
    }

    fn later(&mut self, from: u64, to: u64, input: Input) {
        self.number += 1;
        let at = self.now + ms(self.rng.random_range(from..to));
        self.coming.insert((at, self.number), input);
    }

    /// Schedules all callers, and the agents' own changes of duty.
    fn arrivals(&mut self) {
        let mut at = self.start;
        for id in 1..=self.weather.callers {
            at += ms(self.rng.random_range(0..2 * self.weather.between));
            let queue = QueueNo(self.rng.random_range(0..self.plan.queues.len()));
            let needs = [&[][..], &[], &[("french", 2)], &[("billing", 1)]];
            let skills = skills(needs[self.rng.random_range(0..4)]);
            let priority = u8::from(self.rng.random_range(0..10) == 0);
            self.number += 1;
            let caller = CallerId(id);
            let input = Input::CallerJoined { caller, who: who(caller), queue, priority, skills };
            self.coming.insert((at, self.number), input);
        }
        let span = (at - self.start).as_millis() as u64 + 1;
        for n in 0..self.weather.agents {
            let agent = AgentNo(n);
            for _ in 0..self.weather.callers / 40 {
                let duty = [Duty::Paused, Duty::LoggedOut, Duty::Available][self.rng.random_range(0..3)];
                self.later(0, span, Input::AgentDuty { agent, duty });
                let reachable = self.rng.random_range(0..3) > 0;
                self.later(0, span, Input::AgentReachable { agent, reachable });
            }
        }
    }

    fn run(mut self) {
        loop {
            let next = self.coming.first_key_value().map(|((at, _), _)| *at);
            let Some(at) = next.into_iter().chain(self.floor.next_timeout()).min() else { break };
            self.now = self.now.max(at);
            assert!(self.now - self.start < Duration::from_secs(48 * 3_600), "no end");
            match self.coming.first_entry().filter(|it| it.key().0 <= at) {
                Some(entry) => {
                    let input = entry.remove();
                    self.happens(input);
                }
                None => self.handle(Input::Tick),
            }
        }
        self.at_the_end();
    }

    /// Delivers a scheduled event, if it still applies.
    fn happens(&mut self, input: Input) {
        match &input {
            Input::CallerJoined { caller, queue, priority, skills: own, .. } => {
                let mut needs = self.plan.queues[queue.0].skills.clone();
                needs.extend(own.clone());
                let (queue, priority) = (*queue, *priority);
                let known = Known { queue, priority, skills: needs, ready: false, joining: None, left: None };
                assert!(self.callers.insert(*caller, known).is_none());
            }
            Input::CallerReady { caller } => {
                let it = self.callers.get_mut(caller).unwrap();
                it.ready = it.left.is_none();
            }
            Input::AgentAnswered { offer } | Input::Joined { offer } | Input::JoinFailed { offer }
                if !self.calls.contains_key(offer) =>
            {
                return;
            }
            Input::Joined { offer } => {
                if self.cancelled.contains(offer) {
                    return;
                }
                // They talk from now on; then one of them hangs up.
                self.later(1_000, 90_000, Input::AgentGone { offer: *offer, why: Gone::Ended });
            }
            Input::AgentGone { offer, .. } => {
                if self.calls.remove(offer).is_none() {
                    return;
                }
                self.bridged.remove(offer);
                self.cancelled.remove(offer);
                for caller in self.callers.values_mut().filter(|it| it.joining == Some(*offer)) {
                    caller.joining = None;
                }
            }
            _ => {}
        }
        self.handle(input);
    }

    fn handle(&mut self, input: Input) {
        self.floor.handle(self.now, input);
        while let Some(output) = self.floor.poll() {
            self.outs += 1;
            self.obey(output);
        }
        if self.outs.is_multiple_of(7) {
            self.timers_have_owners();
            self.nobody_waits_in_vain();
        }
    }

    fn obey(&mut self, output: Output) {
        match output {
            Output::Welcome { caller, .. } => {
                self.later(0, 4_000, Input::CallerReady { caller });
                if self.rng.random_range(0..3) == 0 {
                    self.later(0, 200_000, Input::CallerLeft { caller });
                }
                if self.rng.random_range(0..10) == 0 {
                    self.later(0, 200_000, Input::CallerPressed { caller, digit: '9' });
                }
            }
            Output::Announce { caller, position, .. } => {
                let it = &self.callers[&caller];
                assert!(it.left.is_none() && position >= 1);
            }
            Output::Ring { offer, caller, agent, queue } => {
                assert!(self.calls.values().all(|busy| *busy != agent), "{agent:?} is called twice at once");
                assert!(self.calls.insert(offer, agent).is_none(), "{offer:?} again");
                let (plan, it) = (&self.plan.queues[queue.0], &self.callers[&caller]);
                assert!(it.queue == queue && it.ready && it.left.is_none() && it.joining.is_none());
                assert!(plan.agents.contains(&agent));
                let has = &self.plan.agents[agent.0].skills;
                assert!(it.skills.iter().all(|(skill, level)| has.get(skill) >= Some(level)));
                self.agent_reacts(offer);
            }
            Output::Cancel { offer, .. } => {
                assert!(self.calls.contains_key(&offer), "{offer:?} is over already");
                self.cancelled.insert(offer);
                self.bridged.remove(&offer);
                for caller in self.callers.values_mut().filter(|it| it.joining == Some(offer)) {
                    caller.joining = None;
                }
                self.later(0, 2_000, Input::AgentGone { offer, why: Gone::Cancelled });
            }
            Output::Join { offer, caller, agent } => self.join(offer, caller, agent),
            Output::Left { caller, how, .. } => {
                let it = self.callers.get_mut(&caller).unwrap();
                assert_eq!(it.left, None, "{caller:?} ends twice");
                it.left = Some(how);
                if let Left::Answered(agent) = how {
                    let offer = it.joining.take().expect("who is answered has been joined");
                    assert_eq!(self.calls[&offer], agent);
                }
            }
            Output::Agent { from, to, .. } => assert_ne!(from, to),
        }
    }

    fn agent_reacts(&mut self, offer: OfferId) {
        if self.rng.random_range(0..100) >= self.weather.trouble {
            return self.later(500, 9_000, Input::AgentAnswered { offer });
        }
        match self.rng.random_range(0..5) {
            0 => self.later(0, 3_000, Input::AgentGone { offer, why: Gone::Rejected }),
            1 => self.later(0, 3_000, Input::AgentGone { offer, why: Gone::Unreachable }),
            // The agent answers at about the ring timeout.
            2 => self.later(14_900, 15_100, Input::AgentAnswered { offer }),
            // The agent answers twice.
            3 => {
                self.later(500, 9_000, Input::AgentAnswered { offer });
                self.later(500, 9_000, Input::AgentAnswered { offer });
            }
            // No reaction.
            _ => {}
        }
    }

    fn join(&mut self, offer: OfferId, caller: CallerId, agent: AgentNo) {
        assert_eq!(self.calls[&offer], agent);
        assert!(!self.cancelled.contains(&offer), "{offer:?} is to end");
        assert!(self.bridged.insert(offer, caller).is_none(), "{offer:?} is bridged twice");
        let of = |other: &&CallerId| **other == caller;
        assert_eq!(self.bridged.values().filter(of).count(), 1, "{caller:?} is bridged twice");
        let it = &self.callers[&caller];
        assert!(it.left.is_none() && it.ready);
        // First come, first served, among callers that differ in nothing else.
        let skipped = self.callers.range(..caller).find(|(_, other)| {
            let like = (other.queue, other.priority, &other.skills) == (it.queue, it.priority, &it.skills);
            like && other.ready && other.left.is_none() && other.joining.is_none()
        });
        assert_eq!(skipped.map(|(id, _)| id), None, "skipped for {caller:?}");
        self.callers.get_mut(&caller).unwrap().joining = Some(offer);
        match self.rng.random_range(0..20) {
            0 => self.later(0, 500, Input::JoinFailed { offer }),
            1 => self.later(0, 500, Input::AgentGone { offer, why: Gone::Ended }),
            2 => self.later(0, 500, Input::CallerLeft { caller }),
            _ => {}
        }
        self.later(0, 500, Input::Joined { offer });
    }

    /// No timer is left for a caller, agent or offer that is gone.
    fn timers_have_owners(&self) {
        let orphan = self.floor.timers.iter().find(|(_, timer)| match timer {
            Timer::Patience(caller) | Timer::Announce(caller) => !self.floor.callers.contains_key(caller),
            Timer::Ring(offer) => !self.floor.offers.contains_key(offer),
            Timer::Rest(agent) => self.floor.agents[agent.0].rests_until.is_none(),
            Timer::Returned => self.floor.returning.is_none(),
        });
        assert_eq!(orphan, None);
    }

    /// No agent is free while a caller waits whom they could serve.
    fn nobody_waits_in_vain(&self) {
        for agent in self.floor.agents.iter().filter(|it| it.state() == AgentState::Available) {
            let no = self.floor.agent_named(&agent.plan.name).unwrap();
            let waits = self.floor.callers.iter().find(|(_, it)| {
                let has = &agent.plan.skills;
                it.stage == line::Stage::Waiting
                    && it.offers.is_empty()
                    && self.plan.queues[it.queue.0].agents.contains(&no)
                    && it.skills.iter().all(|(skill, level)| has.get(skill) >= Some(level))
            });
            assert!(waits.is_none(), "{no:?} is free and {waits:?} waits");
        }
    }

    fn at_the_end(&self) {
        for (caller, known) in &self.callers {
            assert!(known.left.is_some(), "{caller:?} is lost");
        }
        assert_eq!(self.callers.len() as u64, self.weather.callers);
        assert!(self.calls.is_empty() && self.bridged.is_empty() && self.cancelled.is_empty());
        assert!(self.floor.is_idle(), "{:?}", self.floor);
        let mut ways = BTreeMap::new();
        for how in self.callers.values().filter_map(|it| it.left) {
            *ways.entry(how.as_str()).or_insert(0_u64) += 1;
        }
        let counters = self.floor.queues().map(|no| self.floor.queue_view(self.now, no).unwrap().counters);
        let all: Vec<_> = counters.collect();
        let sum = |of: fn(&view::QueueCounters) -> u64| all.iter().map(of).sum::<u64>();
        assert_eq!(sum(|it| it.joined), self.weather.callers);
        assert_eq!(sum(|it| it.answered), ways.get("answered").copied().unwrap_or_default());
        assert_eq!(sum(|it| it.abandoned), ways.get("abandoned").copied().unwrap_or_default());
        assert_eq!(sum(|it| it.timed_out), ways.get("timeout").copied().unwrap_or_default());
    }
}

fn strategies() -> impl proptest::strategy::Strategy<Value = Vec<Strategy>> {
    let one = prop_oneof![
        Just(Strategy::LongestIdle),
        Just(Strategy::RoundRobin),
        Just(Strategy::RingAll),
        Just(Strategy::SkillsThenPriority),
    ];
    prop::collection::vec(one, 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nobody_is_skipped_lost_or_doubly_bridged(
        seed in any::<u64>(),
        callers in 20_u64..400,
        agents in 1_usize..20,
        between in 200_u64..8_000,
        strategies in strategies(),
        trouble in 0_u32..70,
    ) {
        Storm::new(Weather { seed, callers, agents, between, strategies, trouble }).run();
    }
}

#[test]
fn thousands_of_callers_and_fifty_agents_in_four_queues() {
    let strategies =
        vec![Strategy::LongestIdle, Strategy::RoundRobin, Strategy::RingAll, Strategy::SkillsThenPriority];
    let weather = Weather { seed: 7, callers: 5_000, agents: 50, between: 900, strategies, trouble: 30 };
    Storm::new(weather).run();
}

/// An agent vanishes while a caller is joined whose patience ends meanwhile, and no agent works any more.
#[test]
fn a_storm_ends_when_patience_does_while_a_caller_is_joined() {
    let strategies = vec![Strategy::LongestIdle, Strategy::SkillsThenPriority, Strategy::LongestIdle];
    let seed = 13_711_466_056_551_569_029;
    Storm::new(Weather { seed, callers: 283, agents: 12, between: 527, strategies, trouble: 59 }).run();
}
