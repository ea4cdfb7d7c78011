//! From text to a [`ServerConfig`]: the tables that stand once.
//!
//! [`parse`] is pure: what it needs from outside comes through [`Outside`].

use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::check::{self, Names};
use super::docs::{self, SectionDoc};
use super::error::{ConfigError, ConfigProblem};
use super::pattern::Pattern;
use super::reader::{Lines, Section, described};
use super::texts::{
    advertise, domain, ip, keep_alive, listener, name_server, path, ports, quotable, reachable_ip, store,
};
use super::tokens::MainToken;
use super::{
    Carrier, Codec, Http, KeepAlive, Listener, Log, Media, MinAlgorithm, Registrar, Secret, Server,
    ServerConfig, Srtp, Store, Tls,
};
use super::{apps, hep, parse_limits, parse_parties, parse_route, recording};
use b2b_base::logging::Format;
use b2b_base::util::file::FileMode;
use b2b_base::util::redact::Redaction;
use b2b_config::keys::nearest;
use b2b_config::value;
use b2b_sip::msg::Transport;

/// Up to 3.11, libre fails at a challenge that is not MD5 (ENOSYS in `sip/auth.c`).
const OLD_LIBRE: [&str; 3] = [r"baresip v[0-2]\..*", r"baresip v3\.\d\..*", r"baresip v3\.1[01]\..*"];

/// What a configuration refers to outside of its text.
pub trait Outside {
    /// An environment variable.
    fn variable(&self, name: &str) -> Option<String>;

    /// The text of a file that holds a secret; `path` is [`Outside::resolve`]d.
    ///
    /// # Errors
    /// What the operating system says.
    fn secret_file(&self, path: &std::path::Path) -> std::io::Result<String>;

    /// Whether a file is there; `path` is [`Outside::resolve`]d.
    fn is_file(&self, path: &std::path::Path) -> bool;

    /// A path of the text, relative to the file's folder.
    fn resolve(&self, path: &str) -> PathBuf;
}

/// Reads a configuration.
///
/// # Errors
/// The first thing that is wrong, with its line.
pub fn parse(text: &str, outside: &dyn Outside) -> Result<ServerConfig, ConfigError> {
    let lines = Lines::of(text);
    let root = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        lines.error(at, ConfigProblem::Syntax(b2b_config::syntax(error.message())))
    })?;
    let root = Root::open(&lines, root.get_ref())?;
    let server = server(&root.one(&docs::SERVER)?, outside)?;
    let tls = match root.once.contains_key("tls") {
        true => Some(tls(&root.one(&docs::TLS)?, outside)?),
        false => None,
    };
    let media = media(&root.one(&docs::MEDIA)?, outside)?;
    let http = http(&root.one(&docs::HTTP)?, outside, &server.store)?;
    let registrar = registrar(&root.one(&docs::REGISTRAR)?)?;
    let limits = parse_limits::limits(&root.one(&docs::LIMITS)?)?;
    let recording = recording::recording(&root.one(&docs::RECORDING)?, outside)?;
    let hep = hep::hep(&root.one(&docs::HEP)?, outside)?;
    let log = log(&root.one(&docs::LOG)?, outside)?;
    let mut names = Names::default();
    let users = root.many(&docs::USER)?;
    let users = users.into_iter().map(|section| parse_parties::user(section, outside, &mut names));
    let users = users.collect::<Result<Vec<_>, _>>()?;
    let gateways = root.many(&docs::GATEWAY)?;
    let gateways = gateways.into_iter().map(|section| parse_parties::gateway(section, outside, &mut names));
    let gateways = gateways.collect::<Result<Vec<_>, _>>()?;
    if let Some((at, problem)) = names.missing_gateway() {
        return Err(lines.error(at, problem));
    }
    let groups = root.many(&docs::GROUP)?;
    let groups = groups.into_iter().map(|section| parse_parties::group(section, &mut names));
    let groups = groups.collect::<Result<Vec<_>, _>>()?;
    apps::names(&root, &mut names)?;
    let routes = root.many(&docs::ROUTE)?.into_iter().enumerate();
    let routes = routes.map(|(index, section)| parse_route::route(section, index, &mut names));
    let routes = routes.collect::<Result<Vec<_>, _>>()?;
    let apps = apps::parse(&root, outside, &users, &mut names)?;
    let config = ServerConfig {
        server,
        tls,
        media,
        http,
        registrar,
        limits,
        recording,
        hep,
        log,
        users,
        gateways,
        groups,
        routes,
        apps,
    };
    check::together(&config).map_err(|(table, key, problem)| root.error(table, key, problem))?;
    Ok(config)
}

/// The file's tables, sorted out.
pub(super) struct Root<'a> {
    lines: &'a Lines,
    once: HashMap<&'static str, (usize, &'a DeTable<'a>)>,
    many: HashMap<&'static str, Vec<(usize, &'a DeTable<'a>)>>,
}

impl<'a> Root<'a> {
    const ONCE: [&'static SectionDoc; 12] = [
        &docs::SERVER,
        &docs::TLS,
        &docs::MEDIA,
        &docs::HTTP,
        &docs::REGISTRAR,
        &docs::LIMITS,
        &docs::RECORDING,
        &docs::HEP,
        &docs::LOG,
        &apps::PROMPTS,
        &apps::queue::QUEUES,
        &apps::voicemail::VOICEMAIL,
    ];
    const MANY: [&'static SectionDoc; 13] = [
        &docs::USER,
        &docs::GATEWAY,
        &docs::GROUP,
        &docs::ROUTE,
        &apps::ivr::IVR,
        &apps::music::MUSIC,
        &apps::queue::AGENT,
        &apps::queue::QUEUE,
        &apps::conference::CONFERENCE,
        &apps::park::PARK,
        &apps::remote::REMOTE,
        &apps::voicemail::MAILBOX,
        &apps::voice_agent::VOICE_AGENT,
    ];

    fn open(lines: &'a Lines, table: &'a DeTable<'a>) -> Result<Self, ConfigError> {
        let mut root = Root { lines, once: HashMap::new(), many: HashMap::new() };
        let mut entries: Vec<(&str, Range<usize>, _)> =
            table.iter().map(|(key, value)| (key.get_ref().as_ref(), key.span(), value)).collect();
        entries.sort_by_key(|(_, span, _)| span.start);
        for (name, span, value) in entries {
            let at = span.start;
            let once = Self::ONCE.iter().find(|doc| doc.name == name);
            let many = Self::MANY.iter().find(|doc| doc.name == name);
            match (once, many, value.get_ref()) {
                (Some(doc), _, DeValue::Table(table)) => {
                    root.once.insert(doc.name, (at, table));
                }
                (_, Some(doc), DeValue::Array(items)) => {
                    for item in items {
                        let DeValue::Table(table) = item.get_ref() else {
                            return Err(lines.error(item.span().start, wrong(doc, item.get_ref())));
                        };
                        root.many.entry(doc.name).or_default().push((item.span().start, table));
                    }
                }
                (Some(doc), _, value) | (_, Some(doc), value) => {
                    return Err(lines.error(at, wrong(doc, value)));
                }
                (None, None, _) if ["topology", "expect", "scene", "orchestrator"].contains(&name) => {
                    return Err(lines.error(at, ConfigProblem::IsPlan { key: name.to_string() }));
                }
                (None, None, _) => {
                    let all = Self::ONCE.iter().chain(&Self::MANY).map(|doc| doc.name);
                    let nearest = nearest(name, all).unwrap_or_default().to_string();
                    return Err(lines.error(at, ConfigProblem::UnknownKey { key: name.to_string(), nearest }));
                }
            }
        }
        Ok(root)
    }

    /// A table that stands once, or is empty when it is not there.
    pub fn one(&self, doc: &'static SectionDoc) -> Result<Section<'a>, ConfigError> {
        match self.once.get(doc.name) {
            Some((at, table)) => Section::open(self.lines, doc, *at, table),
            None => Ok(Section::absent(self.lines, doc)),
        }
    }

    /// Tables of which there may be many.
    pub fn many(&self, doc: &'static SectionDoc) -> Result<Vec<Section<'a>>, ConfigError> {
        let tables = self.many.get(doc.name).map(Vec::as_slice).unwrap_or_default();
        tables.iter().map(|(at, table)| Section::open(self.lines, doc, *at, table)).collect()
    }

    /// An error at a key of a table that stands once.
    fn error(&self, doc: &'static SectionDoc, key: &str, problem: ConfigProblem) -> ConfigError {
        let place = self.one(doc).map_or(0, |section| section.place(key));
        self.lines.error(place, problem)
    }
}

fn wrong(doc: &SectionDoc, value: &DeValue<'_>) -> ConfigProblem {
    let other = |text: &str| match text.contains("[[") {
        true => format!("[{}]", doc.name),
        false => format!("[[{}]]", doc.name),
    };
    match value {
        DeValue::Table(_) | DeValue::Array(_) => ConfigProblem::Brackets {
            table: doc.name.to_string(),
            right: doc.written.to_string(),
            wrong: other(doc.written),
        },
        value => ConfigProblem::WrongType {
            key: doc.name.to_string(),
            found: described(value).to_string(),
            wanted: format!("a table: {}", doc.written),
        },
    }
}

fn server(section: &Section<'_>, outside: &dyn Outside) -> Result<Server, ConfigError> {
    let listen = section.parsed_list("listen", listener)?;
    let listen = listen.unwrap_or_else(|| {
        let bind = SocketAddr::from(([127, 0, 0, 1], 5060));
        [Transport::Udp, Transport::Tcp].map(|transport| Listener { transport, bind }).to_vec()
    });
    if listen.is_empty() {
        return Err(section.bad("listen", section.place("listen"), "", "no listener; name at least one"));
    }
    for (index, one) in listen.iter().enumerate() {
        if one.bind.port() != 0 && listen.iter().take(index).any(|other| other == one) {
            let at = section.place("listen");
            return Err(section.bad("listen", at, &one.to_string(), "listed twice; keep one"));
        }
    }
    let domains = section.parsed_list("domains", domain)?.unwrap_or_default();
    let realm = section.parsed("realm", quotable)?;
    let server = Server {
        listen,
        advertise: section.parsed_list("advertise", advertise)?.unwrap_or_default(),
        resolver: section.parsed("resolver", name_server)?,
        realm: realm.or_else(|| domains.first().cloned()).unwrap_or_else(|| "b2b".to_string()),
        domains,
        md5_only: match section.parsed_list("md5_only", Pattern::new)? {
            Some(patterns) => patterns,
            None => OLD_LIBRE.iter().filter_map(|text| Pattern::new(text).ok()).collect(),
        },
        min_algorithm: section.parsed("min_algorithm", MinAlgorithm::parse)?.unwrap_or(MinAlgorithm::Md5),
        require_qop: section.switch("require_qop")?.unwrap_or(false),
        user_agent: section
            .parsed("user_agent", quotable)?
            .unwrap_or_else(|| concat!("b2b/", env!("CARGO_PKG_VERSION")).to_string()),
        weak_passwords: section.switch("weak_passwords")?.unwrap_or(false),
        trusted: section.parsed_list("trusted", parse_parties::network)?.unwrap_or_default(),
        inside: section.parsed_list("inside", parse_parties::network)?.unwrap_or_default(),
        store: match section.parsed("store", store)? {
            Some(Some(path)) => Store::Sqlite(outside.resolve(&path)),
            Some(None) => Store::Memory,
            None => Store::Sqlite(outside.resolve("b2b.sqlite")),
        },
        cdr: section.parsed("cdr", path)?.map(|path| outside.resolve(&path)),
        file_mode: section.parsed("file_mode", file_mode)?.unwrap_or(FileMode::OWNER),
        drain: section.seconds("drain_s", 0..=86_400)?.unwrap_or(Duration::from_secs(30)),
        session_expires: section
            .seconds("session_expires_s", 90..=86_400)?
            .unwrap_or(Duration::from_secs(1_800)),
        min_se: section.seconds("min_se_s", 90..=86_400)?.unwrap_or(Duration::from_secs(90)),
    };
    section.finish();
    if server.min_se > server.session_expires {
        let key = if section.has("min_se_s") { "min_se_s" } else { "session_expires_s" };
        let value = format!("{} s", server.min_se.as_secs());
        let asked = server.session_expires.as_secs();
        let reason = format!("it is above `session_expires_s`, {asked} s; lower it, or raise that");
        let problem = ConfigProblem::BadValue { key: section.full("min_se_s"), value, reason };
        return Err(section.error(key, problem));
    }
    Ok(server)
}

fn tls(section: &Section<'_>, outside: &dyn Outside) -> Result<Tls, ConfigError> {
    let file = |path: Option<String>| path.map(|path| outside.resolve(&path));
    let tls = Tls {
        certificate: file(section.parsed("certificate", path)?),
        key: file(section.parsed("key", path)?),
        authorities: file(section.parsed("authorities", path)?),
        reload: none_if_zero(section.seconds("reload_s", 0..=86_400)?.unwrap_or(Duration::from_secs(3600))),
        lines: ["certificate", "authorities"].map(|key| section.lines.line(section.place(key))),
    };
    match (&tls.certificate, &tls.key) {
        (Some(_), None) => return Err(section.missing("key", "a certificate needs its private key")),
        (None, Some(_)) => return Err(section.missing("certificate", "a key needs its certificate")),
        _ => section.finish(),
    }
    Ok(tls)
}

fn carrier(section: &Section<'_>) -> Result<Carrier, ConfigError> {
    let Some(lines) = section.texts("controller")? else { return Ok(Carrier::Embedded) };
    let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
    let at = lines.first().map_or_else(|| section.place("controller"), |line| line.at);
    Carrier::all(&texts).map_err(|reason| section.bad("controller", at, &texts.join(", "), reason))
}

fn media(section: &Section<'_>, outside: &dyn Outside) -> Result<Media, ConfigError> {
    let timeout = section.seconds("rtp_timeout_s", 0..=86_400)?.unwrap_or(Duration::from_secs(120));
    let srtp = section.parsed("srtp", Srtp::parse)?.unwrap_or(Srtp::Off);
    let media = Media {
        controller: carrier(section)?,
        token: secret(section, ["token", "token_file"], outside)?,
        bind: section.parsed("bind", ip)?,
        advertise: section.parsed("advertise", reachable_ip)?,
        ports: section.parsed("ports", ports)?.unwrap_or((16_384, 65_535)),
        threads: section.whole("threads", 1..=64)?.map(|threads| threads as usize),
        codecs: codecs(section)?.unwrap_or_else(|| Codec::ALL.to_vec()),
        rtp_timeout: none_if_zero(timeout),
        media_from: section.parsed_list("media_from", parse_parties::network)?.unwrap_or_default(),
        srtp,
        srtp_line: if srtp == Srtp::Off { 0 } else { section.lines.line(section.place("srtp")) },
    };
    section.finish();
    Ok(media)
}

fn file_mode(text: &str) -> Result<FileMode, String> {
    FileMode::parse(text).ok_or_else(|| "write it like 0600 or 0640; its owner reads and writes".to_string())
}

fn http(section: &Section<'_>, outside: &dyn Outside, store: &Store) -> Result<Option<Http>, ConfigError> {
    let bind = section.parsed("listen", |text| match text {
        "off" => Ok(None),
        text => value::sip_bind(text).map(Some).map_err(|_| "write it like 127.0.0.1:8080, or off".into()),
    })?;
    let bind = bind.unwrap_or_else(|| Some(SocketAddr::from(([127, 0, 0, 1], 8080))));
    let off = section.text_of_secret("token")?.is_some_and(|text| text == "off");
    let given = secret(section, ["token", "token_file"], outside)?;
    let tokens = super::tokens::tokens(section, outside)?;
    let trusted_proxies = section.parsed_list("trusted_proxies", parse_parties::network)?.unwrap_or_default();
    section.finish();
    let not_off = |reason: String| Err(section.bad("token", section.place("token"), "off", reason));
    let token = match given {
        Some(_) if off && !tokens.is_empty() => {
            return not_off("whoever has none of [[http.tokens]] could do all; leave it out".to_string());
        }
        Some(_) if off => match bind.filter(|bind| !bind.ip().is_loopback()) {
            Some(bind) => {
                let reason = "leave it out, and b2b makes a token, or listen on 127.0.0.1";
                return not_off(format!("others can reach {bind}; {reason}"));
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
    let seconds = |key, most, default| {
        section.seconds(key, 1..=most).map(|found| found.unwrap_or(Duration::from_secs(default)))
    };
    let registrar = Registrar {
        min_expires: seconds("min_expires_s", 86_400, 60)?,
        max_expires: seconds("max_expires_s", 604_800, 7200)?,
        default_expires: seconds("default_expires_s", 604_800, 3600)?,
        nonce_life: section.seconds("nonce_s", 10..=86_400)?.unwrap_or(Duration::from_secs(7200)),
        keep_alive: section.parsed("keep_alive", keep_alive)?.unwrap_or(KeepAlive::Crlf),
        keep_alive_interval: section.seconds("keep_alive_s", 5..=600)?.unwrap_or(Duration::from_secs(25)),
        proxies: section.parsed_list("proxies", parse_parties::network)?.unwrap_or_default(),
        max_contacts: section.whole("max_contacts", 1..=1_000)?.unwrap_or(10) as usize,
        max_bindings: section.whole("max_bindings", 1..=10_000_000)?.unwrap_or(100_000) as usize,
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

fn log(section: &Section<'_>, outside: &dyn Outside) -> Result<Log, ConfigError> {
    let log = Log {
        level: section.parsed("level", value::log_level)?.unwrap_or(tracing::Level::INFO),
        format: section.parsed("format", value::log_format)?.unwrap_or(Format::Text),
        redact: section
            .parsed("redact", |text| match text {
                "off" => Ok(Redaction::Off),
                "numbers" => Ok(Redaction::Numbers),
                _ => Err("no such choice; choose off or numbers".to_string()),
            })?
            .unwrap_or_default(),
        sip_trace: section.parsed("sip_trace", path)?.map(|path| outside.resolve(&path)),
    };
    section.finish();
    Ok(log)
}

// ---- values

/// A secret that stands in the file, in the environment (`"${NAME}"`) or in a file
/// of its own. `keys` are the key of the first two and that of the last.
pub(super) fn secret(
    section: &Section<'_>,
    keys: [&'static str; 2],
    outside: &dyn Outside,
) -> Result<Option<Secret>, ConfigError> {
    let [inline, file] = keys;
    let bad = |key: &str, reason: String| {
        section.error(key, ConfigProblem::BadSecret { key: section.full(key), reason })
    };
    let inline_text = section.text_of_secret(inline)?;
    let file_text = section.parsed(file, path)?;
    let (key, text) = match (inline_text, file_text) {
        (Some(_), Some(_)) => {
            let (key, other) = (section.full(inline), section.full(file));
            return Err(section.error(file, ConfigProblem::Both { key, other, reason: "keep one".into() }));
        }
        (None, None) => return Ok(None),
        (Some(text), None) => match text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) {
            Some(name) => {
                let missing = || bad(inline, format!("the environment has no {name:?}; set it"));
                (inline, outside.variable(name).ok_or_else(missing)?)
            }
            None => (inline, text),
        },
        (None, Some(path)) => {
            let path = outside.resolve(&path);
            let text = outside.secret_file(&path);
            let text = text.map_err(|error| bad(file, format!("cannot read {}: {error}", path.display())))?;
            (file, text.lines().next().unwrap_or_default().to_string())
        }
    };
    if text.is_empty() {
        return Err(bad(key, "it is empty".to_string()));
    }
    if text.chars().any(char::is_control) {
        return Err(bad(key, "a control character, which cannot be in it".to_string()));
    }
    Ok(Some(Secret::new(text)))
}

pub(super) fn codecs(section: &Section<'_>) -> Result<Option<Vec<Codec>>, ConfigError> {
    let codecs = section.parsed_list("codecs", |text| {
        let codec = Codec::ALL.into_iter().find(|codec| codec.as_str() == text);
        codec.ok_or_else(|| "no such codec; choose from opus, g722, pcmu, pcma".to_string())
    })?;
    let twice = codecs
        .iter()
        .flatten()
        .enumerate()
        .find(|(index, codec)| codecs.iter().flatten().take(*index).any(|other| other == *codec));
    match twice {
        Some((_, codec)) => {
            Err(section.bad("codecs", section.place("codecs"), codec.as_str(), "listed twice; keep one"))
        }
        None => Ok(codecs),
    }
}

pub(super) fn none_if_zero(time: Duration) -> Option<Duration> {
    (!time.is_zero()).then_some(time)
}
