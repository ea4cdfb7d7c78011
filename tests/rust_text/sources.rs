//! The sources of the workspace, each with its place in the module tree and the paths that it names.

use std::fs;
use std::path::{Path, PathBuf};

use crate::rust_text::tokens;

/// The rooms that are crates, `b2b_room`, each in its folder.
pub const CRATES: &[&str] = &[
    "app",
    "baresip",
    "base",
    "call",
    "client",
    "config",
    "dsp",
    "lab",
    "media",
    "phone",
    "sdp",
    "server",
    "server-config",
    "sip",
    "sys",
    "testkit",
    "ua",
];

/// A source file with its place in the module tree.
#[derive(Clone)]
pub struct Source {
    pub path: PathBuf,
    /// `sip::msg::uri`; empty for `lib.rs`.
    pub module: String,
    pub text: String,
    /// The whole file is test code.
    pub test: bool,
}

/// Whether a path is in a module.
pub fn within(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn crate_sources() -> Vec<Source> {
    let (src, mut files) = (root().join("src"), Vec::new());
    rust_files(&src, &mut files);
    assert!(files.len() > 50, "the sources were not found");
    files.sort();
    let mut sources: Vec<Source> = files
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("readable source");
            let inside = path.strip_prefix(&src).expect("inside src").with_extension("");
            let mut parts: Vec<String> =
                inside.iter().map(|part| part.to_string_lossy().into_owned()).collect();
            if matches!(parts.last().map(String::as_str), Some("mod" | "lib")) {
                parts.pop();
            }
            Source { path, module: parts.join("::"), text, test: false }
        })
        .collect();
    let tests: Vec<String> = sources.iter().flat_map(test_modules).collect();
    for source in &mut sources {
        let named = source.module.split("::").any(|part| part == "tests" || part.ends_with("_tests"));
        source.test = named || tests.iter().any(|test| within(&source.module, test));
    }
    sources
}

pub fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("readable folder").path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Modules in separate files that exist for tests only.
pub fn test_modules(source: &Source) -> Vec<String> {
    let tokens = tokens(&source.text);
    let mut names = Vec::new();
    for (index, window) in tokens.windows(7).enumerate() {
        if window.iter().map(String::as_str).eq(["#", "[", "cfg", "(", "test", ")", "]"]) {
            let after: Vec<&str> = tokens[index + 7..].iter().map(String::as_str).take(8).collect();
            let declared = after.iter().position(|token| *token == "mod").filter(|at| *at <= 4);
            if let Some(at) = declared
                && after.get(at + 2) == Some(&";")
            {
                names.push(join(&source.module, after[at + 1]));
            }
        }
    }
    names
}

/// The source up to its inline test module, which is at the end.
pub fn without_tests(text: &str) -> &str {
    let inline = text.match_indices("#[cfg(test)]\nmod ").find(|(at, _)| {
        let line = text[*at..].lines().nth(1).unwrap_or("");
        line.ends_with('{')
    });
    inline.map_or(text, |(at, _)| &text[..at])
}

/// All items of this crate that a source names, as paths from the crate's root.
pub fn imports(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    let all = tokens(&source.text);
    let own_crate = source.module.split("::").next().filter(|room| CRATES.contains(room)).unwrap_or_default();
    for index in starts(&all, "crate") {
        tree(&all, index + 2, own_crate.to_string(), &mut found);
    }
    for other in CRATES.iter().filter(|other| **other != own_crate) {
        for index in starts(&all, &format!("b2b_{}", other.replace('-', "_"))) {
            tree(&all, index + 2, other.to_string(), &mut found);
        }
    }
    // `super` has another meaning inside an inline module.
    let own = tokens(without_tests(&source.text));
    for index in starts(&own, "super") {
        let mut module = source.module.as_str();
        let mut at = index;
        while own.get(at).is_some_and(|token| token == "super") {
            module = module.rsplit_once("::").map_or("", |(parent, _)| parent);
            at += 2;
        }
        tree(&own, at, module.to_string(), &mut found);
    }
    found.sort();
    found.dedup();
    found
}

/// The items that a room's root exports from its files, as paths from the crate's root.
pub fn exports(root: &Source) -> Vec<String> {
    let (all, mut found) = (tokens(&root.text), Vec::new());
    for (index, window) in all.windows(2).enumerate() {
        if window[0] == "pub" && window[1] == "use" {
            tree(&all, index + 2, root.module.clone(), &mut found);
        }
    }
    found
}

/// Positions where a path begins with this word.
fn starts(tokens: &[String], word: &str) -> Vec<usize> {
    let begins = |at: usize| at == 0 || tokens[at - 1] != "::";
    let goes_on = |at: usize| tokens.get(at + 1).is_some_and(|token| token == "::");
    (0..tokens.len()).filter(|&at| tokens[at] == word && begins(at) && goes_on(at)).collect()
}

/// Follows a path, with its `{a, b}`, and collects its ends; returns the position after it.
fn tree(tokens: &[String], mut at: usize, mut path: String, found: &mut Vec<String>) -> usize {
    loop {
        match tokens.get(at).map(String::as_str) {
            Some("{") => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token != "}") {
                    at = tree(tokens, at, path.clone(), found).max(at + 1);
                    while tokens.get(at).is_some_and(|token| token != "," && token != "}") {
                        at += 1; // `as name`
                    }
                    at += usize::from(tokens.get(at).is_some_and(|token| token == ","));
                }
                return at + 1;
            }
            Some("self") => at += 1,
            Some(name) if name.starts_with(|c: char| c.is_alphabetic() || c == '_') => {
                path = join(&path, name);
                at += 1;
            }
            _ => {}
        }
        if tokens.get(at).is_none_or(|token| token != "::") {
            found.push(path);
            return at;
        }
        at += 1;
        if !tokens.get(at).is_some_and(|token| token == "{" || is_name(token)) {
            found.push(path); // `::*`, `::<T>`
            return at;
        }
    }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_string() } else { format!("{path}::{name}") }
}
