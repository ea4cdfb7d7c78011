//! Refusals and hang-ups on the endpoint, and the Reason header field.

use bytes::Bytes;

use super::Turn;
use crate::reason::Reason;
use b2b_sip::endpoint::{CommandError, HeaderFields, Reply, ServerTransactionId, UsageId};
use b2b_sip::msg::{Headers, Name};

impl Turn<'_> {
    /// Refuses an INVITE or re-INVITE. Header fields and a phrase that cannot be sent are left out.
    pub(super) fn refuse(&mut self, usage: UsageId, mut reply: Reply) -> Result<(), CommandError> {
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
    pub(super) fn respond(&mut self, transaction: ServerTransactionId, reply: Reply) {
        let status = reply.status;
        if let Err(error) = self.sip.respond(self.now, transaction, reply) {
            tracing::debug!("a request that waited: {error}");
            // What cannot be passed on must not keep the party waiting.
            _ = self.sip.respond(self.now, transaction, Reply::status(status));
        }
    }
}

/// A Reason header field with this value (RFC 3326).
pub(super) fn reason_field(value: Option<Bytes>) -> HeaderFields {
    value.into_iter().map(|value| (Bytes::from_static(b"Reason"), value)).collect()
}

/// The value of the Reason header field for this reason.
pub(super) fn reason_value(reason: &Reason) -> Bytes {
    reason.to_string().into()
}

/// The Reason header fields of a message, normalized for passing on.
pub(super) fn reason_of(headers: &Headers) -> Option<Bytes> {
    // Asterisk sends `Q.850;cause=0` for an unknown cause, which does not exist.
    let mut said = headers.headers(Name::Reason).flat_map(Reason::parse_list).filter(|it| !it.says_nothing());
    let first = said.next()?;
    let text = said.fold(first.to_string(), |text, reason| format!("{text}, {reason}"));
    Some(text.into())
}

/// The Q.850 cause that a message names.
pub(super) fn q850_of(headers: &Headers) -> Option<u8> {
    let said: Vec<Reason> = headers.headers(Name::Reason).flat_map(Reason::parse_list).collect();
    Reason::q850_among(&said)
}

/// The Q.850 cause in the value of a Reason header field.
pub(super) fn q850_in(value: &[u8]) -> Option<u8> {
    Reason::q850_among(&Reason::parse_list(value))
}
