//! A chain of resolvers.

use std::sync::Arc;

use crate::lookup::{LookupError, LookupFuture, LookupRequest, LookupResult, Resolver};

/// Asks its resolvers in order; the first result counts. A failure of one resolver does not stop the search
/// (a second directory may know the user), but a refusal is final. Without a result, the first failure is
/// returned.
#[derive(Clone, Default)]
pub struct ChainResolver {
    resolvers: Vec<Arc<dyn Resolver>>,
}

impl ChainResolver {
    /// A chain of these resolvers, in order.
    pub fn new(resolvers: Vec<Arc<dyn Resolver>>) -> Self {
        ChainResolver { resolvers }
    }

    /// Appends a resolver.
    pub fn with(mut self, resolver: impl Resolver + 'static) -> Self {
        self.resolvers.push(Arc::new(resolver));
        self
    }

    /// Looks a target up and requires a result.
    ///
    /// # Errors
    /// The first failure of a resolver, or [`LookupError::NoResolver`].
    pub async fn resolve(&self, request: &LookupRequest) -> Result<LookupResult, LookupError> {
        let nobody = || LookupError::NoResolver { target: request.target.clone(), known: self.known() };
        self.first(request).await?.ok_or_else(nobody)
    }

    async fn first(&self, request: &LookupRequest) -> Result<Option<LookupResult>, LookupError> {
        let mut failure = None;
        for resolver in &self.resolvers {
            match resolver.lookup(request).await {
                Ok(Some(result)) => return Ok(Some(result)),
                Ok(None) => {}
                Err(refusal @ LookupError::NotAllowed { .. }) => return Err(refusal),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(None), Err)
    }
}

impl Resolver for ChainResolver {
    fn name(&self) -> &str {
        "chain"
    }

    fn known(&self) -> String {
        let names: Vec<&str> = self.resolvers.iter().map(|resolver| resolver.name()).collect();
        match names.is_empty() {
            true => "none is configured".to_owned(),
            false => format!("there are: {}", names.join(", ")),
        }
    }

    fn lookup<'a>(&'a self, request: &'a LookupRequest) -> LookupFuture<'a> {
        Box::pin(self.first(request))
    }
}
