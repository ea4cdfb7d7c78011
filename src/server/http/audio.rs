//! `GET /legs/{leg}/audio` and `GET /calls/{id}/audio`: a party's audio in both directions, as a WebSocket.
//!
//! Once the connection is a WebSocket, it moves from the HTTP server's thread to those of the voice desk.

use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Path, Query, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::create_response;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::Api;
use super::answer::{Problem, call_id};
use super::guard::Granted;
use crate::config::tokens::Scope;
use crate::voice::VERSION;
use crate::voice::dialect::Own;
use crate::voice::message::{Format, Start};
use crate::voice::talk::{self, Conversation, Party};
use crate::voice::wire::{Io, Socket, Wire};
use b2b_app::voice_agent::Encoding;
use b2b_call::controller::StreamSpec;
use b2b_call::service::{CallError, Watched};
use b2b_call::{CallId, LegId};

/// Maximum time that a client may neither read nor respond.
const STALL: Duration = Duration::from_secs(10);
/// Default sampling rate, Hz.
const USUAL: u32 = 16_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Sampling rate in both directions, Hz.
    rate: Option<u32>,
    /// Audio per binary message, ms.
    frame_ms: Option<u32>,
    /// Listen only: what the party hears is unchanged.
    #[serde(default)]
    listen: bool,
}

type AskedQuery = Result<Query<Asked>, QueryRejection>;

/// The audio of a leg.
pub async fn of_leg(
    State(api): State<Api>,
    Path(leg): Path<String>,
    Extension(granted): Extension<Granted>,
    asked: AskedQuery,
    request: Request,
) -> Result<Response, Problem> {
    let number = leg.parse().map(LegId);
    let leg = number.map_err(|_| {
        Problem::bad(format!("{leg:?} is not a leg"), "use its number, as in the legs of GET /calls")
    })?;
    open(api, &granted, leg.into(), asked, request).await
}

/// The audio of the first leg of a call: that of the caller, or of the party called first.
pub async fn of_call(
    State(api): State<Api>,
    Path(call): Path<String>,
    Extension(granted): Extension<Granted>,
    asked: AskedQuery,
    request: Request,
) -> Result<Response, Problem> {
    open(api, &granted, call_id(&call)?.into(), asked, request).await
}

async fn open(
    api: Api,
    granted: &Granted,
    of: Watched,
    asked: AskedQuery,
    mut request: Request,
) -> Result<Response, Problem> {
    let usage = "the query takes rate=8000, 16000 or 24000, frame_ms=20, 40 or 60, and listen=true";
    let Query(asked) = asked.map_err(|error| Problem::bad(error.body_text(), usage))?;
    let rate_hz = asked.rate.unwrap_or(USUAL);
    if !StreamSpec::RATES.contains(&rate_hz) {
        return Err(Problem::bad(format!("no audio with a sample rate of {rate_hz}"), usage));
    }
    let frame_ms = asked.frame_ms.unwrap_or(20);
    if !StreamSpec::FRAMES_MS.contains(&frame_ms) {
        return Err(Problem::bad(format!("no frames of {frame_ms} ms"), usage));
    }
    if !asked.listen {
        // Permission to listen does not include permission to speak.
        granted.needs(Scope::Calls)?;
    }
    let (response, upgrade) = upgrade(&mut request)?;
    drop(request);
    let (call, leg) = api.service.locate(of).await.map_err(|error| refused(&error))?;
    let spec = StreamSpec { rate_hz, speaks: !asked.listen, frame_ms };
    let stream = api.service.stream(leg, spec).await.map_err(|error| refused(&error))?;
    let start = start(&api, call, leg, spec).await?;
    tokio::spawn(async move {
        let handle = api.voices.handle();
        let Some(socket) = socket(upgrade, &handle).await else { return };
        let party = Party { leg, service: api.service.clone() };
        let dialect = Box::new(Own::new(Encoding::L16));
        let conversation = Conversation { dialect, start, stream, party, consulting: None };
        let outcome = api.voices.talk(&handle, Wire::Left(socket), conversation, STALL).await;
        if let Some(outcome) = outcome {
            tracing::debug!("leg {}: its sound as a WebSocket: {}", leg.0, outcome.word());
        }
    });
    Ok(response)
}

/// The WebSocket of an upgraded connection, on this runtime.
pub(super) async fn socket(upgrade: OnUpgrade, handle: &Handle) -> Option<Socket> {
    let parts = match upgrade.await.map(|upgraded| upgraded.downcast::<TokioIo<TcpStream>>()) {
        Ok(Ok(parts)) => parts,
        Ok(Err(_)) => {
            tracing::error!("a WebSocket whose connection is not known");
            return None;
        }
        Err(error) => {
            tracing::debug!("a WebSocket: {error}");
            return None;
        }
    };
    let (stream, read) = (parts.io.into_inner().into_std().ok()?, parts.read_buf.to_vec());
    let _ = stream.set_nodelay(true);
    let opened = handle.spawn(async move {
        let octets: Box<dyn Io> = Box::new(TcpStream::from_std(stream)?);
        let config = Some(talk::config());
        std::io::Result::Ok(WebSocketStream::from_partially_read(octets, read, Role::Server, config).await)
    });
    opened.await.ok()?.ok()
}

/// The response that upgrades the connection to a WebSocket, and the future of the upgrade (RFC 6455 §4.2).
pub(super) fn upgrade(request: &mut Request) -> Result<(Response, OnUpgrade), Problem> {
    let fix = "connect as a WebSocket, like `websocat -b ws://127.0.0.1:8080/legs/1/audio`";
    let bad = |error: String| Problem::new(StatusCode::UPGRADE_REQUIRED, error, fix);
    let mut head = axum::http::Request::new(());
    *head.method_mut() = request.method().clone();
    *head.uri_mut() = request.uri().clone();
    *head.version_mut() = request.version();
    *head.headers_mut() = request.headers().clone();
    let response = create_response(&head).map_err(|error| bad(error.to_string()))?;
    let upgrade = request.extensions_mut().remove::<OnUpgrade>();
    let upgrade = upgrade.ok_or_else(|| bad("this connection cannot become a WebSocket".to_owned()))?;
    Ok((response.map(|()| Body::empty()), upgrade))
}

async fn start(api: &Api, call: CallId, leg: LegId, spec: StreamSpec) -> Result<Start, Problem> {
    let look = move |switch: &mut b2b_call::switch::Switch, t: &mut b2b_call::switch::Turn<'_>, _| {
        (switch.leg_snapshot(leg), switch.call_snapshot(t.now, call))
    };
    let (of_leg, of_call) = api.jobs.run(look).await.ok_or_else(Problem::stopping)?;
    let of_leg = of_leg.ok_or_else(|| refused(&CallError::Gone))?;
    Ok(Start {
        version: VERSION,
        call: call.0,
        leg: leg.0,
        agent: None,
        caller: of_leg.caller,
        called: of_leg.callee,
        format: Format::of(spec, Encoding::L16),
        speaks: spec.speaks,
        // The INVITE is not kept once it has been answered.
        headers: Default::default(),
        resumed_ms: None,
        early: false,
        direction: None,
        variables: of_call.map(|call| call.variables.into_iter().collect()).unwrap_or_default(),
    })
}

fn refused(error: &CallError) -> Problem {
    match error {
        CallError::Gone => {
            Problem::missing("there is no such leg or call", "GET /calls lists calls with their legs")
        }
        CallError::Stopping => Problem::stopping(),
        error => {
            let fix = "wait until the leg is answered: see GET /calls and the events";
            Problem::new(StatusCode::CONFLICT, error.to_string(), fix)
        }
    }
}
