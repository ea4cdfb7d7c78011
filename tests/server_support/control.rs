//! A client of the control interface's WebSockets.

use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::Server;
use super::child::PATIENCE;

pub struct Socket(pub WebSocketStream<TcpStream>);

impl Socket {
    /// Connects to this path, with its query.
    pub async fn to(server: &Server, path: &str) -> Socket {
        Socket::with(server, path, None).await.expect("a WebSocket")
    }

    /// The same with a token.
    pub async fn with(server: &Server, path: &str, token: Option<&str>) -> Result<Socket, String> {
        use tokio_tungstenite::tungstenite::client::IntoClientRequest;
        let stream = TcpStream::connect(server.http).await.expect("the control interface");
        let mut request = format!("ws://{}{path}", server.http).into_client_request().expect("a request");
        if let Some(token) = token {
            let value = format!("Bearer {token}").parse().expect("a value");
            request.headers_mut().insert("Authorization", value);
        }
        let connected = tokio_tungstenite::client_async(request, stream).await;
        connected.map(|(socket, _)| Socket(socket)).map_err(|error| error.to_string())
    }

    pub async fn say(&mut self, value: &Value) {
        self.say_text(&value.to_string()).await;
    }

    pub async fn say_text(&mut self, text: &str) {
        use futures_util::SinkExt;
        // After a refusal the connection may be closed already.
        let _ = self.0.send(Message::Text(text.to_owned().into())).await;
    }

    /// The next text message; `None` once the server has closed.
    pub async fn hear(&mut self) -> Option<Value> {
        use futures_util::StreamExt;
        loop {
            let message = tokio::time::timeout(PATIENCE, self.0.next()).await.expect("something in time");
            match message {
                Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).expect("JSON")),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// The next matching message; others are skipped.
    pub async fn hear_of(&mut self, what: &str, like: impl Fn(&Value) -> bool) -> Value {
        loop {
            let heard = self.hear().await.unwrap_or_else(|| panic!("closed while waiting for {what}"));
            if like(&heard) {
                return heard;
            }
        }
    }

    /// The final event of a command.
    pub async fn end_of(&mut self, id: &str) -> Value {
        let end = |it: &Value| {
            it["id"] == id && matches!(it["type"].as_str(), Some("command_completed" | "command_failed"))
        };
        self.hear_of(id, end).await
    }
}
