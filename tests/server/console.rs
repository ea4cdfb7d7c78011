//! Log lines for everyday events, and the counting of calls.

use crate::server_support::phone::Phone;
use crate::server_support::{configured, server, start};

#[test]
fn to_be_asked_for_a_password_is_no_call_yet() {
    let folder = configured("[[user]]\nname = \"1001\"\npassword = \"b2b-example-1001\"\n");
    let file = folder.path().join("b2bua.toml");
    let text = std::fs::read_to_string(&file).expect("the configuration");
    std::fs::write(&file, text.replace("127.0.0.0/8", "127.0.0.9")).expect("a file");
    let (server, ann) = (start(folder), Phone::new("ann"));
    ann.ask_for(server.sip, "1001");
    ann.hear("SIP/2.0 407");
    assert_eq!(server.metric("b2b_calls_incoming_total"), 0.0);
}

#[test]
fn the_log_has_a_line_for_the_beginning_the_answer_and_the_end_of_a_call() {
    let (ann, bob) = (Phone::new("ann"), Phone::new("bob"));
    let mut server = server(&format!("[[route]]\ncalled = \".*\"\nto = \"{}\"\n", bob.uri()));
    let asked = ann.ask_for(server.sip, "200");
    let theirs = bob.answer();
    let (answer, _) = ann.hear("SIP/2.0 200");
    let dialog = ann.confirmed(&answer, asked, server.sip);
    server.process.wait_for_line(": ann calls");
    server.process.wait_for_line(": ann and bob are connected");
    assert_eq!(server.metric("b2b_calls_incoming_total"), 1.0);
    ann.hang_up(&dialog);
    bob.let_go();
    drop(theirs);
    let line = server.process.wait_for_line(": over after ");
    assert!(line.ends_with("ann and bob"), "{line}");
}

#[test]
fn a_reload_changes_the_level_and_begins_and_ends_the_trace() {
    let (ann, bob) = (Phone::new("ann"), Phone::new("bob"));
    let mut server =
        server(&format!("[[route]]\nname = \"to bob\"\ncalled = \".*\"\nto = \"{}\"\n", bob.uri()));
    let (file, trace) = (server.folder.path().join("b2bua.toml"), server.folder.path().join("trace.txt"));
    let before = std::fs::read_to_string(&file).expect("the configuration");
    let reload = |server: &mut crate::server_support::Server, text: &str, told: &str| {
        let told_before = server.process.output().matches(told).count();
        std::fs::write(&file, text).expect("a file");
        server.process.signal(nix::sys::signal::Signal::SIGHUP);
        crate::server_support::until("the end of the reload", || {
            (server.process.output().matches(told).count() > told_before).then_some(())
        });
    };
    let call = |server: &crate::server_support::Server, caller: &Phone| {
        let asked = caller.ask_for(server.sip, "200");
        bob.answer();
        let (answer, _) = caller.hear("SIP/2.0 200");
        let dialog = caller.confirmed(&answer, asked, server.sip);
        caller.hang_up(&dialog);
        bob.let_go();
    };
    call(&server, &ann);
    let more = format!("{before}\n[log]\nlevel = \"debug\"\nsip_trace = \"trace.txt\"\n");
    reload(&mut server, &more, "changed: log.sip_trace");
    call(&server, &Phone::new("cat"));
    // In words, not in Rust's debug format.
    server.process.wait_for_line(": route to bob");
    let written = crate::server_support::until("messages in the trace", || {
        let text = std::fs::read_to_string(&trace).unwrap_or_default();
        text.contains("BYE sip:").then_some(text)
    });
    assert!(written.contains("cat@") && !written.contains("ann@"), "{written}");
    reload(&mut server, &before, "changed: log.sip_trace");
    let whole = std::fs::metadata(&trace).expect("a trace").len();
    call(&server, &Phone::new("dan"));
    let lines = server.process.output();
    assert_eq!(lines.matches(": route to bob").count(), 1, "{lines}");
    assert_eq!(std::fs::metadata(&trace).expect("a trace").len(), whole);
    // A file that cannot be created changes nothing.
    let nowhere = format!("{before}\n[log]\nlevel = \"debug\"\nsip_trace = \"nowhere/trace.txt\"\n");
    reload(&mut server, &nowhere, "the old configuration stays in force: log.sip_trace");
}

#[test]
fn a_password_that_a_reload_changes_ends_what_was_registered_by_it() {
    let users = "[[user]]\nname = \"1001\"\npassword = \"first-of-1001\"\n[[user]]\nname = \"1002\"\npassword = \"that-of-1002\"\n";
    let server = server(users);
    let registered = |server: &crate::server_support::Server| {
        let all = server.get("/registrations").json()["registrations"].as_array().map_or(0, Vec::len);
        (all, server.get("/registrations").text().contains("1002"))
    };
    let phones = [("1001", "first-of-1001"), ("1002", "that-of-1002")].map(|(name, password)| {
        let file = server.folder.path().join(name);
        std::fs::write(&file, password).expect("a file");
        let identity = format!("sip:{name}@{}", server.sip);
        let account =
            ["--role", "phone", "--identity", &identity, "--password-file", file.to_str().expect("UTF-8")];
        crate::common::child::b2b(&[&account[..], &["--steps", "wait 60"]].concat())
    });
    crate::server_support::until("both phones", || (registered(&server).0 == 2).then_some(()));
    let file = server.folder.path().join("b2bua.toml");
    let before = std::fs::read_to_string(&file).expect("the configuration");
    std::fs::write(&file, before.replace("first-of-1001", "second-of-1001")).expect("a file");
    server.process.signal(nix::sys::signal::Signal::SIGHUP);
    crate::server_support::until("one phone", || (registered(&server) == (1, true)).then_some(()));
    drop(phones);
}
