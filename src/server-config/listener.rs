//! `[[listener]]`: a network of its own that gateways name, with its advertised address and its RTP address.

use std::net::IpAddr;

use super::keys::MEDIA;
use super::names::{Names, What};
use super::texts::{self, NAME, advertise, ip, listener, plain_name, reachable_ip};
use super::{Advertise, Carrier, ConfigError, ConfigProblem, Listener, ServerConfig};
use b2b_config::section::Section;
use b2b_config::table::Table;
use b2b_config::{rows, text, texts};

/// `[[listener]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerConfig {
    /// The name that gateways use.
    pub name: String,
    /// SIP addresses to listen on; at least one.
    pub listen: Vec<Listener>,
    /// The advertised addresses, instead of those that the sockets are bound to.
    pub advertise: Vec<Advertise>,
    /// A STUN server that reports the public address, with its port.
    pub stun: Option<(String, u16)>,
    /// RTP addresses for its parties; empty: the addresses of `listen`.
    pub media: Vec<IpAddr>,
    /// Addresses for SDP instead; empty: `advertise` where that is an address, else the bound ones.
    pub media_advertise: Vec<IpAddr>,
}

pub const LISTENER: Table = Table {
    name: "listener",
    written: "[[listener]]",
    about: "A separate network beside `server.listen`: listeners that gateways refer to, the address advertised to their peers, and the local address of RTP. See [gateways.md](gateways.md#several-networks).",
    keys: rows! {
        name: NAME, at_restart(), "The name that gateways refer to. Required.";
        listen: texts!("list of `udp:`, `tcp:` or `tls:` and an address with port", texts::listener), at_restart(),
            "Its listeners, as in `server.listen`. Required.";
        advertise: texts!("host or `host:port`, or a list of them", texts::advertise) => [], at_restart(),
            "The address in messages to its peers, as `server.advertise`, which does not apply here.";
        stun: text!("host or `host:port`", texts::advertise), at_restart(),
            "A STUN server for its UDP sockets, as `server.stun`, at the interval of `server.stun_s`; the result applies to this listener only. It takes precedence over `advertise`.";
        media: texts!("IP address or a list of them", texts::ip) => [], at_restart(),
            "Local addresses of RTP for its parties, one of each family. Without it: the addresses of `listen`. Only for the embedded media engine.";
        media_advertise: texts!("IP address or a list of them", texts::reachable_ip) => [], at_restart(),
            "The address in SDP to its parties. Without it: `advertise` if that is an IP address, otherwise the bound address.";
    },
};

/// Reads `[[listener]]`.
pub(super) fn named(section: &Section<'_>, names: &mut Names) -> Result<ListenerConfig, ConfigError> {
    let reason = "a listener needs a name, like name = \"carrier\"";
    let name = section.needed("name", plain_name, reason)?;
    names.add(What::Listener, section, "name", &name)?;
    let it = ListenerConfig {
        name,
        listen: section.parsed_list("listen", listener)?,
        advertise: section.parsed_list("advertise", advertise)?,
        stun: texts::stun(section)?,
        media: section.parsed_list("media", ip)?,
        media_advertise: section.parsed_list("media_advertise", reachable_ip)?,
    };
    if it.listen.is_empty() {
        return Err(section.missing("listen", "set its addresses, like listen = \"udp:10.0.0.5:5060\""));
    }
    for (key, addresses) in [("media", &it.media), ("media_advertise", &it.media_advertise)] {
        for (index, ip) in addresses.iter().enumerate() {
            let reason = match ip.is_unspecified() {
                true => "not a single address; write the address in its network",
                false if addresses.iter().take(index).any(|other| other.is_ipv4() == ip.is_ipv4()) => {
                    "one IPv4 and one IPv6 address at most; keep one"
                }
                false => continue,
            };
            return Err(section.bad(key, section.place(key), &ip.to_string(), reason));
        }
    }
    section.finish();
    Ok(it)
}

/// Reads the `listener` of a gateway.
pub(super) fn of_gateway(section: &Section<'_>, names: &Names) -> Result<Option<String>, ConfigError> {
    let Some(text) = section.text("listener")? else { return Ok(None) };
    if names.has(What::Listener, &text.text) {
        return Ok(Some(text.text));
    }
    let reason = match names.all(What::Listener).as_slice() {
        [] => "there is no [[listener]]; add one with this name".to_owned(),
        known => format!("no [[listener]] has this name; the names are {}", known.join(", ")),
    };
    Err(section.bad("listener", text.at, &text.text, reason))
}

impl ServerConfig {
    /// The STUN servers, each with the name of the listener that queries it, if that has one.
    pub fn stun_servers(&self) -> impl Iterator<Item = (Option<&str>, &(String, u16))> {
        let named = self.listeners.iter().filter_map(|it| Some((Some(it.name.as_str()), it.stun.as_ref()?)));
        self.server.stun.iter().map(|server| (None, server)).chain(named)
    }

    /// Every listening socket, unnamed ones first.
    pub fn listening(&self) -> impl Iterator<Item = &Listener> + Clone {
        self.server.listen.iter().chain(self.listeners.iter().flat_map(|it| &it.listen))
    }

    /// The listener whose network serves parties without one, where every listener has a name: the first.
    pub fn usual_listener(&self) -> Option<&ListenerConfig> {
        self.listeners.first().filter(|_| self.server.listen.is_empty())
    }

    /// Every advertised address.
    pub fn advertised(&self) -> impl Iterator<Item = &Advertise> + Clone {
        self.server.advertise.iter().chain(self.listeners.iter().flat_map(|it| &it.advertise))
    }

    /// The addresses that media has of its own, and every address of ours that others are told.
    pub fn media_addresses(&self) -> (Vec<IpAddr>, Vec<IpAddr>) {
        let sip = self.advertised().filter_map(|it| it.host.parse().ok());
        let told = self.listeners.iter().flat_map(|it| &it.media_advertise).copied();
        let bound = self.listeners.iter().flat_map(|it| &it.media).copied().chain(self.media.bind);
        (bound.collect(), sip.chain(told).chain(self.media.advertise).collect())
    }
}

/// Missing requirements of listeners in other tables, with the table and key to point at.
pub(super) fn together(config: &ServerConfig) -> Vec<(&'static Table, &'static str, ConfigProblem)> {
    let mut problems: Vec<(&'static Table, &'static str, ConfigProblem)> = Vec::new();
    let all: Vec<&Listener> = config.listening().collect();
    let again = |(index, it): (usize, &&Listener)| {
        let is_again = it.bind.port() != 0 && all.iter().take(index).any(|other| other == it);
        is_again.then(|| it.to_string())
    };
    if let Some(value) = all.iter().enumerate().find_map(again) {
        let (key, reason) = ("listener.listen".to_owned(), "listed twice; keep one".to_owned());
        let value = format!("{value:?}");
        problems.push((&LISTENER, "listen", ConfigProblem::BadValue { key, value, reason }));
    }
    let has_media = |it: &&ListenerConfig| !it.media.is_empty() || !it.media_advertise.is_empty();
    if config.media.controller != Carrier::Embedded
        && let Some(it) = config.listeners.iter().find(has_media)
    {
        let reason = format!(
            "listener {:?} has an address for RTP, and media.controller is another program, which has its \
             own; take media and media_advertise out, or write controller = \"embedded\"",
            it.name
        );
        let value = format!("{:?}", config.media.controller.to_string());
        let key = "media.controller".to_owned();
        problems.push((&MEDIA, "controller", ConfigProblem::BadValue { key, value, reason }));
    }
    problems
}

/// Whether the listeners that gateways name are listening after a reload.
///
/// # Errors
/// If one requires a restart.
pub(super) fn are_there(config: &ServerConfig) -> Result<(), String> {
    for gateway in &config.gateways {
        let Some(name) = &gateway.listener else { continue };
        if !config.listeners.iter().any(|it| it.name == *name) {
            let gateway = &gateway.name;
            return Err(format!("gateway {gateway:?} has listener {name:?}, which needs a restart"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::{ServerConfig, parse_made, tests::errors};

    const TWO: &str = "[[listener]]\nname = \"lan\"\nlisten = \"udp:192.168.1.5:5060\"\n\
        [[listener]]\nname = \"carrier\"\nlisten = [\"udp:10.0.0.5:5060\", \"tcp:10.0.0.5:5060\"]\n\
        advertise = \"sbc.example.com\"\nmedia = [\"10.0.0.6\", \"fd00::6\"]\nmedia_advertise = \"10.1.0.6\"\n";

    #[test]
    fn a_configuration_with_named_listeners_alone_listens_there_alone() {
        let config = parse_made(TWO).unwrap();
        let all: Vec<_> = config.listening().map(ToString::to_string).collect();
        assert_eq!(all, ["udp:192.168.1.5:5060", "udp:10.0.0.5:5060", "tcp:10.0.0.5:5060"]);
        assert_eq!(config.listeners[1].media.len(), 2);
        let config = parse_made(&format!("[server]\nlisten = \"udp:192.0.2.1:5060\"\n{TWO}")).unwrap();
        assert_eq!(config.listening().count(), 4);
        assert_eq!(parse_made("").unwrap().listening().count(), 2, "the default");
    }

    #[test]
    fn a_gateway_at_a_listener_that_waits_for_a_restart_is_refused_by_a_reload() {
        let old = parse_made("").unwrap();
        let gateway = "[[gateway]]\nname = \"a\"\nhosts = \"h\"\nlistener = \"lan\"\n";
        let new = parse_made(&format!("{TWO}{gateway}")).unwrap();
        assert_eq!(new.fits(), Ok(()));
        let told = "gateway \"a\" has listener \"lan\", which needs a restart";
        assert_eq!(ServerConfig::in_force(&old, new).fits(), Err(told.to_owned()));
    }

    #[test]
    fn what_is_wrong_with_listeners_is_told() {
        let gateway = "[[gateway]]\nname = \"a\"\nhosts = \"h\"\n";
        for (text, told) in [
            (
                format!("{gateway}listener = \"lan\"\n"),
                "line 4: `gateway.listener` = \"lan\": there is no [[listener]]; add one with this name",
            ),
            (
                format!("{gateway}listener = \"carier\"\n{TWO}"),
                "line 4: `gateway.listener` = \"carier\": no [[listener]] has this name; the names are carrier, lan",
            ),
            (
                "[[listener]]\nname = \"a\"\n".to_owned(),
                "line 1: `listener.listen` is missing: set its addresses, like listen = \"udp:10.0.0.5:5060\"",
            ),
            (
                "[[listener]]\nname = \"a\"\nlisten = \"udp:10.0.0.5:1\"\nmedia = [\"10.0.0.5\", \"10.0.0.6\"]\n"
                    .to_owned(),
                "line 4: `listener.media` = \"10.0.0.6\": one IPv4 and one IPv6 address at most; keep one",
            ),
            (
                format!("[server]\nlisten = \"udp:10.0.0.5:5060\"\n{TWO}"),
                "line 5: `listener.listen` = \"udp:10.0.0.5:5060\": listed twice; keep one",
            ),
            (
                format!("[media]\ncontroller = \"rtpengine://127.0.0.1:2223\"\n{TWO}"),
                "line 2: `media.controller` = \"rtpengine at 127.0.0.1:2223\": listener \"carrier\" has an address \
                 for RTP, and media.controller is another program, which has its own; take media and \
                 media_advertise out, or write controller = \"embedded\"",
            ),
        ] {
            assert_eq!(errors(&text), [told], "{text}");
        }
    }
}
