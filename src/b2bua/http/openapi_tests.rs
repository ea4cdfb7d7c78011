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
    let error =
        serde_json::from_value::<Command>(json!({ "command": "?" })).expect_err("no such word").to_string();
    let known: BTreeSet<&str> = error.split('`').skip(3).step_by(2).collect();
    assert_eq!(words, known);
}

/// What of a value the schema does not allow; a schema of the kinds that are in the document.
fn misfits(whole: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(to) = schema["$ref"].as_str() {
        let schema = whole.pointer(to.trim_start_matches('#')).expect("a schema");
        found.extend(misfits(whole, schema, value));
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        found.extend(misfits(whole, part, value));
    }
    if let Some(parts) = schema["oneOf"].as_array() {
        let fits = parts.iter().filter(|part| misfits(whole, part, value).is_empty()).count();
        found.extend((fits != 1).then(|| format!("{value} fits {fits} of {} schemas", parts.len())));
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        kinds => kinds.as_array().into_iter().flatten().filter_map(Value::as_str).collect(),
    };
    let is = |kind: &&str| match *kind {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        other => panic!("a schema of type {other}"),
    };
    found.extend((!kinds.is_empty() && !kinds.iter().any(is)).then(|| format!("{value} is no {kinds:?}")));
    if let Some(all) = schema["enum"].as_array() {
        found.extend((!all.contains(value)).then(|| format!("{value} is none of {all:?}")));
    }
    for item in value.as_array().into_iter().flatten().filter(|_| schema["items"].is_object()) {
        found.extend(misfits(whole, &schema["items"], item));
    }
    let Some(fields) = value.as_object() else { return found };
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        found.extend((!fields.contains_key(name)).then(|| format!("{value} has no {name}")));
    }
    for (name, value) in fields {
        match &schema["properties"][name] {
            Value::Null if schema["additionalProperties"] == false => {
                found.push(format!("{name} is unknown"))
            }
            Value::Null => {}
            schema => found.extend(misfits(whole, schema, value)),
        }
    }
    found
}

#[test]
fn examples_fit_the_schema_and_what_is_no_command_does_not() {
    let document = document();
    let order = &document["components"]["schemas"]["Order"];
    for example in examples() {
        assert_eq!(misfits(&document, order, &example), Vec::<String>::new(), "{example}");
    }
    for wrong in [
        json!({ "command": "play", "call": 7 }),
        json!({ "command": "play", "call": 7, "sound": 7 }),
        json!({ "command": "play", "call": 7, "sound": { "tone": 440 } }),
        json!({ "command": "dance", "call": 7 }),
    ] {
        assert!(!misfits(&document, order, &wrong).is_empty(), "{wrong}");
    }
}

#[test]
fn every_operation_has_a_name_of_its_own_and_each_example_is_there() {
    let routes = routes();
    let names: BTreeSet<String> = routes.iter().map(operation_id).collect();
    assert_eq!(names.len(), routes.len());
    assert!(names.contains("post_calls_id_verb") && names.contains("get_openapi_json"), "{names:?}");
    let of_commands = &document()["paths"]["/commands"]["post"];
    let shown = of_commands["requestBody"]["content"]["application/json"]["examples"].as_object();
    assert_eq!(shown.map(serde_json::Map::len), Some(examples().len()));
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
