//! Calls to callees that somebody is asked for: each counts as under way from then on.

use std::time::{Duration, Instant};

use super::{Entry, Generator, Role};
use crate::load::config::LoadConfig;
use crate::load::figures::Counts;
use crate::load::party::Outcome;
use crate::load::worst::Call;

/// Maximum time until a call comes that was asked for.
const PATIENCE: Duration = Duration::from_secs(30);

/// The calls to ask for, and those that have not come yet: kinds of callees, by their index.
pub struct Asked {
    next: Vec<usize>,
    /// With the time when each was asked for.
    open: Vec<(Instant, usize)>,
}

impl Asked {
    /// The calls of a run, none of them asked for.
    pub fn of(config: &LoadConfig) -> Self {
        let places = config.callees.iter().enumerate();
        let each = places.flat_map(|(place, kind)| std::iter::repeat_n(place, kind.calls as usize));
        // taken from the end
        Asked { next: each.rev().collect(), open: Vec::new() }
    }

    /// Whether no call is still to come.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

impl Generator {
    /// Asks for the next call to a callee, once all callers have begun; `false`: there is none.
    pub(super) fn ask(&mut self, now: Instant) -> bool {
        let begun = self.config.callers.as_ref().is_none_or(|callers| callers.have_begun());
        let Some(place) = begun.then(|| self.asked.next.pop()).flatten() else { return false };
        self.asked.open.push((now, place));
        self.calling += 1;
        // nobody who is asked: the call does not come
        let _ = self.config.asks.as_ref().map(|asks| asks.send(place));
        true
    }

    /// A call to a callee has come, which may have been asked for.
    pub(super) fn has_come(&mut self, id: u64, place: usize) {
        let Some(at) = self.asked.open.iter().position(|(_, asked)| *asked == place) else { return };
        self.asked.open.remove(at);
        if let Some(Entry { asked, .. }) = self.entries.get_mut(&id) {
            *asked = true;
        }
    }

    /// Counts calls that do not come as failed.
    pub(super) fn give_up_asking(&mut self, now: Instant) {
        while let Some(at) = self.asked.open.iter().position(|(since, _)| now >= *since + PATIENCE) {
            let (_, place) = self.asked.open.remove(at);
            self.calling -= 1;
            self.figures.callees.begun += 1;
            let (step, why) = ("answer".to_owned(), "no call came".to_owned());
            let kind = Some(self.turns.len() + place).filter(|n| *n < self.figures.kinds.len());
            let mut call = Call {
                number: self.figures.callees.begun,
                side: Role::Callee.name(),
                step: Some(step.clone()),
                why: Some(why.clone()),
                ..Call::default()
            };
            if let Some(kind) = kind.and_then(|n| self.figures.kinds.get_mut(n)) {
                kind.side.begun += 1;
                (call.kind, call.of_kind) = (kind.name.clone(), kind.side.begun);
            }
            let counts = Counts { role: Role::Callee, route: None, kind };
            let failed = Outcome::Failed { step, why };
            self.figures.of(counts).for_each(|side| side.over(failed.clone()));
            self.figures.left(&call, |_| ());
        }
    }
}
