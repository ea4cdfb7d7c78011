//! Applications by name, `kind/name`.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use b2b_call::handler::ApplicationHandler;

type Handlers = BTreeMap<String, Arc<dyn ApplicationHandler>>;

/// The available applications; clones share them. Calls that are with a replaced application stay with it.
#[derive(Clone, Default)]
pub struct Applications(Arc<RwLock<Handlers>>);

impl Applications {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an application under its own name, replacing one of the same name.
    pub fn add(&self, handler: Arc<dyn ApplicationHandler>) {
        let name = handler.name().to_owned();
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(name, handler);
    }

    /// The application of this name.
    pub fn get(&self, name: &str) -> Option<Arc<dyn ApplicationHandler>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
}
