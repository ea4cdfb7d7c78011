//! Registrations of many users on one agent's stack, each by the machine of `sip::registration`: no more of
//! them a second than asked for, since a registrar that gets thousands at once loses them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::account::{Credentials, digest, sip_uri};
use super::{AgentError, AgentService};
use b2b_sip::endpoint::{Flow, RequestFailure, RequestId};
use b2b_sip::msg::Response;
use b2b_sip::registration::{Account, Order, Pace, Place, Registrant, Registration, State};

/// After failures. What the registrar refuses is not tried again: it would be refused again.
const PACE: Pace = Pace { base: Duration::from_secs(1), max: Duration::from_secs(60), refused: None };
/// Requests that were not sent in time are made up for at once, as far as this.
const SLACK: Duration = Duration::from_millis(50);

/// A user to register.
#[derive(Debug, Clone)]
pub struct UserAccount {
    /// Its URI.
    pub identity: String,
    /// User part of its contact.
    pub user: String,
    /// For the registrar's challenge; none: a challenge is the end.
    pub credentials: Option<Credentials>,
}

/// How users are registered.
#[derive(Debug, Clone)]
pub struct UsersConfig {
    /// The Request-URI: that of their domain.
    pub registrar: String,
    /// Where it is, if that does not say so.
    pub way: Option<String>,
    /// For how long to ask, seconds.
    pub expires_s: u32,
    /// REGISTERs a second, at most; those that answer a challenge are not counted.
    pub per_second: f64,
}

/// What became of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registrations {
    /// Users.
    pub users: usize,
    /// Those that the registrar has.
    pub registered: usize,
    /// Those that it has not, and that are not tried any more.
    pub given_up: usize,
    /// Answers that were none to hope for, and requests without one, by reason: of all attempts.
    pub failures: BTreeMap<String, u64>,
}

/// Users at work.
pub(super) struct Users {
    all: Vec<Registrant>,
    of_request: HashMap<RequestId, usize>,
    /// When whose time has come; those that are not in `set` any more are out of date.
    alarms: BinaryHeap<Reverse<(Instant, usize)>>,
    /// The alarm of each.
    set: Vec<Option<Instant>>,
    /// What waits for its turn.
    ready: VecDeque<(usize, Order)>,
    gap: Duration,
    next: Instant,
    /// The connection that they are reached by.
    flow: Option<Flow>,
    failures: BTreeMap<String, u64>,
}

impl AgentService {
    /// Registers these users, and keeps them registered; instead of those that there were.
    ///
    /// # Errors
    /// A URI is none.
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

    /// Takes them back, no faster than they were registered.
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

    /// What became of the users so far.
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

    /// Time has passed.
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

    /// Sends what is ordered, and what follows where that cannot be sent.
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

    /// What became of a request outside calls; `false`: it is none of a user's.
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
            // what answers a challenge does not wait: its nonce grows old
            order => self.register_user(n, order),
        }
        true
    }

    /// The connection that users are reached by is gone: they are registered again, each in its turn.
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

    /// Whether none of them is at the registrar, or on the way to it.
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

    /// Counts the last answer if it was none to hope for.
    fn failed(&mut self, n: usize) {
        let failure = self.all.get(n).and_then(|user| user.last()).and_then(|last| last.failure.as_ref());
        if let Some(failure) = failure {
            *self.failures.entry(failure.to_string()).or_default() += 1;
        }
    }
}
