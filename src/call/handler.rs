//! The seam for applications: who takes incoming calls, and what they decide.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::application::Application;
use super::event::Event;
use super::identity::CallerIdentity;
use super::lookup::ResolvedContact;
use super::service::{CallService, DialRequest};
use super::{CallId, LegId};
use b2b_sip::endpoint::Flow;
use b2b_sip::msg::{Name, Request};

/// A handler's work, as a future. It is polled on the thread of the calls: it
/// may wait, and must not block.
pub type HandlerFuture = Pin<Box<dyn Future<Output = HandlerAction> + Send>>;

/// Somebody who takes incoming calls: a route table, a menu, a queue.
///
/// A handler that panics or never comes back ends only its own call; the caller
/// of one that never answers gets 480 after the endpoint's `answer_timeout`.
pub trait ApplicationHandler: Send + Sync {
    /// For logs and events.
    fn name(&self) -> &str;

    /// Whether it wants this call. The first handler that does gets it.
    fn can_handle(&self, _call: &IncomingCall) -> bool {
        true
    }

    /// Decides on the call. A future that is ready when it is first polled costs
    /// no task.
    fn handle_incoming_call(&self, _call: IncomingCall, _service: CallService) -> HandlerFuture {
        Box::pin(std::future::ready(HandlerAction::Continue))
    }

    /// A machine that decides on the call, in the place of
    /// [`ApplicationHandler::handle_incoming_call`], which is not asked then.
    fn begin(&self, _call: &IncomingCall, _service: &CallService) -> Option<Box<dyn Application>> {
        None
    }

    /// Whether it takes a call again that it had when the process ended, and that was restored: it begins anew, with
    /// [`IncomingCall::resumed`] set, since where it was is not known. Else a caller who talks to nobody gets 503, or
    /// BYE.
    fn resumes(&self, _call: &IncomingCall) -> bool {
        false
    }

    /// A handler that this one knows by name, for [`HandlerAction::Handle`].
    fn application(&self, _name: &str) -> Option<Arc<dyn ApplicationHandler>> {
        None
    }

    /// Decides where the other party of a call goes that this one wants to transfer
    /// (REFER). `Dial` and `TransferTo` say where, `Handle` gives it to an application, `Reject` and
    /// `Disconnect` say that it stays. `Continue` asks the next handler; without a next one the target is looked up
    /// by the resolver as it is.
    fn handle_referral(&self, _referral: Referral) -> HandlerFuture {
        Box::pin(std::future::ready(HandlerAction::Continue))
    }

    /// Decides where a call goes on whose callee says that it is reached elsewhere (3xx), once a
    /// contact. `Dial` and `TransferTo` say where, `Handle` gives the caller to an application,
    /// anything else says that it is not followed. `Continue` asks the next handler; without a next
    /// one it is not followed.
    fn handle_redirect(&self, _redirection: Redirection) -> HandlerFuture {
        Box::pin(std::future::ready(HandlerAction::Continue))
    }

    /// Whether [`ApplicationHandler::handle_event`] is to be called; asked once a call.
    fn wants_events(&self) -> bool {
        false
    }

    /// Something happened to a call that it was given, from then until the call's end, in
    /// order. The next event waits for this future; 256 wait at most, what comes beyond
    /// is lost to it and counted. Of what is left when the call is over it has 32 s.
    fn handle_event(&self, _call: CallId, _event: Event, _service: CallService) -> EventFuture {
        Box::pin(std::future::ready(()))
    }
}

/// A party wants the other one of its call to be somewhere else.
#[derive(Debug, Clone)]
pub struct Referral {
    /// The call.
    pub call: CallId,
    /// The leg of who asks.
    pub leg: LegId,
    /// Who asks, as far as it is known.
    pub by: Party,
    /// The URI of Refer-To, as it came.
    pub target: String,
    /// Hosts of From and To of the dialog, in lower case: under these the party knows itself and
    /// us, whatever our domains are called where a proxy stands between.
    pub hosts: Vec<String>,
    /// When it came.
    pub at: Instant,
}

/// A callee says that it is reached elsewhere.
#[derive(Debug, Clone)]
pub struct Redirection {
    /// The call.
    pub call: CallId,
    /// The leg of who says so.
    pub leg: LegId,
    /// Who says so, as far as it is known.
    pub by: Party,
    /// What was dialled to reach it.
    pub dialled: ResolvedContact,
    /// The URI of a Contact, without header fields.
    pub target: String,
    /// The caller's name and number, as the callee was told; none: nobody has called.
    pub caller: Option<(String, String)>,
    /// When it came.
    pub at: Instant,
}

/// What is known of the party of a leg.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Party {
    /// The user that it has proved to be, or that was called.
    pub user: Option<String>,
    /// The gateway that it was called by, or whose certificate it has shown.
    pub gateway: Option<Arc<str>>,
    /// Its number: what it called from, or was called by.
    pub number: String,
    /// Where its signalling comes from, as far as that is known.
    pub address: Option<SocketAddr>,
    /// By which way its signalling comes or goes, as far as that is known.
    pub flow: Option<Flow>,
}

/// A handler's work on an event; as for [`HandlerFuture`].
pub type EventFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What becomes of an incoming call when its handler has come back.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub enum HandlerAction {
    /// Not for this handler: the next one is asked. Without a next one: 404.
    Continue,
    /// The handler has done what it wanted. A leg that is neither answered nor
    /// dialled for is refused with 480.
    Complete,
    /// Dial this and join it with the caller.
    Dial(Box<DialRequest>),
    /// Give the caller, answered or not, to the handler of this name: `ivr/main`,
    /// `queue/sales`. Without such a one the call ends.
    Handle(String),
    /// Look this target up, dial it and join it with the caller; or give them to the handler
    /// of this name, if there is one.
    TransferTo(String),
    /// Join the caller with this leg.
    Bridge(LegId),
    /// Refuse an unanswered caller with this status of 300 to 699; hang up an
    /// answered one.
    Reject {
        /// 300 to 699.
        status: u16,
        /// The reason phrase; empty: the standard one.
        reason: String,
    },
    /// The place that a party names is not followed, since it may not lead there; why, and where a
    /// configuration could allow it, the line to write.
    NotFollowed {
        /// Why, for logs and records.
        why: String,
        /// The line that would allow it; `None`: nothing would.
        line: Option<String>,
    },
    /// Hang up; an unanswered caller gets 603.
    Disconnect,
    /// The action, with what the call's account is to say of it: the name of the route that
    /// asks for it, if one does, and why in words. What is dialled says it in
    /// [`DialOptions::route`](super::service::DialOptions::route).
    Routed {
        /// The name of the route; `None`: no route asks for it.
        route: Option<String>,
        /// In words.
        why: String,
        /// What is done.
        action: Box<HandlerAction>,
    },
}

impl HandlerAction {
    /// What it is, for events: `complete`, `transfer_to`.
    pub fn word(&self) -> &'static str {
        match self {
            HandlerAction::Continue => "continue",
            HandlerAction::Complete => "complete",
            HandlerAction::Dial(_) => "dial",
            HandlerAction::Handle(_) => "handle",
            HandlerAction::TransferTo(_) => "transfer_to",
            HandlerAction::Bridge(_) => "bridge",
            HandlerAction::Reject { .. } => "reject",
            HandlerAction::NotFollowed { .. } => "not_followed",
            HandlerAction::Disconnect => "disconnect",
            HandlerAction::Routed { action, .. } => action.word(),
        }
    }
}

/// A call that has come in and is not decided on.
#[derive(Clone)]
pub struct IncomingCall {
    /// The call that this would be leg A of.
    pub call: CallId,
    /// The caller's leg.
    pub leg: LegId,
    /// The INVITE.
    pub request: Request,
    /// Where it came from.
    pub source: SocketAddr,
    /// When it came.
    pub at: Instant,
    /// Who the caller has proved to be; none: trusted by address, or nobody asked.
    pub identity: Option<String>,
    /// The gateway that it comes from by the certificate of its connection; none: by its address,
    /// or from none.
    pub gateway: Option<Arc<str>>,
    /// Who calls, as far as it is believed.
    pub who: Arc<CallerIdentity>,
    /// The number that is called, where it does not stand in the Request-URI.
    pub number: Option<Arc<str>>,
    /// It is in a conversation already: another handler has answered it, or it was sent here by
    /// a transfer.
    pub answered: bool,
    /// It had this call already, before the call was restored: see [`ApplicationHandler::resumes`].
    pub resumed: bool,
}

/// The user part of From, unescaped.
pub(super) fn caller_number(request: &Request) -> String {
    let from = request.from().ok();
    let user = from.and_then(|from| from.uri.user_unescaped().map(Cow::into_owned));
    String::from_utf8_lossy(&user.unwrap_or_default()).into_owned()
}

impl IncomingCall {
    /// The number that was dialled: the user part of the Request-URI, unescaped, or where the caller's
    /// gateway has it.
    pub fn called(&self) -> String {
        if let Some(number) = &self.number {
            return number.to_string();
        }
        let user = self.request.uri().ok().and_then(|uri| uri.user_unescaped().map(Cow::into_owned));
        String::from_utf8_lossy(&user.unwrap_or_default()).into_owned()
    }

    /// The caller's number, as far as it is believed, to be shown: `anonymous` of who stays unknown.
    pub fn caller(&self) -> String {
        self.who.told().to_owned()
    }

    /// Who calls, as far as that can be told apart: the user, else the caller's number.
    pub fn who(&self) -> String {
        self.identity.clone().unwrap_or_else(|| self.caller())
    }

    /// The fields of the INVITE whose names begin with `X-`: what is meant for applications.
    pub fn own_fields(&self) -> impl Iterator<Item = (String, String)> {
        let own = |name: &[u8]| name.get(..2).is_some_and(|start| start.eq_ignore_ascii_case(b"x-"));
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let fields = self.request.fields().filter(move |(name, _)| own(name.as_bytes()));
        fields.map(move |(name, value)| (text(name.as_bytes()), text(value)))
    }

    /// The first value of a header field of the INVITE.
    pub fn header(&self, name: &str) -> Option<Bytes> {
        self.request.header(Name::parse(name.as_bytes())).map(Bytes::copy_from_slice)
    }
}

impl fmt::Debug for IncomingCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncomingCall")
            .field("call", &self.call)
            .field("leg", &self.leg)
            .field("called", &self.called())
            .field("caller", &self.caller())
            .field("source", &self.source)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}
