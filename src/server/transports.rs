//! Listeners, and how they are reached, in the words of the SIP stack. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::settings;
use crate::config::{HepCalls, Server, ServerConfig};
use b2b_sip::endpoint::{Advertised, Transport};
use b2b_sip::known::KnownSources;
use b2b_sip::net::trace::TraceSlot;
use b2b_sip::net::{CertifiedPeers, NameService, NetConfig, Tls};

/// For the sockets.
pub fn net(
    config: &ServerConfig,
    tls: Tls,
    (known, certified): (KnownSources, CertifiedPeers),
    trace: &TraceSlot,
) -> NetConfig {
    let (mut bind, mut bind_tls) = (Vec::new(), Vec::new());
    for listener in &config.server.listen {
        let list = if listener.transport == Transport::Tls { &mut bind_tls } else { &mut bind };
        if !list.contains(&listener.bind) {
            list.push(listener.bind);
        }
    }
    NetConfig {
        limits: settings::net_limits(config),
        known,
        certified,
        bind,
        bind_tls,
        tls: Some(tls),
        names: NameService::Dns(config.server.resolver),
        trace: config.log.sip_trace.clone(),
        trace_slot: trace.clone(),
        tap_all: config.hep.as_ref().is_some_and(|hep| hep.calls == HepCalls::All),
        ..NetConfig::new(SocketAddr::from(([127, 0, 0, 1], 0)))
    }
}

/// What stands in Via and Contact instead of the listeners' own addresses.
pub fn advertised(server: &Server) -> Vec<Advertised> {
    let mut all = Vec::new();
    for advertise in &server.advertise {
        let ip = advertise.host.parse::<IpAddr>().ok();
        let (v4, v6) = (Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into());
        let families: [IpAddr; 2] = [v4, v6];
        for family in families.into_iter().filter(|it| ip.is_none_or(|ip| ip.is_ipv4() == it.is_ipv4())) {
            let listener = SocketAddr::new(family, 0);
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
                // It cannot be the port of TLS as well.
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
