//! The interface for applications: handlers that take incoming calls, and their decisions.

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::application::{Application, Saved};
use super::event::Event;
use super::identity::CallerIdentity;
use super::lookup::ResolvedContact;
use super::service::{CallService, DialRequest};
use super::{CallId, LegId};
use b2b_sip::endpoint::Flow;
use b2b_sip::msg::{Name, Request, one_line};

/// A handler's work as a future. It is polled on the call thread: it may wait, but must not block.
pub type HandlerFuture = Pin<Box<dyn Future<Output = HandlerAction> + Send>>;

/// A handler of incoming calls: a route table, a menu, a queue.
///
/// A handler that panics or never completes ends only its own call: a caller who is never answered gets 480
/// after the endpoint's `answer_timeout`.
pub trait ApplicationHandler: Send + Sync {
    /// The name, for logs and events.
    fn name(&self) -> &str;

    /// Whether the handler wants this call. The first handler that returns true gets it.
    fn can_handle(&self, _call: &IncomingCall) -> bool {
        true
    }

    /// Decides on the call. A future that is ready at the first poll needs no task.
    fn handle_incoming_call(&self, _call: IncomingCall, _service: CallService) -> HandlerFuture {
        Box::pin(std::future::ready(HandlerAction::Continue))
    }

    /// Creates a machine that decides on the call instead of [`ApplicationHandler::handle_incoming_call`],
    /// which is then not called.
    fn begin(&self, _call: &IncomingCall, _service: &CallService) -> Option<Box<dyn Application>> {
        None
    }

    /// The machine that goes on where another process has saved it ([`Application::save`]), with
    /// [`IncomingCall::resumed`] set. `None`: it does not, and [`ApplicationHandler::resumes`] decides.
    fn load(&self, _call: &IncomingCall, _saved: &Saved) -> Option<Box<dyn Application>> {
        None
    }

    /// Whether the handler takes back a call that it had when the process ended and that was restored. The
    /// application starts from the beginning, with [`IncomingCall::resumed`] set, since its position in the
    /// flow is not known. If it declines, a caller who is connected to no other party gets 503, or BYE.
    fn resumes(&self, _call: &IncomingCall) -> bool {
        false
    }

    /// A handler that this one knows by name, for [`HandlerAction::Handle`].
    fn application(&self, _name: &str) -> Option<Arc<dyn ApplicationHandler>> {
        None
    }

    /// Decides where the other party of a call goes when this one requests a transfer (REFER). `Dial` and
    /// `TransferTo` give the target, `Handle` hands the party to an application, `Reject` and `Disconnect`
    /// refuse the transfer. `Continue` asks the next handler; without a next handler the resolver looks the
    /// target up unchanged.
    fn handle_referral(&self, _referral: Referral) -> HandlerFuture {
        Box::pin(std::future::ready(HandlerAction::Continue))
    }

    /// Decides how a call continues whose callee redirects it (3xx); called once per contact. `Dial` and
    /// `TransferTo` give the target, `Handle` hands the caller to an application, any other action does not
    /// follow the redirect. `Continue` asks the next handler; without a next handler the redirect is not
    /// followed.
    fn handle_redirect(&self, _redirection: Redirection) -> HandlerFuture {
        Box::pin(std::future::ready(HandlerAction::Continue))
    }

    /// Whether [`ApplicationHandler::handle_event`] is to be called; asked once per call.
    fn wants_events(&self) -> bool {
        false
    }

    /// An event of a call that the handler was given, in order, until the end of the call. The next event
    /// waits for this future; at most 256 events are queued, further ones are dropped and counted. After the
    /// end of the call the handler has 32 s for the events that are left.
    fn handle_event(&self, _call: CallId, _event: Event, _service: CallService) -> EventFuture {
        Box::pin(std::future::ready(()))
    }
}

/// A party's request to transfer the other party of its call.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Referral {
    /// The call.
    pub call: CallId,
    /// The leg of the referring party.
    pub leg: LegId,
    /// The referring party, as far as it is known.
    pub by: Party,
    /// The URI of Refer-To, unchanged.
    pub target: String,
    /// Hosts of From and To of the dialog, in lower case: the names by which the party knows itself and b2b,
    /// which may differ from b2b's domains when a proxy stands between.
    pub hosts: Vec<String>,
    /// The application whose agent or program has named the target, in place of the party.
    pub named_by: Option<Arc<str>>,
    /// When the REFER was received.
    #[serde(with = "b2b_base::ages")]
    pub at: Instant,
}

/// A callee's redirection of the call.
#[derive(Debug, Clone)]
pub struct Redirection {
    /// The call.
    pub call: CallId,
    /// The leg of the callee.
    pub leg: LegId,
    /// The callee, as far as it is known.
    pub by: Party,
    /// The contact that was dialled to reach it.
    pub dialled: ResolvedContact,
    /// The URI of a Contact, without header fields.
    pub target: String,
    /// The caller's name and number, as sent to the callee; `None` if the call has no caller.
    pub caller: Option<(String, String)>,
    /// When the response was received.
    pub at: Instant,
}

/// What is known of the party of a leg.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Party {
    /// The user as whom it authenticated, or who was called.
    pub user: Option<String>,
    /// The gateway that the call came from or went through, or whose certificate the party presented.
    pub gateway: Option<Arc<str>>,
    /// Its number: the one it called from, or was called by.
    pub number: String,
    /// The source of its signalling, if it is known.
    pub address: Option<SocketAddr>,
    /// The flow of its signalling, if it is known.
    pub flow: Option<Flow>,
}

/// A handler's work on an event; see [`HandlerFuture`].
pub type EventFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A handler's decision on an incoming call.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum HandlerAction {
    /// The handler declines: the next one is asked. Without a next one: 404.
    Continue,
    /// The handler has finished. A leg that is neither answered nor being dialled for is refused with 480.
    Complete,
    /// Dial this and bridge it with the caller.
    Dial(Box<DialRequest>),
    /// Hand the caller, answered or not, to the handler of this name: `ivr/main`, `queue/sales`. If there is
    /// none, the call ends.
    Handle(String),
    /// Look this target up, dial it and bridge it with the caller; or hand the caller to the handler of this
    /// name, if there is one.
    TransferTo(String),
    /// Bridge the caller with this leg.
    Bridge(LegId),
    /// Refuse an unanswered caller with this status, or hang up an answered one.
    Reject {
        /// 300 to 699.
        status: u16,
        /// The reason phrase; empty for the standard one.
        reason: String,
    },
    /// The destination that a party names is not followed, since the party may not choose it.
    NotFollowed {
        /// The reason, for logs and records.
        why: String,
        /// The configuration line that would allow it; `None` if no setting would.
        line: Option<String>,
    },
    /// Hang up; an unanswered caller gets 603.
    Disconnect,
    /// An action with its explanation for the call's timeline: the name of the route, if a route asks for it,
    /// and the reason. Dial requests carry the route in
    /// [`DialOptions::route`](super::service::DialOptions::route).
    Routed {
        /// The name of the route; `None` if no route asks for the action.
        route: Option<String>,
        /// The reason, as text.
        why: String,
        /// The action.
        action: Box<HandlerAction>,
    },
}

impl HandlerAction {
    /// The name of the action in events: `complete`, `transfer_to`.
    pub fn word(&self) -> &'static str {
        match self {
            HandlerAction::Routed { action, .. } => action.word(),
            action => action.into(),
        }
    }
}

/// An incoming call that is not decided on yet.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct IncomingCall {
    /// The call of which this would be leg A.
    pub call: CallId,
    /// The caller's leg.
    pub leg: LegId,
    /// The INVITE.
    pub request: Request,
    /// The source address of the INVITE.
    pub source: SocketAddr,
    /// When it was received.
    #[serde(with = "b2b_base::ages")]
    pub at: Instant,
    /// The user as whom the caller authenticated; `None`: trusted by address, or not challenged.
    pub identity: Option<String>,
    /// The gateway identified by the certificate of the connection; `None`: identified by address, or not a
    /// gateway.
    pub gateway: Option<Arc<str>>,
    /// The caller's identity, as far as it is trusted.
    pub who: Arc<CallerIdentity>,
    /// The called number, as [`Uri::dialled`](b2b_sip::msg::Uri::dialled).
    pub number: Arc<str>,
    /// The call is already answered: by another handler, or because the caller was transferred here.
    pub answered: bool,
    /// b2b has called the party, or calls it.
    pub outbound: bool,
    /// b2b calls the party, which has not answered yet: its early media is heard.
    pub early: bool,
    /// The handler had this call before it was restored: see [`ApplicationHandler::resumes`].
    pub resumed: bool,
}

impl IncomingCall {
    /// The dialled number or name: that of the Request-URI, or of the field that the caller's gateway puts it
    /// in.
    pub fn called(&self) -> String {
        self.number.to_string()
    }

    /// The caller's number for display, as far as it is trusted; `anonymous` for a caller who withholds it.
    pub fn caller(&self) -> String {
        self.who.told().to_owned()
    }

    /// The caller as an identifier: the authenticated user, else the caller's number.
    pub fn who(&self) -> String {
        self.identity.clone().unwrap_or_else(|| self.caller())
    }

    /// The fields of the INVITE whose names begin with `X-`, meant for applications.
    pub fn own_fields(&self) -> impl Iterator<Item = (String, String)> {
        let own = |name: &[u8]| name.get(..2).is_some_and(|start| start.eq_ignore_ascii_case(b"x-"));
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let fields = self.request.fields().filter(move |(name, _)| own(name.as_bytes()));
        fields.map(move |(name, value)| (text(name.as_bytes()), text(&one_line(value))))
    }

    /// The first value of a header field of the INVITE, on one line.
    pub fn header(&self, name: &str) -> Option<Bytes> {
        self.request.header(Name::parse(name.as_bytes())).map(one_line)
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
