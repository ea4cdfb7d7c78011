//! `GET /events`: the bus as a WebSocket, one JSON object an event.

use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::Api;
use super::answer::Problem;
use crate::call::CallId;
use crate::call::bus::{Received, ResumeError, Subscriber};

/// How long a client may take to read one event before it is given up. It loses events
/// long before that, and is told.
const STALL: Duration = Duration::from_secs(60);
/// The subprotocol, for clients that have to name one: browsers, to bring a token beside it.
const PROTOCOL: &str = "b2b.events";
/// How often a quiet connection is looked at.
const PING: Duration = Duration::from_secs(30);
/// Bytes that a client may say at once: it has nothing to say.
const MESSAGE: usize = 4 * 1_024;
/// Bytes that wait to be written at most.
const WRITE_BEHIND: usize = 256 * 1_024;

#[derive(Debug, Deserialize)]
pub struct Asked {
    /// Go on behind the event with this number.
    after: Option<u64>,
    /// Only of this call.
    call: Option<u64>,
}

/// Upgrades the connection.
pub async fn stream(
    State(api): State<Api>,
    asked: Result<Query<Asked>, QueryRejection>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let usage = "the query takes after=<seq> and call=<call>";
    let Query(asked) = asked.map_err(|error| Problem::bad(error.body_text(), usage))?;
    let subscriber = match asked.after {
        None => api.desk.bus.subscribe(),
        Some(after) => api.desk.bus.resume(after).map_err(|error| gone(&error))?,
    };
    let fix = "connect as a WebSocket, like `websocat ws://127.0.0.1:8080/events`";
    let upgrade = upgrade.map_err(|error| Problem::new(error.status(), error.body_text(), fix))?;
    let call = asked.call.map(CallId);
    let upgrade = upgrade
        .protocols([PROTOCOL])
        .max_message_size(MESSAGE)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BEHIND);
    Ok(upgrade.on_upgrade(move |socket| feed(socket, subscriber, call)).into_response())
}

fn gone(error: &ResumeError) -> Problem {
    Problem::new(StatusCode::GONE, error.to_string(), "leave after= out, and read GET /calls once")
}

async fn feed(mut socket: WebSocket, mut events: Subscriber, call: Option<CallId>) {
    loop {
        let message = tokio::select! {
            said = socket.recv() => match said {
                // Pongs, and words that nobody asked for.
                Some(Ok(Message::Text(_) | Message::Binary(_) | Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            },
            received = tokio::time::timeout(PING, events.recv()) => match received {
                Err(_) => Message::Ping(Default::default()),
                Ok(None) => return drop(socket.send(Message::Close(None)).await),
                Ok(Some(Received::Lagged(lost))) => {
                    let lost = serde_json::json!({ "type": "lost", "count": lost });
                    Message::Text(lost.to_string().into())
                }
                Ok(Some(Received::Event(event))) => {
                    if call.is_some() && event.event.call() != call {
                        continue;
                    }
                    match serde_json::to_string(&*event) {
                        Ok(text) => Message::Text(text.into()),
                        Err(error) => {
                            tracing::error!("event {} cannot be written: {error}", event.seq);
                            continue;
                        }
                    }
                }
            },
        };
        match tokio::time::timeout(STALL, socket.send(message)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use axum::Router;
    use axum::routing::get;
    use futures_util::StreamExt;
    use tokio_tungstenite::tungstenite::Message as Heard;

    use super::*;
    use crate::call::bus::EventBus;
    use crate::call::event::Event;

    #[tokio::test]
    async fn who_reads_too_slowly_is_told_how_many_he_lost() {
        let bus = EventBus::new(8, 100);
        let subscriber = bus.subscribe();
        for calls in 0..20 {
            bus.publish(SystemTime::UNIX_EPOCH, Event::Draining { calls });
        }
        let feeding = std::sync::Mutex::new(Some(subscriber));
        let take = move |upgrade: WebSocketUpgrade| {
            let subscriber = feeding.lock().expect("whole").take().expect("one client");
            async move { upgrade.on_upgrade(move |socket| feed(socket, subscriber, None)) }
        };
        let take = std::sync::Arc::new(take);
        let router = Router::new().route("/", get(move |upgrade: WebSocketUpgrade| take(upgrade)));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        listener.set_nonblocking(true).expect("a mode");
        let address = listener.local_addr().expect("an address");
        let (_stop, stopped) = tokio::sync::oneshot::channel();
        tokio::spawn(super::super::listen::run(listener, router, stopped));
        let stream = tokio::net::TcpStream::connect(address).await.expect("the server");
        let url = format!("ws://{address}/");
        let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.expect("a WebSocket");
        drop(bus);
        let mut heard = Vec::new();
        while let Some(Ok(message)) = socket.next().await {
            match message {
                Heard::Text(text) => {
                    heard.push(serde_json::from_str::<serde_json::Value>(&text).expect("JSON"))
                }
                Heard::Close(_) => break,
                _ => {}
            }
        }
        assert_eq!(heard[0], serde_json::json!({ "type": "lost", "count": 12 }));
        let numbers: Vec<_> = heard[1..].iter().filter_map(|event| event["seq"].as_u64()).collect();
        assert_eq!(numbers, (112..120).collect::<Vec<_>>());
    }
}
