//! The floors of a room: a module imports only from its own floor or from those below it, so that what stands on a floor
//! is understood without what is above it.
//!
//! It reads the sources as text, without a compiler.

use crate::report;
use crate::sources::{Source, crate_sources, exports, imports, within, without_tests};

/// The modules of a room, lowest floor first. The room's root holds values, and is below all of them.
const FLOORS: &[(&str, &[&[&str]])] = &[
    (
        "sip",
        &[
            &["msg", "known", "networks", "sent_by", "flow", "ids", "counters", "outbox"],
            &["auth", "transaction"],
            &["dialog"],
            &["endpoint"],
            &["registration", "net"],
        ],
    ),
    (
        "call",
        &[
            &[
                "body",
                "bridge_fsm",
                "call_fsm",
                "channels",
                "digits",
                "failure",
                "headers",
                "initial_session",
                "leg_fsm",
                "octets",
                "pace",
                "reason",
            ],
            &["direct", "leg_life", "negotiate", "policy"],
            &["controller", "journal", "recording"],
            &["identity"],
            &["lookup"],
            &["agent", "event", "resolver"],
            &["bus", "capture", "cdr", "history", "timeline", "verdict"],
            &["application", "handler", "service"],
            &["switch"],
        ],
    ),
    // A call as values and a step of one call stand where no switch is in sight.
    (
        "call::switch",
        &[
            &["counters", "dial"],
            &["state", "work"],
            &["turn"],
            &["admission"],
            &["calls", "common", "journal", "keep", "works_on"],
            &["step"],
            &[
                "Switch", "driver", "export", "history", "incoming", "input", "outside", "pair", "replay",
                "restore", "snapshot", "testkit",
            ],
        ],
    ),
];

#[test]
fn modules_import_from_their_own_floor_or_below() {
    let sources = crate_sources();
    let mut faults = Vec::new();
    for (room, floors) in FLOORS {
        let files: Vec<&Source> =
            sources.iter().filter(|source| within(&source.module, room) && !source.test).collect();
        assert!(files.len() > 10, "the sources of {room} were not found");
        let exported: Vec<String> =
            files.iter().filter(|file| file.module == *room).flat_map(|file| exports(file)).collect();
        for file in &files {
            let Some(own) = floor_of(room, floors, &file.module) else {
                if file.module != *room {
                    faults.push(format!("{}: {} is on no floor", file.path.display(), file.module));
                }
                continue;
            };
            let above = imported(file).into_iter().filter(|path| {
                let path = exported.iter().find(|known| is_export(room, known, path)).unwrap_or(path);
                floor_of(room, floors, path).is_some_and(|floor| floor > own)
            });
            faults.extend(above.map(|path| format!("{}: {path} is above it", file.path.display())));
        }
    }
    report(faults);
}

/// What a step of a call must not see: it is given events, asks `Questions`, and leaves effects.
const MACHINES: &[&str] = &[
    "tokio",
    "MediaController",
    "MediaBackend",
    "AdmissionControl",
    "ApplicationHandler",
    "Resolver",
    "CallService",
    "CallHistory",
    "EventBus",
    "Switch",
    "World",
    "Common",
    "Turn",
    "Endpoint",
];

#[test]
fn a_call_and_its_steps_see_no_machine() {
    let rooms = ["call::switch::state", "call::switch::step"];
    let sources = crate_sources();
    let files: Vec<&Source> = sources
        .iter()
        .filter(|source| rooms.iter().any(|room| within(&source.module, room)) && !source.test)
        .collect();
    assert!(files.len() > 15, "the sources of steps were not found");
    let mut faults = Vec::new();
    for file in files {
        let paths = imported(file);
        let names = |machine: &&&str| paths.iter().any(|path| path.split("::").any(|word| word == **machine));
        faults
            .extend(MACHINES.iter().filter(names).map(|it| format!("{}: it sees {it}", file.path.display())));
    }
    report(faults);
}

/// The number of the floor that this path stands on; `None` for the room's root.
fn floor_of(room: &str, floors: &[&[&str]], path: &str) -> Option<usize> {
    let module = path.strip_prefix(room)?.strip_prefix("::")?.split("::").next()?;
    floors.iter().position(|floor| floor.contains(&module))
}

/// Whether a path is that of an item that the room's root exports from a module.
fn is_export(room: &str, exported: &str, path: &str) -> bool {
    let name = path.strip_prefix(room).and_then(|rest| rest.strip_prefix("::"));
    name.is_some_and(|name| exported.rsplit("::").next() == Some(name))
}

fn imported(file: &Source) -> Vec<String> {
    imports(&Source { text: without_tests(&file.text).to_owned(), ..file.clone() })
}
