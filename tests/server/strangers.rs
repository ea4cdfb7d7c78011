//! Whatever a stranger sends outside a dialog leaves nothing with the server, over UDP and over TCP.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use crate::server_support::{Server, start, until};

const METHODS: [&str; 14] = [
    "INVITE",
    "REGISTER",
    "OPTIONS",
    "SUBSCRIBE",
    "MESSAGE",
    "NOTIFY",
    "PUBLISH",
    "REFER",
    "PRACK",
    "INFO",
    "BYE",
    "UPDATE",
    "CANCEL",
    "FROBNICATE",
];

const HELD: [&str; 4] = ["sip_server_transactions", "sip_usages", "sip_timers", "sip_map_entries"];

/// A server that trusts nobody, at the same port over both transports.
fn server() -> Server {
    let folder = tempfile::tempdir().expect("a folder");
    // Its UDP port is nobody's either: no other test has this address.
    let at = TcpListener::bind("127.0.79.27:0").and_then(|it| it.local_addr()).expect("loopback");
    let config = format!(
        "[server]\nlisten = [\"udp:{at}\", \"tcp:{at}\"]\nstore = \"memory\"\ndomains = [\"b2b.example\"]\n\
         [http]\nlisten = \"127.0.0.1:0\"\ntoken = \"off\"\n\
         [[user]]\nname = \"1001\"\npassword = \"x\"\n[[route]]\nto = \"user/$0\"\n"
    );
    std::fs::write(folder.path().join("b2bua.toml"), config).expect("a file");
    start(folder)
}

fn request(method: &str, to: SocketAddr, from: (&str, SocketAddr)) -> String {
    let (transport, at) = from;
    format!(
        "{method} sip:1001@{to} SIP/2.0\r\nVia: SIP/2.0/{transport} {at};rport;branch=z9hG4bK{method}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:stranger@{at}>;tag={method}\r\nTo: <sip:1001@b2b.example>\r\n\
         Call-ID: stranger-{method}-{transport}\r\nCSeq: 1 {method}\r\nContact: <sip:stranger@{at}>\r\n\
         Event: presence\r\nExpires: 600\r\nContent-Length: 0\r\n\r\n"
    )
}

fn held(server: &Server) -> Vec<f64> {
    HELD.iter().map(|what| server.metric(&format!("b2b_held{{what=\"{what}\"}}"))).collect()
}

/// The status of each response.
fn statuses(text: &str) -> Vec<(String, u16)> {
    let responses = text.split("SIP/2.0 ").skip(1).filter(|it| it.as_bytes()[0].is_ascii_digit());
    let of = |response: &str| {
        let method = response.lines().find_map(|line| line.strip_prefix("CSeq: 1 "))?.to_owned();
        Some((method, response.get(..3)?.parse().ok()?))
    };
    responses.filter_map(of).collect()
}

#[test]
fn a_strangers_request_of_any_method_leaves_no_state() {
    let server = server();
    let before = held(&server);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
    let at = socket.local_addr().expect("an address");
    let mut udp = String::new();
    for method in METHODS {
        socket.send_to(request(method, server.sip, ("UDP", at)).as_bytes(), server.sip).expect("loopback");
        let mut buffer = [0; 4_096];
        let length = socket.recv(&mut buffer).expect("an answer");
        udp.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
    let mut stream = TcpStream::connect(server.sip).expect("loopback");
    stream.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
    let at = stream.local_addr().expect("an address");
    for method in METHODS {
        stream.write_all(request(method, server.sip, ("TCP", at)).as_bytes()).expect("it reads");
    }
    let mut tcp = Vec::new();
    until("every answer", || {
        let mut buffer = [0; 4_096];
        let length = stream.read(&mut buffer).unwrap_or(0);
        tcp.extend_from_slice(&buffer[..length]);
        (statuses(&String::from_utf8_lossy(&tcp)).len() == METHODS.len()).then_some(())
    });
    for text in [udp, String::from_utf8_lossy(&tcp).into_owned()] {
        for (method, status) in statuses(&text) {
            let wanted: u16 = match method.as_str() {
                "INVITE" => 407,
                "REGISTER" | "SUBSCRIBE" => 401,
                "OPTIONS" => 200,
                "INFO" | "BYE" | "UPDATE" | "CANCEL" => 481,
                _ => 405,
            };
            assert_eq!(status, wanted, "{method}");
        }
        assert_eq!(text.matches("\r\nAllow: ").count(), 7, "of each 405 and of OPTIONS: {text}");
    }
    assert_eq!(held(&server), before);
}
