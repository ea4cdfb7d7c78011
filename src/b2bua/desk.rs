//! The server's front desk: passwords, trusted addresses, REGISTER.

use std::time::{Instant, SystemTime};

use super::in_force::{Current, SharedRegistrar, registrar};
use super::origin::Origin;
use super::settings;
use crate::call::bus::EventBus;
use crate::call::event::Event;
use crate::call::lookup::Credentials;
use crate::call::switch::desk::{Admission, Fate, FrontDesk};
use crate::sip::auth::{Asked, Authorized, DigestClient, DigestServer, Penalties, Side, Standing, Verdict};
use crate::sip::endpoint::{Flow, HeaderFields, Reply};
use crate::sip::msg::{Method, Name, Request, Response};
use crate::sip::registrar::{Commit, Outcome, RegistrarEvent};

/// Decides who may call and register.
pub struct ServerDesk {
    current: Current,
    registrar: SharedRegistrar,
    digest: DigestServer,
    penalties: Penalties,
    bus: EventBus,
    seed: [u8; 32],
    /// The time of the turn, for people; and how far apart the clocks are.
    wall: SystemTime,
    start: (Instant, SystemTime),
}

impl ServerDesk {
    /// A desk; `seed` from the operating system's generator.
    pub fn new(
        current: Current,
        registrar: SharedRegistrar,
        bus: EventBus,
        seed: [u8; 32],
        (now, wall): (Instant, SystemTime),
    ) -> Self {
        let config = &current.get().config;
        ServerDesk {
            digest: DigestServer::new(settings::digest(config), seed, now),
            penalties: Penalties::new(settings::penalties(config), now),
            current,
            registrar,
            bus,
            seed,
            wall,
            start: (now, wall),
        }
    }

    /// Who sends this: `Ok(None)` is trusted for where he is.
    fn admit(
        &mut self,
        now: Instant,
        request: &Request,
        flow: &Flow,
        side: Side,
    ) -> Result<Option<String>, Reply> {
        self.wall = self.start.1 + now.saturating_duration_since(self.start.0);
        let settings = self.current.get();
        let source = flow.remote.ip();
        if !matches!(settings.origins.of(source).0, Origin::Unknown) {
            return Ok(None);
        }
        if let Standing::Wait(wait) | Standing::Banned(wait) = self.penalties.source(now, source) {
            let wait = wait.as_secs().max(1).to_string();
            return Err(Reply { headers: vec![("Retry-After".into(), wait.into())], ..Reply::status(503) });
        }
        let server = &settings.config.server;
        let agent = request.header(Name::UserAgent).and_then(|agent| std::str::from_utf8(agent).ok());
        let md5_only = agent.is_some_and(|agent| server.md5_only.iter().any(|it| it.matches(agent)));
        let asked = Asked { source, realm: &server.realm, side, md5_only };
        match self.digest.verify(now, request, asked, &*settings.directory) {
            Verdict::Authenticated { user } => {
                self.penalties.succeeded(source);
                let name = settings.directory.digest_user(&user).map(|user| user.name.clone());
                name.map(Some).ok_or_else(|| Reply::status(403))
            }
            Verdict::Challenge { status, headers } => Err(Reply { headers, ..Reply::status(status) }),
            Verdict::Rejected { status, headers, user } => {
                let method = request.method().to_string();
                self.publish(Event::AuthenticationFailed { source, user: user.clone(), method });
                if let Standing::Banned(time) = self.penalties.failed(now, source, &user) {
                    let reason = format!("too many wrong passwords, the last one for {user}");
                    self.publish(Event::Banned { source, for_s: time.as_secs(), reason });
                }
                Err(Reply { headers, ..Reply::status(status) })
            }
            Verdict::Malformed => Err(Reply::status(400)),
        }
    }

    fn register(&mut self, now: Instant, request: &Request, flow: &Flow) -> Fate {
        let user = match self.admit(now, request, flow, Side::Server) {
            Ok(user) => user,
            Err(reply) => return Fate::Reply(reply),
        };
        let settings = self.current.get();
        let mut registrar_now = registrar(&self.registrar);
        let answer = registrar_now.handle(now, request, flow, user.as_deref(), &*settings.directory);
        let events: Vec<_> = std::iter::from_fn(|| registrar_now.poll_event()).collect();
        let progress = registrar_now.store().progress();
        let pending =
            answer.commit != Commit::NONE && registrar_now.store().outcome(answer.commit) == Outcome::Pending;
        drop(registrar_now);
        for event in events {
            self.registered(now, event);
        }
        let (commit, reply) = (answer.commit, answer.reply);
        match progress.filter(|_| pending) {
            None => Fate::Reply(reply),
            Some(mut progress) => {
                // A crash must not undo what the phone has been told.
                let shared = self.registrar.clone();
                Fate::Later(Box::pin(async move {
                    while registrar(&shared).store().outcome(commit) == Outcome::Pending {
                        if progress.changed().await.is_err() {
                            break;
                        }
                    }
                    reply
                }))
            }
        }
    }

    fn registered(&self, now: Instant, event: RegistrarEvent) {
        let event = match event {
            RegistrarEvent::Registered { aor, binding } | RegistrarEvent::Refreshed { aor, binding } => {
                Event::Registered {
                    aor: aor.to_string(),
                    contact: binding.contact_str().into_owned(),
                    expires_s: binding.expires.saturating_duration_since(now).as_secs() as u32,
                    source: Some(binding.flow.remote),
                }
            }
            RegistrarEvent::Removed { aor, binding, why } => Event::Unregistered {
                aor: aor.to_string(),
                contact: binding.contact_str().into_owned(),
                expired: why == crate::sip::registrar::Removal::Expired,
            },
        };
        self.publish(event);
    }

    fn publish(&self, event: Event) {
        self.bus.publish(self.wall, event);
    }
}

impl FrontDesk for ServerDesk {
    fn invite(&mut self, now: Instant, request: &Request, flow: &Flow) -> Admission {
        match self.admit(now, request, flow, Side::Proxy) {
            Ok(identity) => Admission::Accept { identity },
            Err(reply) => Admission::Refuse(reply),
        }
    }

    fn request(&mut self, now: Instant, request: &Request, flow: &Flow) -> Fate {
        match request.method() {
            Method::Register => self.register(now, request, flow),
            _ => Fate::Reply(Reply::status(405)),
        }
    }

    fn credentials(
        &mut self,
        challenge: &Response,
        method: &Method,
        credentials: &Credentials,
        target: &str,
    ) -> Option<HeaderFields> {
        let mut client = DigestClient::new(&credentials.username, &credentials.password, self.seed);
        // The same numbers twice would be the same cnonce twice.
        self.seed = rand::random();
        if let Err(error) = client.challenged(challenge, &Authorized::default()) {
            tracing::warn!("a gateway's challenge cannot be answered: {error}");
            return None;
        }
        Some(client.authorize(method, target.as_bytes()).headers)
    }
}
