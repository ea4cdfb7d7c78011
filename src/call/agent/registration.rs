//! An agent's registration: the state machine of `sip::registration` on the agent's SIP stack, with the
//! events of connections and addresses that it needs.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::account::{digest, host, sip_uri};
use super::registration_error::why;
use super::{AgentError, AgentEvent, AgentService, RegistrationError};
use b2b_sip::endpoint::{Endpoint, Flow, RequestFailure, RequestId, Transport};
use b2b_sip::msg::{Response, Uri};
use b2b_sip::net::local_addr;
use b2b_sip::registration::{Account, Order, Place, Registrant, Registration, State};

pub use b2b_sip::registration::Pace;

/// If there are other registrars, one that is silent for this long has failed: five datagrams have been sent
/// by then (RFC 3261 §17.1.2.2). The transaction itself would wait for 32 s.
const PATIENCE: Duration = Duration::from_secs(8);

/// Interval of checks for a change of our address.
const LOOK: Duration = Duration::from_secs(5);

/// The configuration of a registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationConfig {
    /// URIs of registrars that replace one another, best first; at least one.
    pub registrars: Vec<String>,
    /// Requested expiry, in seconds.
    pub expires_s: u32,
    /// How soon failures are followed by another attempt.
    pub pace: Pace,
    /// Interval of keep-alives (CRLF CRLF) to the registrar over UDP, which keep the NAT binding; randomized
    /// between 80 % and 100 % (RFC 5626 §4.4.2); `None`: none.
    pub keep_alive: Option<Duration>,
    /// The instance of this device, a URN in lower case that never changes: REGISTER requests a flow with it
    /// (RFC 5626). `None`: an ordinary registration.
    pub instance: Option<String>,
}

/// A registration in progress.
pub(super) struct Registering {
    registrant: Registrant,
    config: RegistrationConfig,
    /// The pending REGISTER.
    request: Option<RequestId>,
    /// When the pending REGISTER has taken too long.
    impatient: Option<Instant>,
    /// The flow on which we are reached.
    flow: Option<Flow>,
    /// The registrar has granted the flow, and the endpoint keeps it alive (RFC 5626 §4.4).
    is_held: bool,
    /// The registrar's address, ours towards it, and the time of the next check.
    address: Option<(IpAddr, IpAddr)>,
    look: Option<Instant>,
    /// The time of the next keep-alive.
    ping: Option<Instant>,
    /// The registration that replaces this one when it is over.
    next: Option<RegistrationConfig>,
}

impl AgentService {
    /// Registers us; if this registration exists already, refreshes it at once. [`AgentEvent::Registered`] or
    /// [`AgentEvent::RegistrationFailed`] follows, and again after every refresh.
    ///
    /// # Errors
    /// There is no identity, or a registrar's URI is invalid.
    pub fn register(&mut self, config: RegistrationConfig) -> Result<(), AgentError> {
        let now = self.stack.now();
        if let Some(it) = &mut self.registering {
            if it.is_leaving() {
                it.next = Some(config);
                return Ok(());
            }
            if it.config == config {
                let order = it.registrant.schedule.now(now);
                self.carry_out(order);
                return Ok(());
            }
            it.next = Some(config);
            self.unregister();
            return Ok(());
        }
        let registrant = self.registrant(&config)?;
        let mut it = Registering {
            registrant,
            config,
            request: None,
            impatient: None,
            flow: None,
            is_held: false,
            address: None,
            look: None,
            ping: None,
            next: None,
        };
        let order = it.registrant.schedule.start(now);
        self.registering = Some(it);
        self.carry_out(order);
        Ok(())
    }

    /// Removes the registration. [`AgentEvent::Unregistered`] follows, if there is one.
    pub fn unregister(&mut self) {
        let now = self.stack.now();
        let Some(it) = &mut self.registering else { return };
        it.let_flow_go(self.stack.endpoint());
        let Some(it) = &mut self.registering else { return };
        let order = it.registrant.schedule.stop(now);
        self.carry_out(order);
    }

    /// The registrar that we are registered at, which serves our own domain.
    pub(super) fn home(&self) -> Option<&str> {
        let it = self.registering.as_ref()?;
        it.registrant.place().map(|place| place.registrar.as_str())
    }

    /// The address of the registrar that we are registered at.
    pub(super) fn registered_at(&self) -> Option<SocketAddr> {
        self.registering.as_ref()?.flow.map(|flow| flow.remote)
    }

    fn registrant(&self, config: &RegistrationConfig) -> Result<Registrant, AgentError> {
        let signalling = &self.config.signalling;
        let bad = |reason: &str| AgentError::Target { uri: String::new(), reason: reason.to_owned() };
        let identity =
            self.config.identity.as_ref().ok_or_else(|| bad("a registration needs an identity"))?;
        let mut places = Vec::new();
        for registrar in &config.registrars {
            let uri = sip_uri(registrar)?;
            let (route, way) = match &signalling.proxy {
                Some(proxy) => (vec![signalling.route(proxy)], None),
                None => (Vec::new(), signalling.by_transport(registrar)),
            };
            // Without a user part (RFC 3261 §10.2).
            let registrar = match uri.user {
                Some(_) => bare(&uri),
                None => registrar.clone(),
            };
            places.push(Place { registrar, address: signalling.address(identity), way, route });
        }
        if places.is_empty() {
            return Err(bad("no registrar is named"));
        }
        let account = Account {
            tls: None,
            listener: None,
            outbound: config.instance.as_deref().map(Arc::from),
            token: None,
            digest: signalling.credentials.as_ref().map(digest),
            expires: config.expires_s,
            user: self.config.user.clone(),
        };
        let schedule = Registration::new(places.len(), config.pace, rand::random());
        Ok(Registrant::new(schedule, account, places))
    }

    /// When to call [`AgentService::registration_due`].
    pub(super) fn registration_timeout(&self) -> Option<Instant> {
        let it = self.registering.as_ref()?;
        [it.registrant.schedule.next_timeout(), it.impatient, it.look, it.ping].into_iter().flatten().min()
    }

    /// Handles the timers that are due.
    pub(super) fn registration_due(&mut self) {
        let now = self.stack.now();
        let Some(it) = &mut self.registering else { return };
        if it.impatient.take_if(|at| *at <= now).is_some() && it.request.take().is_some() {
            self.register_answered(&Err(RequestFailure::NoResponse), None);
            return;
        }
        let order = it.registrant.schedule.timeout(now);
        self.carry_out(order);
        self.look_for_address(now);
        self.keep_alive(now);
    }

    /// Keeps the way to the registrar open, on which calls come in.
    fn keep_alive(&mut self, now: Instant) {
        let Some(it) = &mut self.registering else { return };
        if it.ping.take_if(|at| *at <= now).is_none() || it.is_leaving() {
            return;
        }
        if let Some(flow) = it.flow.filter(|flow| flow.transport == Transport::Udp) {
            self.stack.endpoint().keep_alive(flow);
            it.ping = next_ping(&it.config, now);
        }
    }

    /// Checks whether our address towards the registrar has changed, and reports a change.
    fn look_for_address(&mut self, now: Instant) {
        let wildcard = self.config.bind.ip().is_unspecified();
        let Some(it) = &mut self.registering else { return };
        if it.look.take_if(|at| *at <= now).is_none() {
            return;
        }
        it.look = Some(now + LOOK);
        let Some((registrar, ours)) = it.address.filter(|_| wildcard) else { return };
        match local_addr::towards(registrar) {
            Ok(ip) if ip != ours => {
                it.address = Some((registrar, ip));
                // Its end is not to be reported.
                it.let_flow_go(self.stack.endpoint());
                let order = it.registrant.schedule.renew(now);
                self.stack.lost_address(ours);
                self.news.push_back(AgentEvent::AddressChanged { from: ours, to: ip });
                self.carry_out(order);
                self.move_legs(ip);
            }
            _ => {}
        }
    }

    /// Tells the remote parties of calls our new address.
    fn move_legs(&mut self, ip: IpAddr) {
        for id in self.legs.ids() {
            let Some(entry) = self.legs.get(id).filter(|entry| entry.is_up()) else { continue };
            self.stack.endpoint().forget_flow(entry.usage);
            entry.leg.moved(ip);
            self.perform(id);
        }
    }

    fn carry_out(&mut self, mut order: Order) {
        let now = self.stack.now();
        while let Some(it) = &mut self.registering {
            let Some(request) = it.registrant.request(order, self.stack.endpoint()) else { break };
            self.stack.take_connect_error();
            match self.stack.endpoint().request_outside(now, request) {
                Ok(request) => {
                    it.request = Some(request);
                    it.impatient = (it.config.registrars.len() > 1).then_some(now + PATIENCE);
                    return;
                }
                Err(error) => {
                    order = it.registrant.unsent(now, error);
                    self.tell_registration();
                }
            }
        }
        self.registration_over();
    }

    /// The result of a request outside calls; `false`: it is not a REGISTER of ours.
    pub(super) fn register_response(
        &mut self,
        request: RequestId,
        result: &Result<Response, RequestFailure>,
        flow: Option<Flow>,
    ) -> bool {
        match &mut self.registering {
            Some(it) if it.request == Some(request) => (it.request, it.impatient) = (None, None),
            _ => return false,
        }
        self.register_answered(result, flow);
        true
    }

    fn register_answered(&mut self, result: &Result<Response, RequestFailure>, flow: Option<Flow>) {
        let now = self.stack.now();
        let endpoint = self.stack.endpoint();
        let Some(it) = &mut self.registering else { return };
        let contact = flow.map(|flow| endpoint.contact_uri(&flow, it.registrant.user().as_bytes()));
        let asked = result.as_ref().is_ok_and(|response| matches!(response.status(), 401 | 407 | 423));
        let order = it.registrant.answered(now, result, contact.as_deref());
        let state = it.registrant.schedule.state();
        if state == State::Registered
            && let Some(flow) = flow
        {
            if it.flow.is_some_and(|old| old != flow) {
                it.let_flow_go(endpoint);
            }
            let granted = it.registrant.outbound().map(|granted| granted.every(flow.transport));
            if it.is_held && granted.is_none() {
                it.let_flow_go(endpoint);
            }
            (it.flow, it.is_held) = (Some(flow), granted.is_some());
            match granted {
                Some(every) => endpoint.hold_flow(&flow, every),
                None => endpoint.watch_flow(&flow),
            }
            it.address = Some((flow.remote.ip(), flow.local.ip()));
            it.look = Some(now + LOOK);
            it.ping = next_ping(&it.config, now).filter(|_| flow.transport == Transport::Udp && !it.is_held);
            // A request to remove the old contact means that calls would be sent there, too.
            if let Some(request) = it.registrant.remove_stale(endpoint)
                && let Err(error) = endpoint.request_outside(now, request)
            {
                tracing::debug!("an old contact stays until it expires: {error}");
            }
        }
        // Another attempt follows at once: there is nothing to report yet.
        if !(asked && order != Order::Nothing) {
            self.tell_registration();
        }
        self.carry_out(order);
    }

    /// Reports the last result.
    fn tell_registration(&mut self) {
        let now = self.stack.now();
        let Some(it) = &self.registering else { return };
        let Some(last) = it.registrant.last() else { return };
        if it.is_leaving() {
            return;
        }
        let event = match last.failure.clone() {
            None => AgentEvent::Registered {
                expires_s: it.registrant.granted().unwrap_or_default().as_secs(),
                registrar: it.registrant.place().map(|it| it.registrar.clone()).unwrap_or_default(),
                contact: it.registrant.contact().unwrap_or_default().to_owned(),
            },
            Some(failure) => {
                let retry_in = it.registrant.schedule.due().map(|at| at.saturating_duration_since(now));
                let why = why(failure, self.stack.take_connect_error(), retry_in.is_some());
                AgentEvent::RegistrationFailed { status: last.status, why, retry_in }
            }
        };
        self.news.push_back(event);
    }

    /// A call by the way of the registration had no response: refreshes at once, to find out whether the
    /// registrar is still there or another one has to be used.
    pub(super) fn doubt_registration(&mut self) {
        let now = self.stack.now();
        let Some(it) = self.registering.as_mut() else { return };
        if it.registrant.schedule.state() == State::Registered {
            let order = it.registrant.schedule.now(now);
            self.carry_out(order);
        }
    }

    /// The connection on which we are reached is gone: registers again at once.
    pub(super) fn flow_closed(&mut self, flow: &Flow) {
        let now = self.stack.now();
        let Some(it) = &mut self.registering else { return };
        let is_it = |ours: &mut Flow| ours.id == flow.id && ours.remote == flow.remote;
        if it.flow.take_if(is_it).is_none() || it.is_leaving() {
            return;
        }
        // A granted flow that keeps failing is not re-established at once every time (§4.5).
        let order = match std::mem::take(&mut it.is_held) {
            true => it.registrant.schedule.lost(now),
            false => it.registrant.schedule.now(now),
        };
        let (status, why) = (None, RegistrationError::ConnectionLost);
        let due = it.registrant.schedule.due().filter(|_| order == Order::Nothing);
        let retry_in = Some(due.map_or(Duration::ZERO, |due| due.saturating_duration_since(now)));
        self.news.push_back(AgentEvent::RegistrationFailed { status, why, retry_in });
        self.carry_out(order);
    }

    /// The registration has ended: begins the next one, if there is one.
    fn registration_over(&mut self) {
        let over = |it: &mut Registering| it.registrant.schedule.state().is_over();
        let Some(it) = self.registering.take_if(over) else { return };
        self.news.push_back(AgentEvent::Unregistered);
        if let Some(next) = it.next.filter(|_| !self.draining)
            && let Err(error) = self.register(next)
        {
            let (status, why) = (None, RegistrationError::Other(error.to_string()));
            self.news.push_back(AgentEvent::RegistrationFailed { status, why, retry_in: None });
        }
    }
}

/// The time of the next keep-alive, randomized so that registrations begun together drift apart.
fn next_ping(config: &RegistrationConfig, now: Instant) -> Option<Instant> {
    config.keep_alive.map(|every| now + every.mul_f64(rand::random_range(0.8..=1.0)))
}

impl Registering {
    /// Stops keeping and watching the flow.
    fn let_flow_go(&mut self, endpoint: &mut Endpoint) {
        match (self.flow.take(), std::mem::take(&mut self.is_held)) {
            (Some(flow), true) => endpoint.let_flow_go(&flow),
            (Some(flow), false) => endpoint.unwatch_flow(&flow),
            (None, _) => {}
        }
    }

    fn is_leaving(&self) -> bool {
        use State::{AskingUnwanted, Gone, Leaving, RefreshingUnwanted};
        let state = self.registrant.schedule.state();
        matches!(state, AskingUnwanted | RefreshingUnwanted | Leaving | Gone)
    }
}

/// A registrar's URI without its user part.
fn bare(uri: &Uri<'_>) -> String {
    let port = uri.port.map(|port| format!(":{port}")).unwrap_or_default();
    let transport = uri.transport().map(|it| format!(";transport={}", String::from_utf8_lossy(it)));
    let scheme = if b2b_sip::dialog::hop::is_secure(uri.raw) { "sips" } else { "sip" };
    format!("{scheme}:{}{port}{}", host(uri), transport.unwrap_or_default())
}
