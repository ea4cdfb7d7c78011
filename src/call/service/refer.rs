//! Parties that are sent away by a REFER of ours, and the outcome.

use super::{CallError, CallService};
use crate::LegId;
use crate::service::command::Command;

/// The target and options of a REFER.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct ReferRequest {
    /// The URI in Refer-To: `sip:`, `sips:` (RFC 3261 §19.1) or `tel:` (RFC 3966).
    pub to: String,
    /// The REFER goes to the leg's own party, which must be in no bridge; otherwise to its partner.
    pub own: bool,
    /// Further header fields of the REFER.
    pub headers: Vec<(String, String)>,
}

impl ReferRequest {
    /// Whether `to` is permitted in Refer-To.
    pub fn is_uri(&self) -> bool {
        let scheme = self.to.split_once(':').map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest));
        let known = scheme.is_some_and(|(scheme, rest)| {
            !rest.is_empty() && ["sip", "sips", "tel"].contains(&scheme.as_str())
        });
        known && self.to.bytes().all(|octet| octet.is_ascii_graphic() && !b"<>\"".contains(&octet))
    }
}

/// A party has gone to the target, and was hung up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReferOutcome {
    /// The last status that the party reported for its call (RFC 3515 §2.4.5); 202: it accepted the REFER and
    /// reported no status.
    pub status: u16,
    /// Whether the party reported that its call was answered. Otherwise it hung up without reporting it, as
    /// many providers do.
    pub confirmed: bool,
}

/// Why a party has not gone to the target. It is still connected, except for [`ReferError::Gone`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferError {
    /// The leg has ended, or never existed.
    #[error("there is no such leg, or it is over")]
    Gone,
    /// The command is not possible in its state; the text says why.
    #[error("not possible now: {0}")]
    WrongState(&'static str),
    /// The target is not a URI permitted in Refer-To.
    #[error("'{0}' cannot be the target of a REFER; write a sip:, sips: or tel: URI")]
    BadTarget(String),
    /// A header field that belongs to the dialog, or that is invalid.
    #[error("{0} cannot be sent in a REFER; remove it")]
    BadHeader(String),
    /// The status of the response to the REFER; 408: there was none. The party may not support REFER: call
    /// the target from here with [`CallService::transfer`].
    #[error("the party refused the REFER with {0}; let b2b transfer the call instead")]
    Refused(u16),
    /// The party's call was refused with the status that it reported.
    #[error("the transfer target refused with {0}")]
    Failed(u16),
    /// The party accepted the REFER and did not report the outcome of its call.
    #[error("the party did not report the result of the transfer")]
    Unknown,
    /// The switch is stopping or has stopped.
    #[error("the service is stopping; it accepts no new commands")]
    Stopping,
}

impl ReferError {
    /// The error as a SIP status (RFC 3261 §21), for events.
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
    /// Asks the partner of a leg, or the leg's own party ([`ReferRequest::own`]), to call a target by itself
    /// (REFER, RFC 3515), and hangs it up when it has. Returns once the outcome is known; until then all
    /// parties stay connected. [`CallService::transfer`] calls the target from here instead.
    ///
    /// # Errors
    /// The party has not gone to the target; the error says why.
    pub async fn refer(&self, leg: LegId, request: ReferRequest) -> Result<ReferOutcome, ReferError> {
        let asked = self.ask(|reply| Command::Refer { leg, request, reply }).await;
        asked.unwrap_or_else(|_| {
            Err(if self.commands.is_closed() { ReferError::Stopping } else { ReferError::Gone })
        })
    }

    /// Answers a caller with media of our own, as [`CallService::answer`] does, with these header fields in
    /// the 200.
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
