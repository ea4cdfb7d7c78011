//! From text to a [`ServerConfig`]: the tables that occur once.
//!
//! [`parse`] is pure: everything from outside comes through [`Outside`].

use std::sync::Arc;

use toml::de::DeTable;

use super::check;
use super::names::Names;
use super::outside::{Outside, TextAlone, secret};
use super::party_keys::{GATEWAY, GROUP, ROUTE, USER};
use super::pattern::Pattern;
use super::root::Root;
use super::sections::SECTIONS;
use super::srtp;
use super::texts::{
    self, REDACTION, advertise, domain, file_mode, http_listen, ip, name_server, network, path, ports,
    quotable, reachable_ip, store,
};
use super::tokens::{self, MainToken};
use super::{
    CONTACTS, Carrier, ConfigError, ConfigErrors, ConfigProblem, Http, KeepAlive, Limits, Log, Media,
    MinAlgorithm, Registrar, Secret, Server, ServerConfig, Store,
};
use super::{
    apps, codecs, emergency, hep, kept, keys, listener, parse_parties, parse_route, profiles, recording, tls,
};
use b2b_config::lines::Lines;
use b2b_config::section::Section;
use b2b_config::value::{LOG_FORMATS, LOG_LEVELS};

/// Parses a configuration that stands for itself: for tests and benches.
///
/// # Errors
/// As [`parse`].
pub fn parse_alone(text: &str) -> Result<ServerConfig, ConfigErrors> {
    parse(text, &TextAlone)
}

/// Parses a configuration.
///
/// # Errors
/// All errors, each with its line. Of inconsistent keys, missing files and environment variables, only the
/// first one in each table is reported.
pub fn parse(text: &str, outside: &dyn Outside) -> Result<ServerConfig, ConfigErrors> {
    let lines = Lines::of(text);
    let mut root = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        lines.error(at, ConfigProblem::Syntax(b2b_config::syntax(error.message())))
    })?;
    profiles::apply(root.get_mut());
    let config = read(&Root::open(&SECTIONS, &lines, root.get_ref()), outside);
    let (config, asked) = lines.finish(config)?;
    Ok(ServerConfig { asked, ..config })
}

/// Reads every table, even if others are invalid.
fn read(root: &Root<'_>, outside: &dyn Outside) -> Result<ServerConfig, ConfigError> {
    let mut names = Names::default();
    let listeners = root.each(&listener::LISTENER, |section| listener::named(section, &mut names));
    let server = root.one(&keys::SERVER, |section| server(section, outside, root.has(&listener::LISTENER)));
    let tls =
        root.has(&tls::TLS).then(|| root.one(&tls::TLS, |section| tls::tls(section, outside))).transpose();
    let media = root.one(&keys::MEDIA, |section| media(section, outside));
    let kept = server.as_ref().map_or(&Store::Memory, |server| &server.store);
    let http = root.one(&keys::HTTP, |section| http(section, outside, kept));
    let registrar = root.one(&keys::REGISTRAR, registrar);
    let limits = root.one(&keys::LIMITS, limits);
    let recording = root.one(&recording::RECORDING, |section| recording::recording(section, outside));
    let ended_calls =
        root.one(&kept::ended_calls::ENDED_CALLS, |section| kept::ended_calls::ended_calls(section, outside));
    let survive = root.one(&kept::survive::SURVIVE, |section| kept::survive::survive(section, outside));
    let hep = root.one(&hep::HEP, |section| hep::hep(section, outside));
    let log = root.one(&keys::LOG, |section| log(section, outside));
    let users = root.each(&USER, |section| parse_parties::user(section, outside, &mut names));
    let gateways = root.each(&GATEWAY, |section| parse_parties::gateway(section, outside, &mut names));
    for (at, problem) in names.missing_gateways() {
        root.report_at(at, problem);
    }
    let emergency = root.one(&emergency::EMERGENCY, |section| emergency::emergency(section, &names));
    let groups = root.each(&GROUP, |section| parse_parties::group(section, &mut names));
    outside.own_apps().iter().for_each(|name| names.add_own_app(name));
    apps::names(root, &mut names);
    let mut index = 0;
    let routes = root.each(&ROUTE, |section| {
        index += 1;
        parse_route::route(section, index, &mut names)
    });
    let apps = apps::parse(root, outside, &users, &mut names);
    let config = ServerConfig {
        server: server?,
        listeners,
        tls: tls?,
        media: media?,
        http: http?,
        registrar: registrar?,
        limits: limits?,
        emergency: emergency?,
        recording: recording?,
        ended_calls: ended_calls?,
        survive: survive?,
        hep: hep?,
        log: log?,
        users,
        gateways,
        groups,
        routes,
        apps: apps?,
        asked: Vec::new(),
        unchecked: Vec::new(),
        text: Arc::new(Secret::new("")),
    };
    for (table, key, problem) in check::together(&config) {
        root.report(table, key, problem);
    }
    Ok(config)
}

/// `named`: there are named listeners, so the default ones are not added.
fn server(section: &Section<'_>, outside: &dyn Outside, named: bool) -> Result<Server, ConfigError> {
    let mut listen = section.parsed_list("listen", texts::listener)?;
    if named && !section.has("listen") {
        listen.clear();
    }
    if listen.is_empty() && !named {
        return Err(section.bad("listen", section.place("listen"), "", "no listener; add at least one"));
    }
    for (index, one) in listen.iter().enumerate() {
        if one.bind.port() != 0 && listen.iter().take(index).any(|other| other == one) {
            let at = section.place("listen");
            return Err(section.bad("listen", at, &one.to_string(), "listed twice; keep one"));
        }
    }
    let domains = section.parsed_list("domains", domain)?;
    let realm = section.parsed("realm", quotable)?;
    let server = Server {
        listen,
        advertise: section.parsed_list("advertise", advertise)?,
        stun: texts::stun(section)?,
        stun_every: section.seconds("stun_s")?,
        resolver: section.parsed("resolver", name_server)?,
        realm: realm.or_else(|| domains.first().cloned()).unwrap_or_else(|| "b2b".to_string()),
        domains,
        md5_only: section.parsed_list("md5_only", Pattern::new)?,
        min_algorithm: section.choice("min_algorithm", &MinAlgorithm::NAMED)?,
        require_qop: section.switch("require_qop")?,
        user_agent: section
            .parsed("user_agent", quotable)?
            .unwrap_or_else(|| concat!("b2b/", env!("CARGO_PKG_VERSION")).to_string()),
        weak_passwords: section.switch("weak_passwords")?,
        trusted: section.parsed_list("trusted", network)?,
        inside: section.parsed_list("inside", network)?,
        store: Store::new(section.parsed_or_default("store", store)?, outside),
        cdr: section.parsed("cdr", path)?.map(|path| outside.resolve(&path)),
        file_mode: section.parsed_or_default("file_mode", file_mode)?,
        drain: section.seconds("drain_s")?,
        session_expires: section.seconds("session_expires_s")?,
        min_se: section.seconds("min_se_s")?,
    };
    section.finish();
    if server.min_se > server.session_expires {
        let key = if section.has("min_se_s") { "min_se_s" } else { "session_expires_s" };
        let value = format!("{} s", server.min_se.as_secs());
        let asked = server.session_expires.as_secs();
        let reason =
            format!("it is above `session_expires_s`, {asked} s; lower it, or raise `session_expires_s`");
        let problem = ConfigProblem::BadValue { key: section.full("min_se_s"), value, reason };
        return Err(section.error(key, problem));
    }
    Ok(server)
}

fn carrier(section: &Section<'_>) -> Result<Carrier, ConfigError> {
    let lines = section.texts("controller")?;
    if !section.has("controller") {
        return Ok(Carrier::Embedded);
    }
    let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
    let at = lines.first().map_or_else(|| section.place("controller"), |line| line.at);
    Carrier::all(&texts).map_err(|reason| section.bad("controller", at, &texts.join(", "), reason))
}

fn media(section: &Section<'_>, outside: &dyn Outside) -> Result<Media, ConfigError> {
    let media = Media {
        controller: carrier(section)?,
        token: secret(section, ["token", "token_file"], outside)?,
        bind: section.parsed("bind", ip)?,
        advertise: section.parsed("advertise", reachable_ip)?,
        ports: section.parsed_or_default("ports", ports)?,
        threads: section.whole_if_set("threads")?,
        codecs: codecs::own(section)?,
        rtp_timeout: section.seconds_unless_zero("rtp_timeout_s")?,
        media_from: section.parsed_list("media_from", network)?,
        srtp: srtp::srtp(section, None)?.unwrap_or_default(),
    };
    section.finish();
    Ok(media)
}

fn http(section: &Section<'_>, outside: &dyn Outside, store: &Store) -> Result<Option<Http>, ConfigError> {
    let bind = section.parsed_or_default("listen", http_listen)?;
    let off = section.text_of_secret("token")?.is_some_and(|text| text == "off");
    let given = secret(section, ["token", "token_file"], outside)?;
    let tokens = tokens::tokens(section, outside)?;
    let trusted_proxies = section.parsed_list("trusted_proxies", network)?;
    section.finish();
    let not_off = |reason: String| Err(section.bad("token", section.place("token"), "off", reason));
    let token = match given {
        Some(_) if off && !tokens.is_empty() => {
            return not_off(
                "clients without a token of [[http.tokens]] would have all rights; remove it".to_string(),
            );
        }
        Some(_) if off => match bind.filter(|bind| !bind.ip().is_loopback()) {
            Some(bind) => {
                let reason = "remove it, and b2b creates a token, or listen on 127.0.0.1";
                return not_off(format!("other hosts can reach {bind}; {reason}"));
            }
            None => MainToken::Off,
        },
        Some(token) => MainToken::Given(token),
        None if tokens.is_empty() => MainToken::made(store, &outside.resolve("")),
        None => MainToken::Absent,
    };
    Ok(bind.map(|bind| Http { bind, token, tokens, trusted_proxies }))
}

fn registrar(section: &Section<'_>) -> Result<Registrar, ConfigError> {
    let registrar = Registrar {
        min_expires: section.seconds("min_expires_s")?,
        max_expires: section.seconds("max_expires_s")?,
        default_expires: section.seconds("default_expires_s")?,
        nonce_life: section.seconds("nonce_s")?,
        keep_alive: section.choice("keep_alive", &KeepAlive::NAMED)?,
        keep_alive_interval: section.seconds("keep_alive_s")?,
        proxies: section.parsed_list("proxies", network)?,
        max_contacts: section.whole("max_contacts")?,
        contacts_replace: section.choice("contacts", &CONTACTS)?,
        local_phones: section.switch("local_phones")?,
        max_bindings: section.whole("max_bindings")?,
    };
    section.finish();
    if registrar.max_expires < registrar.min_expires {
        let key = if section.has("max_expires_s") { "max_expires_s" } else { "min_expires_s" };
        let reason = "the longest expiry is below the shortest".to_string();
        let value = format!("{} s", registrar.max_expires.as_secs());
        return Err(
            section.error(key, ConfigProblem::BadValue { key: section.full("max_expires_s"), value, reason })
        );
    }
    Ok(registrar)
}

fn limits(section: &Section<'_>) -> Result<Limits, ConfigError> {
    let limits = Limits {
        calls: section.whole("calls")?,
        calls_per_s: section.whole("calls_per_s")?,
        user_calls_per_s: section.whole("user_calls_per_s")?,
        source_calls_per_s: section.whole("source_calls_per_s")?,
        source_calls: section.whole("source_calls")?,
        source_messages_per_s: section.whole("source_messages_per_s")?,
        source_challenges_per_s: section.whole("source_challenges_per_s")?,
        connections: section.whole("connections")?,
        source_connections: section.whole("source_connections")?,
        auth_failures: section.whole("auth_failures")?,
        ban: section.seconds("ban_s")?,
        // Without it, Timer B ends an INVITE without a response after 32 s.
        trying: section.seconds_if_set("trying_s")?,
        ring: section.seconds("ring_s")?,
        duration: section.seconds_unless_zero("call_s")?,
        redirects: section.whole("redirects")?,
        subscriptions: section.whole("subscriptions")?,
        user_subscriptions: section.whole("user_subscriptions")?,
    };
    section.finish();
    Ok(limits)
}

fn log(section: &Section<'_>, outside: &dyn Outside) -> Result<Log, ConfigError> {
    let log = Log {
        level: section.choice("level", &LOG_LEVELS)?,
        format: section.choice("format", &LOG_FORMATS)?,
        redact: section.choice("redact", &REDACTION)?,
        sip_trace: section.parsed("sip_trace", path)?.map(|path| outside.resolve(&path)),
        call_journals: section.switch("call_journals")?,
    };
    section.finish();
    Ok(log)
}
