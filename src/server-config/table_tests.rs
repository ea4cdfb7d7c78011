//! What follows from the rows: every error at once, ranges, the schema.

use serde_json::Value;

use super::schema::schema;
use super::sections::SECTIONS;
use super::tests::errors;
use b2b_config::table::{Row, Table, Takes};

/// A configuration in which a key has this value; whatever else the table needs is missing.
fn with(table: &Table, key: &str, value: &str) -> String {
    match table.name {
        "host" => format!("[[gateway]]\nhosts = [{{ {key} = {value} }}]\n"),
        "rule" => format!("[[gateway]]\ncalled = [{{ {key} = {value} }}]\n"),
        "header" => format!("[[route]]\nheaders = [{{ {key} = {value} }}]\n"),
        "ner" => format!("[[gateway]]\nner = {{ {key} = {value} }}\n"),
        "srtp" => format!("[media.srtp]\n{key} = {value}\n[wrong]\n"),
        "ivr.node" => format!("[[ivr]]\n[[ivr.node]]\n{key} = {value}\n"),
        _ => format!("{}\n{key} = {value}\n[wrong]\n", table.written),
    }
}

/// The errors of this key when it has this value.
fn refused(table: &Table, row: &Row, value: &str) -> Vec<String> {
    let key = format!("`{}.{}`", table.name, row.name);
    let mut errors = errors(&with(table, row.name, value));
    errors.retain(|error| error.contains(&key) && !error.contains("is missing"));
    errors
}

fn rows() -> impl Iterator<Item = (&'static Table, &'static Row)> {
    SECTIONS.into_iter().flat_map(|table| table.keys.iter().map(move |row| (table, row)))
}

#[test]
fn everything_that_is_wrong_is_told_at_once_by_line() {
    let text = "[server]\ndrain_s = -1\nlistn = []\n[limits]\ncalls = \"many\"\nredirects = 21\n[servr]\n\
        [[user]]\nname = \"1001\"\nmax_calls = 0\n\
        [[gateway]]\nname = \"carrier\"\nhosts = [\"a:0\", \"b\", \"c:99999\"]\n\
        [[route]]\nto = [\"gateway/carier\", \"user/1001\", \"user/1002\"]\nmode = \"b2b\"\n";
    let port = "not a port; write it like sip.example.com, 192.0.2.7:5060 or [2001:db8::7]:5060";
    assert_eq!(
        errors(text),
        [
            "line 2: `server.drain_s` = -1: not a whole number from 0 to 86400",
            "line 3: there is no `server.listn`; did you mean `listen`?",
            "line 5: `limits.calls` is a text, but takes a whole number without quotes",
            "line 6: `limits.redirects` = 21: not a whole number from 0 to 20",
            "line 7: there is no `servr`; did you mean `server`?",
            "line 8: `user.password` is missing: the user could not register; set password, password_file or \
             ha1",
            "line 10: `user.max_calls` = 0: not a whole number from 1 to 100000",
            &format!("line 13: `gateway.hosts` = \"a:0\": {port}"),
            &format!("line 13: `gateway.hosts` = \"c:99999\": {port}"),
            "line 15: `route.to`: there is no gateway \"carier\"; did you mean \"carrier\"?",
            "line 15: `route.to`: there is no user \"1002\"; did you mean \"1001\"?",
            "line 16: `route.mode` = \"b2b\": no such mode; choose transparent, intercepting or translating",
        ]
    );
}

#[test]
fn what_is_wrong_takes_nothing_else_with_it() {
    // the carrier, the class and the agent are there, wrong as they are
    let text = "[[user]]\nname = \"1001\"\npassword = \"x\"\nclass = \"staff\"\nmax_calls = 0\n\
        [[gateway]]\nname = \"carrier\"\nhosts = \"h\"\noptions_s = -1\n\
        [[agent]]\nname = \"1001\"\npriority = 0\n\
        [[queue]]\nname = \"q\"\nagents = \"1001\"\n\
        [[route]]\nclass = \"staff\"\nto = [\"gateway/carrier\", \"user/1001\"]\n";
    let lines: Vec<String> =
        errors(text).iter().map(|error| error.split(':').next().unwrap().into()).collect();
    assert_eq!(lines, ["line 5", "line 9", "line 12"]);
}

#[test]
fn a_misspelt_key_is_not_missing_as_well() {
    let errors = errors("[[gateway]]\nname = \"a\"\nhosts = [{ hots = \"h\" }]\n[[user]]\nnmae = \"b\"\n");
    let told = [
        "line 3: there is no `host.hots`; did you mean `host`?",
        "line 5: there is no `user.nmae`; did you mean `name`?",
    ];
    assert_eq!(errors, told);
}

#[test]
fn every_number_is_refused_beyond_its_range_and_taken_at_its_ends() {
    let mut checked = 0;
    for (table, row) in rows() {
        let Takes::Whole(least, most) = row.takes else { continue };
        for beyond in [i128::from(least) - 1, i128::from(most) + 1] {
            let errors = refused(table, row, &beyond.to_string());
            let range = format!("= {beyond}: not a whole number from {least} to {most}");
            assert!(
                errors.len() == 1 && errors[0].ends_with(&range),
                "{}.{}: {errors:?}",
                table.name,
                row.name
            );
        }
        for end in [least, most] {
            let mut errors = refused(table, row, &end.to_string());
            errors.retain(|error| error.contains("not a whole number"));
            assert_eq!(errors, [""; 0], "{}.{} = {end}", table.name, row.name);
        }
        checked += 1;
    }
    assert!(checked > 70, "{checked}");
}

#[test]
fn every_key_is_refused_with_a_value_of_another_kind() {
    for (table, row) in rows() {
        let other = match row.takes {
            Takes::Switch | Takes::Whole(..) | Takes::OneOf(_) | Takes::SwitchOrCodes(..) => "\"text\"",
            Takes::Tables(..) | Takes::Pairs(_) => "1979-05-27",
            _ => "1979-05-27T07:32:00Z",
        };
        let errors = refused(table, row, other);
        let told = errors.iter().any(|error| error.contains(" is a ") && error.contains(", but takes "));
        assert!(told, "{}.{} = {other}: {errors:?}", table.name, row.name);
    }
}

#[test]
fn every_name_and_number_of_a_few_is_taken_and_no_other() {
    for (table, row) in rows() {
        let (known, other): (Vec<String>, &str) = match row.takes {
            Takes::Choice(names) | Takes::Choices(names) | Takes::ChoiceOrTable(names, _) => {
                (names.names().iter().map(|name| format!("{name:?}")).collect(), "\"none of them\"")
            }
            Takes::OneOf(numbers) => (numbers.iter().map(ToString::to_string).collect(), "11025"),
            _ => continue,
        };
        let full = format!("{}.{}", table.name, row.name);
        assert!(!refused(table, row, other).is_empty(), "{full}");
        for value in known {
            let mut errors = refused(table, row, &value);
            errors.retain(|error| error.contains("choose") || error.contains("write"));
            assert_eq!(errors, [""; 0], "{full} = {value}");
        }
    }
}

#[test]
fn the_schema_has_every_key_as_its_row_says() {
    let schema = schema();
    for (table, row) in rows() {
        let full = format!("{}.{}", table.name, row.name);
        let key = &schema["definitions"][table.name]["properties"][row.name];
        assert!(key["description"].as_str().is_some_and(|text| text.contains(row.about)), "{full}");
        match row.takes {
            Takes::Whole(least, most) => {
                assert_eq!(key["type"], "integer", "{full}");
                assert_eq!((&key["minimum"], &key["maximum"]), (&least.into(), &most.into()), "{full}");
            }
            Takes::OneOf(numbers) => assert_eq!(key["enum"], Value::from(numbers.to_vec()), "{full}"),
            Takes::Choice(names) => assert_eq!(key["enum"], Value::from(names.names()), "{full}"),
            Takes::Choices(names) => {
                assert_eq!(key["anyOf"][1]["items"]["enum"], Value::from(names.names()), "{full}");
            }
            Takes::ChoiceOrTable(names, table) => {
                assert_eq!(key["anyOf"][0]["enum"], Value::from(names.names()), "{full}");
                assert_eq!(key["anyOf"][1]["$ref"], format!("#/definitions/{}", table.name), "{full}");
            }
            Takes::Switch => assert_eq!(key["type"], "boolean", "{full}"),
            _ => assert!(key["type"].is_string() || key["type"].is_array(), "{full}"),
        }
        assert_eq!(key["default"].is_null(), row.default.is_empty(), "{full}: {}", row.default);
    }
    assert_eq!(schema["definitions"]["server"]["properties"]["drain_s"]["default"], 30);
    let codecs = &schema["definitions"]["media"]["properties"]["codecs"]["default"];
    assert_eq!(*codecs, serde_json::json!(["opus", "g722", "pcmu", "pcma"]));
    assert_eq!(schema["properties"]["user"]["items"]["$ref"], "#/definitions/user");
    assert_eq!(schema["properties"]["server"]["$ref"], "#/definitions/server");
    assert!(schema["properties"].get("ivr.node").is_none());
}
