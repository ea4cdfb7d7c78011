//! The generator of a scenario's calls: starts due calls, routes every message to its call by Call-ID, and
//! performs the effects of calls. One thread.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::{SmallRng, StdRng};
use rand::{Rng, SeedableRng};

use super::effects::{CallEffect, CallEvent, Happening};
use super::instance::Instance;
use super::known::Place;
use super::ports::{Came, Ports};
use super::rtp::{PTIME, Rtp};
use super::scenario::Scenario;
use super::seen::{self, Seen};
use super::variables::Value;
use crate::load::config::{LoadConfig, ScenarioRun, host_of, place};
use crate::load::entry::Role;
use crate::load::figures::{Figures, Side};
use crate::load::pace::Pace;
use crate::load::party::Outcome;
use crate::load::sleeper::{Lateness, NAP};
use crate::load::{timeline, worst};
use b2b_config::target;
use b2b_sip::msg::{Limits, Message, Method};

/// How long retransmissions to an ended call are answered (RFC 3261 §17.2.2, Timer J).
const REMEMBERED: Duration = Duration::from_secs(32);

/// A call.
struct Call {
    instance: Instance,
    role: Role,
    port: usize,
    peer: SocketAddr,
    due: Instant,
    dialled: Option<Instant>,
    hung_up: Option<Instant>,
    /// Its latest alarm; earlier ones are void.
    wake: Option<Instant>,
    rtp: Option<Rtp>,
    /// Its details, in case it is among the worst.
    told: worst::Call,
}

/// An ended call.
struct Past {
    seen: Seen,
    port: usize,
    peer: SocketAddr,
}

/// Makes or answers the calls of a scenario.
pub struct Generator {
    config: LoadConfig,
    scenario: Arc<Scenario>,
    /// What calls that are over have left in the variables of `<Global>` and `<User>`.
    shared: Vec<Option<Value>>,
    ports: Ports,
    /// A shared RTP port per address.
    media: Vec<Rtp>,
    target: Option<SocketAddr>,
    pace: Option<Pace>,
    began: Instant,
    rtp_echo: bool,
    run: u32,
    calls: HashMap<u64, Call>,
    by_call_id: HashMap<Bytes, u64>,
    past: HashMap<Bytes, Past>,
    forgets: VecDeque<(Instant, Bytes)>,
    alarms: BinaryHeap<Reverse<(Instant, u64)>>,
    last: u64,
    calling: usize,
    chance: StdRng,
    figures: Figures,
    lateness: Lateness,
    next_tick: Instant,
    next_rtp: Instant,
    stopping: bool,
    effects: Vec<CallEffect>,
    came: Vec<Came>,
}

impl Generator {
    /// Starts a generator now.
    ///
    /// # Errors
    /// An address cannot be bound, or a trace cannot be written; as text.
    pub fn start(config: LoadConfig, run: &ScenarioRun) -> Result<Self, String> {
        let now = Instant::now();
        let ports = Ports::bind(&config.binds, config.sip_trace.as_deref())?;
        let rtp = |bind: &SocketAddr| Rtp::bind(bind.ip(), run.rtp_echo, now);
        let media: Result<Vec<Rtp>, _> = config.binds.iter().map(rtp).collect();
        let target = config.target.as_deref().map(resolve).transpose()?;
        Ok(Generator {
            scenario: run.scenario.clone(),
            shared: Vec::new(),
            ports,
            media: media.map_err(|error| format!("no port for RTP: {error}"))?,
            target,
            pace: config.callers.as_ref().map(|callers| callers.pace.clone()),
            began: now,
            rtp_echo: run.rtp_echo,
            run: rand::random(),
            calls: HashMap::new(),
            by_call_id: HashMap::new(),
            past: HashMap::new(),
            forgets: VecDeque::new(),
            alarms: BinaryHeap::new(),
            last: 0,
            calling: 0,
            chance: StdRng::seed_from_u64(config.seed),
            figures: Figures::default(),
            lateness: Lateness::new(now),
            next_tick: now + NAP,
            next_rtp: now,
            stopping: false,
            effects: Vec::new(),
            came: Vec::new(),
            config,
        })
    }

    /// The bound addresses.
    pub fn local(&self) -> Vec<SocketAddr> {
        self.ports.local()
    }

    /// The figures so far.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Share of time in which it was late, percent.
    pub fn late_percent(&self) -> f64 {
        self.lateness.percent()
    }

    /// Active calls.
    pub fn under_way(&self) -> usize {
        self.calls.len()
    }

    /// With outgoing calls: whether all are started and over. Otherwise: whether it was stopped.
    pub fn is_over(&self) -> bool {
        let no_more = self.stopping || self.pace.as_ref().is_some_and(|pace| pace.next_due().is_none());
        no_more && self.calls.is_empty()
    }

    /// Starts and accepts no more calls. Active calls continue.
    pub fn stop(&mut self) {
        self.stopping = true;
    }

    /// Ends the remaining calls.
    pub fn close(mut self) -> Figures {
        let side = side(&mut self.figures, if self.pace.is_some() { Role::Caller } else { Role::Callee });
        let open = self.calls.values().filter_map(|call| call.rtp.as_ref());
        for rtp in self.media.iter().chain(open) {
            side.packets[0] += rtp.sent;
            side.packets[1] += rtp.received;
        }
        self.figures
    }

    /// Runs until the next tick is over.
    pub async fn turn(&mut self) {
        let tick = self.next_tick;
        loop {
            let now = Instant::now();
            self.begin_due(now);
            self.wake_due(now);
            if now >= tick {
                return self.tick(now);
            }
            let next = self.alarms.peek().map_or(tick, |Reverse((at, _))| (*at).min(tick));
            tokio::select! {
                () = self.ports.readable() => {}
                () = tokio::time::sleep_until(next.into()) => continue,
            }
            let mut came = std::mem::take(&mut self.came);
            self.ports.take(&mut came);
            let now = Instant::now();
            for came in came.drain(..) {
                self.take(came, now);
            }
            self.came = came;
        }
    }

    fn tick(&mut self, now: Instant) {
        self.lateness.done(self.next_tick, now);
        let legs = self.calls.len();
        let step = self.happens(now);
        step.legs = step.legs.max(legs);
        self.next_tick = now + NAP;
        while self.forgets.front().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, call_id)) = self.forgets.pop_front() {
                self.past.remove(&call_id);
            }
        }
        // ports of calls have their own times
        if now >= self.next_rtp {
            self.next_rtp = now + if self.scenario.own_media { NAP } else { PTIME };
            self.media.iter_mut().for_each(|rtp| rtp.turn(now));
            if self.scenario.own_media {
                self.calls.values_mut().filter_map(|call| call.rtp.as_mut()).for_each(|rtp| rtp.turn(now));
            }
        }
    }

    /// Starts due calls.
    fn begin_due(&mut self, now: Instant) {
        while !self.stopping
            && let Some(pace) = &mut self.pace
            && let Some(due) = pace.next_due()
            && let Some(target) = self.target
            && self.began + due <= now
        {
            if self.config.at_once.is_some_and(|most| self.calling >= most) {
                // counted once per turn: the call starts as soon as another one is over
                self.figures.held_back += 1;
                return;
            }
            pace.begin();
            let due = self.began + due;
            self.figures.lateness.record(now.saturating_duration_since(due));
            self.calling += 1;
            self.figures.callers.begun += 1;
            let port = (self.figures.callers.begun - 1) as usize % self.ports.count();
            self.enter(Role::Caller, None, (port, target), due);
        }
    }

    /// Wakes the calls whose alarms are due.
    fn wake_due(&mut self, now: Instant) {
        while let Some(Reverse((at, id))) = self.alarms.peek().copied() {
            if at > now {
                return;
            }
            self.alarms.pop();
            if let Some(call) = self.calls.get_mut(&id).filter(|call| call.wake == Some(at)) {
                call.wake = None;
                self.tell(id, CallEvent::Due, now);
            }
        }
    }

    /// Starts a call.
    fn enter(
        &mut self,
        role: Role,
        call_id: Option<Bytes>,
        (port, peer): (usize, SocketAddr),
        due: Instant,
    ) -> u64 {
        self.last += 1;
        let now = Instant::now();
        self.happens(now).begun += 1;
        let number = side(&mut self.figures, role).begun;
        let local = self.ports.local_towards(port, peer);
        let own = self.scenario.own_media.then(|| Rtp::bind(local.ip(), self.rtp_echo, now));
        let rtp =
            own.and_then(|bound| bound.map_err(|error| tracing::warn!("no port for RTP: {error}")).ok());
        let media = rtp.as_ref().or(self.media.get(port)).and_then(|rtp| rtp.port().ok()).unwrap_or_default();
        let uri = self.config.target.as_deref().unwrap_or_default();
        let place = Place {
            number,
            began: self.began,
            run: self.run,
            local,
            remote: peer,
            remote_host: if uri.is_empty() { peer.ip().to_string() } else { host_of(uri).to_owned() },
            service: service(uri),
            media: SocketAddr::new(local.ip(), media),
            account: self.account(number),
            fields: self.scenario.fields.lines(number, || self.chance.next_u64()),
        };
        let chance = SmallRng::seed_from_u64(self.chance.next_u64());
        let mut instance = Instance::new(self.scenario.clone(), place, call_id, self.config.holding, chance);
        instance.share(&self.shared);
        self.by_call_id.insert(instance.call_id().clone(), self.last);
        let at_s = due.saturating_duration_since(self.began).as_secs_f64();
        let at_s = (at_s * 1e3).round() / 1e3;
        let told = worst::Call { number, side: role.name(), at_s, ..worst::Call::default() };
        let call =
            Call { instance, role, port, peer, due, dialled: None, hung_up: None, wake: None, rtp, told };
        self.calls.insert(self.last, call);
        self.figures.at_once = self.figures.at_once.max(self.calls.len());
        self.tell(self.last, CallEvent::Begin, now);
        self.last
    }

    /// The account of a call.
    fn account(&self, number: u64) -> Option<(String, String)> {
        let users = self.config.callers.as_ref()?.kinds.first()?.users.as_ref()?;
        let turn = usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
        let user = users.get(turn % users.len().max(1))?;
        Some((user.name.clone(), user.password.clone()?))
    }

    /// Handles a received message.
    fn take(&mut self, came: Came, now: Instant) {
        let message = match Message::parse(came.message.clone(), &Limits::default()) {
            Ok(message) => message,
            Err(error) => {
                tracing::debug!("{}: {}", came.from, error.kind);
                // nothing else may come: the far end copies what a scenario wrote wrongly
                let call_id = seen::call_id_of(&came.message);
                if let Some(id) = call_id.and_then(|call_id| self.by_call_id.get(own_part(call_id)).copied())
                {
                    self.tell(id, CallEvent::Unreadable(error.kind.to_string()), now);
                }
                return;
            }
        };
        let Ok(call_id) = message.call_id().map(own_part).map(Bytes::copy_from_slice) else { return };
        if let Some(id) = self.by_call_id.get(&call_id).copied() {
            return self.tell(id, CallEvent::Received(Box::new(message)), now);
        }
        if let Some(past) = self.past.get(&call_id) {
            if let Some(Some(answer)) = past.seen.again(&message) {
                self.ports.send(past.port, past.peer, answer);
            }
            return;
        }
        let Message::Request(request) = &message else { return };
        if *request.method() == Method::Ack || self.scenario.calls() {
            return;
        }
        if self.stopping {
            return self.ports.send(came.port, came.from, seen::reply(request, 480));
        }
        self.figures.callees.begun += 1;
        let id = self.enter(Role::Callee, Some(call_id), (came.port, came.from), now);
        self.tell(id, CallEvent::Received(Box::new(message)), now);
    }

    /// Passes an event to a call, and performs its effects.
    fn tell(&mut self, id: u64, event: CallEvent, now: Instant) {
        let mut effects = std::mem::take(&mut self.effects);
        if let Some(call) = self.calls.get_mut(&id) {
            call.instance.step(now, event, &mut effects);
        }
        for effect in effects.drain(..) {
            self.carry_out(id, effect, now);
        }
        self.effects = effects;
    }

    fn carry_out(&mut self, id: u64, effect: CallEffect, now: Instant) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        match effect {
            CallEffect::Send(message) => self.ports.send(call.port, call.peer, message),
            CallEffect::WakeAt(at) => {
                if call.wake.replace(at) != Some(at) {
                    self.alarms.push(Reverse((at, id)));
                }
            }
            CallEffect::Media(media, to) => {
                if let Some(rtp) = &mut call.rtp {
                    rtp.perform(&media, to, now);
                }
            }
            CallEffect::StopRun => self.stopping = true,
            CallEffect::Log(text) => tracing::info!("{} {}: {text}", call.told.side, call.told.number),
            CallEffect::Happened(what) => self.happened(id, what, now),
            CallEffect::Over(outcome) => {
                self.shared = call.instance.shared();
                self.over(id, outcome, now);
            }
            CallEffect::Gone => self.leave(id, now),
        }
    }

    fn happened(&mut self, id: u64, what: Happening, now: Instant) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let since = |at: Option<Instant>| at.map(|at| now.saturating_duration_since(at));
        match what {
            Happening::Dialled => call.dialled = Some(now),
            Happening::HungUp => call.hung_up = Some(now),
            Happening::Rang => {
                if let Some(took) = since(call.dialled) {
                    self.figures.ringing.record(took);
                }
            }
            Happening::Ended => {
                if let Some(took) = since(call.hung_up) {
                    self.figures.ending.record(took);
                }
            }
            Happening::Answered => {
                let (role, took) = (call.role, now.saturating_duration_since(call.due));
                call.told.setup_ms = (role == Role::Caller).then_some(took.as_secs_f64() * 1e3);
                side(&mut self.figures, role).answered += 1;
                let step = self.happens(now);
                step.answered += 1;
                if role == Role::Caller {
                    step.set_up(took);
                    self.figures.setup.record(took);
                }
            }
        }
    }

    /// Handles the end of a call's steps.
    fn over(&mut self, id: u64, outcome: Outcome, now: Instant) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if let Outcome::Failed { step, why } = &outcome {
            (call.told.step, call.told.why) = (Some(step.clone()), Some(why.clone()));
        }
        let role = call.role;
        if outcome != Outcome::Done {
            self.happens(now).failed += 1;
        }
        self.calling -= usize::from(role == Role::Caller);
        side(&mut self.figures, role).over(outcome);
    }

    /// Removes a call.
    fn leave(&mut self, id: u64, now: Instant) {
        let Some(call) = self.calls.remove(&id) else { return };
        self.figures.left(&call.told, |_| ());
        if let Some(rtp) = &call.rtp {
            let packets = &mut side(&mut self.figures, call.role).packets;
            packets[0] += rtp.sent;
            packets[1] += rtp.received;
        }
        let call_id = call.instance.call_id().clone();
        self.by_call_id.remove(&call_id);
        self.forgets.push_back((now + REMEMBERED, call_id.clone()));
        self.past.insert(call_id, Past { seen: call.instance.into_seen(), port: call.port, peer: call.peer });
    }

    /// The timeline step of this time.
    fn happens(&mut self, now: Instant) -> &mut timeline::Step {
        self.figures.timeline.at(now.saturating_duration_since(self.began))
    }
}

fn side(figures: &mut Figures, role: Role) -> &mut Side {
    match role {
        Role::Caller => &mut figures.callers,
        Role::Callee => &mut figures.callees,
    }
}

/// The user part of a target; SIPp's default if there is none.
fn service(uri: &str) -> String {
    let user = uri.split_once(':').and_then(|(_, rest)| rest.split_once('@')).map(|(user, _)| user);
    user.unwrap_or("service").to_owned()
}

/// The address of a target.
fn resolve(uri: &str) -> Result<SocketAddr, String> {
    let host_port = target::host_port(place(uri));
    let host = target::host(host_port);
    let with_port =
        if host.len() == host_port.len() { format!("{host_port}:5060") } else { host_port.to_owned() };
    let mut found = with_port.to_socket_addrs().map_err(|error| format!("--target {uri}: {error}"))?;
    found.next().ok_or_else(|| format!("--target {uri}: the name has no address"))
}

/// What a Call-ID has of `[call_id]`: a scenario may write something else in front of `///`.
fn own_part(call_id: &[u8]) -> &[u8] {
    let behind = call_id.windows(3).position(|octets| octets == b"///");
    behind.map_or(call_id, |at| &call_id[at + 3..])
}
