//! `[[user]]`, `[[gateway]]`, `[[group]]`.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::check::Names;
use super::docs;
use super::error::{ConfigError, ConfigProblem};
use super::parse::{self, Outside, secret};
use super::parse_route;
use super::parties::{
    Credentials, Gateway, GatewayAuth, GatewayHost, Group, MediaAnswer, Redirects, Strategy, User,
};
use super::pattern::{Pattern, Rewrite, Template};
use super::reader::{Read, Section};
use super::texts;
use super::{MinAlgorithm, Secret};
use b2b_sip::msg::Transport;

pub(super) fn user(
    section: Section<'_>,
    outside: &dyn Outside,
    names: &mut Names,
) -> Result<User, ConfigError> {
    let reason = "a user needs a name, like name = \"1001\"";
    let name = section.parsed("name", user_name)?.ok_or_else(|| section.missing("name", reason))?;
    let credentials = credentials(&section, outside)?;
    let aliases = section.parsed_list("aliases", user_name)?.unwrap_or_default();
    names.add_user(&section, "name", &name)?;
    for alias in &aliases {
        names.add_user(&section, "aliases", alias)?;
    }
    let user = User {
        name,
        credentials,
        aliases,
        display_name: section.parsed("display_name", display)?,
        caller_id: section.parsed("caller_id", user_name)?,
        class: section.parsed("class", class)?.unwrap_or_else(|| "internal".to_string()),
        max_contacts: section.whole("max_contacts", 1..=1_000)?.map(|most| most as usize),
        weak_password: section.switch("weak_password")?.unwrap_or(false),
        max_calls: section.whole("max_calls", 1..=100_000)?.map(|most| most as usize),
        media_from: section.parsed_list("media_from", network)?.unwrap_or_default(),
        line: section.line(),
    };
    names.add_class(&user.class);
    section.finish();
    Ok(user)
}

fn credentials(section: &Section<'_>, outside: &dyn Outside) -> Result<Credentials, ConfigError> {
    let password = secret(section, ["password", "password_file"], outside)?;
    let hash = |key: &'static str, digits: usize| -> Result<Option<Secret>, ConfigError> {
        let Some(text) = section.text_of_secret(key)? else { return Ok(None) };
        if text.len() != digits || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let reason = format!("not {digits} hex digits");
            return Err(section.error(key, ConfigProblem::BadSecret { key: section.full(key), reason }));
        }
        Ok(Some(Secret::new(text.to_ascii_lowercase())))
    };
    let (md5, sha256) = (hash("ha1", 32)?, hash("ha1_sha256", 64)?);
    match (password, md5, sha256) {
        (Some(password), None, None) => Ok(Credentials::Password(password)),
        (Some(_), md5, _) => {
            let other = if md5.is_some() { "ha1" } else { "ha1_sha256" };
            let problem = ConfigProblem::Both {
                key: section.full("password"),
                other: section.full(other),
                reason: "keep the password or its hashes".to_string(),
            };
            Err(section.error(other, problem))
        }
        (None, None, None) => {
            let reason = "nobody could register as this user; set password, password_file or ha1";
            Err(section.missing("password", reason))
        }
        (None, md5, sha256) => Ok(Credentials::Ha1 { md5, sha256 }),
    }
}

pub(super) fn gateway(
    section: Section<'_>,
    outside: &dyn Outside,
    names: &mut Names,
) -> Result<Gateway, ConfigError> {
    let reason = "a gateway needs a name, like name = \"carrier\"";
    let name = section.parsed("name", plain_name)?.ok_or_else(|| section.missing("name", reason))?;
    names.add_gateway(&section, &name)?;
    let hosts = hosts(&section)?;
    let username = section.parsed("username", display)?;
    let password = secret(&section, ["password", "password_file"], outside)?;
    let auth = match (username, password) {
        (Some(username), Some(password)) => Some(GatewayAuth { username, password }),
        (None, None) => None,
        (Some(_), None) => return Err(section.missing("password", "a username needs one")),
        (None, Some(_)) => return Err(section.missing("username", "a password needs one")),
    };
    let register = section.switch("register")?.unwrap_or(false);
    if register && auth.is_none() {
        return Err(section.missing("username", "register = true needs username and password"));
    }
    let expires = section.seconds("expires_s", 60..=86_400)?.unwrap_or(Duration::from_secs(3_600));
    let options = section.seconds("options_s", 0..=3_600)?.unwrap_or(Duration::from_secs(30));
    let gateway = Gateway {
        name,
        hosts,
        transport: section.parsed("transport", transport)?,
        auth,
        realms: section.parsed_list("realm", texts::quotable)?.unwrap_or_default(),
        min_algorithm: section.parsed("min_algorithm", MinAlgorithm::parse)?.unwrap_or(MinAlgorithm::Md5),
        from_user: section.parsed("from_user", user_name)?,
        from_domain: section.parsed("from_domain", host)?,
        register: register.then_some(expires),
        options: (!options.is_zero()).then_some(options),
        sources: section.parsed_list("sources", network)?.unwrap_or_default(),
        media_from: section.parsed_list("media_from", network)?.unwrap_or_default(),
        media_answer: section.parsed("media_answer", media_answer)?.unwrap_or(MediaAnswer::Source),
        class: section.parsed("class", class)?.unwrap_or_else(|| "external".to_string()),
        redirects: redirects(&section, names)?,
        channels: section.whole("channels", 1..=100_000)?.map(|most| most as usize),
        trying: super::parse_limits::trying(&section)?,
        called: rewrites(&section, "called")?,
        caller: rewrites(&section, "caller")?,
        codecs: parse::codecs(&section)?.unwrap_or_default(),
        inband: section.parsed("dtmf", dtmf)?.unwrap_or(false),
        dialog_own: section.parsed("dialog", dialog)?.unwrap_or(false),
        line: section.line(),
    };
    names.add_class(&gateway.class);
    names.add_sources(&section, &gateway)?;
    section.finish();
    Ok(gateway)
}

fn media_answer(text: &str) -> Read<MediaAnswer> {
    match text {
        "source" => Ok(MediaAnswer::Source),
        "signalled" => Ok(MediaAnswer::Signalled),
        _ => Err("no such choice; choose source or signalled".to_string()),
    }
}

/// `own`, `routes`, or names of gateways, which may stand further down in the file.
fn redirects(section: &Section<'_>, names: &mut Names) -> Result<Redirects, ConfigError> {
    let Some(texts) = section.texts("redirects")? else { return Ok(Redirects::Own) };
    match texts.iter().map(|text| text.text.as_str()).collect::<Vec<_>>()[..] {
        ["own"] => return Ok(Redirects::Own),
        ["routes"] => return Ok(Redirects::Routes),
        _ => {}
    }
    for text in &texts {
        names.wants_gateway(section.full("redirects"), &text.text, text.at);
    }
    Ok(Redirects::Gateways(texts.into_iter().map(|text| text.text).collect()))
}

/// Whether dialogs go to its own hosts only.
fn dialog(text: &str) -> Read<bool> {
    match text {
        "any" => Ok(false),
        "own" => Ok(true),
        _ => Err("no such choice; choose any or own".to_string()),
    }
}

/// Whether digits come as tones.
fn dtmf(text: &str) -> Read<bool> {
    match text {
        "events" => Ok(false),
        "inband" => Ok(true),
        _ => Err("no such choice; choose events or inband".to_string()),
    }
}

fn hosts(section: &Section<'_>) -> Result<Vec<GatewayHost>, ConfigError> {
    let mut hosts = Vec::new();
    for (index, item) in section.items("hosts", &docs::HOST, true)?.into_iter().enumerate() {
        let place = u16::try_from(index + 1).unwrap_or(u16::MAX);
        let ((host, port), priority) = match item {
            Err(text) => {
                let read = host_port(&text.text);
                (read.map_err(|why| section.bad("hosts", text.at, &text.text, why))?, place)
            }
            Ok(table) => {
                let reason = "like { host = \"sip.example.com\", priority = 1 }";
                let host = table.parsed("host", host_port)?.ok_or_else(|| table.missing("host", reason))?;
                let priority = table.whole("priority", 0..=65_535)?.map_or(place, |number| number as u16);
                table.finish();
                (host, priority)
            }
        };
        hosts.push(GatewayHost { host, port, priority });
    }
    if hosts.is_empty() {
        return Err(section.missing("hosts", "say where the gateway is, like hosts = [\"sip.example.com\"]"));
    }
    hosts.sort_by_key(|host| host.priority);
    Ok(hosts)
}

fn rewrites(section: &Section<'_>, key: &'static str) -> Result<Vec<Rewrite>, ConfigError> {
    let mut rules = Vec::new();
    for item in section.items(key, &docs::RULE, false)? {
        let Ok(rule) = item else { continue };
        let reason = "like { match = \"0(.*)\", to = \"+44$1\" }";
        let pattern = rule.parsed("match", Pattern::new)?.ok_or_else(|| rule.missing("match", reason))?;
        let to = rule.parsed("to", |text| Template::new(text, Some(&pattern)))?;
        rules.push(Rewrite { to: to.ok_or_else(|| rule.missing("to", reason))?, pattern });
        rule.finish();
    }
    Ok(rules)
}

pub(super) fn group(section: Section<'_>, names: &mut Names) -> Result<Group, ConfigError> {
    let reason = "a group needs a name, like name = \"sales\"";
    let name = section.parsed("name", plain_name)?.ok_or_else(|| section.missing("name", reason))?;
    let members = parse_route::targets(&section, "members", None, names)?;
    if members.is_empty() {
        return Err(section.missing("members", "say whom it calls, like members = [\"user/1001\"]"));
    }
    names.add_group(&section, &name)?;
    let timeout = section.seconds("timeout_s", 1..=3_600)?.unwrap_or(Duration::from_secs(30));
    let strategy = section.parsed("strategy", strategy)?.unwrap_or(Strategy::Parallel);
    section.finish();
    Ok(Group { name, members, strategy, timeout, line: section.line() })
}

// ---- values

pub(super) fn strategy(text: &str) -> Read<Strategy> {
    match text {
        "serial" => Ok(Strategy::Serial),
        "parallel" => Ok(Strategy::Parallel),
        _ => Err("no such strategy; choose serial or parallel".to_string()),
    }
}

pub(super) fn transport(text: &str) -> Read<Transport> {
    match text {
        "udp" => Ok(Transport::Udp),
        "tcp" => Ok(Transport::Tcp),
        "tls" => Ok(Transport::Tls),
        _ => Err("no such transport; choose udp, tcp or tls".to_string()),
    }
}

/// The user part of a URI that needs no escape (RFC 3261 §25.1 user) and no quotes.
pub(super) fn user_name(text: &str) -> Read<String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.!~*'+".contains(c);
    match text {
        "" => Err("it is empty".to_string()),
        text if text.chars().all(good) => Ok(text.to_string()),
        _ => Err("letters, digits and - _ . ! ~ * ' + only".to_string()),
    }
}

/// A name of ours: it stands in targets, logs and metrics.
pub(super) fn plain_name(text: &str) -> Read<String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match text {
        "" => Err("it is empty".to_string()),
        text if text.chars().all(good) => Ok(text.to_string()),
        _ => Err("letters, digits and - _ . only".to_string()),
    }
}

pub(super) fn class(text: &str) -> Read<String> {
    plain_name(text)
}

fn display(text: &str) -> Read<String> {
    match text.trim() {
        "" => Err("it is empty".to_string()),
        text => Ok(text.to_string()),
    }
}

pub(super) fn network(text: &str) -> Read<IpNet> {
    let fix = "write an address like 192.0.2.7 or a block like 192.0.2.0/24";
    let net = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text.parse::<IpNet>().map_err(|_| fix)?,
    };
    if net.addr() != net.network() {
        return Err(format!("the block is {}; or write {} for the one address", net.trunc(), net.addr()));
    }
    Ok(net)
}

fn host(text: &str) -> Read<String> {
    match host_port(text)? {
        (host, None) => Ok(host),
        _ => Err("no port here".to_string()),
    }
}

/// `host[:port]`; a name comes out in lower case, an IPv6 address without brackets.
pub(super) fn host_port(text: &str) -> Read<(String, Option<u16>)> {
    let fix = "write it like sip.example.com, 192.0.2.7:5060 or [2001:db8::7]:5060";
    if let Ok(IpAddr::V6(address)) = text.parse() {
        return Ok((address.to_string(), None));
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or(fix)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| fix)?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or(fix)?) })
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match port.map(str::parse::<u16>) {
        None => None,
        Some(Ok(port)) if port != 0 => Some(port),
        Some(_) => return Err(format!("not a port; {fix}")),
    };
    let label = |label: &str| {
        let inner = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        inner && (1..=63).contains(&label.len())
    };
    let is_name = host.len() <= 253 && host.trim_end_matches('.').split('.').all(label);
    if host.parse::<IpAddr>().is_err() && !is_name {
        return Err(format!("not a host; {fix}"));
    }
    Ok((host.to_ascii_lowercase(), port))
}
