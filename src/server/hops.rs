//! Permitted next hops of in-dialog requests, by party: the relation of addresses to users, gateways and
//! proxies of this configuration. `call::policy` decides on the result.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use super::board::GatewayBoard;
use super::in_force::{Current, Settings, SharedRegistrar, registrar};
use super::origin::Origin;
use crate::config::Gateway;
use crate::registrar::{Aor, Binding, NextHop as Reached, SentBy};
use b2b_call::lookup::ResolvedContact;
use b2b_call::policy::media::Reach;
use b2b_call::policy::{Asker, Decision, Party, Place, Redirects, Trunk, Way, decide};
use b2b_sip::endpoint::{Flow, HopJudge, HopRule, HopVerdict, NextHop, PeerWay, Whereabouts};
use b2b_sip::msg::Uri;

/// The rules for known parties.
pub struct HopRules {
    parts: Parts,
    gateways: HashMap<Arc<str>, Arc<Judge>>,
    /// For trusted addresses and `sip:` targets of routes: treated as gateways with that host.
    host: Arc<Judge>,
    proxy: Arc<Judge>,
}

#[derive(Clone)]
struct Parts {
    current: Current,
    registrar: SharedRegistrar,
    board: GatewayBoard,
}

impl HopRules {
    /// Rules over the settings in force at each time, these bindings, and the gateway host addresses on this
    /// board.
    pub fn new(current: Current, registrar: SharedRegistrar, board: GatewayBoard) -> Self {
        let parts = Parts { current, registrar, board };
        let judge = |who| Arc::new(Judge { parts: parts.clone(), who });
        HopRules { host: judge(Who::Host), proxy: judge(Who::Proxy), gateways: HashMap::new(), parts }
    }

    /// The rule for a party that calls or subscribes; `identity` is its authenticated user, `gateway` the
    /// gateway whose certificate it has shown.
    pub fn of_caller(
        &mut self,
        now: Instant,
        settings: &Settings,
        identity: Option<&str>,
        gateway: Option<&str>,
        flow: &Flow,
    ) -> HopRule {
        let source = flow.remote.ip();
        if settings.origins.is_proxy(source) {
            return HopRule::Judged(self.proxy.clone());
        }
        match (identity, settings.sender(gateway, source).0) {
            (Some(user), _) => self.of_user(now, settings, user, Some(flow)),
            (None, Origin::Gateway(name)) => self.of_gateway(name),
            (None, Origin::Trusted) => HopRule::Judged(self.host.clone()),
            (None, Origin::User(_) | Origin::Unknown) => HopRule::Flow(None),
        }
    }

    /// The rule for a called party.
    pub fn of_contact(&mut self, now: Instant, settings: &Settings, contact: &ResolvedContact) -> HopRule {
        let by_proxy = contact.flow.is_some_and(|flow| settings.origins.is_proxy(flow.remote.ip()));
        match (&contact.user, &contact.gateway) {
            // its Route is that of its own registration, or of our configuration
            (None, Some(gateway)) => self.of_gateway(&gateway.name),
            _ if by_proxy || contact.path.is_some() => HopRule::Judged(self.proxy.clone()),
            (Some(user), _) => self.of_user(now, settings, user, contact.flow.as_ref()),
            (None, None) => HopRule::Judged(self.host.clone()),
        }
    }

    /// Whether a flow is by the address of this gateway, or of a host that is none; `lost` is the flow that it
    /// used before.
    pub fn is_own(&mut self, gateway: Option<&str>, lost: Option<&Flow>, flow: &Flow) -> bool {
        let rule = gateway.map(|name| self.of_gateway(name));
        let Some(HopRule::Judged(judge)) = rule.or_else(|| Some(HopRule::Judged(self.host.clone()))) else {
            return false;
        };
        let Flow { transport, remote: address, .. } = *flow;
        let came_by = lost.map(|lost| lost.remote);
        judge.judge(NextHop { transport, address, name: None, came_by }) == HopVerdict::Follow
    }

    /// `flow` is that of the phone in the call.
    fn of_user(&self, now: Instant, settings: &Settings, name: &str, flow: Option<&Flow>) -> HopRule {
        let aor = settings.directory.user(name).and_then(|user| settings.directory.aor(user));
        let phones = aor.map(|aor| {
            let bindings = registrar(&self.parts.registrar).lookup(now, &aor);
            let of_phone = bindings.into_iter().find(|it| flow.is_some_and(|flow| it.flow.may_be(flow)));
            let instance = of_phone.and_then(|it| it.instance.clone());
            Phones { registrar: self.parts.registrar.clone(), aor, instance }
        });
        HopRule::Flow(phones.map(|phones| Arc::new(phones) as Arc<dyn Whereabouts>))
    }

    fn of_gateway(&mut self, name: &str) -> HopRule {
        let judge = match self.gateways.get(name) {
            Some(judge) => judge.clone(),
            None => {
                let name: Arc<str> = name.into();
                let judge = Arc::new(Judge { parts: self.parts.clone(), who: Who::Gateway(name.clone()) });
                self.gateways.insert(name, judge.clone());
                judge
            }
        };
        HopRule::Judged(judge)
    }
}

/// A user's registered phones.
struct Phones {
    registrar: SharedRegistrar,
    aor: Aor,
    /// `+sip.instance` of the phone in the call, if it was registered by the call's flow.
    instance: Option<Box<[u8]>>,
}

impl Phones {
    /// The bindings that may be of the phone in the call.
    fn bindings(&self, now: Instant) -> Vec<Arc<Binding>> {
        let mut bindings = registrar(&self.registrar).lookup(now, &self.aor);
        let other = |binding: &Binding| {
            self.instance.as_ref().zip(binding.instance.as_ref()).is_some_and(|(own, its)| own != its)
        };
        bindings.retain(|binding| !other(binding));
        bindings
    }
}

impl fmt::Debug for Phones {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Phones").field("aor", &self.aor).finish_non_exhaustive()
    }
}

impl Whereabouts for Phones {
    /// Uses the binding of the phone in the call: the one with its instance, else with this contact, else the
    /// best one of the same host, else the only one there is. That of the lost connection is none, nor is one
    /// of an earlier process, whose connection is lost, too.
    fn now_at(&self, now: Instant, target: &[u8], lost: &Flow) -> Option<PeerWay> {
        let mut bindings = self.bindings(now);
        let registrar = registrar(&self.registrar);
        bindings.retain(|it| {
            !lost.transport.is_reliable() || it.flow.flow() != Some(*lost) && !it.is_of_before()
        });
        let target = Uri::parse(target).ok();
        let same = |uri: Option<Uri<'_>>| {
            uri.zip(target.as_ref()).is_some_and(|(uri, target)| uri.equivalent(target))
        };
        let host = lost.remote.ip().to_canonical();
        let binding = bindings
            .iter()
            .find(|it| self.instance.is_some() && it.instance == self.instance)
            .or_else(|| bindings.iter().find(|it| same(it.uri())))
            .or_else(|| bindings.iter().find(|it| it.flow.remote.ip().to_canonical() == host))
            .or(bindings.first().filter(|_| bindings.len() == 1))?;
        let flow = match registrar.next_hop(binding) {
            Reached::Flow(flow, _) | Reached::FlowOr(flow, _) => flow,
            // The request came through a listed proxy or from a network of ours.
            Reached::Path(_) | Reached::Contact => binding.flow,
        };
        Some(match flow.flow() {
            Some(flow) => PeerWay::Flow(flow),
            None => PeerWay::Address(flow.transport, flow.remote),
        })
    }

    /// A REGISTER came from there, and REGISTER always requires a password.
    fn are_at(&self, now: Instant, flow: &Flow) -> bool {
        let (bindings, ip) = (registrar(&self.registrar).lookup(now, &self.aor), flow.remote.ip());
        bindings.iter().any(|it| it.flow.remote.ip().to_canonical() == ip.to_canonical())
    }

    /// The phone has registered by it, and no proxy, by which others come, too.
    fn is_by(&self, now: Instant, flow: &Flow) -> bool {
        self.bindings(now).iter().any(|it| it.sent_by != SentBy::Proxy && it.flow.flow() == Some(*flow))
    }
}

/// Judges the next hops that a party may name.
struct Judge {
    parts: Parts,
    who: Who,
}

#[derive(Debug)]
enum Who {
    Gateway(Arc<str>),
    Host,
    Proxy,
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Judge").field(&self.who).finish()
    }
}

impl HopJudge for Judge {
    fn judge(&self, hop: NextHop<'_>) -> HopVerdict {
        // The usual case: the address that the message came from.
        if hop.came_by == Some(hop.address) {
            return HopVerdict::Follow;
        }
        let settings = self.parts.current.get();
        let gateway = match &self.who {
            Who::Gateway(name) => settings.config.gateway(name),
            Who::Host | Who::Proxy => None,
        };
        let own =
            Own { gateway, came_by: hop.came_by.map(|it| it.ip().to_canonical()), board: &self.parts.board };
        let ours = self.parts.current.listens_at(&settings, hop.address);
        let (asker, place) = match self.who {
            Who::Proxy => {
                let ip = hop.address.ip().to_canonical();
                let inside = settings.config.server.inside.iter().any(|net| net.contains(&ip));
                // Behind a proxy that does not add itself to Record-Route, it is the phone that names the hop.
                let by_proxy = !ours && (inside || settings.origins.is_proxy(ip));
                (Asker { party: Party::User(""), by_proxy }, Place::Own)
            }
            Who::Gateway(_) | Who::Host => {
                let trunk = Trunk {
                    name: gateway.map(|gateway| gateway.name.as_str()),
                    redirects: &Redirects::Own,
                    dialog_own: gateway.is_some_and(|gateway| gateway.dialog_own),
                };
                let place = if ours { Place::Inside } else { own.place(&settings, &hop) };
                (Asker::new(Party::Gateway(trunk)), place)
            }
        };
        let verdict = decide(asker, Way::DialogHop, place);
        match verdict.decision {
            Decision::Follow => HopVerdict::Follow,
            Decision::FollowCounted => HopVerdict::FollowTold(verdict.why),
            _ => HopVerdict::Flow(verdict.why),
        }
    }
}

/// The addresses of a gateway.
struct Own<'a> {
    /// `None`: only the address that it came from is known.
    gateway: Option<&'a Gateway>,
    came_by: Option<IpAddr>,
    board: &'a GatewayBoard,
}

/// How closely a host matches an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Address,
    AddressAndPort,
}

impl Own<'_> {
    /// What the next hop is to it, unless the hop is ours.
    fn place<'s>(&self, settings: &'s Settings, hop: &NextHop<'_>) -> Place<'s> {
        let ip = hop.address.ip().to_canonical();
        let name = self.gateway.map(|gateway| gateway.name.as_str());
        let by_host = self.gateway.and_then(|gateway| fit(gateway, self.board, hop.address));
        let own = by_host.max((self.came_by == Some(ip)).then_some(Fit::Address));
        let others = settings.config.gateways.iter().filter(|other| Some(other.name.as_str()) != name);
        let other = others
            .filter_map(|other| Some((fit(other, self.board, hop.address)?, other.name.as_str())))
            .max_by_key(|(fit, _)| *fit);
        match (own, other) {
            (Some(own), Some((fit, name))) if fit > own => return Place::Gateway(name),
            (Some(_), _) => return Place::Own,
            (None, Some((_, name))) => return Place::Gateway(name),
            (None, None) => {}
        }
        match settings.origins.gateway_with(ip) {
            Some((source, _)) if Some(source) == name => return Place::Own,
            Some((source, _)) => return Place::Gateway(source),
            None => {}
        }
        let inside = |ip: IpAddr| settings.config.server.inside.iter().any(|net| net.contains(&ip));
        let reach = |ip: IpAddr| if inside(ip) { Reach::Private } else { Reach::of(ip) };
        let wanted = reach(ip);
        let is_there = |own: IpAddr| match wanted {
            Reach::Everywhere => true,
            Reach::Private => Reach::of(own) != Reach::Everywhere,
            Reach::Link | Reach::Host => Reach::of(own) == wanted,
        };
        if wanted != Reach::Everywhere && !self.addresses().any(is_there) {
            return Place::Inside;
        }
        match hop.name.is_some_and(|name| self.is_named(name)) {
            true => Place::Own,
            false => Place::Elsewhere,
        }
    }

    /// The addresses known to be its own.
    fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let hosts = self.gateway.into_iter().flat_map(Gateway::reached_by);
        let hosts = hosts.flat_map(|host| addresses(&host.host, self.board));
        let sources = self.gateway.into_iter().flat_map(|gateway| &gateway.sources);
        hosts.chain(sources.map(|net| net.addr())).chain(self.came_by)
    }

    /// Whether a name is that of one of its hosts, or in the domain of one, as for members of a cluster.
    fn is_named(&self, name: &str) -> bool {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let hosts = self.gateway.into_iter().flat_map(Gateway::reached_by);
        hosts.map(|host| host.host.trim_end_matches('.')).any(|host| {
            let domain = host.split_once('.').map(|(_, domain)| domain).filter(|domain| domain.contains('.'));
            let below = |domain: &str| name.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
            name == host || host.parse::<IpAddr>().is_err() && domain.is_some_and(below)
        })
    }
}

fn fit(gateway: &Gateway, board: &GatewayBoard, at: SocketAddr) -> Option<Fit> {
    let ip = at.ip().to_canonical();
    let of_host = |host: &crate::config::GatewayHost| {
        let here = addresses(&host.host, board).any(|it| it == ip);
        here.then_some(if host.port == Some(at.port()) { Fit::AddressAndPort } else { Fit::Address })
    };
    gateway.reached_by().filter_map(of_host).max()
}

/// A host's addresses: itself, or what its name last resolved to.
pub(super) fn addresses(host: &str, board: &GatewayBoard) -> impl Iterator<Item = IpAddr> + use<> {
    match host.parse::<IpAddr>() {
        Ok(ip) => vec![ip.to_canonical()],
        Err(_) => board.addresses(host),
    }
    .into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_alone;
    use crate::registrar::{MemoryStore, Registrar, RegistrarConfig};
    use b2b_sip::endpoint::Transport;
    use std::sync::Mutex;

    const CONFIG: &str = "[server]\nlisten = [\"udp:198.51.100.1:5060\"]\ninside = [\"203.0.113.0/28\"]\n\
        [[gateway]]\nname = \"carrier\"\nhosts = [\"sip.carrier.example\", \"198.51.100.20:5070\"]\n\
        sources = [\"192.0.2.32/28\"]\n\
        [[gateway]]\nname = \"strict\"\nhosts = [\"198.51.100.30\"]\ndialog = \"own\"\n\
        [[gateway]]\nname = \"other\"\nhosts = [\"198.51.100.40\"]\nsources = [\"192.0.2.48/28\"]\n\
        [[gateway]]\nname = \"lan\"\nhosts = [\"10.0.0.7\"]\n\
        [[gateway]]\nname = \"here\"\nhosts = [\"127.0.0.7:5080\"]\n\
        [[gateway]]\nname = \"there\"\nhosts = [\"127.0.0.7:5090\"]\n";

    /// The outcome for a hop: `own`, `told` or `flow`.
    fn judged(gateway: &str, came_by: &str, hop: &str, name: Option<&str>) -> &'static str {
        let store = Box::new(MemoryStore::new());
        let registrar = Registrar::new(RegistrarConfig::default(), store, Instant::now());
        let (registrar, board) = (Arc::new(Mutex::new(registrar)), GatewayBoard::default());
        let settings = Settings::new(parse_alone(CONFIG).unwrap(), registrar.clone(), board.clone());
        let current = Current::new(settings.unwrap());
        board.located("sip.carrier.example", &["192.0.2.9".parse().unwrap()]);
        let mut rules = HopRules::new(current, registrar, board);
        let HopRule::Judged(judge) = rules.of_gateway(gateway) else { panic!("not judged") };
        let verdict = judge.judge(NextHop {
            transport: Transport::Udp,
            address: hop.parse().unwrap(),
            name,
            came_by: Some(came_by.parse().unwrap()),
        });
        match verdict {
            HopVerdict::Follow => "own",
            HopVerdict::FollowTold(_) => "told",
            HopVerdict::Flow(_) => "flow",
        }
    }

    #[test]
    fn hosts_what_they_resolve_to_sources_and_the_messages_source_are_a_gateways_own() {
        let carrier = |hop, name| judged("carrier", "198.51.100.20:5070", hop, name);
        for own in ["192.0.2.9:5062", "198.51.100.20:5060", "198.51.100.20:5070", "192.0.2.33:5060"] {
            assert_eq!(carrier(own, None), "own", "{own}");
        }
        assert_eq!(judged("carrier", "203.0.113.99:5060", "203.0.113.99:5080", None), "own");
        assert_eq!(
            carrier("203.0.113.77:5060", Some("sip3.carrier.example")),
            "own",
            "a member of its cluster"
        );
        assert_eq!(carrier("203.0.113.77:5060", Some("sip3carrier.example")), "told");
    }

    #[test]
    fn other_public_hops_are_told_or_with_own_not_followed() {
        assert_eq!(judged("carrier", "192.0.2.9:5060", "203.0.113.77:5060", None), "told");
        assert_eq!(judged("strict", "198.51.100.30:5060", "203.0.113.77:5060", None), "flow");
        assert_eq!(judged("strict", "198.51.100.30:5060", "198.51.100.30:5099", None), "own");
    }

    #[test]
    fn inner_addresses_ourselves_and_other_gateways_are_no_hops_of_a_public_gateway() {
        for hop in [
            "127.0.0.1:5060",
            "10.255.0.1:5060",
            "172.20.40.8:5060",
            "192.168.1.1:5060",
            "100.64.0.1:5060",
            "169.254.1.1:5060",
            "[::1]:5060",
            "[fe80::1]:5060",
            "[fd00::1]:5060",
            "[::ffff:10.0.0.1]:5060",
            "203.0.113.3:5060",
            "198.51.100.1:5060",
            "198.51.100.40:5060",
            "192.0.2.50:5060",
        ] {
            assert_eq!(judged("carrier", "192.0.2.9:5060", hop, None), "flow", "{hop}");
            assert_eq!(judged("carrier", "192.0.2.9:5060", hop, Some("a.carrier.example")), "flow", "{hop}");
        }
        assert_eq!(
            judged("carrier", "192.0.2.9:5060", "198.51.100.1:5061", None),
            "told",
            "our host, not us"
        );
    }

    #[test]
    fn a_gateway_in_private_or_loopback_space_may_have_hops_there_but_not_those_of_others() {
        assert_eq!(judged("lan", "10.0.0.7:5060", "10.0.0.8:5060", None), "told");
        assert_eq!(judged("lan", "10.0.0.7:5060", "192.168.5.5:5060", None), "told");
        assert_eq!(judged("lan", "10.0.0.7:5060", "127.0.0.1:5060", None), "flow");
        assert_eq!(judged("here", "127.0.0.7:5080", "127.0.0.9:5080", None), "told");
        assert_eq!(judged("here", "127.0.0.7:5080", "127.0.0.7:5081", None), "own");
        assert_eq!(judged("here", "127.0.0.7:5080", "127.0.0.7:5090", None), "flow", "the other one's port");
    }
}
