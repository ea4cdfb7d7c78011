//! TLS for SIP (RFC 3261 §26.2.1, RFC 5922): certificates from PEM files, which may
//! change while connections are up.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::connection::Halves;
use super::unverified::Anybody;

/// Octets of the largest PEM file that is read.
const LARGEST: u64 = 4 << 20;

/// What TLS is made from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM: our certificate first and then its chain, and its private key. It is
    /// shown to who connects to us, and to servers that ask for one. Without it only
    /// connections of our own can be made.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// PEM of the authorities that servers are checked against; none: the system's.
    pub authorities: Option<PathBuf>,
    /// Whether servers are not checked at all.
    pub unverified: bool,
}

/// Why TLS files are no good. Nothing of them is in force then.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file could not be read.
    #[error("cannot read {path}: {error}; name a PEM file that this user may read", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The file is PEM, and no certificate is in it.
    #[error("{path} holds no certificate in PEM; it begins with -----BEGIN CERTIFICATE-----", path = path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The file is PEM, and no unencrypted private key is in it.
    #[error("{path} holds no private key in PEM that is not encrypted; it begins with -----BEGIN PRIVATE KEY-----", path = path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The file is not PEM.
    #[error("{path} is not PEM: {error}", path = path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Where the parser gave up.
        error: pem::Error,
    },
    /// The key is not that of the certificate, or one of them cannot be used.
    #[error("{certificate} and {key} do not go together: {error}", certificate = certificate.display(), key = key.display())]
    Pair {
        /// File of the certificate and its chain.
        certificate: PathBuf,
        /// File of the private key.
        key: PathBuf,
        /// What the TLS library says.
        error: rustls::Error,
    },
    /// A certificate of the authorities is not one that others can be checked against.
    #[error("{path}: an authority that cannot be used: {error}", path = path.display())]
    Authority {
        /// File of the authorities.
        path: PathBuf,
        /// What the TLS library says.
        error: rustls::Error,
    },
    /// No file of authorities is named, and the system's store is empty.
    #[error("the system has no certificates of authorities: name a file of them in `authorities`")]
    NoAuthorities,
    /// The TLS library refuses the configuration.
    #[error("TLS: {0}")]
    Provider(#[from] rustls::Error),
    /// The thread that reads the authorities' certificates did not finish.
    #[error("TLS: the authorities could not be read: {0}")]
    Thread(#[from] tokio::task::JoinError),
}

impl TlsError {
    /// Whether the authorities are at fault, and not our own certificate.
    pub fn is_of_authorities(&self, files: &TlsFiles) -> bool {
        match self {
            TlsError::Read { path, .. }
            | TlsError::NoCertificate { path }
            | TlsError::Pem { path, .. }
            | TlsError::Authority { path, .. } => Some(path) == files.authorities.as_ref(),
            TlsError::NoAuthorities => true,
            _ => false,
        }
    }
}

/// Whether a handshake failed because of the peer's certificate.
pub(super) fn is_distrust(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    matches!(error, Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented))
}

/// Certificate, key, authorities; empty without a file.
type Contents = [Vec<u8>; 3];

impl TlsFiles {
    fn read(&self) -> Result<Contents, TlsError> {
        let (certificate, key) = self.certificate.as_ref().map(|(one, other)| (one, other)).unzip();
        Ok([read(certificate)?, read(key)?, read(self.authorities.as_ref())?])
    }
}

/// Certificates in force. Clones are the same: what one reloads holds for all,
/// from the next connection on.
#[derive(Clone)]
pub struct Tls(Arc<RwLock<Arc<InForce>>>);

struct InForce {
    files: TlsFiles,
    contents: Contents,
    acceptor: Option<TlsAcceptor>,
    /// With the system's authorities it is made when it is needed: there are many.
    client: OnceLock<Arc<ClientConfig>>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Tls").field(&self.get().files).finish()
    }
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let contents = files.read()?;
        Ok(Tls(Arc::new(RwLock::new(Arc::new(InForce::new(files, contents)?)))))
    }

    /// Reads the files, which may be others, again. `false`: they say the same as
    /// before. Connections that are up keep what they have.
    ///
    /// # Errors
    /// They are no good; what was in force stays.
    pub fn reload(&self, files: TlsFiles) -> Result<bool, TlsError> {
        let (old, contents) = (self.get(), files.read()?);
        if old.files == files && old.contents == contents {
            return Ok(false);
        }
        let new = InForce::new(files, contents)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        Ok(true)
    }

    fn get(&self) -> Arc<InForce> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The handshake with somebody who has connected to us.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<Halves> {
        let acceptor = self.get().acceptor.clone().ok_or(io::ErrorKind::Unsupported)?;
        Ok(Halves::of(acceptor.accept(stream).await?))
    }

    /// The handshake with somebody whom we have connected to; its certificate has to
    /// be good for `name`, or without one for its address (RFC 5922 §4).
    pub(super) async fn connect(&self, stream: TcpStream, name: Option<&str>) -> io::Result<Halves> {
        Ok(Halves::of(self.open(stream, name).await?))
    }

    /// The same, for whoever speaks another protocol than SIP.
    ///
    /// # Errors
    /// What went wrong in the handshake; a certificate that is not good is one.
    pub async fn open(&self, stream: TcpStream, name: Option<&str>) -> io::Result<TlsStream<TcpStream>> {
        let server = match name {
            // A dot at the end belongs to DNS only.
            Some(name) => ServerName::try_from(name.trim_end_matches('.').to_owned()),
            None => Ok(ServerName::from(stream.peer_addr()?.ip().to_canonical())),
        };
        let server = server.map_err(|_| io::ErrorKind::InvalidInput)?;
        let config = self.client().await.map_err(io::Error::other)?;
        TlsConnector::from(config).connect(server, stream).await
    }

    /// What connections of ours are made with, for whoever makes them himself.
    ///
    /// # Errors
    /// There are no authorities to check servers against.
    pub async fn client(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let in_force = self.get();
        match in_force.client.get() {
            Some(config) => Ok(config.clone()),
            None => tokio::task::spawn_blocking(move || in_force.client()).await?,
        }
    }
}

type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl InForce {
    fn new(files: TlsFiles, contents: Contents) -> Result<Self, TlsError> {
        let mut new = InForce { files, contents, acceptor: None, client: OnceLock::new() };
        if let Some((chain, private)) = new.pair()?
            && let Some((certificate, key)) = &new.files.certificate
        {
            let config = ServerConfig::builder_with_provider(provider())
                .with_safe_default_protocol_versions()?
                .with_no_client_auth()
                .with_single_cert(chain, private)
                .map_err(|error| TlsError::Pair {
                    certificate: certificate.clone(),
                    key: key.clone(),
                    error,
                })?;
            new.acceptor = Some(TlsAcceptor::from(Arc::new(config)));
        }
        if new.files.authorities.is_some() {
            new.client()?;
        }
        Ok(new)
    }

    fn pair(&self) -> Result<Option<Pair>, TlsError> {
        let Some((certificate, key)) = &self.files.certificate else { return Ok(None) };
        let [chain, private, _] = &self.contents;
        let chain = certificates(certificate, chain)?;
        let private = PrivateKeyDer::from_pem_slice(private).map_err(|error| match error {
            pem::Error::NoItemsFound => TlsError::NoKey { path: key.clone() },
            error => TlsError::Pem { path: key.clone(), error },
        })?;
        Ok(Some((chain, private)))
    }

    fn client(&self) -> Result<Arc<ClientConfig>, TlsError> {
        if let Some(config) = self.client.get() {
            return Ok(config.clone());
        }
        let builder =
            ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
        let builder = match self.files.unverified {
            true => builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider()))),
            false => builder.with_root_certificates(self.authorities()?),
        };
        let config = match self.pair()? {
            Some((chain, private)) => builder.with_client_auth_cert(chain, private)?,
            None => builder.with_no_client_auth(),
        };
        Ok(self.client.get_or_init(|| Arc::new(config)).clone())
    }

    fn authorities(&self) -> Result<RootCertStore, TlsError> {
        let mut store = RootCertStore::empty();
        match &self.files.authorities {
            Some(path) => {
                for certificate in certificates(path, &self.contents[2])? {
                    let added = store.add(certificate);
                    added.map_err(|error| TlsError::Authority { path: path.clone(), error })?;
                }
            }
            // One that cannot be read is no reason to do without the others.
            None => drop(store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
        }
        if store.is_empty() { Err(TlsError::NoAuthorities) } else { Ok(store) }
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn read(path: Option<&PathBuf>) -> Result<Vec<u8>, TlsError> {
    use std::io::Read;
    let Some(path) = path else { return Ok(Vec::new()) };
    let mut contents = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(LARGEST).read_to_end(&mut contents))
        .map_err(|error| TlsError::Read { path: path.clone(), error })?;
    Ok(contents)
}

fn certificates(path: &Path, contents: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(contents).collect();
    let found = found.map_err(|error| TlsError::Pem { path: path.to_owned(), error })?;
    if found.is_empty() { Err(TlsError::NoCertificate { path: path.to_owned() }) } else { Ok(found) }
}
