//! Gateways that we depend on: our registrations there, and the health of their hosts.
//!
//! - `health_fsm`: a host's health as a table; `probe`: the same with its timing
//! - `ner`: whether calls through a gateway succeed
//! - `realms`: which challenges get a gateway's password
//! - `client`: a registration (`sip::registration`) of a gateway
//!
//! [`Gateways`] drives them. It has no socket and no clock: requests are sent by the endpoint of the turn,
//! and responses come in by [`Gateways::answered`].

mod client;
pub mod health_fsm;
pub mod ner;
pub mod probe;
pub mod realms;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::board::{GatewayBoard, GatewayState, Wanted};
use crate::config::{Gateway, ServerConfig};
use crate::settings;
use b2b_call::event::Event;
use b2b_call::resolver::Health;
use b2b_call::switch::Turn;
use b2b_sip::endpoint::{Flow, OutOfDialog, RequestFailure, RequestId};
use b2b_sip::msg::contact_token::ContactToken;
use b2b_sip::msg::{Method, Response};
use b2b_sip::registration::{Order, State};
use client::Client;
use ner::{Change, Ends, Ner};
use probe::Probe;
use realms::{Answerable, Realms};

/// Component name of errors about realms.
pub const REALM: &str = "gateway_realm";

/// The gateways of a configuration, monitored.
pub struct Gateways {
    watched: Vec<Watched>,
    board: GatewayBoard,
    realms: Realms,
    requests: HashMap<RequestId, Asked>,
    /// Requests to be sent in the next turn.
    orders: VecDeque<(u64, Order)>,
    dice: StdRng,
    last_id: u64,
    last_attempt: u64,
    events: Vec<Event>,
    stopped: bool,
}

/// A gateway with the configuration that its monitoring began with.
struct Watched {
    id: u64,
    config: Gateway,
    client: Option<Client>,
    probes: Vec<Probe>,
    /// Ratio of its calls that get through; `None`: not counted.
    ner: Option<Ner>,
    /// It was removed from the configuration, or has changed: only the end of its registration is awaited.
    leaving: bool,
}

/// Too few of the gateway's calls have got through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfUse;

/// The purpose of a request.
#[derive(Debug, Clone, Copy)]
enum Asked {
    Register(u64),
    Probe(u64, usize),
}

impl Gateways {
    /// Starts without gateways; see [`Gateways::follow`].
    pub fn new(board: GatewayBoard, realms: Realms, seed: [u8; 32]) -> Self {
        Gateways {
            watched: Vec::new(),
            board,
            realms,
            requests: HashMap::new(),
            orders: VecDeque::new(),
            dice: StdRng::from_seed(seed),
            last_id: 0,
            last_attempt: 0,
            events: Vec::new(),
            stopped: false,
        }
    }

    /// Monitors the gateways of this configuration. Unchanged gateways continue, and their registrations stay.
    pub fn follow(&mut self, now: Instant, config: &ServerConfig) {
        let old: Vec<(u64, bool)> = self
            .watched
            .iter()
            .filter(|it| !it.leaving)
            .map(|it| (it.id, config.gateways.iter().any(|new| is_same(&it.config, new))))
            .collect();
        for (id, _) in old.iter().filter(|(_, same)| !same) {
            self.leave(now, *id);
        }
        for gateway in &config.gateways {
            self.count_by(gateway);
            if !self.watched.iter().any(|it| !it.leaving && is_same(&it.config, gateway)) && !self.stopped {
                self.begin(now, gateway, &config.server.realm);
            }
        }
    }

    /// Applies changed rules on how many calls have to get through: the counts under the old rules are dropped.
    fn count_by(&mut self, gateway: &Gateway) {
        let same = |it: &&mut Watched| !it.leaving && it.config.name == gateway.name;
        let Some(it) = self.watched.iter_mut().find(same) else { return };
        if it.ner.as_ref().map(Ner::rules) != gateway.ner.as_ref() {
            it.ner = gateway.ner.clone().map(Ner::new);
            let id = it.id;
            self.show(id);
        }
    }

    /// A call is about to go to a gateway. Returns its number there, for [`Gateways::decided`]; `None`: calls
    /// are not counted.
    ///
    /// # Errors
    /// If the gateway is out of use: too few calls have got through.
    pub fn attempt(&mut self, gateway: &str, ends: Ends, urgent: bool) -> Result<Option<u64>, OutOfUse> {
        let it = self.watched.iter_mut().find(|it| !it.leaving && it.config.name == gateway);
        let Some(ner) = it.and_then(|it| it.ner.as_mut()) else { return Ok(None) };
        self.last_attempt += 1;
        ner.begin(self.last_attempt, ends, urgent).then_some(Some(self.last_attempt)).ok_or(OutOfUse)
    }

    /// Takes the result of that call: whether it got through; `None`: it tells nothing.
    pub fn decided(&mut self, now: Instant, gateway: &str, number: u64, effective: Option<bool>) {
        let it = self.watched.iter_mut().find(|it| !it.leaving && it.config.name == gateway);
        let Some((id, ner)) = it.and_then(|it| Some((it.id, it.ner.as_mut()?))) else { return };
        let (up, reason) = match ner.decided(now, number, effective) {
            Change::Nothing => return self.show(id),
            Change::In => (true, "a call succeeded".to_owned()),
            Change::Out(effective, calls) => {
                (false, format!("{effective} of its last {calls} calls succeeded"))
            }
        };
        match up {
            true => tracing::info!("gateway {gateway}: back in service: {reason}"),
            false => tracing::warn!("gateway {gateway}: out of service: {reason}"),
        }
        let gateway = gateway.to_owned();
        self.events.push(Event::GatewayHealth { gateway, host: String::new(), up, reason });
        self.show(id);
    }

    fn begin(&mut self, now: Instant, gateway: &Gateway, realm: &str) {
        self.last_id += 1;
        let client = Client::new(gateway, realm, (self.dice.random(), ContactToken::new(self.dice.random())));
        let hosts = gateway.options.map(|every| {
            gateway.hosts.iter().map(|_| Probe::new(now, every, &mut self.dice)).collect::<Vec<_>>()
        });
        let id = self.last_id;
        self.watched.push(Watched {
            id,
            config: gateway.clone(),
            client,
            probes: hosts.unwrap_or_default(),
            ner: gateway.ner.clone().map(Ner::new),
            leaving: false,
        });
        // Started by `work`.
        self.orders.push_back((id, Order::Nothing));
        self.show(id);
    }

    /// Starts pending registrations once an older one of the same gateway has ended: its end would remove the
    /// same contact.
    fn start(&mut self, now: Instant) {
        let leaving: Vec<String> =
            self.watched.iter().filter(|it| it.leaving).map(|it| it.config.name.clone()).collect();
        for it in self.watched.iter_mut().filter(|it| !it.leaving && !leaving.contains(&it.config.name)) {
            if let Some(client) = it.client.as_mut().filter(|it| it.state() == State::Off) {
                let order = client.schedule().start(now);
                self.orders.push_back((it.id, order));
            }
        }
    }

    fn leave(&mut self, now: Instant, id: u64) {
        let Some(it) = self.watched.iter_mut().find(|it| it.id == id) else { return };
        it.leaving = true;
        it.probes.clear();
        it.ner = None;
        self.board.remove(&it.config.name);
        if let Some(client) = &mut it.client {
            let order = client.schedule().stop(now);
            self.orders.push_back((id, order));
        }
        self.sweep();
    }

    /// Ends every registration; nothing new is started.
    pub fn stop(&mut self, now: Instant) {
        self.stopped = true;
        for id in self.watched.iter().filter(|it| !it.leaving).map(|it| it.id).collect::<Vec<_>>() {
            self.leave(now, id);
        }
    }

    /// Whether no registration is left.
    pub fn is_idle(&self) -> bool {
        self.watched.iter().all(|it| it.client.is_none())
    }

    /// When to call [`Gateways::work`]; a time in the past means at once.
    pub fn next_timeout(&self, now: Instant) -> Option<Instant> {
        if !self.orders.is_empty() {
            return Some(now);
        }
        let clients = self.watched.iter().filter_map(|it| it.client.as_ref()?.next_timeout());
        let probes = self.watched.iter().flat_map(|it| it.probes.iter().map(Probe::next_timeout));
        let ners = self.watched.iter().filter_map(|it| it.ner.as_ref()?.next_timeout());
        clients.chain(probes).chain(ners).min()
    }

    /// Starts the registrations that were requested at once.
    fn hurry(&mut self, now: Instant) {
        for wanted in self.board.take_wanted() {
            for it in self.watched.iter_mut().filter(|it| !it.leaving) {
                let Some(client) = &mut it.client else { continue };
                let is_wanted = match &wanted {
                    Wanted::Failed => client.state.failed,
                    Wanted::At(name) => *name == it.config.name,
                };
                if is_wanted {
                    self.orders.push_back((it.id, client.schedule().renew(now)));
                }
            }
        }
    }

    /// Sends the requests that are due.
    pub fn work(&mut self, t: &mut Turn<'_>) {
        self.hurry(t.now);
        for index in 0..self.watched.len() {
            self.work_of(t, index);
        }
        self.sweep();
        self.start(t.now);
        while let Some((id, order)) = self.orders.pop_front() {
            self.carry_out(t, id, order);
        }
    }

    fn work_of(&mut self, t: &mut Turn<'_>, index: usize) {
        let Some(it) = self.watched.get_mut(index) else { return };
        let id = it.id;
        if let Some(client) = &mut it.client {
            let before = client.is_in_force();
            let order = client.schedule().timeout(t.now);
            if before && !client.is_in_force() && !it.leaving {
                self.events.push(client.event(&it.config.name));
            }
            self.orders.push_back((id, order));
        }
        let mut asked = Vec::new();
        let mut changed = it.ner.as_mut().is_some_and(|ner| ner.timeout(t.now));
        for (host, probe) in it.probes.iter_mut().enumerate() {
            match probe.timeout(t.now, &mut self.dice) {
                probe::Order::Nothing => {}
                probe::Order::Ask => asked.push(host),
                probe::Order::Changed(health) => {
                    changed = true;
                    self.events.push(health_event(&it.config, host, health, "no response to OPTIONS"));
                }
            }
        }
        for host in asked {
            self.ask(t, index, host);
        }
        if changed {
            self.show(id);
        }
    }

    fn ask(&mut self, t: &mut Turn<'_>, index: usize, host: usize) {
        let Some(it) = self.watched.get_mut(index) else { return };
        let options = OutOfDialog {
            // Some gateways identify the sender by the host of Contact (RFC 3261 §11.1 allows it).
            contact: Some(Bytes::new()),
            route: it.config.proxy_route().into_iter().map(Bytes::from).collect(),
            tls: settings::tls_of(&it.config),
            listener: it.config.listener.as_deref().map(Into::into),
            patience: Some(probe::PATIENCE),
            ..OutOfDialog::new(Method::Options, client::uri(&it.config, host))
        };
        match t.sip.request_outside(t.now, options) {
            Ok(request) => drop(self.requests.insert(request, Asked::Probe(it.id, host))),
            // The probe's timeout counts this as a miss.
            Err(error) => tracing::warn!("gateway {}: {error}", it.config.name),
        }
    }

    fn carry_out(&mut self, t: &mut Turn<'_>, id: u64, order: Order) {
        let Some(it) = self.watched.iter_mut().find(|it| it.id == id) else { return };
        let Some(client) = &mut it.client else { return };
        let Some(request) = client.request(order, t) else { return };
        match t.sip.request_outside(t.now, request) {
            Ok(request) => drop(self.requests.insert(request, Asked::Register(id))),
            Err(error) => {
                let order = client.unsent(t.now, error);
                self.orders.push_back((id, order));
            }
        }
        self.show(id);
    }

    /// Takes the result of a request; `false`: it is none of ours.
    pub fn answered(
        &mut self,
        t: &mut Turn<'_>,
        request: RequestId,
        result: &Result<Response, RequestFailure>,
        flow: Option<Flow>,
    ) -> bool {
        let now = t.now;
        let Some(asked) = self.requests.remove(&request) else { return false };
        let id = match asked {
            Asked::Register(id) | Asked::Probe(id, _) => id,
        };
        let Some(it) = self.watched.iter_mut().find(|it| it.id == id) else { return true };
        if let Ok(response) = result {
            self.realms.learn(&it.config, b2b_sip::auth::realms(response));
        }
        match asked {
            Asked::Register(_) => {
                let Some(client) = &mut it.client else { return true };
                let told = (client.is_in_force(), client.state.failed);
                let contact = flow.map(|flow| t.sip.contact_uri(&flow, client.user().as_bytes()));
                let order = client.answered(now, result, contact.as_deref(), flow);
                let tells = told != (client.is_in_force(), client.state.failed);
                if tells && !it.leaving {
                    self.events.push(client.event(&it.config.name));
                }
                client.log(&it.config.name, now, it.leaving);
                self.orders.push_back((id, order));
                // Our address has changed, and the old one may belong to another host now.
                if let Some(request) = client.remove_stale(t).filter(|_| !it.leaving)
                    && let Err(error) = t.sip.request_outside(now, request)
                {
                    tracing::debug!(
                        "gateway {}: an old contact stays until it expires: {error}",
                        it.config.name
                    );
                }
                let (held, old) = client.follow_flow();
                if let Some((flow, every)) = held {
                    t.sip.hold_flow(&flow, every);
                }
                // Accounts at one host may share a connection.
                if let Some(old) = old.filter(|old| !self.is_held(old)) {
                    t.sip.let_flow_go(&old);
                }
            }
            Asked::Probe(_, host) => {
                let (event, why) = match result {
                    Ok(response) => {
                        let status = response.status();
                        let (down, up) = (health_fsm::Event::Miss, health_fsm::Event::Answer);
                        let event = if matches!(status, 408 | 503) { down } else { up };
                        (event, format!("it answers OPTIONS with {status}"))
                    }
                    Err(failure) => (health_fsm::Event::Miss, failure.to_string()),
                };
                let Some(probe) = it.probes.get_mut(host) else { return true };
                if let probe::Order::Changed(health) = probe.answered(now, event, &mut self.dice) {
                    self.events.push(health_event(&it.config, host, health, &why));
                }
            }
        }
        self.show(id);
        true
    }

    fn is_held(&self, flow: &Flow) -> bool {
        self.watched.iter().filter_map(|it| it.client.as_ref()).any(|client| client.holds(flow))
    }

    /// The gateway at which a contact with this token is registered. All are compared, without an early exit.
    pub fn with_token(&self, token: ContactToken) -> Option<Arc<str>> {
        let mut found = None;
        for it in self.watched.iter().filter(|it| !it.leaving) {
            if it.client.as_ref().is_some_and(|client| client.is_token(token)) {
                found = Some(it.config.name.as_str().into());
            }
        }
        found
    }

    /// The flow of a registration in force is lost (RFC 5626 §4.5): a new one is set up.
    pub fn flow_closed(&mut self, now: Instant, flow: &Flow) {
        let mut lost = Vec::new();
        for it in &mut self.watched {
            let Some(client) = it.client.as_mut().filter(|client| client.holds(flow)) else { continue };
            self.orders.push_back((it.id, client.lost(now)));
            tracing::warn!(
                "gateway {}: the flow of its registration is lost; registering again",
                it.config.name
            );
            lost.push(it.id);
        }
        for id in lost {
            self.show(id);
        }
    }

    /// The realms of a challenge to a call that may have the gateway's password. A realm that may not is
    /// reported in the log and by an alarm, with the configuration line that allows it.
    pub fn answerable(&mut self, gateway: &Gateway, challenge: &Response) -> Option<Vec<String>> {
        match self.realms.answerable(gateway, &b2b_sip::auth::realms(challenge)) {
            Answerable::Realms(realms) => Some(realms),
            Answerable::Refused(realm) => {
                let mut all = self.realms.of(gateway).to_vec();
                all.push(realm.clone());
                let message = format!(
                    "gateway {}: its password is not for realm {realm:?}, which somebody behind it may have \
                     asked for; if it is the provider's own, write realm = {all:?} into its [[gateway]]",
                    gateway.name
                );
                tracing::warn!("{message}");
                self.events.push(Event::Error { component: REALM.to_owned(), message });
                None
            }
        }
    }

    /// Takes the events since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    fn show(&self, id: u64) {
        let Some(it) = self.watched.iter().find(|it| it.id == id && !it.leaving) else { return };
        let health = |host: usize| it.probes.get(host).map_or(Health::Unknown, Probe::health);
        let hosts = it.config.hosts.iter().enumerate();
        let state = GatewayState {
            registration: it.client.as_ref().map(|client| client.state.clone()),
            hosts: hosts.map(|(index, host)| (host.to_string(), health(index))).collect(),
            granted_by: it.client.as_ref().and_then(|client| client.granted_by(&it.config)),
            ner: it.ner.as_ref().map(Ner::state),
        };
        self.board.set(&it.config.name, state);
    }

    /// Removes registrations that have ended.
    fn sweep(&mut self) {
        self.watched.retain_mut(|it| {
            if it.client.as_ref().is_some_and(|client| client.is_over()) {
                it.client = None;
            }
            !it.leaving || it.client.is_some()
        });
    }
}

/// Whether nothing has changed on which a registration or a probe depends.
fn is_same(old: &Gateway, new: &Gateway) -> bool {
    let same_auth = old.auth == new.auth || (old.register.is_none() && new.register.is_none());
    let same_answers = (&old.realms, old.min_algorithm) == (&new.realms, new.min_algorithm);
    (&old.name, &old.hosts, old.transport, old.register, old.options, &old.from_domain)
        == (&new.name, &new.hosts, new.transport, new.register, new.options, &new.from_domain)
        && old.outbound_proxy == new.outbound_proxy
        && old.listener == new.listener
        && old.registering == new.registering
        && old.tls.outward == new.tls.outward
        && same_auth
        && same_answers
}

fn health_event(gateway: &Gateway, host: usize, health: Health, why: &str) -> Event {
    let up = health != Health::Down;
    let name = gateway.hosts.get(host).map(ToString::to_string).unwrap_or_default();
    match up {
        true => tracing::info!("gateway {}: {name} is up: {why}", gateway.name),
        false => tracing::warn!("gateway {}: {name} is down: {why}", gateway.name),
    }
    Event::GatewayHealth { gateway: gateway.name.clone(), host: name, up, reason: why.to_owned() }
}
