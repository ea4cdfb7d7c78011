//! A call on its way through its handlers, and a redirection that they decide on, as values.

use std::sync::Arc;

use crate::failure::DialFailure;
use crate::handler::{IncomingCall, Party};
use crate::identity::diversion;
use crate::lookup::ResolvedContact;
use crate::switch::dial::BranchNo;
use crate::{CallId, LegId};

/// A call on its way through its handlers.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(crate) struct Handing {
    pub call: IncomingCall,
    /// Index of the handler to be asked next.
    pub next: usize,
    /// How often the call has been handed on.
    pub hands: u16,
    /// The application that has the call by name; `None`: the call is still with the handlers of the list.
    pub by_name: Option<Arc<str>>,
    /// The handler that is asked hears of the call since then.
    pub listens: bool,
}

impl Handing {
    pub fn new(call: IncomingCall) -> Self {
        Handing { call, next: 0, hands: 0, by_name: None, listens: false }
    }

    /// The caller's leg.
    pub fn leg(&self) -> LegId {
        self.call.leg
    }
}

/// The decision on one contact of a 3xx.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) enum Whither {
    /// Calls these contacts, in rounds.
    Call(Vec<Vec<ResolvedContact>>, Option<String>),
    /// Gives the caller to this application.
    Application(String, Option<String>),
    /// The redirection is not permitted.
    NotFollowed { why: String, line: Option<String> },
    /// The target does not exist according to the routes.
    Nobody(String),
}

/// A contact of a 3xx.
#[derive(Debug)]
pub(crate) struct Target {
    pub q: u16,
    pub to: String,
}

/// A contact, its q-value, and the decision on it.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Named {
    pub q: u16,
    pub to: String,
    pub whither: Whither,
}

/// A branch that was redirected, while its targets are resolved.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Redirected {
    pub call: CallId,
    pub leg: LegId,
    pub branch: BranchNo,
    pub failure: DialFailure,
    /// The party of the branch.
    pub party: Party,
    /// Why it was redirected, in the words of Diversion.
    #[serde(deserialize_with = "diversion::known_word")]
    pub reason: diversion::ReasonWord,
}
