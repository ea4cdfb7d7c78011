//! Remote applications: a call is given to a program outside, which commands it and decides on it,
//! and is taken back when the program is gone, silent or wrong.
//!
//! - `hold`: how long a program may have a call, without I/O
//! - `handler`: the way of a call that is given to one
//! - `decision`: what a program decides; `words`: its way to who has the call; `told`: what it is told
//!
//! Programs connect by their application's name. Several of one name take turns.

pub mod decision;
mod handler;
mod hold;
pub mod told;
mod words;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use super::Control;
use crate::config::ServerConfig;
use b2b_app::Applications;
use b2b_call::handler::HandlerAction;
use b2b_call::{CallId, LegId};
pub use handler::Remote;
pub use hold::{Back, Limits, Patience};
use told::OfferedCall;
pub use words::Words;

/// What a program tells of one call.
#[derive(Debug)]
pub enum Word {
    /// It is alive.
    Sign,
    /// It has commanded something.
    Touch,
    /// What becomes of the call.
    Decision(Box<HandlerAction>),
    /// It does not want it: as if it were not there.
    Fallback,
}

/// A call that is offered to a program; dropped, it is given up.
#[derive(Debug)]
pub struct Offer {
    pub call: CallId,
    pub leg: LegId,
    /// What is known of it.
    pub known: Box<OfferedCall>,
    /// How the program answers.
    pub words: Words,
}

/// What a program is told.
#[derive(Debug)]
pub enum News {
    Offer(Offer),
    /// It has this call no more, and why.
    Over {
        call: CallId,
        leg: LegId,
        why: &'static str,
    },
}

/// Programs that are connected, by the name of their application. A handle that can be cloned.
#[derive(Debug, Clone, Default)]
pub struct Remotes(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    programs: Mutex<BTreeMap<String, Programs>>,
    last: AtomicU64,
    held: AtomicUsize,
    counters: Counters,
}

/// Makes those of a configuration known by their names.
pub fn enlist(apps: &Applications, config: &ServerConfig, remotes: &Remotes, control: &Control) {
    for it in &config.apps.remotes {
        let limits = Limits { answer: it.answer, stall: it.stall, most: it.hold };
        apps.add(Arc::new(Remote::new(&it.name, remotes, control, limits, it.fallback.clone())));
    }
}

/// Those of one name.
#[derive(Debug, Default)]
struct Programs {
    programs: Vec<Program>,
    /// Whose turn it is.
    next: usize,
}

#[derive(Debug)]
struct Program {
    number: u64,
    news: mpsc::UnboundedSender<News>,
    held: Arc<AtomicUsize>,
    most: usize,
}

#[derive(Debug, Default)]
struct Counters {
    offered: AtomicU64,
    decided: AtomicU64,
    ended: AtomicU64,
    back: [AtomicU64; Back::ALL.len()],
}

/// A program's connection; dropped, it is gone.
#[derive(Debug)]
pub struct Connected {
    remotes: Remotes,
    name: String,
    number: u64,
    pub news: mpsc::UnboundedReceiver<News>,
}

/// A program that a call is offered to.
struct Chosen {
    news: mpsc::UnboundedSender<News>,
    held: Arc<AtomicUsize>,
}

impl Remotes {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn programs(&self) -> MutexGuard<'_, BTreeMap<String, Programs>> {
        // Nothing panics while it holds it.
        self.0.programs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A program has connected that takes so many calls at once.
    pub fn connect(&self, name: &str, most: usize) -> Connected {
        let (news, heard) = mpsc::unbounded_channel();
        let number = self.0.last.fetch_add(1, Ordering::Relaxed);
        let program = Program { number, news, held: Arc::default(), most };
        self.programs().entry(name.to_owned()).or_default().programs.push(program);
        Connected { remotes: self.clone(), name: name.to_owned(), number, news: heard }
    }

    /// Whose turn it is; none: nobody is there who takes one more.
    fn choose(&self, name: &str) -> Option<Chosen> {
        let mut programs = self.programs();
        let line = programs.get_mut(name)?;
        let count = line.programs.len();
        let free = |it: &Program| it.held.load(Ordering::Relaxed) < it.most && !it.news.is_closed();
        let place = (0..count).map(|n| (line.next + n) % count).find(|place| free(&line.programs[*place]))?;
        line.next = (place + 1) % count;
        let it = &line.programs[place];
        Some(Chosen { news: it.news.clone(), held: it.held.clone() })
    }

    /// Names with programs, how many those are, and how many calls they have.
    pub fn view(&self) -> Vec<(String, usize, usize)> {
        let programs = self.programs();
        let held = |line: &Programs| line.programs.iter().map(|it| it.held.load(Ordering::Relaxed)).sum();
        programs.iter().map(|(name, line)| (name.clone(), line.programs.len(), held(line))).collect()
    }

    /// Calls that programs have.
    pub fn held(&self) -> usize {
        self.0.held.load(Ordering::Relaxed)
    }

    /// What became of calls so far: a word, and how many.
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        let counters = &self.0.counters;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let back = Back::ALL.into_iter().zip(&counters.back);
        [
            ("offered", read(&counters.offered)),
            ("decided", read(&counters.decided)),
            ("ended", read(&counters.ended)),
        ]
        .into_iter()
        .chain(back.map(|(why, count)| (why.as_str(), read(count))))
        .collect()
    }

    fn count_back(&self, why: Back) {
        let place = Back::ALL.iter().position(|it| *it == why);
        if let Some(count) = place.and_then(|place| self.0.counters.back.get(place)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        let mut programs = self.remotes.programs();
        if let Some(line) = programs.get_mut(&self.name) {
            line.programs.retain(|it| it.number != self.number);
            line.next = 0;
            if line.programs.is_empty() {
                programs.remove(&self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(chosen: Option<Chosen>, programs: &[&Connected]) -> Option<usize> {
        let chosen = chosen?;
        programs.iter().position(|it| {
            let line = it.remotes.programs();
            line[&it.name].programs.iter().any(|p| p.number == it.number && p.news.same_channel(&chosen.news))
        })
    }

    #[test]
    fn programs_of_one_name_take_turns_and_full_ones_are_passed_over() {
        let remotes = Remotes::new();
        assert!(remotes.choose("agent").is_none());
        let (a, b) = (remotes.connect("agent", 1), remotes.connect("agent", 9));
        let _other = remotes.connect("other", 9);
        let turns: Vec<_> = (0..4).map(|_| number(remotes.choose("agent"), &[&a, &b])).collect();
        assert_eq!(turns, [Some(0), Some(1), Some(0), Some(1)]);
        let full = remotes.choose("agent").expect("a's turn");
        full.held.fetch_add(1, Ordering::Relaxed);
        assert_eq!([(); 2].map(|()| number(remotes.choose("agent"), &[&a, &b])), [Some(1), Some(1)]);
        assert_eq!(remotes.view(), [("agent".to_owned(), 2, 1), ("other".to_owned(), 1, 0)]);
        drop(b);
        assert!(remotes.choose("agent").is_none(), "the one that is left is full");
        drop(a);
        assert_eq!(remotes.view().len(), 1);
    }
}
