//! The tables of keys as a JSON Schema, with which editors complete and check a configuration.

use serde_json::{Map, Value, json};

use super::sections::SECTIONS;
use b2b_config::table::{Applies, Row, Table, Takes};

/// The schema of the file, draft 7: most editors' TOML plugins read it.
pub fn schema() -> Value {
    let definitions: Map<String, Value> =
        SECTIONS.iter().map(|table| (table.name.to_string(), definition(table))).collect();
    // nested tables are part of another table
    let tables = SECTIONS.iter().filter(|it| it.written.starts_with('[') && !it.name.contains('.'));
    let properties: Map<String, Value> = tables
        .map(|table| {
            let one = reference(table);
            let value = if table.is_list() { json!({"type": "array", "items": one}) } else { one };
            (table.name.to_string(), value)
        })
        .collect();
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Configuration of b2b, --role b2bua",
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
        "definitions": definitions,
    })
}

fn reference(table: &Table) -> Value {
    json!({"$ref": format!("#/definitions/{}", table.name)})
}

fn definition(table: &Table) -> Value {
    let properties: Map<String, Value> =
        table.keys.iter().map(|row| (row.name.to_string(), property(row))).collect();
    json!({
        "type": "object",
        "description": table.about,
        "additionalProperties": false,
        "properties": properties,
    })
}

fn property(row: &Row) -> Value {
    let mut property = kind(&row.takes);
    let restart = if row.applies == Applies::AtRestart { " Takes a restart." } else { "" };
    property["description"] = format!("{}. {}{restart}", row.takes.words(), row.about).into();
    let default = toml::from_str::<Map<String, Value>>(&format!("default = {}", row.default));
    if let Some(default) = default.ok().and_then(|mut table| table.remove("default")) {
        property["default"] = default;
    }
    property
}

fn kind(takes: &Takes) -> Value {
    match *takes {
        Takes::Text(..) | Takes::Secret(_) => json!({"type": "string"}),
        Takes::Texts(..) => json!({"type": ["string", "array"], "items": {"type": "string"}}),
        Takes::Switch => json!({"type": "boolean"}),
        Takes::Whole(least, most) => json!({"type": "integer", "minimum": least, "maximum": most}),
        Takes::OneOf(numbers) => json!({"type": "integer", "enum": numbers}),
        Takes::Choice(names) => json!({"type": "string", "enum": names.names()}),
        Takes::Choices(names) => {
            let one = json!({"type": "string", "enum": names.names()});
            json!({"anyOf": [one, {"type": "array", "items": one}]})
        }
        Takes::Pairs(_) => json!({"type": "object", "additionalProperties": {"type": "string"}}),
        Takes::Tables(_, table) => json!({"type": "array", "items": reference(table)}),
        Takes::TablesOrTexts(_, table, _) => {
            let item = json!({"anyOf": [{"type": "string"}, reference(table)]});
            json!({"type": ["string", "array"], "items": item})
        }
        Takes::ChoiceOrTable(names, table) => {
            json!({"anyOf": [{"type": "string", "enum": names.names()}, reference(table)]})
        }
        Takes::SwitchOrCodes(..) => {
            json!({"type": ["boolean", "array"], "items": {"type": ["integer", "string"]}})
        }
    }
}
