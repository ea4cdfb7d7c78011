//! CI and crates with known vulnerabilities: `.ci/run deny`, with a substitute for `cargo-deny`.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::common::child::PATIENCE;

/// Whether `.ci/run deny` succeeds, and its output, depending on whether the advisory database is available
/// and whether it lists one of our crates.
fn looked_for(can_be_had: bool, holds_one: bool) -> (bool, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let tool = folder.path().join("cargo-deny");
    let (fetch, check) = (u8::from(!can_be_had), u8::from(holds_one));
    let script =
        format!("#!/bin/sh\ncase \"$*\" in *fetch*) exit {fetch};; *advisories*) exit {check};; esac\n");
    std::fs::write(&tool, script).expect("written");
    std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    let others = std::env::var_os("PATH").expect("a path");
    let folders = [folder.path().to_owned()].into_iter().chain(std::env::split_paths(&others));
    let ended = Command::new("timeout")
        .args([&PATIENCE.as_secs().to_string(), "bash", ".ci/run", "deny"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("PATH", std::env::join_paths(folders).expect("a path"))
        .output()
        .expect("bash");
    let said = [ended.stdout, ended.stderr].concat();
    (ended.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn known_holes_fail_ci_and_where_nobody_looked_it_says_so() {
    const NOT_CHECKED: &str = "advisories and yanked crates were not checked";
    let (content, said) = looked_for(true, false);
    assert!(content && !said.contains(NOT_CHECKED), "{said}");
    let (content, said) = looked_for(true, true);
    assert!(!content, "{said}");
    let (content, said) = looked_for(false, false);
    assert!(content && said.contains(NOT_CHECKED), "{said}");
}
