//! `GET /media/{id}`: the WebSocket of a program that b2b awaits for a caller, as Asterisk's `chan_websocket` does with
//! `Dial(WebSocket/INCOMING)`.

use axum::extract::{Extension, Path, Request, State};
use axum::http::header::SEC_WEBSOCKET_PROTOCOL;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;

use super::Api;
use super::answer::Problem;
use super::audio::{socket, upgrade};
use super::guard::Granted;
use crate::config::tokens::Scope;
use crate::voice::client::MEDIA;
use b2b_call::LegId;

/// Gives the WebSocket to the caller that waits for it.
pub async fn of_awaited(
    State(api): State<Api>,
    Path(id): Path<String>,
    Extension(granted): Extension<Granted>,
    mut request: Request,
) -> Result<Response, Problem> {
    granted.needs(Scope::Calls)?;
    let (mut response, upgrade) = upgrade(&mut request)?;
    if asks_for_media(request.headers()) {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(MEDIA));
    }
    let waiting = id.parse().ok().and_then(|leg| api.voices.awaited().take(LegId(leg)));
    let waiting = waiting.ok_or_else(|| {
        let error = format!("no caller waits for the connection {id:?}");
        Problem::missing(error, "use the connection_id of the event `awaits`, once")
    })?;
    tokio::spawn(async move {
        if let Some(socket) = socket(upgrade, &waiting.handle).await {
            // A caller who has gone meanwhile needs none.
            let _ = waiting.arrives.send(socket);
        }
    });
    Ok(response)
}

fn asks_for_media(fields: &HeaderMap) -> bool {
    let asked = fields.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    asked.flat_map(|value| value.split(',')).any(|name| name.trim() == MEDIA)
}
