//! Certificates, and a plain TLS peer on either side of a connection.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub use rcgen::ExtendedKeyUsagePurpose as Purpose;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls::client::ResolvesClientCert;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, ClientConnection, KeyLog, RootCertStore, ServerConfig, ServerConnection, SignatureScheme,
    StreamOwned,
};

/// Generous, because a loaded machine is slow; reached only on failure.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// An authority, and the folder with all its files.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: PathBuf,
    /// Its own certificate.
    pub pem: PathBuf,
}

impl Authority {
    pub fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("key");
        let pem = folder.join(format!("{name}.pem"));
        fs::write(&pem, params.self_signed(&key).expect("certificate").pem()).expect("a file");
        Authority { issuer: Issuer::new(params, key), folder: folder.to_owned(), pem }
    }

    /// Writes a certificate for these hosts and its key to `<file>.pem`, `<file>.key`.
    pub fn issue(&self, file: &str, hosts: &[&str]) -> (PathBuf, PathBuf) {
        self.issue_for(file, hosts, &[])
    }

    /// The same, for these purposes; if empty, the certificate is not restricted.
    pub fn issue_for(&self, file: &str, hosts: &[&str], purposes: &[Purpose]) -> (PathBuf, PathBuf) {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).expect("hosts");
        params.extended_key_usages = purposes.to_vec();
        self.write(file, params)
    }

    /// The same, with these URIs in addition to its hosts.
    pub fn issue_uris(&self, file: &str, hosts: &[&str], uris: &[&str]) -> (PathBuf, PathBuf) {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).expect("hosts");
        let uris = uris.iter().map(|uri| SanType::URI((*uri).try_into().expect("ASCII")));
        params.subject_alt_names.extend(uris);
        self.write(file, params)
    }

    /// A certificate for this host that is itself that of an authority, as `openssl req -x509` makes it.
    pub fn issue_authority(&self, file: &str, host: &str) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new(vec![host.to_owned()]).expect("a host");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        self.write(file, params)
    }

    /// A certificate valid until the beginning of this day.
    pub fn issue_until(
        &self,
        file: &str,
        host: &str,
        (year, month, day): (i32, u8, u8),
    ) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new(vec![host.to_owned()]).expect("a host");
        params.not_after = rcgen::date_time_ymd(year, month, day);
        self.write(file, params)
    }

    fn write(&self, file: &str, params: CertificateParams) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().expect("key");
        let certificate = params.signed_by(&key, &self.issuer);
        let paths = (self.folder.join(format!("{file}.pem")), self.folder.join(format!("{file}.key")));
        fs::write(&paths.0, certificate.expect("certificate").pem()).expect("a file");
        fs::write(&paths.1, key.serialize_pem()).expect("a file");
        paths
    }
}

fn chain(path: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(path).expect("PEM").collect::<Result<_, _>>().expect("certificates")
}

pub type Client = StreamOwned<ClientConnection, TcpStream>;
pub type Callee = StreamOwned<ServerConnection, TcpStream>;

/// Connects to a server that has a certificate of this authority for `name`.
pub fn connect(addr: SocketAddr, authority: &Path, name: &str) -> Client {
    connect_by(&client(authority, &Shows::new(None)), addr, name)
}

/// A client's certificate, if any, and whether the server requested one.
#[derive(Debug)]
pub struct Shows {
    own: Option<Arc<CertifiedKey>>,
    asked: AtomicBool,
}

impl Shows {
    pub fn new(own: Option<&(PathBuf, PathBuf)>) -> Arc<Self> {
        let key = |(certificate, key): &(PathBuf, PathBuf)| {
            let key = PrivateKeyDer::from_pem_file(key).expect("key");
            Arc::new(
                CertifiedKey::from_der(chain(certificate), key, &ring::default_provider()).expect("a pair"),
            )
        };
        Arc::new(Shows { own: own.map(key), asked: AtomicBool::new(false) })
    }

    pub fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}

impl ResolvesClientCert for Shows {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        self.own.clone()
    }

    fn has_certs(&self) -> bool {
        self.own.is_some()
    }
}

/// The shared part of clients with one configuration: their certificate, and sessions for resumption.
pub fn client(authority: &Path, shows: &Arc<Shows>) -> Arc<ClientConfig> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots(authority))
        .with_client_cert_resolver(shows.clone());
    Arc::new(config)
}

/// Connects with this configuration.
pub fn connect_by(config: &Arc<ClientConfig>, addr: SocketAddr, name: &str) -> Client {
    let name = ServerName::try_from(name.to_owned()).expect("name");
    let connection = ClientConnection::new(config.clone(), name).expect("client");
    let stream = TcpStream::connect(addr).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
    StreamOwned::new(connection, stream)
}

/// Whether the other side ends a connection without a response.
pub fn is_refused(stream: &mut (impl Read + Write)) -> bool {
    // The end may come during the write, or after it.
    let written = stream.write_all(options(1).as_bytes()).and_then(|()| stream.flush());
    let mut rest = Vec::new();
    let read = written.and_then(|()| stream.read_to_end(&mut rest));
    rest.is_empty() && read.map_or_else(|error| error.kind() != ErrorKind::WouldBlock, |_| true)
}

/// Whether the first of these certificates is that of the file.
pub fn is_of(shown: Option<&[CertificateDer<'_>]>, file: &Path) -> bool {
    shown.and_then(<[_]>::first) == chain(file).first()
}

fn roots(authority: &Path) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(chain(authority));
    roots
}

/// Accepts one connection.
pub fn accept(listener: &TcpListener, pair: &(PathBuf, PathBuf)) -> Callee {
    accept_with(listener, pair, None)
}

/// The same, and requires a client certificate of this authority.
pub fn accept_asking(listener: &TcpListener, pair: &(PathBuf, PathBuf), authority: &Path) -> Callee {
    accept_with(listener, pair, Some(authority))
}

/// A key log of TLS connections, in a file for tshark.
#[derive(Debug)]
pub struct Keys(Mutex<fs::File>);

impl Keys {
    pub fn to(path: &Path) -> Arc<Self> {
        Arc::new(Keys(Mutex::new(fs::File::create(path).expect("a file"))))
    }
}

impl KeyLog for Keys {
    /// A line in the key log format of NSS.
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let hex = |octets: &[u8]| octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
        let mut file = self.0.lock().expect("the file");
        writeln!(file, "{label} {} {}", hex(client_random), hex(secret)).expect("written");
    }
}

/// TLS on an accepted connection, with its secrets logged. With an authority the client has to present a
/// certificate of it. Reads block for as long as the connection is open.
pub fn secured(
    stream: TcpStream,
    pair: &(PathBuf, PathBuf),
    authority: Option<&Path>,
    keys: Arc<Keys>,
) -> Callee {
    let mut config = server_config(pair, authority);
    config.key_log = keys;
    StreamOwned::new(ServerConnection::new(Arc::new(config)).expect("server"), stream)
}

/// The next connection, within a time limit.
fn next_of(listener: &TcpListener) -> TcpStream {
    let until = Instant::now() + PATIENCE;
    listener.set_nonblocking(true).expect("a listener");
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                listener.set_nonblocking(false).expect("a listener");
                stream.set_nonblocking(false).expect("a connection");
                return stream;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => panic!("nobody connects: {error}"),
        }
    }
}

fn accept_with(listener: &TcpListener, pair: &(PathBuf, PathBuf), authority: Option<&Path>) -> Callee {
    let config = server_config(pair, authority);
    let stream = next_of(listener);
    stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
    StreamOwned::new(ServerConnection::new(Arc::new(config)).expect("server"), stream)
}

fn server_config((certificate, key): &(PathBuf, PathBuf), authority: Option<&Path>) -> ServerConfig {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("versions");
    let builder = match authority {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(authority)), provider);
            builder.with_client_cert_verifier(verifier.build().expect("authorities"))
        }
    };
    builder
        .with_single_cert(chain(certificate), PrivateKeyDer::from_pem_file(key).expect("key"))
        .expect("a pair")
}

/// Reads one message: its head, and its body by Content-Length. Empty once closed.
pub fn read_message(stream: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    loop {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(0) => return String::from_utf8_lossy(&bytes).into_owned(),
            Ok(_) => bytes.push(byte[0]),
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof) => {
                return String::from_utf8_lossy(&bytes).into_owned();
            }
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&bytes)),
        }
        if bytes.ends_with(b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes).into_owned();
            let length = field(&head, "Content-Length").parse().expect("a length");
            let mut body = vec![0; length];
            stream.read_exact(&mut body).expect("body");
            return head + &String::from_utf8_lossy(&body);
        }
    }
}

/// The value of the first header field of this name.
pub fn field(message: &str, name: &str) -> String {
    let value = message.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
    value.unwrap_or_else(|| panic!("no {name} in {message}")).to_owned()
}

/// The response to a request, with additional lines.
pub fn answer(request: &str, status: &str, lines: &str, body: &str) -> String {
    let fields = ["Via", "From", "Call-ID", "CSeq"].map(|name| format!("{name}: {}", field(request, name)));
    let to = field(request, "To");
    let tag = if to.contains(";tag=") { "" } else { ";tag=far" };
    let (head, length) = (fields.join("\r\n"), body.len());
    format!("SIP/2.0 {status}\r\n{head}\r\nTo: {to}{tag}\r\n{lines}Content-Length: {length}\r\n\r\n{body}")
}

/// Sends a message.
pub fn send(stream: &mut impl Write, message: &str) {
    stream.write_all(message.as_bytes()).expect("sent");
    stream.flush().expect("sent");
}

/// An OPTIONS in its own transaction.
pub fn options(n: u32) -> String {
    format!(
        "OPTIONS sip:x@h SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.1:9;branch=z9hG4bK{n}\r\nFrom: <sip:a@h>;tag=a\r\n\
         To: <sip:x@h>\r\nCall-ID: {n}@h\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    )
}

/// Sends an OPTIONS over a connection, and requires a 200.
pub fn ask(stream: &mut (impl Read + Write), n: u32) {
    send(stream, &options(n));
    let answer = read_message(stream);
    assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
}
