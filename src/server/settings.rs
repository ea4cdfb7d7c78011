//! The configuration in the types of the lower layers. Pure.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU8;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ipnet::IpNet;
use sha2::{Digest, Sha256};

use super::caller_policy;
use crate::config::parties::LargeMessages;
use crate::config::sound::{Dtmf, EarlyMedia as Early, PartySound};
use crate::config::srtp::{Srtp, SrtpOffer};
use crate::config::tls::GatewayOutward;
use crate::config::{
    Action, Failover as Rule, KeepAlive, MinAlgorithm, Redirects as Named, Route, Secret, ServerConfig,
    Strategy, Target,
};
use crate::registrar::{KeepAliveKind, RegistrarConfig, Trusted};
use b2b_call::controller::{AudioRules, DtmfMode, OpusRules, PairPolicy, SrtpOffer as Offer, SrtpRules};
use b2b_call::failure::Failover;
use b2b_call::lookup::{Credentials, EarlyMedia, Withheld};
use b2b_call::policy::Redirects;
use b2b_call::resolver::gateway::GatewayFrom;
use b2b_call::resolver::{Gateway, GatewayHost, Group, PartyAudio};
use b2b_sip::auth::{Algorithm, DigestConfig, PenaltyConfig};
use b2b_sip::endpoint::LargeRequests;
use b2b_sip::endpoint::SessionTimers;
use b2b_sip::net::budget::Rate;
use b2b_sip::net::{NetLimits, ProvenBy};
use b2b_sip::networks::Networks;

/// Settings of the digest server.
pub fn digest(config: &ServerConfig) -> DigestConfig {
    let mut digest = DigestConfig {
        nonce_lifetime: config.registrar.nonce_life,
        require_qop: config.server.require_qop,
        ..DigestConfig::default()
    };
    let weakest = algorithm(config.server.min_algorithm);
    digest.algorithms.retain(|algorithm| *algorithm >= weakest);
    digest
}

/// The algorithm as digest authentication names it.
pub fn algorithm(algorithm: MinAlgorithm) -> Algorithm {
    match algorithm {
        MinAlgorithm::Md5 => Algorithm::Md5,
        MinAlgorithm::Sha256 => Algorithm::Sha256,
    }
}

/// Settings of the registrar.
pub fn registrar(config: &ServerConfig) -> RegistrarConfig {
    let registrar = &config.registrar;
    RegistrarConfig {
        min_expires: registrar.min_expires,
        max_expires: registrar.max_expires,
        default_expires: registrar.default_expires,
        max_contacts: registrar.max_contacts,
        contacts_replace: registrar.contacts_replace,
        max_bindings: registrar.max_bindings,
        keep_alive: match registrar.keep_alive {
            KeepAlive::Off => KeepAliveKind::Off,
            KeepAlive::Crlf => KeepAliveKind::Crlf,
            KeepAlive::Options => KeepAliveKind::Options,
        },
        keep_alive_interval: registrar.keep_alive_interval,
        trusted: Trusted {
            proxies: networks(&registrar.proxies),
            inside: networks(&config.server.inside),
            local_phones: registrar.local_phones,
            own_ports: own_ports(config).collect(),
        },
    }
}

/// The ports of ours on this host where messages could be taken for others: RTP takes none.
fn own_ports(config: &ServerConfig) -> impl Iterator<Item = u16> {
    let listeners = config.listening().map(|listener| listener.bind.port());
    listeners.chain(config.http.iter().map(|http| http.bind.port()))
}

fn networks(blocks: &[IpNet]) -> Networks {
    blocks.iter().map(|net| (net.network(), net.prefix_len())).collect()
}

/// The gateways' addresses, as far as the configuration gives addresses rather than names.
pub fn gateway_addresses(config: &ServerConfig) -> Networks {
    let hosts = config.gateways.iter().flat_map(|gateway| &gateway.hosts);
    let hosts = hosts.filter_map(|host| host.host.parse::<IpAddr>().ok());
    let sources = config.gateways.iter().flat_map(|gateway| &gateway.sources);
    hosts.map(IpNet::from).chain(sources.copied()).map(|net| (net.network(), net.prefix_len())).collect()
}

/// Penalties for failed authentication.
pub fn penalties(config: &ServerConfig) -> PenaltyConfig {
    PenaltyConfig::new(config.limits.auth_failures, config.limits.ban)
}

/// Session timers for new calls.
pub fn session_timers(config: &ServerConfig) -> SessionTimers {
    let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    SessionTimers { expires: seconds(config.server.session_expires), min_se: seconds(config.server.min_se) }
}

/// Limits of the sockets.
pub fn net_limits(config: &ServerConfig) -> NetLimits {
    let default = NetLimits::default();
    let rate = config.limits.source_messages_per_s;
    NetLimits {
        per_source: Rate { per_second: rate, burst: rate.saturating_mul(2) },
        max_sources: (config.limits.calls + config.limits.connections).max(default.max_sources),
        max_connections: config.limits.connections,
        max_connections_per_source: default.max_connections_per_source.min(config.limits.connections),
        max_unproven_per_source: config.limits.source_connections,
        proof: ProvenBy::Password,
        ..default
    }
}

/// Gateways for the gateway resolver.
pub fn gateways(config: &ServerConfig) -> Vec<Gateway> {
    config
        .gateways
        .iter()
        .map(|from| {
            let hosts = from.hosts.iter().map(|host| GatewayHost::new(&host.to_string(), host.priority));
            let mut gateway = Gateway::new(&from.name, hosts);
            gateway.transport = from.transport;
            gateway.large = match from.large {
                None => LargeRequests::AsNamed,
                Some(LargeMessages::Udp) => LargeRequests::Udp,
                Some(LargeMessages::Tcp) => LargeRequests::Tcp,
            };
            let field = |(name, value): &(String, Secret)| {
                (Bytes::copy_from_slice(name.as_bytes()), Bytes::copy_from_slice(value.reveal().as_bytes()))
            };
            gateway.headers = from.headers.iter().map(field).collect();
            gateway.withheld = Withheld { reliable: !from.reliable };
            gateway.route = from.proxy_route();
            gateway.credentials = from.auth.as_ref().map(|auth| {
                Arc::new(Credentials {
                    username: auth.username.clone(),
                    password: auth.password.reveal().to_string(),
                    realm: None,
                })
            });
            let host = from.from_domain.as_deref().map(bracketed);
            gateway.from = GatewayFrom { user: from.from_user.clone(), host };
            gateway.outward = caller_policy::outward(from);
            gateway.rewrite = caller_policy::rewrite(from, &from.called);
            gateway.audio = party_audio(config, &from.sound);
            gateway.trying = from.trying;
            gateway.failover = config.limits.trying.map_or(from.failover, |trying| trying.min(from.failover));
            gateway.tls = tls_of(from);
            gateway.listener = from.listener.as_deref().map(Into::into);
            gateway.channels =
                config.channels_of(from).map(|channels| u32::try_from(channels).unwrap_or(u32::MAX));
            gateway
        })
        .collect()
}

/// The name of the TLS settings for connections with a gateway: the gateway's name if it has its own; `None`:
/// the default ones.
pub fn tls_of(gateway: &crate::config::Gateway) -> Option<Arc<str>> {
    (gateway.tls.outward != GatewayOutward::default()).then(|| gateway.name.as_str().into())
}

/// The URN that tells our flows at a gateway from those of others with the account (RFC 5626 §4.1), if one is
/// wanted. It is derived from names, so it is the same after each start: a custom UUID (RFC 9562 §5.8).
pub fn instance(realm: &str, gateway: &crate::config::Gateway) -> Option<Arc<str>> {
    let asks = gateway.registering.outbound.then_some(&gateway.registering)?;
    if let Some(written) = &asks.instance {
        return Some(written.as_str().into());
    }
    let mut hash = Sha256::new();
    for name in [realm, gateway.auth.as_ref().map_or("", |auth| &auth.username), &gateway.name] {
        hash.update(name.as_bytes());
        // A separator that no name contains.
        hash.update([0]);
    }
    let mut octets = [0; 16];
    octets.iter_mut().zip(hash.finalize()).for_each(|(octet, hashed)| *octet = hashed);
    octets[6] = octets[6] & 0x0f | 0x80;
    octets[8] = octets[8] & 0x3f | 0x80;
    let hex: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    let (a, b, c, d, e) = (&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
    Some(format!("urn:uuid:{a}-{b}-{c}-{d}-{e}").into())
}

/// Where a gateway's redirects may lead.
pub fn redirects(gateway: &crate::config::Gateway) -> Redirects {
    match &gateway.redirects {
        Named::Own => Redirects::Own,
        Named::Routes => Redirects::Routes,
        Named::Gateways(names) => {
            Redirects::Gateways(names.iter().map(|name| name.as_str().into()).collect())
        }
    }
}

/// The default offer policy: everything, and the codecs that b2b can transcode to.
pub fn pair_policy(config: &ServerConfig) -> PairPolicy {
    PairPolicy {
        transcode: !config.media.codecs.is_empty(),
        additions: names(&config.media.codecs),
        ..PairPolicy::default()
    }
}

/// Media encryption rules, for the controller.
pub fn srtp_rules(srtp: &Srtp) -> SrtpRules {
    SrtpRules {
        offer: match srtp.offer {
            SrtpOffer::None => Offer::None,
            SrtpOffer::Osrtp => Offer::Osrtp,
            SrtpOffer::Savp => Offer::Savp,
        },
        plain: srtp.plain,
        encrypted: srtp.encrypted,
        suites: srtp.suites.iter().filter_map(|name| name.parse().ok()).collect(),
    }
}

/// Audio settings of the users that have any, by name.
pub fn users_audio(config: &ServerConfig) -> HashMap<String, PartyAudio> {
    let said = config.users.iter().map(|user| (user.name.clone(), party_audio(config, &user.sound)));
    said.filter(|(_, audio)| *audio != PartyAudio::default()).collect()
}

/// A party's audio settings.
fn party_audio(config: &ServerConfig, sound: &PartySound) -> PartyAudio {
    let audio = audio_rules(sound);
    let policy = match audio.is_default() {
        true => own_policy(config, &sound.codecs),
        false => {
            let codecs = names(&sound.codecs);
            Some(Arc::new(PairPolicy { codecs, audio, ..pair_policy(config) }))
        }
    };
    let early_media = match sound.early_media {
        Early::Pass => EarlyMedia::Pass,
        Early::Ringing => EarlyMedia::Ringing,
        Early::Ignore => EarlyMedia::Ignore,
    };
    PartyAudio { policy, early_media, drops_ringing: sound.drops_ringing }
}

/// A party's audio settings, for the controller.
fn audio_rules(sound: &PartySound) -> AudioRules {
    AudioRules {
        digits: match sound.dtmf {
            Dtmf::Events => DtmfMode::Events,
            Dtmf::Inband => DtmfMode::Tones,
            Dtmf::Auto => DtmfMode::Either,
            Dtmf::Info => DtmfMode::Info,
        },
        ptime_ms: sound.ptime.and_then(NonZeroU8::new),
        opus: OpusRules::new(sound.opus_fec, sound.opus_kbps),
        comfort_noise: sound.comfort_noise,
        avpf: sound.avpf,
    }
}

/// The policy that allows only these codecs; `None` if the list is empty.
fn own_policy(config: &ServerConfig, codecs: &[&str]) -> Option<Arc<PairPolicy>> {
    let policy = || PairPolicy { codecs: names(codecs), ..pair_policy(config) };
    (!codecs.is_empty()).then(|| Arc::new(policy()))
}

fn names(codecs: &[&str]) -> Vec<String> {
    codecs.iter().map(|codec| codec.to_ascii_uppercase()).collect()
}

/// Settings of a route for its calls, beyond the targets.
#[derive(Debug, Clone, Default)]
pub struct RouteParts {
    /// The codecs that may be offered to its targets.
    pub policy: Option<Arc<PairPolicy>>,
    /// Media encryption for targets without a setting of their own.
    pub srtp: Option<Arc<SrtpRules>>,
    /// Which failures lead from one target to the next.
    pub failover: Failover,
}

/// The settings of every route, in order.
pub fn routes(config: &ServerConfig) -> Vec<RouteParts> {
    let parts = |route: &Route| match &route.action {
        Action::Dial { policy, .. } => RouteParts {
            policy: own_policy(config, &policy.codecs),
            srtp: policy.srtp.as_ref().map(|srtp| Arc::new(srtp_rules(srtp))),
            failover: match &policy.failover {
                Rule::Never => Failover::Never,
                Rule::On(ranges) => Failover::On(ranges.iter().map(|range| (range.0, range.1)).collect()),
            },
        },
        Action::Reject { .. } | Action::App { .. } => RouteParts::default(),
    };
    config.routes.iter().map(parts).collect()
}

/// Maximum time a caller may wait for an answer.
pub fn longest_ring(config: &ServerConfig) -> Duration {
    let in_group = |group: &crate::config::Group| match group.strategy {
        Strategy::Serial => group.timeout * group.members.len() as u32,
        Strategy::Parallel => group.timeout,
    };
    let ring = config.limits.ring;
    let of_target = |target: &Target, timeout: Option<Duration>| match target {
        Target::Group(name) => timeout.or_else(|| config.group(name).map(in_group)).unwrap_or(ring),
        _ => timeout.unwrap_or(ring),
    };
    let of_route = |route: &Route| match &route.action {
        Action::Dial { targets, policy } => {
            targets.iter().map(|target| of_target(target, policy.timeout)).sum()
        }
        Action::Reject { .. } | Action::App { .. } => Duration::ZERO,
    };
    config.routes.iter().map(of_route).max().unwrap_or_default().max(ring)
}

/// A host in URI form: IPv6 addresses in brackets.
fn bracketed(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_string() }
}

/// Groups for the group resolver.
pub fn groups(config: &ServerConfig) -> HashMap<String, Group> {
    let named = config.groups.iter().map(|from| {
        let members: Vec<String> = from.members.iter().map(written).collect();
        let members = members.iter().map(String::as_str);
        let timeout = Some(from.timeout);
        let group = match from.strategy {
            Strategy::Serial => Group::serial(members),
            Strategy::Parallel => Group { lasts: timeout, ..Group::parallel(members) },
        };
        (from.name.clone(), Group { ring: timeout, declines_for_all: from.declines_for_all, ..group })
    });
    named.collect()
}

/// A member in the resolver's syntax. Its templates have no placeholders.
fn written(target: &Target) -> String {
    let literal =
        |template: &crate::config::Template| template.literal().map(str::to_string).unwrap_or_default();
    match target {
        Target::User(name) => format!("user/{}", literal(name)),
        Target::Gateway { name, number: Some(number) } => format!("gateway/{name}/{}", literal(number)),
        Target::Uri(uri) => literal(uri),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_alone;

    #[test]
    fn the_defaults_are_those_of_the_rooms_below() {
        let config = parse_alone("").unwrap();
        assert_eq!(digest(&config).nonce_lifetime, DigestConfig::default().nonce_lifetime);
        let (ours, theirs) = (registrar(&config), RegistrarConfig::default());
        let trusted = Trusted { own_ports: Arc::default(), ..ours.trusted.clone() };
        assert_eq!(RegistrarConfig { max_bindings: theirs.max_bindings, trusted, ..ours }, theirs);
        let (ours, theirs) = (penalties(&config), PenaltyConfig::default());
        assert_eq!((ours.ban_after, ours.ban), (theirs.ban_after, theirs.ban));
        assert_eq!(session_timers(&config), SessionTimers::default());
        assert_eq!(net_limits(&config).per_source, NetLimits::default().per_source);
        assert_eq!(net_limits(&config).max_connections, NetLimits::default().max_connections);
    }

    #[test]
    fn digests_are_as_weak_as_the_configuration_allows() {
        let config = parse_alone("[server]\nmin_algorithm = \"sha-256\"\nrequire_qop = true\n").unwrap();
        let digest = digest(&config);
        assert_eq!((digest.algorithms, digest.require_qop), (vec![Algorithm::Sha256], true));
    }

    #[test]
    fn gateways_and_groups_become_what_resolvers_take() {
        let config = parse_alone(
            "[[user]]\nname = \"1001\"\npassword = \"x\"\n\
             [[gateway]]\nname = \"carrier\"\nhosts = [\"[2001:db8::1]\", \"b.example:5070\"]\ntransport = \"tcp\"\n\
             username = \"u\"\npassword = \"p\"\nfrom_user = \"+4420\"\nfrom_domain = \"2001:db8::7\"\nchannels = 3\ncodecs = [\"pcma\"]\n\
             caller = [{ match = \"1(.*)\", to = \"+44208$1\" }]\n\
             called = [{ match = \"0(.*)\", to = \"+44$1\" }]\n\
             [[group]]\nname = \"sales\"\nmembers = [\"user/1001\", \"gateway/carrier/01\", \"sip:a$$b@h\"]\nstrategy = \"serial\"\n",
        )
        .unwrap();
        let [gateway] = gateways(&config).try_into().unwrap();
        let hosts: Vec<_> = gateway.hosts.iter().map(|host| (&*host.host, host.priority)).collect();
        assert_eq!(hosts, [("[2001:db8::1]", 1), ("b.example:5070", 2)]);
        let (user, host) = (Some("+4420".to_owned()), Some("[2001:db8::7]".to_owned()));
        assert_eq!(gateway.from, GatewayFrom { user, host });
        let caller = &gateway.outward.number;
        assert_eq!((caller("1001"), caller("2001")), ("+44208001".into(), "2001".into()));
        assert_eq!(gateway.transport, Some(b2b_sip::msg::Transport::Tcp));
        assert_eq!(gateway.audio.policy.unwrap().codecs, ["PCMA"]);
        assert_eq!((gateway.channels, gateway.credentials.unwrap().password.as_str()), (Some(3), "p"));
        assert_eq!((gateway.rewrite)("0208"), "+44208");
        assert_eq!((gateway.rewrite)("1001"), "1001");
        let members = &groups(&config)["sales"].members;
        let members: Vec<_> =
            members.iter().map(|member| (member.target.as_str(), member.priority)).collect();
        assert_eq!(members, [("user/1001", 0), ("gateway/carrier/01", 1), ("sip:a$b@h", 2)]);
    }
}
