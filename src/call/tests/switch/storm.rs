//! A storm of calls of all kinds over a network with loss, duplicates and reordering: every call is accounted
//! for, and nothing is left afterwards.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use b2b_call::call_fsm::CallDirection;
use b2b_call::cdr::{Cdr, Disposition};
use b2b_call::controller::MediaEvent;
use b2b_call::handler::{ApplicationHandler, HandlerAction};
use b2b_call::lookup::ResolvedContact;
use b2b_call::lookup::{LookupFuture, LookupRequest, Resolver};
use b2b_call::service::{DialOptions, DialRequest, DialTo};
use b2b_call::switch::SwitchConfig;
use b2b_call::switch::admission::AdmitAll;
use b2b_sip::endpoint::{Body, Event, Invite, UsageEvent, UsageId};
use b2b_testkit::{Handler, Harness, Network, PartyId, SESSION};
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::routed::{ANN, BOB, CAT};

const TICK: Duration = Duration::from_millis(10);
/// The interval in ms at which the mortal party dies and is replaced by another one.
const LIFE: u64 = 2_500;
/// The time in ms after a party's death at which its silence is detected.
const SILENCE: u64 = 3_000;

/// The planned outcome of a call; its first letter is in the called number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    CallerHangsUp,
    CalleeHangsUp,
    Cancelled,
    Refused,
    Unanswered,
    Nowhere,
    Forked,
    CalleeDies,
    CallerDies,
}

use Kind::*;
/// The kinds by frequency, out of 20.
const KINDS: [Kind; 20] = [
    CallerHangsUp,
    CallerHangsUp,
    CallerHangsUp,
    CallerHangsUp,
    CallerHangsUp,
    CalleeHangsUp,
    CalleeHangsUp,
    CalleeHangsUp,
    Cancelled,
    Cancelled,
    Cancelled,
    Refused,
    Refused,
    Refused,
    Unanswered,
    Unanswered,
    Nowhere,
    Forked,
    CalleeDies,
    CallerDies,
];

impl Kind {
    fn letter(self) -> char {
        (b'a' + self as u8) as char
    }

    /// The possible ends of the caller's leg. A dying party may die before the answer.
    fn dispositions(self) -> &'static [Disposition] {
        match self {
            Cancelled => &[Disposition::Cancelled],
            Refused => &[Disposition::Busy],
            Unanswered | Nowhere => &[Disposition::NoAnswer],
            CalleeDies => &[Disposition::Answered, Disposition::NoAnswer],
            _ => &[Disposition::Answered],
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Deed {
    Answer,
    HangUp,
    Cancel,
}

struct Nothing;

impl Resolver for Nothing {
    fn name(&self) -> &str {
        "nothing"
    }

    fn lookup<'a>(&'a self, _: &'a LookupRequest) -> LookupFuture<'a> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

struct Storm {
    harness: Harness,
    rng: StdRng,
    start: Instant,
    /// The planned actions of parties, and their times in ms after the start.
    plan: BinaryHeap<Reverse<(u64, u64, Deed)>>,
    /// The party of each action.
    actors: BTreeMap<u64, (PartyId, UsageId)>,
    parties: Vec<PartyId>,
    made: BTreeMap<Kind, usize>,
    /// The next party to die, its address, and the time.
    mortal: (PartyId, String, u64),
    deaths: u64,
    /// The media ports of the mortal party's calls; those of dead parties, and when their silence is
    /// detected.
    ports: Vec<u16>,
    silent: VecDeque<(u64, u16)>,
}

fn mortal_address(n: u64) -> String {
    format!("198.51.100.{}:5060", n + 1)
}

fn port(body: &[u8]) -> Option<u16> {
    let text = String::from_utf8_lossy(body);
    text.lines().find_map(|line| line.strip_prefix("m=audio ")?.split(' ').next()?.parse().ok())
}

impl Storm {
    fn new(network: Network) -> Self {
        let route = Handler(|call: b2b_call::handler::IncomingCall, _| async move {
            let called = call.called();
            let (kind, address) = called.split_at(1);
            let address = address.replace('-', ":");
            let to =
                |address: &str, priority| ResolvedContact::new(format!("sip:{kind}@{address}"), priority);
            let contacts = match kind {
                // Bob wins.
                "g" => vec![to(BOB, 0), ResolvedContact::new(format!("sip:e@{CAT}"), 0)],
                _ => vec![to(&address, 0)],
            };
            let options = DialOptions { ring_timeout: Duration::from_secs(4), ..DialOptions::default() };
            HandlerAction::Dial(Box::new(DialRequest { to: DialTo::Contacts(contacts), options }))
        });
        let handlers: Vec<Arc<dyn ApplicationHandler>> = vec![Arc::new(route)];
        let config = SwitchConfig::default();
        let start = Instant::now();
        let mut harness =
            Harness::with(start, handlers, Arc::new(Nothing), Box::new(AdmitAll), config, network);
        let parties = [ANN, BOB, CAT].map(|address| harness.party(address)).to_vec();
        let mortal = (harness.party(&mortal_address(0)), mortal_address(0), LIFE);
        Storm {
            harness,
            rng: StdRng::seed_from_u64(network.seed),
            start,
            plan: BinaryHeap::new(),
            actors: BTreeMap::new(),
            parties,
            made: BTreeMap::new(),
            mortal,
            deaths: 0,
            ports: Vec::new(),
            silent: VecDeque::new(),
        }
    }

    /// Milliseconds since the start.
    fn at(&self) -> u64 {
        self.harness.now().duration_since(self.start).as_millis() as u64
    }

    fn later(&mut self, actor: (PartyId, UsageId), ms: std::ops::Range<u64>, deed: Deed) {
        let key = self.actors.len() as u64;
        self.actors.insert(key, actor);
        let at = self.at() + self.rng.random_range(ms);
        self.plan.push(Reverse((at, key, deed)));
    }

    fn call(&mut self) {
        let kind = KINDS[self.rng.random_range(0..KINDS.len())];
        *self.made.entry(kind).or_default() += 1;
        let callee = match kind {
            Nowhere => "203.0.113.9:5060",
            CalleeDies => &self.mortal.1,
            CallerDies | CallerHangsUp => BOB,
            _ => CAT,
        };
        let caller = if kind == CallerDies { self.mortal.0 } else { self.parties[0] };
        let target = format!("sip:{}{}@192.0.2.1:5060", kind.letter(), callee.replace(':', "-"));
        let invite =
            Invite { target: Bytes::from(target), body: Some(Body::sdp(SESSION)), ..Invite::default() };
        let now = self.harness.now();
        let usage = self.harness.endpoint(caller).invite(now, invite).expect("an INVITE that can be sent");
        if kind == Cancelled {
            self.later((caller, usage), 200..1_200, Deed::Cancel);
        }
        if matches!(kind, CallerHangsUp | Forked) {
            // Long after the answer, despite losses.
            self.later((caller, usage), 10_000..12_000, Deed::HangUp);
        }
    }

    /// A party's reaction to an incoming call.
    fn rings(&mut self, party: PartyId, usage: UsageId, kind: u8, body: &[u8]) {
        let now = self.harness.now();
        if kind == b'd' {
            // It may have been cancelled already.
            let _ = self.harness.endpoint(party).reject(now, usage, 486, "");
            return;
        }
        let _ = self.harness.endpoint(party).provisional(now, usage, 180, "", None);
        match kind {
            b'c' | b'e' => {}
            b'h' => {
                self.ports.extend(port(body));
                self.later((party, usage), 0..10, Deed::Answer);
            }
            _ => self.later((party, usage), 10..600, Deed::Answer),
        }
        if kind == b'b' {
            self.later((party, usage), 10_000..12_000, Deed::HangUp);
        }
    }

    fn events(&mut self) {
        let parties: Vec<PartyId> = self.parties.iter().copied().chain([self.mortal.0]).collect();
        for party in parties {
            for event in self.harness.take(party) {
                match event {
                    Event::Incoming { usage, request, .. } => {
                        let uri = request.uri().expect("a URI").user.expect("a user").first().copied();
                        self.rings(party, usage, uri.expect("a letter"), &request.body());
                    }
                    Event::Usage { event: UsageEvent::Answered { response, .. }, .. }
                        if party == self.mortal.0 =>
                    {
                        self.ports.extend(port(&response.body()));
                    }
                    _ => {}
                }
            }
        }
    }

    fn deeds(&mut self) {
        let now = self.at();
        while let Some(&Reverse((at, key, deed))) = self.plan.peek()
            && at <= now
        {
            self.plan.pop();
            let Some((party, usage)) = self.actors.get(&key).copied() else { continue };
            let now = self.harness.now();
            let endpoint = self.harness.endpoint(party);
            // A call that has ended meanwhile cannot be answered or hung up.
            let _ = match deed {
                Deed::Answer => endpoint.answer(now, usage, Some(Body::sdp(SESSION))),
                Deed::HangUp => endpoint.bye(now, usage),
                Deed::Cancel => endpoint.cancel(now, usage),
            };
        }
    }

    /// The mortal party dies; later its silence is reported.
    fn deaths(&mut self) {
        let now = self.at();
        if self.mortal.2 <= now {
            self.harness.kill(self.mortal.0);
            self.silent.extend(self.ports.drain(..).map(|port| (now + SILENCE, port)));
            self.deaths += 1;
            let address = mortal_address(self.deaths);
            self.mortal = (self.harness.party(&address), address, now + LIFE);
        }
        // One at a time: each advances the time.
        if let Some((_, port)) = self.silent.front().copied().filter(|(at, _)| *at <= now) {
            self.silent.pop_front();
            let joined = self.harness.media().bridges();
            let of_port = |id: u64| 10_000 + (id as u16 % 20_000) * 2 == port;
            let endpoint = joined.iter().flat_map(|(a, b)| [*a, *b]).find(|it| of_port(it.0));
            if let Some(endpoint) = endpoint {
                self.harness.media_event(MediaEvent::Timeout { endpoint });
            }
        }
    }

    fn step(&mut self) {
        self.harness.run(TICK);
        self.harness.wire.clear();
        self.events();
        self.deeds();
        self.deaths();
    }
}

fn storm(calls: usize, network: Network) {
    storm_restored(calls, network, None);
}

/// The storm, with all calls restored from their snapshots after every so many steps.
fn storm_restored(calls: usize, network: Network, every: Option<usize>) {
    let mut storm = Storm::new(network);
    if let Some(every) = every {
        storm.harness.restart_every(every);
    }
    let mut most = 0;
    for made in 0..calls {
        storm.call();
        // Two calls per tick: 200 per second.
        if made % 2 == 1 {
            storm.step();
            most = most.max(storm.harness.holdings().0.calls);
        }
    }
    for _ in 0..2_000 {
        storm.step();
    }
    assert!(most > calls.min(1_000) / 4, "only {most} calls at once: that was no storm");
    storm.harness.assert_nothing_left();
    assert_eq!(storm.harness.holdings().1.timer_entries, 0, "timers of the endpoint");
    assert!(storm.harness.media().bridges().is_empty(), "media is joined that nobody has");
    let counters = storm.harness.counters();
    assert_eq!(counters.incoming, counters.ended);
    // A party that dies while its INVITE is lost has never called.
    let unheard = calls - counters.incoming as usize;
    assert!(network.loss > 0.0 && unheard < calls / 100 || unheard == 0, "{unheard} calls never came in");
    assert_eq!(counters.refused + counters.panics, 0);

    // Every call is accounted for, with an end that fits its kind.
    let records = storm.harness.records();
    let forked = storm.made.get(&Forked).copied().unwrap_or_default();
    assert_eq!(records.len(), (calls - unheard) * 2 + forked, "a record for each leg");
    for (kind, made) in &storm.made {
        let of_kind = |record: &&Cdr| {
            record.direction == CallDirection::Inbound && record.callee.starts_with(kind.letter())
        };
        let ends: Vec<Disposition> =
            records.iter().filter(of_kind).map(|record| record.ending.disposition).collect();
        let came = if *kind == CallerDies { *made - unheard } else { *made };
        assert_eq!(ends.len(), came, "{kind:?}");
        let other = ends.iter().find(|end| !kind.dispositions().contains(end));
        assert_eq!(other, None, "{kind:?}");
        let usual = ends.iter().filter(|end| **end == kind.dispositions()[0]).count();
        assert!(usual * 2 > *made, "{kind:?}: only {usual} of {made}");
    }
}

#[test]
fn nothing_is_left_of_a_storm_of_calls_of_all_kinds() {
    storm(10_000, Network::QUIET);
}

#[test]
fn nothing_is_left_of_a_storm_on_a_bad_network() {
    storm(1_000, Network { loss: 0.03, duplicate: 0.02, delay_ms: (1, 40), seed: 7 });
}

#[test]
fn a_storm_whose_calls_are_restored_again_and_again_ends_the_same_way() {
    let network = Network { loss: 0.03, duplicate: 0.02, delay_ms: (1, 40), seed: 11 };
    storm_restored(200, network, Some(250));
}
