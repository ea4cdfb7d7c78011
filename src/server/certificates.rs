//! The certificates that a configuration names, for the sockets.

use std::path::PathBuf;
use std::time::SystemTime;

use crate::config::tls::{AskClient as Ask, GatewayOutward, line_of};
use crate::config::{Gateway, ServerConfig};
use crate::settings;
use b2b_sip::net::{AskClient, PeerTls, Tls, TlsError, TlsFiles};

/// An unusable certificate.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct CertificateError {
    /// Line of the configuration that names the file; 0 if no line does.
    pub line: usize,
    pub error: TlsError,
}

/// The certificate files that a configuration names.
pub fn files(config: &ServerConfig) -> TlsFiles {
    let tls = config.tls.as_ref();
    let mut certificates = tls.into_iter().flat_map(|tls| &tls.certificates).map(|it| it.files.clone());
    let asking = tls.into_iter().flat_map(|tls| &tls.asking).map(|(listener, ask)| match ask {
        Ask::Request => (listener.bind, AskClient::Request),
        Ask::Require => (listener.bind, AskClient::Require),
    });
    let own = |gateway: &Gateway| {
        let GatewayOutward { certificate, authorities, name } = gateway.tls.outward.clone();
        Some((settings::tls_of(gateway)?, PeerTls { certificate, authorities, name }))
    };
    TlsFiles {
        certificate: certificates.next(),
        further: certificates.collect(),
        authorities: tls.and_then(|tls| tls.authorities.clone()),
        unverified: false,
        asking: asking.collect(),
        client_authorities: tls.and_then(|tls| tls.client_authorities.clone()),
        peers: config.gateways.iter().filter_map(own).collect(),
    }
}

/// Loads the certificates.
///
/// # Errors
/// The first invalid one.
pub fn load(config: &ServerConfig) -> Result<Tls, CertificateError> {
    Tls::load(files(config)).map_err(|error| {
        let line = error.path().and_then(|path| line_of(config, path)).unwrap_or(0);
        CertificateError { line, error }
    })
}

/// A warning for each of our certificates that has expired or is that of an authority: it is used, and peers that
/// check it refuse it.
pub fn warnings(tls: &Tls, now: SystemTime) -> Vec<String> {
    let expired = tls.expiries().into_iter().filter(|(_, until)| *until <= now);
    let warning = |(file, until): (PathBuf, SystemTime)| {
        let until = humantime::format_rfc3339_seconds(until);
        format!(
            "the certificate {} has expired at {until}: peers that check it will refuse it; renew it",
            file.display()
        )
    };
    let authorities = tls.authorities().into_iter().map(|file| {
        format!(
            "the certificate {} is that of an authority (CA:TRUE), as `openssl req -x509` makes it: peers that check \
             it will refuse it; make one for the server with `-addext basicConstraints=critical,CA:FALSE`",
            file.display()
        )
    });
    expired.map(warning).chain(authorities).collect()
}
