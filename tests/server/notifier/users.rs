//! The BLF of a user follows their calls.

use b2b::sip::msg::{Message, Method, Request};

use super::USERS;
use super::caller::{calls, final_response};
use super::watcher::Watcher;
use crate::server::edges::peer::{Peer, server};

/// A phone of 1002.
fn bob(address: [u8; 4], server: std::net::SocketAddr) -> Peer {
    let mut bob = Peer::new(address, server);
    let contact = format!("sip:1002@{}", bob.at);
    assert_eq!(bob.register("1002", "secret", &contact, "bob-registers"), 200);
    bob
}

fn rings(bob: &mut Peer) -> Request {
    let invite = bob.wait_for(&Method::Invite);
    bob.answer(&invite, 180, &[]);
    invite
}

#[test]
fn a_lamp_goes_early_confirmed_and_terminated_as_a_call_passes_on_both_sides() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_server, address) = server(folder.path(), "", USERS);
    let (mut bob, mut ann) = (bob([127, 0, 9, 1], address), Peer::new([127, 0, 9, 2], address));
    // On separate phones, so that NOTIFY requests for one do not wait for the other.
    let mut of_bob = Watcher::new([127, 0, 9, 3], address, "1003");
    let mut of_ann = Watcher::new([127, 0, 9, 4], address, "1003");
    of_bob.watch("bob", "watch-bob", 600);
    of_ann.watch("1001", "watch-ann", 600);
    let first = of_bob.told("watch-bob");
    assert_eq!(
        (first.event.as_str(), first.content_type.as_str()),
        ("dialog", "application/dialog-info+xml")
    );
    let left = first.state.strip_prefix("active;expires=").expect("active").parse::<u32>().expect("a number");
    assert!((590..=600).contains(&left), "{left}");
    assert_eq!((first.version(), first.attribute("state")), (0, "full"));
    assert_eq!(first.attribute("entity"), "sip:bob@b2b.example");
    assert_eq!(first.states(), ["terminated"], "nobody talks");
    assert_eq!(of_ann.told("watch-ann").states(), ["terminated"]);

    calls(&mut ann, "1002", "call");
    let invite = rings(&mut bob);
    let mut told = of_bob.told_until("watch-bob", "early");
    let (id, direction, _) = told.last().expect("one").dialogs().remove(0);
    assert_eq!(direction, "recipient");
    let by_ann = of_ann.told_until("watch-ann", "early").pop().expect("one");
    assert_eq!(by_ann.dialogs()[0].1, "initiator");

    bob.answer(&invite, 200, &[]);
    let ok = final_response(&ann, 2);
    assert_eq!(ok.status(), 200);
    let ack = ann.in_call(&Method::Ack, &ok, "call", 2);
    ann.send(&ack);
    bob.wait_for(&Method::Ack);
    told.extend(of_bob.told_until("watch-bob", "confirmed"));
    of_ann.told_until("watch-ann", "confirmed");

    let bye = ann.in_call(&Method::Bye, &ok, "call", 3);
    assert_eq!(ann.ask(&bye, "call", 3).status(), 200);
    let theirs = bob.wait_for(&Method::Bye);
    bob.answer(&theirs, 200, &[]);
    told.extend(of_bob.told_until("watch-bob", "terminated"));
    of_ann.told_until("watch-ann", "terminated");
    let versions: Vec<u32> = told.iter().map(|told| told.version()).collect();
    assert_eq!(versions, (1..=versions.len() as u32).collect::<Vec<_>>(), "each is one more");
    for told in &told {
        assert!(
            told.dialogs().iter().all(|(other, way, _)| *other == id && way == "recipient"),
            "{}",
            told.body
        );
    }
}

#[test]
fn a_call_that_is_refused_leaves_the_lamp_dark() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_server, address) = server(folder.path(), "", USERS);
    let (mut bob, mut ann) = (bob([127, 0, 9, 5], address), Peer::new([127, 0, 9, 6], address));
    let mut watcher = Watcher::new([127, 0, 9, 7], address, "1003");
    watcher.watch("1002", "watch", 600);
    watcher.told("watch");
    calls(&mut ann, "1002", "call");
    let invite = rings(&mut bob);
    watcher.told_until("watch", "early");
    bob.answer(&invite, 486, &[]);
    assert_eq!(final_response(&ann, 2).status(), 486);
    watcher.told_until("watch", "terminated");
    let response = watcher.refresh("watch", &[("Event", "dialog"), ("Expires", "600")]);
    assert_eq!(response.status(), 200);
    let again = watcher.told("watch");
    assert_eq!(
        again.dialogs(),
        [("none".to_owned(), String::new(), "terminated".to_owned())],
        "nothing is left"
    );
}

#[test]
fn changes_while_a_notify_is_unanswered_come_in_one_after_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_server, address) = server(folder.path(), "", USERS);
    let (mut bob, mut ann) = (bob([127, 0, 9, 8], address), Peer::new([127, 0, 9, 9], address));
    let mut watcher = Watcher::new([127, 0, 9, 10], address, "1003");
    watcher.watch("1002", "watch", 600);
    let first = watcher.hear("watch");
    calls(&mut ann, "1002", "call");
    let invite = rings(&mut bob);
    bob.answer(&invite, 200, &[]);
    let ok = final_response(&ann, 2);
    let ack = ann.in_call(&Method::Ack, &ok, "call", 2);
    ann.send(&ack);
    bob.wait_for(&Method::Ack);
    // Three state changes have passed, with retransmissions of the first NOTIFY only.
    while let Some(message) = watcher.peer.message(std::time::Duration::from_millis(300)) {
        let Message::Request(request) = message else { panic!("{message:?}") };
        assert_eq!(request.as_bytes(), first.request.as_bytes());
    }
    watcher.peer.answer(&first.request, 200, &[]);
    let next = watcher.told("watch");
    assert_eq!((next.version(), next.states()), (1, vec!["confirmed".to_owned()]));
}
