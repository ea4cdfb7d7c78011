//! TLS for SIP (RFC 3261 §26.2.1, RFC 5922): with certificates from PEM files, which can be
//! reloaded while connections are up.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use rustls::ClientConfig;
use rustls::crypto::{CryptoProvider, ring};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::certificate_names::names;
use super::connection::Halves;
use super::inward::Inward;
pub(super) use super::outward::Outward;
pub use super::tls_files::{AskClient, CertificateFiles, PeerTls, TlsError, TlsFiles};
use super::tls_files::{Contents, PairPem};

/// Whether a handshake failed because of the peer's certificate.
pub(super) fn is_distrust(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    matches!(error, Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented))
}

/// The text of an error, for display; for an authority certificate with instructions for
/// making another one.
pub(super) fn told(error: &io::Error) -> String {
    let text = error.to_string();
    match text.contains("CaUsedAsEndEntity") {
        true => format!(
            "{text}: the certificate is that of an authority (CA:TRUE), as `openssl req -x509` makes it; make one for \
             the server with `-addext basicConstraints=critical,CA:FALSE`"
        ),
        false => text,
    }
}

/// The certificates in force. Clones share them: a reload applies to all, from the next
/// connection on.
#[derive(Clone)]
pub struct Tls(Arc<Shared>);

struct Shared {
    in_force: RwLock<Arc<InForce>>,
    refused: Mutex<Option<ReloadRefused>>,
}

/// Why the latest reload changed nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReloadRefused {
    /// The file that is wrong, where the error names one.
    pub file: Option<PathBuf>,
    /// The error, for people.
    pub reason: String,
}

struct InForce {
    files: TlsFiles,
    contents: Contents,
    inward: Option<Inward>,
    usual: Outward,
    peers: BTreeMap<Arc<str>, Outward>,
    expiries: Vec<(PathBuf, SystemTime)>,
    authorities: Vec<PathBuf>,
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
        let in_force = RwLock::new(Arc::new(InForce::new(files, contents, None)?));
        Ok(Tls(Arc::new(Shared { in_force, refused: Mutex::default() })))
    }

    /// Reads the files again, possibly other ones. `false` if nothing has changed. Open
    /// connections are not affected.
    ///
    /// # Errors
    /// A file is invalid; everything in force stays, and [`Tls::refused`] tells why.
    pub fn reload(&self, files: TlsFiles) -> Result<bool, TlsError> {
        let result = self.exchange(files);
        let refused = result
            .as_ref()
            .err()
            .map(|error| ReloadRefused { file: error.path().map(PathBuf::from), reason: error.to_string() });
        *self.0.refused.lock().unwrap_or_else(PoisonError::into_inner) = refused;
        result
    }

    fn exchange(&self, files: TlsFiles) -> Result<bool, TlsError> {
        let (old, contents) = (self.get(), files.read()?);
        if old.files == files && old.contents == contents {
            return Ok(false);
        }
        let new = InForce::new(files, contents, Some(&old))?;
        *self.0.in_force.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        Ok(true)
    }

    /// Why the latest reload was refused; `None` after one that succeeded.
    pub fn refused(&self) -> Option<ReloadRefused> {
        self.0.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The files of our certificates, each with its expiry (RFC 5280 §4.1.2.5). Files whose
    /// expiry cannot be read are left out.
    pub fn expiries(&self) -> Vec<(PathBuf, SystemTime)> {
        self.get().expiries.clone()
    }

    /// The files of our certificates that are those of an authority (CA:TRUE): most peers refuse them as ours.
    pub fn authorities(&self) -> Vec<PathBuf> {
        self.get().authorities.clone()
    }

    fn get(&self) -> Arc<InForce> {
        self.0.in_force.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Performs the handshake on a connection accepted by this listener (its configured
    /// address). Returns the names in the client certificate, or `None` if none was
    /// presented.
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
        listener: SocketAddr,
    ) -> io::Result<(Halves, Option<Vec<String>>)> {
        let acceptor = self.get().inward.as_ref().map(|inward| inward.at(listener));
        let stream = acceptor.ok_or(io::ErrorKind::Unsupported)?.accept(stream).await?;
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).map(names);
        Ok((Halves::of(stream), shown))
    }

    /// The settings for connections to the peer of this name; without a name the default
    /// settings.
    pub(super) fn outward(&self, peer: Option<&str>) -> Option<Outward> {
        let in_force = self.get();
        match peer {
            Some(peer) => in_force.peers.get(peer).cloned(),
            None => Some(in_force.usual.clone()),
        }
    }

    /// Performs the handshake on an outgoing connection for a protocol other than SIP. The
    /// peer's certificate must be valid for `name`, or without one for its address.
    ///
    /// # Errors
    /// The handshake has failed, for example because of an invalid certificate.
    pub async fn open(&self, stream: TcpStream, name: Option<&str>) -> io::Result<TlsStream<TcpStream>> {
        self.get().usual.open(stream, name).await
    }

    /// The client configuration, for code that opens its own connections.
    ///
    /// # Errors
    /// There are no authorities for verifying servers.
    pub async fn client(&self) -> Result<Arc<ClientConfig>, TlsError> {
        self.get().usual.config().await
    }
}

impl InForce {
    fn new(files: TlsFiles, contents: Contents, before: Option<&InForce>) -> Result<Self, TlsError> {
        let inward = Inward::new(&files, &contents)?;
        let usual = Outward::usual(&files, &contents)?;
        let own = |(name, peer): (&Arc<str>, &PeerTls)| {
            let before = before.and_then(|before| before.peers.get(name));
            Ok((name.clone(), Outward::own(&files, peer, &contents, before)?))
        };
        let peers = files.peers.iter().map(own).collect::<Result<_, TlsError>>()?;
        // One certificate may be used for several purposes.
        let own: BTreeMap<PathBuf, PairPem> =
            files.own().map(|own| PairPem::of(&contents, own)).map(|own| (own.path(), own)).collect();
        let expiries = own.iter().filter_map(|(path, own)| Some((path.clone(), own.not_after()?))).collect();
        let authorities = own.iter().filter(|(_, own)| own.is_authority());
        let authorities = authorities.map(|(path, _)| path.clone()).collect();
        Ok(InForce { files, contents, inward, usual, peers, expiries, authorities })
    }
}

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

#[cfg(test)]
mod tests {
    use rustls::{CertificateError, OtherError};

    use super::*;

    #[test]
    fn a_certificate_of_an_authority_is_told_with_the_way_to_another() {
        let of = |error| io::Error::other(rustls::Error::InvalidCertificate(error));
        let other = OtherError(Arc::new(webpki::Error::CaUsedAsEndEntity));
        let told_of = told(&of(CertificateError::Other(other)));
        assert!(
            told_of.contains("CA:TRUE") && told_of.contains("-addext basicConstraints=critical,CA:FALSE"),
            "{told_of}"
        );
        assert!(!told(&of(CertificateError::Expired)).contains("CA:TRUE"));
    }
}
