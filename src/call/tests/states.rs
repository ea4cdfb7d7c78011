//! The tables of designs/0024-call-states.md match the code.

use std::fmt::Debug;
use std::fs;
use std::path::Path;

use b2b_call::{bridge_fsm, call_fsm, leg_fsm};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../designs/0024-call-states.md");
const BEGIN: &str = "<!-- printed: ";
const END: &str = "<!-- end -->";

/// States as rows, events as columns; an empty field: the event is illegal.
fn table<S: Debug + Copy, E: Debug + Copy, X>(
    states: &[S],
    events: &[E],
    next: fn(S, E) -> Result<S, X>,
) -> String {
    let mut text = "|".to_owned();
    events.iter().for_each(|event| text += &format!(" | {event:?}"));
    text += &format!(" |\n|---{}|\n", "|---".repeat(events.len()));
    for state in states {
        text += &format!("| **{state:?}**");
        for event in events {
            match next(*state, *event) {
                Ok(to) => text += &format!(" | {to:?}"),
                Err(_) => text += " |",
            }
        }
        text += " |\n";
    }
    text
}

/// The page with the tables inserted between its markers, and the tables without a marker.
fn with_tables(page: &str, tables: &[(&str, String)]) -> (String, Vec<String>) {
    let (mut written, mut missing) = (page.to_owned(), Vec::new());
    for (name, table) in tables {
        let mark = format!("{BEGIN}{name} -->\n");
        let place = written.find(&mark).map(|at| at + mark.len());
        let end = place.and_then(|from| Some((from, from + written[from..].find(END)?)));
        match end {
            Some((from, to)) => written.replace_range(from..to, table),
            None => missing.push((*name).to_owned()),
        }
    }
    (written, missing)
}

#[test]
fn the_tables_of_the_design_are_printed_from_the_code() {
    let tables = [
        ("leg", table(&leg_fsm::LegState::ALL, &leg_fsm::LegEvent::ALL, leg_fsm::next)),
        ("bridge", table(&bridge_fsm::BridgeState::ALL, &bridge_fsm::BridgeEvent::ALL, bridge_fsm::next)),
        ("call", table(&call_fsm::CallState::ALL, &call_fsm::CallEvent::ALL, call_fsm::next)),
    ];
    let page = fs::read_to_string(PAGE).unwrap();
    let (written, missing) = with_tables(&page, &tables);
    assert!(missing.is_empty(), "{PAGE} has no place for {missing:?}: {BEGIN}NAME --> and {END}");
    if std::env::var_os("B2B_PRINT_TABLES").is_some() {
        fs::write(Path::new(PAGE), &written).unwrap();
    }
    let page = fs::read_to_string(PAGE).unwrap();
    assert!(page == written, "{PAGE} is not as the code is: B2B_PRINT_TABLES=1 prints it anew");
}
