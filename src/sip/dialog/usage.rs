//! The INVITE usage: what is known of one call leg between two events.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::hop::Hop;
use super::refer_fsm::{notifier, subscriber};
use super::request::SessionFields;
use super::session_timer::{SessionRefresher, SessionTimer};
use super::state::Dialog;
use super::{callee_fsm, caller_fsm, reliable_fsm};
use crate::endpoint::{Body, Flow, HeaderFields, ReferId, ServerTransactionId};
use crate::msg::Response;
use crate::transaction::client::ClientTransactionId;
use crate::transaction::timer_queue::Queued;
use b2b_base::ids::{Chance, Tag};

/// Where a usage is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Our INVITE is not answered.
    Caller(caller_fsm::State),
    /// Their INVITE is not answered, or our answer not acknowledged.
    Callee(callee_fsm::State),
    /// The session is up.
    Established,
    /// Our BYE is on its way.
    Ending,
    /// The last event is out; stragglers are still dealt with.
    Over,
}

/// A usage.
pub struct Usage {
    pub generation: u32,
    pub phase: Phase,
    pub local_tag: Tag,
    /// Where the identifiers and the random choices of the call come from.
    pub chance: Chance,
    /// Whether the Call-ID is ours: decides who waits longer after glare (§14.1).
    pub owns_call_id: bool,
    /// Whether our user answers challenges: those to our INVITE and BYE, and those to other
    /// requests inside the call.
    pub authorizes: bool,
    pub authorizes_inside: bool,
    /// Early dialogs, one per fork; once confirmed, the one that was.
    pub dialogs: Vec<Dialog>,
    /// INVITEs of ours: the one under way, and those whose 2xx may come again.
    pub ours: Vec<OurInvite>,
    /// The INVITE of theirs that is not answered or not acknowledged.
    pub theirs: Option<Box<TheirInvite>>,
    /// RSeq and CSeq number of a reliable response whose PRACK had not come before the ACK.
    pub prack_due: Option<(u32, u32)>,
    /// How the call is to end, once our user has said so.
    pub parting: Option<Box<Parting>>,
    /// Who is to refresh the session, where nobody does so far.
    pub refresher: SessionRefresher,
    /// The session timer, once agreed on.
    pub timer: Option<Box<SessionTimer>>,
    /// REFERs that are not done with.
    pub refers: Vec<Refer>,
    /// Requests of theirs inside the call.
    pub requests: PerSecond,
    pub queued: Queued,
}

/// What goes with the BYE or CANCEL of ours that ends a call.
#[derive(Debug, Default)]
pub struct Parting {
    pub headers: HeaderFields,
    /// The BYE was challenged: until when its user may send credentials.
    pub challenged_until: Option<Instant>,
    pub challenges: u8,
    /// The BYE was refused for now: when it is sent again.
    pub again_at: Option<Instant>,
    pub refusals: u8,
}

/// A REFER and its implicit subscription (RFC 3515).
#[derive(Debug)]
pub struct Refer {
    pub id: ReferId,
    /// Of the REFER: what its NOTIFYs name it by.
    pub cseq: u32,
    pub role: ReferRole,
    pub expires_at: Option<Instant>,
    /// How often its NOTIFYs were sent again since a later request had come first.
    pub overtaken: u8,
}

/// Who asked whom.
#[derive(Debug)]
pub enum ReferRole {
    /// They asked us.
    Notifier {
        state: notifier::State,
        transaction: ServerTransactionId,
        /// They want no NOTIFY (RFC 4488).
        silent: bool,
        /// The newest status line.
        told: (u16, String),
    },
    /// We asked them.
    Subscriber(subscriber::State),
}

/// How often something happened in this second.
#[derive(Debug, Clone, Copy, Default)]
pub struct PerSecond {
    since: Option<Instant>,
    count: u32,
}

impl PerSecond {
    /// Counts once more; whether that is within `limit` a second.
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
pub struct OurInvite {
    pub cseq: u32,
    pub transaction: Option<ClientTransactionId>,
    /// What the INVITE that starts the call was sent with; forks are made from it.
    pub origin: Option<Box<Dialog>>,
    /// What it takes to send it again after a refusal, where that may come.
    pub again: Option<Box<Again>>,
    /// Whether it carried an offer.
    pub offered: bool,
    /// Authorization and Proxy-Authorization that it carried: its ACK has them, too (§22.1).
    pub credentials: HeaderFields,
    /// For another try after glare.
    pub headers: HeaderFields,
    pub body: Option<Body>,
    /// The peer has changed the session since: the offer is out of date.
    pub superseded: bool,
    pub progress: Progress,
    /// Ring time-out, end of waiting after CANCEL, or next try after glare.
    pub deadline: Option<Instant>,
    pub ring_timeout: Duration,
    /// The ACK for its 2xx, to be sent for each retransmission.
    pub ack: Option<(Flow, Bytes)>,
    /// Remote tags of forks that got ACK and BYE, and how many ACKs.
    pub dismissed: Vec<(Bytes, u8)>,
    /// Reliable provisional responses that got their PRACK.
    pub pracks: u8,
}

impl OurInvite {
    /// An INVITE that is about to be sent.
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
            superseded: false,
            progress: Progress::Open,
            deadline: None,
            ring_timeout: Duration::ZERO,
            ack: None,
            dismissed: Vec::new(),
            pracks: 0,
        }
    }
}

/// An INVITE that may have to be sent again with other header fields.
#[derive(Debug)]
pub struct Again {
    pub headers: HeaderFields,
    pub body: Option<Body>,
    pub max_forwards: u8,
    pub outbound: Option<Hop>,
    /// Whether a challenge goes to our user.
    pub authorizes: bool,
    pub session: Option<SessionFields>,
    /// What our user gave last.
    pub credentials: HeaderFields,
    pub tries: u8,
    /// Why it is to be sent again.
    pub refusal: Option<Response>,
}

/// How far an INVITE of ours is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// No final response.
    Open,
    /// 491: waits for its next try.
    BackOff,
    /// 2xx with an offer: our user owes an ACK.
    AckOwed,
    /// 2xx: only retransmissions and other forks can come.
    Succeeded,
    /// Refused or given up.
    Failed,
}

/// An INVITE or re-INVITE of theirs.
pub struct TheirInvite {
    pub transaction: ServerTransactionId,
    pub cseq: u32,
    /// Whether it is the one that started the call.
    pub initial: bool,
    /// Until our user decides.
    pub answer_by: Option<Instant>,
    /// Our 2xx, until its ACK.
    pub success: Option<Success>,
    /// Reliable provisional responses of ours to it.
    pub reliable: Option<Box<Reliable>>,
}

/// Reliable provisional responses to one INVITE (RFC 3262).
pub struct Reliable {
    pub state: reliable_fsm::State,
    pub next_rseq: u32,
    pub unacknowledged: Option<Unacknowledged>,
    /// RSeq, status, response, and whether it has a body.
    pub queue: VecDeque<(u32, u16, Bytes, bool)>,
    /// The 2xx that waits: status, response, and whether it has a body.
    pub answer: Option<(u16, Bytes, bool)>,
}

/// The one that is under way.
pub struct Unacknowledged {
    pub rseq: u32,
    pub response: Bytes,
    pub has_body: bool,
    pub resend_at: Instant,
    pub interval: Duration,
    pub give_up_at: Instant,
}

impl Reliable {
    /// Nothing sent yet.
    pub fn new(rseq: u32) -> Self {
        Reliable {
            state: reliable_fsm::State::Open,
            next_rseq: rseq,
            unacknowledged: None,
            queue: VecDeque::new(),
            answer: None,
        }
    }

    /// Whether the one under way is sent again and again.
    pub fn is_waiting(&self) -> bool {
        matches!(self.state, reliable_fsm::State::Awaiting | reliable_fsm::State::AnswerHeld)
    }

    fn deadline(&self) -> Option<Instant> {
        let it = self.unacknowledged.as_ref().filter(|_| self.is_waiting())?;
        Some(it.resend_at.min(it.give_up_at))
    }
}

/// A 2xx under way (§13.3.1.4).
pub struct Success {
    pub response: Bytes,
    pub resend_at: Instant,
    pub interval: Duration,
    pub give_up_at: Instant,
}

impl Usage {
    /// Whether the last event is out.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Whether something of it can still be asked for.
    pub fn is_needed(&self) -> bool {
        !self.is_over()
            || !self.refers.is_empty()
            || self.ours.iter().any(|ours| matches!(ours.progress, Progress::Succeeded | Progress::Open))
    }

    /// Gives the dialogs back when nothing can be sent in them any more.
    pub fn forget_dialogs(&mut self) {
        if self.is_over() && self.ours.is_empty() && self.refers.is_empty() {
            self.dialogs = Vec::new();
        }
    }

    /// Forgets INVITEs of ours that succeeded and whose transaction is gone: no
    /// 2xx of theirs can come any more.
    pub fn forget_finished(&mut self) {
        self.ours.retain(|ours| ours.progress != Progress::Succeeded || ours.transaction.is_some());
    }

    /// The INVITE of ours with this CSeq.
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
        let answer_by = theirs.and_then(|theirs| theirs.answer_by);
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
