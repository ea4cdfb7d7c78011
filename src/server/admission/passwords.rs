//! Authentication of requests by password, and the penalties for wrong ones.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::{ServerAdmission, Turned};
use crate::effective_source::EffectiveSource;
use crate::in_force::registrar;
use crate::origin::Origin;
use b2b_call::event::Event;
use b2b_call::switch::admission::Proof;
use b2b_sip::auth::{Asked, Failure, Side, Standing, Verdict};
use b2b_sip::endpoint::{HeaderFields, Reply};
use b2b_sip::msg::{Method, Name, Request};
use b2b_sip::net::budget::{Bucket, Rate};

/// Rate of log lines about wrong passwords.
const LINES: Rate = Rate { per_second: 1, burst: 30 };

/// How long an address stays known after a correct password came from it, unless a registration keeps it
/// known for longer.
const ACQUAINTED: Duration = Duration::from_secs(3_600);

/// Rate limit for log lines about wrong passwords.
pub(super) struct Lines {
    left: Bucket,
    skipped: u64,
}

impl Lines {
    pub fn new(now: Instant) -> Self {
        Lines { left: Bucket::new(now), skipped: 0 }
    }

    /// Writes a line, or counts it as skipped.
    pub fn write(&mut self, now: Instant, line: impl FnOnce() -> String) {
        if self.left.take(now, LINES).is_err() {
            self.skipped += 1;
            return;
        }
        match std::mem::take(&mut self.skipped) {
            0 => tracing::warn!("{}", line()),
            skipped => tracing::warn!("{} ({skipped} such lines before it were left out)", line()),
        }
    }
}

/// A sender who has given the right password.
pub(super) struct Recognized {
    pub user: String,
    /// It has answered this challenge for the first time.
    pub challenged: bool,
}

impl ServerAdmission {
    /// Authenticates the sender by password.
    pub(super) fn authenticate(
        &mut self,
        now: Instant,
        request: &Request,
        from: EffectiveSource,
        side: Side,
    ) -> Result<Recognized, Turned> {
        self.at(now);
        let source = from.ip();
        let settings = self.settings.clone();
        // A listed proxy stands for many phones, and some proxies hide which one it was.
        let is_proxy = settings.origins.is_proxy(source);
        let known = is_proxy || !matches!(settings.origins.of(source).0, Origin::Unknown);
        let server = &settings.config.server;
        let agent = request.header(Name::UserAgent).and_then(|agent| std::str::from_utf8(agent).ok());
        let md5_only = agent.is_some_and(|agent| server.md5_only.iter().any(|it| it.matches(agent)));
        let asked = Asked { source, realm: &server.realm, side, md5_only };
        let claim = self.digest.claim(now, request, asked);
        let acquainted = claim.as_ref().is_some_and(|claim| {
            claim.acquainted || (!is_proxy && self.is_at_home(now, &claim.user, from.address))
        });
        let looked_at = match &claim {
            Some(claim) => acquainted || self.is_looked_at(now, &claim.user, source, is_proxy),
            None => true,
        };
        let banned = !is_proxy && matches!(self.penalties.source(now, source), Standing::Banned(_));
        // At an address where one of our users is registered, a neighbour's guesses do not ban that user.
        if banned && !(claim.is_some() && looked_at) && !self.parts.known.knows(now, source) {
            self.parts.counters.count(|it| &mut it.banned);
            // Without an answer, a proxy would retry, and then consider us dead.
            return Err(if from.by_proxy { Turned::Once(Reply::status(403)) } else { Turned::Ignored });
        }
        let mut proven = false;
        let (status, headers) = if !looked_at {
            self.parts.counters.count(|it| &mut it.slowed);
            // The same answer as to a wrong password, so that it does not reveal a correct one.
            (side.status(), self.digest.challenge(now, asked, false))
        } else {
            match self.digest.verify(now, request, asked, &*settings.directory) {
                Verdict::Authenticated { user } => {
                    let challenged = claim.is_some_and(|claim| !claim.acquainted);
                    let user = self.recognized(now, from, &user, acquainted);
                    return user.map(|user| Recognized { user, challenged });
                }
                Verdict::Challenge { status, headers } => {
                    self.parts.counters.count(|it| &mut it.challenged);
                    (status, headers)
                }
                Verdict::Rejected { status, headers, user } => {
                    self.rejected(now, from.address, user, request.method(), is_proxy);
                    proven = true;
                    (status, headers)
                }
                Verdict::Malformed => {
                    self.parts.counters.count(|it| &mut it.malformed);
                    (400, HeaderFields::new())
                }
            }
        };
        if !known && !self.channel_limits.answers_stranger(now, from) {
            self.parts.counters.count(|it| &mut it.ignored);
            self.tell_ignored(now, source);
            return Err(Turned::Ignored);
        }
        let reply = Reply { headers, ..Reply::status(status) };
        // A copy of a wrong password must not count as another one.
        Err(if proven { Turned::Away(Proof::Nonce, reply) } else { Turned::Once(reply) })
    }

    /// Whether the penalties so far allow credentials to be verified. `authenticate` verifies those of an
    /// acquaintance in any case: with a nonce that the user's correct password was used with before, or from
    /// the exact address and port that the user is registered from.
    fn is_looked_at(&self, now: Instant, user: &str, source: IpAddr, is_proxy: bool) -> bool {
        self.penalties.pair(now, source, self.name(user)) == Standing::Clear
            && (is_proxy || self.penalties.source(now, source) == Standing::Clear)
    }

    fn is_at_home(&self, now: Instant, user: &str, address: SocketAddr) -> bool {
        let directory = &self.settings.directory;
        let aor = directory.digest_user(user).and_then(|user| directory.aor(user));
        aor.is_some_and(|aor| registrar(&self.parts.registrar).is_registered_from(now, &aor, address))
    }

    /// Maps all aliases of a user to one name, so that aliases give no further attempts.
    fn name<'a>(&'a self, user: &'a str) -> &'a str {
        self.settings.directory.digest_user(user).map_or(user, |found| &found.name)
    }

    /// The password is correct; `user` may be an alias.
    fn recognized(
        &mut self,
        now: Instant,
        from: EffectiveSource,
        user: &str,
        acquainted: bool,
    ) -> Result<String, Turned> {
        let source = from.ip();
        let Some(found) = self.settings.directory.digest_user(user).cloned() else {
            return Err(Turned::Away(Proof::Password, Reply::status(403)));
        };
        self.parts.counters.count(|it| &mut it.authenticated);
        // Authentication by a known nonce or address resets no penalties: otherwise a user's calls would give
        // a neighbour new attempts.
        if !acquainted {
            self.penalties.succeeded(source, &found.name);
        }
        self.channel_limits.was_no_stranger(from);
        self.parts.known.at_home(now, source, now + ACQUAINTED);
        Ok(found.name.clone())
    }

    fn rejected(&mut self, now: Instant, from: SocketAddr, user: String, method: &Method, is_proxy: bool) {
        self.parts.counters.count(|it| &mut it.rejected);
        let source = from.ip();
        let name = self.name(&user).to_owned();
        let Failure { first, pair, source: stands } = self.penalties.failed(now, source, &name);
        match pair {
            Standing::Banned(time) => {
                let time = time.as_secs();
                self.lines.write(now, || {
                    format!(
                        "wrong passwords for {user:?} from {source}: attempts for this user from there are \
                         ignored for {time} s; if it is your phone, correct its password"
                    )
                });
                let reason = format!(
                    "wrong passwords for {user}: only this user is refused, and only from this source"
                );
                self.publish(Event::Banned { source, for_s: time, reason });
            }
            _ if first => {
                self.lines.write(now, || format!("wrong password for {user:?} from {from} ({method})"))
            }
            _ => {}
        }
        // Requests of banned sources are not verified, so this is the start of the ban.
        if let Standing::Banned(time) = stands
            && !is_proxy
        {
            self.parts.counters.count(|it| &mut it.bans);
            tracing::warn!(
                "{source} is banned for {} s: wrong passwords for many users, the last one {user:?}",
                time.as_secs()
            );
            let reason = format!("wrong passwords for many users, most recently {user}");
            self.publish(Event::Banned { source, for_s: time.as_secs(), reason });
            if !self.parts.known.knows(now, source) {
                self.bans.push_back(self.settings.ban(source, now + time));
            }
        }
        self.publish(Event::AuthenticationFailed { source, user, method: method.to_string() });
    }
}
