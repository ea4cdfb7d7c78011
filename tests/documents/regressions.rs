//! The regression suite of `designs/0002-sip-core.md`: each test named in its tables exists under that name.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).expect("folder") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(&path).expect("source"));
        }
    }
}

#[test]
fn every_test_that_the_design_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut code = String::new();
    sources(&root.join("src"), &mut code);
    sources(&root.join("tests"), &mut code);
    let tests: BTreeSet<&str> = code
        .split("#[test]")
        .skip(1)
        .filter_map(|it| it.split_once("fn ")?.1.split_once('(').map(|(name, _)| name))
        .collect();

    let design = fs::read_to_string(root.join("designs/0002-sip-core.md")).expect("design");
    let rows = design.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    let mut named = 0;
    for (what, cell) in rows.filter(|(_, cell)| *cell != "tests |") {
        // The place of a test is in brackets.
        let outside: String = cell.split('(').map(|part| part.rsplit(')').next().unwrap_or(part)).collect();
        for name in outside.split('`').skip(1).step_by(2) {
            assert!(tests.contains(name), "{what}: there is no test {name}");
            named += 1;
        }
    }
    assert!(named > 50, "the tables are read");
}
