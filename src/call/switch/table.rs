//! What is known of a leg, a call and a bridge.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::calls::Legs;
use super::command::Reply;
use super::dial::{BranchNo, Dial};
use super::direct::Path;
use super::exchange::Exchanges;
use super::listener::Listener;
use super::recording::Recordings;
use super::records::Beginning;
use super::slots::Key;
use super::stepping::Handled;
use super::transfer::Referrer;
use super::variables::Variables;
use crate::bridge_fsm::{BridgeMode, BridgeState};
use crate::call_fsm::{CallDirection, CallState};
use crate::channels::{Channel, Holder};
use crate::controller::{AddressFamily, EndpointId, Hold, PairPolicy};
use crate::handler::Party;
use crate::headers::{HeaderRule, RuledMessage};
use crate::identity::{CallerIdentity, number_of};
use crate::initial_session::CalleeSession;
use crate::leg_fsm::TerminationCause;
use crate::leg_life::Life;
use crate::lookup::ResolvedContact;
use crate::recording::Keys;
use crate::service::{CallError, DialError, DialOptions};
use crate::{BridgeId, CallId, LegId};
use b2b_sip::endpoint::{HeaderFields, UsageId};
use b2b_sip::msg::Uri;
use b2b_sip::net::budget::Bucket;
use b2b_sip::transaction::timer_queue::Queued;

/// One party's side.
pub(super) struct Leg {
    /// Whose it is; [`Calls`](super::calls::Calls) says so.
    pub call: CallId,
    pub inbound: bool,
    pub life: Life,
    /// None: its INVITE waits for media.
    pub usage: Option<UsageId>,
    /// Which branch of its call's dialling it is.
    pub branch: Option<BranchNo>,
    /// What it has said on the way to its answer, if we call it.
    pub callee: CalleeSession,
    /// How often its INVITE, and its BYE, have been challenged.
    pub authorized: (u8, u8),
    pub media: LegEndpoint,
    pub hold: LegHold,
    pub takes: Takes,
    pub identity: LegIdentity,
    pub passing: Passing,
    pub admitted: Admitted,
    pub why: Why,
    /// Whom we call, and where.
    pub contact: Option<Box<ResolvedContact>>,
    pub recordings: Recordings,
    /// For its record.
    pub beginning: Option<Box<Beginning>>,
    /// What its handler has of it.
    pub handled: Option<Handled>,
    pub keys: Pressed,
    /// Who waits until it is answered: our 2xx made an offer.
    pub answering: Option<Reply<Result<(), CallError>>>,
}

/// What carries its media, and what is known of that.
pub(super) struct LegEndpoint {
    pub endpoint: Option<EndpointId>,
    pub family: AddressFamily,
    /// Whom it is joined with.
    pub joined: Option<LegId>,
    /// Where its RTP comes from, once some has come.
    pub heard: Option<SocketAddr>,
    /// Where its last message came from: its RTP may, too.
    pub signalling: Option<IpAddr>,
    /// It was told to send to its other party itself.
    pub led_past: bool,
}

/// Who does not want to hear whom (RFC 6337 §5.3).
#[derive(Default)]
pub(super) struct LegHold {
    /// The party does not want to hear.
    pub wanted: bool,
    /// We put it on hold, and who waits until it is, or is no more.
    pub ours: Hold,
    pub reply: Option<Reply<Result<(), CallError>>>,
}

/// What it may be sent inside of its dialog.
#[derive(Default)]
pub(super) struct Takes {
    /// It says in Allow that it takes UPDATE.
    pub update: bool,
    /// It says in Allow that it takes INFO, and b2b turns telephone events into that for it.
    pub info: bool,
    /// No offer goes to it any more: re-INVITEs of the other party are answered here.
    pub no_reinvites: bool,
}

/// Who it is, to us and to others.
#[derive(Default)]
pub(super) struct LegIdentity {
    /// Who has called, as far as admission control knows, and where from; whom we call, and where.
    pub party: Arc<Party>,
    /// Who has called, as its INVITE says and is believed; none: we called it.
    pub who: Option<Arc<CallerIdentity>>,
    /// The number that it has called, where that is not its Request-URI's.
    pub called: Option<Arc<str>>,
    /// Name and number of its party: of who has called, as the callee was told; of others, as
    /// they say, where they are believed.
    pub shown: Option<Box<(String, String)>>,
    /// Whom it is connected with now, as P-Asserted-Identity; none: whom it knows from its INVITE.
    pub connected: Option<Bytes>,
}

/// What passes from other legs to it.
#[derive(Default)]
pub(super) struct Passing {
    /// Changes to what it gets.
    pub rules: Option<Box<LegRules>>,
    /// The fields that another leg's response gave it.
    pub given: HeaderFields,
    /// What may be offered to it; none: as the configuration says.
    pub policy: Option<Arc<PairPolicy>>,
}

/// Header rules on the messages that a leg gets.
pub(super) struct LegRules {
    pub rules: Arc<[HeaderRule]>,
    /// It was called with them; else it has called.
    pub is_callee: bool,
    /// Lines of the other leg's message that rules pass on with the next offer or answer.
    pub crossed: HeaderFields,
}

impl LegRules {
    /// None: there are none.
    pub fn new(rules: Arc<[HeaderRule]>, is_callee: bool) -> Option<Box<Self>> {
        let is_for_later = |rule: &HeaderRule| rule.to != RuledMessage::Invite;
        let rules = match rules.iter().all(is_for_later) {
            true => rules,
            false => rules.iter().filter(|rule| is_for_later(rule)).cloned().collect(),
        };
        (!rules.is_empty()).then(|| Box::new(LegRules { rules, is_callee, crossed: Vec::new() }))
    }
}

/// What admission control has given it.
#[derive(Default)]
pub(super) struct Admitted {
    /// Places that it holds as long as it is there.
    pub channels: Vec<Channel>,
    /// What admission control is to be told of this attempt at a gateway, once it is decided.
    pub attempt: Option<u64>,
}

/// Why we end it.
#[derive(Default)]
pub(super) struct Why {
    /// Where the dialog's end would not say so.
    pub cause: Option<TerminationCause>,
    /// Reason (RFC 3326) of the BYE, CANCEL or refusal that ends it.
    pub reason: Option<Bytes>,
    /// Why it is refused, in a route's words.
    pub told: Option<String>,
    /// The leg for whose party's sake it ends, where that is another one.
    pub by: Option<LegId>,
}

/// The keys that its party presses.
#[derive(Default)]
pub(super) struct Pressed {
    /// The last ones, where somebody listens for codes.
    pub codes: Option<Box<Keys>>,
    /// Whether anybody is told which they are.
    pub hidden: Hidden,
    /// How many of its INFOs become events now; none: it has sent none.
    pub infos: Option<Bucket>,
}

/// Whether the keys that a party presses are told to nobody.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Hidden {
    #[default]
    No,
    /// From the beginning of a secret collection until the next one that is none.
    Yes,
    /// That one has begun: what was pressed before it may still be on its way to us.
    Until(Instant),
}

impl Leg {
    /// Without a call: that gives it one.
    pub fn new(life: Life, family: AddressFamily) -> Self {
        let (endpoint, joined, heard, signalling, led_past) = (None, None, None, None, false);
        Leg {
            call: CallId(0),
            inbound: life.as_incoming().is_some(),
            life,
            usage: None,
            branch: None,
            callee: CalleeSession::default(),
            authorized: (0, 0),
            media: LegEndpoint { endpoint, family, joined, heard, signalling, led_past },
            hold: LegHold::default(),
            takes: Takes::default(),
            identity: LegIdentity::default(),
            passing: Passing::default(),
            admitted: Admitted::default(),
            why: Why::default(),
            contact: None,
            recordings: Recordings::default(),
            beginning: None,
            handled: None,
            keys: Pressed::default(),
            answering: None,
        }
    }

    /// Who has called: its party, or we.
    pub fn direction(&self) -> CallDirection {
        if self.inbound { CallDirection::Inbound } else { CallDirection::Outbound }
    }

    /// Whether their INVITE waits for a decision.
    pub fn is_waiting(&self) -> bool {
        self.life.as_incoming().is_some()
    }

    /// Answered, and not about to end.
    pub fn is_up(&self) -> bool {
        self.life.is_up()
    }

    /// The gateway that it goes out by; or it comes from one, and holds one of its channels.
    pub fn gateway(&self) -> Option<&Arc<str>> {
        let dialled = self.contact.as_ref().and_then(|contact| contact.gateway.as_ref());
        let held = || {
            self.admitted.channels.iter().find_map(|channel| match channel.holder() {
                Holder::Gateway(name) => Some(name),
                _ => None,
            })
        };
        dialled.map(|gateway| &gateway.name).or_else(held)
    }

    /// Whom it dials, for people: the user, else the number, else the gateway.
    pub fn shown_as(&self) -> String {
        let number = || number_of(&Uri::parse(self.contact.as_ref()?.uri.as_bytes()).ok()?);
        let user = self.identity.party.user.clone();
        user.or_else(number).or_else(|| self.gateway().map(ToString::to_string)).unwrap_or_default()
    }
}

/// Why a call is dialling.
pub(super) enum Purpose {
    /// For a caller, unanswered or answered, who is to be joined with the callee.
    Caller { caller: LegId, reply: Option<Reply<Result<BridgeId, DialError>>> },
    /// For a leg of our own.
    Originate { reply: Reply<Result<LegId, DialError>> },
    /// In the place of `leaves`, who asked for it, to be joined with `stays`.
    Transfer { leaves: LegId, stays: LegId, referrer: Referrer },
}

impl Purpose {
    /// Who is to be joined with the callee.
    pub fn caller(&self) -> Option<LegId> {
        match self {
            Purpose::Caller { caller, .. } => Some(*caller),
            Purpose::Transfer { stays, .. } => Some(*stays),
            Purpose::Originate { .. } => None,
        }
    }
}

/// A dialling at work.
pub(super) struct Dialling {
    pub purpose: Purpose,
    pub options: DialOptions,
    pub began: Instant,
    /// The request that looks its target up, while it does.
    pub lookup: Option<Key>,
    /// None: its target is being looked up.
    pub dial: Option<Dial<ResolvedContact>>,
    /// By branch number.
    pub branches: Vec<LegId>,
}

/// Two legs joined.
pub(super) struct Bridge {
    pub id: BridgeId,
    pub a: LegId,
    pub b: LegId,
    pub state: BridgeState,
    pub mode: BridgeMode,
    pub auto_hangup: bool,
    /// None: its media is to stay with b2b.
    pub direct: Option<Path>,
    pub started: Option<Instant>,
}

impl Bridge {
    pub fn other(&self, leg: LegId) -> Option<LegId> {
        match leg {
            _ if leg == self.a => Some(self.b),
            _ if leg == self.b => Some(self.a),
            _ => None,
        }
    }
}

/// The whole conversation.
pub(super) struct Call {
    pub state: CallState,
    /// The leg that began it; 0: it began here.
    pub a: LegId,
    pub legs: Legs,
    pub dialling: Option<Box<Dialling>>,
    pub bridge: Option<Box<Bridge>>,
    pub exchanges: Exchanges,
    /// A leg that has been transferred away, and when it is hung up if it has not
    /// done so itself: it is still to hear of its transfer (RFC 5589 §6.1).
    pub leaving: Option<(LegId, Instant)>,
    /// The call that it has become part of, if it is not its own.
    pub linked: Option<CallId>,
    /// The application that has it by name.
    pub application: Option<Arc<str>>,
    /// The handler that hears of it.
    pub listener: Option<Box<Listener>>,
    /// What handlers and operators have noted on it.
    pub variables: Option<Box<Variables>>,
    /// What becomes of some of them once the last leg is over.
    pub last_variables: Option<Box<Variables>>,
    /// Who records it, or is to once it is answered; and how often it was recorded.
    pub recordings: Recordings,
    /// A handler holds leg A: it is not refused when the handler returns.
    pub adopted: bool,
    pub began: Instant,
    pub answered_at: Option<Instant>,
    /// When it has lasted for as long as a call may.
    pub ends_at: Option<Instant>,
    pub cause: Option<TerminationCause>,
    /// The leg whose party has ended it, once there is a cause; none: we have.
    pub ended_by: Option<LegId>,
    pub queued: Queued,
}

impl Call {
    pub fn new(now: Instant) -> Self {
        Call {
            state: CallState::Idle,
            a: LegId(0),
            legs: Legs::default(),
            dialling: None,
            bridge: None,
            exchanges: Exchanges::default(),
            leaving: None,
            linked: None,
            application: None,
            listener: None,
            variables: None,
            last_variables: None,
            recordings: Recordings::default(),
            adopted: false,
            began: now,
            answered_at: None,
            ends_at: None,
            cause: None,
            ended_by: None,
            queued: Queued::default(),
        }
    }

    /// Who has called, by the first of its legs that is left.
    pub fn began_as(&self) -> CallDirection {
        self.legs.iter().next().map_or(CallDirection::Inbound, |(_, leg)| leg.direction())
    }

    /// When something of it is due.
    pub fn next_timeout(&self) -> Option<Instant> {
        let dialling = self.dialling.as_ref().and_then(|it| it.dial.as_ref()?.next_timeout());
        let leaving = self.leaving.map(|(_, at)| at);
        let path = self.bridge.as_ref().and_then(|bridge| bridge.direct.as_ref()?.look);
        dialling.into_iter().chain(leaving).chain(path).chain(self.ends_at).min()
    }
}
