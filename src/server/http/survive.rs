//! `GET /survive`: calls that outlive the server.

use axum::Json;
use axum::extract::State;

use super::Api;
use crate::survive::figures::Survival;

/// `GET /survive`
pub async fn view(State(api): State<Api>) -> Json<Survival> {
    Json(api.survive.view())
}
