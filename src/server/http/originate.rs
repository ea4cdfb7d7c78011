//! `POST /calls`: a call that the server originates between two targets.

use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderName, StatusCode};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::answer::Problem;
use super::body::{self, Body};
use super::guard::Granted;
use crate::control::dial::{self, RingOrder, Targets};
use crate::control::header_fields::{self, CommandHeaders};
use b2b_call::CallId;
use b2b_call::lookup::LookupError;
use b2b_call::service::{CallService, DialError, DialOptions, DialRequest, RouteTaken};

/// A request for a call.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CallWish)]
pub struct OriginateRequest {
    /// The target to call first, as in routes, `user/1001`, or a list of targets, of which the first to
    /// answer gets the call.
    from: Targets,
    /// The target to join with the party that answers, or a list of targets.
    to: Targets,
    /// The order in which the targets of a list ring.
    #[serde(default)]
    order: RingOrder,
    /// The number that both parties see; default: each sees the other's target.
    caller: Option<String>,
    /// Maximum ringing time of each target; default `limits.ring_s`.
    ring_s: Option<u64>,
    /// Additional header fields of the INVITEs to both parties: names and values.
    #[serde(default)]
    headers: CommandHeaders,
}

/// The call that has begun.
#[derive(Debug, Serialize, ToSchema)]
pub struct Begun {
    call: CallId,
}

const USAGE: &str = "send {\"from\": \"user/1001\", \"to\": \"gateway/carrier/+44…\"} as JSON, or lists of targets; order, caller, ring_s and headers may be added";

/// Begins the call. Its result is in `GET /calls/{id}` and in the events.
pub async fn begin(
    State(api): State<Api>,
    Extension(granted): Extension<Granted>,
    body: Body,
) -> Result<(StatusCode, [(HeaderName, String); 1], Json<Begun>), Problem> {
    let asked_for: OriginateRequest = body::json(body, USAGE)?;
    let settings = api.admission.current.get();
    if asked_for.ring_s.is_some_and(|seconds| !(1..=3600).contains(&seconds)) {
        return Err(Problem::bad("ring_s is out of range", "name 1 to 3600 seconds"));
    }
    if asked_for.caller.as_ref().is_some_and(|caller| caller.is_empty() || caller.contains(char::is_control))
    {
        return Err(Problem::bad("caller is not a number", "remove it, or write a number"));
    }
    let bad = |why: String| Problem::bad(why, "leave it out");
    header_fields::check(&asked_for.headers).map_err(bad)?;
    for (name, targets) in [("from", &asked_for.from), ("to", &asked_for.to)] {
        targets.check().map_err(|why| Problem::bad(format!("{name}: {why}"), "name whom to call"))?;
    }
    let looked_up = async |targets: &Targets| {
        let found = dial::looked_up(&api.service, targets, asked_for.order).await;
        found.map_err(|error| unknown(&error))
    };
    let (first, second) = (looked_up(&asked_for.from).await?, looked_up(&asked_for.to).await?);
    let options = |shown: &Targets| {
        let OriginateRequest { caller, ring_s, headers, .. } = &asked_for;
        dial::options(&settings, caller.as_deref(), shown.first(), *ring_s, headers)
    };
    let route = RouteTaken {
        name: "api".to_owned(),
        why: format!("POST /calls from {} to {}", asked_for.from, asked_for.to),
    };
    let (route, token) = (Some(route), Some(granted.name().to_owned()));
    let request = DialRequest { to: first, options: DialOptions { route, token, ..options(&asked_for.to) } };
    let (call, leg) = api.service.originate(request).await.map_err(|error| refused(&error))?;
    let onward = DialRequest { to: second, options: options(&asked_for.from) };
    tokio::spawn(join(api.service.clone(), call, leg, onward));
    let place = [(LOCATION, format!("/calls/{}", call.0))];
    Ok((StatusCode::CREATED, place, Json(Begun { call })))
}

/// Once the first party has answered, the second one is dialled.
async fn join(
    service: CallService,
    call: CallId,
    leg: impl Future<Output = Result<b2b_call::LegId, DialError>>,
    onward: DialRequest,
) {
    let leg = match leg.await {
        Ok(leg) => leg,
        Err(error) => return tracing::info!("call {}: {error}", call.0),
    };
    if let Err(error) = service.dial_and_bridge(leg, onward).await {
        tracing::info!("call {}: {error}", call.0);
        // Nothing else would end it. It is over already if its party has hung up.
        let _ = service.hangup(leg).await;
    }
}

fn unknown(error: &LookupError) -> Problem {
    let status = match error.status().0 {
        404 | 484 => StatusCode::NOT_FOUND,
        403 => StatusCode::FORBIDDEN,
        480 | 503 => StatusCode::CONFLICT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Problem::new(status, error.to_string(), "choose another target, or correct what the error says")
}

fn refused(error: &DialError) -> Problem {
    let fix = match error {
        DialError::Full => "wait until calls have ended, or raise limits.calls",
        _ => "use another server, or retry after the restart",
    };
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string(), fix)
}
