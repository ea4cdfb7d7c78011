//! The identity of a client and its path to other parties: the builder's settings and their validation.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::builder::{ClientBuilder, Fault, Mistakes};
use b2b_call::agent::{self, Credentials, Pace, RegistrationConfig, Roots, Signalling, may_add, sip_uri};

/// The transport of SIP messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// UDP; requests beyond 1,300 octets go by TCP (RFC 3261 §18.1.1).
    Udp,
    /// TCP, without encryption.
    Tcp,
    /// TLS over TCP; the server's certificate is checked, see [`Tls`].
    Tls,
}

/// The certificate authorities that a client trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// PEM file with the certificates of the only authorities to trust, such as a private authority. `None`:
    /// the authorities known to the system.
    pub ca_file: Option<PathBuf>,
    /// Whether server certificates are verified. `false` is for tests: without verification a man in the
    /// middle reads everything, SRTP keys included.
    pub verify: bool,
}

impl Default for Tls {
    fn default() -> Self {
        Tls { ca_file: None, verify: true }
    }
}

impl Tls {
    /// Trusts only servers whose certificate is signed by an authority in this PEM file.
    pub fn ca_file(path: impl Into<PathBuf>) -> Self {
        Tls { ca_file: Some(path.into()), ..Tls::default() }
    }
}

/// The builder's account settings.
#[derive(Clone, Default)]
pub(super) struct Account {
    display_name: Option<String>,
    credentials: Option<(String, String)>,
    realm: Option<String>,
    registrars: Vec<String>,
    expires: Option<Duration>,
    retry: Option<(Duration, Duration)>,
    keep_alive: Option<Duration>,
    instance: Option<String>,
    proxy: Option<String>,
    transport: Option<Transport>,
    tls: Tls,
    headers: Vec<(String, String)>,
}

/// Omits the password.
impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("user", &self.credentials.as_ref().map(|(user, _)| user))
            .field("registrars", &self.registrars)
            .field("proxy", &self.proxy)
            .field("transport", &self.transport)
            .finish_non_exhaustive()
    }
}

impl ClientBuilder {
    /// The display name sent with the identity.
    pub fn display_name(mut self, name: impl Into<String>) -> Self {
        self.account.display_name = Some(name.into());
        self
    }

    /// The credentials that answer digest challenges (MD5, SHA-256 or SHA-512-256; RFC 3261 §22, RFC 8760)
    /// for registrations, calls, and requests within calls.
    pub fn credentials(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.account.credentials = Some((user.into(), password.into()));
        self
    }

    /// Restricts the credentials to this realm. Default: they answer a challenge for any realm.
    pub fn realm(mut self, realm: impl Into<String>) -> Self {
        self.account.realm = Some(realm.into());
        self
    }

    /// Registers the client with this registrar, such as `sip:example.com`, at start, refreshes the
    /// registration, and removes it when the client stops. Repeated calls add fallback servers, tried in
    /// order. Calls to the identity's own domain go to the server in use.
    pub fn registrar(mut self, uri: impl Into<String>) -> Self {
        self.account.registrars.push(uri.into());
        self
    }

    /// The registration lifetime to request; the registrar may grant less. A short registration is refreshed
    /// at half its lifetime, a long one ten minutes before it expires. Default: 5 minutes.
    pub fn register_expires(mut self, expires: Duration) -> Self {
        self.account.expires = Some(expires);
        self
    }

    /// The retry delays after a failed registration: about `first`, then growing up to `longest` (RFC 5626
    /// §4.5). Default: 2 s and 5 minutes.
    pub fn register_retry(mut self, first: Duration, longest: Duration) -> Self {
        self.account.retry = Some((first, longest));
        self
    }

    /// The interval of keep-alives (CRLF CRLF) to the registrar when the registration went over UDP: a NAT on
    /// the path drops its binding after about half a minute of silence, and calls no longer arrive. Default:
    /// 29 s, varied by a fifth. [`Duration::ZERO`] disables them, for a path without NAT or to save power.
    pub fn keep_alive(mut self, every: Duration) -> Self {
        self.account.keep_alive = Some(every);
        self
    }

    /// The instance ID of this device: `urn:uuid:` and a UUID that the program creates once and stores, since
    /// it must be the same after each start (RFC 5626 §4.1). REGISTER then requests an outbound flow. A
    /// registrar that grants it sends calls over the connection that the client opened; the client probes the
    /// flow with keep-alives that the registrar answers, over UDP too (§4.4), and registers again when the
    /// flow has failed; at the registrar a new connection replaces the old one. Without an instance ID, or
    /// with a registrar that does not support flows, the registration is an ordinary one.
    pub fn instance(mut self, urn: impl Into<String>) -> Self {
        self.account.instance = Some(urn.into());
        self
    }

    /// The outbound proxy for all requests: `sip:proxy.example.com;transport=tcp`.
    pub fn outbound_proxy(mut self, uri: impl Into<String>) -> Self {
        self.account.proxy = Some(uri.into());
        self
    }

    /// The transport for requests whose URI names none. Default: as RFC 3263 selects it: UDP, unless DNS
    /// records say otherwise.
    pub fn transport(mut self, transport: Transport) -> Self {
        self.account.transport = Some(transport);
        self
    }

    /// The TLS trust settings. Default: the system's authorities.
    pub fn tls(mut self, tls: Tls) -> Self {
        self.account.tls = tls;
        self
    }

    /// Adds a header field to every INVITE of this client.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.account.headers.push((name.into(), value.into()));
        self
    }
}

impl Account {
    /// Checks these settings and converts them to the agent's.
    pub(super) fn check(self, mistakes: &mut Mistakes) -> (Signalling, Option<RegistrationConfig>) {
        mistakes.take("display_name", self.display_name.as_deref().map_or(Ok(()), plain));
        mistakes.take("credentials", self.credentials.as_ref().map_or(Ok(()), named));
        mistakes.take("realm", realm(self.realm.as_deref(), self.credentials.is_some()));
        for registrar in &self.registrars {
            mistakes.take("registrar", server(registrar, "sip:example.com"));
        }
        let expires = self.expires.unwrap_or(Duration::from_secs(300)).as_secs();
        let expires_s = mistakes.take("register_expires", expiry(expires)).unwrap_or_default();
        let (base, max) = self.retry.unwrap_or((Duration::from_secs(2), Duration::from_secs(300)));
        mistakes.take("register_retry", retry(base, max));
        let keep_alive = self.keep_alive.unwrap_or(Duration::from_secs(29));
        let keep_alive = mistakes.take("keep_alive", ping(keep_alive)).flatten();
        let instance = mistakes.take("instance", self.instance.as_deref().map(uuid).transpose()).flatten();
        mistakes.take(
            "outbound_proxy",
            self.proxy.as_deref().map_or(Ok(()), |it| server(it, "sip:proxy.example.com")),
        );
        let roots = match (self.tls.verify, self.tls.ca_file) {
            (false, _) => Roots::Anybody,
            (true, Some(path)) => Roots::File(path),
            (true, None) => Roots::System,
        };
        let wanted = self.transport == Some(Transport::Tls) || roots != Roots::System;
        let roots = mistakes.take("tls", tls(roots, wanted)).flatten();
        for (name, value) in &self.headers {
            mistakes.take("header", header(name, value));
        }
        let credentials = self.credentials.map(|(username, password)| Credentials {
            username,
            password,
            realm: self.realm,
        });
        let signalling = Signalling {
            display_name: self.display_name,
            credentials,
            proxy: self.proxy,
            transport: self.transport.map(|transport| match transport {
                Transport::Udp => agent::Transport::Udp,
                Transport::Tcp => agent::Transport::Tcp,
                Transport::Tls => agent::Transport::Tls,
            }),
            tls: roots,
            headers: self.headers,
            dns: true,
        };
        // The first wait is at least half of twice the base.
        let pace = Pace { base: base / 2, max, refused: None };
        let registrars = self.registrars;
        let registration = (!registrars.is_empty()).then_some(RegistrationConfig {
            registrars,
            expires_s,
            pace,
            keep_alive,
            instance,
        });
        (signalling, registration)
    }
}

/// A UUID as a URN (RFC 9562 §4), in lower case: registrars compare its octets (RFC 5626 §4.1).
fn uuid(text: &str) -> Result<String, Fault> {
    let lower = text.to_ascii_lowercase();
    let parts: Vec<&str> = lower.strip_prefix("urn:uuid:").unwrap_or_default().split('-').collect();
    let is_hex = |part: &&str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    match parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12]) && parts.iter().all(is_hex) {
        true => Ok(lower),
        false => {
            let fix = "write it like urn:uuid:00000000-0000-1000-8000-00a95a0e128c";
            Err((format!("{text:?} is no UUID as a URN"), fix.to_owned()))
        }
    }
}

fn plain(text: &str) -> Result<(), Fault> {
    match text.chars().any(char::is_control) {
        true => Err((format!("{text:?} holds a control character"), "leave it out".to_owned())),
        false => Ok(()),
    }
}

fn named((user, _): &(String, String)) -> Result<(), Fault> {
    if user.is_empty() {
        return Err(("the user is empty".to_owned(), "give the user name of the account".to_owned()));
    }
    plain(user)
}

fn realm(realm: Option<&str>, known: bool) -> Result<(), Fault> {
    match realm {
        Some(realm) if !known => Err((
            format!("{realm:?} has no credentials"),
            "give them with credentials(user, password)".to_owned(),
        )),
        _ => Ok(()),
    }
}

fn server(uri: &str, example: &str) -> Result<(), Fault> {
    match sip_uri(uri) {
        Ok(parsed) if parsed.host.is_some_and(|host| host.ip().is_none_or(|ip| !ip.is_unspecified())) => {
            Ok(())
        }
        _ => Err((format!("{uri:?} is no URI of a server"), format!("write it like {example}"))),
    }
}

fn expiry(seconds: u64) -> Result<u32, Fault> {
    match u32::try_from(seconds) {
        Ok(seconds @ 1..=604_800) => Ok(seconds),
        _ => Err((format!("{seconds} s is out of range"), "use 1 s to 7 days, such as 300 s".to_owned())),
    }
}

fn retry(first: Duration, longest: Duration) -> Result<(), Fault> {
    match first >= Duration::from_millis(10) && longest >= first && longest <= Duration::from_secs(86_400) {
        true => Ok(()),
        false => Err((
            format!("{first:?} to {longest:?} cannot be"),
            "name the first wait (10 ms or more), then the longest (up to a day)".to_owned(),
        )),
    }
}

fn ping(every: Duration) -> Result<Option<Duration>, Fault> {
    match every {
        Duration::ZERO => Ok(None),
        every if (Duration::from_millis(100)..=Duration::from_secs(3_600)).contains(&every) => {
            Ok(Some(every))
        }
        every => Err((
            format!("{every:?} is out of range"),
            "use 100 ms to an hour, such as 29 s, or Duration::ZERO for none".to_owned(),
        )),
    }
}

fn tls(roots: Roots, wanted: bool) -> Result<Option<Roots>, Fault> {
    // The system's certificates are read only when they are needed.
    match roots.load() {
        Ok(_) => Ok(Some(roots)),
        Err(_) if !wanted => Ok(None),
        Err(why) => {
            Err((why, "name a file of certificates in PEM, or leave it out for the system's".to_owned()))
        }
    }
}

fn header(name: &str, value: &str) -> Result<(), Fault> {
    match may_add(name, value) {
        true => Ok(()),
        false => Err((
            format!("{name:?} cannot be set to {value:?}"),
            "use a field of your own, like X-Account; From, Via and the like are written by b2b".to_owned(),
        )),
    }
}
