//! REGISTER to a provider, and its responses.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::board::RegistrationState;
use crate::config::Gateway;
use crate::routing::escaped;
use crate::settings;
use b2b_call::event::Event;
use b2b_call::resolver::GrantedBy;
use b2b_call::switch::Turn;
use b2b_sip::auth::DigestClient;
use b2b_sip::endpoint::{Flow, InviteError, OutOfDialog, RequestFailure};
use b2b_sip::msg::Response;
use b2b_sip::msg::contact_token::ContactToken;
use b2b_sip::registration::{Account, Order, Pace, Place, Registrant, Registration, State};

/// A registration in progress or in force.
pub(super) struct Client {
    registrant: Registrant,
    pub state: RegistrationState,
    /// The flow over which the last registration was granted.
    flow: Option<Flow>,
    /// The flow that is kept alive (RFC 5626).
    held: Option<Flow>,
}

impl Client {
    /// For a gateway with registration configured; `realm` is the server's.
    pub fn new(gateway: &Gateway, realm: &str, (seed, token): ([u8; 32], ContactToken)) -> Option<Self> {
        let (expires, auth) = (gateway.register?, gateway.auth.as_ref()?);
        let user = escaped(&auth.username);
        let places = (0..gateway.hosts.len()).map(|host| place(gateway, host, &user)).collect();
        let digest = DigestClient::new(&auth.username, auth.password.reveal(), seed)
            .at_least(settings::algorithm(gateway.min_algorithm));
        let digest = match gateway.realms.is_empty() {
            true => digest,
            false => digest.only_for_any(gateway.realms.iter().cloned()),
        };
        let account = Account {
            digest: Some(digest),
            expires: u32::try_from(expires.as_secs()).unwrap_or(u32::MAX),
            user,
            tls: settings::tls_of(gateway),
            listener: gateway.listener.as_deref().map(Into::into),
            outbound: settings::instance(realm, gateway),
            token: gateway.registering.contact_token.then_some(token),
        };
        let schedule = Registration::new(gateway.hosts.len(), Pace::GATEWAY, seed);
        Some(Client {
            registrant: Registrant::new(schedule, account, places),
            state: RegistrationState::default(),
            flow: None,
            held: None,
        })
    }

    /// User part of our contact.
    pub fn user(&self) -> &str {
        self.registrant.user()
    }

    /// Whether this is the token of our contact in force.
    pub fn is_token(&self, token: ContactToken) -> bool {
        self.registrant.is_token(token)
    }

    /// The host that granted the registration, and the flow: calls go the same way, since other hosts of a
    /// provider may not know it. `None`: no registration is in force.
    pub fn granted_by(&self, gateway: &Gateway) -> Option<GrantedBy> {
        let host = gateway.hosts.get(self.registrant.granted_by()?)?;
        let routes = self.registrant.service_route().iter().map(|route| String::from_utf8_lossy(route));
        let route = routes.collect::<Vec<_>>().join(", ");
        Some(GrantedBy {
            host: host.to_string(),
            flow: self.flow,
            service_route: (!route.is_empty()).then_some(route),
        })
    }

    /// The schedule of the registration.
    pub fn schedule(&mut self) -> &mut Registration {
        &mut self.registrant.schedule
    }

    /// The state of the registration.
    pub fn state(&self) -> State {
        self.registrant.schedule.state()
    }

    /// Whether calls reach us by it.
    pub fn is_in_force(&self) -> bool {
        self.state().is_in_force()
    }

    /// When to call the schedule's `timeout`.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.registrant.schedule.next_timeout()
    }

    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        self.state().is_over()
    }

    /// The request for an order.
    pub fn request(&mut self, order: Order, t: &mut Turn<'_>) -> Option<OutOfDialog> {
        let request = self.registrant.request(order, t.sip)?;
        // The next one uses the flow that is kept alive (RFC 5626 §4.2.2), unless that flow may be why it
        // failed.
        let flow = self.held.filter(|_| !self.state.failed);
        Some(OutOfDialog { flow, ..request })
    }

    /// Whether this is the flow that is kept alive.
    pub fn holds(&self, flow: &Flow) -> bool {
        self.held.is_some_and(|held| (held.id, held.remote) == (flow.id, flow.remote))
    }

    /// The flow to keep alive with its keep-alive interval, and a flow that this registration no longer needs.
    pub fn follow_flow(&mut self) -> (Option<(Flow, Duration)>, Option<Flow>) {
        let granted = self.flow.zip(self.registrant.outbound());
        let wanted = granted.map(|(flow, outbound)| (flow, outbound.every(flow.transport)));
        let old = std::mem::replace(&mut self.held, wanted.map(|(flow, _)| flow));
        self.show();
        (wanted, old.filter(|old| !self.holds(old)))
    }

    /// The kept flow is lost: no more requests use it.
    pub fn lost(&mut self, now: Instant) -> Order {
        (self.flow, self.held) = (None, None);
        let order = self.registrant.schedule.lost(now);
        self.show();
        order
    }

    /// The request that removes our previous contact, if the last registration replaced it.
    pub fn remove_stale(&mut self, t: &mut Turn<'_>) -> Option<OutOfDialog> {
        self.registrant.remove_stale(t.sip)
    }

    /// The request could not be sent at all.
    pub fn unsent(&mut self, now: Instant, error: InviteError) -> Order {
        let order = self.registrant.unsent(now, error);
        self.show();
        order
    }

    /// Handles the result of a request. `contact` is ours as the request had it.
    pub fn answered(
        &mut self,
        now: Instant,
        result: &Result<Response, RequestFailure>,
        contact: Option<&str>,
        flow: Option<Flow>,
    ) -> Order {
        let order = self.registrant.answered(now, result, contact);
        if result.as_ref().is_ok_and(|response| matches!(response.status(), 200..300)) {
            self.flow = flow;
        }
        self.show();
        order
    }

    fn show(&mut self) {
        if let Some(last) = self.registrant.last() {
            self.state.failed = last.failure.is_some();
            self.state.status = last.status;
            self.state.reason.clone_from(&last.reason);
        }
        self.state.registered = self.is_in_force();
        self.state.outbound = self.state.registered && self.held.is_some();
    }

    /// The event for the present state.
    pub fn event(&mut self, gateway: &str) -> Event {
        self.state.registered = self.is_in_force();
        let RegistrationState { registered, status, reason, .. } = self.state.clone();
        Event::GatewayRegistration { gateway: gateway.to_owned(), registered, status, reason }
    }

    /// Logs the result of the last response.
    pub fn log(&self, name: &str, now: Instant, leaving: bool) {
        let due = self.registrant.schedule.due().map(|at| at.saturating_duration_since(now).as_secs());
        let RegistrationState { registered, failed, reason, .. } = &self.state;
        match (due, failed) {
            _ if leaving => tracing::info!("gateway {name}: unregistered: {reason}"),
            (Some(due), true) => {
                let still = if *registered { "still registered" } else { "not registered" };
                tracing::warn!("gateway {name}: {still}: {reason}; next attempt in {due} s");
            }
            (Some(due), false) => {
                tracing::info!("gateway {name}: registered: {reason}; refresh in {due} s");
            }
            (None, _) => {}
        }
    }
}

/// The URI for requests to a host: `sip:host:port;transport=udp`.
pub(super) fn uri(gateway: &Gateway, host: usize) -> String {
    let name = gateway.hosts.get(host).map(ToString::to_string).unwrap_or_default();
    match gateway.transport {
        Some(transport) => format!("sip:{name};transport={}", transport.as_str().to_ascii_lowercase()),
        None => format!("sip:{name}"),
    }
}

/// A gateway's host as a registrar.
fn place(gateway: &Gateway, host: usize, user: &str) -> Place {
    let (way, registrar) = (uri(gateway, host), registrar(gateway, host));
    Place {
        address: format!("<sip:{user}@{}>", domain(gateway, host)),
        way: (way != registrar).then_some(way),
        registrar,
        route: gateway.proxy_route().into_iter().map(Bytes::from).collect(),
    }
}

/// The Request-URI: the provider's domain if configured, else the host.
fn registrar(gateway: &Gateway, host: usize) -> String {
    match &gateway.from_domain {
        Some(_) => format!("sip:{}", domain(gateway, host)),
        None => uri(gateway, host),
    }
}

/// The domain of our address there.
fn domain(gateway: &Gateway, host: usize) -> String {
    let host = gateway.hosts.get(host).map(|host| host.host.as_str());
    let domain = gateway.from_domain.as_deref().or(host).unwrap_or_default();
    match domain.contains(':') && !domain.starts_with('[') {
        true => format!("[{domain}]"),
        false => domain.to_owned(),
    }
}
