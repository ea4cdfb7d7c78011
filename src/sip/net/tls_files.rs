//! The files that TLS is made from: which they are, what is in them, and what may be wrong
//! with them.

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

/// Octets of the largest PEM file that is read.
const LARGEST: u64 = 4 << 20;

/// PEM files of a certificate, followed by its chain, and of its private key.
pub type CertificateFiles = (PathBuf, PathBuf);

/// What TLS is made from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Our certificate. It is shown to who connects to us, and to servers that ask for one.
    /// Without it only connections of our own can be made.
    pub certificate: Option<CertificateFiles>,
    /// Further ones, shown to who connects to us and asks for one of their names (SNI, RFC 6066
    /// §3). A wildcard stands for one label. Whoever asks for another name, or for none, is
    /// shown [`TlsFiles::certificate`].
    pub further: Vec<CertificateFiles>,
    /// PEM of the authorities that servers are checked against; none: the system's.
    pub authorities: Option<PathBuf>,
    /// Whether servers are not checked at all.
    pub unverified: bool,
    /// The listeners, as [`NetConfig::bind_tls`](super::NetConfig::bind_tls) has them, that ask
    /// who connects for a certificate. Others never do.
    pub asking: Vec<(SocketAddr, AskClient)>,
    /// PEM of the authorities that such certificates are checked against.
    pub client_authorities: Option<PathBuf>,
    /// Connections of ours that are made otherwise, by the name that
    /// [`Invite::tls`](crate::endpoint::Invite::tls) gives.
    pub peers: BTreeMap<Arc<str>, PeerTls>,
}

/// Whether who connects has to have a certificate. One that is shown has to be good either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskClient {
    /// It may have none.
    Request,
    /// Without one there is no connection.
    Require,
}

/// How connections to one peer differ from others of ours. What it does not say is as for them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerTls {
    /// Our certificate, shown when the peer asks for one.
    pub certificate: Option<CertificateFiles>,
    /// PEM of the authorities that the peer is checked against.
    pub authorities: Option<PathBuf>,
    /// The name, or IP address, that the peer's certificate has to be good for, and that is sent
    /// as SNI, in the place of the host of the URI (RFC 5922 §4).
    pub name: Option<String>,
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
    #[error("{path} has no PEM certificate; one begins with -----BEGIN CERTIFICATE-----", path = path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The file is PEM, and no unencrypted private key is in it.
    #[error("{path} has no unencrypted PEM private key; one begins with -----BEGIN PRIVATE KEY-----", path = path.display())]
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
    #[error("{certificate} and {key} do not match: {error}", certificate = certificate.display(), key = key.display())]
    Pair {
        /// File of the certificate and its chain.
        certificate: PathBuf,
        /// File of the private key.
        key: PathBuf,
        /// What the TLS library says.
        error: rustls::Error,
    },
    /// A certificate of the authorities is not one that others can be checked against.
    #[error("{path}: an authority certificate cannot be used: {error}", path = path.display())]
    Authority {
        /// File of the authorities.
        path: PathBuf,
        /// What the TLS library says.
        error: rustls::Error,
    },
    /// No file of authorities is named, and the system's store is empty.
    #[error("the system has no authority certificates: set a file of them in `authorities`")]
    NoAuthorities,
    /// A certificate beside the first one has no name that somebody could ask for.
    #[error("{path}: its certificate has no DNS name, so clients cannot request it; remove it, or make it the only one", path = path.display())]
    NoNames {
        /// File of the certificate.
        path: PathBuf,
    },
    /// A listener asks for certificates, and no authorities of theirs are named.
    #[error("client certificates are requested without authorities to check them: set a file of authorities")]
    NoClientAuthorities,
    /// The TLS library refuses the configuration.
    #[error("TLS: {0}")]
    Provider(#[from] rustls::Error),
    /// The thread that reads the authorities' certificates did not finish.
    #[error("TLS: the authorities could not be read: {0}")]
    Thread(#[from] tokio::task::JoinError),
}

impl TlsError {
    /// The file that is at fault, where it is one.
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

/// What the files say, each by its path.
pub(super) type Contents = BTreeMap<PathBuf, Arc<[u8]>>;

impl TlsFiles {
    /// The certificates that we show.
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

/// A PEM file that was read.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Pem {
    path: PathBuf,
    octets: Arc<[u8]>,
}

impl Pem {
    /// One of those that were read.
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

    /// The authorities that are in it.
    pub fn authorities(&self) -> Result<RootCertStore, TlsError> {
        let mut store = RootCertStore::empty();
        for certificate in self.certificates()? {
            let added = store.add(certificate);
            added.map_err(|error| TlsError::Authority { path: self.path.clone(), error })?;
        }
        Ok(store)
    }
}

/// A certificate with its chain, and its key.
pub(super) type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// The files of a certificate of ours that were read.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct PairPem {
    certificate: Pem,
    key: Pem,
}

impl PairPem {
    /// Those of the files that were read.
    pub fn of(contents: &Contents, (certificate, key): &CertificateFiles) -> Self {
        PairPem { certificate: Pem::of(contents, certificate), key: Pem::of(contents, key) }
    }

    /// File of the certificate.
    pub fn path(&self) -> PathBuf {
        self.certificate.path.clone()
    }

    /// Until when the certificate is good; none: it does not say so in a way that can be read.
    pub fn not_after(&self) -> Option<SystemTime> {
        let chain = self.certificate.certificates().ok()?;
        let (_, certificate) = x509_parser::parse_x509_certificate(chain.first()?).ok()?;
        let seconds = u64::try_from(certificate.validity().not_after.timestamp()).ok()?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
    }

    /// What they hold, fit to be shown.
    pub fn certified_key(&self) -> Result<Arc<CertifiedKey>, TlsError> {
        let (chain, private) = self.pair()?;
        let key = CertifiedKey::from_der(chain, private, &provider());
        key.map(Arc::new).map_err(|error| self.refused(error))
    }

    /// What they hold.
    pub fn pair(&self) -> Result<Pair, TlsError> {
        let chain = self.certificate.certificates()?;
        let private = PrivateKeyDer::from_pem_slice(&self.key.octets).map_err(|error| match error {
            pem::Error::NoItemsFound => TlsError::NoKey { path: self.key.path.clone() },
            error => TlsError::Pem { path: self.key.path.clone(), error },
        })?;
        Ok((chain, private))
    }

    /// The TLS library does not take them together.
    pub fn refused(&self, error: rustls::Error) -> TlsError {
        TlsError::Pair { certificate: self.path(), key: self.key.path.clone(), error }
    }
}
