//! Calls that were written go on: in a switch of another process, or anew in this one.

use std::any::Any;

use b2b_base::ages;
use bytes::Bytes;
use serde::Deserialize;

use crate::CallId;
use crate::controller::MediaError;
use crate::handler::HandlerAction;
use crate::lookup::LookupError;
use crate::service::command::{read_replies, write_replies};
use crate::switch::Switch;
use crate::switch::calls::{Calls, Generations};
use crate::switch::export::{NotWritten, Octets, VERSION};
use crate::switch::replay::nobody::nobody;
use crate::switch::state::call::Call;
use crate::switch::state::recording::Ending;
use crate::switch::state::transfer::PassedRefer;
use crate::switch::state::waits::{Answerer, Found, OnFound, Waits};
use crate::switch::turn::Turn;
use crate::switch::work::sleepers::DelayedBranch;
use crate::switch::work::slots::Key;
use crate::switch::work::tasks::Came;
use crate::switch::work::tasks::Done;
use b2b_sip::endpoint::{Endpoint, Lingering, TakenIn, UsageSnapshot};
use b2b_sip::ids::written::{self, Names};

/// Calls that were read.
#[derive(Deserialize)]
struct Read {
    version: u16,
    calls: Vec<(CallId, Call)>,
    waits: Vec<(Key, (Option<CallId>, Waits))>,
    passed_refers: Vec<PassedRefer>,
    recordings_ending: Ending,
    delayed_branches: Vec<DelayedBranch>,
    generations: Generations,
    requests: u32,
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
    /// The switch has calls.
    #[error("there are calls already; take written calls in before others")]
    NotEmpty,
    /// The number of a call, or of a leg or a bridge of it, comes twice, or is beyond what a switch takes in.
    #[error("the number of call {}, or of a leg or bridge of it, comes twice or is too large", .0.0)]
    Number(CallId),
    /// They could not be written.
    #[error(transparent)]
    NotWritten(#[from] NotWritten),
}

impl Switch {
    /// Takes in the calls that another switch has written ([`Switch::write_calls`]), under their numbers, before this
    /// one has calls and its endpoint has sent a request. Their programs are in another process, and so is who would answer their pending requests: handlers
    /// get their calls again, if they resume them, and the other requests fail. Their journals are not continued.
    ///
    /// With the seed of the endpoint that they come from, new calls would get the identifiers of old ones: this
    /// endpoint needs another one.
    ///
    /// # Errors
    /// See [`NotTakenIn`].
    pub fn take_in(&mut self, t: &mut Turn<'_>, octets: &[u8]) -> Result<Vec<CallId>, NotTakenIn> {
        let (calls, requests) = self.read(t, octets, Vec::new())?;
        for call in &calls {
            if let Some(it) = self.calls.get(*call).filter(|_| !self.common.world.history.is_known(*call)) {
                let wall = t.wall.checked_sub(t.now.saturating_duration_since(it.began)).unwrap_or(t.wall);
                self.common.world.history.open(*call, it.began, wall);
            }
        }
        self.answer_for_the_gone(t, requests);
        Ok(calls)
    }

    /// Writes all calls, and reads them into another endpoint and another state, within this process: programs at
    /// work are carried over.
    ///
    /// # Errors
    /// See [`NotTakenIn`].
    pub fn renew(&mut self, t: &mut Turn<'_>) -> Result<(), NotTakenIn> {
        let (octets, replies) = write_replies(|| self.write_calls(t.now, t.sip));
        let mut endpoint = Endpoint::new(t.sip.config().clone());
        endpoint.set_advertised(t.sip.advertised().to_vec());
        endpoint.go_on_from(t.sip.position());
        let (mut switch, _) = Switch::new(self.common.config.clone(), nobody());
        switch.read(&mut Turn { now: t.now, wall: t.wall, sip: &mut endpoint }, &octets?, replies)?;
        switch.carry_over(self);
        (*self, *t.sip) = (switch, endpoint);
        Ok(())
    }

    /// Reads calls; returns them, and their pending requests.
    fn read(
        &mut self,
        t: &mut Turn<'_>,
        octets: &[u8],
        replies: Vec<Box<dyn Any>>,
    ) -> Result<(Vec<CallId>, Vec<Key>), NotTakenIn> {
        let Octets { usages, lingering, calls } = rmp_serde::from_slice(octets)?;
        let read =
            |names| written::renamed(names, || ages::at(t.now, || rmp_serde::from_slice::<Read>(&calls)));
        // Once without the new names of dialogs, to see whether all can be taken in.
        let seen = read(Names::default())?;
        if seen.version != VERSION {
            return Err(NotTakenIn::Version(seen.version));
        }
        if !self.calls.is_empty() {
            return Err(NotTakenIn::NotEmpty);
        }
        let mut trial = Calls::default();
        for (id, call) in seen.calls {
            if !trial.can_put(id, &call) {
                return Err(NotTakenIn::Number(id));
            }
            trial.put(id, call);
        }
        let usage =
            |octets: &Bytes| UsageSnapshot::read(t.now, &mut rmp_serde::Deserializer::new(&octets[..]));
        let usages = usages.iter().map(usage).collect::<Result<Vec<_>, _>>()?;
        let lingering = ages::at(t.now, || rmp_serde::from_slice::<Lingering>(&lingering))?;
        let mut names = Names::default();
        for usage in usages {
            let old = usage.id();
            let TakenIn { usage, requests } = t.sip.take_in(t.now, usage);
            names.usages.insert(old, usage);
            names.requests.extend(requests);
        }
        names.requests.extend(t.sip.take_in_lingering(t.now, lingering));
        let read = read_replies(replies, || read(names))?;
        let taken: Vec<CallId> = read.calls.iter().map(|(id, _)| *id).collect();
        for (id, call) in read.calls {
            self.calls.put(id, call);
            self.arm(t.now, id);
        }
        let mut requests = Vec::with_capacity(read.waits.len());
        for (request, (call, waits)) in read.waits {
            requests.push(self.common.work.put(request, call, waits));
        }
        self.common.passed_refers.extend(read.passed_refers);
        self.common.recordings_ending = read.recordings_ending;
        self.common.sleepers.take_in(read.delayed_branches);
        self.calls.go_on_behind(read.generations);
        self.common.work.go_on_behind(read.requests);
        Ok((taken, requests))
    }

    /// Carries over what belongs to no call, and the programs at work on calls.
    fn carry_over(&mut self, from: &mut Switch) {
        self.common.world.parts = std::mem::replace(&mut from.common.world.parts, nobody());
        self.common.world.journaling = std::mem::take(&mut from.common.world.journaling);
        self.common.service = from.common.service.clone();
        (self.common.takes, self.common.mirror, self.common.out.counters) =
            (from.common.takes, from.common.mirror.take(), from.common.out.counters);
        std::mem::swap(&mut self.common.out.rows, &mut from.common.out.rows);
        self.common.applications = std::mem::take(&mut from.common.applications);
        self.common.parting = std::mem::take(&mut from.common.parting);
        self.common.watchers = std::mem::take(&mut from.common.watchers);
        self.common.sleepers.carry_over(&mut from.common.sleepers);
        std::mem::swap(&mut self.common.world.history, &mut from.common.world.history);
        self.common.world.handled = std::mem::take(&mut from.common.world.handled);
        self.common.world.listeners = std::mem::take(&mut from.common.world.listeners);
        for (leg, channels) in from.calls.take_channels() {
            if let Some(it) = self.calls.leg_mut(leg) {
                it.admitted.channels = channels;
            }
        }
    }

    /// Hands calls to their handlers again, and fails all other requests of another process.
    fn answer_for_the_gone(&mut self, t: &mut Turn<'_>, requests: Vec<Key>) {
        for (request, answerer) in
            self.common.work.asked().into_iter().filter(|(it, _)| requests.contains(it))
        {
            let done = match answerer {
                Answerer::Handler => {
                    self.resume_handler(t, request);
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

    fn resume_handler(&mut self, t: &mut Turn<'_>, request: Key) {
        match self.common.work.answered(request) {
            Some((call, Waits::Found(OnFound::Decide(handing)))) => {
                self.common.journal_resumed(t, call, request);
                self.hand_again(*handing);
                self.carry_out(t);
            }
            _ => self.common.out.counters.impossible("resume_handler"),
        }
    }
}
