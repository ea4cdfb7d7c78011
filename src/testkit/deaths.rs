//! A process that ends at a moment of the test's choice, without a farewell: its calls, kept at the end of each turn in
//! which they have changed, go on in another one.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;

use super::tasks::Tasks;
use super::{FakeMedia, Harness, Rows, SwitchConfig, SwitchCounters, Turn};
use b2b_call::cdr::Cdr;
use b2b_call::controller::{EndpointId, Member};
use b2b_call::handler::ApplicationHandler;
use b2b_call::service::CallService;
use b2b_call::switch::keep::{CallStore, WrittenCall};
use b2b_call::switch::restore::{KeptPiece, Surviving, Survivor};
use b2b_call::switch::{CallSnapshot, Switch};
use b2b_call::{CallId, LegId};
use b2b_sip::endpoint::EndpointConfig;

/// The moment of a death.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Between two turns: what the first one has sent is on its way, and what comes next is lost.
    Between,
    /// The turn's calls are kept, and none of its messages has left.
    BeforeMessages,
    /// The turn did not happen, and what came in is lost.
    BeforeRecord,
}

/// What there was when the process ended, as far as it is kept.
#[derive(Debug, Clone)]
pub struct Left {
    /// Its calls.
    pub calls: Vec<CallSnapshot>,
    /// The members of rooms, by their legs.
    pub members: BTreeMap<LegId, Member>,
    /// The legs that heard music.
    pub music: Vec<LegId>,
    /// The branches whose INVITEs were delayed.
    pub delayed: Vec<LegId>,
    /// When each call was to do something by itself.
    pub deadlines: BTreeMap<CallId, Option<Instant>>,
}

/// A call as it was kept.
#[derive(Default)]
struct Kept {
    pieces: Vec<KeptPiece>,
    endpoints: Vec<(EndpointId, Vec<u8>)>,
    /// Endpoints whose media was not written.
    lost: Vec<EndpointId>,
    /// Endpoints that were asked for something after their media was written.
    outdated: Vec<EndpointId>,
    joined: Vec<(EndpointId, EndpointId)>,
}

/// What outlives a process.
#[derive(Default)]
struct Memory {
    calls: BTreeMap<CallId, Kept>,
    /// The turn under way is not kept.
    is_closed: bool,
}

/// Keeps calls, and their media with them.
#[derive(Clone)]
struct Store {
    memory: Arc<Mutex<Memory>>,
    media: Arc<FakeMedia>,
}

impl Store {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CallStore for Store {
    fn keep(&mut self, call: CallId, written: Option<WrittenCall<'_>>) -> bool {
        let mut memory = self.memory();
        if memory.is_closed {
            return true;
        }
        let Some(WrittenCall { octets, goes_on, endpoints, media_changes, .. }) = written else {
            memory.calls.remove(&call);
            return true;
        };
        let kept = memory.calls.entry(call).or_default();
        if !goes_on {
            kept.pieces.clear();
        }
        kept.pieces.push(KeptPiece { octets: Bytes::copy_from_slice(octets), written: self.media.now() });
        kept.endpoints.retain(|(it, _)| endpoints.contains(it));
        kept.lost = endpoints.iter().copied().filter(|it| self.media.is_unwritten(*it)).collect();
        if media_changes && self.media.is_behind() {
            kept.outdated = endpoints;
        } else if media_changes {
            let bridges = self.media.bridges().into_iter();
            kept.joined = bridges.filter(|(a, _)| endpoints.contains(a)).collect();
            let write = |it: EndpointId| Some((it, self.media.write(it)?));
            let written = endpoints.into_iter().filter(|it| !kept.lost.contains(it));
            kept.endpoints = written.filter_map(write).collect();
        }
        true
    }
}

/// The processes of a harness, one after another.
#[derive(Default)]
pub(super) struct Lives {
    /// Present if calls are kept.
    store: Option<Store>,
    /// The process ends after so many turns.
    doom: Option<(usize, Moment)>,
    left: Option<Left>,
    is_down: bool,
    /// Something has happened that is not kept yet: the endpoint has more events.
    is_ahead: bool,
    /// The turn under way is lost.
    is_lost: bool,
    /// What the next process finds in its socket.
    arrived: Vec<(SocketAddr, Bytes)>,
    records: Vec<Cdr>,
    last_call: Option<CallId>,
    counters: SwitchCounters,
    rows: Rows,
}

impl Harness {
    /// From now on, calls are kept for another process ([`Harness::dies_after`]).
    pub fn survives(&mut self) {
        let store = Store { memory: Arc::default(), media: self.media.clone() };
        self.keep_calls(Box::new(store.clone()));
        self.lives.store = Some(store);
    }

    /// The process ends after so many more turns.
    ///
    /// # Panics
    /// It does not [survive](Harness::survives).
    pub fn dies_after(&mut self, turns: usize, moment: Moment) {
        assert!(self.lives.store.is_some(), "calls are not kept");
        self.lives.doom = Some((turns.max(1), moment));
    }

    /// The process does not end any more.
    pub fn dies_no_more(&mut self) {
        self.lives.doom = None;
    }

    /// The process has ended, and [the next one](Harness::comes_back) has not begun.
    pub fn is_down(&self) -> bool {
        self.lives.is_down
    }

    /// Whether the process is to end, and has not.
    pub fn is_doomed(&self) -> bool {
        self.lives.doom.is_some()
    }

    /// The records of all processes since the last query.
    pub fn records(&mut self) -> Vec<Cdr> {
        self.collect_records();
        std::mem::take(&mut self.lives.records)
    }

    /// The counters of all processes.
    pub fn counters_of_all(&self) -> SwitchCounters {
        let (all, here) = (self.lives.counters, self.counters());
        SwitchCounters {
            incoming: all.incoming + here.incoming,
            dialled: all.dialled + here.dialled,
            ended: all.ended + here.ended,
            late: all.late + here.late,
            panics: all.panics + here.panics,
            ..here
        }
    }

    /// The rows of all processes.
    pub fn rows_of_all(&self) -> Rows {
        let mut rows = self.lives.rows.clone();
        rows.add(self.rows());
        rows
    }

    fn collect_records(&mut self) {
        while let Ok(record) = self.records.try_recv() {
            self.lives.last_call = self.lives.last_call.max(Some(record.call));
            self.lives.records.push(record);
        }
    }

    /// A turn of the switch; none while the process is down.
    pub(super) fn turn(&mut self, act: impl FnOnce(&mut Switch, &mut Turn<'_>)) {
        if !self.lives.is_down {
            self.turn_begins();
            act(&mut self.switch, &mut Turn { now: self.now, wall: self.wall, sip: &mut self.endpoint });
            self.turn_ends();
        }
    }

    pub(super) fn turn_begins(&mut self) {
        let is_ahead = std::mem::replace(&mut self.lives.is_ahead, true);
        let Some((turns, moment)) = &mut self.lives.doom else { return };
        *turns = turns.saturating_sub(1);
        if (*turns, *moment, is_ahead) == (0, Moment::BeforeRecord, false) {
            self.leaves();
            self.lives.is_lost = true;
            if let Some(store) = &self.lives.store {
                store.memory().is_closed = true;
            }
        }
    }

    /// The calls that have changed are kept, before the messages of the turn leave.
    pub(super) fn turn_ends(&mut self) {
        if self.lives.store.is_none() {
            return;
        }
        let turn = &mut Turn { now: self.now, wall: self.wall, sip: &mut self.endpoint };
        self.switch.step_applications(turn);
        self.lives.is_ahead = self.endpoint.has_events();
        match self.lives.doom {
            Some((0, Moment::BeforeRecord)) if self.lives.is_lost => self.ends(),
            Some((0, Moment::BeforeMessages)) if !self.lives.is_ahead => {
                self.leaves();
                self.ends();
            }
            Some(_) | None => {}
        }
    }

    /// No turn is under way.
    pub(super) fn between_turns(&mut self) {
        if self.lives.doom == Some((0, Moment::Between)) && !self.lives.is_ahead {
            self.leaves();
            self.ends();
        }
    }

    /// Notes what outlives the process.
    fn leaves(&mut self) {
        self.collect_records();
        let counters = self.counters_of_all();
        self.lives.counters = counters;
        let (calls, members, music) = (self.snapshot(), self.members(), self.with_music());
        let (delayed, deadlines) = (self.delayed(), self.deadlines());
        self.lives.left = Some(Left { calls, members, music, delayed, deadlines });
    }

    /// The answered legs, by their endpoints.
    fn of_endpoints(&self) -> HashMap<EndpointId, LegId> {
        let calls = self.snapshot();
        let legs = calls.iter().flat_map(|it| &it.legs).map(|it| it.leg);
        legs.filter_map(|leg| Some((self.switch.endpoint_of(leg)?, leg))).collect()
    }

    /// The members of rooms, by their legs.
    pub fn members(&self) -> BTreeMap<LegId, Member> {
        let (rooms, legs) = (self.media.rooms(), self.of_endpoints());
        let members = rooms.iter().flat_map(|(_, room)| &room.members);
        members.filter_map(|(endpoint, member)| Some((*legs.get(endpoint)?, *member))).collect()
    }

    /// The branches whose INVITEs are delayed, in the order of their turns.
    pub fn delayed(&self) -> Vec<LegId> {
        self.switch.delayed()
    }

    /// Whether an offer to a party of this call has no answer yet.
    pub fn is_asked(&self, call: CallId) -> bool {
        self.switch.is_asked(call)
    }

    /// When each call next does something by itself.
    pub fn deadlines(&self) -> BTreeMap<CallId, Option<Instant>> {
        self.switch.deadlines()
    }

    /// The answered legs that hear music.
    pub fn with_music(&self) -> Vec<LegId> {
        let legs = self.of_endpoints();
        self.media.music().iter().filter_map(|(endpoint, _)| legs.get(endpoint).copied()).collect()
    }

    /// Whether an answered leg hears music or a prompt.
    pub fn hears_sound(&self, leg: LegId) -> bool {
        let prompted = self.switch.endpoint_of(leg).is_some_and(|endpoint| self.media.is_playing(endpoint));
        prompted || self.with_music().contains(&leg)
    }

    fn ends(&mut self) {
        let rows = self.rows_of_all();
        (self.lives.is_ahead, self.lives.is_lost) = (false, false);
        (self.lives.rows, self.lives.is_down, self.lives.doom) = (rows, true, None);
        while self.endpoint.poll_output().is_some() {}
        (self.tasks, self.beside) = (Tasks::default(), Tasks::default());
        self.media.dies();
    }

    /// Keeps a datagram for the next process.
    pub(super) fn arrives_in_vain(&mut self, from: SocketAddr, data: Bytes) {
        self.lives.arrived.push((from, data));
    }

    /// Another process begins with these handlers, and the calls go on there. `set_up` has its service before that.
    /// Returns what there was before.
    ///
    /// # Panics
    /// The process is not [down](Harness::is_down).
    pub fn comes_back(
        &mut self,
        handlers: Vec<Arc<dyn ApplicationHandler>>,
        set_up: impl FnOnce(CallService),
    ) -> Left {
        let Lives { left: Some(left), store: Some(store), .. } = &mut self.lives else { panic!("it lives") };
        let (left, store) = (left.clone(), store.clone());
        let Memory { calls, .. } = std::mem::take(&mut *store.memory());
        self.restarted += 1;
        let seed = [200_u8.wrapping_add(self.restarted as u8); 32];
        let endpoint = EndpointConfig { seed, ..self.endpoint.config().clone() };
        let config = SwitchConfig { last_call: self.lives.last_call, ..self.switch.config().clone() };
        let mut moved = self.media.goes_on(
            calls.values().flat_map(|it| &it.endpoints),
            calls.values().flat_map(|it| &it.joined).copied(),
        );
        self.begin_anew(endpoint, config, Some(handlers));
        self.lives.is_down = false;
        set_up(self.service());
        let survivor = |(call, kept): (CallId, Kept)| {
            let own = kept.endpoints.iter().filter_map(|(it, _)| Some((*it, moved.remove(it)?)));
            let endpoints = own.collect::<HashMap<_, _>>();
            let lost = kept.lost.into_iter().map(|it| (it, "its media is not kept".to_owned())).collect();
            let Kept { pieces, outdated, .. } = kept;
            Survivor { call, pieces, endpoints, lost, outdated, ends: None, is_set_aside: false, deaths: 1 }
        };
        let calls = calls.into_iter().map(survivor).collect();
        let surviving = Surviving { calls, store: Some(Box::new(store)), ..Surviving::default() };
        self.turn(|switch, t| surviving.go_on(switch, t));
        left
    }

    /// The process reads what has arrived before it began.
    pub fn reads(&mut self) {
        for (from, data) in std::mem::take(&mut self.lives.arrived) {
            self.deliver(self.address, from, data);
        }
    }
}
