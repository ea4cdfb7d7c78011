//! The resolvers: one per kind of target, and a chain of them.
//!
//! - `user`: `user/1001`, from the registrar's bindings
//! - `gateway`: `gateway/carrier/+44…`, a number behind a provider
//! - `group`: `group/sales`, several targets of the other kinds, nested
//! - `direct`: `sip:` and `sips:` URIs that a policy allows
//! - `chain`: resolvers that are asked in order

pub mod chain;
pub mod direct;
pub mod gateway;
pub mod group;
pub mod user;

pub use chain::ChainResolver;
pub use direct::{DirectPolicy, DirectResolver, HostPattern};
pub use gateway::{
    Gateway, GatewayHost, GatewayResolver, GatewayStatus, GrantedBy, Health, PrefixRule, Reached,
};
pub use group::{Group, GroupResolver, Member};
pub use user::{Binding, Bindings, BindingsFuture, UserResolver};

use std::sync::Arc;

use super::lookup::{EarlyMedia, LookupError, LookupFuture, LookupResult};
use crate::controller::PairPolicy;

/// The audio settings of a callee.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartyAudio {
    /// The media that may be offered to it; `None` for the switch's configuration.
    pub policy: Option<Arc<PairPolicy>>,
    /// The treatment of its session before it answers.
    pub early_media: EarlyMedia,
    /// As [`ResolvedContact::drops_ringing`](super::lookup::ResolvedContact::drops_ringing).
    pub drops_ringing: bool,
}

/// A completed lookup.
fn ready<'a>(result: Result<Option<LookupResult>, LookupError>) -> LookupFuture<'a> {
    Box::pin(std::future::ready(result))
}

/// The rest of a target of this kind. `None` if it is of another kind.
fn rest<'a>(target: &'a str, kind: &str) -> Option<&'a str> {
    let (head, rest) = target.split_once('/')?;
    head.eq_ignore_ascii_case(kind).then_some(rest)
}

#[cfg(test)]
mod tests;
