//! The files for TLS: their paths, their contents, and the errors in them.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::tls::provider;

/// Maximum number of octets read from a PEM file.
const LARGEST: u64 = 4 << 20;

/// Paths of two PEM files: a certificate followed by its chain, and its private key.
pub type CertificateFiles = (PathBuf, PathBuf);

/// The files and settings for TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Our certificate, presented to clients, and to servers that request one. Without it
    /// only outgoing connections are possible.
    pub certificate: Option<CertificateFiles>,
    /// Further certificates, presented to clients that request one of their names (SNI,
    /// RFC 6066 §3). A wildcard stands for one label. Clients that request another name, or
    /// none, get [`TlsFiles::certificate`].
    pub further: Vec<CertificateFiles>,
    /// PEM file of the authorities for verifying servers; `None` for the system's.
    pub authorities: Option<PathBuf>,
    /// Disables the verification of servers.
    pub unverified: bool,
    /// The listeners that request client certificates, by their addresses in
    /// [`NetConfig::bind_tls`](super::NetConfig::bind_tls). Other listeners do not.
    pub asking: Vec<(SocketAddr, AskClient)>,
    /// PEM file of the authorities for verifying client certificates.
    pub client_authorities: Option<PathBuf>,
    /// Separate settings for outgoing connections, by the name given in
    /// [`Invite::tls`](crate::endpoint::Invite::tls).
    pub peers: BTreeMap<Arc<str>, PeerTls>,
}

/// Whether a client must present a certificate. One that is presented must be valid either
/// way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskClient {
    /// The certificate is optional.
    Request,
    /// The certificate is required.
    Require,
}

/// Settings for connections to one peer; unset fields take the default settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerTls {
    /// Our certificate, presented if the peer requests one.
    pub certificate: Option<CertificateFiles>,
    /// PEM file of the authorities for verifying the peer.
    pub authorities: Option<PathBuf>,
    /// The name or IP address that the peer's certificate must be valid for, also sent as
    /// SNI, in place of the host of the URI (RFC 5922 §4).
    pub name: Option<String>,
}

/// Why TLS files are invalid. None of them takes effect then.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file could not be read.
    #[error("cannot read {path}: {error}; name a PEM file that this user may read", path = path.display())]
    Read {
        /// The path of the file.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// The PEM file contains no certificate.
    #[error("{path} has no PEM certificate; one begins with -----BEGIN CERTIFICATE-----", path = path.display())]
    NoCertificate {
        /// The path of the file.
        path: PathBuf,
    },
    /// The PEM file contains no unencrypted private key.
    #[error("{path} has no unencrypted PEM private key; one begins with -----BEGIN PRIVATE KEY-----", path = path.display())]
    NoKey {
        /// The path of the file.
        path: PathBuf,
    },
    /// The file is not PEM.
    #[error("{path} is not PEM: {error}", path = path.display())]
    Pem {
        /// The path of the file.
        path: PathBuf,
        /// The parser's error.
        error: pem::Error,
    },
    /// The key does not belong to the certificate, or one of them is unusable.
    #[error("{certificate} and {key} do not match: {error}", certificate = certificate.display(), key = key.display())]
    Pair {
        /// The file of the certificate and its chain.
        certificate: PathBuf,
        /// The file of the private key.
        key: PathBuf,
        /// The TLS library's error.
        error: rustls::Error,
    },
    /// An authority certificate is unusable for verification.
    #[error("{path}: an authority certificate cannot be used: {error}", path = path.display())]
    Authority {
        /// The file of the authorities.
        path: PathBuf,
        /// The TLS library's error.
        error: rustls::Error,
    },
    /// No authorities file is configured, and the system's store is empty.
    #[error("the system has no authority certificates: set a file of them in `authorities`")]
    NoAuthorities,
    /// An additional certificate has no name that a client could request.
    #[error("{path}: its certificate has no DNS name, so clients cannot request it; remove it, or make it the only one", path = path.display())]
    NoNames {
        /// The file of the certificate.
        path: PathBuf,
    },
    /// A listener requests client certificates, but no authorities are configured for them.
    #[error("client certificates are requested without authorities to check them: set a file of authorities")]
    NoClientAuthorities,
    /// The TLS library rejected the configuration.
    #[error("TLS: {0}")]
    Provider(#[from] rustls::Error),
    /// The task that reads the authorities failed.
    #[error("TLS: the authorities could not be read: {0}")]
    Thread(#[from] tokio::task::JoinError),
}

impl TlsError {
    /// The file that caused the error, if any.
    pub fn path(&self) -> Option<&Path> {
        match self {
            TlsError::Read { path, .. }
            | TlsError::NoCertificate { path }
            | TlsError::NoKey { path }
            | TlsError::Pem { path, .. }
            | TlsError::NoNames { path }
            | TlsError::Pair { certificate: path, .. }
            | TlsError::Authority { path, .. } => Some(path),
            TlsError::NoAuthorities
            | TlsError::NoClientAuthorities
            | TlsError::Provider(_)
            | TlsError::Thread(_) => None,
        }
    }
}

/// The contents of the files, by path.
pub(super) type Contents = BTreeMap<PathBuf, Arc<[u8]>>;

impl TlsFiles {
    /// The certificates that we present.
    pub(super) fn own(&self) -> impl Iterator<Item = &CertificateFiles> {
        let listeners = self.certificate.iter().chain(&self.further);
        listeners.chain(self.peers.values().filter_map(|peer| peer.certificate.as_ref()))
    }

    /// Reads every file.
    pub(super) fn read(&self) -> Result<Contents, TlsError> {
        let alone = self.authorities.iter().chain(&self.client_authorities);
        let alone = alone.chain(self.peers.values().filter_map(|peer| peer.authorities.as_ref()));
        let mut contents = Contents::new();
        for path in self.own().flat_map(|(certificate, key)| [certificate, key]).chain(alone) {
            if !contents.contains_key(path) {
                contents.insert(path.clone(), read(path)?);
            }
        }
        Ok(contents)
    }
}

fn read(path: &Path) -> Result<Arc<[u8]>, TlsError> {
    use std::io::Read;
    let mut contents = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(LARGEST).read_to_end(&mut contents))
        .map_err(|error| TlsError::Read { path: path.to_owned(), error })?;
    Ok(contents.into())
}

/// The contents of a PEM file.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Pem {
    path: PathBuf,
    octets: Arc<[u8]>,
}

impl Pem {
    /// Takes one of the files that were read.
    pub fn of(contents: &Contents, path: &Path) -> Self {
        Pem { path: path.to_owned(), octets: contents.get(path).cloned().unwrap_or_default() }
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.octets).collect();
        let found = found.map_err(|error| TlsError::Pem { path: self.path.clone(), error })?;
        match found.is_empty() {
            true => Err(TlsError::NoCertificate { path: self.path.clone() }),
            false => Ok(found),
        }
    }

    /// The authorities in the file.
    pub fn authorities(&self) -> Result<RootCertStore, TlsError> {
        let mut store = RootCertStore::empty();
        for certificate in self.certificates()? {
            let added = store.add(certificate);
            added.map_err(|error| TlsError::Authority { path: self.path.clone(), error })?;
        }
        Ok(store)
    }
}

/// A certificate with its chain, and its private key.
pub(super) type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// The contents of the files of one of our certificates.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct PairPem {
    certificate: Pem,
    key: Pem,
}

impl PairPem {
    /// Takes the files of a certificate from those that were read.
    pub fn of(contents: &Contents, (certificate, key): &CertificateFiles) -> Self {
        PairPem { certificate: Pem::of(contents, certificate), key: Pem::of(contents, key) }
    }

    /// The file of the certificate.
    pub fn path(&self) -> PathBuf {
        self.certificate.path.clone()
    }

    /// When the certificate expires; `None` if that cannot be read.
    pub fn not_after(&self) -> Option<SystemTime> {
        let chain = self.certificate.certificates().ok()?;
        let (_, certificate) = x509_parser::parse_x509_certificate(chain.first()?).ok()?;
        let seconds = u64::try_from(certificate.validity().not_after.timestamp()).ok()?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
    }

    /// Whether the certificate is that of an authority (CA:TRUE, RFC 5280 §4.2.1.9).
    pub fn is_authority(&self) -> bool {
        let Ok(chain) = self.certificate.certificates() else { return false };
        let own = chain.first().and_then(|own| x509_parser::parse_x509_certificate(own).ok());
        let constraints = own.as_ref().and_then(|(_, own)| own.basic_constraints().ok().flatten());
        constraints.is_some_and(|it| it.value.ca)
    }

    /// The certificate and key, ready for use.
    pub fn certified_key(&self) -> Result<Arc<CertifiedKey>, TlsError> {
        let (chain, private) = self.pair()?;
        let key = CertifiedKey::from_der(chain, private, &provider());
        key.map(Arc::new).map_err(|error| self.refused(error))
    }

    /// The parsed certificate chain and key.
    pub fn pair(&self) -> Result<Pair, TlsError> {
        let chain = self.certificate.certificates()?;
        let private = PrivateKeyDer::from_pem_slice(&self.key.octets).map_err(|error| match error {
            pem::Error::NoItemsFound => TlsError::NoKey { path: self.key.path.clone() },
            error => TlsError::Pem { path: self.key.path.clone(), error },
        })?;
        Ok((chain, private))
    }

    /// The error for a pair that the TLS library rejects.
    pub fn refused(&self, error: rustls::Error) -> TlsError {
        TlsError::Pair { certificate: self.path(), key: self.key.path.clone(), error }
    }
}
