//! Limits on calls, and on answers to unknown sources. Time comes in as an argument.

mod urgent;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::effective_source::EffectiveSource;
use super::origin::Origin;
use crate::config::{Limits, ServerConfig};
use b2b_call::channels::{Channel, Channels, Holder, may_have};
use b2b_call::pace::{Pace, Place};
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
    /// Buckets of emergency calls, by whom they count for.
    urgent: HashMap<Arc<str>, Bucket>,
    sources: SourceBudget,
    /// Answers to unknown sources whose address is certain, and to those whose address may be forged.
    strangers: [SourceBudget; 2],
    next_sweep: Instant,
    /// The calls that wait, for gateways with a limit of calls per second.
    paces: HashMap<Arc<str>, Pace>,
    /// The two users who last called through a gateway with a limit of channels, the latest first.
    asked: HashMap<Arc<str>, [Option<Asked>; 2]>,
}

/// A user, and when it last called through a gateway.
type Asked = (Arc<str>, Instant);

/// How long a user who has called through a gateway counts as one who wants its channels.
const WANTED: Duration = Duration::from_secs(60);

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
    /// The user has as many of the gateway's channels as one may.
    GatewayShare,
    /// The gateway takes no more calls in this second, and the queue for the next seconds is full.
    GatewayRate,
}

impl ChannelLimits {
    /// New limits over these channels. Known sources have room in the tables that strangers fill.
    pub fn new(now: Instant, limits: &Limits, channels: Channels, known: &KnownSources) -> Self {
        let Rates { calls: calls_rate, users: users_rate, sources, strangers } = rates(limits);
        ChannelLimits {
            channels,
            calls: Bucket::new(now),
            calls_rate,
            users: HashMap::new(),
            users_rate,
            urgent: HashMap::new(),
            sources: SourceBudget::new(now, sources, SOURCES, known.clone()),
            strangers: strangers.map(|rate| SourceBudget::new(now, rate, SOURCES, known.clone())),
            next_sweep: now,
            paces: HashMap::new(),
            asked: HashMap::new(),
        }
    }

    /// The channels in use.
    pub fn channels(&self) -> Channels {
        self.channels.clone()
    }

    /// Applies changed limits.
    pub fn reconfigure(&mut self, limits: &Limits) {
        let Rates { calls, users, sources, strangers } = rates(limits);
        (self.calls_rate, self.users_rate) = (calls, users);
        self.sources.set_rate(sources);
        self.strangers.iter_mut().zip(strangers).for_each(|(of, rate)| of.set_rate(rate));
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
        self.count(now, origin, Some(source))?;
        Ok(channels)
    }

    /// Counts a call of a party, or one that it leads to by REFER, a 3xx or an application, among the calls per
    /// second.
    ///
    /// # Errors
    /// See [`NoEntry`].
    pub fn count(&mut self, now: Instant, origin: Origin<'_>, source: Option<IpAddr>) -> Result<(), NoEntry> {
        // The individual limits come first, so that a party over its own limit does not use up the shared one.
        if let Origin::User(name) = origin {
            let rate = self.users_rate;
            self.bucket(now, name).take(now, rate).map_err(NoEntry::UserRate)?;
        }
        if matches!(origin, Origin::User(_) | Origin::Unknown)
            && source.is_some_and(|source| !self.sources.admit(now, source))
        {
            return Err(NoEntry::SourceRate);
        }
        self.calls.take(now, self.calls_rate).map_err(NoEntry::Rate)
    }

    /// Counts a call that a program has asked for, among those of its token and of all. The token with all
    /// rights, which has no name, has no limit of its own.
    ///
    /// # Errors
    /// See [`NoEntry`].
    pub fn count_token(&mut self, now: Instant, token: &str) -> Result<(), NoEntry> {
        let rate = self.users_rate;
        if !token.is_empty() {
            // No user has such a name.
            self.bucket(now, &format!("token/{token}")).take(now, rate).map_err(NoEntry::UserRate)?;
        }
        self.calls.take(now, self.calls_rate).map_err(NoEntry::Rate)
    }

    /// Counts one more phone that rings for a user's call. It is never too many: the user's next call waits.
    pub fn charge(&mut self, now: Instant, user: &str) {
        let rate = self.users_rate;
        self.bucket(now, user).charge(now, rate);
    }

    fn bucket(&mut self, now: Instant, user: &str) -> &mut Bucket {
        if now >= self.next_sweep {
            self.next_sweep = now + SWEEP_INTERVAL;
            self.users.retain(|_, bucket| !bucket.is_full(now));
        }
        self.users.entry(user.into()).or_insert_with(|| Bucket::new(now))
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

    /// Takes a user's share of a gateway's channels, before [`ChannelLimits::through`]: the last eighth of them
    /// is for users without one, and half is the most for one user while others call through it, too.
    ///
    /// # Errors
    /// If the user has its share.
    pub fn share(
        &mut self,
        now: Instant,
        gateway: &Arc<str>,
        channels: u32,
        user: &str,
    ) -> Result<Channel, NoEntry> {
        let (channels, user): (usize, Arc<str>) = (channels as usize, user.into());
        let asked = self.asked.entry(gateway.clone()).or_default();
        let others = asked.iter().flatten().any(|(name, at)| *name != user && now < *at + WANTED);
        if asked[0].as_ref().is_some_and(|(name, _)| *name != user) {
            asked.swap(0, 1);
        }
        asked[0] = Some((user.clone(), now));
        let taken = self.channels.taken(&Holder::Gateway(gateway.clone()));
        let holder = Holder::Through(gateway.clone(), user);
        match may_have(channels, taken, self.channels.taken(&holder), others) {
            true => self.take(holder, None, NoEntry::GatewayShare),
            false => Err(NoEntry::GatewayShare),
        }
    }

    /// How long a call of `who` waits for a gateway with a limit of calls per second, and its place among those
    /// that wait.
    ///
    /// # Errors
    /// If the calls before it fill the next two seconds.
    pub fn wait(
        &mut self,
        now: Instant,
        gateway: &Arc<str>,
        per_s: u32,
        who: &str,
    ) -> Result<(Duration, Option<Place>), NoEntry> {
        let pace = self.paces.entry(gateway.clone()).or_insert_with(|| Pace::new(now));
        pace.join(now, per_s, who, LONGEST_WAIT).map_err(|_| NoEntry::GatewayRate)
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
    pub fn answers_stranger(&mut self, now: Instant, source: EffectiveSource) -> bool {
        self.strangers[usize::from(source.is_forgeable)].admit(now, source.ip())
    }

    /// The source has turned out to be a user: its challenge is not counted against the budget.
    pub fn was_no_stranger(&mut self, source: EffectiveSource) {
        self.strangers[usize::from(source.is_forgeable)].give_back(source.ip());
    }
}

struct Rates {
    calls: Rate,
    users: Rate,
    sources: Rate,
    strangers: [Rate; 2],
}

fn rates(limits: &Limits) -> Rates {
    // A second's worth may come as one burst.
    let second = |calls| Rate { per_second: calls, burst: calls };
    let strangers = limits.source_challenges_per_s;
    Rates {
        calls: second(limits.calls_per_s),
        users: second(limits.user_calls_per_s),
        sources: second(limits.source_calls_per_s),
        // A burst to a forged address reaches somebody who has not asked.
        strangers: [10, 4].map(|s| Rate { per_second: strangers, burst: strangers.saturating_mul(s) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_alone;

    pub const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
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

    fn from(ip: IpAddr, is_forgeable: bool) -> EffectiveSource {
        EffectiveSource { address: (ip, 5060).into(), by_proxy: false, is_forgeable }
    }

    pub fn channel_limits(config: &ServerConfig) -> (ChannelLimits, Instant, Channels) {
        let (now, channels) = (Instant::now(), Channels::default());
        (ChannelLimits::new(now, &config.limits, channels.clone(), &KnownSources::default()), now, channels)
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
            assert!(channel_limits.answers_stranger(now, from(HERE, true)));
            channel_limits.was_no_stranger(from(HERE, true));
        }
        let mut answered = |source| (0..100).filter(|_| channel_limits.answers_stranger(now, source)).count();
        assert_eq!(answered(from(THERE, true)), 12, "four seconds' worth over UDP");
        assert_eq!(answered(from(THERE, false)), 30, "ten where the address is certain");
        assert_ne!(answered(from(HERE, true)), 0, "another source's flood is its own");
    }

    #[test]
    fn a_flood_from_forged_addresses_takes_no_challenge_from_who_is_known() {
        let (config, now, known) = (config(), Instant::now(), KnownSources::default());
        let mut limits = ChannelLimits::new(now, &config.limits, Channels::default(), &known);
        known.at_home(now, HERE, now + Duration::from_secs(60));
        for n in 0..2 * SOURCES as u32 {
            limits.answers_stranger(now, from(IpAddr::V4((0x0a00_0000 + n).into()), true));
        }
        assert!(!limits.answers_stranger(now, from(THERE, true)), "the table is full");
        assert!(limits.answers_stranger(now, from(HERE, true)));
    }

    #[test]
    fn the_calls_that_a_user_leads_to_come_out_of_its_own_bucket_and_phones_that_ring_delay_its_next_call() {
        let text =
            "[limits]\ncalls_per_s = 10\nuser_calls_per_s = 2\n[[user]]\nname = \"1001\"\npassword = \"x\"\n";
        let config = parse_alone(text).unwrap();
        let (mut limits, now, _) = channel_limits(&config);
        let user = Origin::User("1001");
        assert!(limits.enter(now, &config, user, HERE).is_ok());
        assert_eq!(limits.count(now, user, None), Ok(()), "the second call of this second");
        assert!(matches!(limits.count(now, user, None), Err(NoEntry::UserRate(_))));
        assert_eq!(limits.count(now, Origin::User("1002"), None), Ok(()));
        let later = now + Duration::from_secs(60);
        (0..100).for_each(|_| limits.charge(later, "1001"));
        assert!(matches!(limits.count(later, user, None), Err(NoEntry::UserRate(_))));
        assert_eq!(limits.count(later + Duration::from_secs(2), user, None), Ok(()), "never for long");
    }

    #[test]
    fn no_user_has_the_last_channels_of_a_gateway_or_more_than_half_while_others_call() {
        let config = config();
        let (mut limits, now, _) = channel_limits(&config);
        let gateway: Arc<str> = "g".into();
        let mut call = |now, user: &str| {
            let share = limits.share(now, &gateway, 16, user)?;
            Ok::<_, NoEntry>((share, limits.through(&gateway, Some(16))?))
        };
        let mut held: Vec<_> = std::iter::from_fn(|| call(now, "1001").ok()).collect();
        assert_eq!(held.len(), 14, "all but an eighth");
        held.push(call(now, "1002").expect("a channel for who has none"));
        assert!(matches!(call(now, "1002"), Err(NoEntry::GatewayShare)));
        held.drain(..4);
        assert!(matches!(call(now, "1001"), Err(NoEntry::GatewayShare)), "10 are more than half");
        assert!(call(now, "1002").is_ok());
        assert!(call(now + WANTED, "1001").is_ok(), "nobody else has asked lately");
    }

    #[test]
    fn of_two_channels_one_user_gets_both_while_nobody_else_calls() {
        let config = config();
        let (mut limits, now, _) = channel_limits(&config);
        let gateway: Arc<str> = "g".into();
        let held: Vec<_> = (0..2).map(|_| limits.share(now, &gateway, 2, "1001").unwrap()).collect();
        assert!(limits.share(now, &gateway, 2, "1002").is_ok(), "whether a channel is free is seen next");
        assert!(matches!(limits.share(now, &gateway, 2, "1001"), Err(NoEntry::GatewayShare)));
        drop(held);
    }
}
