//! Material for operators: the dashboard, the unit, the guide. All their references exist in the server.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::server_support::server;

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Names of metrics in a text.
fn named(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let words = text.split(|c: char| !is_part(c)).filter(|word| word.starts_with("b2b_"));
    words.map(|word| word.trim_end_matches('_').to_owned()).collect()
}

/// Every metric of a server with one of everything.
fn served() -> BTreeSet<String> {
    let server = server(
        "[[user]]\nname = \"1001\"\npassword = \"x\"\n[[gateway]]\nname = \"g\"\nhosts = [\"127.0.0.1:9\"]\n\
         [[agent]]\nname = \"1001\"\n[[queue]]\nname = \"q\"\nagents = [\"1001\"]\n",
    );
    let page = server.get("/metrics").text();
    page.lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_metric_of_the_dashboard_and_of_the_guide_is_one_of_the_server() {
    let served = served();
    let dashboard: serde_json::Value = serde_json::from_str(&read("docs/grafana.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut exprs = Vec::new();
    let mut places = BTreeSet::new();
    for panel in panels {
        let at = &panel["gridPos"];
        assert!(places.insert((at["x"].as_u64(), at["y"].as_u64())), "two panels at {at}");
        assert!(at["x"].as_u64() < Some(24), "{at}");
        exprs.extend(panel["targets"].as_array().into_iter().flatten().filter_map(|it| it["expr"].as_str()));
    }
    assert!(exprs.len() >= 40, "{}", exprs.len());
    for expr in &exprs {
        let names = named(expr);
        assert!(!names.is_empty(), "{expr}");
        assert!(names.is_subset(&served), "{expr}: {names:?}");
        let (open, close) = (expr.matches('(').count(), expr.matches(')').count());
        assert_eq!(open, close, "{expr}");
    }
    // A histogram is exposed under three names.
    let mut rules = named(&read("docs/alerts.yml"));
    rules = rules
        .iter()
        .map(|name| {
            ["_bucket", "_count"].iter().fold(&**name, |name, it| name.trim_end_matches(it)).to_owned()
        })
        .collect();
    assert!(rules.len() >= 7, "{rules:?}");
    assert!(rules.is_subset(&served), "{:?}", rules.difference(&served));
    let guide = named(&read("docs/operations.md"));
    assert!(guide.len() > 10, "{guide:?}");
    assert!(guide.is_subset(&served), "{:?}", guide.difference(&served));
}

/// The guide's blocks marked `log`: each line occurs in the sources, with `…` for variable parts.
#[test]
fn every_log_line_of_the_guide_is_written_somewhere() {
    let guide = read("docs/operations.md");
    let mut sources = String::new();
    let mut folders = vec![file("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            match entry.path() {
                path if path.is_dir() => folders.push(path),
                path if path.extension().is_some_and(|it| it == "rs") => {
                    sources += &std::fs::read_to_string(path).expect("text");
                }
                _ => {}
            }
        }
    }
    // Joins texts that continue on the next source line.
    let mut whole = String::new();
    for line in sources.lines() {
        match line.strip_suffix('\\') {
            Some(part) => whole += if whole.ends_with('\n') { part } else { part.trim_start() },
            None => {
                whole += if whole.ends_with('\n') { line } else { line.trim_start() };
                whole.push('\n');
            }
        }
    }
    let blocks = guide.split("```log\n").skip(1).filter_map(|rest| rest.split("```").next());
    let lines: Vec<&str> = blocks.flat_map(str::lines).collect();
    assert!(lines.len() >= 10, "{lines:#?}");
    for line in lines {
        let bare = |part| str::trim_matches(part, [' ', ':', ';', ',']);
        for part in line.split('…').map(bare).filter(|part| part.len() > 3) {
            assert!(whole.contains(part), "no source says {part:?} of {line:?}");
        }
    }
}

#[test]
fn the_unit_takes_rights_away_and_stops_with_sigterm() {
    let unit = read("packaging/b2b.service");
    for line in [
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "CapabilityBoundingSet=",
        "KillSignal=SIGTERM",
        // Else the server gets it twice, by the keeper and by systemd.
        "KillMode=mixed",
    ] {
        assert!(unit.lines().any(|it| it == line), "{line}");
    }
}

/// With the built binary in place of the installed one.
#[test]
#[ignore = "needs systemd-analyze"]
fn the_unit_is_one_that_systemd_takes() {
    let unit = read("packaging/b2b.service");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("b2b.service");
    let installed = "ExecStart=/usr/local/bin/b2b ";
    assert!(unit.contains(installed));
    let ours = format!("ExecStart={} ", env!("CARGO_BIN_EXE_b2b"));
    std::fs::write(&path, unit.replace(installed, &ours)).expect("a file");
    let output = Command::new("systemd-analyze").arg("verify").arg(&path).output().expect("systemd-analyze");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && !said.contains("b2b.service"), "{said}");
}

#[test]
fn the_container_runs_what_the_unit_runs() {
    let container = read("packaging/Containerfile");
    let entry = container.lines().find_map(|line| line.strip_prefix("ENTRYPOINT ")).expect("an entry point");
    let words: Vec<String> = serde_json::from_str(entry).expect("JSON");
    let unit = read("packaging/b2b.service");
    assert!(unit.contains(&format!("ExecStart={}\n", words.join(" "))), "{words:?}");
    assert!(!container.lines().any(|line| line.trim() == "USER root"));
}

/// Folders that git ignores at any depth (for example a build folder of 7 GB in `fuzz`) are not sent to the
/// builder either.
#[test]
fn the_container_is_built_without_what_git_ignores() {
    let left_out = read(".dockerignore");
    for folder in read(".gitignore").lines().filter(|line| !line.is_empty()) {
        let wanted = if folder.starts_with('/') {
            folder.trim_start_matches('/').to_owned()
        } else {
            format!("**/{folder}")
        };
        assert!(left_out.lines().any(|line| line == wanted), "{wanted} is missing in .dockerignore");
    }
}

#[test]
fn the_configuration_that_is_installed_is_taken_and_writes_where_the_unit_lets_it() {
    let path = file("packaging/b2bua.toml");
    let output = Command::new(env!("CARGO_BIN_EXE_b2b"))
        .args(["--role", "b2bua", "--dry-run", "--config"])
        .arg(&path)
        .output()
        .expect("the program");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = read("packaging/b2bua.toml");
    let keys =
        text.lines().map(|line| line.trim_start_matches("# ")).filter_map(|line| line.split_once(" = "));
    let places: Vec<&str> =
        keys.filter(|(key, _)| ["store", "cdr", "folder"].contains(key)).map(|(_, value)| value).collect();
    assert_eq!(places.len(), 3, "{places:?}");
    assert!(places.iter().all(|place| place.contains("/var/lib/b2b/")), "{places:?}");
}
