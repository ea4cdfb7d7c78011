//! The server dies, and its calls go on in the next one: when, and what has to be as it was.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rand::RngExt;

use b2b_app::ivr::{AskUrl, UrlAnswer, UrlQuestion};
use b2b_app::queue::QueueDesk;
use b2b_call::bridge_fsm::BridgeState;
use b2b_call::bus::{Received, Subscriber};
use b2b_call::call_fsm::{CallDirection, CallState};
use b2b_call::cdr::Cdr;
use b2b_call::channels::Channels;
use b2b_call::event::Event;
use b2b_call::leg_fsm::LegState;
use b2b_call::service::CallService;
use b2b_call::switch::CallSnapshot;
use b2b_call::{CallId, LegId};
use b2b_testkit::{Harness, Left, Moment, Sent};

use crate::house::{self, Uris};
use crate::plan::dice;
use crate::wire;
use crate::world::{World, ours};

/// By so much the same time may differ, written by one process and read by the next.
const CLOCKS: Duration = Duration::from_millis(50);

/// A death.
#[derive(Debug, Clone)]
pub struct Death {
    /// The time in ms after which the turns are counted.
    pub at: u64,
    pub turns: usize,
    pub moment: Moment,
    /// Until the next process begins, in ms.
    pub away: u64,
}

/// The deaths of the world with this seed.
pub fn plan(seed: u64) -> Vec<Death> {
    let it = &mut dice(seed, u64::MAX - 2);
    let count = it.random_range(0..=6);
    let death = |_| Death {
        at: if it.random_bool(0.85) { it.random_range(0..60_000) } else { it.random_range(0..400_000) },
        turns: it.random_range(1..60),
        moment: match it.random_range(0..3) {
            0 => Moment::Between,
            1 => Moment::BeforeMessages,
            _ => Moment::BeforeRecord,
        },
        away: if it.random_bool(0.8) { it.random_range(0..80) } else { it.random_range(80..3_000) },
    };
    (0..count).map(death).collect()
}

/// A web server that takes orders; it outlives the calls' server.
#[derive(Clone, Default)]
pub struct Shop(Arc<Mutex<Orders>>);

#[derive(Default)]
struct Orders {
    /// By call: how many it has made, and whether the last one is not answered.
    of: HashMap<u64, (u64, bool)>,
    /// Calls whose orders were not answered when the server died.
    lost: HashSet<u64>,
    service: Option<CallService>,
    /// A call has ordered again what was not answered.
    again: Option<u64>,
}

impl Shop {
    fn with<T>(&self, act: impl FnOnce(&mut Orders) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl AskUrl for Shop {
    fn ask(&self, question: UrlQuestion) -> UrlAnswer {
        let shop = self.clone();
        Box::pin(async move {
            let body: serde_json::Value = serde_json::from_slice(&question.body).unwrap_or_default();
            let call = body["call"].as_u64().unwrap_or_default();
            let (count, service) = shop.with(|it| {
                let order = it.of.entry(call).or_default();
                *order = (order.0 + 1, true);
                if it.lost.contains(&call) {
                    it.again = Some(call);
                }
                (it.of[&call].0, it.service.clone())
            });
            if let Some(service) = service {
                let _ = service.sleep(Duration::from_millis((call + count) % 7 * 900)).await;
            }
            shop.with(|it| it.of.insert(call, (count, false)));
            Ok(b"{}".to_vec())
        })
    }
}

/// What a world with deaths has besides.
pub struct Deaths {
    pub plan: Vec<Death>,
    /// When the server has died.
    pub times: Vec<Duration>,
    /// The one to come.
    next: usize,
    queues: QueueDesk,
    uris: Arc<Uris>,
    shop: Shop,
    channels: Channels,
    events: Subscriber,
    /// When callers have come into the queue, in ms.
    joined: BTreeMap<CallId, u64>,
}

/// Whether an application goes on, as docs/high-availability.md promises.
fn goes_on(application: &str) -> bool {
    let kinds = ["ivr/", "queue/", "conference/", "park/", "voicemail", "voice_agent/", "echo", "milliwatt"];
    kinds.iter().any(|kind| application.starts_with(kind))
}

fn answered(call: &CallSnapshot) -> Vec<LegId> {
    let legs = call.legs.iter().filter(|leg| leg.state == LegState::Answered);
    legs.map(|leg| leg.leg).collect()
}

/// Its two parties talk.
fn talks(call: &CallSnapshot) -> bool {
    let up = answered(call);
    let is_up = |bridge: &b2b_call::switch::BridgeSnapshot| {
        matches!(bridge.state, BridgeState::Active | BridgeState::Held)
            && up.contains(&bridge.a)
            && up.contains(&bridge.b)
    };
    call.bridge.as_ref().is_some_and(is_up)
}

/// A caller waits for phones that ring.
fn rings(call: &CallSnapshot) -> bool {
    let dials = call.dialling.as_ref().is_some_and(|it| !it.transfer && !it.targets.is_empty());
    dials && call.legs.iter().any(|leg| leg.direction == CallDirection::Inbound)
}

impl Deaths {
    pub fn new(
        harness: &mut Harness,
        queues: QueueDesk,
        uris: Arc<Uris>,
        shop: Shop,
        channels: Channels,
        seed: u64,
    ) -> Deaths {
        harness.survives();
        shop.with(|it| it.service = Some(harness.service()));
        let events = harness.bus().subscribe();
        let (times, next, joined) = (Vec::new(), 0, BTreeMap::new());
        Deaths { plan: plan(seed), times, next, queues, uris, shop, channels, events, joined }
    }

    /// Notes who comes into the queue, and who leaves it.
    pub fn follow(&mut self) {
        while let Some(received) = self.events.try_recv() {
            let Received::Event(published) = received else { continue };
            let Event::Application { app, name, call: Some(call), .. } = &published.event else { continue };
            let time = published.time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let now = time.as_millis() as u64;
            match (app.as_str(), name.as_str()) {
                ("queue", "joined") => drop(self.joined.insert(*call, now)),
                ("queue", "answered" | "left") => drop(self.joined.remove(call)),
                _ => {}
            }
        }
    }

    /// Each dialog of ours has one record.
    pub fn at_the_end(&self, wire: &[Sent], records: &[Cdr]) {
        assert_eq!(self.shop.with(|it| it.again), None, "an order that was not answered is made again");
        assert_eq!(self.channels.all(), [], "channels are held");
        let mut of = HashSet::new();
        let twice = records.iter().find(|it| !of.insert(it.sip_call_id.as_str()));
        assert_eq!(twice, None, "another record of a dialog");
        let mut without = wire::dialogs(wire, ours()).into_iter().filter(|id| !of.contains(id.as_str()));
        assert_eq!(without.next(), None, "a dialog without a record");
    }
}

impl World {
    /// The server is to die.
    pub fn dies(&mut self, n: usize) {
        let is_idle = !self.harness.is_doomed() && !self.harness.is_down();
        if let Some(deaths) = self.deaths.as_mut().filter(|_| is_idle) {
            deaths.next = n;
            let Death { turns, moment, .. } = deaths.plan[n];
            // Members of rooms mute themselves, or are too loud.
            for (leg, keys) in self.harness.members().into_keys().zip(["*1", "*6"].into_iter().cycle()) {
                if let Some(endpoint) = self.harness.endpoint_of(leg) {
                    self.harness.press(endpoint, keys);
                }
            }
            self.harness.dies_after(turns, moment);
        }
    }

    /// The next server takes the calls of the dead one up.
    pub fn comes_back(&mut self) {
        let counters = self.harness.counters();
        assert_eq!((counters.illegal, counters.impossible_at), (0, None));
        let (at, is_traced) = (self.at() as f64 / 1_000.0, self.is_traced());
        let Some(deaths) = &mut self.deaths else { return };
        deaths.times.push(self.harness.now() - self.start);
        let (away, uris, shop) = (deaths.plan[deaths.next].away, deaths.uris.clone(), deaths.shop.clone());
        shop.with(|it| it.lost = it.of.iter().filter(|(_, it)| it.1).map(|(call, _)| *call).collect());
        if is_traced {
            println!("{:>9.3} the server dies: {:?}", at, deaths.plan[deaths.next]);
        }
        let until = self.harness.now() + Duration::from_millis(away);
        while self.harness.step(until) {
            self.react();
        }
        self.harness.run(until.saturating_duration_since(self.harness.now()));
        let (handlers, queues) = house::handlers(&self.desk, self.start, Some(Arc::new(shop.clone())));
        let left = self.harness.comes_back(handlers, |service| {
            shop.with(|it| it.service = Some(service.clone()));
            uris.serves(service);
        });
        if !self.faults {
            self.is_as_it_was(&left);
        }
        queues.go_on(&self.harness.snapshot());
        queues.start(&self.harness.service());
        let (now, desk) = (self.harness.now(), queues.clone());
        self.harness.step(now);
        shop.with(|it| it.lost.clear());
        let lines = self.harness.wait(Duration::ZERO, async move { desk.queues().await });
        if let Some(deaths) = &mut self.deaths {
            deaths.queues = queues;
        }
        if !self.faults {
            let waiting = lines.iter().flat_map(|it| &it.callers);
            let waiting = waiting.filter_map(|it| Some((it.call?, it.waited.as_millis() as u64)));
            self.waits_as_before(&left, &waiting.collect::<Vec<_>>());
        }
        self.counts_channels();
        self.harness.reads();
        self.react();
    }

    fn is_as_it_was(&self, left: &Left) {
        let here = self.harness.snapshot();
        let is_here = |leg: &LegId| here.iter().flat_map(|it| &it.legs).any(|it| it.leg == *leg);
        let [before, delayed] = [left.delayed.clone(), self.harness.delayed()]
            .map(|legs| legs.into_iter().filter(is_here).collect::<Vec<_>>());
        assert_eq!(delayed, before, "branches whose INVITEs are delayed");
        let calls: HashMap<CallId, CallSnapshot> =
            self.harness.snapshot().into_iter().map(|it| (it.call, it)).collect();
        for before in &left.calls {
            let now = calls.get(&before.call);
            let in_application = before.application.as_deref().is_some_and(goes_on);
            if rings(before) {
                assert!(now.is_some(), "a call that rings is lost: {before:?}");
            }
            if !(talks(before) || in_application) {
                continue;
            }
            // A transfer by a command ends with that.
            let transfers = before.dialling.as_ref().is_some_and(|it| it.transfer);
            if talks(before) && !transfers {
                let [was, is] = [&left.deadlines, &self.harness.deadlines()]
                    .map(|it| it.get(&before.call).copied().flatten());
                let is_same = was.zip(is).map_or(was == is, |(was, is)| was.max(is) - was.min(is) < CLOCKS);
                assert!(is_same, "it was to do something at {was:?}, and is at {is:?}: {before:?}");
            }
            let up = now.map(answered).unwrap_or_default();
            let lost = answered(before).into_iter().find(|leg| !up.contains(leg));
            assert_eq!(lost, None, "an answered leg is lost of {before:?}, now {now:?}");
            let Some(now) = now else { continue };
            let who = before.call;
            // Flows go on, agents fail, and who was called back from a slot is parked again.
            let changes = |name: &str| match name {
                "ivr_node" | "voice_agent_failed" => true,
                "parked" => before.dialling.is_some(),
                _ => false,
            };
            let mut lost = before.variables.iter().filter(|(name, _)| !changes(name));
            let lost = lost.find(|it| !now.variables.contains(it));
            assert_eq!(lost, None, "a variable of {who:?}, now {:?}: {before:?}", now.variables);
            assert_eq!(before.bridge, now.bridge, "the bridge of {before:?}");
            // A look-up that was under way has failed.
            let transfers = before.state == CallState::Transferring;
            let is_same = transfers || in_application || before.state == now.state;
            assert!(is_same, "it is {:?}: {before:?}", now.state);
            let in_room = before.application.as_deref().is_some_and(|it| it.starts_with("conference/"));
            for leg in answered(before).into_iter().filter(|_| in_room) {
                let (was, is) = (left.members.get(&leg), self.harness.members().get(&leg).copied());
                // Who was about to join has.
                assert!(was.copied() == is || was.is_none(), "{is:?} in the room, of {before:?}");
            }
            // Whose time in a parking slot is over by now is on the way back.
            let waits = before.state == CallState::InQueue && !talks(before);
            for leg in answered(before).iter().filter(|it| waits && left.music.contains(it)) {
                assert!(self.harness.hears_sound(*leg), "{before:?} hears nothing");
            }
        }
    }

    /// `waiting`: the line, by calls, with the time for which they have waited.
    fn waits_as_before(&self, left: &Left, waiting: &[(CallId, u64)]) {
        let Some(deaths) = &self.deaths else { return };
        let mut last = 0;
        for (call, waited) in waiting {
            let came = self.at().saturating_sub(*waited);
            assert!(came + 50 >= last, "the order of the queue: {waiting:?}");
            last = came;
            if let Some(joined) = deaths.joined.get(call) {
                assert!(
                    came.abs_diff(*joined) < 50,
                    "{call:?} came at {joined}, and now, {}, at {came}",
                    self.at()
                );
            }
        }
        let queues = |it: &&CallSnapshot| it.application.as_deref() == Some("queue/sales");
        for call in left.calls.iter().filter(queues).map(|it| it.call) {
            let is_here = self.harness.snapshot().iter().any(|it| it.call == call && queues(&it));
            let is_waiting = waiting.iter().any(|it| it.0 == call);
            let waited = deaths.joined.contains_key(&call);
            assert!(!(waited && is_here) || is_waiting, "{call:?} has lost its place in the queue");
        }
    }

    /// Each leg has its channel.
    pub fn counts_channels(&self) {
        let Some(deaths) = &self.deaths else { return };
        let taken: usize = deaths.channels.all().iter().map(|(_, count)| count).sum();
        let legs: usize = self.harness.snapshot().iter().map(|it| it.legs.len()).sum();
        assert_eq!(taken, legs, "channels and legs");
    }
}
