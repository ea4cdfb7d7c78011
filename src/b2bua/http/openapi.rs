//! `GET /openapi.json`: the interface for programs that write programs, from the table of routes
//! and the types that are read and written.

use std::sync::OnceLock;

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde_json::{Value, json};
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::path::{OperationBuilder, ParameterBuilder, ParameterIn, PathItem, PathsBuilder};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ComponentsBuilder, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Info, OpenApi, OpenApiBuilder, Ref, Required, ResponseBuilder};
use utoipa::{PartialSchema, ToSchema};

use super::answer::Problem;
use super::routes::{Route, Schemas, routes};
use crate::b2bua::control::remote::decision::Decision;

/// What a program may send to `POST /commands`, one of each kind.
pub fn examples() -> Vec<Value> {
    vec![
        json!({ "command": "originate", "from": "user/1001", "app": "ivr/main", "id": "call-back-17" }),
        json!({ "command": "originate", "from": "user/1001", "to": "gateway/carrier/+442083661177", "ring_s": 30 }),
        json!({ "command": "dial", "call": 7, "to": "user/1002" }),
        json!({ "command": "answer", "call": 7 }),
        json!({ "command": "reject", "call": 7, "status": 486 }),
        json!({ "command": "hangup", "leg": 9 }),
        json!({ "command": "bridge", "leg": 9, "with": 12 }),
        json!({ "command": "unbridge", "leg": 9, "app": "queue/sales" }),
        json!({ "command": "hold", "leg": 9, "class": "default" }),
        json!({ "command": "resume", "leg": 9 }),
        json!({ "command": "transfer", "leg": 9, "to": "user/1003" }),
        json!({ "command": "play", "call": 7, "sound": "welcome.wav", "deadline_s": 60 }),
        json!({ "command": "play", "leg": 9, "sound": [{ "tone": 440, "ms": 300 }, { "silence_ms": 200 }, { "digits": "42" }], "times": 2 }),
        json!({ "command": "stop_playing", "leg": 9 }),
        json!({ "command": "collect", "leg": 9, "max": 4, "first_s": 10 }),
        json!({ "command": "stop_collecting", "leg": 9 }),
        json!({ "command": "play_and_collect", "leg": 9, "sound": "pin.wav", "max": 6, "terminators": "#" }),
        json!({ "command": "hear_tones", "leg": 9, "on": true }),
        json!({ "command": "record", "call": 7 }),
        json!({ "command": "record", "leg": 9, "what": "said" }),
        json!({ "command": "pause_recording", "call": 7, "paused": true }),
        json!({ "command": "stop_recording", "call": 7 }),
        json!({ "command": "music", "leg": 9, "class": "default" }),
        json!({ "command": "stop_music", "leg": 9 }),
        json!({ "command": "echo", "leg": 9, "on": true }),
        json!({ "command": "send_digits", "leg": 9, "digits": "123#" }),
        json!({ "command": "set_variable", "call": 7, "name": "customer", "value": "4711" }),
        json!({ "command": "handle", "leg": 9, "app": "queue/sales" }),
        json!({ "command": "lookup", "target": "user/1001" }),
        json!({ "command": "agent", "agent": "ann", "state": "paused" }),
        json!({ "command": "room_mute", "room": "blue", "leg": 9, "muted": true }),
        json!({ "command": "room_volume", "room": "blue", "leg": 9, "db": 3 }),
        json!({ "command": "room_lock", "room": "blue", "locked": true }),
        json!({ "command": "room_kick", "room": "blue", "leg": 9 }),
        json!({ "command": "room_record", "room": "blue", "on": true }),
        json!({ "command": "room_play", "room": "blue", "sound": "announcement.wav" }),
        json!({ "command": "cancel", "of": "call-back-17" }),
    ]
}

/// Answers with the document.
pub async fn document() -> impl IntoResponse {
    static TEXT: OnceLock<String> = OnceLock::new();
    let text = TEXT.get_or_init(|| openapi().to_json().unwrap_or_default());
    ([(CONTENT_TYPE, "application/json")], text.as_str())
}

/// The document.
pub fn openapi() -> OpenApi {
    let routes = routes();
    let mut schemas: Schemas = Vec::new();
    Problem::schemas(&mut schemas);
    schemas.push((Problem::name().into_owned(), Problem::schema()));
    // Said on the WebSocket of a remote application.
    schemas.push((Decision::name().into_owned(), Decision::schema()));
    let mut paths = PathsBuilder::new();
    for route in &routes {
        for shape in [&route.takes, &route.gives].into_iter().flatten() {
            (shape.collect)(&mut schemas);
        }
        paths = paths.path(route.path, PathItem::new(route.method.clone(), operation(route)));
    }
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    let components =
        ComponentsBuilder::new().schemas_from_iter(schemas).security_scheme("token", bearer).build();
    OpenApiBuilder::new()
        .info(Info::new("b2b", env!("CARGO_PKG_VERSION")))
        .paths(paths.build())
        .components(Some(components))
        .build()
}

fn operation(route: &Route) -> OperationBuilder {
    let text = || ObjectBuilder::new().schema_type(SchemaType::Type(Type::String)).build();
    let mut operation = OperationBuilder::new().summary(Some(route.says));
    for part in route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
        let it = ParameterBuilder::new().name(part).parameter_in(ParameterIn::Path).required(Required::True);
        operation = operation.parameter(it.schema(Some(text())).build());
    }
    for name in route.query {
        let it =
            ParameterBuilder::new().name(*name).parameter_in(ParameterIn::Query).required(Required::False);
        operation = operation.parameter(it.schema(Some(text())).build());
    }
    if let Some(shape) = &route.takes {
        let mut content = ContentBuilder::new().schema(Some(Ref::from_schema_name(&shape.name)));
        if route.path == "/commands" {
            let named = |example: Value| {
                let name = example["command"].as_str().unwrap_or_default().to_owned();
                (name, utoipa::openapi::example::ExampleBuilder::new().value(Some(example)).build())
            };
            content = content.examples_from_iter(examples().into_iter().map(named));
        }
        let body = RequestBodyBuilder::new().content("application/json", content.build());
        operation = operation.request_body(Some(body.required(Some(Required::True)).build()));
    }
    let mut response = ResponseBuilder::new().description("as asked");
    if let Some(shape) = &route.gives {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(&shape.name)));
        response = response.content("application/json", content.build());
    }
    let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name(Problem::name())));
    let problem = ResponseBuilder::new()
        .description("an error, and what to do")
        .content("application/json", problem.build());
    if let Some(scope) = route.scope {
        operation = operation.security(SecurityRequirement::new("token", [scope.as_str()]));
    }
    operation.response(route.status.to_string(), response.build()).response("default", problem.build())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::b2bua::control::{Command, Order};

    fn document() -> Value {
        serde_json::to_value(openapi()).expect("JSON")
    }

    #[test]
    fn every_route_is_in_the_document_once() {
        let document = document();
        for route in routes() {
            let method = serde_json::to_value(&route.method).expect("JSON");
            let method = method.as_str().expect("a word").to_lowercase();
            let operation = &document["paths"][route.path][&method];
            assert!(operation["summary"].is_string(), "{method} {}", route.path);
            let scope = operation["security"][0]["token"][0].as_str();
            assert_eq!(scope, route.scope.map(|scope| scope.as_str()), "{method} {}", route.path);
        }
        let operations: usize = document["paths"]
            .as_object()
            .expect("paths")
            .values()
            .map(|path| path.as_object().expect("methods").len())
            .sum();
        assert_eq!(operations, routes().len());
    }

    #[test]
    fn references_lead_somewhere() {
        fn references(value: &Value, found: &mut BTreeSet<String>) {
            match value {
                Value::Object(fields) => {
                    if let Some(Value::String(to)) = fields.get("$ref") {
                        found.insert(to.clone());
                    }
                    fields.values().for_each(|value| references(value, found));
                }
                Value::Array(items) => items.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let (document, mut found) = (document(), BTreeSet::new());
        references(&document, &mut found);
        assert!(found.len() > 5, "{found:?}");
        for reference in found {
            let pointer = reference.strip_prefix('#').expect("here");
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn examples_are_commands_and_there_is_one_of_each_kind() {
        let document = document();
        let documented =
            &document["paths"]["/commands"]["post"]["requestBody"]["content"]["application/json"]["examples"];
        let mut words = BTreeSet::new();
        for example in examples() {
            let order = Order::parse(example.clone()).unwrap_or_else(|error| panic!("{example}: {error}"));
            words.insert(order.command.word());
            assert!(documented[order.command.word()]["value"].is_object(), "{}", order.command.word());
        }
        // The words of the schema are serde's.
        let error = serde_json::from_value::<Command>(json!({ "command": "?" }))
            .expect_err("no such word")
            .to_string();
        let known: BTreeSet<&str> = error.split('`').skip(3).step_by(2).collect();
        assert_eq!(words, known);
    }
}
