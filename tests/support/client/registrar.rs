//! A registrar over TCP whose answers a test writes by hand.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::server::Heard;
use super::within;

/// A registrar at an address of its own.
pub struct TcpRegistrar(TcpListener);

/// A connection to it.
pub struct RegistrarConnection(pub TcpStream);

impl TcpRegistrar {
    pub async fn new() -> TcpRegistrar {
        TcpRegistrar(TcpListener::bind("127.0.0.1:0").await.expect("loopback"))
    }

    pub fn uri(&self) -> String {
        format!("sip:{}", self.0.local_addr().expect("bound"))
    }

    /// The next connection.
    pub async fn accept(&self) -> RegistrarConnection {
        let (stream, _) = within("a connection", self.0.accept()).await.expect("accepted");
        RegistrarConnection(stream)
    }
}

impl RegistrarConnection {
    /// The next REGISTER.
    pub async fn hear(&mut self) -> Heard {
        let from = self.0.peer_addr().expect("connected");
        let mut text = String::new();
        let mut buffer = vec![0; 8_192];
        while !text.contains("\r\n\r\n") {
            let length = within("REGISTER", self.0.read(&mut buffer)).await.expect("open");
            assert!(length > 0, "closed after {text:?}");
            text.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
        let heard = Heard { text, from };
        assert!(heard.first_line().starts_with("REGISTER "), "{}", heard.first_line());
        heard
    }

    /// Answers it with 200, an hour and these header fields.
    pub async fn grant(&mut self, register: &Heard, lines: &str) {
        let copied =
            ["Via", "From", "Call-ID", "CSeq"].map(|name| format!("{name}: {}\r\n", register.field(name)));
        let response = format!(
            "SIP/2.0 200 OK\r\n{}To: {};tag=x\r\nContact: {};expires=3600\r\n{lines}Content-Length: 0\r\n\r\n",
            copied.concat(),
            register.field("To"),
            register.field("Contact")
        );
        self.0.write_all(response.as_bytes()).await.expect("written");
    }
}
