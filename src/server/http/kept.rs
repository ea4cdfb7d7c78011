//! Calls of earlier processes: accounts, stored when a process stops, and served from there by the next ones; and calls
//! that go on.

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;

use super::Api;
use super::answer::Problem;
use super::calls::One;
use super::capture::{self, Messages};
use crate::ended_calls::{Account, Part};
use crate::survive::figures::Survival;
use b2b_call::CallId;
use b2b_call::history::ENDED;
use b2b_call::switch::{Switch, Turn};

/// A larger capture is not stored, bytes.
const CAPTURE: usize = 1 << 20;

/// `GET /survive`
pub async fn survivors(State(api): State<Api>) -> Json<Survival> {
    Json(api.survive.view())
}

/// The accounts of the latest ended calls, to be formatted elsewhere; without pressed keys.
pub fn accounts(switch: &Switch, t: &Turn<'_>) -> Vec<impl FnOnce() -> Vec<Account> + Send + use<>> {
    let account = |call: CallId| {
        // No leg of an ended call has counters to wait for.
        let report = switch.inquire(t, call)?.answer().now_or_never()?.without_keys();
        let (messages, pcap) = (switch.history().messages(call)?, switch.history().pcap(call)?);
        Some(move || {
            let (messages, messages_left_out) = messages();
            let messages = Messages { call, messages, messages_left_out };
            let parts = [
                (Part::Text, Some(report.to_string().into_bytes())),
                (Part::Report, serde_json::to_vec(&One { report, now: None }).ok()),
                (Part::Messages, serde_json::to_vec(&messages).ok()),
                (Part::Pcap, Some(pcap()).filter(|file| file.len() <= CAPTURE)),
            ];
            let parts = parts.into_iter();
            parts.filter_map(|(part, body)| Some(Account { call, part, body: body? })).collect()
        })
    };
    switch.history().ended(ENDED).into_iter().filter_map(account).collect()
}

/// A part of the account of a call that this process does not know.
pub async fn serve(api: &Api, call: CallId, part: Part) -> Result<Response, Problem> {
    let found = match &api.ended_calls {
        Some(store) => store.account(call, part).await?,
        None => None,
    };
    let body = found.ok_or_else(|| Problem::no_such_call(call))?;
    Ok(match part {
        Part::Report | Part::Messages => ([(CONTENT_TYPE, "application/json")], body).into_response(),
        Part::Text => ([(CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response(),
        Part::Pcap => capture::packets(call, body),
    })
}
