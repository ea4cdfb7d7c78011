//! Parties that are sent away: a REFER of ours, and how it ended.

use super::{CallError, CallService};
use crate::LegId;
use crate::switch::command::Command;

/// Where a party is sent, by REFER.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct ReferRequest {
    /// What Refer-To says: a `sip:`, `sips:` (RFC 3261 §19.1) or `tel:` URI (RFC 3966).
    pub to: String,
    /// The leg's own party is sent away, which is in no bridge; else its partner is.
    pub own: bool,
    /// More header fields of the REFER.
    pub headers: Vec<(String, String)>,
}

impl ReferRequest {
    /// Whether `to` can stand in Refer-To.
    pub fn is_uri(&self) -> bool {
        let scheme = self.to.split_once(':').map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest));
        let known = scheme.is_some_and(|(scheme, rest)| {
            !rest.is_empty() && ["sip", "sips", "tel"].contains(&scheme.as_str())
        });
        known && self.to.bytes().all(|octet| octet.is_ascii_graphic() && !b"<>\"".contains(&octet))
    }
}

/// A party that has gone over to whom it was sent, and was hung up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReferOutcome {
    /// What it said last of its call (RFC 3515 §2.4.5); 202: it has taken the REFER, and said nothing
    /// of a call.
    pub status: u16,
    /// Whether it said that its call was answered. Else it hung up without a word on that, as many
    /// providers do.
    pub confirmed: bool,
}

/// Why a party has not gone over. It is still there, but for [`ReferError::Gone`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferError {
    /// It has ended, or was never there.
    #[error("there is no such leg, or it is over")]
    Gone,
    /// The command does not go with its state; the text says why.
    #[error("not possible now: {0}")]
    WrongState(&'static str),
    /// Not a URI that Refer-To can have.
    #[error("'{0}' cannot be the target of a REFER; write a sip:, sips: or tel: URI")]
    BadTarget(String),
    /// A field that belongs to the dialog, or that is not one.
    #[error("{0} cannot be sent in a REFER; remove it")]
    BadHeader(String),
    /// The status of its response to the REFER, 408: there was none. It may not know REFER: call from
    /// here with [`CallService::transfer`].
    #[error("the party refused the REFER with {0}; let b2b transfer the call instead")]
    Refused(u16),
    /// The party has called and was refused: the status that it told of.
    #[error("the transfer target refused with {0}")]
    Failed(u16),
    /// It has taken the REFER and never said how its call ended.
    #[error("the party did not report the result of the transfer")]
    Unknown,
    /// The switch is stopping or has stopped.
    #[error("the service is stopping; it accepts no new commands")]
    Stopping,
}

impl ReferError {
    /// As a SIP status (RFC 3261 §21), for events.
    pub fn status(&self) -> u16 {
        match self {
            ReferError::Refused(status) | ReferError::Failed(status) => *status,
            ReferError::BadTarget(_) | ReferError::BadHeader(_) => 400,
            ReferError::WrongState(_) => 491,
            ReferError::Gone => 481,
            ReferError::Unknown | ReferError::Stopping => 503,
        }
    }
}

impl CallService {
    /// Sends the party of a leg's other side away, or the leg's own ([`ReferRequest::own`]): it is
    /// asked to call somebody by itself (REFER, RFC 3515), and hung up when it has. Ready when that is
    /// known; until then all talk on. [`CallService::transfer`] calls from here instead.
    ///
    /// # Errors
    /// It has not gone over; the error says whose fault that was.
    pub async fn refer(&self, leg: LegId, request: ReferRequest) -> Result<ReferOutcome, ReferError> {
        self.ask(|reply| Command::Refer { leg, request, reply }).await.unwrap_or(Err(ReferError::Stopping))
    }

    /// Answers a caller with media of our own, as [`CallService::answer`] does, with header fields of
    /// the caller's own in the 200.
    ///
    /// # Errors
    /// As [`CallService::answer`].
    pub async fn answer_with(&self, leg: LegId, headers: Vec<(String, String)>) -> Result<(), CallError> {
        let headers = headers.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        self.command(|reply| Command::Answer { leg, headers, reply }).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_party_is_sent_to_uris_and_nothing_else() {
        let is_uri = |to: &str| ReferRequest { to: to.to_owned(), ..ReferRequest::default() }.is_uri();
        for good in ["sip:bob@192.0.2.1", "SIPS:b@h", "tel:+4930123;phone-context=example.com", "sip:h?X-A=b"]
        {
            assert!(is_uri(good), "{good}");
        }
        for bad in
            ["", "sip:", "bob", "user/1001", "http://h/", "sip:b@h>;a=<", "sip:b@h\r\nX: y", "sip: b@h"]
        {
            assert!(!is_uri(bad), "{bad}");
        }
    }
}
