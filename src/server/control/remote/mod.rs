//! Remote applications: a call is given to an external program, which commands it and decides on it; the call
//! is taken back when the program is gone, silent or wrong.
//!
//! - `hold`: how long a program may have a call, without I/O
//! - `handler`: the course of a call that is given to a program
//! - `decision`: a program's decision; `words`: its words on their way to the application; `told`: what it is
//!   sent
//!
//! Programs connect by their application's name. Several programs of one name take turns.

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

/// A program's message about one call.
#[derive(Debug)]
pub enum Word {
    /// It is alive.
    Sign,
    /// It has sent a command.
    Touch,
    /// Its decision on the call.
    Decision(Box<HandlerAction>),
    /// It declines the call: handled as without the program.
    Fallback,
}

/// A call offered to a program; dropping it gives the call up.
#[derive(Debug)]
pub struct Offer {
    pub call: CallId,
    pub leg: LegId,
    /// The data on the call.
    pub known: Box<OfferedCall>,
    /// The channel for the program's words.
    pub words: Words,
}

/// A message to a program.
#[derive(Debug)]
pub enum News {
    Offer(Offer),
    /// It no longer has this call, and why.
    Over {
        call: CallId,
        leg: LegId,
        why: &'static str,
    },
}

/// Connected programs, by the name of their application. A handle that can be cloned.
#[derive(Debug, Clone, Default)]
pub struct Remotes(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    programs: Mutex<BTreeMap<String, Programs>>,
    last: AtomicU64,
    held: AtomicUsize,
    counters: Counters,
}

/// Registers the remote applications of a configuration by their names.
pub fn enlist(apps: &Applications, config: &ServerConfig, remotes: &Remotes, control: &Control) {
    for it in &config.apps.remotes {
        let limits = Limits { answer: it.answer, stall: it.stall, most: it.hold };
        apps.add(Arc::new(Remote::new(&it.name, remotes, control, limits, it.fallback.clone())));
    }
}

/// The programs of one name.
#[derive(Debug, Default)]
struct Programs {
    programs: Vec<Program>,
    /// Index of the program whose turn is next.
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

/// A program's connection; dropping it disconnects the program.
#[derive(Debug)]
pub struct Connected {
    remotes: Remotes,
    name: String,
    number: u64,
    pub news: mpsc::UnboundedReceiver<News>,
}

/// The program that a call is offered to.
struct Chosen {
    news: mpsc::UnboundedSender<News>,
    held: Arc<AtomicUsize>,
}

impl Remotes {
    /// Starts without programs.
    pub fn new() -> Self {
        Self::default()
    }

    fn programs(&self) -> MutexGuard<'_, BTreeMap<String, Programs>> {
        // Nothing panics while holding it.
        self.0.programs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects a program that takes at most `most` calls at once.
    pub fn connect(&self, name: &str, most: usize) -> Connected {
        let (news, heard) = mpsc::unbounded_channel();
        let number = self.0.last.fetch_add(1, Ordering::Relaxed);
        let program = Program { number, news, held: Arc::default(), most };
        self.programs().entry(name.to_owned()).or_default().programs.push(program);
        Connected { remotes: self.clone(), name: name.to_owned(), number, news: heard }
    }

    /// The program whose turn it is; `None`: no program takes another call.
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

    /// Names with programs, the number of programs, and the number of their calls.
    pub fn view(&self) -> Vec<(String, usize, usize)> {
        let programs = self.programs();
        let held = |line: &Programs| line.programs.iter().map(|it| it.held.load(Ordering::Relaxed)).sum();
        programs.iter().map(|(name, line)| (name.clone(), line.programs.len(), held(line))).collect()
    }

    /// Number of calls that programs have.
    pub fn held(&self) -> usize {
        self.0.held.load(Ordering::Relaxed)
    }

    /// Counters of calls by outcome.
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        let counters = &self.0.counters;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let back = Back::ALL.iter().zip(&counters.back);
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
