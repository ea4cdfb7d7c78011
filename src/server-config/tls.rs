//! `[tls]`, `[[tls.certificates]]`, and the keys of `[[gateway]]` about TLS.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::keys::SERVER;
use super::outside::Outside;
use super::texts::{self, PATH, host, host_port};
use super::{ConfigError, ConfigProblem, Listener, ServerConfig};
use b2b_config::section::Section;
use b2b_config::table::Table;
use b2b_config::table::Takes::{Tables, Whole};
use b2b_config::value::Read;
use b2b_config::{rows, texts};
use b2b_sip::msg::Transport;

/// `[tls]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Our certificates. The first is sent to clients that name no server, or one that no certificate has,
    /// and to servers that request a client certificate; empty where only gateways need TLS.
    pub certificates: Vec<Certificate>,
    /// PEM of the authorities for verifying gateways; `None`: the system's.
    pub authorities: Option<PathBuf>,
    /// Listeners that request a client certificate, in their order.
    pub asking: Vec<(Listener, AskClient)>,
    /// PEM of the authorities for verifying those certificates; present with `asking`.
    pub client_authorities: Option<PathBuf>,
    /// Interval at which the files are checked for a new certificate; `None`: at SIGHUP only.
    pub reload: Option<Duration>,
    /// Lines in the file of `authorities` and `client_authorities`, for errors.
    pub lines: [usize; 2],
}

/// PEM files of a certificate with its chain, and of its private key.
pub type CertificateFiles = (PathBuf, PathBuf);

/// Whether a client needs a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskClient {
    /// It may connect without one.
    Request,
    /// Without one the connection is refused.
    Require,
}

/// A certificate of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Its files.
    pub files: CertificateFiles,
    /// Line in the file.
    pub line: usize,
}

impl Tls {
    /// The same without line numbers, for comparison.
    pub fn without_lines(&self) -> Tls {
        let mut bare = Tls { lines: [0; 2], ..self.clone() };
        bare.certificates.iter_mut().for_each(|it| it.line = 0);
        bare
    }
}

/// A gateway's own TLS settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GatewayTls {
    /// How our connections to it differ from others.
    pub outward: GatewayOutward,
    /// Certificate names in lower case, `*.` for one label: calls over a connection whose certificate has one
    /// of them are this gateway's.
    pub clients: Vec<String>,
}

/// How connections to a gateway differ from others. Unset fields are as for the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GatewayOutward {
    /// Our client certificate.
    pub certificate: Option<CertificateFiles>,
    /// PEM of the authorities for verifying the gateway.
    pub authorities: Option<PathBuf>,
    /// The name that its certificate must have, in place of the called host.
    pub name: Option<String>,
}

pub const TLS: Table = Table {
    name: "tls",
    written: "[tls]",
    about: "Certificates. Required by a `tls:` listener.",
    keys: rows! {
        certificate: PATH,
            "PEM file with the server's certificate first, then the chain. A `tls:` listener needs it, or one of `certificates`.";
        key: PATH, "PEM file with the private key of the certificate.";
        certificates: Tables("list of tables", &CERTIFICATE),
            "Further certificates, each a `[[tls.certificates]]`. A client gets the certificate for the name that it requests (SNI). A client that requests another name, or none, gets `certificate`, or without that the first of these.";
        authorities: PATH,
            "PEM file of the authorities for the certificates of gateways and other servers that b2b calls over TLS. Without it: the system's.";
        client_authorities: PATH,
            "PEM file of the authorities for the certificates of clients. `client_request` and `client_require` need it; there is no default.";
        client_request: texts!("list of `tls:` listeners as in `server.listen`", client_listener) => [],
            "Listeners that request a client certificate. A client without one is accepted; an invalid one ends the connection.";
        client_require: texts!("list of `tls:` listeners as in `server.listen`", client_listener) => [],
            "Listeners that require a valid client certificate.";
        reload_s: Whole(0, 86_400) => 3600,
            "How often the certificate files are checked for changes, those of gateways too; 0: at SIGHUP only.";
    },
};

pub const CERTIFICATE: Table = Table {
    name: "tls.certificates",
    written: "[[tls.certificates]]",
    about: "A certificate for further names of this server.",
    keys: rows! {
        certificate: PATH,
            "PEM file with the certificate first, then the chain. Its names are those of its subjectAltName; a wildcard stands for one label. Required.";
        key: PATH, "PEM file with its private key. Required.";
    },
};

/// Reads `[tls]`.
pub(super) fn tls(section: &Section<'_>, outside: &dyn Outside) -> Result<Tls, ConfigError> {
    let mut certificates = Vec::new();
    if let Some(files) = pair(section, ["certificate", "key"], outside)? {
        certificates.push(Certificate { files, line: line(section, "certificate") });
    }
    for table in section.tables("certificates")? {
        let files = pair(&table, ["certificate", "key"], outside)?;
        let files = files.ok_or_else(|| table.missing("certificate", "set its PEM file"))?;
        table.finish();
        certificates.push(Certificate { files, line: table.line() });
    }
    let mut asking = Vec::new();
    for (key, ask) in [("client_request", AskClient::Request), ("client_require", AskClient::Require)] {
        for listener in section.parsed_list(key, client_listener)? {
            if asking.iter().any(|(other, _)| *other == listener) {
                let reason = "this listener is there twice; keep one";
                return Err(section.bad(key, section.place(key), &listener.to_string(), reason));
            }
            asking.push((listener, ask));
        }
    }
    let tls = Tls {
        certificates,
        authorities: file(section, "authorities", outside)?,
        asking,
        client_authorities: file(section, "client_authorities", outside)?,
        reload: section.seconds_unless_zero("reload_s")?,
        lines: ["authorities", "client_authorities"].map(|key| line(section, key)),
    };
    if !tls.asking.is_empty() && tls.client_authorities.is_none() {
        let reason = "set the authorities for client certificates";
        return Err(section.missing("client_authorities", reason));
    }
    section.finish();
    Ok(tls)
}

/// Reads the TLS keys of `[[gateway]]`.
pub(super) fn of_gateway(section: &Section<'_>, outside: &dyn Outside) -> Result<GatewayTls, ConfigError> {
    let outward = GatewayOutward {
        certificate: pair(section, ["tls_certificate", "tls_key"], outside)?,
        authorities: file(section, "tls_authorities", outside)?,
        name: section.parsed("tls_name", host)?,
    };
    Ok(GatewayTls { outward, clients: section.parsed_list("tls_client", client_name)? })
}

fn file(
    section: &Section<'_>,
    key: &'static str,
    outside: &dyn Outside,
) -> Result<Option<PathBuf>, ConfigError> {
    Ok(section.parsed(key, texts::path)?.map(|path| outside.resolve(&path)))
}

/// A certificate and its key, or neither.
fn pair(
    section: &Section<'_>,
    keys: [&'static str; 2],
    outside: &dyn Outside,
) -> Result<Option<CertificateFiles>, ConfigError> {
    match (file(section, keys[0], outside)?, file(section, keys[1], outside)?) {
        (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
        (Some(_), None) => Err(section.missing(keys[1], "a certificate needs its private key")),
        (None, Some(_)) => Err(section.missing(keys[0], "a key needs its certificate")),
        (None, None) => Ok(None),
    }
}

fn line(section: &Section<'_>, key: &str) -> usize {
    section.lines.line(section.place(key))
}

/// A TLS listener.
fn client_listener(text: &str) -> Read<Listener> {
    let listener = texts::listener(text)?;
    match listener.transport {
        Transport::Tls => Ok(listener),
        _ => Err("only tls: listeners get certificates; choose one of them".to_string()),
    }
}

/// A certificate name, or `*.` and a domain for all names with one more label.
pub(super) fn client_name(text: &str) -> Read<String> {
    let fix = "write it like sip.example.com or *.example.com";
    let (domain, is_wildcard) = match text.strip_prefix("*.") {
        Some(domain) => (domain, true),
        None => (text, false),
    };
    let (name, port) = host_port(domain).map_err(|_| fix)?;
    let name = name.trim_end_matches('.');
    if port.is_some() || name.parse::<IpAddr>().is_ok() {
        return Err(format!("not a name of a certificate; {fix}"));
    }
    match is_wildcard {
        // Authorities give anyone a name in `com`.
        true if !name.contains('.') => Err(format!("*.{name} matches too many names; {fix}")),
        true => Ok(format!("*.{name}")),
        false => Ok(name.to_string()),
    }
}

/// Missing requirements of TLS in other tables, with the table and key to point at.
pub(super) fn together(config: &ServerConfig) -> Vec<(&'static Table, &'static str, ConfigProblem)> {
    let mut problems: Vec<(&'static Table, &'static str, ConfigProblem)> = Vec::new();
    let tls = config.tls.as_ref();
    let listens = config.listening().any(|listener| listener.transport == Transport::Tls);
    if listens && tls.is_none_or(|tls| tls.certificates.is_empty()) {
        let reason = "a tls: listener needs [tls] with certificate and key".to_string();
        let problem = ConfigProblem::Missing { key: "tls.certificate".to_string(), reason };
        problems.push((&SERVER, "listen", problem));
    }
    let asking = tls.map(|tls| tls.asking.as_slice()).unwrap_or_default();
    for (listener, ask) in asking {
        if !config.listening().any(|it| it == listener) {
            let key = match ask {
                AskClient::Request => "client_request",
                AskClient::Require => "client_require",
            };
            let reason = "server.listen has no such listener; write it exactly as there".to_string();
            let value = format!("{:?}", listener.to_string());
            problems.push((&TLS, key, ConfigProblem::BadValue { key: format!("tls.{key}"), value, reason }));
        }
    }
    if asking.is_empty()
        && let Some(gateway) = config.gateways.iter().find(|gateway| !gateway.tls.clients.is_empty())
    {
        let reason = format!(
            "gateway {:?} (line {}) has tls_client: set the listeners that request certificates in \
             client_request or client_require",
            gateway.name, gateway.line
        );
        let problem = ConfigProblem::Missing { key: "tls.client_request".to_string(), reason };
        problems.push((&TLS, "client_request", problem));
    }
    problems
}

/// The line that names a TLS file.
pub fn line_of(config: &ServerConfig, path: &Path) -> Option<usize> {
    let is_of = |(certificate, key): &CertificateFiles| certificate == path || key == path;
    let tls = config.tls.iter();
    let own = tls.clone().flat_map(|tls| &tls.certificates).find(|it| is_of(&it.files)).map(|it| it.line);
    let authorities = tls.flat_map(|tls| {
        [&tls.authorities, &tls.client_authorities].into_iter().zip(tls.lines).collect::<Vec<_>>()
    });
    let authorities = authorities.filter(|(file, _)| file.as_deref() == Some(path)).map(|(_, line)| line);
    let gateways = config.gateways.iter().filter(|gateway| {
        let GatewayOutward { certificate, authorities, .. } = &gateway.tls.outward;
        certificate.as_ref().is_some_and(is_of) || authorities.as_deref() == Some(path)
    });
    own.or_else(|| authorities.chain(gateways.map(|gateway| gateway.line)).next())
}
