//! What is dialled: targets in rounds, rounds in stages.

use std::sync::Arc;
use std::time::Duration;

use crate::failure::Failover;

/// A target with its parameters for the state machine.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DialTarget<T> {
    pub target: T,
    /// Its ringing time; `None`: as in `DialLimits`.
    pub ring: Option<Duration>,
    /// Its maximum time without any response; `None`: as in `DialLimits`.
    pub trying: Option<Duration>,
    /// The number behind a gateway: a "busy" is the callee's own, and another host would only repeat it. Only
    /// trouble on the way leads to other targets of the same kin.
    pub kin: Option<Arc<str>>,
    /// One of several callees; see [`ResolvedContact::member`](crate::lookup::ResolvedContact::member).
    pub member: Option<Arc<str>>,
}

impl<T> From<T> for DialTarget<T> {
    fn from(target: T) -> Self {
        DialTarget::new(target)
    }
}

impl<T> DialTarget<T> {
    /// A target without kin and with the default times.
    pub fn new(target: T) -> Self {
        DialTarget { target, ring: None, trying: None, kin: None, member: None }
    }
}

/// The targets that are dialled before the next stage is tried.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Stage<T> {
    pub rounds: Vec<Vec<DialTarget<T>>>,
    /// Maximum duration of the stage; `None`: as long as its targets ring.
    pub lasts: Option<Duration>,
    /// Which failures lead to the next stage.
    pub failover: Failover,
}

impl<T> Stage<T> {
    /// How long it may take, if a target without a ringing time of its own has this one.
    pub fn lasts(&self, ring: Duration) -> Duration {
        let longest = |round: &Vec<DialTarget<T>>| round.iter().map(|it| it.ring.unwrap_or(ring)).max();
        self.lasts.unwrap_or_else(|| self.rounds.iter().filter_map(longest).sum())
    }
}
