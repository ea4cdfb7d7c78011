use serde_json::{Value, json};

use super::*;
use crate::control::{Command, Order};

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
    for example in Command::examples() {
        let order = Order::parse(example.clone()).unwrap_or_else(|error| panic!("{example}: {error}"));
        words.insert(order.command.word());
        assert!(documented[order.command.word()]["value"].is_object(), "{}", order.command.word());
    }
    // The words of the schema are serde's.
    let error =
        serde_json::from_value::<Command>(json!({ "command": "?" })).expect_err("no such word").to_string();
    let known: BTreeSet<&str> = error.split('`').skip(3).step_by(2).collect();
    assert_eq!(words, known);
}

#[test]
fn every_operation_has_a_name_of_its_own_and_each_example_is_there() {
    let routes = routes();
    let names: BTreeSet<String> = routes.iter().map(operation_id).collect();
    assert_eq!(names.len(), routes.len());
    assert!(names.contains("post_calls_id_verb") && names.contains("get_openapi_json"), "{names:?}");
    let of_commands = &document()["paths"]["/commands"]["post"];
    let shown = of_commands["requestBody"]["content"]["application/json"]["examples"].as_object();
    assert_eq!(shown.map(serde_json::Map::len), Some(Command::examples().len()));
    for status in ["200", "202", "409"] {
        assert!(of_commands["responses"][status].is_object(), "{status}");
    }
}

#[test]
fn the_words_of_a_path_are_those_of_its_commands() {
    assert!(verbs(false).contains("play") && !verbs(false).contains("originate"));
    assert!(verbs(true).contains("mute") && !verbs(true).contains("play_and_collect"));
    let document = document();
    let verb = &document["paths"]["/rooms/{name}/{verb}"]["post"]["parameters"][1];
    assert_eq!(verb["schema"]["enum"].as_array().map(Vec::len), Some(verbs(true).len()));
}
