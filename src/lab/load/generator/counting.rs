//! Assigns a party to the figures of its kind and route.

use super::{Generator, Role};
use crate::load::config::LoadConfig;

impl Generator {
    /// Sets the kind of a party, by its index among those of its side.
    pub(super) fn is_of_kind(&mut self, id: u64, place: usize) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.place = place;
        let callers = self.turns.len();
        let at = match entry.role {
            Role::Caller => place,
            Role::Callee => callers + place,
        };
        if let Some(turns) = self.turns.get_mut(place).filter(|_| entry.role == Role::Caller) {
            (entry.turn, *turns) = (*turns, *turns + 1);
        }
        if let Some(kind) = self.figures.kinds.get_mut(at) {
            entry.kind = Some(at);
            kind.side.begun += 1;
            (entry.call.kind, entry.call.of_kind) = (kind.name.clone(), kind.side.begun);
        }
    }

    /// Sets the called number of a party, which may select a route.
    pub(super) fn goes_to(&mut self, id: u64, dialled: &str) {
        let answers_only = self.answers_only();
        let Some(entry) = self.entries.get_mut(&id) else { return };
        dialled.clone_into(&mut entry.call.dialled);
        if (entry.role == Role::Callee) == answers_only {
            entry.route = self.config.routes.of(dialled);
        }
        if let Some(route) = entry.route.and_then(|n| self.figures.routes.get_mut(n)) {
            route.side.begun += 1;
        }
    }
}

/// The names of all kinds, callers first, if there are several.
pub(super) fn names(config: &LoadConfig) -> impl Iterator<Item = &str> {
    let callers = config.callers.iter().flat_map(|callers| &callers.kinds).map(|kind| kind.name.as_str());
    let all = callers.chain(config.callees.iter().map(|kind| kind.name.as_str()));
    let some = config.callers.iter().flat_map(|callers| &callers.kinds).any(|kind| !kind.name.is_empty())
        || config.callees.iter().any(|kind| !kind.name.is_empty());
    all.filter(move |_| some)
}
