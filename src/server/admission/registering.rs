//! REGISTER at admission control: bindings, and their events.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::passwords::Recognized;
use super::{ServerAdmission, Turned};
use crate::in_force::registrar;
use crate::registrar::{Commit, KeepAlive, KeepAliveKind, Outcome, RegistrarEvent, Removal, Sender};
use b2b_call::event::Event;
use b2b_call::policy::{Asker, Party, Place, Way, decide};
use b2b_call::switch::Turn;
use b2b_call::switch::admission::{Fate, Proof};
use b2b_sip::auth::Side;
use b2b_sip::endpoint::{Flow, OutOfDialog, Reply};
use b2b_sip::known::network;
use b2b_sip::msg::{Method, Request};

impl ServerAdmission {
    pub(super) fn register(&mut self, t: &mut Turn<'_>, request: &Request, flow: &Flow) -> Fate {
        let now = t.now;
        let source = self.source(request, flow);
        // A trusted address is not authenticated as a user, so it may not change bindings.
        let Recognized { user, challenged } = match self.authenticate(now, request, source, Side::Server) {
            Ok(sender) => sender,
            Err(turned) => match self.turned(now, request, source, turned) {
                Turned::Away(proof, reply) => return Fate::Reply(proof, reply),
                Turned::Once(reply) => return Fate::ReplyOnce(reply),
                Turned::Ignored => return Fate::Ignore,
            },
        };
        self.prove(flow);
        let mut registrar_now = registrar(&self.parts.registrar);
        let is_open = |flow: &Flow| t.sip.is_open(flow);
        let sender =
            Sender { flow, source: source.address, user: Some(&user), challenged, is_open: &is_open };
        let answer = registrar_now.handle(now, request, sender, &*self.settings.directory);
        let events: Vec<_> = std::iter::from_fn(|| registrar_now.poll_event()).collect();
        let progress = registrar_now.store().progress();
        let (unnamed_proxy, at_own_port) = (answer.unnamed_proxy, answer.local_phone);
        let outcome = match answer.commit {
            Commit::NONE => Outcome::Kept,
            commit => registrar_now.store().outcome(commit),
        };
        drop(registrar_now);
        for event in events {
            self.registered(now, event);
        }
        self.tell_refused(now, request, (&format!("user/{user}"), source.address), &answer.reply);
        if unnamed_proxy {
            self.proxy_not_named(now, flow.remote.ip(), user);
        }
        if at_own_port && self.told.is_new(now, flow.remote.ip()) {
            tracing::warn!(
                "{} on this host registers another port than it sends from, and is called at the latter; to call \
                 it at its Contact, set [registrar] local_phones = true",
                flow.remote
            );
        }
        let (commit, reply) = (answer.commit, answer.reply);
        match progress.filter(|_| outcome == Outcome::Pending) {
            None => Fate::Reply(Proof::Password, kept(outcome, reply)),
            Some(mut progress) => {
                // A crash must not undo the state that the phone has been told of.
                let shared = self.parts.registrar.clone();
                let replied = async move {
                    loop {
                        let outcome = registrar(&shared).store().outcome(commit);
                        if outcome != Outcome::Pending || progress.changed().await.is_err() {
                            return kept(outcome, reply);
                        }
                    }
                };
                Fate::Later(Proof::Password, Box::pin(replied))
            }
        }
    }

    /// Either a proxy of ours missing in the configuration, or a lying phone: reported at most once per
    /// source in a period.
    fn proxy_not_named(&mut self, now: Instant, source: IpAddr, user: String) {
        if self.told.is_new(now, source) {
            let why = decide(Asker::new(Party::User(&user)), Way::Path, Place::Elsewhere).why;
            tracing::warn!(
                "{source} registers {user} with Path or a second Via, which is ignored: {why}; if it is your \
                 proxy, add [registrar] proxies = [\"{source}\"]"
            );
            self.publish(Event::ProxyNotNamed { source, user });
        }
    }

    fn registered(&self, now: Instant, event: RegistrarEvent) {
        let event = match event {
            RegistrarEvent::Registered { aor, binding } | RegistrarEvent::Refreshed { aor, binding } => {
                self.parts.known.at_home(now, binding.flow.remote.ip(), binding.expires);
                Event::Registered {
                    aor: aor.to_string(),
                    contact: binding.contact_str().into_owned(),
                    expires_s: binding.expires.saturating_duration_since(now).as_secs() as u32,
                    source: Some(binding.source),
                }
            }
            RegistrarEvent::Removed { aor, binding, why } => Event::Unregistered {
                aor: aor.to_string(),
                contact: binding.contact_str().into_owned(),
                expired: why == Removal::Expired,
                evicted: why == Removal::Evicted,
            },
        };
        self.publish(event);
    }

    /// Removes expired bindings, and keeps those behind a NAT reachable.
    pub(super) fn work_of_registrar(&mut self, t: &mut Turn<'_>) {
        let mut registrar_now = registrar(&self.parts.registrar);
        if registrar_now.next_timeout().is_none_or(|at| at > t.now) {
            return;
        }
        registrar_now.handle_timeout(t.now);
        let events: Vec<_> = std::iter::from_fn(|| registrar_now.poll_event()).collect();
        let keep_alives: Vec<_> = std::iter::from_fn(|| registrar_now.poll_keep_alive()).collect();
        drop(registrar_now);
        for event in events {
            self.registered(t.now, event);
        }
        for keep_alive in keep_alives {
            self.parts.counters.count(|it| &mut it.keep_alives);
            keep_alive_to(t, &keep_alive);
        }
    }
}

/// Sources that have been reported lately.
#[derive(Debug, Default)]
pub(super) struct Told(HashMap<IpAddr, Instant>);

/// Period in which a source is not reported again.
const SAID_ENOUGH: Duration = Duration::from_secs(600);
/// Maximum sources tracked; further ones are not reported meanwhile.
const MAX_TOLD: usize = 1_024;

impl Told {
    fn is_new(&mut self, now: Instant, source: IpAddr) -> bool {
        let source = network(source);
        let lately = |at: &Instant| now.saturating_duration_since(*at) < SAID_ENOUGH;
        if self.0.get(&source).is_some_and(lately) {
            return false;
        }
        if self.0.len() >= MAX_TOLD {
            self.0.retain(|_, at| lately(at));
        }
        let room = self.0.len() < MAX_TOLD;
        if room {
            self.0.insert(source, now);
        }
        room
    }
}

/// Replies 500 instead if the binding would not survive a restart (RFC 3261 §10.3 step 7).
fn kept(outcome: Outcome, reply: Reply) -> Reply {
    if outcome == Outcome::Kept { reply } else { Reply::status(500) }
}

/// Sends a CRLF keep-alive, or OPTIONS; OPTIONS also where the flow was lost by a restart.
fn keep_alive_to(t: &mut Turn<'_>, keep_alive: &KeepAlive) {
    let binding = &keep_alive.binding;
    let flow = binding.flow.flow();
    if let (KeepAliveKind::Crlf, Some(flow)) = (keep_alive.kind, flow) {
        t.sip.keep_alive(flow);
        return;
    }
    let target = binding.contact_str().into_owned();
    let outbound = flow.is_none().then(|| binding.flow.remote_uri().into());
    let options = OutOfDialog { flow, outbound, ..OutOfDialog::new(Method::Options, target) };
    if let Err(error) = t.sip.request_outside(t.now, options) {
        tracing::debug!("{}: no keep-alive: {error}", keep_alive.aor);
    }
}
