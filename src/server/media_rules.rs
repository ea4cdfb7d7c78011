//! The source addresses from which a party may send media in addition to those that the signalling names,
//! where media may be sent without proof that the recipient is there, and the encryption, as configured.
//! Pure.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::board::GatewayBoard;
use super::hops::addresses;
use super::in_force::{Current, Settings};
use super::origin::Origin;
use super::settings::srtp_rules;
use crate::config::{Carrier, MediaAnswer};
use b2b_call::controller::{Answering, Bound, NamedSources, OwnHosts};
use b2b_call::handler::Party;
use b2b_call::switch::admission::MediaRules;
use b2b_sip::net::local_addr;

/// The network of a party's media; `None`: the default one. It is that of the listener that the party's
/// gateway names, else of the listener that its signalling uses, else of the listener where the route to it
/// begins, which its signalling will use.
pub fn interface(
    current: &Current,
    settings: &Settings,
    board: &GatewayBoard,
    party: &Party,
) -> Option<String> {
    let config = &settings.config;
    // Other programs bind what their own configuration says.
    if config.listeners.is_empty() || config.media.controller != Carrier::Embedded {
        return None;
    }
    let gateway = match settings.party(party).0 {
        Origin::Gateway(name) => config.gateway(name),
        Origin::User(_) | Origin::Trusted | Origin::Unknown => None,
    };
    if let Some(name) = gateway.and_then(|it| it.listener.as_ref()) {
        return Some(name.clone());
    }
    if let Some(flow) = &party.flow {
        return current.listener_of(flow).as_deref().map(str::to_owned);
    }
    let host = || {
        let host = gateway?.reached_by().next()?;
        host.host.parse().ok().or_else(|| board.addresses(&host.host).last().copied())
    };
    let at = party.address.map(|address| address.ip()).or_else(host)?;
    let from = local_addr::towards(at).ok()?;
    if config.server.listen.iter().any(|it| it.bind.ip() == from) {
        return None;
    }
    let of_route = config.listeners.iter().find(|it| it.listen.iter().any(|it| it.bind.ip() == from));
    of_route.map(|it| it.name.clone())
}

/// The rules for a party: its own, and those for everyone. `registered` are its registered addresses, `own` is
/// this server, and `ourselves` whether it is the party.
pub fn of(
    settings: &Settings,
    party: &Party,
    registered: &[IpAddr],
    (own, ourselves): (Arc<OwnHosts>, bool),
) -> MediaRules {
    let (config, address) = (&settings.config, party.address);
    let mut spared: Vec<IpNet> = registered.iter().map(|address| IpNet::from(*address)).collect();
    let mut hosts: Vec<IpAddr> = Vec::new();
    let mut sources =
        NamedSources { networks: config.media.media_from.clone(), answer: Answering::default() };
    let (mut srtp, mut is_at) = (None, address.map(|address| address.ip()));
    let (mut no_reinvites, mut sdp_names, mut is_gateway) = (false, false, false);
    let party = match settings.party(party).0 {
        Origin::User(name) => {
            if let Some(user) = settings.directory.user(name) {
                sources.networks.extend_from_slice(&user.media_from);
                srtp = user.srtp.as_ref().map(srtp_rules);
            }
            format!("user/{name}")
        }
        Origin::Gateway(name) => {
            if let Some(gateway) = config.gateway(name) {
                sources.networks.extend(gateway.sources.iter().chain(&gateway.media_from));
                hosts.extend(gateway.reached_by().flat_map(|host| addresses(&host.host, &settings.board)));
                is_at = is_at.or_else(|| hosts.first().copied());
                spared.extend(hosts.iter().copied().map(IpNet::from));
                hosts.extend(gateway.sources.iter().map(IpNet::addr));
                srtp = gateway.srtp.as_ref().map(srtp_rules);
                (no_reinvites, sdp_names) = (!gateway.reinvites, gateway.sdp_names);
                sources.answer = match gateway.media_answer {
                    MediaAnswer::Source => Answering::Source,
                    MediaAnswer::Signalled => Answering::Signalled,
                };
            }
            is_gateway = true;
            format!("gateway/{name}")
        }
        Origin::Trusted | Origin::Unknown => String::new(),
    };
    spared.extend_from_slice(&sources.networks);
    // A party without a name is counted by its source address.
    let counted = match party.as_str() {
        "" => address.map(|address| address.ip().to_string()).unwrap_or_default(),
        name => name.to_owned(),
    };
    let inside = is_at.is_some_and(|ip| {
        let ip = ip.to_canonical();
        config.server.inside.iter().any(|net| net.contains(&ip))
    });
    MediaRules {
        party,
        sources,
        bound: Some(Bound { party: counted, spared, hosts, own, ourselves, sdp_names, is_gateway }),
        inside,
        interface: None,
        srtp,
        no_reinvites,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Instant;

    use b2b_call::controller::SrtpPolicy;

    use super::*;
    use crate::config::parse_alone;
    use crate::registrar::{MemoryStore, Registrar, RegistrarConfig};

    #[test]
    fn a_party_has_its_own_list_its_sources_and_that_of_everybody() {
        let config = parse_alone(
            "[media]\nmedia_from = \"198.51.100.0/24\"\n\
             [[user]]\nname = \"1001\"\npassword = \"x\"\nmedia_from = \"203.0.113.5\"\n\
             [[gateway]]\nname = \"carrier\"\nhosts = [\"a\"]\nsources = [\"192.0.2.1\"]\n\
             media_from = [\"203.0.113.128/25\"]\nmedia_answer = \"signalled\"\n",
        )
        .unwrap();
        let store = Box::new(MemoryStore::new());
        let registrar = Registrar::new(RegistrarConfig::default(), store, Instant::now());
        let registrar = Arc::new(Mutex::new(registrar));
        let settings = Settings::new(config, registrar, GatewayBoard::default()).unwrap();
        let named = |party: Party| {
            let MediaRules { party, sources, .. } = of(&settings, &party, &[], Default::default());
            let networks: Vec<_> = sources.networks.iter().map(ToString::to_string).collect();
            (party, networks.join(" "), sources.answer)
        };
        let user = Party { user: Some("1001".to_owned()), ..Party::default() };
        assert_eq!(
            named(user),
            ("user/1001".into(), "198.51.100.0/24 203.0.113.5/32".into(), Answering::Source)
        );
        let carrier = "198.51.100.0/24 192.0.2.1/32 203.0.113.128/25";
        let dialled = Party { gateway: Some("carrier".into()), ..Party::default() };
        let calling = Party { address: Some(([192, 0, 2, 1], 5060).into()), ..Party::default() };
        for party in [dialled, calling] {
            assert_eq!(named(party), ("gateway/carrier".into(), carrier.into(), Answering::Signalled));
        }
        let other = Party { address: Some(([192, 0, 2, 2], 5060).into()), ..Party::default() };
        assert_eq!(named(other), (String::new(), "198.51.100.0/24".into(), Answering::Source));
    }

    #[test]
    fn encryption_is_what_the_table_of_user_or_gateway_says_and_else_nothing() {
        let config = parse_alone(
            "[[user]]\nname = \"1001\"\npassword = \"x\"\nsrtp = \"required\"\n\
             [[user]]\nname = \"1002\"\npassword = \"x\"\n\
             [[gateway]]\nname = \"carrier\"\nhosts = [\"a\"]\ntransport = \"tls\"\nsrtp = \"offered\"\n",
        )
        .unwrap();
        let store = Box::new(MemoryStore::new());
        let registrar = Registrar::new(RegistrarConfig::default(), store, Instant::now());
        let settings =
            Settings::new(config, Arc::new(Mutex::new(registrar)), GatewayBoard::default()).unwrap();
        let srtp = |party: Party| of(&settings, &party, &[], Default::default()).srtp;
        let user = |name: &str| Party { user: Some(name.to_owned()), ..Party::default() };
        assert_eq!(srtp(user("1001")), Some(SrtpPolicy::Required.into()));
        assert_eq!(srtp(user("1002")), None);
        let carrier = Party { gateway: Some("carrier".into()), ..Party::default() };
        assert_eq!(srtp(carrier), Some(SrtpPolicy::Offered.into()));
    }

    #[test]
    fn a_network_is_that_of_the_gateways_listener_and_none_where_others_carry_the_media() {
        let of = |media: &str, party: &Party| {
            let config = parse_alone(&format!(
                "[media]\n{media}\n[server]\nlisten = \"udp:127.0.0.1:5060\"\n\
                 [[listener]]\nname = \"mpls\"\nlisten = \"udp:127.0.0.9:5060\"\n\
                 [[gateway]]\nname = \"carrier\"\nhosts = [\"a\"]\nlistener = \"mpls\"\n"
            ))
            .unwrap();
            let store = Box::new(MemoryStore::new());
            let registrar = Registrar::new(RegistrarConfig::default(), store, Instant::now());
            let registrar = Arc::new(Mutex::new(registrar));
            let board = GatewayBoard::default();
            let current = Current::new(Settings::new(config, registrar, board.clone()).unwrap());
            interface(&current, &current.get(), &board, party)
        };
        let carrier = Party { gateway: Some("carrier".into()), ..Party::default() };
        assert_eq!(of("", &carrier).as_deref(), Some("mpls"));
        assert_eq!(of("controller = \"http://127.0.0.1:1\"", &carrier), None);
        // The route to it begins at 127.0.0.1, which no named listener has.
        let other = Party { address: Some(([127, 0, 0, 7], 5060).into()), ..Party::default() };
        assert_eq!(of("", &other), None);
    }
}
