//! A leg: one party's side of a call.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;

use crate::call_fsm::CallDirection;
use crate::channels::{Channel, Holder};
use crate::controller::{AddressFamily, EndpointId, Hold, PairPolicy};
use crate::handler::Party;
use crate::headers::{HeaderRule, RuledMessage};
use crate::identity::CallerIdentity;
use crate::initial_session::CalleeSession;
use crate::leg_fsm::{LegState, TerminationCause};
use crate::leg_life::Life;
use crate::lookup::ResolvedContact;
use crate::pace::Place;
use crate::recording::Keys;
use crate::service::CallError;
use crate::service::command::Reply;
use crate::switch::dial::BranchNo;
use crate::switch::state::recording::Recordings;
use crate::switch::state::transfer::Told;
use crate::{CallId, LegId};
use b2b_sip::endpoint::{Body, HeaderFields, ReferId, RequestId, ServerTransactionId, UsageId};
use b2b_sip::msg::body::Part;
use b2b_sip::msg::{Response, Uri};
use b2b_sip::net::budget::Bucket;

/// A leg: one party's side of a call.
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct Leg {
    /// Its call; set by the table of calls.
    pub call: CallId,
    pub inbound: bool,
    pub life: Life,
    /// `None`: its INVITE waits for media.
    pub usage: Option<UsageId>,
    /// Its branch number in the call's dialling.
    pub branch: Option<BranchNo>,
    /// The session of a callee until its answer is complete.
    pub callee: CalleeSession,
    /// The challenges so far to its INVITE, later to its BYE.
    pub challenges: Vec<Response>,
    pub media: LegEndpoint,
    pub hold: LegHold,
    pub takes: Takes,
    pub identity: LegIdentity,
    pub passing: Passing,
    #[serde(default)]
    pub admitted: Admitted,
    pub why: Why,
    /// The contact that we call.
    pub contact: Option<Box<ResolvedContact>>,
    pub recordings: Recordings,
    /// For its call detail record.
    pub beginning: Option<Box<Beginning>>,
    pub keys: Pressed,
    #[serde(default)]
    pub asked: Asked,
    /// Receives the result of answering while our 2xx, which made an offer, waits for its ACK.
    pub answering: Option<Reply<Result<(), CallError>>>,
}

/// The media endpoint of a leg, and what is known of its addresses.
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct LegEndpoint {
    pub endpoint: Option<EndpointId>,
    pub family: AddressFamily,
    /// The leg that it is joined with.
    pub joined: Option<LegId>,
    /// The source of its RTP, once some has come.
    pub heard: Option<SocketAddr>,
    /// The source of its last message: its RTP may come from there too.
    pub signalling: Option<IpAddr>,
    /// Its party was told to send media straight to the other party.
    pub led_past: bool,
    #[serde(default)]
    pub agreement: Agreement,
}

/// Whether a party and the endpoint of its leg have agreed on a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub(crate) enum Agreement {
    #[default]
    Current,
    /// Media may not have done what it was last asked: the party is offered its session again, and may refuse that.
    Doubtful,
    /// The endpoint is another one, of which the party was not told yet.
    Moved,
}

/// Hold in either direction (RFC 6337 §5.3).
#[derive(Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct LegHold {
    /// The party has put us on hold.
    pub wanted: bool,
    /// Our hold on the party, and the receiver for the outcome of a change.
    pub ours: Hold,
    pub reply: Option<Reply<Result<(), CallError>>>,
}

/// What may be sent within its dialog.
#[derive(Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Takes {
    /// Its Allow includes UPDATE.
    pub update: bool,
    /// Its Allow includes INFO, to which b2b may convert telephone events.
    pub info: bool,
    /// It gets no more offers: re-INVITEs of the other party are answered here.
    pub no_reinvites: bool,
}

/// The identity of a leg's party, as we know it and as others see it.
#[derive(Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct LegIdentity {
    /// The caller as known to admission control, with its address; or the callee and its address.
    pub party: Arc<Party>,
    /// The caller identity of its INVITE, as far as trusted; `None`: we called it.
    pub who: Option<Arc<CallerIdentity>>,
    /// The number that it called; `None`: we called it.
    pub called: Option<Arc<str>>,
    /// Name and number of its party: of a caller, as the callee was told; of others, as they assert them, if
    /// trusted.
    pub shown: Option<Box<(String, String)>>,
    /// Its connected identity now, as P-Asserted-Identity; `None`: the identity in its INVITE.
    pub connected: Option<Bytes>,
}

/// What its party was asked, and has not answered.
#[derive(Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Asked {
    /// Requests passed on to it.
    pub passed: Vec<Passed>,
    /// REFERs whose outcome is not known.
    pub refers: Vec<(ReferId, Told)>,
}

/// A request that was passed on to a leg, and the leg and the transaction that wait for the answer.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
pub(crate) struct Passed {
    pub request: RequestId,
    pub by: LegId,
    pub transaction: ServerTransactionId,
}

/// What other legs pass on to it.
#[derive(Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Passing {
    /// Header rules for what it gets.
    pub rules: Option<Box<LegRules>>,
    /// The header fields from another leg's response.
    pub given: HeaderFields,
    /// The parts of its body.
    pub parts: Vec<Part>,
    /// The policy for offers to it; `None`: as configured.
    pub policy: Option<Arc<PairPolicy>>,
}

/// Header rules for the messages that a leg gets.
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct LegRules {
    pub rules: Arc<[HeaderRule]>,
    /// The leg was called with them; otherwise it is the caller.
    pub is_callee: bool,
    /// Fields of the other leg's message that rules pass on with the next offer or answer.
    pub crossed: HeaderFields,
}

impl LegRules {
    /// `None`: there are no such rules.
    pub fn new(rules: Arc<[HeaderRule]>, is_callee: bool) -> Option<Box<Self>> {
        let is_for_later = |rule: &HeaderRule| rule.to != RuledMessage::Invite;
        let rules = match rules.iter().all(is_for_later) {
            true => rules,
            false => rules.iter().filter(|rule| is_for_later(rule)).cloned().collect(),
        };
        (!rules.is_empty()).then(|| Box::new(LegRules { rules, is_callee, crossed: Vec::new() }))
    }
}

/// What admission control has assigned to it.
#[derive(Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Admitted {
    /// Channels held for as long as the leg exists.
    pub channels: Vec<Channel>,
    /// Its place among the calls that wait for a gateway.
    #[serde(skip)]
    pub place: Option<Place>,
    /// The attempt at a gateway whose outcome is to be reported to admission control.
    #[serde(skip)]
    pub attempt: Option<u64>,
}

/// Why we end a leg.
#[derive(Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Why {
    /// The cause, where the end of the dialog would not show it.
    pub cause: Option<TerminationCause>,
    /// Reason (RFC 3326) of the BYE, CANCEL or refusal that ends it.
    pub reason: Option<Bytes>,
    /// What of the other party's BYE its own BYE carries.
    pub body: Option<Box<Body>>,
    /// The reason for a refusal as given by a route.
    pub told: Option<String>,
    /// Why its offer cannot be used: who refuses it may not know that.
    pub offer: Option<(u16, String)>,
    /// The leg whose party is the reason for its end, if that is another one.
    pub by: Option<LegId>,
}

/// The keys that a party presses.
#[derive(Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Pressed {
    /// The last keys, while feature codes are recognized.
    pub codes: Option<Box<Keys>>,
    /// Whether others are told which keys they are.
    pub hidden: Hidden,
    /// How many keep secret what it enters: keys are hidden, and recordings pause.
    pub secrets: u32,
    /// How many more of its INFOs may become events; `None`: it has sent none.
    pub infos: Option<Bucket>,
}

/// Whether the keys that a party presses are hidden from others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Hidden {
    #[default]
    No,
    /// From the beginning of a secret collection until the next collection that is not secret.
    Yes,
    /// The next collection has begun: keys pressed before it may still be on their way to us.
    Until(#[serde(with = "b2b_base::ages")] Instant),
}

impl Leg {
    /// A leg without a call, which the table of calls assigns.
    pub fn new(life: Life, family: AddressFamily) -> Self {
        let (endpoint, joined, heard, signalling, led_past) = (None, None, None, None, false);
        Leg {
            call: CallId(0),
            inbound: life.as_incoming().is_some(),
            life,
            usage: None,
            branch: None,
            callee: CalleeSession::default(),
            challenges: Vec::new(),
            media: LegEndpoint {
                endpoint,
                family,
                joined,
                heard,
                signalling,
                led_past,
                agreement: Agreement::Current,
            },
            hold: LegHold::default(),
            takes: Takes::default(),
            identity: LegIdentity::default(),
            passing: Passing::default(),
            admitted: Admitted::default(),
            why: Why::default(),
            contact: None,
            recordings: Recordings::default(),
            beginning: None,
            keys: Pressed::default(),
            asked: Asked::default(),
            answering: None,
        }
    }

    /// Whether its party has called, or we have.
    pub fn direction(&self) -> CallDirection {
        if self.inbound { CallDirection::Inbound } else { CallDirection::Outbound }
    }

    /// Whether its INVITE waits for a final response.
    pub fn is_waiting(&self) -> bool {
        self.life.as_incoming().is_some()
    }

    /// Whether it is answered and not about to end.
    pub fn is_up(&self) -> bool {
        self.life.is_up()
    }

    /// Whether we call its party, whose media comes before its answer.
    pub fn has_early_media(&self) -> bool {
        !self.inbound && !self.life.is_ending() && self.life.state() == LegState::EarlyMedia
    }

    /// Notes on the channels of an emergency call whether its caller can talk: it is answered and has media.
    pub fn may_talk(&self) {
        let talks = self.is_up() && self.media.heard.is_some();
        self.admitted.channels.iter().for_each(|channel| channel.talks(talks));
    }

    /// The gateway that it was dialled through; for an inbound leg the one whose channel it holds.
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

    /// The dialled party as shown to people: the user, else the number, else the gateway.
    pub fn shown_as(&self) -> String {
        let number = || Uri::parse(self.contact.as_ref()?.uri.as_bytes()).ok()?.number(&());
        let user = self.identity.party.user.clone();
        user.or_else(number).or_else(|| self.gateway().map(ToString::to_string)).unwrap_or_default()
    }
}

/// What a record needs from the beginning of a leg.
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct Beginning {
    pub start: SystemTime,
    #[serde(with = "b2b_base::ages")]
    pub began: Instant,
    #[serde(with = "b2b_base::ages::option")]
    pub rang: Option<Instant>,
    pub sip_call_id: String,
    pub caller: String,
    pub caller_name: Option<String>,
    pub callee: String,
    pub remote: Option<SocketAddr>,
    pub verstat: Option<String>,
}
