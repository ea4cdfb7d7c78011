//! The machine: REGISTER in, reply out; expiry and keep-alive by time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::aor::Aor;
use super::binding::{Binding, BindingFlow, BindingId};
use super::deadlines::Deadlines;
use super::rules::{self, Asker, Step};
use super::store::{Change, Commit, LocationStore};
use super::wish::{self, ExpiryLimits, Refusal, Wish};
use crate::sip::endpoint::{Flow, Reply, Transport};
use crate::sip::msg::{Name, Request};

/// What a registrar is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegistrarConfig {
    /// Shortest life of a binding, whole seconds, up to an hour; who asks for less
    /// gets 423.
    pub min_expires: Duration,
    /// Longest; who asks for more gets this.
    pub max_expires: Duration,
    /// For those who say nothing.
    pub default_expires: Duration,
    /// Contacts of one address of record; beyond it 403.
    pub max_contacts: usize,
    /// Bindings of all; beyond it 503.
    pub max_bindings: usize,
    /// What keeps the way through a NAT open.
    pub keep_alive: KeepAliveKind,
    /// How often.
    pub keep_alive_interval: Duration,
}

impl Default for RegistrarConfig {
    fn default() -> Self {
        RegistrarConfig {
            min_expires: Duration::from_secs(60),
            max_expires: Duration::from_secs(7_200),
            default_expires: Duration::from_secs(3_600),
            max_contacts: 10,
            max_bindings: 1_000_000,
            keep_alive: KeepAliveKind::Crlf,
            keep_alive_interval: Duration::from_secs(25),
        }
    }
}

/// What is sent to phones behind a NAT that registered over UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepAliveKind {
    /// Nothing.
    Off,
    /// Two line ends: the least.
    Crlf,
    /// OPTIONS: tells also whether the phone is there.
    Options,
}

/// A keep-alive to be sent now.
#[derive(Debug, Clone)]
pub struct KeepAlive {
    pub kind: KeepAliveKind,
    pub aor: Aor,
    pub binding: Arc<Binding>,
}

/// Which addresses of record are ours, and whose.
pub trait AorPolicy {
    /// Whether requests to this domain (host of the Request-URI, lower case) are for
    /// this registrar.
    fn serves(&self, domain: &str) -> bool;

    /// The AOR that this one stands for, if it exists here: itself, or that of
    /// which its domain or its user is an alias.
    fn canonical(&self, aor: &Aor) -> Option<Aor>;

    /// Whether `user` may change the bindings of `aor`. `None`: not authenticated,
    /// but trusted for where he is.
    fn may_register(&self, user: Option<&str>, aor: &Aor) -> bool;

    /// Contacts that this AOR may have at once. `None`: as
    /// [`RegistrarConfig::max_contacts`] says.
    fn max_contacts(&self, _: &Aor) -> Option<usize> {
        None
    }
}

/// An answer, and what it waits for.
#[derive(Debug, Clone)]
pub struct RegistrarReply {
    /// For `Endpoint::respond`.
    pub reply: Reply,
    /// Do not send it before this write is kept ([`Registrar::store`],
    /// [`super::PendingReplies`]): otherwise a crash could undo what it says.
    pub commit: Commit,
}

/// What happened to a binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistrarEvent {
    /// A new contact.
    Registered { aor: Aor, binding: Arc<Binding> },
    /// The same contact again, for longer.
    Refreshed { aor: Aor, binding: Arc<Binding> },
    /// A contact is gone.
    Removed { aor: Aor, binding: Arc<Binding>, why: Removal },
}

/// Why a contact is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// Its time is over.
    Expired,
    /// The phone took it back.
    Unregistered,
    /// We took it away.
    ByOperator,
}

/// What happened so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RegistrarCounters {
    pub registered: u64,
    pub refreshed: u64,
    pub unregistered: u64,
    pub expired: u64,
    pub queries: u64,
    /// 4xx and 5xx.
    pub refused: u64,
    pub keep_alives: u64,
}

/// A registrar. Take its events and keep-alives after each call, and wake it at
/// [`Registrar::next_timeout`] with [`Registrar::handle_timeout`].
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
}

impl Registrar {
    /// A registrar with what the store holds.
    pub fn new(config: RegistrarConfig, store: Box<dyn LocationStore>, now: Instant) -> Self {
        let seconds = |it: Duration| u32::try_from(it.as_secs()).unwrap_or(u32::MAX);
        let limits = ExpiryLimits {
            min: seconds(config.min_expires),
            max: seconds(config.max_expires).max(1),
            default: seconds(config.default_expires).max(1),
        };
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
        let mut registrar =
            Registrar { config, limits, store, expiry, keep_alive, due, last_id, events, counters };
        for (index, (aor, binding)) in held.iter().enumerate() {
            // Spread over one interval: they did not all register at once either.
            let part = index as u32 % 1_024;
            registrar.watch(now + config.keep_alive_interval * part / 1_024, aor, binding);
        }
        registrar
    }

    /// Answers a REGISTER that came by `flow`, of a user who has authenticated, or of
    /// `None` who did not have to.
    pub fn handle(
        &mut self,
        now: Instant,
        request: &Request,
        flow: &Flow,
        user: Option<&str>,
        policy: &dyn AorPolicy,
    ) -> RegistrarReply {
        let reply = self.register(now, request, flow, user, policy);
        if reply.reply.status >= 300 {
            self.counters.refused += 1;
        }
        reply
    }

    fn register(
        &mut self,
        now: Instant,
        request: &Request,
        flow: &Flow,
        user: Option<&str>,
        policy: &dyn AorPolicy,
    ) -> RegistrarReply {
        let domain = request.uri().ok().and_then(|uri| uri.host).map(|host| host.to_string());
        if !domain.is_some_and(|domain| policy.serves(&domain.to_ascii_lowercase())) {
            return refused(404, "Domain Not Served Here");
        }
        let Some(named) = request.to().ok().and_then(|to| Aor::of_uri(&to.uri)) else {
            return refused(404, "");
        };
        let aor = policy.canonical(&named);
        // Before 404: who may not register an address does not learn whether it is there.
        if !policy.may_register(user, aor.as_ref().unwrap_or(&named)) {
            return refused(403, "");
        }
        let Some(aor) = aor else { return refused(404, "") };
        let max_contacts = policy.max_contacts(&aor).unwrap_or(self.config.max_contacts);
        match self.update(now, request, flow, &aor, max_contacts) {
            Ok(()) => self.listed(now, request, &aor),
            Err(refusal) => self.refusal(refusal),
        }
    }

    /// Changes bindings as asked, or not at all.
    fn update(
        &mut self,
        now: Instant,
        request: &Request,
        flow: &Flow,
        aor: &Aor,
        max_contacts: usize,
    ) -> Result<(), Refusal> {
        let wish = Wish::of(request, &self.limits)?;
        let path = wish::path(request)?;
        let cseq = request.cseq().map_err(|_| Refusal::Bad("Invalid CSeq"))?.number;
        let call_id = request.call_id().map_err(|_| Refusal::Bad("Invalid Call-ID"))?;
        // What has expired and was not looked at yet is gone all the same.
        self.drop_expired(now, aor);
        let Wish::Update(wanted) = &wish else {
            if matches!(wish, Wish::Query) {
                self.counters.queries += 1;
                return Ok(());
            }
            let steps = rules::steps(self.store.bindings(aor), &wish, Asker { call_id, cseq }, 0)?;
            self.perform(now, aor, &steps, |_, _| None);
            return Ok(());
        };
        let asker = Asker { call_id, cseq };
        let steps = rules::steps(self.store.bindings(aor), &wish, asker, max_contacts)?;
        let added = steps.iter().filter(|step| matches!(step, Step::Add { .. })).count();
        if !self.store.accepts() || (added > 0 && self.store.len() + added > self.config.max_bindings) {
            return Err(Refusal::Overloaded);
        }
        let via_proxy = request.headers(Name::Via).nth(1).is_some();
        let user_agent = wish::user_agent(request);
        let flow = BindingFlow::from(flow);
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
                via_proxy,
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
                Step::Replace { binding, .. } | Step::Remove { binding } => {
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
                (Step::Remove { .. }, Some(old)) => {
                    changes.push(Change::Remove(old.id));
                    self.removed(aor, old, Removal::Unregistered);
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

    /// Takes every contact of an AOR away.
    pub fn remove(&mut self, aor: &Aor) {
        self.remove_where(aor, Removal::ByOperator, |_| true);
    }

    /// 200 with every binding (§10.3 step 8), also those of a write that is still on
    /// its way: so it waits for the last of all.
    fn listed(&self, now: Instant, request: &Request, aor: &Aor) -> RegistrarReply {
        let mut headers = Vec::new();
        for binding in self.store.bindings(aor) {
            // Rounded up: a second that has begun is the phone's.
            let left = binding.remaining(now).as_millis().div_ceil(1_000);
            let mut value = Vec::with_capacity(binding.contact.len() + binding.params.len() + 24);
            value.push(b'<');
            value.extend_from_slice(&binding.contact);
            value.push(b'>');
            value.extend_from_slice(&binding.params);
            value.extend_from_slice(format!(";expires={left}").as_bytes());
            headers.push((Bytes::from_static(b"Contact"), Bytes::from(value)));
        }
        // RFC 3327 §5.3
        if request.header(Name::Path).is_some()
            && request.has_token(Name::Supported, "path")
            && let Ok(path) = wish::path(request)
        {
            headers.push((Bytes::from_static(b"Path"), Bytes::from(path.into_vec())));
        }
        RegistrarReply {
            reply: Reply { status: 200, headers, ..Reply::default() },
            commit: self.store.latest(),
        }
    }

    fn refusal(&self, refusal: Refusal) -> RegistrarReply {
        let header = |name: &'static str, value: String| (Bytes::from(name), Bytes::from(value));
        match refusal {
            Refusal::Bad(reason) => refused(400, reason),
            Refusal::OutOfOrder => refused(500, "Out Of Order"),
            Refusal::TooManyContacts => refused(403, "Too Many Contacts"),
            Refusal::IntervalTooBrief => {
                let mut reply = refused(423, "Interval Too Brief");
                reply.reply.headers.push(header("Min-Expires", self.limits.min.to_string()));
                reply
            }
            Refusal::Overloaded => {
                let mut reply = refused(503, "");
                reply.reply.headers.push(header("Retry-After", "10".to_owned()));
                reply
            }
        }
    }

    /// The contacts at which an AOR is reached, best first: by `q`, then by who
    /// registered for longest.
    pub fn lookup(&self, now: Instant, aor: &Aor) -> Vec<Arc<Binding>> {
        let bindings = self.store.bindings(aor).iter();
        let mut alive: Vec<_> = bindings.filter(|binding| binding.expires > now).cloned().collect();
        alive.sort_by(|a, b| b.q.cmp(&a.q).then(b.expires.cmp(&a.expires)));
        alive
    }

    /// Whether a user is registered from this address: what others do in his name
    /// then does not lock him out.
    pub fn is_known_source(&self, now: Instant, aor: &Aor, source: std::net::IpAddr) -> bool {
        let same = |binding: &Arc<Binding>| {
            binding.expires > now && binding.flow.remote.ip().to_canonical() == source.to_canonical()
        };
        self.store.bindings(aor).iter().any(same)
    }

    /// Asks for a keep-alive at `at`, if the binding needs any.
    fn watch(&mut self, at: Instant, aor: &Aor, binding: &Arc<Binding>) {
        let needed = self.config.keep_alive != KeepAliveKind::Off
            && binding.flow.transport == Transport::Udp
            && binding.behind_nat();
        match needed {
            true => self.keep_alive.set(at, binding.id, aor),
            false => self.keep_alive.clear(binding.id),
        }
    }

    /// When to call [`Registrar::handle_timeout`].
    pub fn next_timeout(&self) -> Option<Instant> {
        [self.expiry.next(), self.keep_alive.next()].into_iter().flatten().min()
    }

    /// Removes what has expired and finds keep-alives that are due.
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
            if let Some(binding) = found.cloned() {
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

    /// What happened, in order.
    pub fn poll_event(&mut self) -> Option<RegistrarEvent> {
        self.events.pop_front()
    }

    /// Where the bindings are kept.
    pub fn store(&self) -> &dyn LocationStore {
        &*self.store
    }

    /// Timer entries held, those that count and all.
    pub fn timers_held(&self) -> (usize, usize) {
        let (expiry, keep_alive) = (self.expiry.held(), self.keep_alive.held());
        (expiry.0 + keep_alive.0, expiry.1 + keep_alive.1)
    }

    /// Counters so far.
    pub fn counters(&self) -> RegistrarCounters {
        self.counters
    }
}

fn refused(status: u16, reason: &str) -> RegistrarReply {
    let reply = Reply { status, reason: reason.to_owned(), ..Reply::default() };
    RegistrarReply { reply, commit: Commit::NONE }
}
