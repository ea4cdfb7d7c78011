//! TLS for outgoing connections: our certificate, and the authorities for verifying the peer.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::connection::Halves;
use super::tls::provider;
use super::tls_files::{Contents, PairPem, PeerTls, Pem, TlsError, TlsFiles};
use super::unverified::Anybody;

/// Number of the default settings.
pub(super) const USUAL: u64 = 0;

/// The last number given to other settings.
static LAST: AtomicU64 = AtomicU64::new(USUAL);

/// TLS settings for outgoing connections. Clones share them.
#[derive(Clone)]
pub(super) struct Outward(Arc<Settings>);

struct Settings {
    /// Connections made with other settings are not reused for these.
    number: u64,
    parts: Parts,
    /// Built on first use, because the system has many authorities.
    config: OnceLock<Arc<ClientConfig>>,
}

#[derive(PartialEq, Eq)]
struct Parts {
    certificate: Option<PairPem>,
    /// `None` for the system's authorities.
    authorities: Option<Pem>,
    unverified: bool,
    name: Option<String>,
}

impl Outward {
    /// The default settings.
    pub fn usual(files: &TlsFiles, contents: &Contents) -> Result<Self, TlsError> {
        Outward::new(USUAL, Parts::of(files, &PeerTls::default(), contents))
    }

    /// Settings for one peer; the previous ones are kept if nothing has changed.
    pub fn own(
        files: &TlsFiles,
        peer: &PeerTls,
        contents: &Contents,
        before: Option<&Outward>,
    ) -> Result<Self, TlsError> {
        let parts = Parts::of(files, peer, contents);
        match before {
            Some(before) if before.0.parts == parts => Ok(before.clone()),
            _ => Outward::new(LAST.fetch_add(1, Ordering::Relaxed) + 1, parts),
        }
    }

    fn new(number: u64, parts: Parts) -> Result<Self, TlsError> {
        if let Some(certificate) = &parts.certificate {
            certificate.certified_key()?;
        }
        let eager = parts.authorities.is_some();
        let new = Outward(Arc::new(Settings { number, parts, config: OnceLock::new() }));
        if eager {
            new.0.client()?;
        }
        Ok(new)
    }

    /// The number of these settings.
    pub fn number(&self) -> u64 {
        self.0.number
    }

    /// Performs the handshake on an outgoing connection. The peer's certificate must be valid
    /// for `name`, or without one for its address (RFC 5922 §4), unless the settings have a
    /// name.
    pub async fn connect(&self, stream: TcpStream, name: Option<&str>) -> io::Result<Halves> {
        Ok(Halves::of(self.open(stream, name).await?))
    }

    /// Like `connect`, for protocols other than SIP.
    pub async fn open(&self, stream: TcpStream, name: Option<&str>) -> io::Result<TlsStream<TcpStream>> {
        let server = match self.0.parts.name.as_deref().or(name) {
            // A trailing dot is only used in DNS.
            Some(name) => ServerName::try_from(name.trim_end_matches('.').to_owned()),
            None => Ok(ServerName::from(stream.peer_addr()?.ip().to_canonical())),
        };
        let server = server.map_err(|_| io::ErrorKind::InvalidInput)?;
        let config = self.config().await.map_err(io::Error::other)?;
        TlsConnector::from(config).connect(server, stream).await
    }

    /// The client configuration, for code that opens its own connections.
    pub async fn config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        match self.0.config.get() {
            Some(config) => Ok(config.clone()),
            None => {
                let settings = self.0.clone();
                tokio::task::spawn_blocking(move || settings.client()).await?
            }
        }
    }
}

impl Parts {
    fn of(files: &TlsFiles, peer: &PeerTls, contents: &Contents) -> Parts {
        let certificate = peer.certificate.as_ref().or(files.certificate.as_ref());
        let authorities = peer.authorities.as_ref().or(files.authorities.as_ref());
        Parts {
            certificate: certificate.map(|files| PairPem::of(contents, files)),
            authorities: authorities.map(|path| Pem::of(contents, path)),
            unverified: files.unverified,
            name: peer.name.clone(),
        }
    }
}

impl Settings {
    fn client(&self) -> Result<Arc<ClientConfig>, TlsError> {
        if let Some(config) = self.config.get() {
            return Ok(config.clone());
        }
        let builder =
            ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
        let builder = match self.parts.unverified {
            true => builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider()))),
            false => builder.with_root_certificates(self.authorities()?),
        };
        let config = match &self.parts.certificate {
            Some(files) => {
                let (chain, private) = files.pair()?;
                builder.with_client_auth_cert(chain, private).map_err(|error| files.refused(error))?
            }
            None => builder.with_no_client_auth(),
        };
        Ok(self.config.get_or_init(|| Arc::new(config)).clone())
    }

    fn authorities(&self) -> Result<RootCertStore, TlsError> {
        if let Some(pem) = &self.parts.authorities {
            return pem.authorities();
        }
        let mut store = RootCertStore::empty();
        // Unreadable authorities are skipped.
        let _ = store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if store.is_empty() { Err(TlsError::NoAuthorities) } else { Ok(store) }
    }
}
