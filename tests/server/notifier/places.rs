//! BLF of parking slots and queues.

use super::USERS;
use super::caller::{hangs_up, talks};
use super::watcher::Watcher;
use crate::server::edges::peer::{Peer, server};

#[test]
fn the_lamp_of_a_slot_is_on_while_somebody_is_parked_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let lot = "[[park]]\nname = \"lot\"\nslots = \"701-702\"\n\
               [[route]]\nname = \"lot\"\ncalled = \"70[0-2]\"\napp = \"park/lot\"\n";
    let (_server, address) = server(folder.path(), "", &format!("{USERS}{lot}"));
    let mut ann = Peer::new([127, 0, 9, 41], address);
    let mut watcher = Watcher::new([127, 0, 9, 42], address, "1003");
    watcher.watch("701", "first", 600);
    assert_eq!(watcher.told("first").states(), ["terminated"]);
    // A call to the lot itself is parked in its first slot.
    let ok = talks(&mut ann, "700", "call");
    let told = watcher.told("first");
    assert_eq!(told.dialogs(), [("701".to_owned(), "recipient".to_owned(), "confirmed".to_owned())]);
    assert_eq!((told.version(), told.attribute("entity")), (1, "sip:701@b2b.example"));
    // A later subscriber gets the state at once; the other slot is free.
    let mut late = Watcher::new([127, 0, 9, 43], address, "1002");
    late.watch("701", "late", 600);
    assert_eq!(late.told("late").states(), ["confirmed"]);
    late.watch("702", "second", 600);
    assert_eq!(late.told("second").states(), ["terminated"]);
    assert_eq!(late.subscribe("703", "none", &[("Event", "dialog")]).status(), 404);
    hangs_up(&mut ann, &ok, "call");
    assert_eq!(watcher.told("first").states(), ["terminated"]);
    assert_eq!(late.told("late").states(), ["terminated"]);
}

#[test]
fn the_lamp_of_a_queue_is_on_while_anybody_waits() {
    let folder = tempfile::tempdir().expect("a folder");
    let queue = "[[agent]]\nname = \"1002\"\n[[queue]]\nname = \"sales\"\nagents = [\"1002\"]\n\
                 [[route]]\nname = \"sales\"\ncalled = \"8001\"\napp = \"queue/sales\"\n";
    let (_server, address) = server(folder.path(), "", &format!("{USERS}{queue}"));
    let (mut ann, mut cat) = (Peer::new([127, 0, 9, 44], address), Peer::new([127, 0, 9, 45], address));
    let mut watcher = Watcher::new([127, 0, 9, 46], address, "1003");
    watcher.watch("8001", "number", 600);
    assert_eq!(watcher.told("number").states(), ["terminated"]);
    let mut by_name = Watcher::new([127, 0, 9, 47], address, "1003");
    by_name.watch("queue-sales", "name", 600);
    assert_eq!(by_name.told("name").states(), ["terminated"]);
    let first = talks(&mut ann, "8001", "ann");
    assert_eq!(watcher.told("number").states(), ["confirmed"]);
    assert_eq!(by_name.told("name").states(), ["confirmed"]);
    let second = talks(&mut cat, "8001", "cat");
    hangs_up(&mut ann, &first, "ann");
    hangs_up(&mut cat, &second, "cat");
    // The end of the first call has changed nothing.
    let dark = watcher.told("number");
    assert_eq!((dark.version(), dark.states()), (2, vec!["terminated".to_owned()]));
}

#[test]
fn a_phone_is_told_of_the_messages_in_its_users_mailbox_and_of_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    for (age, file) in [("new", "a.wav"), ("new", "b.wav"), ("old", "c.wav")] {
        let of = folder.path().join("messages").join("1001").join(age);
        std::fs::create_dir_all(&of).expect("a folder");
        std::fs::write(of.join(file), b"RIFF").expect("a file");
    }
    let mailbox = format!(
        "[voicemail]\nfolder = \"{}\"\n[[mailbox]]\nname = \"1001\"\npin = \"4711\"\n{USERS}",
        folder.path().join("messages").display()
    );
    let (_server, address) = server(folder.path(), "", &mailbox);
    let mut watcher = Watcher::new([127, 0, 9, 48], address, "1001");
    let event = [("Event", "message-summary"), ("Expires", "600")];
    assert_eq!(watcher.subscribe("1001", "messages", &event).status(), 200);
    let told = watcher.told("messages");
    assert_eq!(told.content_type, "application/simple-message-summary");
    assert_eq!(
        told.body,
        "Messages-Waiting: yes\r\nMessage-Account: sip:1001@b2b.example\r\nVoice-Message: 2/1 (0/0)\r\n"
    );
    let mut other = Watcher::new([127, 0, 9, 49], address, "1002");
    assert_eq!(other.subscribe("1001", "others", &event).status(), 403);
}
