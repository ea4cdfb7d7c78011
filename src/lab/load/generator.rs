//! The generator: begins calls when they are due, passes every event to the party of its leg, and performs
//! the effects of parties. One thread around an [`AgentService`]; audio is on its media thread.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::{SmallRng, StdRng};
use rand::{Rng, RngExt, SeedableRng};

use super::config::LoadConfig;
use super::entry::{Entry, Role};
use super::figures::{CUT_OFF, Figures, Kind, Route};
use super::hearing::Hears;
use super::kinds;
use super::messages::Dialogs;
use super::pace::Pace;
use super::party::{Outcome, Party, PartyEffect, PartyEvent, asks_for_headers};
use super::routes;
use super::sleeper::Lateness;
use super::sound::{LegSound, Listens};
use super::timeline;
use agents::{Agents, Line};
use asking::Asked;
use b2b_call::agent::{AgentError, AgentEvent};
use b2b_config::step::{Deed, Step};
use b2b_media::stage::Sound;
use marks::Marks;

mod agents;
mod asking;
mod carry;
mod counting;
mod legs;
mod marks;

/// The INVITE header field with the number in the caller's mark. If the target passes it on, a callee knows
/// which mark to expect.
const MARK: &str = "X-B2B-Mark";

/// A received INVITE.
struct Incoming<'a> {
    /// The URI of To.
    to: &'a str,
    call_id: Vec<u8>,
    headers: Vec<(String, String)>,
}

/// Maximum calls begun before received messages are processed: after a stall many are due, and all at once
/// would overflow the target's socket buffer.
const BURST: u32 = 16;

/// Maximum events processed before due times are checked again: more than this many calls can cause.
const NEWS: u32 = 4 * BURST;

/// Interval of checks for signals and of the status line; due events in between are handled on time.
const TURN: Duration = Duration::from_millis(20);

/// Makes and answers calls.
pub struct Generator {
    agents: Agents,
    config: LoadConfig,
    pace: Option<Pace>,
    began: Instant,
    entries: HashMap<u64, Entry>,
    of_leg: HashMap<Line, u64>,
    /// Alarms of parties.
    alarms: BinaryHeap<Reverse<(Instant, u64)>>,
    last: u64,
    /// Whether messages are kept for a report.
    watches: bool,
    dialogs: Dialogs,
    /// Call numbers in marks.
    marks: Marks,
    /// Active callers, and callees that have asked for their call.
    calling: usize,
    asked: Asked,
    chance: StdRng,
    /// Selects the calls of the sample. It is a separate generator, so that the share does not influence
    /// other decisions.
    sample: StdRng,
    /// Selects the kind of the next call; separate for the same reason.
    choice: StdRng,
    /// Calls so far per kind of caller.
    turns: Vec<u64>,
    figures: Figures,
    lateness: Lateness,
    /// Audio files that steps play.
    files: Arc<[Sound]>,
    next_tick: Instant,
    /// Whether no call is started or accepted any more.
    stopping: bool,
    effects: Vec<PartyEffect>,
    /// Events for parties, to be sent after the current effects.
    later: Vec<(u64, PartyEvent)>,
}

impl Generator {
    /// Starts a generator now.
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
            watches: config.watches(),
            dialogs: Dialogs::default(),
            marks: Marks::behind(rand::random()),
            calling: 0,
            asked: Asked::of(&config),
            chance: StdRng::seed_from_u64(config.seed),
            sample: StdRng::seed_from_u64(config.seed.wrapping_add(1)),
            choice: StdRng::seed_from_u64(config.seed.wrapping_add(2)),
            turns: vec![0; config.callers.as_ref().map_or(0, |callers| callers.kinds.len())],
            figures: Figures {
                routes: (config.routes.prefixes().iter())
                    .map(|prefix| Route { prefix: prefix.clone(), ..Route::default() })
                    .collect(),
                kinds: counting::names(&config)
                    .map(|name| Kind { name: name.to_owned(), ..Kind::default() })
                    .collect(),
                each: config.each.then(Vec::new),
                ..Figures::default()
            },
            lateness: Lateness::new(now),
            files: config.sounds.iter().map(|(_, sound)| sound.clone()).collect(),
            next_tick: now + TURN,
            stopping: false,
            effects: Vec::new(),
            later: Vec::new(),
            config,
        })
    }

    /// The bound addresses.
    pub fn local(&self) -> Vec<std::net::SocketAddr> {
        self.agents.local()
    }

    /// Waits until all users to be called are registered, then starts the run.
    ///
    /// # Errors
    /// Some users are not registered, with the reason; or `gives_up` asked to stop waiting.
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

    /// Share of time in which it was late, percent.
    pub fn late_percent(&self) -> f64 {
        self.lateness.percent()
    }

    /// Active parties: callers and callees.
    pub fn under_way(&self) -> usize {
        self.entries.len()
    }

    /// With outgoing calls: whether all are started and over. Otherwise: whether it was stopped.
    pub fn is_over(&self) -> bool {
        let no_more = self.stopping || self.pace.as_ref().is_some_and(|pace| pace.next_due().is_none());
        no_more && self.entries.is_empty() && self.asked.is_empty()
    }

    /// Starts no more calls. Active calls skip the times that they stay or wait for, and go on with their
    /// remaining steps.
    pub fn stop(&mut self) {
        self.stopping = true;
        let mut under_way: Vec<u64> = self.entries.keys().copied().collect();
        under_way.sort_unstable();
        for id in under_way {
            self.tell(id, &PartyEvent::Leave);
            self.tell_what_is_left();
        }
    }

    /// Ends the remaining calls.
    pub async fn close(self) -> Figures {
        let Generator { agents, mut figures, entries, .. } = self;
        for (_, Entry { over, mut call, due, .. }) in entries {
            call.lasted_s = due.elapsed().as_secs_f64();
            if !over {
                (call.step, call.why) = (Some(CUT_OFF.0.to_owned()), Some(CUT_OFF.1.to_owned()));
            }
            figures.each.iter_mut().for_each(|each| each.push(call.clone()));
        }
        figures.registrations = agents.registrations();
        agents.close().await;
        figures
    }

    /// The next due time: a call, a party, or the end of the turn.
    fn next_due(&self) -> Instant {
        let alarm = self.alarms.peek().map(|Reverse((at, _))| *at);
        let held = self.stopping || self.config.at_once.is_some_and(|most| self.calling >= most);
        let call = self.pace.as_ref().filter(|_| !held).and_then(Pace::next_due).map(|due| self.began + due);
        alarm.into_iter().chain(call).fold(self.next_tick, Instant::min)
    }

    /// Runs until the next tick is over.
    ///
    /// # Errors
    /// The media thread is gone.
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
                self.dialogs.forget_strangers(now);
                self.give_up_asking(now);
                return Ok(());
            }
            self.take_news(self.next_due()).await?;
        }
    }

    /// Passes events to their parties: waits until something is due, and continues while there are events, up
    /// to [`NEWS`].
    async fn take_news(&mut self, due: Instant) -> Result<(), AgentError> {
        for taken in 0..NEWS {
            let (agent, event) = tokio::select! {
                // no timer is set while there are events
                biased;
                event = self.agents.next_event() => event,
                () = std::future::ready(()), if taken > 0 => return Ok(()),
                () = tokio::time::sleep_until(due.into()) => return Ok(()),
            };
            if event == AgentEvent::MediaLost {
                return Err(AgentError::Media("the media thread has stopped".to_owned()));
            }
            self.happened(agent, event);
        }
        Ok(())
    }

    /// Begins due calls, at most [`BURST`].
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
                // counted once per turn: the call begins as soon as another one is over
                return;
            }
            left -= 1;
            pace.begin();
            // a call of a sandbox is due when the one before it is over
            let due = if self.config.each { now } else { self.began + due };
            self.figures.lateness.record(now.saturating_duration_since(due));
            if self.ask(now) {
                continue;
            }
            let Some(callers) = &mut self.config.callers else { return };
            let place = callers.choose(&mut self.choice);
            let Some(kind) = callers.kinds.get(place) else { return };
            let steps = kind.steps.clone();
            self.calling += 1;
            self.figures.callers.begun += 1;
            self.happens(now).begun += 1;
            let id = self.enter(Role::Caller, steps, None, due);
            self.is_of_kind(id, place);
            self.tell(id, &PartyEvent::Begin);
        }
    }

    /// Wakes the parties whose alarms are due.
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
            if heard && entry.party.awaits_speech() {
                entry
                    .sound
                    .takes_response()
                    .into_iter()
                    .for_each(|after| self.figures.response.record(after));
            }
            self.tell(id, if heard { &PartyEvent::Heard } else { &PartyEvent::Due });
        }
    }

    fn enter(&mut self, role: Role, steps: Arc<[Step]>, line: Option<Line>, due: Instant) -> u64 {
        self.last += 1;
        let chance = SmallRng::seed_from_u64(self.chance.next_u64());
        let ears = self.config.ears;
        let waits = steps.iter().any(|step| step.deed == Deed::HearsMark);
        let (mark, listens) = match role {
            Role::Caller => {
                let chosen = waits || ears.sample.is_none_or(|share| self.sample.random::<f64>() < share);
                (self.marks.begin(chosen), if chosen { Listens::Always } else { Listens::Never })
            }
            // it sends the number that it hears, so it listens until it knows it
            Role::Callee if ears.sample.is_some() && !waits => (0, Listens::WhereChosen),
            Role::Callee => (0, Listens::Always),
        };
        let party = Party::new(steps, self.config.holding, chance, due);
        let since = due.saturating_duration_since(self.began);
        let echoed = ears.hears == Hears::Echo;
        let number = match role {
            Role::Caller => self.figures.callers.begun,
            Role::Callee => self.figures.callees.begun,
        };
        let agent = line.map_or_else(|| self.agents.turn(number), |(agent, _)| agent);
        let sound = LegSound::new(role.side(), mark, echoed, listens, self.files.clone());
        let echoes = party.steps().iter().any(|step| step.deed == Deed::Echo);
        let sound = if echoes { sound.with_echo() } else { sound };
        let entry = Entry::new(party, role, (number, mark), (due, since), sound);
        self.entries.insert(self.last, Entry { agent, leg: line.map(|(_, leg)| leg), ..entry });
        if let Some(line) = line {
            self.of_leg.insert(line, self.last);
        }
        self.figures.at_once = self.figures.at_once.max(self.entries.len());
        self.last
    }

    /// Passes an event to a party, and performs its effects.
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

    /// Passes an event to a party after its current effects.
    fn tell_later(&mut self, id: u64, event: PartyEvent) {
        self.later.push((id, event));
    }

    /// Handles the end of a party's steps; its leg may remain.
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
        self.calling -= usize::from(entry.role == Role::Caller || entry.asked);
        self.figures.of(entry.counts()).for_each(|side| side.over(outcome.clone()));
        // a call that could not be placed has no leg that would end
        if entry.leg.is_none() {
            self.leave(id);
        }
    }

    fn tell_what_is_left(&mut self) {
        while let Some((id, event)) = self.later.pop() {
            self.tell(id, &event);
        }
    }

    /// The timeline step of this time.
    fn happens(&mut self, now: Instant) -> &mut timeline::Step {
        self.figures.timeline.at(now.saturating_duration_since(self.began))
    }

    /// Whether it makes no calls, so that its callees' calls are those of the run.
    fn answers_only(&self) -> bool {
        self.config.callers.is_none()
    }

    /// Handles an incoming call: a callee takes it, if there is one for it.
    fn called(&mut self, line: Line, incoming: Incoming<'_>, now: Instant) {
        let number = routes::number_of(incoming.to);
        let found = kinds::callee_of(&self.config.callees, number).filter(|_| !self.stopping);
        let Some((place, steps)) = found.and_then(|n| Some((n, self.config.callees.get(n)?.steps.clone())))
        else {
            return drop(self.agents.at(line.0).reject(line.1, 480, ""));
        };
        self.figures.callees.begun += 1;
        if self.answers_only() {
            self.happens(now).begun += 1;
        }
        let asks = asks_for_headers(&steps);
        let id = self.enter(Role::Callee, steps, Some(line), now);
        let told = incoming.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(MARK));
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.told = told.and_then(|(_, value)| value.trim().parse().ok());
        }
        self.is_of_kind(id, place);
        self.has_come(id, place);
        self.goes_to(id, number);
        self.begin_dialog(id, line.0, Some(incoming.call_id));
        if asks {
            self.tell(id, &PartyEvent::Received { headers: incoming.headers });
        }
        self.tell(id, &PartyEvent::Begin);
    }

    /// Passes an event of a leg to its party.
    fn happened(&mut self, agent: usize, event: AgentEvent) {
        let now = Instant::now();
        self.take_messages(agent);
        match event {
            AgentEvent::Incoming { leg, to, sip_call_id, headers, .. } => {
                let call_id = sip_call_id.into_bytes();
                self.called((agent, leg), Incoming { to: &to, call_id, headers }, now);
            }
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
                let asks = |entry: &mut Entry| entry.role == Role::Caller && entry.party.asks_for_headers();
                if self.entry_of((agent, leg)).is_some_and(asks) {
                    let headers = self.agents.at(agent).answer_headers(leg).unwrap_or_default();
                    self.tell_of((agent, leg), &PartyEvent::Received { headers });
                }
                self.tell_of((agent, leg), &PartyEvent::Answered);
            }
            AgentEvent::Changed { leg, .. } => {
                self.tell_of((agent, leg), &PartyEvent::Changed { agreed: true })
            }
            AgentEvent::ChangeRefused { leg, .. } => {
                self.tell_of((agent, leg), &PartyEvent::Changed { agreed: false });
            }
            AgentEvent::TransferEnded { leg, status } => {
                self.tell_of((agent, leg), &PartyEvent::TransferEnded { status });
            }
            // our callees follow no transfers
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
}
