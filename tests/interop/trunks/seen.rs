//! Frames as dissected by tshark, with TLS decrypted.

use std::path::Path;
use std::process::Command;

/// The fields of a frame; those of several messages are separated by commas. Empty: not present.
#[derive(Debug, Default)]
pub struct Seen {
    pub to: String,
    /// The TCP connection.
    pub stream: Option<String>,
    /// The frame contains TLS.
    pub tls: bool,
    pub server_name: String,
    /// Types of handshake messages.
    pub handshakes: String,
    method: String,
    pub uri_user: String,
    pub uri_host: String,
    pub from_user: String,
    pub from_host: String,
    pub to_tag: String,
    pub contact_user: String,
    pub contact_host: String,
    pub proto: String,
    pub suites: String,
    pub attributes: String,
    request_line: String,
    status_line: String,
    /// Header fields, one per line.
    head: String,
    body: String,
}

const FIELDS: [&str; 20] = [
    "ip.dst",
    "tcp.stream",
    "tls.record.version",
    "tls.handshake.extensions_server_name",
    "tls.handshake.type",
    "sip.Method",
    "sip.r-uri.user",
    "sip.r-uri.host",
    "sip.from.user",
    "sip.from.host",
    "sip.to.tag",
    "sip.contact.user",
    "sip.contact.host",
    "sdp.media.proto",
    "sdp.crypto.crypto_suite",
    "sdp.media_attr",
    "sip.Request-Line",
    "sip.Status-Line",
    "sip.msg_hdr",
    "sdp.connection_info",
];

impl Seen {
    /// Whether it contains a request with this method.
    pub fn is(&self, method: &str) -> bool {
        !self.request_line.is_empty() && self.method.split(',').any(|it| it == method)
    }

    /// Whether it contains readable SIP.
    pub fn is_sip(&self) -> bool {
        !self.request_line.is_empty() || !self.status_line.is_empty()
    }

    /// Whether a message contains this text: in its first line, its header fields, each after a line end, or
    /// its session description.
    pub fn has(&self, text: &str) -> bool {
        [&self.request_line, &self.head, &self.attributes, &self.proto, &self.body]
            .iter()
            .any(|it| it.contains(text))
    }
}

/// Every frame of a capture.
pub fn read(capture: &Path, keys: &Path) -> Vec<Seen> {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(capture).arg("-o").arg(format!("tls.keylog_file:{}", keys.display()));
    command.args(["-T", "fields", "-E", "separator=/t", "-E", "occurrence=a"]);
    command.args(["-o", "udp.try_heuristic_first:TRUE"]);
    for field in FIELDS {
        command.args(["-e", field]);
    }
    let output = command.output().expect("tshark");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(frame).collect()
}

fn frame(line: &str) -> Seen {
    let fields: Vec<String> = line.split('\t').map(str::to_owned).collect();
    let Ok(
        [
            to,
            stream,
            tls,
            server_name,
            handshakes,
            method,
            uri_user,
            uri_host,
            from_user,
            from_host,
            to_tag,
            contact_user,
            contact_host,
            proto,
            suites,
            attributes,
            request_line,
            status_line,
            head,
            body,
        ],
    ) = <[String; 20]>::try_from(fields)
    else {
        panic!("tshark says {line:?}")
    };
    Seen {
        to,
        stream: (!stream.is_empty()).then_some(stream),
        tls: !tls.is_empty(),
        server_name,
        handshakes,
        method,
        uri_user,
        uri_host,
        from_user,
        from_host,
        to_tag,
        contact_user,
        contact_host,
        proto,
        suites,
        attributes,
        request_line,
        status_line,
        head: format!("\n{}", head.replace("\\r\\n", "\n")),
        body,
    }
}
