//! Connects to voice agents by WebSocket, as a client.

use std::collections::BTreeMap;
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

use super::dialect::{self, Dialect, Sids};
use super::many::connection::{self, Joining};
use super::many::{Opening, Pool, SUBPROTOCOL, Slot};
use super::message::{Format, Start};
use super::talk::{self, Conversation, Outcome, Party};
use super::webhook::{self, Named};
use super::wire::{AudioSocketStream, Io, Socket, Wire};
use super::{Open, Place, VERSION, VoiceDesk};
use crate::http_client::HttpClient;
use b2b_app::voice_agent::{
    AgentConfig, AgentPlace, AgentSeats, AgentUrl, AgentWay, Calling, Connecting, Consulting, Line, Parting,
    Protocol, Reach, Talk, Talking,
};
use b2b_base::util::secret::SecretText;
use b2b_call::controller::AudioStream;
use b2b_sip::net::Tls;

/// The subprotocol of `chan_websocket` (RFC 6455 §1.9); a program that is asked for it need not confirm it.
pub const MEDIA: &str = "media";

/// Connects to voice agents.
#[derive(Clone)]
pub struct WebSocketAgents {
    desk: VoiceDesk,
    tls: Tls,
    web: HttpClient,
    pool: Pool,
}

impl WebSocketAgents {
    /// Runs on the threads of this desk, and asks webhooks by this client; `wss` is verified against the authorities of
    /// `tls`.
    pub fn new(desk: VoiceDesk, tls: Tls, web: HttpClient) -> Self {
        WebSocketAgents { desk, tls, web, pool: Pool::default() }
    }
}

impl Reach for WebSocketAgents {
    fn connect(&self, agent: &Arc<AgentConfig>, calling: Calling) -> Connecting {
        let (this, agent) = (self.clone(), agent.clone());
        Box::pin(async move {
            let line = match agent.calls_per_connection {
                0 | 1 => this.connection(agent, calling).await,
                _ => this.slot(agent).await,
            };
            this.desk.count_agent(line.is_ok());
            line
        })
    }

    fn seats(&self) -> &AgentSeats {
        self.desk.seats()
    }
}

impl WebSocketAgents {
    /// A connection for one call. The attempt ends when the call no longer waits for it.
    async fn connection(&self, agent: Arc<AgentConfig>, calling: Calling) -> Result<Box<dyn Line>, String> {
        let (handle, sids) = (self.desk.handle(), Sids::new(&agent));
        let (this, asked, named) = (self.clone(), agent.clone(), sids.clone());
        let (mut reply, answer) = oneshot::channel();
        handle.spawn(async move {
            tokio::select! {
                connected = this.connect_in_time(&asked, &named, &calling) => drop(reply.send(connected)),
                () = reply.closed() => {}
            }
        });
        let (wire, parameters) = answer.await.unwrap_or_else(|_| Err("the server is stopping".to_owned()))?;
        let dialect = dialect::of(&agent, sids, parameters);
        Ok(Box::new(Connected { wire, dialect, agent, desk: self.desk.clone(), handle }))
    }

    /// A place on a shared connection.
    async fn slot(&self, agent: Arc<AgentConfig>) -> Result<Box<dyn Line>, String> {
        let (mut slot, opening) = self.pool.slot(&agent);
        if let Some(opening) = opening {
            self.desk.handle().spawn(self.clone().opens(opening));
        }
        slot.is_up().await?;
        Ok(Box::new(SharedLine { slot, agent, desk: self.desk.clone() }))
    }

    /// Opens a connection for several calls, and carries them. It stays even if the first call is gone, since
    /// others may wait for it.
    async fn opens(self, opening: Opening) {
        let agent = opening.agent.clone();
        let connected = match &agent.place {
            AgentPlace::Url(url) => in_time(&agent, connect(&agent, url, &self.tls)).await,
            AgentPlace::Webhook(_) | AgentPlace::Incoming => {
                Err("several calls on a connection need its address".to_owned())
            }
        };
        match connected {
            Ok(socket) => {
                opening.tell(Ok(()));
                connection::carry(socket, opening, Open::take(&self.desk)).await;
            }
            Err(why) => opening.tell(Err(why)),
        }
    }

    /// The connection for a call, and the parameters that the agent's webhook has named.
    async fn connect_in_time(
        &self,
        agent: &AgentConfig,
        sids: &Sids,
        calling: &Calling,
    ) -> Result<(Wire, Option<BTreeMap<String, String>>), String> {
        let connected = async {
            match &agent.place {
                AgentPlace::Url(url) if agent.protocol == Protocol::AudioSocket => {
                    let octets = octets(url, &self.tls).await?;
                    Ok((Wire::Right(AudioSocketStream::new(octets)), None))
                }
                AgentPlace::Url(url) => Ok((Wire::Left(connect(agent, url, &self.tls).await?), None)),
                AgentPlace::Incoming => {
                    let socket = self.desk.awaited().wait(calling.leg).await;
                    Ok((Wire::Left(socket.ok_or("its connection has failed")?), None))
                }
                AgentPlace::Webhook(webhook) => {
                    let token = auth_token(agent);
                    let Named { url, parameters } =
                        webhook::ask(&self.web, webhook, token, sids, calling).await?;
                    Ok((Wire::Left(connect(agent, &url, &self.tls).await?), Some(parameters)))
                }
            }
        };
        in_time(agent, connected).await
    }
}

async fn in_time<T>(agent: &AgentConfig, work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let late = |_| Err(format!("not connected within {} s", agent.connect.as_secs()));
    tokio::time::timeout(agent.connect, work).await.unwrap_or_else(late)
}

/// What requests to the agent are signed with.
fn auth_token(agent: &AgentConfig) -> Option<&SecretText> {
    match &agent.protocol {
        Protocol::Twilio(token) => token.as_ref(),
        Protocol::B2b | Protocol::Json | Protocol::ChanWebsocket(_) | Protocol::AudioSocket => None,
    }
}

async fn connect(agent: &AgentConfig, url: &AgentUrl, tls: &Tls) -> Result<Socket, String> {
    let subprotocol = match &agent.protocol {
        Protocol::ChanWebsocket(_) => Some(MEDIA),
        _ if agent.calls_per_connection > 1 => Some(SUBPROTOCOL),
        _ => None,
    };
    match handshake(agent, url, tls, subprotocol).await {
        Err(Unreached::Subprotocol) if subprotocol == Some(MEDIA) => handshake(agent, url, tls, None).await,
        connected => connected,
    }
    .map_err(|why| match why {
        Unreached::Subprotocol => format!(
            "{url} does not confirm the subprotocol {SUBPROTOCOL}: answer with it in Sec-WebSocket-Protocol and take \
             several calls on one connection (voice-agents.md), or leave out calls_per_connection"
        ),
        Unreached::Other(why) => why,
    })
}

/// Why there is no connection.
enum Unreached {
    /// The subprotocol is not confirmed.
    Subprotocol,
    /// In words.
    Other(String),
}

impl From<String> for Unreached {
    fn from(why: String) -> Self {
        Unreached::Other(why)
    }
}

/// The connection itself, with TLS if its URL says so.
async fn octets(url: &AgentUrl, tls: &Tls) -> Result<Box<dyn Io>, String> {
    let failed = |error: std::io::Error| format!("{url}: {error}");
    Ok(match &url.way {
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
    })
}

async fn handshake(
    agent: &AgentConfig,
    url: &AgentUrl,
    tls: &Tls,
    subprotocol: Option<&'static str>,
) -> Result<Socket, Unreached> {
    let stream = octets(url, tls).await?;
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
    if let Some(token) = auth_token(agent) {
        let signature = webhook::signature(token, url.request(), &[]);
        let value = HeaderValue::from_str(&signature).map_err(|error| wrong(&error))?;
        fields.insert(HeaderName::from_static(webhook::SIGNATURE), value);
    }
    if let Some(subprotocol) = subprotocol {
        fields.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(subprotocol));
    }
    let many = agent.calls_per_connection > 1;
    let config = if many { connection::config() } else { talk::config() };
    match client_async_with_config(request, stream, Some(config)).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(response)) => Err(format!("{url} answers {}", response.status()).into()),
        Err(Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(_))) if subprotocol.is_some() => {
            Err(Unreached::Subprotocol)
        }
        Err(error) => Err(wrong(&error).into()),
    }
}

/// A connection of one call.
struct Connected {
    wire: Wire,
    dialect: Box<dyn Dialect>,
    agent: Arc<AgentConfig>,
    desk: VoiceDesk,
    /// The runtime that the socket belongs to.
    handle: Handle,
}

impl Line for Connected {
    fn talk(self: Box<Self>, talk: Talk) -> Talking {
        Box::pin(async move {
            let Connected { wire, dialect, agent, desk, handle } = *self;
            let (start, stream, (party, consulting)) = parts(&agent, talk);
            let consulting = Some(consulting);
            let conversation = Conversation { dialect, start, stream, party, consulting };
            parting(desk.talk(&handle, wire, conversation, agent.stall).await)
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
            let (start, stream, (party, consulting)) = parts(&agent, talk);
            let (ended, end) = oneshot::channel();
            let (calls, place) = (slot.calls(), Place::take(&desk));
            let joining = Joining { start, stream, party, consulting, ended, slot, place };
            match calls.send(joining).await {
                Ok(()) => parting(end.await.ok()),
                // The connection has closed since the place was taken.
                Err(_) => parting(Some(Outcome::lost())),
            }
        })
    }
}

/// The start message for the agent, the audio, the party, and others.
fn parts(agent: &AgentConfig, talk: Talk) -> (Start, AudioStream, (Party, Consulting)) {
    let start = Start {
        version: VERSION,
        call: talk.call.0,
        leg: talk.leg.0,
        agent: Some(agent.name.clone()),
        caller: talk.caller,
        called: talk.called,
        direction: Some(if talk.outbound { "outbound" } else { "inbound" }),
        format: Format::of(talk.stream.spec(), agent.encoding),
        speaks: talk.early || talk.stream.spec().speaks,
        headers: talk.headers,
        variables: talk.variables,
        resumed_ms: talk.resumed.map(|since| since.as_millis() as u64),
        early: talk.early,
    };
    let party = Party { leg: talk.leg, service: talk.service };
    (start, talk.stream, (party, talk.consulting))
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
