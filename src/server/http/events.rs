//! `GET /events`: the event bus as a WebSocket, one JSON object per event.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{Extension, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::SinkExt;
use serde::Deserialize;

use super::Api;
use super::answer::Problem;
use super::guard::{Granted, Keys};
use super::said;
use b2b_call::CallId;
use b2b_call::bus::{Received, ResumeError, Subscriber};
use b2b_call::event::{Event, EventFilter, Published};

/// Time that a client may take to read one event before it is disconnected. It loses events long before that,
/// and is told.
pub const STALL: Duration = Duration::from_secs(60);
/// The subprotocol, for clients that have to name one, such as browsers that send a token in another one.
const PROTOCOL: &str = "b2b.events";
/// Interval of pings on a quiet connection.
const PING: Duration = Duration::from_secs(30);
/// Maximum octets of a client's message: clients have nothing to send.
const MESSAGE: usize = 4 * 1_024;
/// Octets that are written at once, and the maximum that may wait to be written.
const WRITE_LOT: usize = 32 * 1_024;
const WRITE_BEHIND: usize = 256 * 1_024;
/// Maximum events read for one write.
const LOT: usize = 256;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Only events after the one with this number.
    after: Option<u64>,
    /// Only events of this call.
    call: Option<u64>,
    /// Only events of these types, comma-separated.
    r#type: Option<String>,
    /// Only events of these planes, comma-separated.
    plane: Option<String>,
}

/// The event filter of a query.
pub fn filter(types: Option<&str>, planes: Option<&str>) -> Result<EventFilter, Problem> {
    let fix = "docs/events.md lists the types of events and their planes";
    let filter = types.map_or_else(|| Ok(EventFilter::all()), |types| EventFilter::all().of_types(types));
    let filter = filter
        .and_then(|filter| planes.map_or_else(|| Ok(filter.clone()), |it| filter.clone().of_planes(it)));
    filter.map_err(|error| Problem::bad(error.to_string(), fix))
}

/// Upgrades the connection.
pub async fn stream(
    State(api): State<Api>,
    Extension(granted): Extension<Granted>,
    asked: Result<Query<Asked>, QueryRejection>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let usage = "the query takes after=<seq>, call=<call>, type=<type>,… and plane=<plane>,…";
    let Query(asked) = asked.map_err(|error| Problem::bad(error.body_text(), usage))?;
    let wanted = filter(asked.r#type.as_deref(), asked.plane.as_deref())?;
    let subscriber = subscribe(&api, asked.after)?.only(wanted);
    let fix = "connect as a WebSocket, like `websocat ws://127.0.0.1:8080/events`";
    let upgrade = upgrade.map_err(|error| Problem::new(error.status(), error.body_text(), fix))?;
    let wanted = Wanted { call: asked.call.map(CallId), commands: false, keys: granted.keys() };
    let upgrade = bounded(upgrade, MESSAGE);
    Ok(upgrade.on_upgrade(move |socket| feed(socket, subscriber, wanted)).into_response())
}

/// Subscribes to all events from now on, or after the one with this number.
pub fn subscribe(api: &Api, after: Option<u64>) -> Result<Subscriber, Problem> {
    match after {
        None => Ok(api.crowd.subscribe()),
        Some(after) => api.crowd.resume(after).map_err(|error| gone(&error)),
    }
}

/// The same, woken by each event individually: for few subscribers.
pub fn subscribe_alone(api: &Api, after: Option<u64>) -> Result<Subscriber, Problem> {
    match after {
        None => Ok(api.admission.bus.subscribe()),
        Some(after) => api.admission.bus.resume(after).map_err(|error| gone(&error)),
    }
}

/// Limits a client's messages, and the data that waits for it.
pub fn bounded(upgrade: WebSocketUpgrade, message: usize) -> WebSocketUpgrade {
    upgrade
        .protocols([PROTOCOL])
        .max_message_size(message)
        .write_buffer_size(WRITE_LOT)
        .max_write_buffer_size(WRITE_BEHIND)
}

fn gone(error: &ResumeError) -> Problem {
    Problem::new(StatusCode::GONE, error.to_string(), "leave after= out, and read GET /calls once")
}

/// The events that a client wants.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Only those of this call.
    pub call: Option<CallId>,
    /// Only the results of commands.
    pub commands: bool,
    /// The digits that the client may see.
    pub keys: Keys,
}

impl Wanted {
    fn has(self, event: &Event) -> bool {
        let of_command = matches!(event, Event::CommandCompleted { .. } | Event::CommandFailed { .. });
        (self.call.is_none() || event.call() == self.call) && (!self.commands || of_command)
    }
}

/// The bus has ended.
#[derive(Debug, Clone, Copy)]
pub struct Over;

/// An item for a subscriber of the bus.
pub enum Pulse {
    Event(Arc<Published>),
    /// A ping because no event came, or the number of lost events.
    Other(Message),
    /// The bus has ended.
    Over,
}

/// The next matching event; a ping if none comes. Dropping the future loses nothing.
pub async fn pulse(events: &mut Subscriber, wanted: impl Fn(&Event) -> bool) -> Pulse {
    let quiet = tokio::time::sleep(PING);
    tokio::pin!(quiet);
    loop {
        let received = tokio::select! {
            biased;
            received = events.recv() => received,
            () = &mut quiet => return Pulse::Other(Message::Ping(Default::default())),
        };
        match received {
            None => return Pulse::Over,
            Some(Received::Lagged(count)) => return Pulse::Other(lost(count)),
            Some(Received::Event(event)) if wanted(&event.event) => return Pulse::Event(event),
            Some(Received::Event(_)) => {}
        }
    }
}

fn lost(count: u64) -> Message {
    said::message(&said::Missed::Lost { count })
}

/// The message for an event; `None`: it cannot be serialized.
pub fn written(event: &Published, keys: Keys) -> Option<Message> {
    let whole = match keys {
        Keys::Shown => true,
        Keys::Collected => matches!(event.event, Event::CommandCompleted { .. }),
        Keys::Hidden => false,
    };
    let text = if whole { event.json() } else { event.json_without_keys() };
    let text = text.and_then(|text| Utf8Bytes::try_from(text).ok());
    if text.is_none() {
        tracing::error!("event {} cannot be written", event.seq);
    }
    text.map(Message::Text)
}

/// The next message for a client.
pub async fn next(events: &mut Subscriber, wanted: Wanted) -> Result<Message, Over> {
    loop {
        match pulse(events, |event| wanted.has(event)).await {
            Pulse::Over => return Err(Over),
            Pulse::Other(message) => return Ok(message),
            Pulse::Event(event) => {
                if let Some(message) = written(&event, wanted.keys) {
                    return Ok(message);
                }
            }
        }
    }
}

/// The matching events that are already available, out of a limited number.
pub fn there(events: &mut Subscriber, wanted: Wanted) -> impl Iterator<Item = Message> {
    let received = std::iter::from_fn(|| events.try_recv()).take(LOT);
    received.filter_map(move |received| match received {
        Received::Lagged(count) => Some(lost(count)),
        Received::Event(event) if wanted.has(&event.event) => written(&event, wanted.keys),
        Received::Event(_) => None,
    })
}

/// Sends this message together with all matching ones that are available; returns whether the client has
/// accepted each in time.
async fn send_lot(socket: &mut WebSocket, first: Message, events: &mut Subscriber, wanted: Wanted) -> bool {
    for message in std::iter::once(first).chain(there(events, wanted)) {
        if !in_time(socket.feed(message)).await {
            return false;
        }
    }
    in_time(socket.flush()).await
}

async fn in_time(sending: impl Future<Output = Result<(), axum::Error>>) -> bool {
    matches!(tokio::time::timeout(STALL, sending).await, Ok(Ok(())))
}

async fn feed(mut socket: WebSocket, mut events: Subscriber, wanted: Wanted) {
    loop {
        let message = tokio::select! {
            said = socket.recv() => match said {
                // Pongs, and messages that are ignored.
                Some(Ok(Message::Text(_) | Message::Binary(_) | Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            },
            message = next(&mut events, wanted) => match message {
                Ok(message) => message,
                Err(Over) => return drop(socket.send(Message::Close(None)).await),
            },
        };
        if !send_lot(&mut socket, message, &mut events, wanted).await {
            return;
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
    use b2b_call::bus::EventBus;

    const ALL: Wanted = Wanted { call: None, commands: false, keys: Keys::Shown };

    #[tokio::test]
    async fn who_reads_too_slowly_is_told_how_many_were_lost() {
        let bus = EventBus::new(8, 100);
        let subscriber = bus.subscribe();
        for calls in 0..20 {
            bus.publish(SystemTime::UNIX_EPOCH, Event::Draining { calls });
        }
        let feeding = std::sync::Mutex::new(Some(subscriber));
        let take = move |upgrade: WebSocketUpgrade| {
            let subscriber = feeding.lock().expect("whole").take().expect("one client");
            async move { upgrade.on_upgrade(move |socket| feed(socket, subscriber, ALL)) }
        };
        let take = std::sync::Arc::new(take);
        let router = Router::new().route("/", get(move |upgrade: WebSocketUpgrade| take(upgrade)));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        listener.set_nonblocking(true).expect("a mode");
        let address = listener.local_addr().expect("an address");
        let (_stop, stopped) = tokio::sync::oneshot::channel();
        tokio::spawn(super::super::listen::run(
            listener,
            router,
            Default::default(),
            Default::default(),
            Default::default(),
            stopped,
        ));
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
