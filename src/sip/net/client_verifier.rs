//! Verification of client certificates.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};
use webpki::{
    EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter, KeyUsage,
    RequiredEkuNotFoundContext,
};

/// Verifies client certificates against authorities. The library's own verifier rejects those
/// whose extended key usage lacks id-kp-clientAuth; but the peers of a SIP server are
/// servers, and public authorities no longer certify clients.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    roots: RootCertStore,
    /// The authorities' names, sent as a hint to clients with several certificates.
    subjects: Vec<DistinguishedName>,
    required: bool,
    provider: Arc<CryptoProvider>,
}

impl ClientVerifier {
    pub fn new(roots: RootCertStore, required: bool, provider: Arc<CryptoProvider>) -> Self {
        ClientVerifier { subjects: roots.subjects(), roots, required, provider }
    }
}

/// The accepted key purposes; a certificate without any is valid for all.
struct SipPeer;

impl SipPeer {
    /// id-kp-serverAuth, id-kp-clientAuth (RFC 5280 §4.2.1.12), id-kp-sipDomain (RFC 5924 §3) and
    /// anyExtendedKeyUsage.
    const PURPOSES: [KeyPurposeId<'static>; 4] = [
        KeyPurposeId::new(&[0x2b, 6, 1, 5, 5, 7, 3, 1]),
        KeyPurposeId::new(&[0x2b, 6, 1, 5, 5, 7, 3, 2]),
        KeyPurposeId::new(&[0x2b, 6, 1, 5, 5, 7, 3, 20]),
        KeyPurposeId::new(&[0x55, 0x1d, 0x25, 0]),
    ];
}

impl ExtendedKeyUsageValidator for SipPeer {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        let mut present = Vec::new();
        for purpose in purposes {
            let purpose = purpose?;
            if SipPeer::PURPOSES.contains(&purpose) {
                return Ok(());
            }
            present.push(purpose.to_decoded_oid());
        }
        if present.is_empty() {
            return Ok(());
        }
        let wanted = RequiredEkuNotFoundContext { required: KeyUsage::client_auth(), present };
        Err(webpki::Error::RequiredEkuNotFoundContext(wanted))
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.subjects
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let algorithms = self.provider.signature_verification_algorithms.all;
        let certificate = EndEntityCert::try_from(certificate).map_err(refusal)?;
        certificate
            .verify_for_usage(algorithms, &self.roots.roots, intermediates, now, SipPeer, None, None)
            .map_err(refusal)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The error for the TLS alert and the log.
fn refusal(error: webpki::Error) -> Error {
    let error = match error {
        webpki::Error::BadDer | webpki::Error::BadDerTime => CertificateError::BadEncoding,
        webpki::Error::CertNotValidYet { .. } => CertificateError::NotValidYet,
        webpki::Error::CertExpired { .. } => CertificateError::Expired,
        webpki::Error::UnknownIssuer => CertificateError::UnknownIssuer,
        webpki::Error::InvalidSignatureForPublicKey => CertificateError::BadSignature,
        webpki::Error::RequiredEkuNotFoundContext(_) => CertificateError::InvalidPurpose,
        other => CertificateError::Other(OtherError(Arc::new(other))),
    };
    Error::InvalidCertificate(error)
}
