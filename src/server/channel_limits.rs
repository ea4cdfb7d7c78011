//! Limits on calls, and on answers to unknown sources. Time comes in as an argument.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::origin::Origin;
use crate::config::{Limits, ServerConfig};
use b2b_call::channels::{Channel, Channels, Holder};
use b2b_sip::known::{KnownSources, network};
use b2b_sip::net::budget::{Bucket, Rate, SourceBudget};

/// Sources with a budget of their own; the others share one.
const SOURCES: usize = 16_384;

/// The limits of `[limits]` at work.
pub struct ChannelLimits {
    channels: Channels,
    calls: Bucket,
    calls_rate: Rate,
    /// Buckets of users, by name; a full bucket equals a new one.
    users: HashMap<Arc<str>, Bucket>,
    users_rate: Rate,
    sources: SourceBudget,
    strangers: SourceBudget,
    next_sweep: Instant,
    /// When the next call may go out, for gateways with a limit of calls per second.
    gateways: HashMap<Arc<str>, Instant>,
}

/// Maximum time a call waits for a gateway's rate limit: the next target may be quicker.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Minimum interval between sweeps of the users' buckets.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// Why a call is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoEntry {
    /// Too many new calls in this second; retry after this time.
    Rate(Duration),
    /// The user has begun too many calls in this second; retry after this time.
    UserRate(Duration),
    /// The source has begun too many calls in this second.
    SourceRate,
    /// The source has its maximum number of calls.
    Source,
    /// The user has their maximum number of calls.
    User,
    /// All channels of the gateway are in use.
    Gateway,
    /// The gateway takes no more calls in this second, and the queue for the next seconds is full.
    GatewayRate,
}

impl ChannelLimits {
    /// New limits over these channels.
    pub fn new(now: Instant, limits: &Limits, channels: Channels) -> Self {
        let Rates { calls: calls_rate, users: users_rate, sources, strangers } = rates(limits);
        ChannelLimits {
            channels,
            calls: Bucket::new(now),
            calls_rate,
            users: HashMap::new(),
            users_rate,
            sources: SourceBudget::new(now, sources, SOURCES, KnownSources::default()),
            strangers: SourceBudget::new(now, strangers, SOURCES, KnownSources::default()),
            next_sweep: now,
            gateways: HashMap::new(),
        }
    }

    /// Applies changed limits.
    pub fn reconfigure(&mut self, limits: &Limits) {
        let Rates { calls, users, sources, strangers } = rates(limits);
        (self.calls_rate, self.users_rate) = (calls, users);
        self.sources.set_rate(sources);
        self.strangers.set_rate(strangers);
    }

    /// Admits a call from a party that may call. Returns the channels that the call holds.
    ///
    /// # Errors
    /// See [`NoEntry`].
    pub fn enter(
        &mut self,
        now: Instant,
        config: &ServerConfig,
        origin: Origin<'_>,
        source: IpAddr,
    ) -> Result<Vec<Channel>, NoEntry> {
        let mut channels = Vec::new();
        match origin {
            Origin::Trusted => {}
            Origin::Gateway(name) => {
                let limit = config.gateway(name).and_then(|gateway| config.channels_of(gateway));
                channels.push(self.take(Holder::Gateway(name.into()), limit, NoEntry::Gateway)?);
            }
            Origin::User(name) => {
                let limit = config.user(name).and_then(|user| user.max_calls);
                channels.push(self.take(Holder::User(name.into()), limit, NoEntry::User)?);
            }
            Origin::Unknown => {}
        }
        if matches!(origin, Origin::User(_) | Origin::Unknown) {
            let limit = Some(config.limits.source_calls);
            channels.push(self.take(Holder::Source(network(source)), limit, NoEntry::Source)?);
        }
        // The individual limits come first, so that a party over its own limit does not use up the shared one.
        if let Origin::User(name) = origin {
            self.pace(now, name)?;
        }
        if matches!(origin, Origin::User(_) | Origin::Unknown) && !self.sources.admit(now, source) {
            return Err(NoEntry::SourceRate);
        }
        self.calls.take(now, self.calls_rate).map_err(NoEntry::Rate)?;
        Ok(channels)
    }

    /// The same for an emergency call, exempt from every limit but the one for such calls. `None`: that limit
    /// is reached.
    pub fn enter_urgent(&self, most: usize, origin: Origin<'_>) -> Option<Vec<Channel>> {
        let mut channels = vec![self.channels.take(Holder::Emergency, Some(most)).ok()?];
        let holder = match origin {
            Origin::Gateway(name) => Some(Holder::Gateway(name.into())),
            Origin::User(name) => Some(Holder::User(name.into())),
            Origin::Trusted | Origin::Unknown => None,
        };
        channels.extend(holder.and_then(|holder| self.channels.take(holder, None).ok()));
        Some(channels)
    }

    fn pace(&mut self, now: Instant, user: &str) -> Result<(), NoEntry> {
        if now >= self.next_sweep {
            self.next_sweep = now + SWEEP_INTERVAL;
            self.users.retain(|_, bucket| !bucket.is_full(now));
        }
        let bucket = match self.users.get_mut(user) {
            Some(bucket) => bucket,
            None => self.users.entry(user.into()).or_insert_with(|| Bucket::new(now)),
        };
        bucket.take(now, self.users_rate).map_err(NoEntry::UserRate)
    }

    fn take(&self, holder: Holder, limit: Option<usize>, full: NoEntry) -> Result<Channel, NoEntry> {
        self.channels.take(holder, limit).map_err(|_| full)
    }

    /// Takes a channel for a call out through a gateway.
    ///
    /// # Errors
    /// If all of its channels are in use.
    pub fn through(&self, gateway: &Arc<str>, channels: Option<u32>) -> Result<Channel, NoEntry> {
        let limit = channels.map(|channels| channels as usize);
        self.take(Holder::Gateway(gateway.clone()), limit, NoEntry::Gateway)
    }

    /// How long a call waits for a gateway with a limit of calls per second. Calls go out evenly spaced: a
    /// provider counts a burst as too many.
    ///
    /// # Errors
    /// If the calls before it fill the next two seconds.
    pub fn wait(&mut self, now: Instant, gateway: &Arc<str>, per_s: u32) -> Result<Duration, NoEntry> {
        let next = self.gateways.entry(gateway.clone()).or_insert(now);
        let wait = next.saturating_duration_since(now);
        if wait > LONGEST_WAIT {
            return Err(NoEntry::GatewayRate);
        }
        *next = now + wait + Duration::from_secs(1) / per_s.max(1);
        Ok(wait)
    }

    /// Takes a channel for a call to a user: ringing at each of the user's phones, it is one call.
    ///
    /// # Errors
    /// If the user has their maximum number of calls.
    pub fn to_user(
        &self,
        user: &str,
        max_calls: Option<usize>,
        held: &[Channel],
    ) -> Result<Channel, NoEntry> {
        let holder = Holder::User(user.into());
        match held.iter().find(|channel| *channel.holder() == holder) {
            Some(channel) => Ok(channel.clone()),
            None => self.take(holder, max_calls, NoEntry::User),
        }
    }

    /// Whether a request from an unknown source is answered.
    pub fn answers_stranger(&mut self, now: Instant, source: IpAddr) -> bool {
        self.strangers.admit(now, source)
    }

    /// The source has turned out to be a user: its challenge is not counted against the budget.
    pub fn was_no_stranger(&mut self, source: IpAddr) {
        self.strangers.give_back(source);
    }
}

struct Rates {
    calls: Rate,
    users: Rate,
    sources: Rate,
    strangers: Rate,
}

fn rates(limits: &Limits) -> Rates {
    // A second's worth may come as one burst.
    let second = |calls| Rate { per_second: calls, burst: calls };
    let strangers = limits.source_challenges_per_s;
    Rates {
        calls: second(limits.calls_per_s),
        users: second(limits.user_calls_per_s),
        sources: second(limits.source_calls_per_s),
        strangers: Rate { per_second: strangers, burst: strangers.saturating_mul(10) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_alone;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn config() -> ServerConfig {
        parse_alone(
            "[limits]\ncalls_per_s = 4\nsource_calls = 2\nsource_challenges_per_s = 3\n\
             [[user]]\nname = \"1001\"\npassword = \"x\"\nmax_calls = 1\n\
             [[user]]\nname = \"1002\"\npassword = \"x\"\n\
             [[gateway]]\nname = \"g\"\nhosts = [\"a\"]\nchannels = 2\n",
        )
        .unwrap()
    }

    fn channel_limits(config: &ServerConfig) -> (ChannelLimits, Instant, Channels) {
        let (now, channels) = (Instant::now(), Channels::default());
        (ChannelLimits::new(now, &config.limits, channels.clone()), now, channels)
    }

    #[test]
    fn a_user_has_their_calls_and_no_more_both_ways_and_each_of_their_phones_is_the_same_call() {
        let config = config();
        let (mut channel_limits, now, _) = channel_limits(&config);
        let held = channel_limits.enter(now, &config, Origin::User("1001"), HERE).unwrap();
        assert_eq!(
            channel_limits.enter(now, &config, Origin::User("1001"), HERE).unwrap_err(),
            NoEntry::User
        );
        assert_eq!(channel_limits.to_user("1001", Some(1), &[]).unwrap_err(), NoEntry::User);
        drop(held);
        let first_phone = channel_limits.to_user("1001", Some(1), &[]).unwrap();
        assert!(channel_limits.to_user("1001", Some(1), std::slice::from_ref(&first_phone)).is_ok());
        assert_eq!(channel_limits.to_user("1001", Some(1), &[]).unwrap_err(), NoEntry::User);
    }

    #[test]
    fn a_source_has_its_calls_and_no_more_but_trusted_ones_and_gateways_are_not_counted() {
        let config = config();
        let (mut channel_limits, now, channels) = channel_limits(&config);
        let held: Vec<_> =
            (0..2).map(|_| channel_limits.enter(now, &config, Origin::User("1002"), HERE).unwrap()).collect();
        assert_eq!(
            channel_limits.enter(now, &config, Origin::User("1002"), HERE).unwrap_err(),
            NoEntry::Source
        );
        assert!(channel_limits.enter(now, &config, Origin::User("1002"), THERE).is_ok());
        assert!(channel_limits.enter(now, &config, Origin::Trusted, HERE).is_ok());
        drop(held);
        assert_eq!(channels.all(), []);
    }

    #[test]
    fn channels_of_a_gateway_count_both_ways() {
        let config = config();
        let (mut channel_limits, now, _) = channel_limits(&config);
        let _in = channel_limits.enter(now, &config, Origin::Gateway("g"), HERE).unwrap();
        let out = channel_limits.through(&"g".into(), Some(2)).unwrap();
        assert_eq!(channel_limits.through(&"g".into(), Some(2)).unwrap_err(), NoEntry::Gateway);
        assert_eq!(
            channel_limits.enter(now, &config, Origin::Gateway("g"), HERE).unwrap_err(),
            NoEntry::Gateway
        );
        drop(out);
        assert!(channel_limits.enter(now, &config, Origin::Gateway("g"), HERE).is_ok());
    }

    #[test]
    fn only_so_many_calls_come_in_a_second_and_one_that_is_refused_holds_nothing() {
        let config = config();
        let (mut channel_limits, now, channels) = channel_limits(&config);
        for _ in 0..4 {
            assert!(channel_limits.enter(now, &config, Origin::Trusted, HERE).is_ok());
        }
        let refused = channel_limits.enter(now, &config, Origin::User("1001"), HERE);
        assert!(matches!(refused, Err(NoEntry::Rate(wait)) if wait <= Duration::from_millis(250)));
        assert_eq!(channels.all(), []);
        assert!(
            channel_limits.enter(now + Duration::from_millis(250), &config, Origin::Trusted, HERE).is_ok()
        );
    }

    #[test]
    fn one_users_flood_and_one_sources_take_nothing_from_others() {
        let text = "[limits]\ncalls_per_s = 10\nuser_calls_per_s = 2\nsource_calls_per_s = 3\n\
                    [[user]]\nname = \"1001\"\npassword = \"x\"\n[[user]]\nname = \"1002\"\npassword = \"x\"\n";
        let config = parse_alone(text).unwrap();
        let (mut channel_limits, now, _) = channel_limits(&config);
        let mut enter = |origin, source| channel_limits.enter(now, &config, origin, source).map(drop);
        let flood: Vec<_> = (0..800).map(|_| enter(Origin::User("1001"), HERE)).collect();
        assert_eq!(flood.iter().filter(|it| it.is_ok()).count(), 2);
        assert!(matches!(flood[2], Err(NoEntry::UserRate(wait)) if wait <= Duration::from_millis(500)));
        assert_eq!(enter(Origin::User("1002"), HERE), Ok(()));
        assert_eq!(enter(Origin::User("1002"), HERE), Err(NoEntry::SourceRate), "three from there");
        assert_eq!(enter(Origin::User("1002"), THERE), Err(NoEntry::UserRate(Duration::from_millis(500))));
        for _ in 0..7 {
            assert_eq!(enter(Origin::Gateway("g"), HERE), Ok(()), "gateways are not limited by source");
        }
        assert!(matches!(enter(Origin::Trusted, HERE), Err(NoEntry::Rate(_))));
    }

    #[test]
    fn strangers_are_answered_within_a_budget_and_users_do_not_use_it_up() {
        let config = config();
        let (mut channel_limits, now, _) = channel_limits(&config);
        for _ in 0..100 {
            assert!(channel_limits.answers_stranger(now, HERE));
            channel_limits.was_no_stranger(HERE);
        }
        assert_eq!((0..100).filter(|_| channel_limits.answers_stranger(now, THERE)).count(), 30);
        assert!(channel_limits.answers_stranger(now, HERE), "another source's flood is its own");
    }

    #[test]
    fn calls_to_a_gateway_go_out_evenly_and_none_waits_for_long() {
        let (config, now) = (config(), Instant::now());
        let mut limits = ChannelLimits::new(now, &config.limits, Channels::default());
        let (one, other): (Arc<str>, Arc<str>) = ("g".into(), "h".into());
        let waits: Vec<_> = (0..7).map(|_| limits.wait(now, &one, 2).map(|it| it.as_millis())).collect();
        let full = Err(NoEntry::GatewayRate);
        assert_eq!(waits, [Ok(0), Ok(500), Ok(1_000), Ok(1_500), Ok(2_000), full, full]);
        assert_eq!(limits.wait(now, &other, 2), Ok(Duration::ZERO), "each has its own");
        let later = now + Duration::from_secs(1);
        assert_eq!(limits.wait(later, &one, 2), Ok(Duration::from_millis(1_500)));
        assert_eq!(limits.wait(now + Duration::from_secs(60), &one, 2), Ok(Duration::ZERO));
    }
}
