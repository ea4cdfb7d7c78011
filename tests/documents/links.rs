//! All link targets of the documents exist, and each document is linked.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every document, by its path from the root.
fn documents() -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from("README.md"), PathBuf::from("CONTRIBUTING.md")];
    let mut folders = vec![PathBuf::from("docs"), PathBuf::from("designs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root().join(&folder)).expect("a folder").flatten() {
            let path = folder.join(entry.file_name());
            match path.extension() {
                _ if entry.path().is_dir() => folders.push(path),
                Some(kind) if kind == "md" => found.push(path),
                _ => {}
            }
        }
    }
    found
}

/// The text of a document without code blocks.
fn prose(document: &Path) -> String {
    let text = std::fs::read_to_string(root().join(document)).expect("text");
    let mut code = false;
    let lines = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    });
    lines.map(|line| format!("{line}\n")).collect()
}

/// The parts of the text between these two.
fn between<'a>(text: &'a str, begin: &str, end: char) -> impl Iterator<Item = &'a str> {
    text.split(begin).skip(1).filter_map(move |rest| rest.split_once(end)).map(|(it, _)| it)
}

/// The anchors of a document's headings, in GitHub's format.
fn anchors(document: &Path) -> BTreeSet<String> {
    let text = prose(document);
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#'));
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    headings
        .map(|it| it.trim().to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-"))
        .collect()
}

/// A path without its `.` and `..`.
fn straight(path: &Path) -> PathBuf {
    let mut straight = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => drop(straight.pop()),
            std::path::Component::CurDir => {}
            part => straight.push(part),
        }
    }
    straight
}

#[test]
fn every_link_of_the_documents_leads_somewhere_and_each_document_is_in_the_book() {
    let (documents, mut seen, mut dead) = (documents(), 0, Vec::new());
    for document in &documents {
        let text = prose(document);
        let pictures = between(&text, "src=\"", '"');
        for link in between(&text, "](", ')').chain(pictures).filter(|link| !link.contains("://")) {
            seen += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => document.clone(),
                path => straight(&document.parent().expect("a folder").join(path)),
            };
            let there = root().join(&target).exists();
            if !there || !(anchor.is_empty() || anchors(&target).contains(anchor)) {
                dead.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(seen > 60, "{seen} links");
    assert!(dead.is_empty(), "{dead:#?}");
    let contents = Path::new("docs/SUMMARY.md");
    assert!(prose(Path::new("README.md")).contains("](docs/SUMMARY.md)"), "README.md leads to the book");
    let summary = prose(contents);
    for document in documents.iter().filter(|it| it.starts_with("docs") && it.as_path() != contents) {
        let page = document.strip_prefix("docs").expect("below it");
        assert!(
            summary.contains(&format!("]({})", page.display())),
            "docs/SUMMARY.md does not name {document:?}"
        );
    }
}

#[test]
fn every_file_that_a_manual_names_is_there() {
    let (mut seen, mut missing) = (0, Vec::new());
    for document in documents().iter().filter(|it| !it.starts_with("designs")) {
        let text = std::fs::read_to_string(root().join(document)).expect("text");
        let is_part = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
        let words = text.split(|c: char| !is_part(c)).map(|word| word.trim_end_matches(['.', '-']));
        for word in words {
            let kept = ["docs/", "examples/", "packaging/", "plans/", "proto/", "scripts/"];
            let has_kind = word.rsplit('/').next().is_some_and(|name| name.contains('.'));
            // Files in `target/` exist only after the lab has run.
            let is_ours = kept.iter().any(|folder| word.starts_with(folder)) && !word.contains("target/");
            if is_ours && has_kind {
                seen += 1;
                if !root().join(word).exists() {
                    missing.push(format!("{}: {word}", document.display()));
                }
            }
        }
    }
    assert!(seen > 40, "{seen} files");
    assert!(missing.is_empty(), "{missing:#?}");
}

/// The text of all Rust files below a folder.
fn code(folder: &Path) -> String {
    let entries = std::fs::read_dir(folder).expect("a folder").flatten();
    let texts = entries.map(|it| match it.path() {
        path if path.is_dir() => code(&path),
        path if path.extension().is_some_and(|kind| kind == "rs") => {
            std::fs::read_to_string(path).expect("text")
        }
        _ => String::new(),
    });
    texts.collect()
}

#[test]
fn each_finding_of_the_security_review_names_a_test_that_is_there() {
    let text = std::fs::read_to_string(root().join("docs/security.md")).expect("text");
    let (_, found) = text.split_once("## Findings and their tests").expect("the findings");
    let code = ["src", "tests"].map(|folder| code(&root().join(folder))).concat();
    let (mut findings, mut missing) = (0, Vec::new());
    for row in found.lines().filter(|line| line.starts_with("| ")).skip(1) {
        findings += 1;
        let held_by = row.trim_end_matches(['|', ' ']).rsplit("| ").next().unwrap_or_default();
        let names: Vec<&str> = held_by.split('`').skip(1).step_by(2).collect();
        let is_there = |name: &str| match name.split(' ').next() {
            Some(script) if script.starts_with("scripts/") => root().join(script).exists(),
            _ => code.contains(&format!("fn {name}(")),
        };
        for name in names.iter().filter(|name| !is_there(name)) {
            missing.push(format!("{name}, of {row}"));
        }
        if names.is_empty() && !held_by.starts_with("–") {
            missing.push(format!("any test of {row}"));
        }
    }
    assert!(findings >= 30, "{findings} findings");
    assert!(missing.is_empty(), "{missing:#?}");
}
