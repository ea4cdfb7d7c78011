//! Applications by name, `kind/name`.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use b2b_call::handler::ApplicationHandler;

type Handlers = BTreeMap<String, Arc<dyn ApplicationHandler>>;

/// The applications that there are: a handle that can be cloned. Calls that are with one
/// keep it when others take its place.
#[derive(Clone, Default)]
pub struct Applications(Arc<RwLock<Handlers>>);

impl Applications {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more, by its own name; in the place of one that had it.
    pub fn add(&self, handler: Arc<dyn ApplicationHandler>) {
        let name = handler.name().to_owned();
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(name, handler);
    }

    /// These, and no others any more.
    pub fn set(&self, handlers: impl IntoIterator<Item = Arc<dyn ApplicationHandler>>) {
        let handlers = handlers.into_iter().map(|handler| (handler.name().to_owned(), handler)).collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = handlers;
    }

    /// The one of this name.
    pub fn get(&self, name: &str) -> Option<Arc<dyn ApplicationHandler>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Every name, in order.
    pub fn names(&self) -> Vec<String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }
}
