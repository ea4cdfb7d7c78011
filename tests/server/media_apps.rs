//! Applications with media carried by a media server, over both of its interfaces: they play, hear, mix and
//! record as with the embedded engine.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::child::PATIENCE;
use crate::server::control::{all_quiet, called, done};
use crate::server::media_servers::MediaServer;
use crate::server_support::phone::{CallsOff, Phone};
use crate::server_support::{Server, server, until};

const APPS: &str = r#"
[recording]
folder = "recordings"
[voicemail]
folder = "voicemail"
silence_s = 0
[[mailbox]]
name = "1001"
pin = "4711"
[[conference]]
name = "blue"
announced = false
[[ivr]]
name = "main"
[[ivr.node]]
name = "ask"
kind = "menu"
prompt = "tone:440:60000"
choices = { 1 = "room", 2 = "mail", 3 = "wait" }
[[ivr.node]]
name = "room"
kind = "conference"
to = "blue"
[[ivr.node]]
name = "mail"
kind = "voicemail"
to = "1001"
[[ivr.node]]
name = "wait"
kind = "queue"
to = "sales"
[[queue]]
name = "sales"
agents = ["cat"]
[[agent]]
name = "cat"
"#;

/// A route whose calls are recorded.
const RECORDED: &str = "[[route]]\ncalled = \"300\"\napp = \"ivr/main\"\nrecord = true\n";

/// Whether it is 20 ms of PCMA that is not silence.
fn is_sound(packet: &[u8]) -> bool {
    packet.len() == 172
        && packet[1] & 0x7f == 8
        && packet[12..].iter().any(|it| !matches!(it & 0x7f, 0x50..=0x5f))
}

/// Sends a tone until the condition holds.
fn says_until(phone: &Phone, what: &str, holds: impl Fn() -> bool) {
    let to = phone.heard_from().expect("something is played");
    let (start, mut n) = (Instant::now(), 0);
    let tone: [u8; 160] = std::array::from_fn(|at| if at / 4 % 2 == 0 { 0xaa } else { 0x2a });
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "in vain: {what}");
        phone.sound(to, n, &tone);
        n += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The sound files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let mut found: Vec<_> =
        files.into_iter().filter(|path| path.extension().is_some_and(|it| it == "wav")).collect();
    found.extend(folders.iter().flat_map(|folder| self::files(folder)));
    found
}

/// Passes a leg to the menu, waits for its prompt, and presses a key there.
fn chooses(
    server: &Server,
    (phone, leg, dialog): (&Phone, &Value, &crate::server_support::phone::Dialog),
    (cseq, key): (u32, char),
) {
    done(server, &json!({ "command": "handle", "leg": leg, "app": "ivr/main" }));
    until("the menu's prompt", || phone.heard(is_sound).then_some(()));
    phone.press(dialog, cseq, key);
}

fn by(scheme: &str) {
    let media = MediaServer::start(&[]);
    let (ann, bob, cat) = (Phone::new("ann"), Phone::new("bob"), Phone::new("cat"));
    let lines = format!(
        "[media]\ncontroller = \"{scheme}://{}\"\n{APPS}target = \"{}\"\n{RECORDED}",
        media.at,
        cat.uri()
    );
    let server = server(&lines);
    until("a session with the media server", || {
        let page = server.get("/metrics").text();
        page.lines().any(|it| it.starts_with("b2b_media_server_up{") && it.ends_with(" 1")).then_some(())
    });
    let ((a, in_a), (b, in_b)) = (called(&server, &ann), called(&server, &bob));
    media.holds(2);
    done(&server, &json!({ "command": "record", "call": a["call"] }));
    // Both are in one room, and hear each other there.
    chooses(&server, (&ann, &a["leg"], &in_a), (10, '1'));
    chooses(&server, (&bob, &b["leg"], &in_b), (10, '1'));
    until("two in the room", || {
        let members = server.get("/rooms/blue").json()["members"].as_array().map(Vec::len);
        (members == Some(2)).then_some(())
    });
    ann.packets_by_now();
    says_until(&bob, "Ann hears Bob", || ann.packets_by_now().iter().any(|packet| is_sound(packet)));
    assert_eq!(media.load()["conferences"], 1);
    // Ann waits for Cat, the agent.
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let over = &over;
        let _at_the_end = CallsOff(over);
        chooses(&server, (&ann, &a["leg"], &in_a), (11, '3'));
        let _in_cat = cat.answer();
        until("Ann and Cat are joined", || {
            let calls = server.get("/calls").json();
            calls["calls"].as_array()?.iter().any(|it| it["bridge"].is_object()).then_some(())
        });
        media.holds(3);
        scope.spawn(|| cat.agree(over));
        // Then Ann leaves a message; Cat is hung up.
        done(&server, &json!({ "command": "handle", "leg": a["leg"], "app": "ivr/main" }));
        // A re-INVITE no longer offers the media of Cat's phone.
        ann.answer_again("sendrecv");
        until("the menu's prompt", || ann.heard(is_sound).then_some(()));
        ann.press(&in_a, 12, '2');
        over.store(true, Ordering::Release);
    });
    let folder = server.folder.path();
    let mail = folder.join("voicemail");
    until("the mailbox has Ann", || {
        let calls = server.get("/calls").json();
        calls["calls"].as_array()?.iter().any(|it| it["application"] == "voicemail/1001").then_some(())
    });
    let since = Instant::now();
    says_until(&ann, "a message of some seconds", || since.elapsed() > Duration::from_secs(4));
    let recorded = done(&server, &json!({ "command": "stop_recording", "leg": a["leg"] }));
    assert!(folder.join(recorded["file"].as_str().expect("a file")).is_file(), "{recorded}");
    ann.hang_up(&in_a);
    let new = mail.join("1001/new");
    until("a message in the mailbox", || (files(&new).len() == 1).then_some(()));
    bob.hang_up(&in_b);
    let recordings = folder.join("recordings");
    assert_eq!(files(&recordings).len(), 1, "that of the command");
    let in_menu = ann.call(server.sip, "300");
    until("the menu's prompt", || ann.heard(is_sound).then_some(()));
    ann.hang_up(&in_menu);
    until("the recording of the route", || (files(&recordings).len() == 2).then_some(()));
    all_quiet(&server);
    until("nothing held there", || {
        let load = media.load();
        (load["endpoints"] == 0 && load["conferences"] == 0 && load["recordings"] == 0).then_some(())
    });
}

#[test]
fn applications_play_hear_mix_and_record_at_a_media_server_over_rest() {
    by("http");
}

#[test]
fn applications_play_hear_mix_and_record_at_a_media_server_over_grpc() {
    by("grpc");
}
