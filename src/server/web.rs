//! Common base of all our HTTP clients.

use reqwest::ClientBuilder;
use reqwest::redirect::Policy;

/// A client builder that ignores proxy settings of the environment, follows no redirects, and trusts no
/// certificate authority until `tls_backend_preconfigured` sets one.
pub fn client() -> ClientBuilder {
    let builder = ClientBuilder::new().no_proxy().redirect(Policy::none()).tcp_nodelay(true);
    // Without this, reqwest looks for a default crypto provider, which is not installed, and panics.
    match nobody() {
        Ok(config) => builder.tls_backend_preconfigured(config),
        Err(error) => {
            tracing::error!("TLS: {error}");
            builder
        }
    }
}

fn nobody() -> Result<rustls::ClientConfig, rustls::Error> {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth())
}

/// The innermost cause: the outer errors repeat the URL, which may contain a secret.
pub fn words(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    match std::ptr::eq(cause, error as &dyn std::error::Error) {
        true => "the response cannot be read".to_owned(),
        false => cause.to_string(),
    }
}
