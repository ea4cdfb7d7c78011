//! The OpenAPI document compared with the requests and responses of the real binary.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::server_support::captured::Lab;
use crate::server_support::phone::Phone;
use crate::server_support::{server, until};

/// The parts of a value that the schema does not allow; supports the kinds of schema in the document.
pub fn misfits(whole: &Value, schema: &Value, value: &Value) -> Vec<String> {
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

/// All parts of a schema that apply to the same value.
fn parts<'a>(whole: &'a Value, schema: &'a Value) -> Vec<&'a Value> {
    let behind = schema["$ref"].as_str().and_then(|to| whole.pointer(to.trim_start_matches('#')));
    let of = ["allOf", "oneOf"].into_iter().filter_map(|of| schema[of].as_array()).flatten();
    let inner = of.chain(behind).flat_map(|part| parts(whole, part));
    std::iter::once(schema).chain(inner).collect()
}

/// Fields of a response that its schema does not describe, at any depth.
pub fn unsaid(whole: &Value, schema: &Value, answer: &Value, path: &str) -> Vec<String> {
    let parts = parts(whole, schema);
    let mut found = Vec::new();
    for (n, item) in answer.as_array().into_iter().flatten().enumerate() {
        let of = parts.iter().find(|part| part["items"].is_object()).map(|part| &part["items"]);
        match of {
            Some(of) => found.extend(unsaid(whole, of, item, &format!("{path}/{n}"))),
            None => found.push(format!("{path}/{n}")),
        }
    }
    for (name, value) in answer.as_object().into_iter().flatten() {
        let path = format!("{path}/{name}");
        let named = parts.iter().map(|part| &part["properties"][name]).find(|it| it.is_object());
        let any = parts.iter().map(|part| &part["additionalProperties"]).find(|it| it.is_object());
        match named.or(any) {
            Some(of) => found.extend(unsaid(whole, of, value, &path)),
            None => found.push(path),
        }
    }
    found
}

#[test]
fn examples_of_commands_fit_the_schema_and_what_is_no_command_does_not() {
    let document = server("").get("/openapi.json").json();
    let content = &document["paths"]["/commands"]["post"]["requestBody"]["content"]["application/json"];
    let examples = content["examples"].as_object().expect("examples");
    assert!(examples.len() > 30, "{}", examples.len());
    for (name, example) in examples {
        assert_eq!(misfits(&document, &content["schema"], &example["value"]), Vec::<String>::new(), "{name}");
    }
    for wrong in [
        json!({ "command": "play", "call": 7 }),
        json!({ "command": "play", "call": 7, "sound": 7 }),
        json!({ "command": "play", "call": 7, "sound": { "tone": 440 } }),
        json!({ "command": "dance", "call": 7 }),
    ] {
        assert!(!misfits(&document, &content["schema"], &wrong).is_empty(), "{wrong}");
    }
}

/// One entry for every list.
const HOUSE: &str = r#"
[recording]
folder = "recordings"
[[user]]
name = "1001"
password = "x"
[[agent]]
name = "1001"
skills = ["english:3"]
[[queue]]
name = "sales"
agents = ["1001"]
[[conference]]
name = "blue"
announced = false
[[park]]
name = "lot"
slots = "701-703"
[[remote]]
name = "program"
[[gateway]]
name = "carrier"
hosts = ["127.0.0.1:9"]
[[route]]
called = "8000"
app = "conference/blue"
[[route]]
called = "8001"
app = "queue/sales"
[[route]]
called = "700"
app = "park/lot"
"#;

#[test]
fn answers_have_the_fields_that_their_schemas_name_and_no_others() {
    let lab = Lab::with(HOUSE, "");
    let server = &lab.server;
    let phones = ["8000", "8001", "700"].map(|number| {
        let phone = Phone::new("cat");
        let dialog = phone.call(server.sip, number);
        (phone, dialog)
    });
    let document = server.get("/openapi.json").json();
    let check = |method: &str, route: &str, path: &str, body: &Value| -> Value {
        let answer = server.ask_with(&method.to_uppercase(), path, "", &body.to_string());
        let status = answer.status.to_string();
        let responses = &document["paths"][route][method]["responses"];
        let response = responses.get(&status).unwrap_or(&responses["default"]);
        let (schema, answer) = (&response["content"]["application/json"]["schema"], answer.json());
        assert!(schema.is_object(), "{method} {path}: {status}: {answer}");
        assert_eq!(misfits(&document, schema, &answer), Vec::<String>::new(), "{method} {path}: {answer}");
        assert_eq!(unsaid(&document, schema, &answer, ""), Vec::<String>::new(), "{method} {path}: {answer}");
        answer
    };
    let none = Value::Null;
    check("post", "/calls/{id}/capture", &format!("{}/capture", lab.path), &json!({ "media": "whole" }));
    assert_eq!(server.ask("POST", &format!("{}/recording", lab.path)).status, 202);
    lab.talk(50);
    // Conversations shorter than a second are not judged.
    until("a verdict", || {
        let verdict = &server.get(&lab.path).json()["verdicts"][0];
        verdict["audio"].as_str().is_some_and(|audio| audio != "not_judged").then_some(())
    });
    let account = check("get", "/calls/{id}", &lab.path, &none);
    for said in
        ["/now/recording/file", "/legs/0/media/jitter_ms", "/verdicts/0/words", "/media_captured/media"]
    {
        assert!(account.pointer(said).is_some(), "{said}: {account}");
    }
    assert_eq!(check("get", "/calls", "/calls?ended=true", &none)["total"], 4);
    until("a caller in the queue", || {
        let queue = check("get", "/queues/{name}", "/queues/sales", &none);
        (queue["callers"][0]["number"] == "cat").then_some(())
    });
    check("get", "/queues", "/queues", &none);
    check("put", "/agents/{name}/state", "/agents/1001/state", &json!({ "state": "paused" }));
    assert_eq!(check("get", "/agents/{name}", "/agents/1001", &none)["skills"]["english"], 3);
    for path in ["/agents", "/rooms", "/slots", "/gateways", "/remotes", "/registrations"] {
        check("get", path, path, &none);
    }
    check("get", "/rooms/{name}", "/rooms/blue", &none);
    std::fs::write(server.folder.path().join("b2bua.toml"), "no = 1\n").expect("a file");
    server.process.signal(Signal::SIGHUP);
    until("an alarm", || {
        let alarms = check("get", "/alarms", "/alarms", &none);
        alarms["alarms"].as_array().is_some_and(|all| !all.is_empty()).then_some(())
    });
    check("delete", "/calls/{id}/recording", &format!("{}/recording", lab.path), &none);
    check("post", "/commands", "/commands", &json!({ "command": "lookup", "target": "user/1001" }));
    check("post", "/commands", "/commands?wait=5", &json!({ "command": "hangup", "call": 1 }));
    check("get", "/calls/{id}", "/calls/1", &none);
    lab.end();
    assert_eq!(check("get", "/calls/{id}", &lab.path, &none)["over"], true);
    phones.iter().for_each(|(phone, dialog)| phone.hang_up(dialog));
}
