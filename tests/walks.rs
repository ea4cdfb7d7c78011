//! The files and functions named in designs/0023-call-value.md exist, and the headings count the files.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The pages, and the folder that the names of files begin from, unless they begin from `src`.
const PAGES: [(&str, &str); 1] = [("designs/0023-call-value.md", "call/switch")];

#[test]
fn what_the_walks_name_is_there() {
    let faults: Vec<String> = PAGES.iter().flat_map(|(page, usual)| faults(page, usual)).collect();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// Incorrect statements of a page.
fn faults(page: &str, usual: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join(page)).expect("the page");
    let mut faults = Vec::new();
    for walk in text.split("\n## ").skip(1) {
        let (heading, steps) = walk.split_once('\n').unwrap_or((walk, ""));
        let Some(count) = heading.split_once('(').and_then(|(_, rest)| rest.split_once(" files")) else {
            continue;
        };
        let mut files = BTreeSet::new();
        for step in steps.split("\n\n").flat_map(numbered) {
            // The text after a colon describes the step, and may name anything.
            let named = step.split(": ").next().unwrap_or_default();
            let mut file: Option<(PathBuf, String)> = None;
            for name in named.split('`').skip(1).step_by(2) {
                if name.ends_with(".rs") {
                    let path = Path::new("src").join(usual).join(name);
                    let path = if root.join(&path).exists() { path } else { Path::new("src").join(name) };
                    let text = fs::read_to_string(root.join(&path)).unwrap_or_default();
                    files.insert(path.clone());
                    file = Some((path, text));
                } else if let Some((path, text)) = &file {
                    let is_there =
                        [format!("fn {name}("), format!("fn {name}<")].iter().any(|it| text.contains(it));
                    if !is_there {
                        faults.push(format!("{}: no function {name}", path.display()));
                    }
                }
            }
        }
        if count.0.parse() != Ok(files.len()) {
            faults.push(format!("{heading}: there are {} files", files.len()));
        }
    }
    assert!(text.matches("\n1. ").count() >= 5, "the walks of {page} were not found");
    faults
}

/// The steps of a list, each on one line.
fn numbered(list: &str) -> Vec<String> {
    let lines = list.split('\n').fold(String::new(), |all, line| match line.starts_with("   ") {
        true => all + " " + line.trim_start(),
        false => all + "\n" + line,
    });
    let is_step = |line: &&str| line.starts_with(|c: char| c.is_ascii_digit()) && line.contains(". ");
    lines.lines().filter(is_step).map(str::to_owned).collect()
}
