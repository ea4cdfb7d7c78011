//! REGISTER to a provider, and its answers.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::registration::{Answer, Order, Registration};
use crate::b2bua::board::RegistrationState;
use crate::b2bua::routing::escaped;
use crate::call::event::Event;
use crate::call::switch::Turn;
use crate::config::server::Gateway;
use crate::sip::auth::{Authorized, DigestClient};
use crate::sip::endpoint::{InviteError, OutOfDialog, RequestFailure, RequestIdentity};
use crate::sip::msg::{Method, Name, Response, Uri};

/// An expiry that 423 may ask for at most.
const LONGEST: u32 = 7 * 24 * 3_600;

/// A registration at work.
pub(super) struct Client {
    pub machine: Registration,
    pub state: RegistrationState,
    digest: DigestClient,
    /// The credentials of the request that is on its way.
    sent: Authorized,
    identity: Option<RequestIdentity>,
    host: usize,
    /// What we ask for, seconds.
    expires: u32,
    /// User part of our address there and of our contact.
    user: String,
}

impl Client {
    /// For a gateway that asks for one.
    pub fn new(gateway: &Gateway, seed: [u8; 32]) -> Option<Self> {
        let (expires, auth) = (gateway.register?, gateway.auth.as_ref()?);
        Some(Client {
            machine: Registration::new(gateway.hosts.len(), seed),
            state: RegistrationState::default(),
            digest: DigestClient::new(&auth.username, auth.password.reveal(), seed),
            sent: Authorized::default(),
            identity: None,
            host: 0,
            expires: u32::try_from(expires.as_secs()).unwrap_or(u32::MAX),
            user: escaped(&auth.username),
        })
    }

    /// User part of our contact.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The next REGISTER. One Call-ID for all of them (RFC 3261 §10.2.4).
    pub fn register(
        &mut self,
        gateway: &Gateway,
        next_host: bool,
        end: bool,
        t: &mut Turn<'_>,
    ) -> OutOfDialog {
        if next_host {
            self.host = (self.host + 1) % gateway.hosts.len().max(1);
        }
        let identity = match &self.identity {
            Some(identity) => identity.next(),
            None => t.sip.identify(),
        };
        self.identity = Some(identity.clone());
        let way = uri(gateway, self.host);
        let target = registrar(gateway, self.host);
        self.sent = self.digest.authorize(&Method::Register, target.as_bytes());
        let user = self.user.clone();
        let address = Bytes::from(format!("<sip:{user}@{}>", domain(gateway, self.host)));
        let expires = if end { 0 } else { self.expires };
        let mut headers = self.sent.headers.clone();
        headers.push((Bytes::from_static(b"Expires"), Bytes::from(expires.to_string())));
        OutOfDialog {
            from: Some(address.clone()),
            to: Some(address),
            identity: Some(identity),
            outbound: (way != target).then(|| way.into()),
            contact_user: Some(user.into()),
            contact: Some(Bytes::new()),
            headers,
            ..OutOfDialog::new(Method::Register, target)
        }
    }

    /// It could not be sent at all.
    pub fn unsent(&mut self, now: Instant, error: &InviteError) -> Order {
        self.failed(None, error.to_string());
        self.machine.answered(now, Answer::Failed { retry_after: None })
    }

    /// Takes what became of it. `contact` is ours as the request had it.
    pub fn answered(
        &mut self,
        now: Instant,
        result: &Result<Response, RequestFailure>,
        contact: Option<&str>,
    ) -> Order {
        let answer = match result {
            Ok(response) => self.answer(response, contact),
            Err(failure) => {
                self.failed(None, failure.to_string());
                Answer::Failed { retry_after: None }
            }
        };
        let order = self.machine.answered(now, answer);
        self.state.registered = self.machine.state().is_in_force();
        order
    }

    fn answer(&mut self, response: &Response, contact: Option<&str>) -> Answer {
        let status = response.status();
        let words = || format!("{status} {}", String::from_utf8_lossy(response.reason()));
        match status {
            200..300 => {
                self.digest.accepted(&self.sent);
                self.state = RegistrationState {
                    registered: true,
                    failed: false,
                    status: Some(status),
                    reason: words(),
                };
                let granted = granted(response, contact).unwrap_or(self.expires);
                Answer::Accepted { granted: Duration::from_secs(u64::from(granted.max(1))) }
            }
            401 | 407 => match self.digest.challenged(response, &self.sent) {
                Ok(()) => Answer::Again,
                Err(error) => {
                    self.failed(Some(status), error.to_string());
                    Answer::Refused
                }
            },
            423 => match response.number::<u32>(Name::MinExpires).ok().flatten() {
                Some(least) if least > self.expires && least <= LONGEST => {
                    self.expires = least;
                    Answer::Again
                }
                _ => {
                    self.failed(Some(status), words());
                    Answer::Refused
                }
            },
            300..=399 | 408 | 429 | 480 | 500..=599 => {
                self.failed(Some(status), words());
                let seconds = response.number::<u32>(Name::RetryAfter).ok().flatten();
                Answer::Failed { retry_after: seconds.map(|it| Duration::from_secs(u64::from(it))) }
            }
            _ => {
                self.failed(Some(status), words());
                Answer::Refused
            }
        }
    }

    fn failed(&mut self, status: Option<u16>, reason: String) {
        self.state.failed = true;
        (self.state.status, self.state.reason) = (status, reason);
    }

    /// How it stands.
    pub fn event(&mut self, gateway: &str) -> Event {
        self.state.registered = self.machine.state().is_in_force();
        let RegistrationState { registered, status, reason, .. } = self.state.clone();
        Event::GatewayRegistration { gateway: gateway.to_owned(), registered, status, reason }
    }

    /// A line for what the last answer came to.
    pub fn log(&self, name: &str, now: Instant, leaving: bool) {
        let due = self.machine.due().map(|at| at.saturating_duration_since(now).as_secs());
        let RegistrationState { registered, failed, reason, .. } = &self.state;
        match (due, failed) {
            _ if leaving => tracing::info!("gateway {name}: the registration ends: {reason}"),
            (Some(due), true) => {
                let still = if *registered { "still registered" } else { "not registered" };
                tracing::warn!("gateway {name}: {still}: {reason}; the next attempt is in {due} s");
            }
            (Some(due), false) => {
                tracing::info!("gateway {name}: registered: {reason}; it is refreshed in {due} s");
            }
            (None, _) => {}
        }
    }
}

/// Where requests to a host go: `sip:host:port;transport=udp`.
pub(super) fn uri(gateway: &Gateway, host: usize) -> String {
    let name = gateway.hosts.get(host).map(ToString::to_string).unwrap_or_default();
    match gateway.transport {
        Some(transport) => format!("sip:{name};transport={}", transport.as_str().to_ascii_lowercase()),
        None => format!("sip:{name}"),
    }
}

/// The Request-URI: the provider's domain, if it is known, else its host.
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

/// For how long: of our contact among those that the answer lists (§10.2.4), else what
/// Expires says.
fn granted(response: &Response, contact: Option<&str>) -> Option<u32> {
    let ours = contact.and_then(|contact| Uri::parse(contact.as_bytes()).ok());
    let listed: Vec<_> = response.contacts().flatten().collect();
    let is_ours = |uri: &Uri<'_>| ours.as_ref().is_some_and(|ours| uri.equivalent(ours));
    let one = if let [one] = &listed[..] { Some(one) } else { None };
    let found = listed.iter().find(|it| is_ours(&it.uri)).or(one);
    let seconds = |value: &[u8]| std::str::from_utf8(value).ok()?.trim().parse().ok();
    found
        .and_then(|it| it.params.value("expires").and_then(seconds))
        .or_else(|| response.number::<u32>(Name::Expires).ok().flatten())
}
