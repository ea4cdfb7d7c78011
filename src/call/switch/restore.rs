//! Restores calls from their snapshots: their journals are replayed in a switch and an endpoint of their own,
//! whose outputs are discarded, since they were sent before; then the calls are connected to the real
//! collaborators.

use std::time::{Duration, Instant, SystemTime};

use super::journaling::Journaling;
use super::nobody::nobody;
use super::run::{Mode, Run, SLACK};
use super::slots::Key;
use super::tasks::Came;
use super::waiting::{Answerer, Found, OnFound, Waits};
use super::{Done, Switch, SwitchConfig, Turn};
use crate::CallId;
use crate::controller::MediaError;
use crate::handler::HandlerAction;
use crate::journal::{Journal, Pages, Snapshot};
use crate::lookup::LookupError;
use b2b_sip::endpoint::{Endpoint, EndpointConfig};

/// Where snapshots were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakenFrom {
    /// In this process, of all calls of this switch: programs at work are not part of a snapshot and are
    /// carried over.
    Here,
    /// In another process, which is gone: so are its programs, and pending requests will get no answer.
    Elsewhere,
}

/// Calls that cannot continue.
#[derive(Debug)]
pub struct Lost {
    /// All calls that share the journal, ended ones included.
    pub calls: Vec<CallId>,
    /// The reason.
    pub why: String,
}

/// The clocks and settings with which calls continue.
struct Resumption {
    config: SwitchConfig,
    endpoint: EndpointConfig,
    now: Instant,
    wall: SystemTime,
    /// Maximum lateness of the endpoint's timers.
    slack: Duration,
}

impl Switch {
    /// Restores calls from their snapshots. They replace the calls of the switch, which must be none or the
    /// same ones; its endpoint (that of `t`) is replaced by another one with the same configuration, which
    /// first has to send and report what was unfinished in the snapshots.
    ///
    /// With the seed of the endpoint in which the snapshots were taken, new calls would get the identifiers
    /// of old ones: [`TakenFrom::Elsewhere`] needs another seed.
    ///
    /// Returns the calls that cannot continue, including those of the switch that are in no snapshot; only
    /// their histories remain.
    pub fn restore(&mut self, t: &mut Turn<'_>, snapshots: &[Snapshot], taken: TakenFrom) -> Vec<Lost> {
        self.restore_within(t, snapshots, taken, SLACK)
    }

    /// As [`Switch::restore`]; the endpoint's timers were late by no more than `slack`.
    pub fn restore_within(
        &mut self,
        t: &mut Turn<'_>,
        snapshots: &[Snapshot],
        taken: TakenFrom,
        slack: Duration,
    ) -> Vec<Lost> {
        if taken == TakenFrom::Elsewhere && !self.calls.is_empty() {
            let why = "there are calls already: restore calls before others are taken".to_owned();
            return snapshots
                .iter()
                .map(|it| Lost { calls: it.calls().to_vec(), why: why.clone() })
                .collect();
        }
        let (config, endpoint) = (self.config.clone(), t.sip.config().clone());
        let with = Resumption { config, endpoint, now: t.now, wall: t.wall, slack };
        let (mut endpoint, mut switch, mut lost) = restored(snapshots, &with);
        let is_named = |call: &CallId| snapshots.iter().any(|it| it.calls().contains(call));
        lost.extend(
            self.calls
                .ids()
                .into_iter()
                .filter(|call| !is_named(call))
                .map(|call| Lost { calls: vec![call], why: "it is in no snapshot".to_owned() }),
        );
        endpoint.set_advertised(t.sip.advertised().to_vec());
        // Identifiers outside calls were taken here: the new endpoint continues behind them.
        endpoint.go_on_from(t.sip.position());
        switch.parts = std::mem::replace(&mut self.parts, nobody());
        switch.journaling = std::mem::take(&mut self.journaling);
        switch.service = self.service.clone();
        switch.config = with.config;
        switch.carry_over(self, taken);
        for call in lost.iter().flat_map(|it| &it.calls) {
            switch.history.is_lost(*call, t.now);
        }
        (*self, *t.sip) = (switch, endpoint);
        if taken == TakenFrom::Elsewhere {
            self.answer_for_the_gone(t);
        }
        lost
    }

    /// Carries over what belongs to no call, and the programs at work on calls.
    fn carry_over(&mut self, from: &mut Switch, taken: TakenFrom) {
        (self.takes, self.mirror) = (from.takes, from.mirror.take());
        std::mem::swap(&mut self.rows, &mut from.rows);
        self.applications = std::mem::take(&mut from.applications);
        self.parting = std::mem::take(&mut from.parting);
        self.watchers = std::mem::take(&mut from.watchers);
        self.sleepers.carry_over(&mut from.sleepers);
        if taken == TakenFrom::Elsewhere {
            return;
        }
        self.counters = from.counters;
        // It has the counters of media, and incomplete records.
        std::mem::swap(&mut self.history, &mut from.history);
        for call in from.calls.ids() {
            let listeners = from.calls.get_mut(call).map(|it| std::mem::take(&mut it.listeners));
            for (leg, (handled, channels)) in from.calls.take_programs(call) {
                if let Some(it) = self.calls.leg_mut(leg) {
                    (it.handled, it.admitted.channels) = (handled, channels);
                }
            }
            if let Some(it) = self.calls.get_mut(call) {
                it.listeners = listeners.unwrap_or_default();
            }
        }
    }

    /// After a restore in another process: hands calls to their handlers again, and fails all other pending
    /// requests.
    fn answer_for_the_gone(&mut self, t: &mut Turn<'_>) {
        for (request, answerer) in self.work.asked() {
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
        match self.work.answered(request) {
            Some((call, Waits::Found(OnFound::Decide(handing)))) => {
                self.journal_resumed(t, call, request);
                self.hand_again(t, *handing);
                self.carry_out(t);
            }
            _ => self.counters.impossible("resume_handler"),
        }
    }
}

/// The calls of the snapshots, connected to stand-ins.
fn restored(snapshots: &[Snapshot], with: &Resumption) -> (Endpoint, Switch, Vec<Lost>) {
    let mut lost: Vec<Option<String>> = snapshots.iter().map(|_| None).collect();
    // A group whose replay differs must leave nothing behind: all is replayed again without it.
    let (mut run, pages) = loop {
        let (mut run, pages) = begun(snapshots, with, &mut lost);
        while run.step(&mut |_| {}) {}
        run.pass_until(run.groups.iter().map(|it| it.until).max().unwrap_or(with.now), &mut |_| {});
        let mut is_sound = true;
        for (group, (place, _)) in run.groups.iter().zip(&pages) {
            let unsent = group.missing.len();
            let why = match &group.differs {
                Some(it) => Some(format!("{} ms after it began, {}", it.at.as_millis(), it.what)),
                None if unsent > 0 => Some(format!("{unsent} messages that were sent were not sent again")),
                None => None,
            };
            is_sound &= why.is_none();
            if let (Some(place), Some(why)) = (lost.get_mut(*place), why) {
                place.get_or_insert(why);
            }
        }
        if is_sound {
            break (run, pages);
        }
    };
    let unfinished = run.unfinished();
    let Run { mut endpoint, mut switch, now, .. } = run;
    switch.look_on(now);
    endpoint.give_again(unfinished);
    switch.journaling = Journaling::Off;
    // A journal that is not continued would be incomplete.
    for (place, pages) in pages.into_iter().filter(|_| with.config.journal) {
        if let Some(snapshot) = snapshots.get(place) {
            switch.history.go_on(snapshot.calls(), pages);
        }
    }
    let lost = snapshots.iter().zip(lost);
    let lost = lost.filter_map(|(it, why)| Some(Lost { calls: it.calls().to_vec(), why: why? })).collect();
    (endpoint, switch, lost)
}

/// A replay of the calls that are not lost, and the journals that they continue, by their indices.
fn begun(
    snapshots: &[Snapshot],
    Resumption { config, endpoint, now, wall, slack }: &Resumption,
    lost: &mut [Option<String>],
) -> (Run, Vec<(usize, Pages)>) {
    // They were accepted before, whatever the limit is now.
    let config = SwitchConfig { max_calls: usize::MAX, ..config.clone() };
    let mut pages = Vec::new();
    for (place, (snapshot, lost)) in
        snapshots.iter().zip(lost.iter_mut()).enumerate().filter(|(_, it)| it.1.is_none())
    {
        let read = snapshot.taken_at(*now, *wall).and_then(|taken| Some((taken, snapshot.pages(taken)?)));
        let Some((taken, written)) = read else {
            *lost = Some("this clock has no moment for its beginning".to_owned());
            continue;
        };
        match Journal::of_pages(&written) {
            Ok(journal) if !journal.is_cut => pages.push((place, taken, written, journal)),
            Ok(_) => *lost = Some("its journal is cut".to_owned()),
            Err(error) => *lost = Some(error.to_string()),
        }
    }
    let first = pages.iter().map(|(_, _, it, _)| it.start()).min().unwrap_or(*now);
    let mut run = Run::new(config, endpoint.clone(), first, Mode::Lenient, *slack);
    let pages = pages.into_iter().map(|(place, taken, written, journal)| {
        run.add(journal, written.start(), taken);
        (place, written)
    });
    let pages = pages.collect();
    (run, pages)
}
