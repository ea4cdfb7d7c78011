//! Calls that were written go on: in another switch, which may have calls of its own, or anew in this one.

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Deserialize;

use crate::application::Saved;
use crate::call_fsm::CallState;
use crate::channels::Channels;
use crate::controller::{EndpointId, MediaError};
use crate::handler::HandlerAction;
use crate::journal::pieces::{ReadPiece, Rest, is_over, text};
use crate::lookup::{LookupError, ResolvedContact};
use crate::service::Watched;
use crate::service::command::{Command, Reply, read_replies, write_replies};
use crate::switch::Switch;
use crate::switch::calls::Generations;
use crate::switch::export::{NotWritten, Octets, Parted, VERSION};
use crate::switch::keep::{CallStore, Kept};
use crate::switch::replay::nobody::nobody;
use crate::switch::replay::run::{Run, SLACK};
use crate::switch::state::call::{Call, Purpose};
use crate::switch::state::input::CallInput;
use crate::switch::state::leg::Leg;
use crate::switch::state::recording::Ended;
use crate::switch::state::transfer::PassedRefer;
use crate::switch::state::waits::{Answerer, Found, OnFound, Waits};
use crate::switch::turn::Turn;
use crate::switch::work::sleepers::DelayedBranch;
use crate::switch::work::slots::Key;
use crate::switch::work::tasks::{Came, Done};
use crate::{CallId, ENDPOINT, LegId};
use b2b_base::ages;
use b2b_base::numbers;
use b2b_base::stepping::Stepping;
use b2b_sip::endpoint::{Endpoint, HopRule, Lingering, TakenIn, UsageSnapshot};
use b2b_sip::ids::written::{self, Names};

/// How many calls are taken up in a turn, if their journals are run.
const PART: usize = 16;

/// Calls that were read.
#[derive(Deserialize)]
struct Read {
    version: u16,
    calls: Vec<(CallId, Call)>,
    waits: Vec<(Key, (Option<CallId>, Waits))>,
    passed_refers: Vec<PassedRefer>,
    recordings_ending: Vec<Ended>,
    delayed_branches: Vec<DelayedBranch>,
    #[serde(default)]
    programs: Vec<(Key, Bytes)>,
    generations: Generations,
    requests: u32,
}

/// A request that was not answered, and the machine that was to answer it.
pub(crate) struct Pending {
    request: Key,
    saved: Option<Saved>,
}

/// Why written calls are not taken in. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum NotTakenIn {
    /// They are damaged, or no calls.
    #[error("these are no calls: {0}")]
    Unread(#[from] rmp_serde::decode::Error),
    /// They are of another version.
    #[error("calls of version {0}, and this program has version {VERSION}")]
    Version(u16),
    /// They are here, or calls that have their dialogs or media endpoints.
    #[error(
        "the calls, or others with their dialogs or media endpoints, are here already; write and take in each once; where media is another, say which endpoints it has opened again"
    )]
    Here,
    /// The number of a call, or of a leg or a bridge of it, comes twice.
    #[error("the number of call {}, or of a leg or bridge of it, comes twice; write the calls again", .0.0)]
    Number(CallId),
    /// They could not be written.
    #[error(transparent)]
    NotWritten(#[from] NotWritten),
    /// What a journal has of a call cannot be run again.
    #[error("its journal cannot be run again: {0}")]
    NotRun(String),
}

/// What is different here from where calls were written.
#[derive(Debug, Default)]
pub struct Moved {
    /// Endpoints that media has opened again, by their former numbers; all others are as before.
    pub endpoints: HashMap<EndpointId, EndpointId>,
    /// When they were written; `None`: now.
    pub written: Option<Instant>,
    /// All others are gone: what has one of them has none here.
    pub others_gone: bool,
}

/// Marks the number of an endpoint that is not here. No carrier gives such numbers: it is the highest bit of a place on a
/// media thread.
pub(crate) const NOBODYS: u64 = 1 << 55;

/// A call of a process that has ended. Not `Debug`: it has the keys of its media.
pub struct Survivor {
    /// Its number in that process.
    pub call: CallId,
    /// What was kept of it, in order.
    pub pieces: Vec<KeptPiece>,
    /// Endpoints that media has opened again, by their former numbers. Legs with others end.
    pub endpoints: HashMap<EndpointId, EndpointId>,
    /// Why others are not there, by their former numbers.
    pub lost: Vec<(EndpointId, String)>,
    /// Those, by their former numbers, that media was asked about after it was written: their parties are asked again.
    pub outdated: Vec<EndpointId>,
    /// Why it ends at once; `None`: it goes on.
    pub ends: Option<String>,
    /// It is taken as it was last written, if it was: what its journal has since may have brought the process down.
    pub is_set_aside: bool,
    /// How many deaths of the process it has outlived since it was last written as it is.
    pub deaths: u32,
}

impl Survivor {
    /// Whether it is over, and only records or refusals are left of it.
    pub fn is_over(&self) -> bool {
        let [piece] = &self.pieces[..] else { return false };
        rmp_serde::from_slice(&piece.octets).is_ok_and(|piece| is_over(&[piece]))
    }
}

/// What a [`CallStore`] was given of a call.
pub struct KeptPiece {
    /// [`WrittenCall::octets`](crate::switch::keep::WrittenCall::octets).
    pub octets: Bytes,
    /// [`WrittenCall::at`](crate::switch::keep::WrittenCall::at).
    pub written: Instant,
}

/// The journal that was kept of a call since it was last written as it is, as text for people.
pub fn journal(pieces: impl Iterator<Item = Bytes>) -> String {
    text(pieces.map_while(|octets| rmp_serde::from_slice(&octets).ok()).collect())
}

/// Calls of a process that has ended, and where those of this one are written.
#[derive(Default)]
pub struct Surviving {
    /// The calls.
    pub calls: Vec<Survivor>,
    /// `None`: nowhere.
    pub store: Option<Box<dyn CallStore>>,
    /// Where it is written down what is worked on; `None`: nowhere.
    pub stepping: Option<Stepping>,
    /// More calls come in further turns; no message is read before.
    pub is_part: bool,
}

impl Surviving {
    /// The same in parts, each for a turn of its own. First come calls without a journal to be run: applications decide on
    /// them, and their callers hear nothing before those have begun again.
    pub(crate) fn parts(mut self) -> Vec<Surviving> {
        let is_run = |call: &Survivor| call.pieces.len() > 1;
        let (run, first) = std::mem::take(&mut self.calls).into_iter().partition(is_run);
        let mut run: Vec<Survivor> = run;
        self.calls = first;
        let mut parts = vec![self];
        while !run.is_empty() {
            let rest = run.split_off(run.len().min(PART));
            let calls = std::mem::replace(&mut run, rest);
            parts.push(Surviving { calls, ..Surviving::default() });
        }
        let last = parts.len() - 1;
        parts.iter_mut().take(last).for_each(|part| part.is_part = true);
        parts
    }

    /// Has the calls go on in this switch, each by itself; then it reads messages.
    pub fn go_on(self, switch: &mut Switch, t: &mut Turn<'_>) {
        let Surviving { calls, store, stepping, is_part } = self;
        if stepping.is_some() {
            switch.common.works_on.stepping = stepping;
        }
        if let Some(store) = store {
            switch.common.kept = Some(Kept::new(store));
            switch.common.world.is_kept = true;
            t.sip.tell_ahead();
        }
        let mut records = Vec::new();
        for survivor in calls {
            let call = survivor.call;
            let (Parted { unwritten, unsettled, generations }, is_over) = parted(&survivor.pieces);
            generations.into_iter().for_each(|it| switch.calls.go_on_behind(it));
            if let Some(unsettled) = unsettled {
                t.sip.take_in_lingering(t.now, unsettled);
            }
            if is_over {
                switch.common.kept.iter_mut().for_each(|kept| kept.changes(call, false));
            } else {
                switch.take_up(t, survivor);
            }
            // A leg that goes on has ended in a part of the journal that cannot be run again.
            let has_ended = |leg| switch.calls.leg(leg).is_none_or(|other| other.call != call);
            records.extend(unwritten.into_iter().filter(|record| has_ended(record.leg)));
        }
        // Last: they are in memory until the end of the turn, and in their file soon after this.
        records.into_iter().for_each(|record| switch.common.hand_over(record));
        switch.common.reads |= !is_part;
    }
}

impl Switch {
    /// Has a call go on, or ends it.
    fn take_up(&mut self, t: &mut Turn<'_>, survivor: Survivor) {
        let Survivor { call, pieces, endpoints, lost, outdated, ends, is_set_aside, deaths } = survivor;
        // Its journal may break this process, too.
        self.common.works_on.call(call);
        let taken = match is_set_aside {
            // Without a value only its journal knows its dialogs: it is run, unless that was tried before.
            true => self.take_in_value(t, &pieces, &endpoints).or_else(|why| match deaths {
                1 => self.take_in_pieces(t, call, &pieces, &endpoints),
                _ => Err(why),
            }),
            false => self.take_in_pieces(t, call, &pieces, &endpoints),
        };
        if let Ok(calls) = &taken {
            // The media of before reports nothing more.
            self.common.recordings_ending.0.retain(|(_, of, _)| !calls.contains(of));
            // What was opened for legs that were begun after the value, if it goes on from that.
            for endpoint in endpoints.values().filter(|it| self.calls.of_endpoint(**it).is_none()) {
                self.common.world.parts.controller.release_endpoint(*endpoint);
            }
        }
        match (taken, ends) {
            (Ok(calls), None) => {
                calls.iter().for_each(|call| self.in_call(*call, |step| step.call.resumed += deaths));
                let here = |leg: &Leg| leg.media.endpoint.is_none_or(|it| it.0 & NOBODYS == 0);
                let of_calls = calls.iter().filter_map(|call| self.calls.get(*call));
                let legs = of_calls.flat_map(|it| it.legs.iter()).filter(|(_, leg)| here(leg));
                let here: Vec<LegId> = legs.map(|(leg, _)| leg).collect();
                for (leg, reason) in self.without_media(&calls, &lost) {
                    self.input(t, leg, CallInput::ProcessLost { leg, reason, goes_on: true });
                    self.carry_out(t);
                }
                // Those of the others go on once they have an endpoint.
                calls.iter().for_each(|call| self.in_call(*call, |step| step.record_on(t.at(), &here)));
                for before in outdated {
                    let leg = endpoints.get(&before).and_then(|it| self.calls.of_endpoint(*it));
                    let Some(leg) = leg else {
                        self.common.out.counters.late();
                        continue;
                    };
                    self.in_call_of(leg, |step| step.with_outdated_media(t.at(), leg));
                }
                // What was asked of media to tell them has no answer.
                here.iter().for_each(|leg| self.in_call_of(*leg, |step| step.tell_again(*leg)));
                self.carry_out(t);
                // Their endpoints have other numbers here.
                if let Some(kept) = &mut self.common.kept {
                    calls.iter().for_each(|call| kept.changes(*call, false));
                }
            }
            (Ok(calls), Some(why)) => {
                let of_calls = calls.iter().filter_map(|call| self.calls.get(*call));
                let legs: Vec<_> = of_calls.flat_map(|it| it.legs.ids()).collect();
                for leg in legs {
                    let lost = CallInput::ProcessLost { leg, reason: why.clone(), goes_on: false };
                    self.input(t, leg, lost);
                    self.carry_out(t);
                }
            }
            (Err(error), _) => {
                tracing::error!("call {} of the process before does not go on: {error}", call.0);
                for endpoint in endpoints.values() {
                    self.common.world.parts.controller.release_endpoint(*endpoint);
                }
                self.common.kept.iter_mut().for_each(|kept| kept.changes(call, false));
            }
        }
    }

    /// The legs of these calls whose endpoints are not here, and why.
    fn without_media(&self, calls: &[CallId], lost: &[(EndpointId, String)]) -> Vec<(LegId, String)> {
        let why = |endpoint: EndpointId| {
            let of_it = lost.iter().find(|(before, _)| before.0 | NOBODYS == endpoint.0);
            of_it.map_or_else(|| "its media has gone".to_owned(), |(_, why)| why.clone())
        };
        let legs = calls.iter().filter_map(|call| self.calls.get(*call)).flat_map(|call| call.legs.iter());
        let without =
            legs.filter_map(|(leg, it)| Some((leg, it.media.endpoint.filter(|it| it.0 & NOBODYS != 0)?)));
        without.map(|(leg, endpoint)| (leg, why(endpoint))).collect()
    }

    /// Takes in a call that was kept in pieces. If what its journal has cannot be run again, it goes on as it was last
    /// written.
    fn take_in_pieces(
        &mut self,
        t: &mut Turn<'_>,
        call: CallId,
        pieces: &[KeptPiece],
        endpoints: &HashMap<EndpointId, EndpointId>,
    ) -> Result<Vec<CallId>, NotTakenIn> {
        let why = match self.run_pieces(t, pieces, SLACK) {
            Ok(Some((octets, written))) => {
                return self.take_in(t, &octets, &moved(endpoints, written));
            }
            Ok(None) => None,
            Err(why) => Some(why),
        };
        let taken = self.take_in_value(t, pieces, endpoints);
        match why {
            Some(why) if taken.is_ok() => {
                tracing::warn!("call {} goes on as it was last written: {why}", call.0);
                taken
            }
            Some(why) => Err(why),
            None => taken,
        }
    }

    /// Takes in a call as it was last written, without what its journal has since.
    fn take_in_value(
        &mut self,
        t: &mut Turn<'_>,
        pieces: &[KeptPiece],
        endpoints: &HashMap<EndpointId, EndpointId>,
    ) -> Result<Vec<CallId>, NotTakenIn> {
        let none = || NotTakenIn::NotRun("it was never written as it is".to_owned());
        let (value, written) = last_value(pieces)?.ok_or_else(none)?;
        self.take_in(t, &value, &moved(endpoints, written))
    }

    /// A call as octets at the end of its journal, and when that was written; `None`: there is no journal after its
    /// last value. `slack`: how late the timers of the endpoint may have fired.
    ///
    /// # Errors
    /// The journal cannot be run again.
    #[doc(hidden)]
    pub fn run_pieces(
        &self,
        t: &mut Turn<'_>,
        pieces: &[KeptPiece],
        slack: Duration,
    ) -> Result<Option<(Bytes, Instant)>, NotTakenIn> {
        let Some(last) = pieces.last() else { return Ok(None) };
        let read = |piece: &KeptPiece| rmp_serde::from_slice::<ReadPiece>(&piece.octets);
        let all = pieces.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let rest = Rest::of(all).map_err(|error| NotTakenIn::NotRun(error.to_string()))?;
        let Some(rest) = rest else { return Ok(None) };
        let octets = self.run_again(t, rest, slack).map_err(NotTakenIn::NotRun)?;
        Ok(Some((octets.into(), last.written)))
    }

    /// The call at the end of its journal, as octets.
    fn run_again(&self, t: &mut Turn<'_>, rest: Rest, slack: Duration) -> Result<Vec<u8>, String> {
        let mut run = Run::going_on(self.common.config.clone(), rest, t.now, slack)
            .map_err(|error| error.to_string())?;
        run.endpoint.swap_udp(t.sip);
        // What broke the process before must not break this one.
        let again = || Channels::default().taking(|| run.run_to_the_end());
        let octets = catch_unwind(AssertUnwindSafe(again)).unwrap_or_else(|_| Err("a panic".to_owned()));
        run.endpoint.swap_udp(t.sip);
        octets
    }
}

/// What is left of legs of a call that are over, and whether there is nothing else of it.
fn parted(pieces: &[KeptPiece]) -> (Parted, bool) {
    // What cannot be read is told by who reads the call.
    let read =
        |piece: &KeptPiece| Some((piece.written, rmp_serde::from_slice::<ReadPiece>(&piece.octets).ok()?));
    let Some((written, last)) = pieces.last().and_then(read) else { return Default::default() };
    let parted = last.parted.and_then(|octets| ages::at(written, || rmp_serde::from_slice(&octets)).ok());
    (parted.unwrap_or_default(), pieces.len() == 1 && last.head.is_none())
}

fn moved(endpoints: &HashMap<EndpointId, EndpointId>, written: Instant) -> Moved {
    Moved { endpoints: endpoints.clone(), written: Some(written), others_gone: true }
}

/// The last piece that has the call itself.
fn last_value(pieces: &[KeptPiece]) -> Result<Option<(Bytes, Instant)>, NotTakenIn> {
    for piece in pieces.iter().rev() {
        let read: ReadPiece = rmp_serde::from_slice(&piece.octets)?;
        if let Some(head) = read.head {
            return Ok(head.value.map(|value| (value, piece.written)));
        }
    }
    Ok(None)
}

/// Whether a call was begun for somebody in the process before: it rings, or its party is alone, and nothing else would
/// ever end it.
fn is_nobodys(call: &Call) -> bool {
    let is_awaited = match call.dialling.as_deref().map(|it| &it.purpose) {
        Some(Purpose::Originate { reply, .. }) => !reply.is_closed(),
        Some(Purpose::Caller { .. } | Purpose::Transfer { .. }) => true,
        None => false,
    };
    // One that waits for commands is in another state.
    let is_alone = call.state == CallState::OutgoingCall && call.bridge.is_none() && !call.is_asked();
    is_alone && !is_awaited && call.application.is_none()
}

impl Switch {
    /// Takes in calls that another switch has written ([`Switch::write_calls`], [`Switch::write_call`]); returns their
    /// numbers. A number that is free here is kept, for calls, legs and bridges alike; another one is new. Their
    /// programs are in another process, and so is who would answer their pending requests: handlers get their calls
    /// again, if they resume them, and the other requests fail. Their journals are not continued.
    ///
    /// With the seed of the endpoint that they come from, new calls would get the identifiers of old ones: this
    /// endpoint needs another one.
    ///
    /// # Errors
    /// See [`NotTakenIn`].
    pub fn take_in(
        &mut self,
        t: &mut Turn<'_>,
        octets: &[u8],
        moved: &Moved,
    ) -> Result<Vec<CallId>, NotTakenIn> {
        let (calls, requests) = self.read(t, octets, moved, Vec::new())?;
        for call in &calls {
            if let Some(it) = self.calls.get(*call) {
                let wall = t.wall.checked_sub(t.now.saturating_duration_since(it.began)).unwrap_or(t.wall);
                let history = &mut self.common.world.history;
                history.open(*call, it.began, wall);
                for (leg, usage) in it.legs.iter().filter_map(|(leg, it)| Some((leg, it.usage?))) {
                    t.sip
                        .dialog(usage)
                        .iter()
                        .for_each(|dialog| history.leg(*call, leg, dialog.call_id, None));
                }
                if let Some(bridge) = &it.bridge {
                    history.talk(*call, bridge.id, [bridge.a, bridge.b], t.now);
                }
            }
        }
        self.judge_hops_again(t, &calls);
        self.answer_for_the_gone(t, requests);
        for call in &calls {
            let Some(it) = self.calls.get_mut(*call) else { continue };
            if let Some(Purpose::Caller { reply, .. }) = it.dialling.as_deref_mut().map(|it| &mut it.purpose)
                && reply.as_ref().is_some_and(Reply::is_closed)
            {
                // Until an application awaits it, a failure ends the caller.
                *reply = None;
            }
            if is_nobodys(it) {
                self.obey(t, Command::HangupCall { call: *call, reason: None, reply: Reply::default() });
            }
        }
        Ok(calls)
    }

    /// Writes all calls, and reads them into another endpoint and another state, within this process: programs at
    /// work are carried over.
    ///
    /// # Errors
    /// See [`NotTakenIn`].
    pub fn renew(&mut self, t: &mut Turn<'_>) -> Result<(), NotTakenIn> {
        let (octets, replies) = write_replies(|| self.write_calls(t.now, t.sip));
        let (octets, mut endpoint) = (octets?, Endpoint::new(t.sip.config().clone()));
        endpoint.set_advertised(t.sip.advertised().to_vec());
        endpoint.go_on_from(t.sip);
        let (mut switch, _) = Switch::new(self.common.config.clone(), nobody());
        let read = switch.read(
            &mut Turn { now: t.now, wall: t.wall, sip: &mut endpoint },
            &octets,
            &Moved::default(),
            replies,
        );
        read.inspect_err(|_| t.sip.go_on_from(&mut endpoint))?;
        switch.carry_over(self);
        (*self, *t.sip) = (switch, endpoint);
        Ok(())
    }

    /// Reads calls; returns them, and their pending requests.
    pub(crate) fn read(
        &mut self,
        t: &mut Turn<'_>,
        octets: &[u8],
        moved: &Moved,
        replies: Vec<Box<dyn Any>>,
    ) -> Result<(Vec<CallId>, Vec<Pending>), NotTakenIn> {
        let Octets { usages, lingering, calls } = rmp_serde::from_slice(octets)?;
        let written = moved.written.unwrap_or(t.now);
        let read = || ages::at(written, || rmp_serde::from_slice::<Read>(&calls));
        let endpoints = moved.endpoints.iter().map(|(before, now)| ((ENDPOINT, before.0), now.0)).collect();
        // Once as they are, to see whether all can be taken in, and which numbers they have.
        let (seen, mut numbers) = numbers::renumbered(endpoints, read);
        let seen = seen?;
        let of_others = |kind: u8, before: u64| {
            kind == ENDPOINT && moved.others_gone && !moved.endpoints.contains_key(&EndpointId(before))
        };
        for ((kind, before), here) in &mut numbers {
            *here |= if of_others(*kind, *before) { NOBODYS } else { 0 };
        }
        if seen.version != VERSION {
            return Err(NotTakenIn::Version(seen.version));
        }
        let usage =
            |octets: &Bytes| UsageSnapshot::read(written, &mut rmp_serde::Deserializer::new(&octets[..]));
        let usages = usages.iter().map(usage).collect::<Result<Vec<_>, _>>()?;
        let lingering = ages::at(written, || rmp_serde::from_slice::<Lingering>(&lingering))?;
        let mut known = HashSet::new();
        for (id, call) in &seen.calls {
            let legs = call.legs.ids().map(Watched::Leg);
            let bridge = call.bridge.iter().map(|it| Watched::Bridge(it.id));
            if !legs.chain(bridge).chain([Watched::Call(*id)]).all(|it| known.insert(it)) {
                return Err(NotTakenIn::Number(*id));
            }
        }
        let mut endpoints = numbers.iter().filter(|((kind, _), _)| *kind == ENDPOINT);
        if endpoints.any(|(_, here)| self.calls.of_endpoint(EndpointId(*here)).is_some())
            || usages.iter().any(|it| t.sip.has(it))
        {
            return Err(NotTakenIn::Here);
        }
        let mut names = Names::default();
        for usage in usages {
            let old = usage.id();
            let TakenIn { usage, requests } = t.sip.take_in(t.now, usage);
            names.usages.insert(old, usage);
            names.requests.extend(requests);
        }
        names.requests.extend(t.sip.take_in_lingering(t.now, lingering));
        self.calls.go_on_behind(seen.generations);
        self.calls.renumber(&mut numbers);
        let read = || written::renamed(names, || read_replies(replies, read));
        let channels = self.common.world.parts.admission.channels().unwrap_or_default();
        let (read, numbers) = numbers::renumbered(numbers, || channels.taking(read));
        let read = read?;
        let mut programs: HashMap<Key, Bytes> = read.programs.into_iter().collect();
        let taken: Vec<CallId> = read.calls.iter().map(|(id, _)| *id).collect();
        for (id, mut call) in read.calls {
            if moved.others_gone {
                call.recordings.forget_number();
                call.legs.each_mut().for_each(|(_, leg)| leg.recordings.forget_number());
            }
            self.calls.put(id, call);
            self.arm(t.now, id);
        }
        self.common.work.go_on_behind(read.requests);
        let mut requests = Vec::with_capacity(read.waits.len());
        for (request, (call, waits)) in read.waits {
            let saved = programs.remove(&request);
            let saved = saved.map(|octets| Saved::elsewhere(octets, written, numbers.clone()));
            let dials = match waits {
                Waits::Found(OnFound::Dial { call }) => self.calls.get_mut(call),
                _ => None,
            };
            let request = self.common.work.put(request, call, waits);
            if let Some(dialling) = dials.and_then(|it| it.dialling.as_mut()) {
                dialling.lookup = Some(request);
            }
            requests.push(Pending { request, saved });
        }
        self.common.passed_refers.extend(read.passed_refers);
        for (id, call, leg) in read.recordings_ending {
            self.common.recordings_ending.add(id, call, leg);
        }
        self.common.sleepers.take_in(read.delayed_branches);
        Ok((taken, requests))
    }

    /// Carries over what belongs to no call, and the programs at work on calls.
    fn carry_over(&mut self, from: &mut Switch) {
        self.common.world.parts = std::mem::replace(&mut from.common.world.parts, nobody());
        self.common.world.journaling = std::mem::take(&mut from.common.world.journaling);
        self.common.world.is_kept = from.common.world.is_kept;
        self.common.works_on = std::mem::take(&mut from.common.works_on);
        self.common.service = from.common.service.clone();
        (self.common.takes, self.common.mirror, self.common.out.counters) =
            (from.common.takes, from.common.mirror.take(), from.common.out.counters);
        (self.common.kept, self.common.reads) = (from.common.kept.take(), from.common.reads);
        std::mem::swap(&mut self.common.out.rows, &mut from.common.out.rows);
        self.common.applications = std::mem::take(&mut from.common.applications);
        self.common.parting = std::mem::take(&mut from.common.parting);
        self.common.watchers = std::mem::take(&mut from.common.watchers);
        self.common.sleepers.carry_over(&mut from.common.sleepers);
        std::mem::swap(&mut self.common.world.history, &mut from.common.world.history);
        self.common.world.handled = std::mem::take(&mut from.common.world.handled);
        self.common.world.listeners = std::mem::take(&mut from.common.world.listeners);
        for (leg, admitted) in from.calls.take_admitted() {
            if let Some(it) = self.calls.leg_mut(leg) {
                it.admitted = admitted;
            }
        }
    }

    /// What is written of calls does not say who judges their next hops.
    fn judge_hops_again(&mut self, t: &mut Turn<'_>, calls: &[CallId]) {
        let Switch { calls: table, common } = self;
        let admission = &mut common.world.parts.admission;
        for (_, leg) in calls.iter().filter_map(|call| table.get(*call)).flat_map(|it| it.legs.iter()) {
            let Some(usage) = leg.usage else { continue };
            let flow = t.sip.dialog(usage).and_then(|dialog| dialog.flow);
            let hops = match (&leg.contact, flow) {
                (Some(contact), flow) => {
                    let contact = ResolvedContact { flow: flow.or(contact.flow), ..(**contact).clone() };
                    admission.hops_of_contact(&contact)
                }
                (None, Some(flow)) => admission.hops_of_caller(&leg.identity.party, &flow),
                (None, None) => continue,
            };
            // Nobody judges them: they stay as written.
            if matches!(hops, HopRule::Follow) {
                continue;
            }
            if let Err(error) = t.sip.set_hops(usage, hops) {
                tracing::debug!("a call that has ended: {error}");
            }
        }
    }

    /// Hands calls to their handlers again, and fails all other requests of another process.
    fn answer_for_the_gone(&mut self, t: &mut Turn<'_>, requests: Vec<Pending>) {
        for Pending { request, saved } in requests {
            let Some(answerer) = self.common.work.answerer(request) else { continue };
            let done = match answerer {
                Answerer::Handler => {
                    self.resume_handler(t, request, saved.as_ref());
                    continue;
                }
                Answerer::Media => Came::Media(request, Box::new(Err(MediaError::Stopped))),
                Answerer::Contacts => {
                    let (target, why) = (String::new(), "it was asked before calls were restored".to_owned());
                    let found = Found::Contacts(Err(LookupError::Unavailable { target, why }));
                    Came::Found(request, Box::new(Ok(found)))
                }
                Answerer::Redirection => Came::Found(request, Box::new(Ok(Found::Named(Vec::new())))),
                Answerer::Target => {
                    let refuses = HandlerAction::Reject { status: 503, reason: String::new() };
                    Came::Found(request, Box::new(Ok(Found::Action(refuses))))
                }
                Answerer::Nothing => Came::Dropped(request),
            };
            self.done(t, Done(done));
        }
    }

    fn resume_handler(&mut self, t: &mut Turn<'_>, request: Key, saved: Option<&Saved>) {
        match self.common.work.answered(request) {
            Some((call, Waits::Found(OnFound::Decide(handing)))) => {
                self.common.journal_resumed(t, call, request);
                self.hand_again(t, *handing, saved);
                self.carry_out(t);
            }
            _ => self.common.out.counters.impossible("resume_handler"),
        }
    }
}
