//! Limits how many files of a crate import each other in a circle: who changes one of them has to know them all.
//!
//! It reads the sources as text, without a compiler.

use crate::report;
use crate::rust_text::connected_sets::connected_sets;
use crate::sources::{Source, crate_sources, imports, within, without_tests};

/// The largest circle of a crate's files; to be lowered when the number falls.
const CIRCLES: &[(&str, usize)] = &[("call", 7), ("media", 4), ("sip", 6)];

#[test]
fn files_import_each_other_in_small_circles() {
    let sources = crate_sources();
    let mut faults = Vec::new();
    for (room, most) in CIRCLES {
        let files: Vec<&Source> =
            sources.iter().filter(|source| within(&source.module, room) && !source.test).collect();
        assert!(files.len() > 10, "the sources of {room} were not found");
        let mut sets = connected_sets(&files.iter().map(|file| imported(file, &files)).collect::<Vec<_>>());
        sets.sort_by_key(Vec::len);
        let largest = sets.pop().unwrap_or_default();
        if largest.len() != *most {
            let names: Vec<&str> = largest.iter().map(|file| files[*file].module.as_str()).collect();
            faults.push(format!("{room}: {} in the table: {} {}", most, largest.len(), names.join(" ")));
        }
    }
    report(faults);
}

/// The files that a file imports from; a module's own children are parts of it.
fn imported(file: &Source, files: &[&Source]) -> Vec<usize> {
    let own = Source { text: without_tests(&file.text).to_owned(), ..file.clone() };
    let of = |path: &String| {
        let holds = |at: &usize| within(path, &files[*at].module);
        (0..files.len()).filter(holds).max_by_key(|at| files[*at].module.len())
    };
    let is_other = |at: &usize| files[*at].module != file.module && !within(&files[*at].module, &file.module);
    imports(&own).iter().filter_map(of).filter(is_other).collect()
}
