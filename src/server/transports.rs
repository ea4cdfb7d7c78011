//! Listeners and their advertised addresses, in the types of the SIP stack. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::mpsc::Sender;

use super::settings;
use crate::config::{Advertise, HepCalls, Listener, ListenerConfig, Server, ServerConfig};
use b2b_sip::endpoint::{Advertised, Transport};
use b2b_sip::known::KnownSources;
use b2b_sip::net::trace::TraceSlot;
use b2b_sip::net::{CertifiedPeers, NameService, NamedListener, NetConfig, SeenAs, StunConfig, Tls};

/// The configuration of the sockets.
pub fn net(
    config: &ServerConfig,
    tls: Tls,
    (known, certified): (KnownSources, CertifiedPeers),
    trace: &TraceSlot,
    seen: Sender<SeenAs>,
) -> NetConfig {
    let server = &config.server;
    let stun = config.stun_servers().map(|(listener, (host, port))| StunConfig {
        listener: listener.map(Into::into),
        host: host.clone(),
        port: *port,
        every: server.stun_every,
        inside: server.inside.iter().map(|net| (net.addr(), net.prefix_len())).collect(),
        seen: seen.clone(),
    });
    let (bind, bind_tls) = sockets(&config.server.listen);
    let named = config.listeners.iter().map(|it| {
        let (bind, bind_tls) = sockets(&it.listen);
        NamedListener { name: it.name.as_str().into(), bind, bind_tls }
    });
    NetConfig {
        limits: settings::net_limits(config),
        known,
        certified,
        bind,
        bind_tls,
        named: named.collect(),
        stun: stun.collect(),
        tls: Some(tls),
        names: NameService::Dns(config.server.resolver),
        trace: config.log.sip_trace.clone(),
        trace_slot: trace.clone(),
        tap_all: config.hep.as_ref().is_some_and(|hep| hep.calls == HepCalls::All),
        ..NetConfig::new(SocketAddr::from(([127, 0, 0, 1], 0)))
    }
}

/// The addresses bound for UDP and TCP, and those for TLS.
fn sockets(listen: &[Listener]) -> (Vec<SocketAddr>, Vec<SocketAddr>) {
    let (mut bind, mut bind_tls) = (Vec::new(), Vec::new());
    for listener in listen {
        let list = if listener.transport == Transport::Tls { &mut bind_tls } else { &mut bind };
        if !list.contains(&listener.bind) {
            list.push(listener.bind);
        }
    }
    (bind, bind_tls)
}

/// The addresses in Via and Contact instead of the listeners' own. Named listeners come first: one without
/// `advertise` uses its own address, not the default `advertise`.
pub fn advertised(config: &ServerConfig) -> Vec<Advertised> {
    let server = &config.server;
    let mut all = Vec::new();
    for named in &config.listeners {
        for listener in sockets_of(config, named) {
            all.extend(entries(server, &named.advertise, |family| {
                (family.is_ipv4() == listener.is_ipv4()).then_some(listener)
            }));
            let own = (String::new(), None, Vec::new());
            all.push(Advertised { listener, transport: None, host: own.0, port: own.1, inside: own.2 });
        }
    }
    all.extend(entries(server, &server.advertise, |family| Some(SocketAddr::new(family, 0))));
    all
}

/// The socket addresses whose flows belong to a listener. An IP address that no other listener has belongs to
/// it with any port: our outgoing connections use other ports.
fn sockets_of(config: &ServerConfig, named: &ListenerConfig) -> Vec<SocketAddr> {
    let elsewhere = |ip: IpAddr| {
        let ours = named.listen.iter().filter(|it| it.bind.ip() == ip).count();
        config.listening().filter(|it| it.bind.ip() == ip || it.bind.ip().is_unspecified()).count() > ours
    };
    let mut all: Vec<SocketAddr> = Vec::new();
    for bind in named.listen.iter().map(|it| it.bind) {
        let alone = !bind.ip().is_unspecified() && !elsewhere(bind.ip());
        let at = if alone { SocketAddr::new(bind.ip(), 0) } else { bind };
        if !all.contains(&at) {
            all.push(at);
        }
    }
    all
}

/// The advertised addresses for the listener that `at` gives for a family.
fn entries(
    server: &Server,
    advertise: &[Advertise],
    at: impl Fn(IpAddr) -> Option<SocketAddr>,
) -> Vec<Advertised> {
    let mut all = Vec::new();
    for advertise in advertise {
        let ip = advertise.host.parse::<IpAddr>().ok();
        let (v4, v6) = (Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into());
        let families: [IpAddr; 2] = [v4, v6];
        let families = families.into_iter().filter(|it| ip.is_none_or(|ip| ip.is_ipv4() == it.is_ipv4()));
        for listener in families.filter_map(&at) {
            let host = match ip {
                Some(IpAddr::V6(ip)) => format!("[{ip}]"),
                _ => advertise.host.clone(),
            };
            let one = |transport, port| Advertised {
                listener,
                transport,
                host: host.clone(),
                port,
                inside: server.inside.iter().map(|net| (net.addr(), net.prefix_len())).collect(),
            };
            match advertise.port {
                // The port cannot be that of TLS as well.
                Some(_) => all.extend([
                    one(Some(Transport::Udp), advertise.port),
                    one(Some(Transport::Tcp), advertise.port),
                    one(None, None),
                ]),
                None => all.push(one(None, None)),
            }
        }
    }
    all
}
