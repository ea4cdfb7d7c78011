//! Registrations of many users on one agent's stack, each by the state machine of `sip::registration`. Their
//! rate is limited, since a registrar that gets thousands at once loses requests.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::account::{Credentials, digest, sip_uri};
use super::{AgentError, AgentService};
use b2b_sip::endpoint::{Flow, RequestFailure, RequestId};
use b2b_sip::msg::Response;
use b2b_sip::registration::{Account, Order, Pace, Place, Registrant, Registration, State};

/// Pace after failures. A refusal by the registrar is final: it would be repeated.
const PACE: Pace = Pace { base: Duration::from_secs(1), max: Duration::from_secs(60), refused: None };
/// How far requests that were not sent in time are made up for at once.
const SLACK: Duration = Duration::from_millis(50);

/// A user to register.
#[derive(Debug, Clone)]
pub struct UserAccount {
    /// The URI of the user.
    pub identity: String,
    /// User part of its contact.
    pub user: String,
    /// For the registrar's challenge; `None`: a challenge is final.
    pub credentials: Option<Credentials>,
}

/// The configuration of the registrations.
#[derive(Debug, Clone)]
pub struct UsersConfig {
    /// The Request-URI: the URI of the users' domain.
    pub registrar: String,
    /// Where requests are sent, if not to the Request-URI.
    pub way: Option<String>,
    /// Requested expiry, in seconds.
    pub expires_s: u32,
    /// Maximum REGISTERs per second; answers to a challenge do not count.
    pub per_second: f64,
}

/// The state of the registrations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registrations {
    /// Number of users.
    pub users: usize,
    /// Number of registered users.
    pub registered: usize,
    /// Number of users that are not registered and not tried any more.
    pub given_up: usize,
    /// Failed attempts, by reason: refusals and requests without a response.
    pub failures: BTreeMap<String, u64>,
}

/// The users in progress.
pub(super) struct Users {
    all: Vec<Registrant>,
    of_request: HashMap<RequestId, usize>,
    /// Alarms of the users, by time; those that differ from `set` are out of date.
    alarms: BinaryHeap<Reverse<(Instant, usize)>>,
    /// The current alarm of each user.
    set: Vec<Option<Instant>>,
    /// Requests that wait for their turn.
    ready: VecDeque<(usize, Order)>,
    gap: Duration,
    next: Instant,
    /// The flow on which the users are reached.
    flow: Option<Flow>,
    failures: BTreeMap<String, u64>,
}

impl AgentService {
    /// Registers these users, and keeps them registered; they replace the previous ones.
    ///
    /// # Errors
    /// A URI is invalid.
    pub fn register_users(&mut self, users: &[UserAccount], config: &UsersConfig) -> Result<(), AgentError> {
        let now = self.stack.now();
        let signalling = &self.config.signalling;
        sip_uri(&config.registrar)?;
        let way = config.way.as_ref().unwrap_or(&config.registrar);
        sip_uri(way)?;
        let way = signalling.by_transport(way).or_else(|| config.way.clone());
        let mut all = Vec::with_capacity(users.len());
        let mut ready = VecDeque::with_capacity(users.len());
        for (n, user) in users.iter().enumerate() {
            sip_uri(&user.identity)?;
            let place = Place {
                registrar: config.registrar.clone(),
                address: format!("<{}>", user.identity),
                way: way.clone(),
                route: Vec::new(),
            };
            let account = Account {
                tls: None,
                listener: None,
                outbound: None,
                token: None,
                digest: user.credentials.as_ref().map(digest),
                expires: config.expires_s,
                user: user.user.clone(),
            };
            let schedule = Registration::new(1, PACE, rand::random());
            let mut registrant = Registrant::new(schedule, account, vec![place]);
            ready.push_back((n, registrant.schedule.start(now)));
            all.push(registrant);
        }
        self.users = Some(Users {
            all,
            of_request: HashMap::new(),
            alarms: BinaryHeap::new(),
            set: vec![None; users.len()],
            ready,
            gap: Duration::from_secs_f64(1.0 / config.per_second.clamp(0.1, 100_000.0)),
            next: now,
            flow: None,
            failures: BTreeMap::new(),
        });
        Ok(())
    }

    /// Removes the registrations, no faster than they were made.
    pub fn unregister_users(&mut self) {
        let now = self.stack.now();
        let Some(it) = &mut self.users else { return };
        if let Some(flow) = it.flow.take() {
            self.stack.endpoint().unwatch_flow(&flow);
        }
        it.ready.clear();
        for (n, user) in it.all.iter_mut().enumerate() {
            let order = user.schedule.stop(now);
            if order != Order::Nothing {
                it.ready.push_back((n, order));
            }
        }
    }

    /// The state of the registrations.
    pub fn registrations(&self) -> Registrations {
        let Some(it) = &self.users else { return Registrations::default() };
        let count = |is: fn(&Registration) -> bool| it.all.iter().filter(|user| is(&user.schedule)).count();
        Registrations {
            users: it.all.len(),
            registered: count(|it| it.state().is_in_force()),
            given_up: count(|it| it.state() == State::Waiting && it.due().is_none()),
            failures: it.failures.clone(),
        }
    }

    /// When to call [`AgentService::users_due`].
    pub(super) fn users_timeout(&self) -> Option<Instant> {
        let it = self.users.as_ref()?;
        let alarm = it.alarms.peek().map(|Reverse((at, _))| *at);
        let turn = (!it.ready.is_empty()).then_some(it.next);
        alarm.into_iter().chain(turn).min()
    }

    /// Handles the alarms that are due, and sends the requests whose turn it is.
    pub(super) fn users_due(&mut self) {
        let now = self.stack.now();
        let Some(it) = &mut self.users else { return };
        while let Some(Reverse((at, n))) = it.alarms.peek().copied()
            && at <= now
        {
            it.alarms.pop();
            let Some(user) = it.all.get_mut(n) else { continue };
            if it.set.get_mut(n).and_then(|set| set.take_if(|set| *set == at)).is_none() {
                continue;
            }
            match user.schedule.timeout(now) {
                Order::Nothing => it.set_alarm(n),
                order => it.ready.push_back((n, order)),
            }
        }
        while let Some(it) = &mut self.users
            && it.next <= now
            && let Some((n, order)) = it.ready.pop_front()
        {
            let behind = now.checked_sub(SLACK).unwrap_or(now);
            it.next = it.next.max(behind) + it.gap;
            self.register_user(n, order);
        }
    }

    /// Sends a request; if it cannot be sent, queues what follows.
    fn register_user(&mut self, n: usize, order: Order) {
        let now = self.stack.now();
        let endpoint = self.stack.endpoint();
        let Some(it) = &mut self.users else { return };
        let Some(user) = it.all.get_mut(n) else { return };
        if let Some(request) = user.request(order, endpoint) {
            match endpoint.request_outside(now, request) {
                Ok(request) => {
                    it.of_request.insert(request, n);
                }
                Err(error) => {
                    let order = user.unsent(now, error);
                    it.failed(n);
                    if order != Order::Nothing {
                        it.ready.push_back((n, order));
                    }
                }
            }
        }
        it.set_alarm(n);
    }

    /// The result of a request outside calls; `false`: it is not a user's.
    pub(super) fn user_answered(
        &mut self,
        request: RequestId,
        result: &Result<Response, RequestFailure>,
        flow: Option<Flow>,
    ) -> bool {
        let now = self.stack.now();
        let endpoint = self.stack.endpoint();
        let Some(it) = &mut self.users else { return false };
        let Some(n) = it.of_request.remove(&request) else { return false };
        let Some(user) = it.all.get_mut(n) else { return true };
        let contact = flow.map(|flow| endpoint.contact_uri(&flow, user.user().as_bytes()));
        let order = user.answered(now, result, contact.as_deref());
        if user.schedule.state() == State::Registered
            && let Some(flow) = flow
            && it.flow != Some(flow)
        {
            if let Some(old) = it.flow.replace(flow) {
                endpoint.unwatch_flow(&old);
            }
            endpoint.watch_flow(&flow);
        }
        match order {
            Order::Nothing => {
                it.failed(n);
                it.set_alarm(n);
            }
            // the answer to a challenge does not wait: its nonce would expire
            order => self.register_user(n, order),
        }
        true
    }

    /// The connection on which users are reached is gone: they are registered again, each in its turn.
    pub(super) fn users_flow_closed(&mut self, flow: &Flow) {
        let now = self.stack.now();
        let Some(it) = &mut self.users else { return };
        if it.flow.take_if(|ours| ours.id == flow.id).is_none() {
            return;
        }
        for (n, user) in it.all.iter_mut().enumerate() {
            let order = user.schedule.now(now);
            if order != Order::Nothing {
                it.ready.push_back((n, order));
            }
        }
    }

    /// Whether none of them is registered, or about to be.
    pub(super) fn no_users(&self) -> bool {
        let Some(it) = &self.users else { return true };
        it.all.iter().all(|user| user.schedule.state().is_over())
    }
}

impl Users {
    fn set_alarm(&mut self, n: usize) {
        let at = self.all.get(n).and_then(|user| user.schedule.next_timeout());
        let Some(set) = self.set.get_mut(n).filter(|set| **set != at) else { return };
        *set = at;
        self.alarms.extend(at.map(|at| Reverse((at, n))));
    }

    /// Counts the last result if it was a failure.
    fn failed(&mut self, n: usize) {
        let failure = self.all.get(n).and_then(|user| user.last()).and_then(|last| last.failure.as_ref());
        if let Some(failure) = failure {
            *self.failures.entry(failure.to_string()).or_default() += 1;
        }
    }
}
