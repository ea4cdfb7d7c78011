//! The registrar's machine: REGISTER in, reply out; expiry and keep-alive by time.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::SentBy;
use super::aor::Aor;
use super::binding::{Binding, BindingFlow, BindingId};
use super::config::{AorPolicy, KeepAliveKind, RegistrarConfig};
use super::deadlines::Deadlines;
use super::event::{KeepAlive, RegistrarCounters, RegistrarEvent, Removal};
use super::operation::{self, ExpiryLimits, Operation, Refusal};
use super::reach::{self, NextHop};
use super::reply::{self, RegistrarReply};
use super::rules::{self, Asker, Room, Step};
use super::store::{Change, Commit, LocationStore};
use b2b_sip::endpoint::{Flow, Reply};
use b2b_sip::msg::Request;

/// The sender of a REGISTER, and its flow.
#[derive(Clone, Copy)]
pub struct Sender<'a> {
    pub flow: &'a Flow,
    /// The address the phone sends from: the remote end of the flow, or the address that a proxy in front of
    /// us saw.
    pub source: SocketAddr,
    /// The authenticated user; `None`: authentication is not required.
    pub user: Option<&'a str>,
    /// It has answered a challenge for the first time, so this is no old request that was delayed, whatever its
    /// CSeq: a phone may begin again with its Call-ID after a restart.
    pub challenged: bool,
    /// Whether a connection is open.
    pub is_open: &'a dyn Fn(&Flow) -> bool,
}

/// A registrar. Its events and keep-alives must be taken after each call, and [`Registrar::handle_timeout`]
/// called at [`Registrar::next_timeout`].
pub struct Registrar {
    config: RegistrarConfig,
    limits: ExpiryLimits,
    store: Box<dyn LocationStore>,
    expiry: Deadlines,
    keep_alive: Deadlines,
    due: VecDeque<KeepAlive>,
    last_id: u64,
    events: VecDeque<RegistrarEvent>,
    counters: RegistrarCounters,
    since: Instant,
}

/// How long after its start the registrar expects phones that have lost their connections by it.
const COME_BACK: Duration = Duration::from_secs(60);

impl Registrar {
    /// A registrar with the bindings in the store.
    pub fn new(config: RegistrarConfig, store: Box<dyn LocationStore>, now: Instant) -> Self {
        let (limits, interval) = (config.expiry_limits(), config.keep_alive_interval);
        let (mut expiry, mut last_id) = (Deadlines::default(), 0);
        let mut held = Vec::new();
        store.visit(&mut |aor, bindings| {
            for binding in bindings {
                last_id = last_id.max(binding.id.0);
                expiry.set(binding.expires, binding.id, aor);
                held.push((aor.clone(), binding.clone()));
            }
        });
        let (keep_alive, due, events) = (Deadlines::default(), VecDeque::new(), VecDeque::new());
        let counters = RegistrarCounters::default();
        let mut registrar = Registrar {
            config,
            limits,
            store,
            expiry,
            keep_alive,
            due,
            last_id,
            events,
            counters,
            since: now,
        };
        for (index, (aor, binding)) in held.iter().enumerate() {
            // Spread over one interval, since they did not all register at once either.
            let part = index as u32 % 1_024;
            registrar.watch(now + interval * part / 1_024, aor, binding);
        }
        registrar
    }

    /// Replaces the configuration. Existing bindings keep their expiry, and their keep-alive until it is next
    /// due.
    pub fn reconfigure(&mut self, config: RegistrarConfig) {
        self.limits = config.expiry_limits();
        self.config = config;
    }

    /// Handles a REGISTER.
    pub fn handle(
        &mut self,
        now: Instant,
        request: &Request,
        sender: Sender<'_>,
        policy: &dyn AorPolicy,
    ) -> RegistrarReply {
        let reply = self.register(now, request, sender, policy);
        let named = self.config.trusted.proxies.contain(sender.flow.remote.ip());
        let unnamed_proxy = !named && reach::was_forwarded(request);
        if reply.status >= 300 {
            self.counters.refused += 1;
            return RegistrarReply { reply, commit: Commit::NONE, unnamed_proxy, local_phone: false };
        }
        let local_phone = !named && self.config.trusted.leaves_local(request, sender.flow);
        // The reply also lists changes of other writes that are still pending, so it waits for the last write
        // of all.
        RegistrarReply { reply, commit: self.store.latest(), unnamed_proxy, local_phone }
    }

    fn register(
        &mut self,
        now: Instant,
        request: &Request,
        sender: Sender<'_>,
        policy: &dyn AorPolicy,
    ) -> Reply {
        let domain = request.uri().ok().and_then(|uri| uri.host).map(|host| host.to_string());
        if !domain.is_some_and(|domain| policy.serves(&domain.to_ascii_lowercase())) {
            return reply::refused(404, "Domain Not Served Here");
        }
        let Some(named) = request.to().ok().and_then(|to| Aor::of_uri(&to.uri)) else {
            return reply::refused(404, "");
        };
        let aor = policy.canonical(&named);
        // Before 404: a party that may not register an address does not learn whether it exists.
        if !policy.may_register(sender.user, aor.as_ref().unwrap_or(&named)) {
            return reply::refused(403, "");
        }
        let Some(aor) = aor else { return reply::refused(404, "") };
        let max_contacts = policy.max_contacts(&aor).unwrap_or(self.config.max_contacts);
        match self.update(now, request, sender, &aor, max_contacts) {
            Ok(()) => {
                let path_counts = self.config.trusted.proxies.contain(sender.flow.remote.ip());
                reply::listed(now, request, self.store.bindings(&aor), path_counts)
            }
            Err(refusal) => reply::refusal(refusal, &self.limits),
        }
    }

    /// Changes the bindings as requested, or not at all.
    fn update(
        &mut self,
        now: Instant,
        request: &Request,
        sender: Sender<'_>,
        aor: &Aor,
        max_contacts: usize,
    ) -> Result<(), Refusal> {
        let operation = Operation::of(request, &self.limits)?;
        let sent_by = reach::sent_by_of(request, sender.flow, &self.config.trusted.proxies);
        let path = if sent_by == SentBy::Proxy { operation::path(request)? } else { Box::default() };
        let cseq = request.cseq().map_err(|_| Refusal::Bad("Invalid CSeq"))?.number;
        let call_id = request.call_id().map_err(|_| Refusal::Bad("Invalid Call-ID"))?;
        // Expired bindings that have not been looked at yet are removed first.
        self.drop_expired(now, aor);
        let is_lost = |binding: &Binding| binding.is_lost(sender.is_open);
        let room = Room { max: max_contacts, replaces: self.config.contacts_replace, is_lost: &is_lost };
        let asker = Asker { call_id, cseq, challenged: sender.challenged };
        let Operation::Update(wanted) = &operation else {
            if matches!(operation, Operation::Query) {
                self.counters.queries += 1;
                return Ok(());
            }
            let steps = rules::steps(self.store.bindings(aor), &operation, asker, &room)?;
            self.perform(now, aor, &steps, |_, _| None);
            return Ok(());
        };
        let steps = rules::steps(self.store.bindings(aor), &operation, asker, &room)?;
        let added = steps.iter().filter(|step| matches!(step, Step::Add { .. })).count();
        let evicted = steps.iter().filter(|step| matches!(step, Step::Evict { .. })).count();
        let total = self.store.len() + added.saturating_sub(evicted);
        if !self.store.accepts() || (added > evicted && total > self.config.max_bindings) {
            return Err(Refusal::Overloaded);
        }
        let user_agent = operation::user_agent(request);
        let (flow, source) = (BindingFlow::from(sender.flow), sender.source);
        let make = |index: usize, id: BindingId| {
            let wanted = wanted.get(index)?;
            Some(Arc::new(Binding {
                id,
                contact: wanted.contact.uri.raw.into(),
                params: wanted.kept_params(),
                q: wanted.q,
                expires: now + wanted.lifetime(),
                call_id: call_id.into(),
                cseq,
                path: path.clone(),
                flow,
                source,
                sent_by,
                instance: wanted.instance.map(Into::into),
                reg_id: wanted.reg_id,
                user_agent: user_agent.clone(),
            }))
        };
        self.perform(now, aor, &steps, make);
        Ok(())
    }

    fn perform(
        &mut self,
        now: Instant,
        aor: &Aor,
        steps: &[Step],
        make: impl Fn(usize, BindingId) -> Option<Arc<Binding>>,
    ) {
        let mut changes = Vec::with_capacity(steps.len());
        let mut made = Vec::with_capacity(steps.len());
        for step in steps {
            let old = match step {
                Step::Add { .. } => None,
                Step::Replace { binding, .. } | Step::Remove { binding } | Step::Evict { binding } => {
                    self.store.bindings(aor).get(*binding).cloned()
                }
            };
            match (step, old) {
                (Step::Add { wanted }, _) => {
                    self.last_id += 1;
                    let Some(binding) = make(*wanted, BindingId(self.last_id)) else { continue };
                    self.counters.registered += 1;
                    changes.push(Change::Put(binding.clone()));
                    made.push(binding.clone());
                    self.events.push_back(RegistrarEvent::Registered { aor: aor.clone(), binding });
                }
                (Step::Replace { wanted, .. }, Some(old)) => {
                    let Some(binding) = make(*wanted, old.id) else { continue };
                    self.counters.refreshed += 1;
                    changes.push(Change::Put(binding.clone()));
                    made.push(binding.clone());
                    self.events.push_back(RegistrarEvent::Refreshed { aor: aor.clone(), binding });
                }
                (Step::Remove { .. } | Step::Evict { .. }, Some(old)) => {
                    changes.push(Change::Remove(old.id));
                    let evicted = matches!(step, Step::Evict { .. });
                    self.removed(aor, old, if evicted { Removal::Evicted } else { Removal::Unregistered });
                }
                _ => {}
            }
        }
        self.store.apply(aor, changes);
        for binding in made {
            self.expiry.set(binding.expires, binding.id, aor);
            self.watch(now + self.config.keep_alive_interval, aor, &binding);
        }
    }

    fn removed(&mut self, aor: &Aor, binding: Arc<Binding>, why: Removal) {
        self.expiry.clear(binding.id);
        self.keep_alive.clear(binding.id);
        match why {
            Removal::Expired => self.counters.expired += 1,
            Removal::Evicted => self.counters.evicted += 1,
            Removal::Unregistered | Removal::ByOperator => self.counters.unregistered += 1,
        }
        self.events.push_back(RegistrarEvent::Removed { aor: aor.clone(), binding, why });
    }

    fn remove_where(&mut self, aor: &Aor, why: Removal, gone: impl Fn(&Binding) -> bool) {
        let old: Vec<_> = self.store.bindings(aor).iter().filter(|it| gone(it)).cloned().collect();
        if old.is_empty() {
            return;
        }
        let changes = old.iter().map(|binding| Change::Remove(binding.id)).collect();
        for binding in old {
            self.removed(aor, binding, why);
        }
        self.store.apply(aor, changes);
    }

    fn drop_expired(&mut self, now: Instant, aor: &Aor) {
        self.remove_where(aor, Removal::Expired, |binding| binding.expires <= now);
    }

    /// Removes every contact of an AOR.
    pub fn remove(&mut self, aor: &Aor) {
        self.remove_where(aor, Removal::ByOperator, |_| true);
    }

    /// The contacts at which an AOR is reached, best first: by `q`, then by latest expiry.
    pub fn lookup(&self, now: Instant, aor: &Aor) -> Vec<Arc<Binding>> {
        let bindings = self.store.bindings(aor).iter();
        let mut alive: Vec<_> = bindings.filter(|binding| binding.expires > now).cloned().collect();
        alive.sort_by(|a, b| b.q.cmp(&a.q).then(b.expires.cmp(&a.expires)));
        alive
    }

    /// Whether the phones of all these bindings are about to come back: their connections ended with the previous
    /// process, a short time ago.
    pub fn awaits(&self, now: Instant, bindings: &[Arc<Binding>]) -> bool {
        let soon = now.saturating_duration_since(self.since) < COME_BACK;
        soon && !bindings.is_empty() && bindings.iter().all(|binding| binding.is_of_before())
    }

    /// Where to send a request for a contact.
    pub fn next_hop<'a>(&self, binding: &'a Binding) -> NextHop<'a> {
        binding.next_hop(&self.config.trusted)
    }

    /// Whether an AOR is registered from this exact address and port: no other party sends from there, not
    /// even behind the same NAT.
    pub fn is_registered_from(&self, now: Instant, aor: &Aor, address: SocketAddr) -> bool {
        let canonical = |at: SocketAddr| (at.ip().to_canonical(), at.port());
        let same =
            |binding: &Arc<Binding>| binding.expires > now && canonical(binding.source) == canonical(address);
        self.store.bindings(aor).iter().any(same)
    }

    /// Calls `each` with every binding.
    pub fn each_registered(&self, each: &mut dyn FnMut(&Binding)) {
        self.store.visit(&mut |_, bindings| bindings.iter().for_each(|binding| each(binding)));
    }

    /// The addresses that an AOR is registered from.
    pub fn known_sources(&self, now: Instant, aor: &Aor) -> Vec<std::net::IpAddr> {
        let bindings = self.store.bindings(aor);
        let valid = bindings.iter().filter(|binding| binding.expires > now);
        valid.map(|binding| binding.source.ip().to_canonical()).collect()
    }

    fn is_kept_alive(&self, binding: &Binding) -> bool {
        self.config.keep_alive != KeepAliveKind::Off && binding.needs_keep_alive(&self.config.trusted)
    }

    /// Schedules a keep-alive at `at`, if the binding needs any.
    fn watch(&mut self, at: Instant, aor: &Aor, binding: &Arc<Binding>) {
        match self.is_kept_alive(binding) {
            true => self.keep_alive.set(at, binding.id, aor),
            false => self.keep_alive.clear(binding.id),
        }
    }

    /// When to call [`Registrar::handle_timeout`].
    pub fn next_timeout(&self) -> Option<Instant> {
        [self.expiry.next(), self.keep_alive.next()].into_iter().flatten().min()
    }

    /// Removes expired bindings and collects the keep-alives that are due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((id, aor)) = self.expiry.due(now) {
            let expires = self.store.bindings(&aor).iter().find(|it| it.id == id).map(|it| it.expires);
            match expires {
                Some(expires) if expires > now => self.expiry.set(expires, id, &aor),
                Some(_) => self.drop_expired(now, &aor),
                None => {}
            }
        }
        while let Some((id, aor)) = self.keep_alive.due(now) {
            let found = self.store.bindings(&aor).iter().find(|it| it.id == id && it.expires > now);
            // The configuration may have changed since it was scheduled.
            if let Some(binding) = found.filter(|it| self.is_kept_alive(it)).cloned() {
                self.keep_alive.set(now + self.config.keep_alive_interval, id, &aor);
                self.counters.keep_alives += 1;
                self.due.push_back(KeepAlive { kind: self.config.keep_alive, aor, binding });
            }
        }
    }

    /// The next keep-alive to send.
    pub fn poll_keep_alive(&mut self) -> Option<KeepAlive> {
        self.due.pop_front()
    }

    /// The next event, in order.
    pub fn poll_event(&mut self) -> Option<RegistrarEvent> {
        self.events.pop_front()
    }

    /// The store of the bindings.
    pub fn store(&self) -> &dyn LocationStore {
        &*self.store
    }

    /// Number of timer entries held: valid ones, and all.
    pub fn timers_held(&self) -> (usize, usize) {
        let (expiry, keep_alive) = (self.expiry.held(), self.keep_alive.held());
        (expiry.0 + keep_alive.0, expiry.1 + keep_alive.1)
    }

    /// Counters so far.
    pub fn counters(&self) -> RegistrarCounters {
        self.counters
    }
}
