//! Configuration of the SIP endpoint and the switch.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{emergency, recordings, settings, transports};
use crate::config::ServerConfig;
use b2b_call::CallId;
use b2b_call::switch::SwitchConfig;
use b2b_sip::endpoint::{EndpointConfig, Extensions};
use b2b_sip::known::KnownSources;
use b2b_sip::msg::Method;
use b2b_sip::net::local_addr;

/// The configuration of the switch.
/// `last_call`: the last one of an earlier process.
pub fn switch(config: &ServerConfig, last_call: CallId) -> SwitchConfig {
    let server = &config.server;
    let listener = config.listening().next().map(|it| local_addr::concrete(it.bind).ip());
    let own = server.domains.first().cloned().or_else(|| server.advertise.first().map(|it| it.host.clone()));
    let domain = own.or_else(|| {
        listener.map(|ip| match ip {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        })
    });
    SwitchConfig {
        domain: domain.unwrap_or_else(|| "b2b.invalid".to_owned()),
        max_calls: config.limits.calls,
        rtp_timeout: config.media.rtp_timeout,
        max_duration: config.limits.duration,
        policy: settings::pair_policy(config),
        srtp: settings::srtp_rules(&config.media.srtp),
        recording: recordings::rules(&config.recording).map(Arc::new),
        journal: config.log.call_journals,
        last_call: Some(last_call),
        ..SwitchConfig::default()
    }
}

/// The configuration of the SIP endpoint; `known` are the known sources.
pub fn endpoint(config: &ServerConfig, known: &KnownSources) -> EndpointConfig {
    let server = &config.server;
    EndpointConfig {
        user_agent: server.user_agent.clone(),
        advertised: transports::advertised(config),
        // Dialling times out first; this limit is for handlers that never decide.
        answer_timeout: Duration::from_secs(300).max(
            settings::longest_ring(config).max(emergency::longest_ring(config)) + Duration::from_secs(60),
        ),
        accept: vec![Method::Info, Method::Message, Method::Notify],
        outside: vec![Method::Register, Method::Subscribe],
        session_timers: Some(settings::session_timers(config)),
        extensions: Extensions { reliable: true, refer: true, replaces: true },
        known: known.clone(),
        services: true,
        locates: true,
        asks_of_flows: true,
        ..EndpointConfig::new(rand::random())
    }
}
