//! Enforces the borders between the rooms: permitted imports, and where `unsafe` and the clock may be used. For rooms
//! that are crates the compiler enforces imports, and the permitted dependencies of each crate are checked here.
//!
//! It reads the sources as text, which is sufficient for `crate::`, `super::` and `b2b_room::` paths, and
//! needs no compiler.

#[path = "layering/circles.rs"]
mod circles;
#[path = "layering/floors.rs"]
mod floors;
mod rust_text;
#[path = "layering/shape.rs"]
mod shape;
#[path = "rust_text/sources.rs"]
mod sources;

use std::fs;

use rust_text::tokens;
use sources::{CRATES, Source, crate_sources, exports, imports, root, within, without_tests};

/// Permitted imports of each module; the longest matching name applies. A room may always import itself.
/// Rooms that assemble others are limited, too: none may bypass the adapter to reach a plane.
const BORDERS: &[(&str, &[&str])] = &[
    // Leaves: no imports except the small utilities in base.
    ("base", &[]),
    ("sdp", &["base"]),
    // Planes: each independent of the other.
    ("sip", &["base"]),
    ("sys", &["base"]),
    ("dsp", &["base"]),
    ("media", &["base", "dsp", "sys"]),
    // Calls.
    ("call", &["base", "media", "sdp", "sip"]),
    // Applications: calls and their media through the call model only.
    ("app", &["base::util", "call"]),
    // The public library: the call model, samples and files; of SIP only its names.
    ("client", &["base", "call", "media", "sip::msg"]),
    // Calls in virtual time, for tests: a switch, its parties, and media that only report their actions.
    ("testkit", &["call", "media::stream", "sip"]),
    // The adapter: values only; an engine has its own room.
    ("ua", &["base"]),
    ("baresip", &["base", "ua"]),
    // Assembly. Roles use calls through the adapter, and signal processing.
    ("lab::native", &["base", "call", "ua"]),
    ("lab::engine", &["baresip", "lab::native", "ua"]),
    ("lab::role", &["base", "lab::engine", "media", "ua"]),
    ("lab::load", &["base", "call", "config", "dsp", "lab::results", "media"]),
    // the scenario engine writes and parses messages itself
    (
        "lab::load::sipp",
        &["base", "config", "lab::load", "media", "sdp", "sip::auth", "sip::msg", "sip::net::trace"],
    ),
    (
        "lab::config",
        &["base", "config", "lab::engine", "lab::load", "lab::role", "media", "phone", "server-config", "ua"],
    ),
    ("lab::flags", &["base", "config", "lab", "media", "ua"]),
    ("lab::orchestrator", &["base", "config", "dsp", "lab::config", "lab::results", "media", "ua"]),
    ("lab::results", &["base"]),
    ("lab::sandbox", &["base", "config", "lab::flags", "lab::load", "lab::orchestrator", "server-config"]),
    ("lab", &[]),
    ("lab::tests", &["lab", "ua"]),
    ("server-config", &["app", "base", "config", "sip::endpoint::SessionRefresher", "sip::msg"]),
    // The phone is the client library's first user.
    ("phone", &["base", "client", "config", "media::dtmf"]),
    ("server::routing", &["server::config", "server::origin", "sip::msg"]),
    ("server::origin", &["server::config"]),
    ("server::reload", &["server", "base::util"]),
    ("server", &["app", "base", "call", "sdp", "server-config", "sip", "sys"]),
    ("config", &["base"]),
    ("cli", &["base", "config", "lab", "phone", "server-config"]),
];

/// Rooms that only tests may use, in any room.
const FOR_TESTS: &[&str] = &["test-support", "testkit"];

/// Parts of a plane that assembling rooms may not use, although they may use the rest of it: these parts
/// drive calls.
const ONLY_CALLS: &[&str] = &["media::local", "media::transport", "media::relay", "sys"];
const ASSEMBLY: &[&str] = &["lab::role", "lab::config", "lab::orchestrator", "config", "cli", "client"];

/// Modules that may read the clock: drivers, and threads that communicate with people or disks.
const CLOCK: &[&str] = &[
    "server::controller::remote",
    "server::controller::rtpengine::driver",
    "server::ended_calls::writer",
    "server::hep",
    "server::http",
    "server::keep",
    "server::media_server",
    "server::outbox",
    "server::recordings",
    "server::registrar::sqlite",
    "server::server",
    "server::survive",
    "server::voice::many::connection",
    "server::voice::talk",
    "call::switch::driver",
    "client::audio::device::playback",
    "client::driver",
    "baresip",
    "base::logging",
    "main",
    "media::disk",
    "media::recording::thread",
    "media::relay::sockets",
    "media::relay::thread",
    "media::local::handle",
    "lab::load::generator",
    "lab::load::loudness",
    "lab::load::run",
    "lab::load::sipp::generator",
    "lab::load::sipp::ports",
    "lab::load::sleeper",
    "lab::load::sound",
    "lab::load::watched",
    "lab::native",
    "lab::orchestrator",
    "lab::role",
    "lab::sandbox",
    "phone",
    "sip::net",
    "sys",
];

/// Crates with `unsafe`.
const UNSAFE: &[&str] = &["baresip", "sys"];

/// Rooms whose files import each other in one direction; arrows from and to the room's root are left out.
const WITHOUT_CIRCLES: &[&str] = &["server-config"];

#[test]
fn rooms_import_only_what_they_may() {
    report(crate_sources().iter().flat_map(imports_across_borders).collect());
}

#[test]
fn files_of_a_room_without_circles_import_in_one_direction() {
    let sources = crate_sources();
    for room in WITHOUT_CIRCLES {
        let files = sources.iter().filter(|source| within(&source.module, room) && !source.test);
        let (root, files): (Vec<_>, Vec<_>) = files.partition(|source| source.module == *room);
        assert!(files.len() > 10, "the sources of {room} were not found");
        let exported = root.iter().flat_map(|source| exports(source)).collect::<Vec<_>>();
        let is_end = |path: &str, name: &str| path.rsplit("::").next() == Some(name);
        let owner = |path: &str| {
            let name = path.strip_prefix(room).and_then(|rest| rest.strip_prefix("::"));
            let path =
                exported.iter().find(|it| name.is_some_and(|name| is_end(it, name))).map_or(path, |it| it);
            let holds = files.iter().filter(|file| within(path, &file.module));
            holds.map(|file| file.module.as_str()).max_by_key(|module| module.len())
        };
        let mut left: Vec<(&str, Vec<&str>)> = Vec::new();
        for file in &files {
            let imported = imports(&Source { text: without_tests(&file.text).to_owned(), ..(*file).clone() });
            let others = imported.iter().filter_map(|path| owner(path)).filter(|other| *other != file.module);
            left.push((&file.module, others.collect()));
        }
        // what imports nothing that is left is in no circle
        loop {
            let before = left.len();
            let names: Vec<&str> = left.iter().map(|(name, _)| *name).collect();
            left.retain(|(_, imported)| imported.iter().any(|other| names.contains(other)));
            if left.len() == before {
                break;
            }
        }
        let names: Vec<&str> = left.iter().map(|(name, _)| *name).collect();
        let within_circle = |(name, mut imported): (&str, Vec<&str>)| {
            imported.sort_unstable();
            imported.dedup();
            imported.retain(|other| names.contains(other));
            format!("{name} -> {}", imported.join(", "))
        };
        report(left.into_iter().map(within_circle).collect());
    }
}

#[test]
fn crates_depend_only_on_what_they_may() {
    let mut faults = Vec::new();
    for name in CRATES {
        let path = root().join("src").join(name).join("Cargo.toml");
        let manifest = fs::read_to_string(&path).expect("a room that is a crate has a manifest");
        let rooms = BORDERS.iter().filter(|(room, _)| within(room, name));
        let allowed: Vec<_> = rooms.flat_map(|(_, allowed)| allowed.iter()).collect();
        let (shipped, tests) = manifest.split_once("[dev-dependencies]").unwrap_or((&manifest, ""));
        let depends = named_rooms(shipped).chain(named_rooms(tests).filter(|it| !FOR_TESTS.contains(it)));
        faults.extend(
            depends
                .filter(|other| !allowed.iter().any(|room| room.split("::").next() == Some(other)))
                .map(|other| format!("{}: {name} must not depend on {other}", path.display())),
        );
    }
    report(faults);
}

/// The rooms named in a part of a manifest.
fn named_rooms(part: &str) -> impl Iterator<Item = &str> {
    let named = part.lines().filter_map(|line| line.strip_prefix("b2b-"));
    named.filter_map(|rest| rest.split(['.', ' ', '=']).next())
}

#[test]
fn crates_have_the_lints_of_the_workspace_unless_they_need_unsafe_code() {
    let lax = CRATES.iter().filter(|name| !UNSAFE.contains(name)).filter(|name| {
        let path = root().join("src").join(name).join("Cargo.toml");
        let manifest = fs::read_to_string(path).expect("a crate has a manifest");
        !manifest.contains("\n[lints]\nworkspace = true\n")
    });
    report(lax.map(|name| format!("src/{name}/Cargo.toml: no [lints] of the workspace")).collect());
}

#[test]
fn the_clock_is_read_only_in_drivers() {
    report(crate_sources().iter().flat_map(clock_outside).collect());
}

fn report(faults: Vec<String>) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

// ---- the rules

fn imports_across_borders(source: &Source) -> Vec<String> {
    let module = source.module.as_str();
    if module.is_empty() || module == "main" {
        return Vec::new();
    }
    let Some((room, allowed)) =
        BORDERS.iter().filter(|(room, _)| within(module, room)).max_by_key(|(room, _)| room.len())
    else {
        return vec![format!("{}: the room of {module} is not in the table", source.path.display())];
    };
    let assembles = ASSEMBLY.contains(room);
    imports(source)
        .into_iter()
        .filter(|target| {
            let for_tests = source.test && FOR_TESTS.iter().any(|room| within(target, room));
            let welcome =
                within(target, room) || allowed.iter().any(|room| within(target, room)) || for_tests;
            let hidden = assembles && ONLY_CALLS.iter().any(|part| within(target, part));
            !welcome || hidden
        })
        .map(|target| format!("{}: {module} must not import {target}", source.path.display()))
        .collect()
}

fn clock_outside(source: &Source) -> Vec<String> {
    if source.test || CLOCK.iter().any(|room| within(&source.module, room)) {
        return Vec::new();
    }
    let tokens = tokens(without_tests(&source.text));
    let read = tokens.windows(3).filter(|three| {
        matches!(three[0].as_str(), "Instant" | "SystemTime") && three[1] == "::" && three[2] == "now"
    });
    read.map(|three| format!("{}: {}::now() outside of a driver", source.path.display(), three[0])).collect()
}

// ---- the rules catch violations

#[cfg(test)]
mod rules {
    use std::path::PathBuf;

    use super::*;
    use crate::sources::test_modules;

    fn source(module: &str, text: &str) -> Source {
        Source { path: PathBuf::from("made.rs"), module: module.into(), text: text.into(), test: false }
    }

    fn imported(module: &str, text: &str) -> Vec<String> {
        imports(&source(module, text))
    }

    #[test]
    fn a_room_that_imports_another_is_caught_however_it_is_written() {
        for text in [
            "use b2b_media::mix;",
            "use b2b_base::ids; use b2b_media::{mix};",
            "use b2b_media::{\n    mix::{self, Mix},\n};",
            "pub(crate) use b2b_media::mix as m;",
            "fn f() { let x = b2b_media::mix::<u8>(1); }",
            "use crate::role::sink;",
            "use super::super::orchestrator::run;",
        ] {
            assert_eq!(imports_across_borders(&source("lab::native", text)).len().min(1), 1, "{text}");
        }
    }

    #[test]
    fn what_a_room_may_import_passes() {
        let text = "use b2b_base::ids::Token; use b2b_call::{agent, bus::EventBus}; use super::Command;";
        assert_eq!(imports_across_borders(&source("lab::native::signalling", text)), [""; 0]);
    }

    #[test]
    fn a_room_without_a_border_is_caught() {
        assert_eq!(imports_across_borders(&source("attic::box", "")).len(), 1);
    }

    #[test]
    fn roles_must_not_go_around_the_adapter() {
        let found = |text| imports_across_borders(&source("lab::role::sink", text)).len();
        assert_eq!(found("use b2b_media::relay::RelayHandle;"), 1);
        assert_eq!(found("use b2b_call::agent::leg::Leg;"), 1);
        assert_eq!(found("use b2b_media::mix;"), 0);
    }

    #[test]
    fn comments_and_strings_import_nothing() {
        let text = "// crate::media::mix\n/* crate::media */ const A: &str = \"crate::media\\\"crate::media\";\n\
            const B: &str = r#\"crate::\"media\"#; fn f<'a>(c: &'a u8) -> char { '\"' } use b2b_base::ids::X;";
        assert_eq!(imported("sip", text), ["base::ids::X"]);
    }

    #[test]
    fn groups_are_followed_to_their_ends() {
        let text = "use crate::{a::{b, c::d as e}, f::*, g};";
        assert_eq!(imported("x", text), ["a::b", "a::c::d", "f", "g"]);
    }

    #[test]
    fn the_clock_is_caught_outside_of_drivers_and_tests() {
        let text = "fn f() { let t = std::time::Instant::now(); }";
        assert_eq!(clock_outside(&source("sip::dialog", text)).len(), 1);
        assert_eq!(clock_outside(&source("sip::net::stack", text)).len(), 0);
        let tested = "fn f() {}\n#[cfg(test)]\nmod tests {\n    fn g() { Instant::now(); }\n}\n";
        assert_eq!(clock_outside(&source("sip::dialog", tested)).len(), 0);
    }

    #[test]
    fn modules_for_tests_are_known() {
        let text = "#[cfg(test)]\nmod tests;\n#[cfg(test)]\npub(crate) mod pair;\nmod real;\n#[cfg(test)]\nfn f() {}\nmod other;";
        assert_eq!(test_modules(&source("sip", text)), ["sip::tests", "sip::pair"]);
    }
}
