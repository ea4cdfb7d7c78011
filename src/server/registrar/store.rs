//! Where bindings are kept.

use std::collections::{BTreeSet, HashMap};
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use tokio::sync::watch;

use super::aor::Aor;
use super::binding::{Binding, BindingId};

/// One change to the bindings of an address of record.
#[derive(Debug, Clone)]
pub enum Change {
    /// Add it, or put it in the place of the one with its id.
    Put(Arc<Binding>),
    /// Take it away.
    Remove(BindingId),
}

/// Names a write. Later ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Commit(pub u64);

impl Commit {
    /// Nothing was written, or nothing has to be waited for.
    pub const NONE: Commit = Commit(0);
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// On its way.
    Pending,
    /// A restart would serve it.
    Kept,
    /// It could not be written. It stands in memory, and is tried again; a restart
    /// before that would not serve it.
    Failed,
}

/// Is shown an AOR and its bindings, and says whether that is enough.
pub type Visitor<'a> = dyn FnMut(&Aor, &[Arc<Binding>]) -> ControlFlow<()> + 'a;

/// Bindings by address of record. Reads answer at once, from memory; writes may take
/// effect on disk later, which [`LocationStore::outcome`] tells.
pub trait LocationStore: Send {
    /// The bindings of an AOR, in the order in which they were first made; expired
    /// ones that nobody has removed included.
    fn bindings(&self, aor: &Aor) -> &[Arc<Binding>];

    /// Makes these changes, at once for readers. A restart finds all of them or none.
    fn apply(&mut self, aor: &Aor, changes: Vec<Change>);

    /// The last write.
    fn latest(&self) -> Commit;

    /// What became of a write.
    fn outcome(&self, commit: Commit) -> Outcome;

    /// Changes whenever the outcome of some write is known. `None`: it always is.
    fn progress(&self) -> Option<watch::Receiver<u64>>;

    /// Whether writes keep up. While they do not, a REGISTER gets 503.
    fn accepts(&self) -> bool;

    /// Shows the AORs that have bindings and come behind `after`, in their order, until one
    /// is enough. What is not shown costs nothing.
    fn visit_behind(&self, after: &str, each: &mut Visitor<'_>);

    /// Shows every AOR that has bindings.
    fn visit(&self, each: &mut dyn FnMut(&Aor, &[Arc<Binding>])) {
        self.visit_behind("", &mut |aor, bindings| {
            each(aor, bindings);
            ControlFlow::Continue(())
        });
    }

    /// How many bindings there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Bindings that end with the process.
#[derive(Debug, Default)]
pub struct MemoryStore {
    aors: HashMap<Aor, Vec<Arc<Binding>>>,
    /// The same AORs: only what comes and goes pays for the order.
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
