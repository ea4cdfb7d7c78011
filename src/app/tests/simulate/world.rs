//! A world: a switch, its parties, a network and media, created from a seed, and the planned calls.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand::RngExt;

use b2b_call::bus::{Received, Subscriber};
use b2b_call::channels::Channels;
use b2b_call::controller::MediaEvent;
use b2b_call::leg_fsm::LegState;
use b2b_call::recording::RecordingRules;
use b2b_call::service::DialRequest;
use b2b_call::switch::admission::AdmissionControl;
use b2b_call::switch::{CallSnapshot, LegSnapshot, SwitchConfig};
use b2b_call::{CallId, LegId};
use b2b_testkit::{
    Body, Counted, Harness, Invite, Network, PartyId, Passwords, Rows, SESSION, Sent, UsageId,
};

use crate::deaths::{Deaths, Shop};
use crate::house::{self, Desk, Uris, uri};
use crate::numbers;
use crate::plan::{Deed, MORTAL, Mix, PARTIES, Phone, Plan, Route, Side, address, dice, plan};
use crate::program;
use crate::wire;

/// The time in ms after which every remaining party hangs up.
const DEADLINE: u64 = 480_000;
/// The interval of checks for silent calls, in ms.
const LOOK: u64 = 40_000;

/// The parameters of a world.
#[derive(Debug, Clone)]
pub struct Which {
    pub seed: u64,
    pub mix: Mix,
    /// The number of calls; `None`: random by the seed.
    pub calls: Option<usize>,
    /// Only these calls.
    pub only: Option<Vec<usize>>,
    /// Whether the calls are replayed in every world; otherwise in one world in ten.
    pub replays: bool,
    /// Whether every message is printed.
    pub traces: bool,
    /// Calls are written, and read into another switch and endpoint, each time after this many steps.
    pub restarts: Option<usize>,
    /// The server dies at random, and its calls go on.
    pub deaths: bool,
}

/// The outcome of a world.
#[derive(Debug, Default)]
pub struct Outcome {
    pub rows: Rows,
    pub calls: usize,
    pub legs: usize,
    pub messages: usize,
    /// A hash of all messages, in order, with their times and addresses.
    pub digest: u64,
    pub replayed: bool,
    /// Calls whose replay differed: a failure only with `--replay`, since some are known to differ.
    pub otherwise: Vec<String>,
    pub panics: u64,
    pub late: u64,
    pub deaths: usize,
}

/// A scheduled event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    Begin(usize),
    GiveUp(usize),
    /// A phone rings or decides: index in `World::ringing`.
    Ring(usize),
    Decide(usize),
    Deed(usize, usize),
    End(usize),
    /// A caller that replaces another one gives up: index in `World::newcomers`.
    Cancel(usize),
    /// A party of this call requests an offer.
    WantOffer(usize),
    /// Checks for silent calls.
    Look,
    /// The server is about to die: index in the plan.
    Die(usize),
    /// Checks that nobody is left beside a bridge.
    LooksBeside,
    Deadline,
}

/// The parties' ends of a planned call.
#[derive(Debug, Default, Clone)]
pub struct Ends {
    pub caller: Option<(PartyId, UsageId)>,
    pub callee: Option<(PartyId, UsageId)>,
    pub consults: Option<(PartyId, UsageId)>,
    pub is_up: bool,
}

/// What the last checks have seen.
#[derive(Default)]
struct Looked {
    /// Calls that were silent.
    silent: Vec<CallId>,
    /// Calls in a transfer, although all their legs were answered.
    stuck: Vec<CallId>,
    /// Legs beside the bridges of their calls.
    beside: Vec<LegId>,
}

pub struct World {
    pub harness: Harness,
    pub desk: Desk,
    pub parties: Vec<PartyId>,
    due: BinaryHeap<Reverse<(u64, u64, Due)>>,
    order: u64,
    pub start: Instant,
    pub ends: Vec<Ends>,
    /// Ringing phones: the party, the usage, the behaviour, and the call.
    pub ringing: Vec<(PartyId, UsageId, Phone, Option<usize>)>,
    /// The planned call of each usage of a caller.
    pub of_usage: HashMap<(usize, UsageId), usize>,
    pub unplanned: u64,
    /// Callers that replace another party.
    pub newcomers: Vec<(PartyId, UsageId)>,
    pub is_dead: bool,
    /// How often each party has moved.
    pub moves: Vec<usize>,
    looked: Looked,
    /// Subscribed if events are printed.
    events: Option<Subscriber>,
    traced: usize,
    /// Whether the switch had no call at the last check.
    was_idle: bool,
    pub faults: bool,
    pub deaths: Option<Deaths>,
}

/// The number of calls of a world with this seed.
pub fn calls(which: &Which) -> usize {
    which.calls.unwrap_or_else(|| dice(which.seed, 0).random_range(20..=100))
}

fn network(which: &Which) -> Network {
    let mut it = dice(which.seed, u64::MAX);
    let seed = which.seed;
    match it.random_range(0..4) {
        _ if which.mix == Mix::Basic => Network { seed, ..Network::QUIET },
        0 | 1 => Network { seed, ..Network::QUIET },
        2 => Network { loss: 0.0, duplicate: 0.01, delay_ms: (1, 60), seed },
        _ => Network { loss: 0.03, duplicate: 0.02, delay_ms: (1, 40), seed },
    }
}

impl World {
    fn new(which: &Which) -> World {
        let start = Instant::now();
        let plans: Vec<Plan> = (0..calls(which)).map(|n| plan(which.seed, n, which.mix)).collect();
        let ends = vec![Ends::default(); plans.len()];
        let desk = Desk { seed: which.seed, plans: Arc::new(plans), legs: Arc::new(Mutex::default()) };
        let shop = which.deaths.then(Shop::default);
        let (handlers, queues) = house::handlers(&desk, start, shop.clone().map(|it| Arc::new(it) as _));
        let mut rules = RecordingRules::new("/r");
        rules.code = "*1".to_owned();
        let config = SwitchConfig {
            recording: Some(Arc::new(rules)),
            rtp_timeout: Some(Duration::from_secs(60)),
            ..SwitchConfig::default()
        };
        let network = network(which);
        let uris = Arc::new(Uris { seed: which.seed, service: Mutex::default() });
        let channels = Channels::default();
        let admission: Box<dyn AdmissionControl> = match which.deaths {
            true => Box::new(Counted(channels.clone())),
            false => Box::new(Passwords),
        };
        let mut harness = Harness::with(start, handlers, uris.clone(), admission, config, network);
        if let Some(steps) = which.restarts {
            harness.restart_every(steps);
        }
        uris.serves(harness.service());
        let parties = (0..PARTIES).map(|n| {
            harness.party_with(&address(n), |config| match n % 4 {
                1 => config.extensions.reliable = false,
                2 => (config.extensions.refer, config.extensions.replaces) = (false, false),
                3 => config.session_timers = Some(Default::default()),
                _ => {}
            })
        });
        let parties = parties.collect();
        queues.start(&harness.service());
        let mut it = dice(which.seed, u64::MAX - 1);
        let faults = which.mix == Mix::All && it.random_range(0..6) == 0;
        if faults {
            harness.media().fail(it.random_range(0.005..0.05), which.seed);
        }
        // Records wait in vain for the last counters of media.
        if which.deaths && it.random_range(0..4) == 0 {
            harness.media().say_nothing();
        }
        let events = which.traces.then(|| harness.bus().subscribe());
        let deaths = shop.map(|shop| Deaths::new(&mut harness, queues, uris, shop, channels, which.seed));
        World {
            harness,
            desk,
            parties,
            due: BinaryHeap::new(),
            order: 0,
            start,
            ends,
            ringing: Vec::new(),
            of_usage: HashMap::new(),
            unplanned: 0,
            newcomers: Vec::new(),
            is_dead: false,
            moves: vec![0; PARTIES],
            looked: Looked::default(),
            events,
            traced: 0,
            was_idle: false,
            faults,
            deaths,
        }
    }

    /// Milliseconds since the start.
    pub fn at(&self) -> u64 {
        self.harness.now().duration_since(self.start).as_millis() as u64
    }

    pub fn later(&mut self, ms: u64, what: Due) {
        self.order += 1;
        self.due.push(Reverse((self.at() + ms, self.order, what)));
    }

    /// Runs the calls to their end.
    fn run(&mut self, only: Option<&[usize]>) {
        let plans = self.desk.plans.clone();
        for (n, plan) in plans.iter().enumerate() {
            if only.is_none_or(|only| only.contains(&n)) {
                self.later(plan.at, Due::Begin(n));
            }
        }
        for at in (LOOK..DEADLINE).step_by(LOOK as usize) {
            self.later(at, Due::Look);
        }
        self.later(DEADLINE, Due::Deadline);
        self.later(5_000, Due::LooksBeside);
        let deaths: Vec<u64> = self.deaths.iter().flat_map(|it| &it.plan).map(|death| death.at).collect();
        for (n, at) in deaths.into_iter().enumerate() {
            self.later(at, Due::Die(n));
        }
        while let Some(Reverse((at, ..))) = self.due.peek() {
            let at = self.start + Duration::from_millis(*at);
            let stepped = self.harness.step(at);
            if self.harness.is_down() {
                self.comes_back();
                continue;
            }
            if stepped {
                // Reactions may be due earlier.
                self.react();
                continue;
            }
            if let Some(left) = at.checked_duration_since(self.harness.now()) {
                self.harness.run(left);
            }
            let Some(Reverse((_, _, what))) = self.due.pop() else { break };
            self.does(&what);
            self.react();
            // Every party is finished, so the remaining time is skipped.
            if self.is_quiet()
                && self
                    .due
                    .iter()
                    .all(|it| matches!(it.0.2, Due::Look | Due::LooksBeside | Due::Die(_) | Due::Deadline))
            {
                self.due.clear();
            }
        }
    }

    /// Whether neither the switch nor any living party has a call.
    fn is_quiet(&self) -> bool {
        let is_dead = |n: usize| n == MORTAL && self.is_dead;
        let parties = self.parties.iter().enumerate().filter(|(n, _)| !is_dead(*n));
        self.harness.is_idle() && parties.map(|(_, it)| self.harness.held_by(*it)).all(|it| it.usages == 0)
    }

    fn does(&mut self, what: &Due) {
        let now = self.harness.now();
        match what {
            Due::Begin(n) => self.begin(*n),
            Due::GiveUp(n) => {
                if let Some((party, usage)) = self.ends[*n].caller {
                    let _ = self.harness.endpoint(party).cancel(now, usage);
                }
            }
            Due::Cancel(n) => {
                let (party, usage) = self.newcomers[*n];
                let _ = self.harness.endpoint(party).cancel(now, usage);
            }
            Due::WantOffer(n) => self.want_offer(*n),
            Due::Ring(n) => self.ring(*n),
            Due::Decide(n) => self.decide(*n),
            Due::Deed(n, deed) => self.deed(*n, *deed),
            Due::End(n) => {
                let plan = &self.desk.plans[*n];
                let ends = &self.ends[*n];
                let who = if plan.ends.1 == Side::Caller { ends.caller } else { ends.callee.or(ends.caller) };
                // A party that was transferred meanwhile stays; the other one hangs up.
                for (party, usage) in who.into_iter().chain(ends.caller).chain(ends.callee) {
                    if self.harness.is_up(party, usage) {
                        let _ = self.harness.endpoint(party).bye(now, usage);
                        break;
                    }
                }
            }
            Due::Look => self.look(),
            Due::Die(n) => self.dies(*n),
            Due::LooksBeside => self.looks_beside(),
            Due::Deadline => {
                self.harness.dies_no_more();
                for party in self.parties.clone() {
                    for usage in self.harness.up(party) {
                        let _ = self.harness.endpoint(party).bye(now, usage);
                    }
                }
                // A dead party does not notice the end: media monitoring does.
                let legs: Vec<LegId> = match self.is_dead {
                    true => self.harness.snapshot().iter().flat_map(|it| &it.legs).map(|it| it.leg).collect(),
                    false => Vec::new(),
                };
                for leg in legs {
                    if let Some(endpoint) = self.harness.endpoint_of(leg) {
                        self.harness.media_event(MediaEvent::Timeout { endpoint });
                    }
                }
                // Phones that still ring give up on their own; one that answers meanwhile hangs up, too.
                let is_over = self.due.is_empty() && self.harness.is_idle();
                if !is_over && self.at() < DEADLINE + 400_000 {
                    self.later(10_000, Due::Deadline);
                }
            }
        }
    }

    fn begin(&mut self, n: usize) {
        let plan = self.desk.plans[n].clone();
        if let Route::Originated(steps) = plan.route {
            let (service, plans) = (self.harness.service(), self.desk.plans.clone());
            let legs = self.desk.legs.clone();
            let task = async move {
                let dialled = service.originate(DialRequest::to(uri(&plans, n, 0))).await;
                let Ok((call, answered)) = dialled else { return };
                let Ok(leg) = answered.await else { return };
                legs.lock().unwrap_or_else(PoisonError::into_inner).insert(n, (call, leg));
                let (of, phones) = (service.clone(), plans.clone());
                let action = program::run(steps, of, (call, leg), move |phone| uri(&phones, n, phone)).await;
                if let b2b_call::handler::HandlerAction::Handle(name) = action {
                    let _ = service.hand_over(leg, &name, None).await;
                } else if !plans[n].offers {
                    let _ = service.transfer(leg, &uri(&plans, n, 2)).await;
                } else {
                    let _ = service.hangup(leg).await;
                }
            };
            let _ = self.harness.service().spawn(task);
            return;
        }
        let party = self.parties[plan.caller];
        let body = plan.offers.then(|| Body::sdp(SESSION));
        let target = format!("sip:c{n}@{}", b2b_testkit::B2B).into();
        let now = self.harness.now();
        let invite = Invite { target, body, ..Invite::default() };
        let Ok(usage) = self.harness.endpoint(party).invite(now, invite) else { return };
        self.ends[n].caller = Some((party, usage));
        self.of_usage.insert((plan.caller, usage), n);
        if let Some(ms) = plan.gives_up {
            self.later(ms, Due::GiveUp(n));
        }
    }

    /// Checks that a party that was transferred away is not kept: it has two seconds to end its call itself.
    fn looks_beside(&mut self) {
        let beside = |call: &CallSnapshot| {
            let bridge = call.bridge.as_ref()?;
            // The dead do not answer our BYE.
            let is_dead =
                |it: &LegSnapshot| it.contact.as_ref().is_some_and(|uri| uri.ends_with(&address(MORTAL)));
            let is_beside = |it: &&LegSnapshot| {
                it.state == LegState::Answered && it.leg != bridge.a && it.leg != bridge.b && !is_dead(it)
            };
            call.legs.iter().find(is_beside).map(|it| it.leg)
        };
        let calls = self.harness.snapshot();
        let beside: Vec<LegId> = calls
            .iter()
            .filter(|it| it.dialling.is_none() && it.application.is_none())
            .filter_map(beside)
            .collect();
        let twice = beside.iter().find(|leg| self.looked.beside.contains(leg));
        assert_eq!(twice, None, "this leg is beside the bridge of its call");
        self.looked.beside = beside;
        if self.at() < DEADLINE {
            self.later(5_000, Due::LooksBeside);
        }
    }

    pub fn is_traced(&self) -> bool {
        self.events.is_some()
    }

    /// Prints the events.
    pub fn trace(&mut self) {
        if self.events.is_none() {
            return;
        }
        for sent in &self.harness.wire[self.traced..] {
            let of = |name| sent.field(name).unwrap_or_default();
            let sdp = if sent.text().contains("\r\n\r\nv=0") { "+sdp" } else { "" };
            let (line, cseq, id) = (sent.line(), of("CSeq"), of("Call-ID"));
            let id = id.get(..8).unwrap_or(&id);
            println!("{:>9.3} {} > {} {line} [{cseq}] {id} {sdp}", sent.at.as_secs_f64(), sent.from, sent.to);
        }
        self.traced = self.harness.wire.len();
        let at = self.at() as f64 / 1_000.0;
        while let Some(received) = self.events.as_mut().and_then(Subscriber::try_recv) {
            if let Received::Event(published) = received {
                println!("{at:>9.3} {:?}", published.event);
            }
        }
    }

    /// The legs that a program may command.
    pub fn legs_of(&self, n: usize) -> Option<(CallId, LegId)> {
        self.desk.legs.lock().ok()?.get(&n).copied()
    }

    pub fn deed_of(&self, n: usize, deed: usize) -> Option<(Side, Deed)> {
        let (_, side, what) = self.desk.plans.get(n)?.deeds.get(deed)?;
        Some((*side, what.clone()))
    }

    /// Checks that joined parties hear each other: media may be unjoined only briefly.
    fn look(&mut self) {
        self.counts_channels();
        let is_idle = self.harness.is_idle();
        if std::mem::replace(&mut self.was_idle, is_idle) && is_idle {
            for (n, party) in self.parties.iter().enumerate().filter(|(n, _)| *n != MORTAL || !self.is_dead) {
                assert_eq!(
                    self.harness.up(*party),
                    [],
                    "party {n} is in a call that the switch knows nothing of"
                );
            }
        }
        let is_stuck = |call: &b2b_call::switch::CallSnapshot| {
            // If it has no bridge any more, its parties are about to leave.
            call.bridge.is_some()
                && call.state == b2b_call::call_fsm::CallState::Transferring
                && call.legs.iter().all(|leg| leg.state == b2b_call::leg_fsm::LegState::Answered)
        };
        let stuck: Vec<CallId> =
            self.harness.snapshot().iter().filter(|it| is_stuck(it)).map(|it| it.call).collect();
        let twice = stuck.iter().find(|call| self.looked.stuck.contains(call));
        assert_eq!(twice, None, "this call is in a transfer to nobody");
        self.looked.stuck = stuck;
        if self.faults {
            return;
        }
        let joined = self.harness.media().bridges();
        let apart = |call: &b2b_call::switch::CallSnapshot| {
            let bridge = call.bridge.as_ref()?;
            // Whose media has moved is told once another one has answered, or is dead.
            let waits = self.harness.is_asked(call.call);
            if waits || bridge.state != b2b_call::bridge_fsm::BridgeState::Active {
                return None;
            }
            let ends = [bridge.a, bridge.b].map(|leg| self.harness.endpoint_of(leg));
            let [Some(a), Some(b)] = ends else { return None };
            let is_joined = joined.iter().any(|pair| *pair == (a, b) || *pair == (b, a));
            (!is_joined).then_some(call.call)
        };
        let silent: Vec<CallId> = self.harness.snapshot().iter().filter_map(apart).collect();
        let twice = silent.iter().find(|call| self.looked.silent.contains(call));
        assert_eq!(twice, None, "the parties of this call are joined and hear nothing");
        self.looked.silent = silent;
    }
}

/// The address of the switch.
pub fn ours() -> std::net::SocketAddr {
    b2b_testkit::B2B.parse().unwrap_or_else(|_| panic!("an address"))
}

/// A hash that distinguishes this wire trace from others.
fn digest(wire: &[Sent]) -> u64 {
    let mut hasher = DefaultHasher::new();
    wire.iter().for_each(|it| (it.at, it.from, it.to, &it.data).hash(&mut hasher));
    hasher.finish()
}

/// Runs a world.
///
/// # Panics
/// A check fails.
pub fn live(which: &Which) -> Outcome {
    let mut world = World::new(which);
    world.run(which.only.as_deref());
    world.harness.dies_no_more();
    let deaths = world.deaths.as_ref().map(|it| it.times.len()).unwrap_or_default();
    let mut harness = world.harness;
    harness.run(Duration::from_secs(400));
    let wire = std::mem::take(&mut harness.wire);
    harness.assert_nothing_held();
    for (n, party) in world.parties.iter().enumerate() {
        // A dead party does not know of the end of its calls.
        if n == MORTAL && world.is_dead {
            continue;
        }
        let held = harness.held_by(*party);
        assert_eq!((held.usages, harness.up(*party).len()), (0, 0), "calls are left at party {n}");
    }
    let counters = harness.counters_of_all();
    if !which.deaths {
        assert_eq!(counters.incoming, counters.ended.min(counters.incoming), "a call has not ended");
    }
    assert_eq!((counters.unheard, counters.refused), (0, 0));
    let records = harness.records();
    // Numbers of legs begin anew in another process, those of calls do not.
    let mut legs: Vec<_> = records.iter().map(|record| (record.call, record.leg)).collect();
    legs.sort_unstable();
    let double = legs.windows(2).find(|pair| pair[0] == pair[1]);
    assert_eq!(double, None, "two records of one leg");
    if let Some(of_deaths) = &world.deaths {
        of_deaths.at_the_end(&wire, &records);
    } else {
        let invited = wire::invited(&wire, ours());
        // A call refused before an INVITE was sent has no leg on the wire.
        assert!(legs.len() >= counters.incoming as usize + invited, "{} records", legs.len());
        assert!(legs.len() <= (counters.incoming + counters.dialled) as usize, "{} records", legs.len());
    }
    if let Some(fault) = wire::fault(&wire, ours()) {
        panic!("offer and answer: {fault}");
    }
    if let Some(fault) = numbers::fault(&wire, ours()) {
        panic!("numbers: {fault}");
    }
    let mut otherwise = Vec::new();
    let replayed = which.replays || which.seed.is_multiple_of(10) && !which.deaths;
    if replayed {
        harness.wire = wire.clone();
        otherwise = harness.replayed_otherwise();
        assert!(otherwise.is_empty() || !which.replays, "{}", otherwise[0]);
    }
    Outcome {
        rows: harness.rows_of_all(),
        calls: which.only.as_ref().map_or(world.ends.len(), Vec::len),
        legs: legs.len(),
        messages: wire.len(),
        digest: digest(&wire),
        replayed,
        otherwise,
        panics: counters.panics,
        late: counters.late,
        deaths,
    }
}
