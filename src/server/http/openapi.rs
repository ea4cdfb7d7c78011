//! `GET /openapi.json`: the interface for code generators, made from the table of routes and the types that
//! are read and written.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::example::{Example, ExampleBuilder};
use utoipa::openapi::path::{OperationBuilder, ParameterBuilder, ParameterIn, PathItem, PathsBuilder};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ComponentsBuilder, Object, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Info, OpenApi, OpenApiBuilder, Ref, Required, ResponseBuilder};
use utoipa::{PartialSchema, ToSchema};

use super::answer::Problem;
use super::journal;
use super::routes::{Route, Schemas, routes};
use super::said::{Answer, Missed};
use crate::control::remote::decision::Decision;
use crate::control::remote::told::CallNews;
use crate::control::{Command, is_of_a_call};
use b2b_call::event::Published;

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
    // Messages on the WebSocket of a remote application.
    schemas.push((Decision::name().into_owned(), Decision::schema()));
    Answer::schemas(&mut schemas);
    schemas.push((Answer::name().into_owned(), Answer::schema()));
    CallNews::schemas(&mut schemas);
    schemas.push((CallNews::name().into_owned(), CallNews::schema()));
    Missed::schemas(&mut schemas);
    schemas.push((Missed::name().into_owned(), Missed::schema()));
    // The same for `/events`, and all others that follow the bus.
    Published::schemas(&mut schemas);
    schemas.push((Published::name().into_owned(), Published::schema()));
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

/// The operation id for clients: `get_calls_id`.
fn operation_id(route: &Route) -> String {
    let method = serde_json::to_value(&route.method).unwrap_or_default();
    let words = route.path.split(['/', '.']).map(|part| part.trim_matches(['{', '}']));
    let parts = std::iter::once(method.as_str().unwrap_or_default()).chain(words);
    parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join("_").to_lowercase()
}

/// The type of a parameter in a path or a query.
fn values(path: &str, name: &str) -> Object {
    let of = |kind| ObjectBuilder::new().schema_type(SchemaType::Type(kind));
    match name {
        "id" if path.starts_with("/commands") => of(Type::String).build(),
        "id" | "leg" | "after" | "limit" | "call" | "rate" | "frame_ms" => of(Type::Integer).build(),
        "wait" => of(Type::Number).build(),
        "ended" | "listen" => of(Type::Boolean).build(),
        "secrets" => of(Type::String).enum_values(Some([journal::KEEP])).build(),
        "verb" => of(Type::String).enum_values(Some(verbs(path.starts_with("/rooms")))).build(),
        _ => of(Type::String).build(),
    }
}

/// The names of commands for rooms, without `room_`, or for calls, by the schema of all.
fn verbs(of_rooms: bool) -> BTreeSet<String> {
    let schema = serde_json::to_value(Command::schema()).unwrap_or_default();
    let kinds = schema["oneOf"].as_array().into_iter().flatten();
    let words = kinds.filter_map(|kind| {
        let word = kind["properties"]["command"]["enum"][0].as_str()?;
        match of_rooms {
            true => word.strip_prefix("room_"),
            false => is_of_a_call(word).then_some(word),
        }
    });
    words.map(str::to_owned).collect()
}

/// Each example under the name of its command; further ones of the same command are numbered.
fn named_examples() -> Vec<(String, Example)> {
    let mut named: Vec<(String, Example)> = Vec::new();
    for value in Command::examples() {
        let word = value["command"].as_str().unwrap_or_default().to_owned();
        let name = match named.iter().filter(|(name, _)| name.split(' ').next() == Some(&word)).count() {
            0 => word,
            before => format!("{word} {}", before + 1),
        };
        named.push((name, ExampleBuilder::new().value(Some(value)).build()));
    }
    named
}

fn operation(route: &Route) -> OperationBuilder {
    let tag = route.path.split('/').nth(1).unwrap_or_default();
    let mut operation = OperationBuilder::new()
        .summary(Some(route.says))
        .operation_id(Some(operation_id(route)))
        .tag(tag.trim_end_matches(".json"));
    for part in route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
        let it = ParameterBuilder::new().name(part).parameter_in(ParameterIn::Path).required(Required::True);
        operation = operation.parameter(it.schema(Some(values(route.path, part))).build());
    }
    for name in route.query {
        let it =
            ParameterBuilder::new().name(*name).parameter_in(ParameterIn::Query).required(Required::False);
        operation = operation.parameter(it.schema(Some(values(route.path, name))).build());
    }
    if let Some(shape) = &route.takes {
        let mut content = ContentBuilder::new().schema(Some(Ref::from_schema_name(&shape.name)));
        if route.path == "/commands" {
            content = content.examples_from_iter(named_examples());
        }
        let body = RequestBodyBuilder::new().content("application/json", content.build());
        operation = operation.request_body(Some(
            body.required(Some(if route.must { Required::True } else { Required::False })).build(),
        ));
    }
    if route.path.ends_with("{verb}") {
        let fields = ObjectBuilder::new().schema_type(SchemaType::Type(Type::Object));
        let says = "The other fields of the command: see `Order`.";
        let content = ContentBuilder::new().schema(Some(fields.description(Some(says)).build()));
        let body = RequestBodyBuilder::new().content("application/json", content.build());
        operation = operation.request_body(Some(body.required(Some(Required::False)).build()));
    }
    let response = |says: &str| {
        let response = ResponseBuilder::new().description(says);
        match &route.gives {
            None => response.build(),
            Some(shape) => {
                let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(&shape.name)));
                response.content("application/json", content.build()).build()
            }
        }
    };
    let mut says = "as asked";
    if route.lasts && route.status == 202 {
        says = "it is under way";
        operation = operation
            .response("200", response("with `wait`: the command is completed"))
            .response("409", response("with `wait`: the command has failed; or another command has this id"));
    }
    let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name(Problem::name())));
    let problem = ResponseBuilder::new()
        .description("an error, and what to do")
        .content("application/json", problem.build());
    if let Some(scope) = route.scope {
        operation = operation.security(SecurityRequirement::new("token", [scope.as_str()]));
    }
    operation.response(route.status.to_string(), response(says)).response("default", problem.build())
}

#[cfg(test)]
mod tests;
