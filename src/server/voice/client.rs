//! Reaches voice agents by WebSocket, as their client.

use std::sync::Arc;

use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::header::{AUTHORIZATION, USER_AGENT};
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};

use super::message::{Format, Start};
use super::talk::{self, Io, Outcome, Party, Socket};
use super::{VERSION, VoiceDesk};
use b2b_app::voice_agent::{AgentConfig, AgentWay, Connecting, Line, Parting, Reach, Talk, Talking};
use b2b_sip::net::Tls;

/// Connects to agents.
#[derive(Clone)]
pub struct WebSocketAgents {
    desk: VoiceDesk,
    tls: Tls,
}

impl WebSocketAgents {
    /// On the threads of this desk; `wss` by the authorities of that.
    pub fn new(desk: VoiceDesk, tls: Tls) -> Self {
        WebSocketAgents { desk, tls }
    }
}

impl Reach for WebSocketAgents {
    fn connect(&self, agent: &Arc<AgentConfig>) -> Connecting {
        let (desk, tls, agent) = (self.desk.clone(), self.tls.clone(), agent.clone());
        Box::pin(async move {
            let handle = desk.handle();
            let (mut reply, answer) = oneshot::channel();
            let asked = agent.clone();
            handle.spawn(async move {
                tokio::select! {
                    connected = tokio::time::timeout(asked.connect, connect(&asked, &tls)) => {
                        let late = |_| Err(format!("it was not there within {} s", asked.connect.as_secs()));
                        drop(reply.send(connected.unwrap_or_else(late)));
                    }
                    () = reply.closed() => {}
                }
            });
            let connected = answer.await.unwrap_or_else(|_| Err("the server is stopping".to_owned()));
            desk.count_agent(connected.is_ok());
            let line: Box<dyn Line> = Box::new(Connected { socket: connected?, agent, desk, handle });
            Ok(line)
        })
    }
}

async fn connect(agent: &AgentConfig, tls: &Tls) -> Result<Socket, String> {
    let url = &agent.url;
    let failed = |error: std::io::Error| format!("{url}: {error}");
    let stream: Box<dyn Io> = match &url.way {
        AgentWay::Unix { socket, .. } => Box::new(UnixStream::connect(socket).await.map_err(failed)?),
        AgentWay::Tcp { host, port, secure } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(failed)?;
            let _ = stream.set_nodelay(true);
            // An address has no name.
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
    match client_async_with_config(request, stream, Some(talk::config())).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(response)) => Err(format!("{url} answers {}", response.status())),
        Err(error) => Err(wrong(&error)),
    }
}

struct Connected {
    socket: Socket,
    agent: Arc<AgentConfig>,
    desk: VoiceDesk,
    /// The socket is this runtime's.
    handle: Handle,
}

impl Line for Connected {
    fn talk(self: Box<Self>, talk: Talk) -> Talking {
        Box::pin(async move {
            let Connected { socket, agent, desk, handle } = *self;
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
            let party = Party { leg: talk.leg, service: talk.service };
            let talked = desk.talk(&handle, socket, start, talk.stream, party, agent.stall);
            match talked.await {
                Some(Outcome::Stopped { transfer }) => Parting::Stopped { transfer },
                Some(Outcome::Ended(why)) => Parting::Ended(why),
                Some(Outcome::Left) => Parting::Failed("it has gone".to_owned()),
                Some(Outcome::Fault(fault)) => Parting::Failed(fault.to_string()),
                None => Parting::Failed("the server is stopping".to_owned()),
            }
        })
    }
}
