//! The INVITE usage: the state of one call leg.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::hop::Hop;
use super::refer_fsm::{notifier, subscriber};
use super::request::SessionFields;
use super::session_timer::{SessionRefresher, SessionTimer};
use super::state::Dialog;
use super::{callee_fsm, caller_fsm, reliable_fsm};
use crate::dialog::reply::Reply;
use crate::flow::Flow;
use crate::ids::{ReferId, ServerTransactionId};
use crate::msg::body::Body;
use crate::msg::{HeaderFields, Request, Response};
use crate::transaction::client::ClientTransactionId;
use crate::transaction::timer_queue::Queued;
use b2b_base::ids::{Chance, Tag};

/// The phase of a usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Phase {
    /// Our INVITE has no final response.
    Caller(caller_fsm::State),
    /// The peer's INVITE is unanswered, or our answer is not acknowledged.
    Callee(callee_fsm::State),
    /// The session is established.
    Established,
    /// Our BYE is under way.
    Ending,
    /// The last event was reported; late messages are still handled.
    Over,
}

/// The state of a call leg.
#[derive(serde::Serialize, serde::Deserialize)]
pub struct Usage {
    #[serde(skip)]
    pub generation: u32,
    pub phase: Phase,
    pub local_tag: Tag,
    /// The source of the call's identifiers and random choices.
    pub chance: Chance,
    /// Whether the Call-ID is ours, which determines the back-off after glare (§14.1).
    pub owns_call_id: bool,
    /// The key of the INVITE that began it, once we have answered it; 0 if there is none.
    pub merge_key: u64,
    /// Whether the user answers challenges to our INVITE and BYE, and to other requests in
    /// the call.
    pub authorizes: bool,
    pub authorizes_inside: bool,
    /// Early dialogs, one per fork; after the 2xx only the confirmed one.
    pub dialogs: Vec<Dialog>,
    /// Our INVITEs: the current one, and those whose 2xx may be retransmitted.
    pub ours: Vec<OurInvite>,
    /// The peer's INVITE that is unanswered or not acknowledged.
    pub theirs: Option<Box<TheirInvite>>,
    /// RSeq and CSeq number of a reliable response whose PRACK had not arrived before the
    /// ACK.
    pub prack_due: Option<(u32, u32)>,
    /// How the call is to end, once the user has decided.
    pub parting: Option<Box<Parting>>,
    /// Which side is to refresh the session, if that is not negotiated yet.
    pub refresher: SessionRefresher,
    /// The session timer, once negotiated.
    pub timer: Option<Box<SessionTimer>>,
    /// REFERs in progress.
    pub refers: Vec<Refer>,
    /// Limits the peer's requests in the call.
    pub requests: PerSecond,
    #[serde(skip)]
    pub queued: Queued,
}

/// Data for the BYE or CANCEL by which we end a call.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Parting {
    pub headers: HeaderFields,
    /// For the BYE alone.
    pub body: Option<Body>,
    /// The last BYE that the peer sent in an early dialog.
    pub bye: Option<Request>,
    /// If the BYE was challenged: deadline for the user's credentials.
    #[serde(with = "b2b_base::ages::option")]
    pub challenged_until: Option<Instant>,
    pub challenges: u8,
    /// If the BYE was refused temporarily: when to resend it.
    #[serde(with = "b2b_base::ages::option")]
    pub again_at: Option<Instant>,
    pub refusals: u8,
}

/// A REFER and its implicit subscription (RFC 3515).
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub struct Refer {
    pub id: ReferId,
    /// CSeq number of the REFER, the `id` of its NOTIFYs.
    pub cseq: u32,
    pub role: ReferRole,
    #[serde(with = "b2b_base::ages::option")]
    pub expires_at: Option<Instant>,
    /// How often its NOTIFYs were resent because a later request arrived first.
    pub overtaken: u8,
}

/// Our role in a REFER.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub enum ReferRole {
    /// The peer sent the REFER.
    Notifier {
        state: notifier::State,
        transaction: ServerTransactionId,
        /// The peer wants no NOTIFY (RFC 4488).
        silent: bool,
        /// The status line of the latest NOTIFY.
        status: u16,
        reason: String,
    },
    /// We sent the REFER.
    Subscriber(subscriber::State),
}

/// Counts occurrences per second.
#[derive(Debug, Clone, Copy, Default, serde::Serialize, serde::Deserialize)]
pub struct PerSecond {
    #[serde(with = "b2b_base::ages::option")]
    since: Option<Instant>,
    count: u32,
}

impl PerSecond {
    /// Counts an occurrence; `true` if it is within `limit` per second.
    pub fn take(&mut self, now: Instant, limit: u32) -> bool {
        let over = |since| now.saturating_duration_since(since) >= Duration::from_secs(1);
        if self.since.is_none_or(over) {
            *self = PerSecond { since: Some(now), count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count <= limit
    }
}

/// An INVITE or re-INVITE of ours.
#[derive(serde::Serialize, serde::Deserialize)]
pub struct OurInvite {
    pub cseq: u32,
    pub transaction: Option<ClientTransactionId>,
    /// The dialog state of the initial INVITE, from which forks are created.
    pub origin: Option<Box<Dialog>>,
    /// Data for resending it after a refusal, if that is possible.
    pub again: Option<Box<Again>>,
    /// Whether it carried an offer.
    pub offered: bool,
    /// Its Authorization and Proxy-Authorization, which the ACK repeats (§22.1).
    pub credentials: HeaderFields,
    /// For a retry after glare.
    pub headers: HeaderFields,
    pub body: Option<Body>,
    /// Number of times that this change was resent (491, 422, 500).
    pub resent: u8,
    /// The peer has changed the session in the meantime, so the offer is outdated.
    pub superseded: bool,
    pub progress: Progress,
    /// Ring time-out, end of the wait after CANCEL, or retry after glare.
    #[serde(with = "b2b_base::ages::option")]
    pub deadline: Option<Instant>,
    pub ring_timeout: Duration,
    /// The ACK for its 2xx, sent again for each retransmission.
    pub ack: Option<(Flow, Bytes)>,
    /// Forks that got ACK and BYE.
    pub dismissed: Dismissed,
    /// Number of PRACKs sent.
    pub pracks: u8,
    /// When it turned to the present address, if that is not the first.
    #[serde(with = "b2b_base::ages::option")]
    pub turned_at: Option<Instant>,
}

impl OurInvite {
    /// An INVITE about to be sent.
    pub fn new(cseq: u32, offered: bool) -> Self {
        OurInvite {
            cseq,
            transaction: None,
            origin: None,
            again: None,
            offered,
            credentials: Vec::new(),
            headers: Vec::new(),
            body: None,
            resent: 0,
            superseded: false,
            progress: Progress::Open,
            deadline: None,
            ring_timeout: Duration::ZERO,
            ack: None,
            dismissed: Dismissed::default(),
            pracks: 0,
            turned_at: None,
        }
    }
}

/// Data for resending an INVITE with other header fields.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub struct Again {
    pub headers: HeaderFields,
    pub body: Option<Body>,
    pub max_forwards: u8,
    pub outbound: Option<Hop>,
    /// Whether challenges are reported to the user.
    pub authorizes: bool,
    pub session: Option<SessionFields>,
    pub patience: Option<Duration>,
    /// The credentials that the user supplied last.
    pub credentials: HeaderFields,
    pub tries: u8,
    /// The response that caused the resending.
    pub refusal: Option<Response>,
}

/// Maximum number of ACKs for the unwanted 2xx of one fork: in 64*T1 a compliant peer sends
/// eleven, and each ACK may cost a lookup or a connection.
const DISMISSAL_ACKS: u8 = 16;

/// Remote tags of unwanted 2xx that got ACK and BYE, and of parties that sent BYE before their
/// 2xx; and the numbers of ACKs.
#[derive(Default, serde::Serialize, serde::Deserialize)]
pub struct Dismissed(Vec<(Bytes, u8)>);

impl Dismissed {
    /// The party with this remote tag has sent BYE.
    pub fn hung_up(&mut self, tag: &[u8]) {
        self.0.push((Bytes::copy_from_slice(tag), 0));
    }

    /// Whether the dialog with this remote tag ended by BYE.
    pub fn has(&self, tag: &[u8]) -> bool {
        self.0.iter().any(|(it, _)| it == tag)
    }

    /// Takes an unwanted 2xx to the INVITE with this dialog state. Returns the dialog for an
    /// ACK, and whether it is new, which takes a BYE; `None` if there were too many.
    pub fn dismiss(&mut self, origin: &Dialog, response: &Response, limit: usize) -> Option<(Dialog, bool)> {
        let dialog = origin.from_response(response).or_else(|_| origin.salvaged(response)).ok()?;
        let full = self.0.len() >= limit;
        let is_new = match self.0.iter_mut().find(|(tag, _)| tag == dialog.remote_tag()) {
            Some((_, acks)) if *acks >= DISMISSAL_ACKS => return None,
            Some((_, acks)) => {
                *acks += 1;
                false
            }
            None if full => return None,
            None => {
                self.0.push((Bytes::copy_from_slice(dialog.remote_tag()), 1));
                true
            }
        };
        Some((dialog, is_new))
    }
}

/// The progress of our INVITE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Progress {
    /// No final response yet.
    Open,
    /// Got 491 and waits for a retry.
    BackOff,
    /// Got a 2xx with an offer: the user has to send the ACK.
    AckOwed,
    /// Got a 2xx: only retransmissions and other forks can follow.
    Succeeded,
    /// Refused or abandoned.
    Failed,
}

/// An INVITE or re-INVITE of the peer.
#[derive(serde::Serialize, serde::Deserialize)]
pub struct TheirInvite {
    pub transaction: ServerTransactionId,
    pub cseq: u32,
    /// Whether it is the initial one.
    pub initial: bool,
    /// Deadline for the user's decision.
    #[serde(with = "b2b_base::ages::option")]
    pub answer_by: Option<Instant>,
    /// When the invitation expires (§13.3.1).
    #[serde(with = "b2b_base::ages::option")]
    pub expires_at: Option<Instant>,
    /// What the peer was told last.
    pub told: Option<LastProvisional>,
    /// Our 2xx until its ACK.
    pub success: Option<Success>,
    /// Our reliable provisional responses to it.
    pub reliable: Option<Box<Reliable>>,
}

impl TheirInvite {
    /// An INVITE that nothing has been sent for.
    pub fn new(transaction: ServerTransactionId, cseq: u32, answer_by: Instant) -> Self {
        TheirInvite {
            transaction,
            cseq,
            initial: false,
            answer_by: Some(answer_by),
            expires_at: None,
            told: None,
            success: None,
            reliable: None,
        }
    }
}

/// A provisional response, which is repeated while the user has not decided (§13.3.1.1).
#[derive(serde::Serialize, serde::Deserialize)]
pub struct LastProvisional {
    #[serde(with = "b2b_base::ages")]
    pub again_at: Instant,
    /// A reliable one: it is sent as another one.
    pub reliable: Option<Reply>,
}

/// Reliable provisional responses to one INVITE (RFC 3262).
#[derive(serde::Serialize, serde::Deserialize)]
pub struct Reliable {
    pub state: reliable_fsm::State,
    pub next_rseq: u32,
    pub unacknowledged: Option<Unacknowledged>,
    /// RSeq, status, response, and whether it has a body.
    pub queue: VecDeque<(u32, u16, Bytes, bool)>,
    /// The 2xx that waits for a PRACK: status, response, and whether it has a body.
    pub answer: Option<(u16, Bytes, bool)>,
}

/// The outstanding reliable response.
#[derive(serde::Serialize, serde::Deserialize)]
pub struct Unacknowledged {
    pub rseq: u32,
    pub response: Bytes,
    pub has_session: bool,
    #[serde(with = "b2b_base::ages")]
    pub resend_at: Instant,
    pub interval: Duration,
    #[serde(with = "b2b_base::ages")]
    pub give_up_at: Instant,
}

impl Reliable {
    /// A state in which nothing was sent yet.
    pub fn new(rseq: u32) -> Self {
        Reliable {
            state: reliable_fsm::State::Open,
            next_rseq: rseq,
            unacknowledged: None,
            queue: VecDeque::new(),
            answer: None,
        }
    }

    /// Whether the outstanding response is retransmitted.
    pub fn is_waiting(&self) -> bool {
        matches!(self.state, reliable_fsm::State::Awaiting | reliable_fsm::State::AnswerHeld)
    }

    fn deadline(&self) -> Option<Instant> {
        let it = self.unacknowledged.as_ref().filter(|_| self.is_waiting())?;
        Some(it.resend_at.min(it.give_up_at))
    }
}

/// A 2xx until its ACK (§13.3.1.4).
#[derive(serde::Serialize, serde::Deserialize)]
pub struct Success {
    pub response: Bytes,
    #[serde(with = "b2b_base::ages")]
    pub resend_at: Instant,
    pub interval: Duration,
    #[serde(with = "b2b_base::ages")]
    pub give_up_at: Instant,
}

impl Usage {
    /// Whether the last event was reported.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Whether late messages can still refer to it.
    pub fn is_needed(&self) -> bool {
        !self.is_over()
            || !self.refers.is_empty()
            || self.ours.iter().any(|ours| matches!(ours.progress, Progress::Succeeded | Progress::Open))
    }

    /// Drops the dialogs once nothing can be sent in them any more.
    pub fn forget_dialogs(&mut self) {
        if self.is_over() && self.ours.is_empty() && self.refers.is_empty() {
            self.dialogs = Vec::new();
        }
    }

    /// Drops our successful INVITEs whose transaction has ended: no further 2xx can arrive.
    pub fn forget_finished(&mut self) {
        self.ours.retain(|ours| ours.progress != Progress::Succeeded || ours.transaction.is_some());
    }

    /// Our INVITE with this CSeq.
    pub fn ours(&mut self, cseq: u32) -> Option<&mut OurInvite> {
        self.ours.iter_mut().find(|ours| ours.cseq == cseq)
    }

    /// Whether an INVITE of ours is under way.
    pub fn is_inviting(&self) -> bool {
        self.ours.iter().any(|ours| matches!(ours.progress, Progress::Open | Progress::AckOwed))
    }

    /// The dialog with this remote tag.
    pub fn dialog(&mut self, remote_tag: &[u8]) -> Option<&mut Dialog> {
        self.dialogs.iter_mut().find(|dialog| dialog.remote_tag() == remote_tag)
    }

    /// The earliest deadline.
    pub fn next_deadline(&self) -> Option<Instant> {
        let theirs = self.theirs.as_deref();
        let success = theirs.and_then(|theirs| theirs.success.as_ref());
        let undecided = theirs.filter(|theirs| theirs.success.is_none());
        let told = undecided.and_then(|theirs| Some(theirs.told.as_ref()?.again_at));
        let answer_by = theirs.and_then(|theirs| theirs.answer_by);
        let expires = undecided.and_then(|theirs| theirs.expires_at);
        let answer_by = answer_by.into_iter().chain(told).chain(expires).min();
        let resend = success.map(|success| success.resend_at.min(success.give_up_at));
        let reliable = theirs.and_then(|theirs| theirs.reliable.as_deref()?.deadline());
        let parting = self.parting.as_deref();
        let parting = parting.and_then(|it| it.challenged_until.into_iter().chain(it.again_at).min());
        let ours = self.ours.iter().filter_map(|ours| ours.deadline);
        let timer = self.timer.as_deref().and_then(SessionTimer::deadline);
        let refers = self.refers.iter().filter_map(|refer| refer.expires_at);
        ours.chain(refers).chain(answer_by).chain(resend).chain(reliable).chain(timer).chain(parting).min()
    }
}
