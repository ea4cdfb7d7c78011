use std::path::Path;

use b2b_call::event::KINDS;

use super::*;

#[test]
fn every_reference_leads_somewhere_and_every_schema_is_there() {
    fn pointers(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|value| pointers(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| pointers(value, found)),
            _ => {}
        }
    }
    let (document, mut found) = (asyncapi(), Vec::new());
    pointers(&document, &mut found);
    assert!(found.len() > 30, "{found:?}");
    for to in found {
        let there = document.pointer(to.trim_start_matches('#'));
        assert!(there.is_some_and(Value::is_object), "{to}");
    }
}

/// The whole of what a schema may be: itself, and what its `$ref` and `allOf` say.
fn parts<'a>(whole: &'a Value, schema: &'a Value) -> Vec<&'a Value> {
    let behind = schema["$ref"].as_str().and_then(|to| whole.pointer(to.trim_start_matches('#')));
    let inner = schema["allOf"].as_array().into_iter().flatten().chain(behind);
    std::iter::once(schema).chain(inner.flat_map(|part| parts(whole, part))).collect()
}

/// One kind of event: its word, what it says, its fields.
struct Kind<'a> {
    word: &'a str,
    says: &'a str,
    fields: Vec<(&'a str, &'a Value, bool)>,
}

fn kind<'a>(whole: &'a Value, schema: &'a Value) -> Kind<'a> {
    let parts = parts(whole, schema);
    let says = parts.iter().find_map(|part| part["description"].as_str()).unwrap_or_default();
    let mut it = Kind { word: "", says, fields: Vec::new() };
    for part in parts {
        let must: Vec<&str> =
            part["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (name, field) in part["properties"].as_object().into_iter().flatten() {
            match name.as_str() {
                "type" => it.word = field["enum"][0].as_str().or(field["const"].as_str()).unwrap_or_default(),
                name => it.fields.push((name, field, must.contains(&name))),
            }
        }
    }
    it
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// What is said of a field, at itself or at the one thing that it may be.
fn said(field: &Value) -> &str {
    let parts = ["oneOf", "anyOf", "allOf"].into_iter().filter_map(|of| field[of].as_array()).flatten();
    let all = std::iter::once(field).chain(parts);
    all.filter_map(|it| it["description"].as_str()).next().unwrap_or_default()
}

/// What a field is, in a word.
fn shape(whole: &Value, field: &Value) -> String {
    if let Some(to) = field["$ref"].as_str() {
        let schema = whole.pointer(to.trim_start_matches('#')).unwrap_or(&Value::Null);
        let words = schema["enum"].as_array();
        return match (words, schema["type"].as_str()) {
            (Some(words), _) => words
                .iter()
                .filter_map(Value::as_str)
                .map(|it| format!("`{it}`"))
                .collect::<Vec<_>>()
                .join(", "),
            (None, Some(simple)) if simple != "object" => simple.to_owned(),
            _ => to.rsplit('/').next().unwrap_or_default().to_owned(),
        };
    }
    if let Some(parts) = field["oneOf"].as_array().or(field["anyOf"].as_array()) {
        let some = parts.iter().find(|part| part["type"] != "null").unwrap_or(&Value::Null);
        return shape(whole, some);
    }
    match &field["type"] {
        Value::String(simple) => simple.clone(),
        Value::Array(all) => {
            all.iter().filter_map(Value::as_str).find(|it| *it != "null").unwrap_or("any").to_owned()
        }
        _ => "any".to_owned(),
    }
}

fn markdown() -> String {
    let whole = asyncapi();
    let kinds: Vec<Kind<'_>> = whole["components"]["schemas"]["Event"]["oneOf"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|it| kind(&whole, it))
        .collect();
    let mut text = String::new();
    for plane in b2b_call::event::Plane::ALL {
        text.push_str(&format!("\n## Plane `{}`\n", plane.as_str()));
        for (word, _) in KINDS.iter().filter(|(_, of)| *of == plane) {
            let it =
                kinds.iter().find(|it| it.word == *word).unwrap_or_else(|| panic!("{word} is in no schema"));
            text.push_str(&format!(
                "\n### `{word}`\n\n{}\n\n| field | type | meaning |\n|---|---|---|\n",
                one_line(it.says)
            ));
            for (name, field, must) in &it.fields {
                let may = if *must { "" } else { ", may be left out or null" };
                let says = one_line(said(field));
                assert!(!says.is_empty(), "{word}.{name} says nothing");
                text.push_str(&format!("| `{name}` | {}{may} | {says} |\n", shape(&whole, field)));
            }
        }
    }
    text
}

/// docs/events.md is written from the types. With `B2B_WRITE_DOCS` set, this writes it.
#[test]
fn the_page_of_events_is_that_of_the_types() {
    const BEGIN: &str = "<!-- events: written by src/server/http/asyncapi/tests.rs -->\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/events.md");
    let text = std::fs::read_to_string(&path).expect("docs/events.md");
    let (before, written) = text.split_once(BEGIN).expect("where the tables begin");
    let wanted = markdown();
    if std::env::var_os("B2B_WRITE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{wanted}")).expect("write");
        return;
    }
    assert!(written == wanted, "docs/events.md is behind the types: run this test with B2B_WRITE_DOCS=1");
}

#[test]
fn answers_to_commands_and_what_a_program_is_told_are_there_with_their_fields() {
    let document = asyncapi();
    let said = |channel: &str| -> Vec<String> {
        let messages = document["operations"][format!("send_{channel}")]["messages"].as_array();
        let names = messages.into_iter().flatten().filter_map(|it| it["$ref"].as_str()?.rsplit('/').next());
        names.map(str::to_owned).collect()
    };
    assert_eq!(said("events"), ["event", "lost"]);
    assert_eq!(said("control"), ["event", "lost", "answer"]);
    assert_eq!(said("remote"), ["event", "lost", "answer", "call"]);
    let kinds = |schema: &str| -> Vec<Kind<'_>> {
        let all = document["components"]["schemas"][schema]["oneOf"].as_array();
        all.into_iter().flatten().map(|it| kind(&document, it)).collect()
    };
    let fields = |schema: &str, word: &str| -> Vec<String> {
        let all = kinds(schema);
        let found = all.iter().find(|it| it.word == word).unwrap_or_else(|| panic!("{schema} has no {word}"));
        found.fields.iter().map(|(name, ..)| (*name).to_owned()).collect()
    };
    assert_eq!(fields("Answer", "accepted"), ["decision", "id", "leg"]);
    assert_eq!(fields("Answer", "refused"), ["error", "fix", "id", "status"]);
    assert_eq!(fields("Answer", "pong"), ["ping"]);
    assert_eq!(fields("Missed", "lost"), ["count"]);
    assert_eq!(fields("CallNews", "over"), ["call", "leg", "reason"]);
    let offer = fields("CallNews", "offer");
    for field in [
        "remote",
        "call",
        "leg",
        "called",
        "caller",
        "identity",
        "source",
        "answered",
        "variables",
        "headers",
    ] {
        assert!(offer.iter().any(|it| it == field), "{field} in {offer:?}");
    }
}
