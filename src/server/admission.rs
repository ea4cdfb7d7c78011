//! The server's admission control: trusted addresses and limits; `passwords`: authentication; `known`:
//! identity by connection or address; `calling`: INVITE; `outgoing`: outbound calls; `registering`: REGISTER;
//! `reconnecting`: requests in calls by another connection; `watching`: SUBSCRIBE; `refusing`: log lines for
//! refusals.

mod calling;
mod known;
mod outgoing;
mod passwords;
mod reconnecting;
mod refusing;
mod registering;
mod watching;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::board::GatewayBoard;
use super::caller_policy;
use super::channel_limits::{ChannelLimits, NoEntry};
use super::counters::Counters;
use super::effective_source::EffectiveSource;
use super::gateway::Gateways;
use super::gateway::realms::Realms;
use super::hops::HopRules;
use super::in_force::{Current, Settings, SharedRegistrar, registrar};
use super::media_rules;
use super::notifier::Notifier;
use super::notifier::state::NotifierState;
use super::origin::Origin;
use super::refusals::Refusals;
use super::settings;
use b2b_base::util::wall::WallClock;
use b2b_call::bus::EventBus;
use b2b_call::channels::Channels;
use b2b_call::event::Event;
use b2b_call::handler::Party;
use b2b_call::identity::Reads;
use b2b_call::lookup::{Credentials, ResolvedContact};
use b2b_call::reason::Reason;
use b2b_call::switch::Turn;
use b2b_call::switch::admission::{
    Admission, AdmissionControl, Dialled, Fate, MediaRules, Outgoing, Proof, SessionRules, Whose,
};
use b2b_sip::auth::{DigestClient, DigestServer, Penalties};
use b2b_sip::endpoint::{
    Flow, HeaderFields, HopRule, Reply, RequestFailure, RequestId, ServerTransactionId, SessionRefresher,
    SubscriptionId, Transport,
};
use b2b_sip::known::KnownSources;
use b2b_sip::msg::number::Ours;
use b2b_sip::msg::{Method, Request, Response};
use b2b_sip::net::{Ban, CertifiedPeers};
use passwords::Lines;

/// Q.850: no circuit is available.
const NO_CIRCUIT: u8 = 34;

/// How long the address of a gateway's host stays known after the host has answered us.
const GATEWAY_KNOWN: Duration = Duration::from_secs(24 * 3_600);

/// What the admission control works with, and where it reports.
#[derive(Clone)]
pub struct AdmissionParts {
    pub current: Current,
    pub registrar: SharedRegistrar,
    pub bus: EventBus,
    pub board: GatewayBoard,
    pub counters: Counters,
    pub notifier: NotifierState,
    /// Written by the admission control, read by all that reserve capacity for known sources.
    pub known: KnownSources,
    /// Certificates shown per connection, as reported by the sockets.
    pub certified: CertifiedPeers,
}

/// Admission control: decides on calls, registrations and subscriptions.
pub struct ServerAdmission {
    parts: AdmissionParts,
    /// The settings that this admission control works with: those in force as of its last look.
    settings: Arc<Settings>,
    digest: DigestServer,
    penalties: Penalties,
    lines: Lines,
    refusals: Refusals,
    hops: HopRules,
    channel_limits: ChannelLimits,
    gateways: Gateways,
    notifier: Notifier,
    /// Watchers still have to be told of a new configuration.
    reloaded: bool,
    /// Bans for the sockets.
    bans: VecDeque<Ban>,
    proven: VecDeque<Flow>,
    /// Unlisted proxies that have already been reported.
    told: registering::Told,
    seed: [u8; 32],
    /// The time of the last turn, monotonic and as wall-clock time.
    now: Instant,
    wall: SystemTime,
    clock: WallClock,
}

/// Why a request is not processed further.
enum Turned {
    /// It is refused with this reply, which is kept for retransmissions.
    Away(Proof, Reply),
    /// It is refused statelessly: the sender is unknown.
    Once(Reply),
    /// It is silently dropped.
    Ignored,
}

impl ServerAdmission {
    /// For a server that starts now, at wall-clock time `wall`; `seed` is from the operating system's
    /// generator.
    pub fn new(parts: AdmissionParts, seed: [u8; 32], now: Instant, wall: SystemTime) -> Self {
        let settings = parts.current.get();
        let config = &settings.config;
        parts.known.set_blocks(settings.known_blocks());
        parts.certified.set_known(settings.certified_names());
        registrar(&parts.registrar).each_registered(&mut |binding| {
            parts.known.at_home(now, binding.flow.remote.ip(), binding.expires);
        });
        ServerAdmission {
            digest: DigestServer::new(settings::digest(config), seed, now),
            hops: HopRules::new(parts.current.clone(), parts.registrar.clone(), parts.board.clone()),
            penalties: Penalties::new(settings::penalties(config), now),
            lines: Lines::new(now),
            refusals: Refusals::default(),
            channel_limits: ChannelLimits::new(
                now,
                &config.limits,
                parts.board.channels.clone(),
                &parts.known,
            ),
            gateways: {
                let mut gateways = Gateways::new(parts.board.clone(), Realms::beside(config), seed);
                gateways.follow(now, config);
                gateways
            },
            settings,
            notifier: Notifier::new(parts.notifier.clone()),
            reloaded: false,
            parts,
            bans: VecDeque::new(),
            proven: VecDeque::new(),
            told: registering::Told::default(),
            seed,
            now,
            wall,
            clock: WallClock::new(now, wall),
        }
    }

    /// A message from this source has brought down the process before: it is refused, if it is no source of the
    /// configuration or of a registered phone.
    pub fn has_broken(&mut self, source: IpAddr) {
        let (now, time) = (self.now, self.settings.config.limits.ban);
        let ban = self.settings.ban(source, now + time);
        if ban.until.is_none() || self.parts.known.knows(now, source) {
            return;
        }
        self.penalties.ban(now, source);
        self.parts.counters.count(|it| &mut it.bans);
        let reason = "a message from it has brought down the server".to_owned();
        tracing::warn!("{source} is banned for {} s: {reason}", time.as_secs());
        self.publish(Event::Banned { source, for_s: time.as_secs(), reason });
        self.bans.push_back(ban);
    }

    fn at(&mut self, now: Instant) {
        self.now = now;
        self.wall = self.clock.time_of(now);
    }

    /// The source of a request, for limits and trust.
    fn source(&self, request: &Request, flow: &Flow) -> EffectiveSource {
        EffectiveSource::of(request, flow, &self.settings.origins)
    }

    /// Marks a flow as proven: its peer has given a correct password.
    fn prove(&mut self, flow: &Flow) {
        if flow.transport.is_reliable() {
            self.proven.push_back(*flow);
        }
    }

    fn no_entry(&self, why: NoEntry) -> Reply {
        let (status, reason) = self.refused_for(why);
        match why {
            NoEntry::Rate(wait) | NoEntry::UserRate(wait) => retry_after(status, reason, wait),
            NoEntry::SourceRate | NoEntry::GatewayRate => retry_after(status, reason, Duration::from_secs(1)),
            NoEntry::Source | NoEntry::User => Reply { reason: reason.to_owned(), ..Reply::status(status) },
            NoEntry::Gateway | NoEntry::GatewayShare => {
                let mut reply = retry_after(status, reason, Duration::from_secs(5));
                let reason = Reason::q850(NO_CIRCUIT).to_string();
                reply.headers.push(("Reason".into(), reason.into()));
                reply
            }
        }
    }

    /// Counts a refusal; returns its status and reason.
    fn refused_for(&self, why: NoEntry) -> (u16, &'static str) {
        self.parts.counters.count(|it| match why {
            NoEntry::Rate(_) => &mut it.over_rate,
            NoEntry::UserRate(_) => &mut it.user_over_rate,
            NoEntry::SourceRate => &mut it.source_over_rate,
            NoEntry::Source => &mut it.source_full,
            NoEntry::User => &mut it.user_full,
            NoEntry::Gateway | NoEntry::GatewayShare => &mut it.gateway_full,
            NoEntry::GatewayRate => &mut it.gateway_over_rate,
        });
        match why {
            // The server itself has no fault, so a phone need not fail over to another one (480, not 503).
            NoEntry::UserRate(_) => (480, "Too Many Calls Of This User In This Second"),
            NoEntry::SourceRate => (480, "Too Many Calls From This Address In This Second"),
            NoEntry::Source => (480, "Too Many Calls From This Address"),
            NoEntry::User => (480, "Too Many Calls Of This User"),
            NoEntry::Rate(_) | NoEntry::GatewayRate => (503, "Too Many Calls In This Second"),
            NoEntry::Gateway => (503, "All Channels In Use"),
            NoEntry::GatewayShare => (503, "Too Many Calls Of This User Through This Gateway"),
        }
    }

    /// Adopts a reloaded configuration.
    fn follow(&mut self, now: Instant) {
        let settings = self.parts.current.get();
        if Arc::ptr_eq(&settings, &self.settings) {
            return;
        }
        let config = &settings.config;
        self.digest.reconfigure(settings::digest(config));
        self.parts.known.set_blocks(settings.known_blocks());
        self.parts.certified.set_known(settings.certified_names());
        self.penalties.reconfigure(settings::penalties(config));
        self.channel_limits.reconfigure(&config.limits);
        registrar(&self.parts.registrar).reconfigure(settings::registrar(config));
        self.gateways.follow(now, config);
        // A source that is known now may call without a password.
        let banned = self.penalties.banned_sources(now);
        let known = &self.parts.known;
        self.bans.extend(banned.map(|(source, rest)| match known.knows(now, source) {
            true => Ban { source, until: None },
            false => settings.ban(source, now + rest),
        }));
        self.settings = settings;
        self.reloaded = true;
    }

    /// The gateway of a party, with its credentials. A gateway that a reload removed during the call has none.
    fn gateway_credentials(&self, party: &Party) -> Option<(Arc<str>, Arc<Credentials>)> {
        let Origin::Gateway(name) = self.settings.party(party).0 else { return None };
        let (trunk, _) = self.settings.trunk(name)?;
        Some((trunk.name.clone(), trunk.credentials.clone()?))
    }

    fn publish(&self, event: Event) {
        self.parts.bus.publish(self.wall, event);
    }
}

fn retry_after(status: u16, reason: &str, wait: Duration) -> Reply {
    let wait = wait.as_millis().div_ceil(1_000).max(1).to_string();
    let headers = vec![("Retry-After".into(), wait.into())];
    Reply { reason: reason.to_owned(), headers, ..Reply::status(status) }
}

impl AdmissionControl for ServerAdmission {
    fn channels(&self) -> Option<Channels> {
        Some(self.channel_limits.channels())
    }

    fn invite(&mut self, now: Instant, request: &Request, flow: &Flow) -> Admission {
        self.follow(now);
        match self.caller(now, request, flow) {
            Ok(caller) => Admission::Accept(Box::new(caller)),
            Err(Turned::Away(proof, reply)) => Admission::Refuse(proof, reply),
            Err(Turned::Once(reply)) => Admission::RefuseOnce(reply),
            Err(Turned::Ignored) => Admission::Ignore,
        }
    }

    fn refused(&mut self, now: Instant, request: &Request, flow: &Flow, reply: &Reply) {
        let (from, gateway) = (self.source(request, flow), self.known_by(request, flow));
        let who = refusing::words(self.settings.sender(gateway.as_deref(), from.ip()).0);
        self.tell_refused(now, request, (&who, from.address), reply);
    }

    fn is_urgent(&self, request: &Request, flow: &Flow) -> bool {
        self.may_be_urgent(request, flow)
    }

    fn kept_calls(&self) -> usize {
        usize::from(self.settings.config.emergency.is_some())
    }

    fn most_endpoints(&self) -> usize {
        let config = &self.settings.config;
        config.emergency.as_ref().map_or(usize::MAX, |_| config.ordinary_endpoints())
    }

    fn request(&mut self, t: &mut Turn<'_>, request: &Request, flow: &Flow) -> Fate {
        self.follow(t.now);
        match request.method() {
            Method::Register => self.register(t, request, flow),
            _ => Fate::ReplyOnce(Reply::status(405)),
        }
    }

    fn subscribe(
        &mut self,
        t: &mut Turn<'_>,
        transaction: ServerTransactionId,
        request: &Request,
        flow: &Flow,
    ) {
        self.subscribed(t, transaction, request, flow);
    }

    fn resubscribe(
        &mut self,
        t: &mut Turn<'_>,
        subscription: SubscriptionId,
        transaction: ServerTransactionId,
        request: &Request,
    ) {
        self.notifier.resubscribe(t, subscription, transaction, request);
    }

    fn outgoing(&mut self, now: Instant, dialled: Dialled<'_>) -> Result<Outgoing, (u16, &'static str)> {
        self.dialled(now, dialled)
    }

    fn attempted(&mut self, now: Instant, gateway: &str, attempt: u64, effective: Option<bool>) {
        self.gateways.decided(now, gateway, attempt, effective);
        for event in self.gateways.take_events() {
            self.publish(event);
        }
    }

    fn media_rules(&self, now: Instant, party: &Party) -> MediaRules {
        let user = party.user.as_deref().and_then(|name| self.settings.directory.user(name));
        let aor = user.and_then(|user| self.settings.directory.aor(user));
        let registered = aor.map(|aor| registrar(&self.parts.registrar).known_sources(now, &aor));
        let interface = media_rules::interface(&self.parts.current, &self.settings, &self.parts.board, party);
        let registered = registered.unwrap_or_default();
        let own = self.parts.current.own_hosts(&self.settings, party.address);
        MediaRules { interface, ..media_rules::of(&self.settings, party, &registered, own) }
    }

    fn session_rules(&self, party: &Party) -> SessionRules {
        let none = SessionRules::default();
        match self.settings.party(party).0 {
            Origin::User(name) => {
                let user = self.settings.directory.user(name);
                SessionRules { asks: user.is_none_or(|user| user.session_timers), ..none }
            }
            Origin::Gateway(name) => self.settings.config.gateway(name).map_or(none, |gateway| {
                // A party that takes neither re-INVITE nor UPDATE gets no refresh either.
                let refresher =
                    if gateway.reinvites { gateway.session_refresher } else { SessionRefresher::Nobody };
                SessionRules { asks: gateway.session_timers && gateway.reinvites, refresher }
            }),
            Origin::Trusted | Origin::Unknown => none,
        }
    }

    fn is_same(&self, one: &Party, other: &Party) -> bool {
        match (self.settings.party(one).0, self.settings.party(other).0) {
            (Origin::User(one), Origin::User(other)) | (Origin::Gateway(one), Origin::Gateway(other)) => {
                one == other
            }
            // Both are trusted or unknown parties at the same host.
            (Origin::Trusted | Origin::Unknown, Origin::Trusted | Origin::Unknown) => {
                let host = |party: &Party| party.address.map(|address| address.ip().to_canonical());
                host(one).is_some() && host(one) == host(other)
            }
            _ => false,
        }
    }

    fn believes(&self, party: &Party) -> bool {
        match self.settings.party(party).0 {
            Origin::Gateway(name) => self.settings.config.gateway(name).is_some_and(|it| it.identity.trust),
            Origin::Trusted => true,
            Origin::User(_) | Origin::Unknown => false,
        }
    }

    fn takes_isup(&self, party: &Party) -> bool {
        match self.settings.party(party).0 {
            Origin::Gateway(name) => self.settings.config.gateway(name).is_some_and(|it| it.isup),
            Origin::User(_) | Origin::Trusted | Origin::Unknown => false,
        }
    }

    fn is_told(&self, party: &Party) -> bool {
        !matches!(self.settings.party(party).0, Origin::Gateway(_))
    }

    fn reads(&self, identity: Option<&str>, gateway: Option<&str>, source: SocketAddr) -> Reads<'_> {
        caller_policy::reads(&self.settings, identity, gateway, source.ip())
    }

    fn ours(&self) -> &dyn Ours {
        &*self.settings.directory
    }

    fn hops_of_caller(&mut self, party: &Party, flow: &Flow) -> HopRule {
        self.hops.of_caller(self.now, &self.settings, party.user.as_deref(), party.gateway.as_deref(), flow)
    }

    fn is_of_party(
        &mut self,
        now: Instant,
        party: &Party,
        lost: Option<&Flow>,
        request: &Request,
        flow: &Flow,
    ) -> Whose {
        self.whose(now, party, lost, request, flow)
    }

    fn hops_of_contact(&mut self, contact: &ResolvedContact) -> HopRule {
        self.hops.of_contact(self.now, &self.settings, contact)
    }

    fn located(&mut self, host: &str, targets: &[(Transport, SocketAddr)]) {
        let hosts = self.settings.config.gateways.iter().flat_map(crate::config::Gateway::reached_by);
        if let Some(known) = hosts.map(|it| &it.host).find(|it| it.eq_ignore_ascii_case(host)) {
            let found: Vec<IpAddr> = targets.iter().map(|(_, address)| address.ip()).collect();
            self.parts.board.located(known, &found);
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        let gateways = self.gateways.next_timeout(self.now);
        let notifier = self.notifier.next_timeout(self.now);
        [registrar(&self.parts.registrar).next_timeout(), gateways, notifier].into_iter().flatten().min()
    }

    fn work(&mut self, t: &mut Turn<'_>) {
        (self.now, self.wall) = (t.now, t.wall);
        self.follow(t.now);
        t.sip.set_session_timers(settings::session_timers(&self.settings.config));
        self.work_of_registrar(t);
        self.gateways.work(t);
        self.work_of_notifier(t);
        for event in self.gateways.take_events() {
            self.publish(event);
        }
    }

    fn poll_ban(&mut self) -> Option<Ban> {
        self.bans.pop_front()
    }

    fn poll_proven(&mut self) -> Option<Flow> {
        self.proven.pop_front()
    }

    fn drain(&mut self) {
        self.gateways.stop(self.now);
        self.notifier.drain();
    }

    fn is_idle(&self) -> bool {
        self.gateways.is_idle() && self.notifier.is_empty()
    }

    fn response(
        &mut self,
        t: &mut Turn<'_>,
        request: RequestId,
        result: Result<Response, RequestFailure>,
        flow: Option<Flow>,
    ) {
        if self.notifier.answered(t, request, &result) {
            return;
        }
        let from = flow.filter(|_| result.is_ok()).map(|flow| flow.remote.ip());
        if self.gateways.answered(t, request, &result, flow)
            && let Some(from) = from
        {
            // An address that a gateway's host name resolves to.
            self.parts.known.at_home(t.now, from, t.now + GATEWAY_KNOWN);
        }
    }

    fn flow_closed(&mut self, now: Instant, flow: &Flow) {
        self.gateways.flow_closed(now, flow);
    }

    fn has_credentials(&self, party: &Party) -> bool {
        self.gateway_credentials(party).is_some()
    }

    fn credentials(
        &mut self,
        challenges: &[Response],
        method: &Method,
        party: &Party,
        uri: &[u8],
    ) -> Option<HeaderFields> {
        let (name, credentials) = self.gateway_credentials(party)?;
        let settings = self.settings.clone();
        let configured = settings.config.gateway(&name)?;
        let realms = self.gateways.answerable(configured, challenges.last()?);
        for event in self.gateways.take_events() {
            self.publish(event);
        }
        let realms = realms?;
        let mut client = DigestClient::new(&credentials.username, &credentials.password, self.seed)
            .only_for_any(realms)
            .at_least(settings::algorithm(configured.min_algorithm));
        // The same numbers twice would give the same cnonce twice.
        self.seed = rand::random();
        match client.answer(challenges, method, uri) {
            Ok(authorized) => Some(authorized.headers),
            Err(error) => {
                tracing::warn!("gateway {name}: cannot answer its challenge: {error}");
                None
            }
        }
    }
}
