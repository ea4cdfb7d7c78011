//! The configuration in force, ready for use; SIGHUP replaces it as a whole.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::applications;
use super::board::GatewayBoard;
use super::directory::Directory;
use super::origin::{Origin, Origins};
use super::routing::Router;
use super::settings::{self, RouteParts};
use super::sound_check::SoundCheck;
use crate::config::ServerConfig;
use crate::registrar::{Aor, AorPolicy, BindingFlow, NextHop, Registrar};
use b2b_app::Applications;
use b2b_call::controller::{OwnHosts, PairPolicy};
use b2b_call::handler::Party;
use b2b_call::lookup::{LookupError, LookupFuture, LookupRequest, LookupResult, Resolver};
use b2b_call::policy::Redirects;
use b2b_call::resolver::{
    Binding, Bindings, BindingsFuture, ChainResolver, DirectPolicy, DirectResolver, Gateway, GatewayResolver,
    GroupResolver, PartyAudio, UserResolver,
};
use b2b_sip::endpoint::Flow;
use b2b_sip::msg::veil::hide_fields;
use b2b_sip::msg::{Scheme, Uri};
use b2b_sip::net::{Ban, Listening, listener_of, local_addr};
use b2b_sip::networks::Networks;

/// Maximum public addresses of ours that are remembered.
const SEEN: usize = 4;

/// The registrar: used mainly by the calls' thread; reloads and the control interface lock it briefly.
pub type SharedRegistrar = Arc<Mutex<Registrar>>;

/// Locks the registrar, even after a panic of another holder.
pub fn registrar(shared: &SharedRegistrar) -> MutexGuard<'_, Registrar> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a configuration is turned into.
pub struct Settings {
    pub config: Arc<ServerConfig>,
    pub directory: Arc<Directory>,
    pub origins: Origins,
    pub router: Router,
    /// By index of the route.
    pub routes: Vec<RouteParts>,
    trunks: HashMap<Arc<str>, (Gateway, Redirects)>,
    /// Audio settings of users that have any, by name.
    audio: Arc<HashMap<String, PartyAudio>>,
    /// State of the gateways' hosts.
    pub board: GatewayBoard,
    /// Resolver of the targets of routes and groups.
    pub targets: ChainResolver,
    pub apps: Applications,
    /// Its sounds that cannot be played.
    pub sounds: SoundCheck,
}

impl Settings {
    /// Settings from this configuration, with this registrar's bindings and this board's gateway state.
    ///
    /// # Errors
    /// If groups contain each other.
    pub fn new(
        config: ServerConfig,
        bindings: SharedRegistrar,
        board: GatewayBoard,
    ) -> Result<Self, LookupError> {
        let config = Arc::new(config);
        let directory = Arc::new(Directory::new(&config));
        let audio = Arc::new(settings::users_audio(&config));
        let users = Registered {
            directory: directory.clone(),
            registrar: bindings,
            audio: audio.clone(),
            gateways: settings::gateway_addresses(&config),
        };
        let users = UserResolver::new(users);
        let fields = config.gateways.iter().flat_map(|gateway| &gateway.headers);
        hide_fields(fields.map(|(name, _)| name.clone()));
        let trunks = settings::gateways(&config);
        let gateways = GatewayResolver::new(trunks.clone(), board.clone());
        let trunks = trunks.into_iter().zip(&config.gateways);
        let trunks = trunks.map(|(it, from)| (it.name.clone(), (it, settings::redirects(from)))).collect();
        // The operator writes the routes, which may name any URI.
        let single = ChainResolver::new(vec![Arc::new(users), Arc::new(gateways)])
            .with(DirectResolver::new(DirectPolicy::Anybody));
        let groups = GroupResolver::new(settings::groups(&config), Arc::new(single.clone()))?;
        let targets = single.with(groups);
        let (origins, router) = (Origins::new(&config), Router::new(&config));
        let routes = settings::routes(&config);
        let apps = applications::applications();
        let sounds = SoundCheck::start(config.unchecked.clone());
        Ok(Settings {
            config,
            directory,
            origins,
            router,
            routes,
            trunks,
            audio,
            board,
            targets,
            apps,
            sounds,
        })
    }

    /// The codecs and media rules that a caller's own configuration sets, if any.
    pub fn caller_policy(&self, origin: Origin<'_>) -> Option<Arc<PairPolicy>> {
        let audio = match origin {
            Origin::User(name) => self.audio.get(name)?,
            Origin::Gateway(name) => &self.trunks.get(name)?.0.audio,
            Origin::Trusted | Origin::Unknown => return None,
        };
        audio.policy.clone()
    }

    /// A gateway as its calls need it, and where its redirects may lead.
    pub fn trunk(&self, name: &str) -> Option<&(Gateway, Redirects)> {
        self.trunks.get(name)
    }

    /// The origin and class of a leg's party, as routes see it.
    pub fn party<'a>(&'a self, party: &'a Party) -> (Origin<'a>, Option<&'a str>) {
        let user = party.user.as_deref().and_then(|name| self.directory.user(name));
        let gateway = party.gateway.as_deref().and_then(|name| self.config.gateway(name));
        match (user, gateway) {
            (Some(user), _) => (Origin::User(&user.name), Some(user.class.as_str())),
            (None, Some(gateway)) => (Origin::Gateway(&gateway.name), Some(gateway.class.as_str())),
            (None, None) => match party.address {
                Some(address) => self.origins.of(address.ip()),
                None => (Origin::Unknown, None),
            },
        }
    }

    /// A ban for the sockets. A source that may call without a password gets none: only its REGISTERs are to
    /// be refused, and that requires reading them.
    pub fn ban(&self, source: IpAddr, until: Instant) -> Ban {
        Ban { source, until: (!self.origins.knows_some(source)).then_some(until) }
    }

    /// The first and last address of every block of known sources: those configured, and gateways' hosts
    /// given as addresses.
    pub fn known_blocks(&self) -> Vec<(IpAddr, IpAddr)> {
        let hosts = self.config.gateways.iter().flat_map(|gateway| &gateway.hosts);
        let hosts = hosts.filter_map(|host| host.host.parse::<IpAddr>().ok());
        self.origins.blocks().into_iter().chain(hosts.map(|host| (host, host))).collect()
    }

    /// A caller's origin and class, as routes see it. `gateway` is the one whose certificate the caller has
    /// shown.
    pub fn caller<'a>(
        &'a self,
        identity: Option<&'a str>,
        gateway: Option<&str>,
        address: IpAddr,
    ) -> (Origin<'a>, Option<&'a str>) {
        match identity.and_then(|name| self.directory.user(name)) {
            Some(user) => (Origin::User(&user.name), Some(user.class.as_str())),
            None => self.sender(gateway, address),
        }
    }

    /// The origin of a sender without a password: the gateway whose certificate was shown, else the party
    /// known by this address.
    pub fn sender<'a>(&'a self, gateway: Option<&str>, address: IpAddr) -> (Origin<'a>, Option<&'a str>) {
        match gateway.and_then(|name| self.config.gateway(name)) {
            Some(gateway) => (Origin::Gateway(&gateway.name), Some(gateway.class.as_str())),
            None => self.origins.of(address),
        }
    }

    /// Pairs of a certificate name and its gateway.
    pub fn certified_names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.config
            .gateways
            .iter()
            .flat_map(|gateway| gateway.tls.clients.iter().map(|name| (name.as_str(), gateway.name.as_str())))
    }
}

/// How long a call waits for a phone whose connection ended with the previous process.
const RETURN: Duration = Duration::from_secs(5);
/// How often it looks for the phone.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Users' bindings, from the registrar.
struct Registered {
    directory: Arc<Directory>,
    registrar: SharedRegistrar,
    audio: Arc<HashMap<String, PartyAudio>>,
    /// No Contact may lead to these, not even inside our networks: such a call would bypass the routes.
    gateways: Networks,
}

impl Bindings for Registered {
    fn bindings<'a>(&'a self, user: &'a str, now: Instant) -> BindingsFuture<'a> {
        let aor = self.directory.user(user).and_then(|user| self.directory.aor(user));
        let found = move |aor: &Aor, waits: bool| {
            let registrar = registrar(&self.registrar);
            let bindings = registrar.lookup(now, aor);
            if waits && registrar.awaits(now, &bindings) {
                return None;
            }
            let way = |binding| match registrar.next_hop(binding) {
                NextHop::Contact if binding.contact_ip().is_none_or(|ip| self.gateways.contain(ip)) => {
                    NextHop::Flow(binding.flow, b"")
                }
                way => way,
            };
            Some(bindings.iter().map(|binding| contact_of(binding, way(binding))).collect())
        };
        Box::pin(async move {
            let Some(aor) = aor else { return Ok(None) };
            loop {
                // All lookups of a call wait until the same time.
                if let Some(found) = found(&aor, now.elapsed() < RETURN) {
                    return Ok(Some(found));
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        })
    }

    fn audio(&self, user: &str) -> PartyAudio {
        let user = self.directory.user(user);
        user.and_then(|user| self.audio.get(&user.name)).cloned().unwrap_or_default()
    }
}

fn contact_of(binding: &crate::registrar::Binding, way: NextHop<'_>) -> Binding {
    let text = |path: &[u8]| (!path.is_empty()).then(|| String::from_utf8_lossy(path).into_owned());
    let (flow, next_hop, path) = match way {
        NextHop::Path(path) => (None, None, text(path)),
        NextHop::Flow(flow, path) => (flow.flow(), Some(flow.remote_uri()), text(path)),
        NextHop::FlowOr(flow, other) => {
            // The other one is tried only if a flow exists to be tried first.
            let next = BindingFlow { remote: if flow.id.is_some() { other } else { flow.remote }, ..flow };
            (flow.flow(), Some(next.remote_uri()), None)
        }
        NextHop::Contact => (None, None, None),
    };
    let (contact, source) = (binding.contact_str().into_owned(), Some(binding.source));
    Binding { contact, q: binding.q, flow, next_hop, path, source }
}

/// The settings in force.
#[derive(Clone)]
pub struct Current(Arc<InForce>);

struct InForce {
    settings: RwLock<Arc<Settings>>,
    /// Our listening addresses with the actual ports, once bound.
    listening: OnceLock<Vec<SocketAddr>>,
    /// The bound sockets with the names of listeners.
    sockets: OnceLock<Vec<Listening>>,
    /// Our public addresses, as STUN servers report them.
    seen: RwLock<Vec<SocketAddr>>,
    /// The addresses and ports of this server, as of the last change of any of the others.
    own: RwLock<Arc<OwnHosts>>,
}

impl Current {
    /// Starts with these settings.
    pub fn new(settings: Settings) -> Self {
        let settings = RwLock::new(Arc::new(settings));
        let current = Current(Arc::new(InForce {
            settings,
            listening: OnceLock::new(),
            sockets: OnceLock::new(),
            seen: RwLock::default(),
            own: RwLock::default(),
        }));
        current.renew_own_hosts();
        current
    }

    /// The settings in force.
    pub fn get(&self) -> Arc<Settings> {
        self.0.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the settings; calls that are up keep what they have.
    pub fn set(&self, settings: Settings) {
        *self.0.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        self.renew_own_hosts();
    }
}

impl Current {
    /// Records the bound sockets, which stay whatever is configured later.
    pub fn listens(&self, sockets: Vec<Listening>) {
        let at = sockets.iter().map(|it| local_addr::concrete(it.bound)).collect();
        // Only the first call counts: listeners never change.
        let _ = self.0.listening.set(at);
        let _ = self.0.sockets.set(sockets);
        self.renew_own_hosts();
    }

    /// Records a further public address of ours.
    pub fn seen_as(&self, seen: SocketAddr) {
        let mut all = self.0.seen.write().unwrap_or_else(PoisonError::into_inner);
        all.retain(|it| *it != seen);
        all.push(seen);
        // An address that was ours a while ago may belong to another host now.
        let surplus = all.len().saturating_sub(SEEN);
        all.drain(..surplus);
        drop(all);
        self.renew_own_hosts();
    }

    fn renew_own_hosts(&self) {
        let config = self.get().config.clone();
        let seen = self.0.seen.read().unwrap_or_else(PoisonError::into_inner);
        let listening: Vec<SocketAddr> = match self.0.listening.get() {
            Some(listening) => listening.clone(),
            None => config.listening().map(|it| it.bind).collect(),
        };
        let ports = listening.iter().copied().chain(config.http.as_ref().map(|http| http.bind));
        let (media, announced) = config.media_addresses();
        let mut here: Vec<IpAddr> = listening.iter().map(SocketAddr::ip).chain(media).collect();
        if config.listening().any(|it| it.bind.ip().is_unspecified()) {
            here.extend(addresses_of_this_machine());
        }
        let own = OwnHosts {
            inside: config.server.inside.clone(),
            here,
            announced: announced.into_iter().chain(seen.iter().map(SocketAddr::ip)).collect(),
            ports: ports.map(|at| at.port()).filter(|port| *port != 0).collect(),
        };
        *self.0.own.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(own);
    }

    /// The addresses and ports of this server, and whether a party with this source is the server itself.
    pub fn own_hosts(&self, settings: &Settings, source: Option<SocketAddr>) -> (Arc<OwnHosts>, bool) {
        let own = self.0.own.read().unwrap_or_else(PoisonError::into_inner).clone();
        // The ports first: most sources need no further look.
        let ourselves =
            source.is_some_and(|it| own.ports.contains(&it.port()) && self.listens_at(settings, it));
        (own, ourselves)
    }

    /// Whether this is one of our public addresses.
    fn is_seen_at(&self, at: SocketAddr) -> bool {
        let all = self.0.seen.read().unwrap_or_else(PoisonError::into_inner);
        all.iter().any(|it| it.ip() == at.ip().to_canonical() && it.port() == at.port())
    }

    /// The name of the listener that a flow belongs to, if it has one.
    pub fn listener_of(&self, flow: &Flow) -> Option<Arc<str>> {
        listener_of(self.0.sockets.get()?, flow)?.name.clone()
    }

    /// Whether we listen at this address, or `advertise` says so. Where ports are not known yet, the
    /// configured ones count.
    pub fn listens_at(&self, settings: &Settings, at: SocketAddr) -> bool {
        if self.is_seen_at(at) {
            return true;
        }
        let (config, ip) = (&settings.config, at.ip().to_canonical());
        let mut advertised =
            config.advertised().filter(|it| it.host.parse::<IpAddr>().is_ok_and(|it| it == ip));
        if advertised.clone().any(|it| it.port == Some(at.port())) {
            return true;
        }
        let port = |it: &SocketAddr| it.port() == at.port();
        let bound = |it: &SocketAddr| port(it) && it.ip().to_canonical() == ip;
        let (any_port, any_bound) = match self.0.listening.get() {
            Some(listening) => (listening.iter().any(port), listening.iter().any(bound)),
            None => {
                let mut binds = config.listening().map(|it| it.bind);
                (binds.clone().any(|it| port(&it)), binds.any(|it| bound(&it)))
            }
        };
        let everywhere = config.listening().any(|it| it.bind.ip().is_unspecified());
        any_bound || any_port && (advertised.next().is_some() || everywhere && is_of_this_machine(ip))
    }

    /// Whether a URI leads to us: a domain of ours, or host and port of a listener (RFC 3261 §16.5, §19.1.4).
    /// Where ports are not known yet, every port counts as ours.
    pub fn leads_here(&self, settings: &Settings, target: &str) -> bool {
        let Ok(uri) = Uri::parse(target.as_bytes()) else { return false };
        let Some(host) = uri.host.map(|host| host.to_string().to_ascii_lowercase()) else { return false };
        if !settings.directory.serves(&host) {
            return false;
        }
        let server = &settings.config.server;
        let bare = host.trim_matches(['[', ']']);
        let named = |name: &String| name.trim_matches(['[', ']']).eq_ignore_ascii_case(bare);
        if uri.port.is_none() && server.domains.iter().any(named) {
            return true;
        }
        let tls = uri.transport().is_some_and(|it| it.eq_ignore_ascii_case(b"tls"));
        let port = uri.port.unwrap_or(if uri.scheme == Scheme::Sips || tls { 5061 } else { 5060 });
        let mut advertised = settings.config.advertised().filter(|it| named(&it.host));
        if advertised.clone().any(|it| it.port == Some(port)) {
            return true;
        }
        let ip = bare.parse::<IpAddr>().ok().filter(|_| advertised.next().is_none());
        let here = |at: &SocketAddr| {
            let address = ip.is_none_or(|ip| at.ip() == ip || at.ip().is_unspecified());
            address && (at.port() == port || at.port() == 0)
        };
        match self.0.listening.get() {
            Some(listening) => listening.iter().any(here),
            None => settings.config.listening().any(|listener| here(&listener.bind)),
        }
    }
}

/// The addresses of this machine's interfaces.
fn addresses_of_this_machine() -> Vec<IpAddr> {
    let all = nix::ifaddrs::getifaddrs().into_iter().flatten().filter_map(|it| it.address);
    let ip = |it: nix::sys::socket::SockaddrStorage| {
        let v4 = it.as_sockaddr_in().map(|it| IpAddr::from(it.ip()));
        v4.or_else(|| Some(it.as_sockaddr_in6()?.ip().into()))
    };
    all.filter_map(ip).filter(|ip| !ip.is_loopback()).collect()
}

/// Whether an address is one of this machine's: the local address of the route to it is the address itself.
fn is_of_this_machine(ip: IpAddr) -> bool {
    ip.is_loopback() || local_addr::towards(ip).is_ok_and(|from| from == ip)
}

/// Targets that programs may name: users and groups of ours by their URIs, and every target that a route may
/// have. Targets named by parties go through `leading` instead.
pub struct PartyTargets(pub Current);

impl Resolver for PartyTargets {
    fn name(&self) -> &str {
        "ours"
    }

    fn lookup<'a>(&'a self, request: &'a LookupRequest) -> LookupFuture<'a> {
        Box::pin(async move {
            let settings = self.0.get();
            let own = match self.0.leads_here(&settings, &request.target) {
                true => own_user(&settings, &request.target),
                false => Ok(None),
            };
            let target = match own {
                Ok(Some(user)) if settings.config.group(&user).is_some() => format!("group/{user}"),
                Ok(Some(user)) => format!("user/{user}"),
                // A foreign URI: a route may have one.
                Ok(None) | Err(_) => request.target.clone(),
            };
            let found = settings.targets.resolve(&request.with_target(target)).await?;
            Ok(Some(LookupResult { original: request.target.clone(), ..found }))
        })
    }
}

/// The user, group or number that a URI of ours names; `None`: it is no URI.
pub(super) fn own_user(settings: &Settings, target: &str) -> Result<Option<String>, LookupError> {
    let Ok(uri) = Uri::parse(target.as_bytes()) else { return Ok(None) };
    let Some(host) = uri.host else { return Ok(None) };
    let not_allowed =
        |why: &'static str| LookupError::NotAllowed { target: target.to_owned(), why: why.into() };
    if !settings.directory.serves(&host.to_string().to_ascii_lowercase()) {
        return Err(not_allowed("it is not on this server"));
    }
    uri.dialled(&*settings.directory).map(Some).ok_or_else(|| not_allowed("it has no user part"))
}
