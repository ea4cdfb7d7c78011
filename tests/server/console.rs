//! What the log tells of everyday things, and how calls are counted.

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
