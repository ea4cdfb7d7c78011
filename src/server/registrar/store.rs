//! Storage of bindings.

use std::collections::{BTreeSet, HashMap};
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use tokio::sync::watch;

use super::aor::Aor;
use super::binding::{Binding, BindingId};

/// One change to the bindings of an address of record.
#[derive(Debug, Clone)]
pub enum Change {
    /// Adds it, or replaces the one with its id.
    Put(Arc<Binding>),
    /// Removes it.
    Remove(BindingId),
}

/// Identifies a write. Later ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Commit(pub u64);

impl Commit {
    /// No write, or none that has to be waited for.
    pub const NONE: Commit = Commit(0);
}

/// The outcome of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Not written yet.
    Pending,
    /// It would survive a restart.
    Kept,
    /// It could not be written. It is in memory, and the write is retried; a restart before that loses it.
    Failed,
}

/// Called with an AOR and its bindings; returns whether to go on.
pub type Visitor<'a> = dyn FnMut(&Aor, &[Arc<Binding>]) -> ControlFlow<()> + 'a;

/// Bindings by address of record. Reads return at once, from memory; writes may reach the disk later, as
/// [`LocationStore::outcome`] reports.
pub trait LocationStore: Send {
    /// The bindings of an AOR, in the order of their creation; includes expired ones that have not been
    /// removed.
    fn bindings(&self, aor: &Aor) -> &[Arc<Binding>];

    /// Applies these changes, for readers at once. A restart finds all of them or none.
    fn apply(&mut self, aor: &Aor, changes: Vec<Change>);

    /// The last write.
    fn latest(&self) -> Commit;

    /// The outcome of a write.
    fn outcome(&self, commit: Commit) -> Outcome;

    /// Changes whenever the outcome of some write becomes known. `None`: it is always known.
    fn progress(&self) -> Option<watch::Receiver<u64>>;

    /// Whether the store keeps up with writes. While it does not, a REGISTER gets 503.
    fn accepts(&self) -> bool;

    /// Visits, in order, the AORs after `after` that have bindings, until `each` breaks. The rest costs
    /// nothing.
    fn visit_behind(&self, after: &str, each: &mut Visitor<'_>);

    /// Visits every AOR that has bindings.
    fn visit(&self, each: &mut dyn FnMut(&Aor, &[Arc<Binding>])) {
        self.visit_behind("", &mut |aor, bindings| {
            each(aor, bindings);
            ControlFlow::Continue(())
        });
    }

    /// Number of bindings.
    fn len(&self) -> usize;

    /// Whether there are no bindings.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Bindings that end with the process.
#[derive(Debug, Default)]
pub struct MemoryStore {
    aors: HashMap<Aor, Vec<Arc<Binding>>>,
    /// The same AORs in order; only added and removed AORs cost time here.
    sorted: BTreeSet<Aor>,
    len: usize,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        MemoryStore::default()
    }
}

impl LocationStore for MemoryStore {
    fn bindings(&self, aor: &Aor) -> &[Arc<Binding>] {
        self.aors.get(aor).map(Vec::as_slice).unwrap_or_default()
    }

    fn apply(&mut self, aor: &Aor, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        let bindings = self.aors.entry(aor.clone()).or_default();
        let before = bindings.len();
        for change in changes {
            match change {
                Change::Put(new) => match bindings.iter_mut().find(|old| old.id == new.id) {
                    Some(old) => *old = new,
                    None => bindings.push(new),
                },
                Change::Remove(id) => bindings.retain(|binding| binding.id != id),
            }
        }
        self.len = self.len + bindings.len() - before;
        if bindings.is_empty() {
            self.aors.remove(aor);
            self.sorted.remove(aor);
        } else if before == 0 {
            self.sorted.insert(aor.clone());
        }
    }

    fn latest(&self) -> Commit {
        Commit::NONE
    }

    fn outcome(&self, _: Commit) -> Outcome {
        Outcome::Kept
    }

    fn progress(&self) -> Option<watch::Receiver<u64>> {
        None
    }

    fn accepts(&self) -> bool {
        true
    }

    fn visit_behind(&self, after: &str, each: &mut Visitor<'_>) {
        let behind = (Bound::Excluded(after), Bound::Unbounded);
        for aor in self.sorted.range::<str, _>(behind) {
            if each(aor, self.bindings(aor)).is_break() {
                return;
            }
        }
    }

    fn len(&self) -> usize {
        self.len
    }
}
