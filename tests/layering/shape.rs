//! Limits how the house grows: lines of a file, fields of a struct, files of a folder and of a type, and tuples. What
//! exceeds a limit today stands in a table with its number, which has to be lowered when it falls.
//!
//! It reads the sources as text, without a compiler.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use crate::report;
use crate::rust_text::tokens;
use crate::sources::{crate_sources, root, rust_files, without_tests};

const MAX_LINES: usize = 1_000;

/// Files of one folder, without its subfolders and tests.
const MAX_FILES: usize = 20;
const FULL_FOLDERS: &[(&str, usize)] = &[
    ("src/call", 21),
    ("src/lab/load", 31),
    ("src/media/relay", 21),
    ("src/server", 46),
    ("src/server-config", 41),
    ("src/server/http", 37),
    ("src/sip/msg", 24),
    ("src/sip/net", 30),
];

/// Files with an `impl` of one type, without those of traits.
const MAX_PLACES: usize = 12;
const SPREAD_TYPES: &[(&str, usize)] = &[("call::AgentService", 16), ("sip::Endpoint", 31)];

/// Parameters and fields whose own type is a tuple, by crate: a type has names.
const TUPLES: &[(&str, usize)] = &[
    ("app", 4),
    ("client", 3),
    ("lab", 17),
    ("media", 32),
    ("phone", 3),
    ("server", 14),
    ("server-config", 2),
    ("testkit", 1),
];

#[test]
fn files_are_short() {
    let mut files = Vec::new();
    for folder in ["src", "tests", "benches", "examples"] {
        rust_files(&root().join(folder), &mut files);
    }
    assert!(files.len() > 50, "the sources were not found");
    let text = |path: &PathBuf| fs::read_to_string(path).expect("readable source");
    let lines = |path: &PathBuf| text(path).lines().take_while(|line| !line.contains("@generated")).count();
    let long = files.iter().map(|path| (path, lines(path))).filter(|(_, lines)| *lines > MAX_LINES);
    let told = |(path, lines): (&PathBuf, usize)| {
        format!("{}: {lines} lines: look for its second subject", path.display())
    };
    report(long.map(told).collect());
}

/// A struct with more fields has several responsibilities.
#[test]
fn structs_of_calls_and_applications_have_at_most_twenty_fields() {
    let mut files = Vec::new();
    for folder in ["src/call/switch", "src/call/application", "src/app"] {
        rust_files(&root().join(folder), &mut files);
    }
    let text: String = files.iter().map(|path| fs::read_to_string(path).expect("readable source")).collect();
    let mut structs = text.split("struct ").skip(1).filter_map(|rest| rest.split("\n}").next()).peekable();
    assert!(structs.peek().is_some(), "the sources were not found");
    let is_field = |line: &&str| {
        line.starts_with("    ") && !line.starts_with("     ") && line.ends_with(',') && line.contains(": ")
    };
    let fields = |body: &str| body.lines().skip(1).filter(is_field).count();
    let named = |body: &str| body.lines().next().unwrap_or_default().to_owned();
    let large = structs
        .filter(|body| body.lines().next().is_some_and(|line| line.ends_with('{')) && fields(body) > 20);
    report(large.map(|body| format!("{} has {} fields", named(body), fields(body))).collect());
}

#[test]
fn folders_have_few_files() {
    let mut folders: BTreeMap<String, usize> = BTreeMap::new();
    for source in crate_sources().iter().filter(|source| !source.test) {
        let folder = source.path.parent().expect("a file is in a folder");
        let folder = folder.strip_prefix(root()).expect("inside the project").display().to_string();
        *folders.entry(folder).or_default() += 1;
    }
    report(beyond(&folders, MAX_FILES, FULL_FOLDERS, "files: subjects that belong together are a folder"));
}

#[test]
fn a_type_has_its_methods_in_few_files() {
    let mut places: BTreeMap<String, BTreeSet<PathBuf>> = BTreeMap::new();
    for source in crate_sources().iter().filter(|source| !source.test) {
        let room = source.module.split("::").next().unwrap_or_default();
        for name in implemented(&tokens(without_tests(&source.text))) {
            places.entry(format!("{room}::{name}")).or_default().insert(source.path.clone());
        }
    }
    let counts = places.into_iter().map(|(name, files)| (name, files.len())).collect();
    report(beyond(&counts, MAX_PLACES, SPREAD_TYPES, "files have an `impl` of it: it is several types"));
}

#[test]
fn parameters_and_fields_have_types_with_names() {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut all = Vec::new();
    for source in crate_sources().iter().filter(|source| !source.test) {
        let room = source.module.split("::").next().unwrap_or_default();
        for name in tuples(&tokens(without_tests(&source.text))) {
            *counts.entry(room.to_owned()).or_default() += 1;
            all.push(format!("{}: {name}", source.path.display()));
        }
    }
    println!("{}", all.join("\n"));
    report(beyond(&counts, 0, TUPLES, "parameters or fields are tuples, see above: give them a type"));
}

/// What exceeds a limit and is not in the table, or is there with another number.
fn beyond(counts: &BTreeMap<String, usize>, limit: usize, table: &[(&str, usize)], why: &str) -> Vec<String> {
    let allowed = |name: &str| table.iter().find(|(known, _)| *known == name).map(|(_, count)| *count);
    let over = counts.iter().filter_map(|(name, count)| match allowed(name) {
        Some(known) if count < &known => Some(format!("{name}: {count}, and {known} in the table: lower it")),
        Some(known) if *count == known => None,
        _ => (*count > limit).then(|| format!("{name}: {count} {why}")),
    });
    let gone = table.iter().filter(|(name, _)| !counts.contains_key(*name));
    over.chain(gone.map(|(name, _)| format!("{name} is not there: remove it from the table"))).collect()
}

/// The types with an `impl` of their own.
fn implemented(tokens: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    // `impl` also begins a type, as that of a parameter
    let is_item = |at: usize| at == 0 || matches!(tokens[at - 1].as_str(), "}" | ";" | "]" | "{");
    for at in (0..tokens.len()).filter(|at| tokens[*at] == "impl" && is_item(*at)) {
        let head: Vec<&str> =
            tokens[at + 1..].iter().map(String::as_str).take_while(|it| *it != "{").collect();
        let outer = without_generics(&head);
        if !outer.contains(&"for") {
            let until = outer.iter().position(|it| *it == "where").unwrap_or(outer.len());
            found.extend(outer[..until].iter().rfind(|it| is_name(it)).map(ToString::to_string));
        }
    }
    found
}

fn without_generics<'a>(words: &[&'a str]) -> Vec<&'a str> {
    let mut depth = 0_usize;
    let mut outer = Vec::new();
    for word in words {
        match *word {
            "<" => depth += 1,
            ">" => depth = depth.saturating_sub(1),
            word if depth == 0 => outer.push(word),
            _ => {}
        }
    }
    outer
}

/// The parameters of functions and the named fields of structs and variants that are tuples, with where they are.
fn tuples(tokens: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let name = tokens.get(at + 1).map(String::as_str).unwrap_or_default();
        let (open, close) = match token.as_str() {
            "fn" if is_name(name) => ("(", ")"),
            "struct" if is_name(name) => ("{", "}"),
            "enum" if is_name(name) => ("{", "}"),
            _ => continue,
        };
        let Some(from) = (at..tokens.len()).find(|it| tokens[*it] == open || tokens[*it] == ";") else {
            continue;
        };
        let inside = inside(&tokens[from..], open, close);
        found.extend((0..typed_tuples(inside)).map(|_| format!("{token} {name}")));
    }
    found
}

/// What is between the first bracket and the one that closes it.
fn inside<'a>(tokens: &'a [String], open: &str, close: &str) -> &'a [String] {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        depth += usize::from(token == open);
        depth -= usize::from(token == close && depth > 0);
        if depth == 0 {
            return tokens.get(1..at).unwrap_or_default();
        }
    }
    &[]
}

/// How often `name: (A, B)` is there, also with a pattern as the name; `()` is none, nor is a tuple within another type.
fn typed_tuples(tokens: &[String]) -> usize {
    let is_tuple = |at: &usize| {
        let own = inside(&tokens[*at + 1..], "(", ")");
        let mut depth = 0_usize;
        own.iter().any(|token| {
            depth += usize::from(matches!(token.as_str(), "(" | "<" | "["));
            depth -= usize::from(matches!(token.as_str(), ")" | ">" | "]") && depth > 0);
            token == "," && depth == 0
        })
    };
    let starts =
        (0..tokens.len()).filter(|at| tokens[*at] == ":" && tokens.get(at + 1).is_some_and(|it| it == "("));
    starts.filter(is_tuple).count()
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

#[test]
fn tuples_and_spread_types_are_found() {
    let text = "
        impl<T> Wide<T> where T: Copy { fn a(&self, (x, y): (u8, u8), z: Vec<(u8, u8)>) -> (u8, u8) {} }
        impl Trait for Wide<u8> { fn b(&self, unit: (), one: (u8,)) {} }
        struct Of { both: (u8, Vec<u8>), each: [(u8, u8); 2] }
        enum One { Way { from: (u8, u8) } }
        fn c(it: impl Iterator<Item = u8>) {}
    ";
    let all = tokens(text);
    assert_eq!(implemented(&all), ["Wide"]);
    assert_eq!(tuples(&all), ["fn a", "fn b", "struct Of", "enum One"]);
    let counts = BTreeMap::from([("a".to_owned(), 5), ("b".to_owned(), 3)]);
    assert_eq!(beyond(&counts, 4, &[("a", 6), ("c", 9)], "files").len(), 2, "one fell, one is gone");
    assert_eq!(beyond(&counts, 4, &[("a", 4)], "files"), ["a: 5 files"]);
}
