//! TLS for accepted connections: which certificate is presented, and which listeners request
//! one.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

use super::certificate_names::names;
use super::client_verifier::ClientVerifier;
use super::tls::provider;
use super::tls_files::{AskClient, Contents, PairPem, Pem, TlsError, TlsFiles};

/// The acceptors of all listeners.
pub(super) struct Inward {
    /// For listeners that request no client certificate.
    open: TlsAcceptor,
    asking: HashMap<SocketAddr, TlsAcceptor>,
}

impl Inward {
    /// Builds the acceptors from these files; `None` if there is no certificate of ours.
    pub fn new(files: &TlsFiles, contents: &Contents) -> Result<Option<Self>, TlsError> {
        let Some(first) = &files.certificate else { return Ok(None) };
        let mut shown = Shown::new(PairPem::of(contents, first).certified_key()?);
        for further in &files.further {
            let pair = PairPem::of(contents, further);
            if !shown.add(pair.certified_key()?) {
                return Err(TlsError::NoNames { path: pair.path() });
            }
        }
        let shown = Arc::new(shown);
        let mut asking = HashMap::new();
        for (listener, ask) in &files.asking {
            let path = files.client_authorities.as_ref().ok_or(TlsError::NoClientAuthorities)?;
            let roots = Pem::of(contents, path).authorities()?;
            let verifier = ClientVerifier::new(roots, *ask == AskClient::Require, provider());
            asking.insert(*listener, acceptor(&shown, Some(verifier))?);
        }
        Ok(Some(Inward { open: acceptor(&shown, None)?, asking }))
    }

    /// The acceptor of a listener, by its configured address.
    pub fn at(&self, listener: SocketAddr) -> TlsAcceptor {
        self.asking.get(&listener).unwrap_or(&self.open).clone()
    }
}

fn acceptor(shown: &Arc<Shown>, verifier: Option<ClientVerifier>) -> Result<TlsAcceptor, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let config = match verifier {
        None => builder.with_no_client_auth().with_cert_resolver(shown.clone()),
        Some(verifier) => {
            let builder = builder.with_client_cert_verifier(Arc::new(verifier));
            let mut config = builder.with_cert_resolver(shown.clone());
            // A resumed session presents no certificate: it would be accepted because of an
            // earlier certificate, even if the authorities have changed since.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
            config
        }
    };
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Our certificates, selected by SNI (RFC 6066 §3).
#[derive(Debug)]
struct Shown {
    first: Arc<CertifiedKey>,
    /// By name in lower case, with `*.` for one label.
    by_name: HashMap<String, Arc<CertifiedKey>>,
}

impl Shown {
    fn new(first: Arc<CertifiedKey>) -> Self {
        let mut shown = Shown { first: first.clone(), by_name: HashMap::new() };
        shown.add(first);
        shown
    }

    /// Adds a certificate; of two with the same name the earlier one is presented. `false` if
    /// it has no name.
    fn add(&mut self, key: Arc<CertifiedKey>) -> bool {
        let names = key.end_entity_cert().map(names).unwrap_or_default();
        let has_some = !names.is_empty();
        for name in names {
            self.by_name.entry(name).or_insert_with(|| key.clone());
        }
        has_some
    }

    fn of(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        let wildcard = || self.by_name.get(&format!("*.{}", name.split_once('.')?.1));
        self.by_name.get(&name).or_else(wildcard)
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|name| self.of(name));
        Some(named.unwrap_or(&self.first).clone())
    }
}
