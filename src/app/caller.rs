//! Whom a call counts for where callers share something: tries of a PIN, the length of a queue, the slots of a
//! lot, the places of a room.

use b2b_call::channels;
use b2b_call::handler::IncomingCall;

/// Whom a call counts for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Caller {
    /// A user by password.
    User(String),
    /// Everybody who calls by this gateway, or from this address without a password.
    Trunk(String),
}

impl Caller {
    /// The caller of a call.
    pub fn of(call: &IncomingCall) -> Caller {
        match (&call.identity, &call.gateway) {
            (Some(user), _) => Caller::User(user.clone()),
            (None, Some(gateway)) => Caller::Trunk(gateway.to_string()),
            (None, None) => Caller::Trunk(call.source.ip().to_string()),
        }
    }

    /// Who is named as [`TRANSFERRED_BY`](b2b_call::service::TRANSFERRED_BY) names a party; of a trunk the
    /// address alone, since its numbers are forged at will.
    pub fn named(by: &str) -> Caller {
        match by.strip_prefix("user/") {
            Some(user) => Caller::User(user.to_owned()),
            None => Caller::Trunk(by.rsplit_once('@').map_or(by, |(_, address)| address).to_owned()),
        }
    }

    /// Whether it may have one more of `most` places, of which all together have `taken`, and itself `own`. A
    /// trunk is many people: it leaves the last places to others, and no more.
    pub fn may_have(&self, most: usize, taken: usize, own: usize) -> bool {
        let competes = matches!(self, Caller::User(_)) && taken > own;
        channels::may_have(most, taken, own, competes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trunk_is_one_caller_whatever_numbers_it_shows() {
        assert_eq!(Caller::named("user/1001"), Caller::User("1001".to_owned()));
        let trunk = Caller::Trunk("192.0.2.1:5060".to_owned());
        for number in ["+4930123", "anonymous", "a%40b"] {
            assert_eq!(Caller::named(&format!("sip:{number}@192.0.2.1:5060")), trunk, "{number}");
        }
    }
}
