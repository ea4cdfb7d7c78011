//! Connects to voice agents by WebSocket, as a client.

use std::sync::Arc;

use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL, USER_AGENT};
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};

use super::many::connection::{self, Joining};
use super::many::{Opening, Pool, SUBPROTOCOL, Slot};
use super::message::{Format, Start};
use super::talk::{self, Io, Outcome, Party, Socket};
use super::{Open, Place, VERSION, VoiceDesk};
use b2b_app::voice_agent::{AgentConfig, AgentWay, Connecting, Line, Parting, Reach, Talk, Talking};
use b2b_call::controller::AudioStream;
use b2b_sip::net::Tls;

/// Connects to voice agents.
#[derive(Clone)]
pub struct WebSocketAgents {
    desk: VoiceDesk,
    tls: Tls,
    pool: Pool,
}

impl WebSocketAgents {
    /// Runs on the threads of this desk; `wss` is verified against the authorities of `tls`.
    pub fn new(desk: VoiceDesk, tls: Tls) -> Self {
        WebSocketAgents { desk, tls, pool: Pool::default() }
    }
}

impl Reach for WebSocketAgents {
    fn connect(&self, agent: &Arc<AgentConfig>) -> Connecting {
        let (this, agent) = (self.clone(), agent.clone());
        Box::pin(async move {
            let line = match agent.calls_per_connection {
                0 | 1 => this.connection(agent).await,
                _ => this.slot(agent).await,
            };
            this.desk.count_agent(line.is_ok());
            line
        })
    }
}

impl WebSocketAgents {
    /// A connection for one call. The attempt ends when the call no longer waits for it.
    async fn connection(&self, agent: Arc<AgentConfig>) -> Result<Box<dyn Line>, String> {
        let (handle, tls, asked) = (self.desk.handle(), self.tls.clone(), agent.clone());
        let (mut reply, answer) = oneshot::channel();
        handle.spawn(async move {
            tokio::select! {
                connected = connect_in_time(&asked, &tls) => drop(reply.send(connected)),
                () = reply.closed() => {}
            }
        });
        let socket = answer.await.unwrap_or_else(|_| Err("the server is stopping".to_owned()))?;
        Ok(Box::new(Connected { socket, agent, desk: self.desk.clone(), handle }))
    }

    /// A place on a shared connection.
    async fn slot(&self, agent: Arc<AgentConfig>) -> Result<Box<dyn Line>, String> {
        let (mut slot, opening) = self.pool.slot(&agent);
        if let Some(opening) = opening {
            self.desk.handle().spawn(opens(opening, self.desk.clone(), self.tls.clone()));
        }
        slot.is_up().await?;
        Ok(Box::new(SharedLine { slot, agent, desk: self.desk.clone() }))
    }
}

/// Opens a connection for several calls, and carries them. It stays even if the first call is gone, since
/// others may wait for it.
async fn opens(opening: Opening, desk: VoiceDesk, tls: Tls) {
    match connect_in_time(&opening.agent, &tls).await {
        Ok(socket) => {
            opening.tell(Ok(()));
            connection::carry(socket, opening, Open::take(&desk)).await;
        }
        Err(why) => opening.tell(Err(why)),
    }
}

async fn connect_in_time(agent: &AgentConfig, tls: &Tls) -> Result<Socket, String> {
    let late = |_| Err(format!("not connected within {} s", agent.connect.as_secs()));
    tokio::time::timeout(agent.connect, connect(agent, tls)).await.unwrap_or_else(late)
}

async fn connect(agent: &AgentConfig, tls: &Tls) -> Result<Socket, String> {
    let url = &agent.url;
    let failed = |error: std::io::Error| format!("{url}: {error}");
    let stream: Box<dyn Io> = match &url.way {
        AgentWay::Unix { socket, .. } => Box::new(UnixStream::connect(socket).await.map_err(failed)?),
        AgentWay::Tcp { host, port, secure } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(failed)?;
            let _ = stream.set_nodelay(true);
            // An IP address has no name to verify.
            let name = host.parse::<std::net::IpAddr>().is_err().then_some(host.as_str());
            match secure {
                false => Box::new(stream),
                true => Box::new(tls.open(stream, name).await.map_err(failed)?),
            }
        }
    };
    let wrong = |error: &dyn std::fmt::Display| format!("{url}: {error}");
    let mut request = url.request().into_client_request().map_err(|error| wrong(&error))?;
    let fields = request.headers_mut();
    fields.insert(USER_AGENT, HeaderValue::from_static(concat!("b2b/", env!("CARGO_PKG_VERSION"))));
    for (name, value) in &agent.headers {
        let unsent = || format!("{url}: its header field {name} cannot be sent");
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unsent())?;
        let mut value = HeaderValue::from_str(value.reveal()).map_err(|_| unsent())?;
        value.set_sensitive(true);
        fields.insert(name, value);
    }
    if let Some(token) = &agent.token {
        let value = HeaderValue::from_str(&format!("Bearer {}", token.reveal()));
        let mut value = value.map_err(|_| format!("{url}: its token has characters that cannot be sent"))?;
        value.set_sensitive(true);
        fields.insert(AUTHORIZATION, value);
    }
    let many = agent.calls_per_connection > 1;
    let config = if many { connection::config() } else { talk::config() };
    if many {
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    }
    match client_async_with_config(request, stream, Some(config)).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(response)) => Err(format!("{url} answers {}", response.status())),
        Err(Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(_))) if many => Err(format!(
            "{url} does not confirm the subprotocol {SUBPROTOCOL}: answer with it in Sec-WebSocket-Protocol and take \
             several calls on one connection (voice-agents.md), or leave out calls_per_connection"
        )),
        Err(error) => Err(wrong(&error)),
    }
}

/// A connection of one call.
struct Connected {
    socket: Socket,
    agent: Arc<AgentConfig>,
    desk: VoiceDesk,
    /// The runtime that the socket belongs to.
    handle: Handle,
}

impl Line for Connected {
    fn talk(self: Box<Self>, talk: Talk) -> Talking {
        Box::pin(async move {
            let Connected { socket, agent, desk, handle } = *self;
            let (start, stream, party) = parts(&agent, talk);
            parting(desk.talk(&handle, socket, start, stream, party, agent.stall).await)
        })
    }
}

/// A place on a shared connection.
struct SharedLine {
    slot: Slot,
    agent: Arc<AgentConfig>,
    desk: VoiceDesk,
}

impl Line for SharedLine {
    fn talk(self: Box<Self>, talk: Talk) -> Talking {
        Box::pin(async move {
            let SharedLine { slot, agent, desk } = *self;
            let (start, stream, party) = parts(&agent, talk);
            let (ended, end) = oneshot::channel();
            let calls = slot.calls();
            let joining = Joining { start, stream, party, ended, slot, place: Place::take(&desk) };
            match calls.send(joining).await {
                Ok(()) => parting(end.await.ok()),
                // The connection has closed since the place was taken.
                Err(_) => parting(Some(Outcome::lost())),
            }
        })
    }
}

/// The start message for the agent, its audio stream, and the party.
fn parts(agent: &AgentConfig, talk: Talk) -> (Start, AudioStream, Party) {
    let start = Start {
        version: VERSION,
        call: talk.call.0,
        leg: talk.leg.0,
        agent: Some(agent.name.clone()),
        caller: talk.caller,
        called: talk.called,
        format: Format::of(talk.stream.spec()),
        speaks: talk.stream.spec().speaks,
        headers: talk.headers,
        variables: talk.variables,
    };
    (start, talk.stream, Party { leg: talk.leg, service: talk.service })
}

fn parting(outcome: Option<Outcome>) -> Parting {
    match outcome {
        Some(Outcome::Stopped { transfer }) => Parting::Stopped { transfer },
        Some(Outcome::Ended(why)) => Parting::Ended(why),
        Some(Outcome::Left { code, why }) => Parting::Failed { code, why },
        Some(Outcome::Fault(fault)) => Parting::Failed { code: Some(fault.code()), why: fault.to_string() },
        None => Parting::Failed { code: None, why: "the server is stopping".to_owned() },
    }
}
