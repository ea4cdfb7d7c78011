//! An agent's identity, and its routes to others (RFC 3261 §8.1.2).

use std::fmt;
use std::path::PathBuf;

use bytes::Bytes;

use super::AgentError;
use b2b_sip::auth::DigestClient;
use b2b_sip::endpoint::{HeaderFields, check_headers};
use b2b_sip::msg::{Host, NameAddr, Scheme, Uri};
use b2b_sip::net::{NameService, Tls};

pub use crate::lookup::Credentials;
pub use b2b_sip::msg::Transport;

/// How others see us, and how we reach them.
#[derive(Debug, Clone, Default)]
pub struct Signalling {
    /// The display name in From.
    pub display_name: Option<String>,
    /// For 401 and 407. Without a realm they answer every challenge.
    pub credentials: Option<Credentials>,
    /// The URI of an outbound proxy: every request that starts a dialog or transaction goes there, with
    /// Route, and later requests of the calls take the same way.
    pub proxy: Option<String>,
    /// Transport of requests whose URI does not specify one.
    pub transport: Option<Transport>,
    /// Which certificates are trusted; `None`: there is no TLS.
    pub tls: Option<Roots>,
    /// Further header fields of every INVITE, as names and values.
    pub headers: Vec<(String, String)>,
    /// Names are looked up as in RFC 3263 (with the feature `dns`), not by the system's resolver.
    pub dns: bool,
}

/// Which certificates are trusted on TLS connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Roots {
    /// Those of the system's certificate authorities.
    System,
    /// Those of the authorities in this PEM file only.
    File(PathBuf),
    /// All certificates. An attacker on the path can read and change everything; for tests only.
    Anybody,
}

impl Roots {
    /// The TLS settings for the SIP stack.
    ///
    /// # Errors
    /// The file cannot be used, or this build has no TLS.
    #[cfg(feature = "tls")]
    pub fn load(&self) -> Result<Tls, String> {
        use b2b_sip::net::TlsFiles;
        let authorities = match self {
            Roots::File(path) => Some(path.clone()),
            Roots::System | Roots::Anybody => None,
        };
        let unverified = *self == Roots::Anybody;
        Tls::load(TlsFiles { authorities, unverified, ..TlsFiles::default() })
            .map_err(|error| error.to_string())
    }

    /// Fails: there is no TLS in this build.
    #[cfg(not(feature = "tls"))]
    pub fn load(&self) -> Result<Tls, String> {
        Err("this build has no TLS; build b2b with the feature `tls`".to_owned())
    }
}

/// Options of one outgoing call.
#[derive(Debug, Clone, Default)]
pub struct DialAs {
    /// The URI in From, instead of the agent's.
    pub identity: Option<String>,
    /// For 401 and 407, instead of the agent's.
    pub credentials: Option<Credentials>,
    /// Further header fields of its INVITE, after those of every INVITE, as names and values.
    pub headers: Vec<(String, String)>,
}

/// The route of a request.
#[derive(Debug, Default)]
pub(super) struct Way {
    pub route: Vec<Bytes>,
    pub outbound: Option<Bytes>,
    /// It is the route of our registration.
    pub home: bool,
}

impl Signalling {
    /// The name service that resolves hosts.
    pub(super) fn names(&self) -> NameService {
        #[cfg(feature = "dns")]
        if self.dns {
            return NameService::Dns(None);
        }
        NameService::System
    }

    /// The name-addr for our From and To: `"Alice" <sip:alice@example.com>`.
    pub(super) fn address(&self, uri: &str) -> String {
        match &self.display_name {
            Some(name) => {
                format!("\"{}\" <{uri}>", name.replace('\\', "\\\\").replace('"', "\\\""))
            }
            None => format!("<{uri}>"),
        }
    }

    /// The route to `target`. `registrar`: where targets in our own domain are reached.
    pub(super) fn way(&self, target: &Uri<'_>, identity: Option<&str>, registrar: Option<&str>) -> Way {
        if let Some(proxy) = &self.proxy {
            return Way { route: vec![self.route(proxy)], outbound: None, home: true };
        }
        let own = identity.and_then(|uri| Uri::parse(uri.as_bytes()).ok());
        let port = |uri: &Uri<'_>| uri.port.unwrap_or(5060);
        let at_home = own
            .is_some_and(|own| host(&own).eq_ignore_ascii_case(&host(target)) && port(&own) == port(target));
        let registrar = registrar.filter(|_| at_home && target.scheme == Scheme::Sip);
        let outbound = match registrar {
            Some(registrar) => Some(self.by_transport(registrar).unwrap_or_else(|| registrar.to_owned())),
            None => self.way_of(target),
        };
        Way { route: Vec::new(), outbound: outbound.map(Bytes::from), home: registrar.is_some() }
    }

    /// The proxy as a name-addr for Route, always with `lr`.
    pub(super) fn route(&self, proxy: &str) -> Bytes {
        let mut uri = self.by_transport(proxy).unwrap_or_else(|| proxy.to_owned());
        if Uri::parse(uri.as_bytes()).is_ok_and(|uri| !uri.is_loose_router()) {
            uri.push_str(";lr");
        }
        format!("<{uri}>").into()
    }

    /// A URI with our transport, if it has none of its own.
    pub(super) fn by_transport(&self, uri: &str) -> Option<String> {
        let transport = self.transport?;
        let parsed = Uri::parse(uri.as_bytes()).ok()?;
        let open = parsed.scheme == Scheme::Sip && parsed.transport().is_none() && parsed.headers.is_none();
        open.then(|| format!("{uri};transport={}", transport.as_str().to_ascii_lowercase()))
    }

    /// The address of a target with our transport.
    fn way_of(&self, target: &Uri<'_>) -> Option<String> {
        let transport = self.transport?;
        if target.scheme != Scheme::Sip
            || target.transport().is_some()
            || target.params.value("maddr").is_some()
        {
            return None;
        }
        let port = target.port.map(|port| format!(":{port}")).unwrap_or_default();
        Some(format!("sip:{}{port};transport={}", host(target), transport.as_str().to_ascii_lowercase()))
    }
}

/// A digest client for challenges.
pub(super) fn digest(Credentials { username, password, realm }: &Credentials) -> DigestClient {
    let client = DigestClient::new(username, password, rand::random());
    match realm {
        Some(realm) => client.only_for(realm),
        None => client,
    }
}

/// A host as written in a URI.
pub(super) fn host(uri: &Uri<'_>) -> String {
    match uri.host {
        Some(Host::V6(ip)) => format!("[{ip}]"),
        Some(Host::V4(ip)) => ip.to_string(),
        Some(Host::Name(name)) => name.to_string(),
        None => String::new(),
    }
}

/// Header fields in the endpoint's form.
pub(super) fn fields(texts: &[(String, String)]) -> HeaderFields {
    let bytes = |text: &String| Bytes::copy_from_slice(text.as_bytes());
    texts.iter().map(|(name, value)| (bytes(name), bytes(value))).collect()
}

/// Whether this header field can be added to our requests: b2b writes some of them itself.
pub fn may_add(name: &str, value: &str) -> bool {
    check_headers(&fields(&[(name.to_owned(), value.to_owned())])).is_ok()
}

/// Checks a URI of the configuration.
///
/// # Errors
/// No request can be sent to it.
pub fn sip_uri(text: &str) -> Result<Uri<'_>, AgentError> {
    let bad =
        |reason: &dyn fmt::Display| AgentError::Target { uri: text.to_owned(), reason: reason.to_string() };
    let uri = Uri::parse(text.as_bytes()).map_err(|error| bad(&error))?;
    let sip = matches!(uri.scheme, Scheme::Sip | Scheme::Sips) && uri.headers.is_none();
    let addressable = NameAddr::parse(format!("<{text}>").as_bytes()).is_some();
    if sip && addressable { Ok(uri) } else { Err(bad(&"not a sip: or sips: URI of a server")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(signalling: &Signalling, target: &str) -> (Vec<Bytes>, Option<Bytes>) {
        let uri = Uri::parse(target.as_bytes()).unwrap();
        let way = signalling.way(&uri, Some("sip:alice@example.com"), Some("sip:10.0.0.1:5070"));
        (way.route, way.outbound)
    }

    #[test]
    fn everything_goes_to_the_proxy_and_else_home_to_the_registrar_and_else_where_it_says() {
        let plain = Signalling::default();
        assert_eq!(way(&plain, "sip:bob@elsewhere.example"), (vec![], None));
        assert_eq!(way(&plain, "sip:bob@example.com"), (vec![], Some("sip:10.0.0.1:5070".into())));
        let tcp = Signalling { transport: Some(Transport::Tcp), ..Signalling::default() };
        let elsewhere = "sip:elsewhere.example:5080;transport=tcp";
        assert_eq!(way(&tcp, "sip:bob@elsewhere.example:5080"), (vec![], Some(elsewhere.into())));
        assert_eq!(way(&tcp, "sip:bob@elsewhere.example;transport=udp"), (vec![], None));
        assert_eq!(way(&tcp, "sips:bob@elsewhere.example"), (vec![], None));
        let home = "sip:10.0.0.1:5070;transport=tcp";
        assert_eq!(way(&tcp, "sip:bob@Example.com:5060"), (vec![], Some(home.into())));
        let proxied = Signalling { proxy: Some("sip:proxy.example".into()), ..tcp };
        let route = "<sip:proxy.example;transport=tcp;lr>";
        assert_eq!(way(&proxied, "sip:bob@example.com"), (vec![route.into()], None));
    }

    #[test]
    fn a_display_name_is_quoted() {
        let named = Signalling { display_name: Some("Al \"x\" \\".into()), ..Signalling::default() };
        assert_eq!(named.address("sip:a@b"), r#""Al \"x\" \\" <sip:a@b>"#);
    }
}
