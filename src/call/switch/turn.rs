//! A turn: the time, and the endpoint to act on.

use std::time::{Instant, SystemTime};

use bytes::Bytes;

use crate::reason::Reason;
use crate::switch::state::transfer::{PartyRefer, Referrer};
use b2b_sip::endpoint::{CommandError, Endpoint, HeaderFields, Reply, ServerTransactionId, UsageId};
use b2b_sip::msg::{Headers, Name};

/// The context of one turn.
pub struct Turn<'a> {
    pub now: Instant,
    /// The same moment as wall-clock time.
    pub wall: SystemTime,
    pub sip: &'a mut Endpoint,
}

/// The time of a turn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub now: Instant,
    /// The same moment as wall-clock time.
    pub wall: SystemTime,
}

impl Turn<'_> {
    /// Its time.
    pub(crate) fn at(&self) -> Moment {
        Moment { now: self.now, wall: self.wall }
    }

    /// Refuses an INVITE or re-INVITE. Header fields and a phrase that cannot be sent are left out.
    pub(crate) fn refuse(&mut self, usage: UsageId, mut reply: Reply) -> Result<(), CommandError> {
        let status = reply.status;
        if reply.reason.is_empty() {
            reply.reason = b2b_sip::msg::phrase(status).to_owned();
        }
        match self.sip.reply(self.now, usage, reply) {
            Err(CommandError::BadHeader { .. }) => self.sip.reply(self.now, usage, Reply::status(status)),
            other => other,
        }
    }

    /// Answers a pending request.
    pub(crate) fn respond(&mut self, transaction: ServerTransactionId, reply: Reply) {
        let status = reply.status;
        if let Err(error) = self.sip.respond(self.now, transaction, reply) {
            tracing::debug!("a request that waited: {error}");
            // What cannot be passed on must not keep the party waiting.
            _ = self.sip.respond(self.now, transaction, Reply::status(status));
        }
    }
}

/// A Reason header field with this value (RFC 3326).
pub(crate) fn reason_field(value: Option<Bytes>) -> HeaderFields {
    value.into_iter().map(|value| (Bytes::from_static(b"Reason"), value)).collect()
}

/// The value of the Reason header field for this reason.
pub(crate) fn reason_value(reason: &Reason) -> Bytes {
    reason.to_string().into()
}

/// The Reason header fields of a message, normalized for passing on.
pub(crate) fn reason_of(headers: &Headers) -> Option<Bytes> {
    // Asterisk sends `Q.850;cause=0` for an unknown cause, which does not exist.
    let mut said = headers.headers(Name::Reason).flat_map(Reason::parse_list).filter(|it| !it.says_nothing());
    let first = said.next()?;
    let text = said.fold(first.to_string(), |text, reason| format!("{text}, {reason}"));
    Some(text.into())
}

/// The Q.850 cause that a message names.
pub(crate) fn q850_of(headers: &Headers) -> Option<u8> {
    let said: Vec<Reason> = headers.headers(Name::Reason).flat_map(Reason::parse_list).collect();
    Reason::q850_among(&said)
}

/// The Q.850 cause in the value of a Reason header field.
pub(crate) fn q850_in(value: &[u8]) -> Option<u8> {
    Reason::q850_among(&Reason::parse_list(value))
}

impl Turn<'_> {
    /// Sends a NOTIFY about the progress of a transfer, unless the subscription is over.
    pub(crate) fn tell_referrer(&mut self, referrer: Referrer, status: u16, reason: &str) {
        if let Some(PartyRefer { usage, refer }) = referrer {
            let _ = self.sip.notify_refer(self.now, usage, refer, status, reason);
        }
    }

    pub(crate) fn answer_refer(&mut self, refer: PartyRefer, status: u16) {
        let PartyRefer { usage, refer } = refer;
        if let Err(error) = self.sip.answer_refer(self.now, usage, refer, Reply::status(status)) {
            tracing::debug!("a REFER: {error}");
        }
    }
}
