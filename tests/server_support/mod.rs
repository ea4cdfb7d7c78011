//! A b2bua under test with its control interface, and a client of it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

pub mod captured;
pub mod control;
pub use crate::common::child;
pub mod phone;

use child::B2b;

/// A b2bua on this machine; killed on drop.
pub struct Server {
    pub process: B2b,
    pub sip: SocketAddr,
    pub http: SocketAddr,
    pub folder: tempfile::TempDir,
    /// The media server, if `B2B_TEST_MEDIA` is `server`.
    _media: Option<B2b>,
}

/// Starts a server that trusts this machine, with these lines after `[http]`. It requires a token if they
/// begin with one.
pub fn server(lines: &str) -> Server {
    start(configured(lines))
}

/// A folder with this configuration.
pub fn configured(lines: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let own = lines.starts_with("token") || lines.starts_with("[[http.tokens]]");
    let off = if own { "" } else { "token = \"off\"\n" };
    let config = format!(
        "[server]\nlisten = [\"udp:127.0.0.1:0\"]\ntrusted = [\"127.0.0.0/8\"]\nstore = \"memory\"\n\
         domains = [\"b2b.example\"]\ncdr = \"cdr.jsonl\"\ndrain_s = 2\n[http]\nlisten = \"127.0.0.1:0\"\n{off}{lines}"
    );
    std::fs::write(folder.path().join("b2bua.toml"), config).expect("a file");
    folder
}

/// Starts the server configured in this folder.
pub fn start(folder: tempfile::TempDir) -> Server {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_b2b"));
    command.args(["--role", "b2bua", "--config"]).arg(folder.path().join("b2bua.toml"));
    start_by(&mut command, folder)
}

/// The same with another command.
pub fn start_by(command: &mut std::process::Command, folder: tempfile::TempDir) -> Server {
    let media = carried_elsewhere(folder.path());
    let mut process = B2b::start(command);
    let ready = process.wait_for_line("READY role=b2bua");
    let address = |name: &str| {
        let word = ready.split(' ').find_map(|word| word.strip_prefix(name));
        word.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no {name} in {ready:?}"))
    };
    let (sip, http) = (address("sip="), address("http="));
    if let Some((_, at)) = &media {
        let load = format!("GET /v1/load HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
        until("its session with the media server", || {
            (exchange(*at, load.as_bytes()).json()["sessions"] == 1).then_some(())
        });
    }
    Server { process, sip, http, folder, _media: media.map(|(media, _)| media) }
}

/// With `B2B_TEST_MEDIA=server` in the environment a media server carries the media of each server that a
/// test starts, unless its configuration names a controller: all tests can run this way.
fn carried_elsewhere(folder: &std::path::Path) -> Option<(B2b, SocketAddr)> {
    std::env::var_os("B2B_TEST_MEDIA").filter(|it| it == "server")?;
    let path = folder.join("b2bua.toml");
    // Some configurations have their own controller.
    let text = std::fs::read_to_string(&path).ok().filter(|text| !text.contains("controller = "))?;
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_b2b"));
    command.args(["--role", "media", "--listen", "127.0.0.1:0", "--rtp-ports", "20000-59999"]);
    let mut media = B2b::start(&mut command);
    let line = media.wait_for_line("READY role=media");
    let at = line.split("listen=").nth(1).and_then(|at| at.parse().ok());
    let at: SocketAddr = at.unwrap_or_else(|| panic!("no address in {line:?}"));
    let controller = format!("[media]\ncontroller = \"http://{at}\"\n");
    let text = match text.split_once("[media]\n") {
        Some((before, behind)) => format!("{before}{controller}{behind}"),
        None => format!("{text}\n{controller}"),
    };
    std::fs::write(&path, text).expect("a configuration");
    Some((media, at))
}

/// A response.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

impl Server {
    /// One request, with additional header lines.
    pub fn ask_with(&self, method: &str, path: &str, fields: &str, body: &str) -> Answer {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n{fields}\r\n{body}",
            self.http,
            body.len()
        );
        exchange(self.http, request.as_bytes())
    }

    pub fn ask(&self, method: &str, path: &str) -> Answer {
        self.ask_with(method, path, "", "")
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path)
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask_with("POST", path, "Content-Type: application/json\r\n", &body.to_string())
    }

    /// A value from the metrics; `series` includes the labels.
    pub fn metric(&self, series: &str) -> f64 {
        let page = self.get("/metrics").text();
        let found = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        found.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {series} in\n{page}"))
    }
}

/// Sends octets and reads until the far end closes; without a response the status is 0.
pub fn exchange(to: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(to).expect("the control interface");
    stream.set_read_timeout(Some(child::PATIENCE)).expect("a timeout");
    // A server that refuses early may close before all is written.
    let _ = stream.write_all(request);
    let mut received = Vec::new();
    let _ = stream.read_to_end(&mut received);
    let end = received.windows(4).position(|four| four == b"\r\n\r\n").map_or(received.len(), |at| at + 4);
    let head = String::from_utf8_lossy(&received[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let mut body = received.split_off(end);
    if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        body = unchunked(&body);
    }
    Answer { status, head, body }
}

fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(at) = body.windows(2).position(|two| two == b"\r\n") {
        let size = String::from_utf8_lossy(&body[..at]).into_owned();
        let size = usize::from_str_radix(size.trim(), 16).expect("a size");
        whole.extend_from_slice(&body[at + 2..at + 2 + size]);
        body = &body[(at + 4 + size).min(body.len())..];
    }
    whole
}

/// Repeats a query until it returns a value.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = std::time::Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < child::PATIENCE, "waited for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
