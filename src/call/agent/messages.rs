//! What was said about a leg, for programs that look closer: its descriptions, and its SIP
//! messages.

use super::{AgentService, LegId};
use b2b_sip::msg::{Limits, Message};
pub use b2b_sip::net::tap::{Direction, Seen};

/// The session descriptions between a far end and us, as they stand in the messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionDescriptions {
    /// What we have told it last; empty: nothing.
    pub local: String,
    /// What it has said last; empty: nothing.
    pub remote: String,
}

impl AgentService {
    /// A leg's descriptions; `None`: there is no such leg.
    pub fn descriptions(&mut self, id: LegId) -> Option<SessionDescriptions> {
        let (told, said) = self.legs.get(id)?.leg.descriptions();
        let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
        Some(SessionDescriptions { local: text(told), remote: text(said) })
    }

    /// The Call-ID of a leg's dialog.
    pub fn sip_call_id(&mut self, id: LegId) -> Option<Vec<u8>> {
        let usage = self.legs.get(id)?.usage;
        Some(self.stack.endpoint().dialog(usage)?.call_id.to_vec())
    }

    /// Every header field of the 2xx to a call of ours, in order, where the configuration asks for messages.
    pub fn answer_headers(&mut self, id: LegId) -> Option<Vec<(String, String)>> {
        let answer = self.legs.get(id)?.answer.as_ref()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Some(answer.fields().map(|(name, value)| (name.to_string(), text(value))).collect())
    }

    /// The next message of a dialog that passed, with its Call-ID, where the configuration asks
    /// for them; none of REGISTER, OPTIONS and SUBSCRIBE, and none that does not parse.
    pub fn take_message(&mut self) -> Option<(Vec<u8>, Seen)> {
        loop {
            let seen = self.stack.take_seen()?;
            let call_id = match Message::parse(seen.data.clone(), &Limits::default()) {
                Ok(Message::Request(request)) => request.call_id().map(<[u8]>::to_vec),
                Ok(Message::Response(response)) => response.call_id().map(<[u8]>::to_vec),
                Err(_) => continue,
            };
            if let Ok(call_id) = call_id {
                return Some((call_id, seen));
            }
        }
    }
}
