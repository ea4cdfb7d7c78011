//! The precedence of emergency calls, and its shares.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::{ChannelLimits, SOURCES};
use crate::config::Emergency;
use crate::origin::Origin;
use b2b_call::channels::{Channel, Holder};
use b2b_sip::known::network;
use b2b_sip::net::budget::{Bucket, Rate};

impl ChannelLimits {
    /// Admits an emergency call, exempt from every limit within the share of whom it counts for: a user;
    /// of a trunk or a trusted address each calling number, and all of them together. Returns also whether it
    /// takes the place of an earlier attempt. `None`: the share is used up, and it is a call like others.
    pub fn enter_urgent(
        &mut self,
        now: Instant,
        shares: &Emergency,
        (origin, source, number): (Origin<'_>, IpAddr, &str),
    ) -> Option<(Vec<Channel>, bool)> {
        let (trunk, own) = match origin {
            Origin::User(name) => (None, Some(Holder::User(name.into()))),
            Origin::Gateway(name) => (Some(format!("gateway/{name}/")), Some(Holder::Gateway(name.into()))),
            Origin::Trusted | Origin::Unknown => (Some(format!("source/{}/", network(source))), None),
        };
        let who: Arc<str> = match (&trunk, origin) {
            (Some(trunk), _) => format!("{trunk}{number}").into(),
            (None, Origin::User(name)) => format!("user/{name}").into(),
            (None, _) => return None,
        };
        if self.urgent.len() >= SOURCES {
            self.urgent.retain(|_, bucket| !bucket.is_full(now));
        }
        if self.urgent.len() >= SOURCES && !self.urgent.contains_key(&who) {
            return None;
        }
        let rate = Rate { per_second: 1, burst: shares.user_burst };
        self.urgent.entry(who.clone()).or_insert_with(|| Bucket::new(now)).take(now, rate).ok()?;
        let channels = &self.channels;
        let urgent = Holder::Emergency(who);
        let has = channels.taken(&urgent);
        // A number that a trunk shows may be that of many callers.
        let is_user = trunk.is_none();
        let redials = is_user && has >= shares.user_calls && channels.give_up(&urgent);
        if !redials {
            // The last quarter is for those who have none.
            let most = if has == 0 { shares.calls } else { shares.calls - shares.calls.div_ceil(4) };
            let trunk_is_full = trunk.is_some_and(|trunk| channels.urgent(&trunk) >= shares.trunk_calls);
            if has >= shares.user_calls || channels.urgent("") >= most || trunk_is_full {
                return None;
            }
        }
        let held = [Some(urgent), own].into_iter().flatten();
        Some((held.filter_map(|holder| channels.take(holder, None).ok()).collect(), redials))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::{HERE, channel_limits};
    use super::*;
    use crate::config::parse_alone;

    #[test]
    fn a_flood_of_emergency_calls_uses_up_its_callers_share_and_no_others() {
        let text = "[emergency]\nnumbers = [\"112\"]\ngateways = [\"g\"]\ncalls = 8\ntrunk_calls = 4\n\
                    [[gateway]]\nname = \"g\"\nhosts = [\"a\"]\n";
        let config = parse_alone(text).unwrap();
        let shares = config.emergency.as_ref().unwrap();
        let (mut limits, now, channels) = channel_limits(&config);
        let user = |name| (Origin::User(name), HERE, "");
        let flood: Vec<_> =
            (0..1_000).filter_map(|_| limits.enter_urgent(now, shares, user("1001"))).collect();
        assert_eq!(flood.iter().filter(|(_, redials)| *redials).count(), 1, "a burst of three, two at once");
        assert_eq!(channels.urgent("user/1001"), 2);
        // A trunk whose callers all have numbers of their own.
        let trunk: Vec<_> = (0..1_000)
            .filter_map(|n| limits.enter_urgent(now, shares, (Origin::Gateway("g"), HERE, &n.to_string())))
            .collect();
        assert_eq!(trunk.len(), 4);
        // Many callers of it may show one number: none of them ends the call of another.
        let trusted = || (Origin::Trusted, HERE, "anonymous");
        let same: Vec<_> = (0..3).filter_map(|_| limits.enter_urgent(now, shares, trusted())).collect();
        assert!(same.iter().all(|(_, redials)| !redials) && same.len() < 3);
        drop(same);
        // Six of eight places are taken: the others are for those who have none.
        let second = limits.enter_urgent(now, shares, user("1002")).unwrap();
        assert!(limits.enter_urgent(now, shares, user("1002")).is_none());
        assert!(limits.enter_urgent(now, shares, user("1003")).is_some());
        let fourth = limits.enter_urgent(now, shares, user("1004"));
        drop((second, trunk));
        let later = now + Duration::from_secs(60);
        flood.iter().flat_map(|(channels, _)| channels).for_each(|channel| channel.talks(true));
        assert!(limits.enter_urgent(later, shares, user("1001")).is_none(), "it has two conversations");
        drop((flood, fourth));
        assert_eq!(channels.urgent(""), 0);
    }
}
