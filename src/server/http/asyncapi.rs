//! `GET /asyncapi.json`: the messages on the WebSockets, for code generators. The schemas are those of
//! `/openapi.json`.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde_json::{Map, Value, json};

use super::openapi::openapi;
use super::routes::{Schemas, Shape};
use crate::voice::message::{Said, Told};

/// Answers with the document.
pub async fn document() -> impl IntoResponse {
    static TEXT: OnceLock<String> = OnceLock::new();
    let text = TEXT.get_or_init(|| asyncapi().to_string());
    ([(CONTENT_TYPE, "application/json")], text.as_str())
}

/// The messages on these WebSockets: name, schema, description.
const MESSAGES: [(&str, &str, &str); 8] = [
    ("event", "Published", "Something has happened."),
    ("command", "Order", "A command, as `POST /commands` takes it."),
    ("answer", "Answer", "What is said at once to a command, a decision or a ping."),
    ("lost", "Missed", "Events were lost, because the client reads too slowly."),
    ("call", "CallNews", "A call that the program gets, or has no more."),
    ("decision", "Decision", "What a program wants done with a call that it was given."),
    ("voice_event", "VoiceEvent", "A party's audio stream: what it is, and what happens in it."),
    ("voice_request", "VoiceRequest", "What a program wants done with a party's audio stream."),
];

/// A WebSocket: its name, its path, the messages of the server and those of the client.
const CHANNELS: [(&str, &str, &[&str], &[&str]); 4] = [
    ("events", "/events", &["event", "lost"], &[]),
    ("control", "/control", &["event", "lost", "answer"], &["command"]),
    ("audio", "/legs/{leg}/audio", &["voice_event"], &["voice_request"]),
    ("remote", "/remote/{name}", &["event", "lost", "answer", "call"], &["command", "decision"]),
];

/// The document.
pub fn asyncapi() -> Value {
    let mut whole = serde_json::to_value(openapi()).unwrap_or_default();
    let mut voice = Schemas::new();
    [Shape::of::<Said>(), Shape::of::<Told>()].iter().for_each(|shape| (shape.collect)(&mut voice));
    for (name, schema) in voice {
        whole["components"]["schemas"][name] = serde_json::to_value(schema).unwrap_or_default();
    }
    let mut schemas = Map::new();
    for (_, schema, _) in MESSAGES {
        collect(&whole["components"]["schemas"], schema, &mut schemas);
    }
    let messages: Map<_, _> = MESSAGES
        .into_iter()
        .map(|(name, schema, says)| {
            let payload = json!({ "$ref": format!("#/components/schemas/{schema}") });
            (name.to_owned(), json!({ "name": name, "summary": says, "payload": payload }))
        })
        .collect();
    let of = |name: &&str| (name.to_string(), json!({ "$ref": format!("#/components/messages/{name}") }));
    let (mut channels, mut operations) = (Map::new(), Map::new());
    for (name, address, says, hears) in CHANNELS {
        let all: Map<_, _> = says.iter().chain(hears).map(of).collect();
        let mut channel = json!({ "address": address, "messages": all });
        if address.contains("{name}") {
            channel["parameters"] = json!({ "name": { "description": "Of the remote application." } });
        }
        if address.contains("{leg}") {
            channel["parameters"] = json!({ "leg": { "description": "Its number, as in GET /calls." } });
        }
        channels.insert(name.to_owned(), channel);
        for (action, messages) in
            [("send", says), ("receive", hears)].into_iter().filter(|it| !it.1.is_empty())
        {
            let to = |message: &&str| json!({ "$ref": format!("#/channels/{name}/messages/{message}") });
            let operation = json!({
                "action": action,
                "channel": { "$ref": format!("#/channels/{name}") },
                "messages": messages.iter().map(to).collect::<Vec<_>>(),
            });
            operations.insert(format!("{action}_{name}"), operation);
        }
    }
    json!({
        "asyncapi": "3.0.0",
        "info": { "title": "b2b", "version": env!("CARGO_PKG_VERSION") },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": { "schemas": schemas, "messages": messages },
    })
}

/// Collects this schema and those that it references.
fn collect(all: &Value, name: &str, found: &mut Map<String, Value>) {
    if found.contains_key(name) {
        return;
    }
    found.insert(name.to_owned(), all[name].clone());
    let mut names = BTreeSet::new();
    references(&all[name], &mut names);
    names.iter().for_each(|name| collect(all, name, found));
}

fn references(schema: &Value, names: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            let to = fields.get("$ref").and_then(Value::as_str);
            names.extend(to.and_then(|to| to.strip_prefix("#/components/schemas/")).map(str::to_owned));
            fields.values().for_each(|value| references(value, names));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, names)),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
