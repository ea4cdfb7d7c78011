//! The session descriptions and SIP messages of a leg, for programs that inspect them.

use super::{AgentService, LegId};
use b2b_sip::msg::{Limits, Message};
pub use b2b_sip::net::tap::{Direction, Seen};

/// The session descriptions between a remote party and us, as in the messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionDescriptions {
    /// The last one sent; empty: none.
    pub local: String,
    /// The last one received; empty: none.
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

    /// All header fields of the 2xx to our INVITE, in order, if the configuration keeps messages.
    pub fn answer_headers(&mut self, id: LegId) -> Option<Vec<(String, String)>> {
        let answer = self.legs.get(id)?.answer.as_ref()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Some(answer.fields().map(|(name, value)| (name.to_string(), text(value))).collect())
    }

    /// The next message of a dialog with its Call-ID, if the configuration keeps messages; messages of
    /// REGISTER, OPTIONS and SUBSCRIBE and unparsable ones are left out.
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
