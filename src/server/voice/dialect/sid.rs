//! Twilio's identifiers (SIDs): two letters, and 32 hexadecimal digits.

use b2b_app::voice_agent::AgentConfig;

/// Those of a stream. That of the account is always the same for an agent, the others are unguessable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sids {
    pub account: String,
    pub call: String,
    pub stream: String,
}

impl Sids {
    /// New ones for a call of this agent.
    pub fn new(agent: &AgentConfig) -> Sids {
        let digest = <sha2::Sha256 as sha2::Digest>::digest(agent.name.as_bytes());
        let account: String = digest.iter().take(16).map(|octet| format!("{octet:02x}")).collect();
        let fresh = |kind: &str| format!("{kind}{:032x}", rand::random::<u128>());
        Sids { account: format!("AC{account}"), call: fresh("CA"), stream: fresh("MZ") }
    }
}
