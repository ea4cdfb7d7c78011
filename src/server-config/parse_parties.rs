//! `[[user]]`, `[[gateway]]`, `[[group]]`.

use super::identity;
use super::names::{Names, What};
use super::outside::{Outside, secret};
use super::parse_route;
use super::parties::{
    Credentials, DIALOG, Gateway, GatewayAuth, GatewayHost, Group, LARGE, MediaAnswer, REFRESHER, Redirects,
    User,
};
use super::pattern::{Pattern, Rewrite, Template};
use super::profiles;
use super::registering;
use super::route::{DECLINE, Strategy};
use super::sound;
use super::srtp;
use super::texts::{
    self, TRANSPORTS, class, display, header_name, host, host_port, network, plain_name, user_name,
};
use super::{ConfigError, MinAlgorithm, Secret, listener, ner, tls};
use b2b_config::lines::Text;
use b2b_config::section::Section;
use b2b_sip::endpoint::SessionRefresher;
use b2b_sip::msg::number;

pub(super) fn user(
    section: &Section<'_>,
    outside: &dyn Outside,
    names: &mut Names,
) -> Result<User, ConfigError> {
    let reason = "a user needs a name, like name = \"1001\"";
    let name = section.needed("name", user_name, reason)?;
    let aliases = section.parsed_list("aliases", user_name)?;
    // an invalid user still exists for references to it
    let class = section.parsed_or_default("class", class)?;
    names.add_class(&class);
    names.add(What::User, section, "name", &name)?;
    names.spell(section, "name", &name, &name)?;
    for alias in &aliases {
        names.add(What::User, section, "aliases", alias)?;
        names.spell(section, "aliases", alias, &name)?;
    }
    let is_own = |text: &str| text == name || aliases.iter().any(|alias| alias == text);
    // A number that callees see has no separators; a name is not altered.
    let shown = |text: &str| match user_name(text) {
        Ok(text) if !is_own(&text) => Ok(number::of_user(&text, &())),
        read => read,
    };
    let (caller_id, numbers) = (section.parsed("caller_id", shown)?, section.parsed_list("numbers", shown)?);
    let user = User {
        name,
        credentials: credentials(section, outside)?,
        aliases,
        display_name: section.parsed("display_name", display)?,
        caller_id,
        numbers,
        class,
        max_contacts: section.whole_if_set("max_contacts")?,
        weak_password: section.switch("weak_password")?,
        max_calls: section.whole_if_set("max_calls")?,
        media_from: section.parsed_list("media_from", network)?,
        sound: sound::of_party(section)?,
        srtp: srtp::srtp(section, None)?,
        session_timers: section.switch("session_timers")?,
        line: section.line(),
    };
    section.finish();
    Ok(user)
}

fn credentials(section: &Section<'_>, outside: &dyn Outside) -> Result<Credentials, ConfigError> {
    let password = secret(section, ["password", "password_file"], outside)?;
    let hash = |key: &'static str, digits: usize| -> Result<Option<Secret>, ConfigError> {
        let Some(text) = section.text_of_secret(key)? else { return Ok(None) };
        if text.len() != digits || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(section.bad_secret(key, format!("not {digits} hex digits")));
        }
        Ok(Some(Secret::new(text.to_ascii_lowercase())))
    };
    let (md5, sha256) = (hash("ha1", 32)?, hash("ha1_sha256", 64)?);
    match (password, md5, sha256) {
        (Some(password), None, None) => Ok(Credentials::Password(password)),
        (Some(_), md5, _) => {
            let other = if md5.is_some() { "ha1" } else { "ha1_sha256" };
            Err(section.both("password", other, "keep the password or its hashes"))
        }
        (None, None, None) => {
            let reason = "the user could not register; set password, password_file or ha1";
            Err(section.missing("password", reason))
        }
        (None, md5, sha256) => Ok(Credentials::Ha1 { md5, sha256 }),
    }
}

pub(super) fn gateway(
    section: &Section<'_>,
    outside: &dyn Outside,
    names: &mut Names,
) -> Result<Gateway, ConfigError> {
    let reason = "a gateway needs a name, like name = \"carrier\"";
    let name = section.needed("name", plain_name, reason)?;
    let class = section.parsed_or_default("class", class)?;
    names.add_class(&class);
    names.add(What::Gateway, section, "name", &name)?;
    let hosts = hosts(section)?;
    let username = section.parsed("username", display)?;
    let password = secret(section, ["password", "password_file"], outside)?;
    let auth = match (username, password) {
        (Some(username), Some(password)) => Some(GatewayAuth { username, password }),
        (None, None) => None,
        (Some(_), None) => return Err(section.missing("password", "username needs a password")),
        (None, Some(_)) => return Err(section.missing("username", "password needs a username")),
    };
    let register = section.switch("register")?;
    if register && auth.is_none() {
        return Err(section.missing("username", "register = true needs username and password"));
    }
    let expires = section.seconds("expires_s")?;
    let transport = section.parsed("transport", |text| TRANSPORTS.read(text))?;
    let reinvites = section.switch("reinvites")?;
    let gateway = Gateway {
        name,
        profile: profiles::of_gateway(section)?,
        hosts,
        transport,
        listener: listener::of_gateway(section, names)?,
        outbound_proxy: section.parsed("outbound_proxy", host_port)?.map(|(host, port)| GatewayHost {
            host,
            port,
            priority: 0,
        }),
        headers: headers(section)?,
        session_timers: section.switch("session_timers")?,
        session_refresher: session_refresher(section, reinvites)?,
        reliable: section.switch("reliable")?,
        reinvites,
        large: section.choice_if_set("large", &LARGE)?,
        auth,
        realms: section.parsed_list("realm", texts::quotable)?,
        min_algorithm: section.choice("min_algorithm", &MinAlgorithm::NAMED)?,
        from_user: section.parsed("from_user", user_name)?,
        from_domain: section.parsed("from_domain", host)?,
        register: register.then_some(expires),
        registering: registering::of_gateway(section, register)?,
        options: section.seconds_unless_zero("options_s")?,
        ner: ner::ner(section)?,
        sources: section.parsed_list("sources", network)?,
        tls: tls::of_gateway(section, outside)?,
        media_from: section.parsed_list("media_from", network)?,
        media_answer: section.choice("media_answer", &MediaAnswer::NAMED)?,
        sdp_names: section.switch("sdp_names")?,
        class,
        redirects: redirects(section, names)?,
        channels: section.whole_if_set("channels")?,
        calls_per_s: section.whole_if_set("calls_per_s")?,
        trying: section.seconds_if_set("trying_s")?,
        failover: section.seconds("failover_s")?,
        called: rewrites(section, "called")?,
        caller: rewrites(section, "caller")?,
        sound: sound::of_party(section)?,
        srtp: srtp::srtp(section, Some(transport))?,
        dialog_own: section.choice("dialog", &DIALOG)?,
        isup: section.switch("isup")?,
        identity: identity::gateway(section)?,
        line: section.line(),
    };
    names.add_sources(section, &gateway)?;
    names.add_clients(section, &gateway)?;
    section.finish();
    Ok(gateway)
}

/// The refresher; not us, where we send no re-INVITE or UPDATE to the gateway.
fn session_refresher(section: &Section<'_>, reinvites: bool) -> Result<SessionRefresher, ConfigError> {
    let refresher = section.choice("session_refresher", &REFRESHER)?;
    if refresher == SessionRefresher::Us && !reinvites {
        let reason =
            "a refresh is a re-INVITE or UPDATE, which reinvites = false excludes; choose them or auto";
        return Err(section.bad("session_refresher", section.place("session_refresher"), "us", reason));
    }
    Ok(refresher)
}

/// Header fields of calls to a gateway; no error shows a value, which may be a token.
fn headers(section: &Section<'_>) -> Result<Vec<(String, Secret)>, ConfigError> {
    let pairs = section.pairs("headers")?.into_iter();
    let read = |(name, value): (String, Text)| {
        let bad = |why: String| section.bad("headers", value.at, &name, why);
        header_name(&name).map_err(bad)?;
        texts::field_value(&value.text).map_err(bad)?;
        Ok((name, Secret::new(value.text)))
    };
    pairs.map(read).collect()
}

/// `own`, `routes`, or names of gateways, which may come later in the file.
fn redirects(section: &Section<'_>, names: &mut Names) -> Result<Redirects, ConfigError> {
    let texts = section.texts("redirects")?;
    if !section.has("redirects") {
        return Ok(Redirects::Own);
    }
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

fn hosts(section: &Section<'_>) -> Result<Vec<GatewayHost>, ConfigError> {
    let mut hosts = Vec::new();
    for (index, item) in section.items("hosts")?.into_iter().enumerate() {
        let place = u16::try_from(index + 1).unwrap_or(u16::MAX);
        let ((host, port), priority) = match item {
            Err(text) => {
                let read = host_port(&text.text);
                (read.map_err(|why| section.bad("hosts", text.at, &text.text, why))?, place)
            }
            Ok(table) => {
                let reason = "like { host = \"sip.example.com\", priority = 1 }";
                let host = table.needed("host", host_port, reason)?;
                let priority = table.whole_if_set("priority")?.unwrap_or(place);
                table.finish();
                (host, priority)
            }
        };
        hosts.push(GatewayHost { host, port, priority });
    }
    if hosts.is_empty() {
        return Err(section.missing("hosts", "add the gateway's host, like hosts = [\"sip.example.com\"]"));
    }
    hosts.sort_by_key(|host| host.priority);
    Ok(hosts)
}

fn rewrites(section: &Section<'_>, key: &'static str) -> Result<Vec<Rewrite>, ConfigError> {
    let mut rules = Vec::new();
    for rule in section.tables(key)? {
        let reason = "like { match = \"0(.*)\", to = \"+44$1\" }";
        let pattern = rule.needed("match", Pattern::new, reason)?;
        let to = rule.needed("to", |text| Template::new(text, Some(&pattern)), reason)?;
        rules.push(Rewrite { to, pattern });
        rule.finish();
    }
    Ok(rules)
}

pub(super) fn group(section: &Section<'_>, names: &mut Names) -> Result<Group, ConfigError> {
    let reason = "a group needs a name, like name = \"sales\"";
    let name = section.needed("name", plain_name, reason)?;
    names.add(What::Group, section, "name", &name)?;
    let members = parse_route::targets(section, "members", None, names)?;
    if members.is_empty() {
        return Err(section.missing("members", "add its members, like members = [\"user/1001\"]"));
    }
    let strategy = section.choice("strategy", &Strategy::NAMED)?;
    let timeout = section.seconds("timeout_s")?;
    let declines_for_all = section.choice("decline", &DECLINE)?;
    section.finish();
    Ok(Group { name, members, strategy, declines_for_all, timeout, line: section.line() })
}
