//! The generator: begins calls when they are due, takes every event to the party whose leg it is about, and
//! carries out what parties want. One thread around an [`AgentService`]; sound is on its media worker.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::{SmallRng, StdRng};
use rand::{Rng, SeedableRng};

use super::config::LoadConfig;
use super::entry::{Entry, Role};
use super::figures::Figures;
use super::hearing::Ears;
use super::pace::Pace;
use super::party::{Outcome, Party, PartyEffect, PartyEvent};
use super::sleeper::Lateness;
use super::timeline;
use agents::{Agents, Line};
use b2b_call::agent::{AgentError, AgentEvent, LegReport};
use b2b_call::leg_fsm::TerminationCause;
use b2b_config::step::Step;
use b2b_dsp::mark::Mark;

mod agents;
mod carry;

/// Calls that begin before answers are taken again: after a stall many are due, and where all of them left at once they
/// would find the target's socket full.
const BURST: u32 = 16;

/// What is taken of what happens before it is looked again what is due: more than so many calls can bring.
const NEWS: u32 = 4 * BURST;

/// How often signals and the line on the screen are looked after; what is due in between is done when it is due.
const TURN: Duration = Duration::from_millis(20);

/// Makes and takes calls.
pub struct Generator {
    agents: Agents,
    config: LoadConfig,
    pace: Option<Pace>,
    began: Instant,
    entries: HashMap<u64, Entry>,
    of_leg: HashMap<Line, u64>,
    /// Times at which parties want to be woken.
    alarms: BinaryHeap<Reverse<(Instant, u64)>>,
    last: u64,
    /// The number of the next caller's mark. It begins at chance, so that two loads are told apart.
    next_mark: u32,
    /// Numbers of the marks of callers under way.
    marks: HashSet<u32>,
    /// Callers under way.
    calling: usize,
    chance: StdRng,
    figures: Figures,
    lateness: Lateness,
    next_tick: Instant,
    /// No call begins any more, and no call is taken.
    stopping: bool,
    effects: Vec<PartyEffect>,
    /// What parties are told once the present effects are carried out.
    later: Vec<(u64, PartyEvent)>,
}

impl Generator {
    /// A generator that begins now.
    ///
    /// # Errors
    /// The address cannot be bound, or a trace cannot be written.
    pub fn start(config: LoadConfig) -> Result<Self, AgentError> {
        let mut agents = Agents::start(&config)?;
        agents.enrol(&config)?;
        let now = Instant::now();
        Ok(Generator {
            agents,
            pace: config.callers.as_ref().map(|callers| callers.pace.clone()),
            began: now,
            entries: HashMap::new(),
            of_leg: HashMap::new(),
            alarms: BinaryHeap::new(),
            last: 0,
            next_mark: rand::random(),
            marks: HashSet::new(),
            calling: 0,
            chance: StdRng::seed_from_u64(config.seed),
            figures: Figures::default(),
            lateness: Lateness::new(now),
            next_tick: now + TURN,
            stopping: false,
            effects: Vec::new(),
            later: Vec::new(),
            config,
        })
    }

    /// Where it listens.
    pub fn local(&self) -> Vec<std::net::SocketAddr> {
        self.agents.local()
    }

    /// Waits until all users are registered that are to be called, and begins the run then.
    ///
    /// # Errors
    /// Some are not, and why; or this is what somebody asks for who does not want to wait.
    pub async fn enrolled(&mut self, gives_up: impl Fn() -> bool) -> Result<(), String> {
        let until = Instant::now() + self.agents.patience(&self.config);
        loop {
            let now = Instant::now();
            let found = self.agents.registrations();
            if found.registered == found.users {
                (self.began, self.lateness, self.next_tick) = (now, Lateness::new(now), now + TURN);
                return Ok(());
            }
            if found.registered + found.given_up == found.users || now >= until || gives_up() {
                return Err(agents::missing(&found));
            }
            let event = tokio::time::timeout(TURN, self.agents.next_event()).await;
            if let Ok((agent, event)) = event {
                self.happened(agent, event);
            }
        }
    }

    /// The figures so far.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Percent of the time in which it was late.
    pub fn late_percent(&self) -> f64 {
        self.lateness.percent()
    }

    /// Calls under way: callers, and callees.
    pub fn under_way(&self) -> usize {
        self.entries.len()
    }

    /// Whether every call is begun and over, where it makes calls; else only when it is stopped.
    pub fn is_over(&self) -> bool {
        let no_more = self.stopping || self.pace.as_ref().is_some_and(|pace| pace.next_due().is_none());
        no_more && self.entries.is_empty()
    }

    /// Begins no more calls. Those under way go on.
    pub fn stop(&mut self) {
        self.stopping = true;
    }

    /// Ends what is left.
    pub async fn close(self) -> Figures {
        let Generator { agents, mut figures, .. } = self;
        figures.registrations = agents.registrations();
        agents.close().await;
        figures
    }

    /// When something is due next: a call, a party, or the end of the turn.
    fn next_due(&self) -> Instant {
        let alarm = self.alarms.peek().map(|Reverse((at, _))| *at);
        let held = self.stopping || self.config.at_once.is_some_and(|most| self.calling >= most);
        let call = self.pace.as_ref().filter(|_| !held).and_then(Pace::next_due).map(|due| self.began + due);
        alarm.into_iter().chain(call).fold(self.next_tick, Instant::min)
    }

    /// Goes on until the next tick is over.
    ///
    /// # Errors
    /// The media worker is gone.
    pub async fn turn(&mut self) -> Result<(), AgentError> {
        let tick = self.next_tick;
        loop {
            let (now, due) = (Instant::now(), self.next_due());
            if due <= now {
                self.lateness.done(due, now);
            }
            self.begin_due(now);
            self.wake_due(now);
            if now >= tick {
                let legs = self.entries.len();
                let step = self.happens(now);
                step.legs = step.legs.max(legs);
                self.next_tick = now + TURN;
                return Ok(());
            }
            self.take_news(self.next_due()).await?;
        }
    }

    /// Takes what happens to its parties: waits for it until something is due, and goes on as long as there is more,
    /// up to [`NEWS`] of it.
    async fn take_news(&mut self, due: Instant) -> Result<(), AgentError> {
        for taken in 0..NEWS {
            let (agent, event) = tokio::select! {
                // while there is news, no timer is set
                biased;
                event = self.agents.next_event() => event,
                () = std::future::ready(()), if taken > 0 => return Ok(()),
                () = tokio::time::sleep_until(due.into()) => return Ok(()),
            };
            if event == AgentEvent::MediaLost {
                return Err(AgentError::Media("the media worker has stopped".to_owned()));
            }
            self.happened(agent, event);
        }
        Ok(())
    }

    /// Begins calls that are due, [`BURST`] at most.
    fn begin_due(&mut self, now: Instant) {
        let mut left = BURST;
        while left > 0
            && !self.stopping
            && let Some(pace) = &mut self.pace
            && let Some(due) = pace.next_due()
            && self.began + due <= now
        {
            if self.config.at_once.is_some_and(|most| self.calling >= most) {
                self.figures.held_back += 1;
                // counted once a turn: it begins as soon as another one is over
                return;
            }
            left -= 1;
            pace.begin();
            let due = self.began + due;
            self.figures.lateness.record(now.saturating_duration_since(due));
            let Some(callers) = &self.config.callers else { return };
            let steps = callers.steps.clone();
            self.calling += 1;
            self.figures.callers.begun += 1;
            self.happens(now).begun += 1;
            let id = self.enter(Role::Caller, steps, None, due);
            self.tell(id, &PartyEvent::Begin);
        }
    }

    /// Wakes the parties whose time has come.
    fn wake_due(&mut self, now: Instant) {
        while let Some(Reverse((at, id))) = self.alarms.peek().copied() {
            if at > now {
                return;
            }
            self.alarms.pop();
            let Some(entry) = self.entries.get_mut(&id).filter(|entry| entry.wake == Some(at)) else {
                continue;
            };
            entry.wake = None;
            let heard = entry.listens && entry.sound.is_heard();
            entry.listens &= !heard;
            self.tell(id, if heard { &PartyEvent::Heard } else { &PartyEvent::Due });
        }
    }

    fn enter(&mut self, role: Role, steps: Arc<[Step]>, line: Option<Line>, due: Instant) -> u64 {
        self.last += 1;
        let chance = SmallRng::seed_from_u64(self.chance.next_u64());
        let mark = match role {
            Role::Caller => {
                // 0 is who hears nobody
                self.next_mark = self.next_mark.checked_add(1).unwrap_or(1);
                self.marks.insert(self.next_mark);
                self.next_mark
            }
            Role::Callee => 0,
        };
        let party = Party::new(steps, self.config.holding, chance, due);
        let since = due.saturating_duration_since(self.began);
        let echoed = self.config.ears == Ears::Echo;
        let number = match role {
            Role::Caller => self.figures.callers.begun,
            Role::Callee => self.figures.callees.begun,
        };
        let agent = line.map_or_else(|| self.agents.turn(number), |(agent, _)| agent);
        let entry = Entry::new(party, role, (number, mark), (due, since), echoed);
        self.entries.insert(self.last, Entry { agent, leg: line.map(|(_, leg)| leg), ..entry });
        if let Some(line) = line {
            self.of_leg.insert(line, self.last);
        }
        self.figures.at_once = self.figures.at_once.max(self.entries.len());
        self.last
    }

    /// Tells a party, and carries out what it wants.
    fn tell(&mut self, id: u64, event: &PartyEvent) {
        let now = Instant::now();
        let mut effects = std::mem::take(&mut self.effects);
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.party.step(now, event, &mut effects);
        }
        for effect in effects.drain(..) {
            self.carry_out(id, now, effect);
        }
        self.effects = effects;
    }

    /// Tells a party once its present effects are carried out.
    fn tell_later(&mut self, id: u64, event: PartyEvent) {
        self.later.push((id, event));
    }

    /// A party is through; its leg may not be.
    fn over(&mut self, id: u64, outcome: Outcome) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if std::mem::replace(&mut entry.over, true) {
            return;
        }
        let outcome = self.heard_of(id, outcome);
        if outcome != Outcome::Done {
            self.happens(Instant::now()).failed += 1;
        }
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if let Outcome::Failed { step, why } = &outcome {
            (entry.call.step, entry.call.why) = (Some(step.clone()), Some(why.clone()));
        }
        match entry.role {
            Role::Caller => {
                self.calling -= 1;
                self.figures.callers.over(outcome);
            }
            Role::Callee => self.figures.callees.over(outcome),
        }
        // a call that could not be placed has no leg whose end would be told
        if entry.leg.is_none() {
            self.leave(id);
        }
    }

    fn tell_what_is_left(&mut self) {
        while let Some((id, event)) = self.later.pop() {
            self.tell(id, &event);
        }
    }

    /// What happens now: its step of the time line.
    fn happens(&mut self, now: Instant) -> &mut timeline::Step {
        self.figures.timeline.at(now.saturating_duration_since(self.began))
    }

    /// It makes no calls, so that those of its callees are the calls of the run.
    fn answers_only(&self) -> bool {
        self.config.callers.is_none()
    }

    /// Somebody calls: a callee, where there are some.
    fn called(&mut self, line: Line, now: Instant) {
        let Some(steps) = self.config.callees.clone().filter(|_| !self.stopping) else {
            return drop(self.agents.at(line.0).reject(line.1, 480, ""));
        };
        self.figures.callees.begun += 1;
        if self.answers_only() {
            self.happens(now).begun += 1;
        }
        let id = self.enter(Role::Callee, steps, Some(line), now);
        self.tell(id, &PartyEvent::Begin);
    }

    /// The outcome of a party, with what its mark tells: one that did all its steps may have heard somebody else.
    fn heard_of(&mut self, id: u64, outcome: Outcome) -> Outcome {
        let deaf = self.config.ears == Ears::None || self.config.signalling_only;
        let Some(entry) = self.entries.get_mut(&id).filter(|_| !deaf) else { return outcome };
        let Some(heard) = entry.heard() else { return outcome };
        let own = Mark { call: entry.mark, side: entry.role.side() };
        let fault = heard.fault(own, |call| self.marks.contains(&call));
        match entry.role {
            Role::Caller => self.figures.callers.judged(&heard),
            Role::Callee => self.figures.callees.judged(&heard),
        }
        match (outcome, fault) {
            (Outcome::Done, Some(why)) => {
                Outcome::Failed { step: "say mark".to_owned(), why: why.to_owned() }
            }
            (outcome, _) => outcome,
        }
    }

    /// An event of a leg, taken to its party.
    fn happened(&mut self, agent: usize, event: AgentEvent) {
        let now = Instant::now();
        match event {
            AgentEvent::Incoming { leg, .. } => self.called((agent, leg), now),
            AgentEvent::Progress { leg, .. } => {
                let ringing = &mut self.figures.ringing;
                if let Some(entry) = self.of_leg.get(&(agent, leg)).and_then(|id| self.entries.get_mut(id))
                    && let Some(dialled) = entry.dialled
                    && !std::mem::replace(&mut entry.rang, true)
                {
                    ringing.record(now.saturating_duration_since(dialled));
                }
            }
            AgentEvent::Answered { leg, .. } => {
                self.answered((agent, leg), now);
                self.tell_of((agent, leg), &PartyEvent::Answered);
            }
            AgentEvent::Changed { leg, .. } => {
                self.tell_of((agent, leg), &PartyEvent::Changed { agreed: true })
            }
            AgentEvent::ChangeRefused { leg, .. } => {
                self.tell_of((agent, leg), &PartyEvent::Changed { agreed: false });
            }
            AgentEvent::TransferEnded { leg, status } => {
                let arrived = status.is_some_and(|status| (200..300).contains(&status));
                self.tell_of((agent, leg), &PartyEvent::TransferEnded { arrived });
            }
            // a callee of ours goes nowhere else
            AgentEvent::TransferRequested { leg, .. } => drop(self.agents.at(agent).refuse_refer(leg, 603)),
            AgentEvent::MediaClosed { leg, report } => self.media_closed((agent, leg), &report),
            AgentEvent::Ended { leg, cause } => self.ended((agent, leg), &cause, now),
            _ => {}
        }
        self.tell_what_is_left();
    }

    fn tell_of(&mut self, leg: Line, event: &PartyEvent) {
        if let Some(id) = self.of_leg.get(&leg).copied() {
            self.tell(id, event);
        }
    }

    fn entry_of(&mut self, leg: Line) -> Option<&mut Entry> {
        self.entries.get_mut(self.of_leg.get(&leg)?)
    }

    fn answered(&mut self, leg: Line, now: Instant) {
        let Some(entry) = self.entry_of(leg) else { return };
        entry.up = true;
        entry.speaks = Some(now);
        let (role, took) = (entry.role, now.saturating_duration_since(entry.due));
        entry.call.setup_ms = (role == Role::Caller).then_some(took.as_secs_f64() * 1e3);
        if role == Role::Caller || self.answers_only() {
            self.happens(now).answered += 1;
        }
        match role {
            Role::Caller => {
                self.figures.callers.answered += 1;
                self.figures.setup.record(took);
                self.happens(now).set_up(took);
            }
            Role::Callee => self.figures.callees.answered += 1,
        }
    }

    fn media_closed(&mut self, leg: Line, report: &LegReport) {
        let Some(entry) = self.entry_of(leg) else { return };
        let (role, mos) = (entry.role, report.reception.mos().filter(|_| entry.up));
        entry.call.mos = mos;
        let side = match role {
            Role::Caller => &mut self.figures.callers,
            Role::Callee => &mut self.figures.callees,
        };
        let stats = &report.stats;
        for (sum, packets) in side.packets.iter_mut().zip([stats.packets_tx, stats.packets_rx, stats.lost]) {
            *sum += packets;
        }
        side.concealed += stats.concealed;
        if let Some(mos) = mos {
            side.heard(mos);
        }
    }

    /// A leg is over.
    fn ended(&mut self, leg: Line, cause: &TerminationCause, now: Instant) {
        let Some(id) = self.of_leg.remove(&leg) else { return };
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if let Some(hung_up) = entry.hung_up
            && *cause == TerminationCause::LocalHangup
        {
            self.figures.ending.record(now.saturating_duration_since(hung_up));
        }
        let event = match cause {
            TerminationCause::Failed { status, .. } if !entry.up => {
                PartyEvent::Refused { status: Some(*status) }
            }
            cause => PartyEvent::Ended { by_them: *cause == TerminationCause::RemoteHangup },
        };
        self.tell(id, &event);
        self.leave(id);
    }

    /// A party and its leg are over.
    fn leave(&mut self, id: u64) {
        if let Some(entry) = self.entries.remove(&id) {
            self.marks.remove(&entry.mark);
            self.figures.worst.offer(&entry.call);
        }
    }
}
