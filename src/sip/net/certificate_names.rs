//! The names in a certificate.

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

/// The identities of a SIP server in its certificate (RFC 5922 §7.1): the hosts of `sip:`
/// URIs without a user in subjectAltName, or if there are none its DNS names, in lower case.
/// The common name is not used, because public authorities no longer vouch for it. DNS names
/// may be wildcards, which RFC 5922 §7.2 forbids but large providers use.
pub(super) fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok(certificate) = EndEntityCert::try_from(certificate) else { return Vec::new() };
    let hosts: Vec<String> = certificate.valid_uri_names().filter_map(host).collect();
    match hosts.is_empty() {
        true => certificate.valid_dns_names().map(plain).collect(),
        false => hosts,
    }
}

/// The host of `sip:host`; `None` for a URI with a user, which is not a server.
fn host(uri: &str) -> Option<String> {
    let (scheme, rest) = uri.split_once(':')?;
    let host = rest.split([';', '?']).next()?;
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    let is_host = scheme.eq_ignore_ascii_case("sip") && !host.is_empty() && !rest.contains('@');
    is_host.then(|| plain(host))
}

/// The form in which names are compared.
fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use b2b_test_support::tls::Authority;
    use rustls::pki_types::pem::PemObject;

    #[test]
    fn sip_uris_come_before_dns_names_and_users_are_no_servers() {
        let folder = tempfile::tempdir().expect("folder");
        let authority = Authority::new(folder.path(), "authority");
        let of = |hosts: &[&str], uris: &[&str]| {
            let (certificate, _) = authority.issue_uris("it", hosts, uris);
            names(&CertificateDer::from_pem_file(certificate).expect("a certificate"))
        };
        let uris =
            ["sip:Sbc.example", "sip:ann@x.example", "sips:y.example", "sip:z.example:5061;transport=tls"];
        assert_eq!(of(&["dns.example"], &uris), ["sbc.example", "z.example"]);
        assert_eq!(of(&["*.Hub.example", "a.example"], &uris[1..3]), ["*.hub.example", "a.example"]);
        assert_eq!(of(&["192.0.2.1"], &[]), [""; 0]);
    }
}
