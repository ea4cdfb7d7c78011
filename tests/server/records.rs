//! The CDR file of the real binary.

use std::fs;

use nix::sys::signal::Signal;

use crate::server_support::phone::Phone;
use crate::server_support::{Server, server, until};

const NUMBER: &str = "07700900123";

/// Calls Bob by a number that identifies a person.
fn call(server: &Server, caller: &Phone, bob: &Phone) {
    let dialog = std::thread::scope(|scope| {
        scope.spawn(|| bob.answer());
        caller.call(server.sip, NUMBER)
    });
    std::thread::scope(|scope| {
        scope.spawn(|| bob.let_go());
        caller.hang_up(&dialog);
    });
}

#[test]
fn records_follow_their_path_after_sighup_and_have_whole_numbers_where_the_log_has_none() {
    let bob = Phone::new("bob");
    let mut server = server(&format!("[log]\nredact = \"numbers\"\n[[route]]\nto = \"{}\"\n", bob.uri()));
    let (path, renamed) = (server.folder.path().join("cdr.jsonl"), server.folder.path().join("cdr.1"));
    let two_records_in = |path: &std::path::Path| {
        until("two records", || {
            let text = fs::read_to_string(path).unwrap_or_default();
            (text.lines().count() == 2).then_some(text)
        })
    };
    call(&server, &Phone::new("ann"), &bob);
    let first = two_records_in(&path);
    assert!(first.contains(NUMBER), "they are accounts: {first}");
    fs::rename(&path, &renamed).expect("a file to rename");
    server.process.signal(Signal::SIGHUP);
    server.process.wait_for_line("the configuration has not changed");
    call(&server, &Phone::new("cat"), &bob);
    two_records_in(&path);
    assert_eq!(fs::read_to_string(&renamed).expect("the old one"), first);
    assert!(!server.process.output().contains(NUMBER), "{}", server.process.output());
}

#[test]
fn what_became_of_calls_is_counted_by_disposition_and_by_time() {
    let bob = Phone::new("bob");
    let server = server(&format!(
        "[[gateway]]\nname = \"carrier\"\nhosts = [\"{}\"]\n\
         [[route]]\ncalled = '0.*'\nto = \"gateway/carrier/$0\"\n",
        bob.uri().rsplit('@').next().expect("a host")
    ));
    call(&server, &Phone::new("ann"), &bob);
    let cat = Phone::new("cat");
    cat.ask_for(server.sip, "999");
    cat.hear("SIP/2.0 404");
    until("both calls", || Some(()).filter(|_| server.metric("b2b_call_setup_seconds_count") == 1.0));
    for (series, value) in [
        ("b2b_call_results_total{disposition=\"answered\"}", 1.0),
        ("b2b_call_results_total{disposition=\"failed\"}", 1.0),
        ("b2b_gateway_results_total{gateway=\"carrier\",disposition=\"answered\"}", 1.0),
        ("b2b_gateway_results_total{gateway=\"carrier\",disposition=\"busy\"}", 0.0),
        ("b2b_call_talk_seconds_count", 1.0),
        ("b2b_call_talk_seconds_bucket{le=\"+Inf\"}", 1.0),
    ] {
        assert_eq!(server.metric(series), value, "{series}");
    }
}
