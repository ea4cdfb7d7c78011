//! States of agents across a restart of the server.

use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::server_support::{Server, configured, start, until};

fn agents(state: &str) -> String {
    let agent = |name: &str, state: &str| {
        format!("[[agent]]\nname = \"{name}\"\ntarget = \"sip:{name}@127.0.0.1:9\"\nstate = \"{state}\"\n")
    };
    format!(
        "{}{}[[queue]]\nname = \"help\"\nagents = [\"ann\", \"bob\"]\n",
        agent("ann", state),
        agent("bob", "available")
    )
}

fn write(folder: &Path, store: &str, state: &str) {
    let fresh = configured(&agents(state));
    let text = std::fs::read_to_string(fresh.path().join("b2bua.toml")).expect("a configuration");
    let text = text.replace("store = \"memory\"", &format!("store = \"{store}\""));
    std::fs::write(folder.join("b2bua.toml"), text).expect("a file");
}

fn states(server: &Server) -> [String; 2] {
    ["ann", "bob"].map(|name| {
        server.get(&format!("/agents/{name}")).json()["state"].as_str().unwrap_or("none").to_owned()
    })
}

fn set(server: &Server, agent: &str, state: &str) {
    let body = json!({ "state": state }).to_string();
    let answer = server.ask_with(
        "PUT",
        &format!("/agents/{agent}/state"),
        "Content-Type: application/json\r\n",
        &body,
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Ends the server as a crash would, and restarts it with this state in ann's configuration.
fn again(mut server: Server, store: &str, state: &str) -> Server {
    server.process.signal(Signal::SIGKILL);
    server.process.wait();
    let folder = server.folder;
    write(folder.path(), store, state);
    start(folder)
}

#[test]
fn agents_are_after_a_crash_what_they_were_unless_they_are_configured_otherwise() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = "sqlite:b2b.sqlite";
    write(folder.path(), store, "available");
    let server = start(folder);
    assert_eq!(states(&server), ["available", "available"]);
    set(&server, "ann", "paused");
    set(&server, "bob", "logged_out");
    let written = server.folder.path().join("b2b.sqlite-wal");
    let has = |text: &[u8], word: &[u8]| text.windows(word.len()).any(|it| it == word);
    until("both in the file", || {
        let text = std::fs::read(&written).unwrap_or_default();
        (has(&text, b"annavailablepaused") && has(&text, b"bobavailablelogged_out")).then_some(())
    });
    let server = again(server, store, "available");
    assert_eq!(states(&server), ["paused", "logged_out"]);
    let server = again(server, store, "logged_out");
    assert_eq!(states(&server), ["logged_out", "logged_out"]);
    let server = again(server, "memory", "available");
    set(&server, "ann", "paused");
    assert_eq!(states(&again(server, "memory", "available")), ["available", "available"]);
}
