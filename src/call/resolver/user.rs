//! `user/1001`: where a registered user can be reached.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use super::{PartyAudio, rest};
use crate::lookup::{
    LookupError, LookupFuture, LookupKind, LookupRequest, LookupResult, ResolvedContact, Resolver,
};
use b2b_sip::endpoint::Flow;

/// A registered contact of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The contact URI.
    pub contact: String,
    /// Preference in thousandths, 0 to 1000 (RFC 3261 §20.10); higher is preferred.
    pub q: u16,
    /// The flow of the registration, while its connection is up.
    pub flow: Option<Flow>,
    /// The source address of the registration as a SIP URI, if the contact itself cannot be reached (NAT).
    pub next_hop: Option<String>,
    /// `Path` (RFC 3327), as a list of Route values.
    pub path: Option<String>,
    /// The source of the registration, before any proxy of ours.
    pub source: Option<SocketAddr>,
}

/// The bindings of a user that have not expired; `None` if there is no such user. The error is text for
/// people.
pub type BindingsFuture<'a> = Pin<Box<dyn Future<Output = Result<Option<Vec<Binding>>, String>> + Send + 'a>>;

/// A source of bindings: the registrar, through an adapter. A closure from user and time to a result
/// implements it, too.
pub trait Bindings: Send + Sync {
    /// The current bindings of a user.
    fn bindings<'a>(&'a self, user: &'a str, now: Instant) -> BindingsFuture<'a>;

    /// The audio settings of a user; by default those of every user.
    fn audio(&self, _user: &str) -> PartyAudio {
        PartyAudio::default()
    }
}

impl<F> Bindings for F
where
    F: Fn(&str, Instant) -> Result<Option<Vec<Binding>>, String> + Send + Sync,
{
    fn bindings<'a>(&'a self, user: &'a str, now: Instant) -> BindingsFuture<'a> {
        Box::pin(std::future::ready(self(user, now)))
    }
}

/// Resolves `user/<name>`.
pub struct UserResolver<B> {
    bindings: B,
}

impl<B: Bindings> UserResolver<B> {
    /// Resolves users from these bindings.
    pub fn new(bindings: B) -> Self {
        UserResolver { bindings }
    }

    async fn resolve(&self, user: &str, request: &LookupRequest) -> Result<LookupResult, LookupError> {
        let bindings = self.bindings.bindings(user, request.now).await;
        let bindings = bindings
            .map_err(|why| LookupError::Unavailable { target: request.target.clone(), why })?
            .ok_or_else(|| LookupError::UnknownUser { user: user.to_owned() })?;
        if bindings.is_empty() {
            return Err(LookupError::NotRegistered { user: user.to_owned() });
        }
        let (name, audio): (Arc<str>, _) = (user.into(), self.bindings.audio(user));
        let contacts = bindings.into_iter().map(|binding| ResolvedContact {
            user: Some(name.clone()),
            flow: binding.flow,
            next_hop: binding.next_hop,
            path: binding.path,
            source: binding.source,
            policy: audio.policy.clone(),
            early_media: audio.early_media,
            drops_ringing: audio.drops_ringing,
            ..ResolvedContact::new(binding.contact, 1_000 - binding.q.min(1_000))
        });
        Ok(LookupResult::new(LookupKind::User, &request.target, contacts.collect()))
    }
}

impl<B: Bindings> Resolver for UserResolver<B> {
    fn name(&self) -> &str {
        "user"
    }

    fn lookup<'a>(&'a self, request: &'a LookupRequest) -> LookupFuture<'a> {
        Box::pin(async move {
            match rest(&request.target, "user") {
                None => Ok(None),
                Some("") => Err(LookupError::BadTarget {
                    target: request.target.clone(),
                    why: "the user's name is missing".into(),
                }),
                Some(user) => self.resolve(user, request).await.map(Some),
            }
        })
    }
}
