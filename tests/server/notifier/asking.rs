//! How subscriptions are granted, refused, and ended.

use b2b::sip::msg::Name;
use nix::sys::signal::Signal;

use super::USERS;
use super::watcher::Watcher;
use crate::server::edges::peer::{Peer, server};

fn field(response: &b2b::sip::msg::Response, name: Name<'static>) -> String {
    String::from_utf8_lossy(response.header(name).unwrap_or_default()).into_owned()
}

#[test]
fn what_cannot_be_watched_is_refused_with_what_can_be() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_server, address) = server(folder.path(), "", USERS);
    let mut watcher = Watcher::new([127, 0, 9, 21], address, "1001");
    let unknown = watcher.subscribe("1009", "unknown", &[("Event", "dialog")]);
    assert_eq!(unknown.status(), 404);
    let event = watcher.subscribe("1002", "event", &[("Event", "presence")]);
    assert_eq!((event.status(), field(&event, Name::AllowEvents)), (489, "dialog, message-summary".into()));
    let brief = watcher.subscribe("1002", "brief", &[("Event", "dialog"), ("Expires", "10")]);
    assert_eq!((brief.status(), field(&brief, Name::MinExpires)), (423, "60".into()));
    let accept = watcher.subscribe("1002", "accept", &[("Event", "dialog"), ("Accept", "text/plain")]);
    assert_eq!(accept.status(), 406);
    let mailbox = watcher.subscribe("1001", "mailbox", &[("Event", "message-summary")]);
    assert_eq!(mailbox.status(), 404, "1001 has none");
    let mut stranger = Watcher::new([127, 0, 9, 22], address, "1009");
    assert_eq!(stranger.subscribe("1002", "stranger", &[("Event", "dialog")]).status(), 401);
    let mut bare = Peer::new([127, 0, 9, 23], address);
    let at = bare.at;
    let request = bare
        .request(&b2b::sip::msg::Method::Subscribe, "sip:1002@b2b.example", "bare", 1)
        .header(Name::To, "<sip:1002@b2b.example>")
        .header_fmt(Name::Contact, format_args!("<sip:watcher@{at}>"))
        .header(Name::Event, "dialog")
        .finish()
        .expect("a request");
    assert_eq!(bare.ask(&request, "bare", 1).status(), 401);
}

#[test]
fn a_gateway_may_watch_nobody_and_a_trusted_address_everybody() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = "[[gateway]]\nname = \"carrier\"\nhosts = \"127.0.9.31\"\nsources = [\"127.0.9.31\"]\n";
    let trusted = "trusted = [\"127.0.9.32\"]\n";
    let (_server, address) = server(folder.path(), trusted, &format!("{USERS}{gateway}"));
    let event = [("Event", "dialog")];
    let mut carrier = Watcher::new([127, 0, 9, 31], address, "1001");
    assert_eq!(carrier.subscribe("1002", "carrier", &event).status(), 403);
    // Without a password.
    let mut desk = Watcher::new([127, 0, 9, 32], address, "nobody");
    assert_eq!(desk.subscribe("1002", "desk", &event).status(), 200);
    assert_eq!(desk.told("desk").states(), ["terminated"]);
}

#[test]
fn a_refresh_is_told_everything_again_and_the_end_of_it_is_terminated() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_server, address) = server(folder.path(), "", USERS);
    let mut watcher = Watcher::new([127, 0, 9, 24], address, "1001");
    let response = watcher.subscribe("1002", "watch", &[("Event", "dialog;id=7"), ("Expires", "86400")]);
    assert_eq!((response.status(), field(&response, Name::Expires)), (200, "3600".into()));
    let first = watcher.told("watch");
    assert_eq!((first.version(), first.event.as_str()), (0, "dialog;id=7"));
    let refreshed = watcher.refresh("watch", &[("Event", "dialog;id=7"), ("Expires", "120")]);
    assert_eq!((refreshed.status(), field(&refreshed, Name::Expires)), (200, "120".into()));
    let second = watcher.told("watch");
    assert!(second.state.starts_with("active;expires=1"), "{}", second.state);
    assert_eq!(second.version(), 1);
    let other = watcher.refresh("watch", &[("Event", "dialog;id=8"), ("Expires", "120")]);
    assert_eq!(other.status(), 489, "another subscription has another dialog");
    let over = watcher.refresh("watch", &[("Event", "dialog;id=7"), ("Expires", "0")]);
    assert_eq!(over.status(), 200);
    let last = watcher.told("watch");
    assert_eq!((last.state.as_str(), last.version()), ("terminated;reason=timeout", 2));
    let gone = watcher.refresh("watch", &[("Event", "dialog;id=7"), ("Expires", "120")]);
    assert_eq!(gone.status(), 481);
}

#[test]
fn who_asks_for_no_time_is_told_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_server, address) = server(folder.path(), "", USERS);
    let mut watcher = Watcher::new([127, 0, 9, 25], address, "1001");
    watcher.watch("1002", "once", 0);
    let told = watcher.told("once");
    assert_eq!((told.state.as_str(), told.version()), ("terminated;reason=timeout", 0));
    assert_eq!(told.states(), ["terminated"]);
}

#[test]
fn who_knows_nothing_of_a_notify_is_forgotten() {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = format!("[limits]\nuser_subscriptions = 1\n{USERS}");
    let (_server, address) = server(folder.path(), "", &limits);
    let mut watcher = Watcher::new([127, 0, 9, 26], address, "1001");
    watcher.watch("1002", "watch", 600);
    let told = watcher.hear("watch");
    watcher.peer.answer(&told.request, 481, &[]);
    let gone = watcher.refresh("watch", &[("Event", "dialog"), ("Expires", "600")]);
    assert_eq!(gone.status(), 481);
    // Its place is free again.
    watcher.watch("1002", "again", 600);
}

#[test]
fn there_are_so_many_subscriptions_of_one_user_and_of_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = format!("[limits]\nsubscriptions = 3\nuser_subscriptions = 2\n{USERS}");
    let (_server, address) = server(folder.path(), "", &limits);
    let mut ann = Watcher::new([127, 0, 9, 27], address, "1001");
    let mut bob = Watcher::new([127, 0, 9, 28], address, "1002");
    for call in ["one", "two"] {
        ann.watch("1003", call, 600);
        ann.told(call);
    }
    let event = [("Event", "dialog")];
    assert_eq!(ann.subscribe("1003", "three", &event).status(), 480);
    bob.watch("1003", "bob", 600);
    bob.told("bob");
    let full = bob.subscribe("1003", "full", &event);
    assert_eq!(full.status(), 503);
    assert!(!field(&full, Name::RetryAfter).is_empty());
    ann.refresh("one", &[("Event", "dialog"), ("Expires", "0")]);
    ann.told("one");
    ann.watch("1003", "four", 600);
}

#[test]
fn at_the_stop_phones_are_told_to_ask_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut server, address) = server(folder.path(), "", USERS);
    let mut watcher = Watcher::new([127, 0, 9, 29], address, "1001");
    watcher.watch("1002", "watch", 600);
    watcher.told("watch");
    server.signal(Signal::SIGTERM);
    assert_eq!(watcher.told("watch").state, "terminated;reason=deactivated");
    server.assert_exit(0);
}

#[test]
fn who_watches_what_a_new_configuration_has_not_is_told_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, address) = server(folder.path(), "", USERS);
    let mut watcher = Watcher::new([127, 0, 9, 30], address, "1001");
    watcher.watch("1002", "leaves", 600);
    watcher.told("leaves");
    watcher.watch("1003", "stays", 600);
    watcher.told("stays");
    let without = USERS.replace("name = \"1002\"", "name = \"1004\"");
    crate::server::edges::peer::write(folder.path(), "", &without);
    server.signal(Signal::SIGHUP);
    assert_eq!(watcher.told("leaves").state, "terminated;reason=noresource");
    let stays = watcher.refresh("stays", &[("Event", "dialog"), ("Expires", "600")]);
    assert_eq!(stays.status(), 200);
}
