//! Messages as text, with secrets left out.

use super::Unsent;
use super::sample::{Sample, Way};
use crate::config::{Action, Carrier, Gateway, HeaderChange, HeaderRule, Route, ServerConfig};
use b2b_sip::endpoint::Transport;
use b2b_sip::msg::veil::without_keys;

/// The lines before the messages.
pub fn head(config: &ServerConfig, gateway: &Gateway, sample: &Sample) -> Vec<String> {
    let mut lines = vec![format!("gateway  {} (line {})", gateway.name, gateway.line)];
    if let Some(profiled) = &gateway.profile {
        let keys = if profiled.keys.is_empty() { "nothing".to_owned() } else { profiled.keys.join(", ") };
        lines.push(format!("profile  {}, which gives {keys}", profiled.profile.name()));
    }
    let hosts: Vec<_> = gateway.hosts.iter().map(ToString::to_string).collect();
    lines.push(format!("hosts    {}", hosts.join(", then ")));
    if let Some(proxy) = &gateway.outbound_proxy {
        lines.push(format!("by       {proxy}, its outbound proxy"));
    }
    let user = &sample.user().name;
    let made_up = if sample.is_made_up { ", whom no [[user]] names" } else { "" };
    lines.push(format!("call     user {user}{made_up}, to {}", sample.called));
    lines.push(match &sample.way {
        Way::Emergency(gateways) => format!(
            "route    emergency: {} goes to {}, past the routes{}",
            sample.called,
            gateways.join(", then "),
            if sample.goes_elsewhere().is_some() { "; not to this gateway" } else { "" }
        ),
        Way::Route(name, line) => format!("route    {name} (line {line}), with this gateway alone"),
        Way::Nowhere => format!(
            "route    none sends {} from {user} there; as to = \"gateway/{}\" would: --to and --from name others",
            sample.called, gateway.name
        ),
    });
    lines.push(
        "sent     nothing; DNS is not asked, and every answer to REGISTER and OPTIONS is 200".to_owned(),
    );
    if gateway.transport.is_none() {
        let found = "is found by DNS (RFC 3263); shown is UDP, and TCP for what is large";
        lines.push(format!("way      transport is not set and {found}"));
    }
    let mut servers = config.stun_servers();
    if let Some((_, (host, port))) = servers.find(|(name, _)| *name == gateway.listener.as_deref()) {
        lines.push(format!("stun     {host}:{port} is not asked; shown is as before it has answered"));
    }
    if config.media.controller != Carrier::Embedded {
        lines.push(
            "media    SDP is as the embedded engine writes it; media.controller is not asked".to_owned(),
        );
    }
    lines.push("secrets  keys of SRTP, values of `headers` and the token of Contact are left out".to_owned());
    lines
}

/// A message, or why there is none. Values of the `secret` fields are left out.
pub fn message(secret: &[String], method: &str, message: Option<&Unsent>, why: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    let Some(message) = message else {
        lines.push(format!("{method:<8} {why}"));
        return lines;
    };
    let flow = &message.flow;
    let transport = flow.transport.as_str().to_ascii_lowercase();
    let remote = match &message.name {
        Some(name) => format!("{name}:{}", flow.remote.port()),
        None => flow.remote.to_string(),
    };
    let from = match flow.transport {
        Transport::Udp => format!("from {}", flow.local),
        _ => format!("from {}", flow.local.ip()),
    };
    lines.push(format!("{method:<8} by {transport}, {from}, to {remote}"));
    let covered = without_keys(&message.data);
    let text = String::from_utf8_lossy(&covered);
    lines.extend(
        text.trim_end()
            .lines()
            .map(|line| format!("  {}", without_secrets(secret, line)).trim_end().to_owned()),
    );
    lines
}

/// Fields whose values the configuration sets: they may be tokens.
pub fn secret_fields(gateway: &Gateway, routes: &[Route]) -> Vec<String> {
    let rules = routes.iter().filter_map(|route| match &route.action {
        Action::Dial { policy, .. } => Some(&policy.headers),
        _ => None,
    });
    let writes = |rule: &&HeaderRule| matches!(rule.change, HeaderChange::Add(_) | HeaderChange::Replace(_));
    let of_routes = rules.flatten().filter(writes).map(|rule| rule.name.clone());
    gateway.headers.iter().map(|(name, _)| name.clone()).chain(of_routes).collect()
}

fn without_secrets(secret: &[String], line: &str) -> String {
    if line.starts_with("a=crypto:")
        && let Some((before, key)) = line.split_once("inline:")
    {
        let behind = key.split_once(['|', ' ']).map_or("", |(secret, _)| &key[secret.len()..]);
        return format!("{before}inline:(a key){behind}");
    }
    let name = line.split_once(':').map_or("", |(name, _)| name);
    if secret.iter().any(|own| own.eq_ignore_ascii_case(name)) {
        return format!("{name}: (as `headers` says)");
    }
    line.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_alone;

    #[test]
    fn keys_and_tokens_are_left_out_and_what_stands_beside_them_stays() {
        let config = parse_alone(
            "[[gateway]]\nname = \"a\"\nhosts = [\"h\"]\nheaders = { X-Telnyx-Token = \"hush\" }\n\
             [[route]]\nto = \"gateway/a\"\nmode = \"translating\"\n\
             headers = [{ add = \"X-Api-Key\", value = \"hush\" }, { pass = \"Subject\" }]\n",
        );
        let config = config.unwrap();
        let secret = secret_fields(&config.gateways[0], &config.routes);
        for (line, shown) in [
            (
                "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:hush",
                "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:(a key)",
            ),
            ("a=crypto:2 X inline:hush|2^31|1:1 Y", "a=crypto:2 X inline:(a key)|2^31|1:1 Y"),
            ("x-telnyx-token: hush", "x-telnyx-token: (as `headers` says)"),
            ("X-API-Key: hush", "X-API-Key: (as `headers` says)"),
            ("Subject: hush", "Subject: hush"),
            ("From: <sip:hush@h>", "From: <sip:hush@h>"),
        ] {
            assert_eq!(without_secrets(&secret, line), shown);
        }
    }
}
