//! Commands: `POST /commands`, and the same with the call or room in the path.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Api;
use super::answer::{Problem, call_id};
use super::body::{self, Body};
use super::guard::{Granted, Keys};
use crate::control::{Command, Order, Refused, State as How, Status, Taken, Who};

/// Maximum time to wait for a result.
const LONGEST: f64 = 300.0;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Seconds to wait for the end.
    wait: Option<f64>,
}

type Query1 = Result<Query<Asked>, QueryRejection>;

fn patience(asked: Query1) -> Result<Duration, Problem> {
    let usage = "the query takes wait=<seconds>, 0 to 300";
    let Query(asked) = asked.map_err(|error| Problem::bad(error.body_text(), usage))?;
    match asked.wait.unwrap_or(0.0) {
        seconds if (0.0..=LONGEST).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(Problem::bad("wait is out of range", usage)),
    }
}

/// The response for a refused command.
pub fn refused(error: &Refused) -> Problem {
    let (status, fix) = match error {
        Refused::Bad(_) => {
            (StatusCode::BAD_REQUEST, "GET /openapi.json and docs/control.md list the commands")
        }
        Refused::Differs => (StatusCode::CONFLICT, "use a unique id for each command, or none"),
        Refused::Full => (StatusCode::SERVICE_UNAVAILABLE, "wait until some have finished"),
        Refused::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "retry after the restart"),
        Refused::NotYours => (StatusCode::FORBIDDEN, "control only your own call"),
        Refused::Over => (StatusCode::NOT_FOUND, "use a call that was offered to you and is not over"),
    };
    Problem::new(status, error.to_string(), fix)
}

/// Parses and starts a command, if the token permits it.
pub fn submit(api: &Api, granted: &Granted, value: Value) -> Result<Taken, Problem> {
    let order = Order::parse(value).map_err(|error| refused(&Refused::Bad(error)))?;
    let order = Order { token: granted.name().to_owned(), ..order };
    granted.needs(order.command.scope())?;
    if let Command::Cancel { of } = &order.command {
        may_cancel(api, granted, of)?;
    }
    api.control.submit(order, Who::Program).map_err(|error| refused(&error))
}

/// Cancelling a command requires the same scope as giving it.
fn may_cancel(api: &Api, granted: &Granted, id: &str) -> Result<(), Problem> {
    api.control.scope(id).map_or(Ok(()), |scope| granted.needs(scope))
}

/// The status of a command once it has ended, or after `patience`.
async fn answer(api: &Api, taken: Taken, patience: Duration) -> Result<Response, Problem> {
    let id = taken.id.clone();
    let over = match patience.is_zero() {
        true => None,
        false => tokio::time::timeout(patience, api.control.wait(taken)).await.ok().flatten(),
    };
    let status = over.or_else(|| api.control.status(&id)).ok_or_else(|| unknown(&id))?;
    Ok(shown(status))
}

fn shown(status: Status) -> Response {
    let code = match status.state {
        How::Running => StatusCode::ACCEPTED,
        How::Completed => StatusCode::OK,
        How::Failed => StatusCode::CONFLICT,
    };
    (code, Json(status)).into_response()
}

fn unknown(id: &str) -> Problem {
    Problem::missing(format!("there is no command {id:?}"), "only the most recent finished commands are kept")
}

/// The fields of a command beside those in its path.
fn fields(body: Body) -> Result<Value, Problem> {
    Ok(body::maybe_json(body, "send a JSON object, or nothing")?.unwrap_or_else(|| json!({})))
}

/// `POST /commands`
pub async fn begin(
    State(api): State<Api>,
    Extension(granted): Extension<Granted>,
    asked: Query1,
    body: Body,
) -> Result<Response, Problem> {
    let patience = patience(asked)?;
    let taken = submit(&api, &granted, fields(body)?)?;
    answer(&api, taken, patience).await
}

/// `POST /calls/{id}/{verb}`
pub async fn of_call(
    State(api): State<Api>,
    Extension(granted): Extension<Granted>,
    Path((id, verb)): Path<(String, String)>,
    asked: Query1,
    body: Body,
) -> Result<Response, Problem> {
    let (call, patience) = (call_id(&id)?, patience(asked)?);
    let mut value = fields(body)?;
    with(&mut value, [("command", json!(verb)), ("call", json!(call.0))])?;
    let taken = submit(&api, &granted, value)?;
    answer(&api, taken, patience).await
}

/// `POST /rooms/{name}/{verb}`
pub async fn of_room(
    State(api): State<Api>,
    Extension(granted): Extension<Granted>,
    Path((room, verb)): Path<(String, String)>,
    asked: Query1,
    body: Body,
) -> Result<Response, Problem> {
    let patience = patience(asked)?;
    let mut value = fields(body)?;
    with(&mut value, [("command", json!(format!("room_{verb}"))), ("room", json!(room))])?;
    let taken = submit(&api, &granted, value)?;
    answer(&api, taken, patience).await
}

/// Adds the fields from the path.
fn with(value: &mut Value, more: [(&str, Value); 2]) -> Result<(), Problem> {
    let Value::Object(fields) = value else {
        return Err(refused(&Refused::Bad("a command is a JSON object".to_owned())));
    };
    for (name, value) in more {
        if fields.insert(name.to_owned(), value).is_some() {
            return Err(refused(&Refused::Bad(format!("{name} is already in the path; remove it"))));
        }
    }
    Ok(())
}

/// `GET /commands/{id}`
pub async fn one(
    State(api): State<Api>,
    Extension(granted): Extension<Granted>,
    Path(id): Path<String>,
    asked: Query1,
) -> Result<Json<Status>, Problem> {
    let patience = patience(asked)?;
    if !patience.is_zero()
        && let Some(taken) = api.control.taken(&id)
    {
        let _ = tokio::time::timeout(patience, api.control.wait(taken)).await;
    }
    let mut status = api.control.status(&id).ok_or_else(|| unknown(&id))?;
    if granted.keys() == Keys::Hidden
        && let Some(fields) = status.result.as_mut().and_then(Value::as_object_mut)
    {
        fields.remove("digits");
    }
    Ok(Json(status))
}

/// `DELETE /commands/{id}`
pub async fn cancel(
    State(api): State<Api>,
    Extension(granted): Extension<Granted>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    may_cancel(&api, &granted, &id)?;
    match api.control.cancel(&id) {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Problem::missing(
            format!("no command {id:?} is running"),
            "GET /commands/{id} has its result",
        )),
    }
}
