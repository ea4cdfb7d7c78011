//! The certificates that a configuration names, for the sockets.

use crate::config::ServerConfig;
use b2b_sip::net::{Tls, TlsError, TlsFiles};

/// What is wrong with them.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct CertificateError {
    /// Line of the configuration that names the file.
    pub line: usize,
    pub error: TlsError,
}

/// The files that a configuration names.
pub fn files(config: &ServerConfig) -> TlsFiles {
    let tls = config.tls.as_ref();
    TlsFiles {
        certificate: tls.and_then(|tls| tls.certificate.clone().zip(tls.key.clone())),
        authorities: tls.and_then(|tls| tls.authorities.clone()),
        ..TlsFiles::default()
    }
}

/// Reads them.
///
/// # Errors
/// The first that is no good.
pub fn load(config: &ServerConfig) -> Result<Tls, CertificateError> {
    let files = files(config);
    Tls::load(files.clone()).map_err(|error| {
        let lines = config.tls.as_ref().map_or([0; 2], |tls| tls.lines);
        let of_authorities = match error.path() {
            Some(path) => files.authorities.as_deref() == Some(path),
            None => matches!(error, TlsError::NoAuthorities),
        };
        let line = lines[usize::from(of_authorities)];
        CertificateError { line, error }
    })
}
