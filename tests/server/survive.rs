//! A call goes on in the next process: both parties hear each other again, and one of them ends it.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::server_support::phone::{Dialog, Phone, rtp_of};
use crate::server_support::{Server, configured, start, until};

/// A server with an address that no other test has, so that the next one finds its ports free.
pub fn folder(ip: &str, bob: &Phone, survive: &str) -> tempfile::TempDir {
    let folder = configured(&format!(
        "[survive]\nfile = \"calls\"\nsize_mb = 1\n{survive}[media]\nports = \"20000-29999\"\n\
         [[route]]\nname = \"to bob\"\ncalled = '2.*'\nto = \"{}\"\n",
        bob.uri()
    ));
    let path = folder.path().join("b2bua.toml");
    let text = fs::read_to_string(&path).expect("a configuration");
    let text = text.replace("udp:127.0.0.1:0", &format!("udp:{ip}:5060"));
    fs::write(path, text).expect("a configuration");
    folder
}

/// A call of ann's to bob.
pub struct Talk {
    pub of_ann: Dialog,
    /// Where each sends its sound.
    pub rtp: [SocketAddr; 2],
}

pub fn talk(server: &Server, ann: &Phone, bob: &Phone) -> Talk {
    let asked = ann.ask_for(server.sip, "200");
    let (invite, _) = bob.hear("INVITE");
    answered(server, (ann, asked), (bob, &invite))
}

/// What ann has asked for, bob answers.
fn answered(
    server: &Server,
    (ann, asked): (&Phone, (String, String)),
    (bob, invite): (&Phone, &str),
) -> Talk {
    let (of_ann, answer) = std::thread::scope(|scope| {
        scope.spawn(|| bob.answer_to(invite, server.sip));
        let answer = ann.hear("SIP/2.0 200").0;
        (ann.confirmed(&answer, asked, server.sip), answer)
    });
    Talk { of_ann, rtp: [rtp_of(&answer), rtp_of(invite)] }
}

pub fn hear_each_other(ann: &Phone, bob: &Phone, talk: &Talk) {
    for (from, to, rtp) in [(ann, bob, talk.rtp[0]), (bob, ann, talk.rtp[1])] {
        to.packets_by_now();
        from.speak(rtp, 10);
        assert!(to.listen(5).iter().all(|packet| packet.ends_with(&[0xd5; 160])));
    }
}

/// Waits until this many calls and endpoints are in memory. A record begins with its mark at a multiple of 64 octets; then
/// come the number, whose two highest bits are 0 in those of calls and 2 in those of endpoints, and the length, which is
/// u32::MAX when it is over.
pub fn written(folder: &Path, calls: usize, endpoints: usize) {
    until("the calls in memory", || {
        let octets = fs::read(folder.join("calls")).expect("the memory for calls");
        let mark = octets.get(64..72).filter(|mark| **mark != [0; 8])?;
        let begins = octets.chunks_exact(64).filter(|record| record.starts_with(mark));
        let mut latest: BTreeMap<&[u8], bool> =
            begins.map(|record| (&record[8..16], record[16..20] != [0xff; 4])).collect();
        latest.remove(&[0xff; 8][..]);
        let count = |kind: u8| latest.iter().filter(|(key, there)| **there && key[7] >> 6 == kind).count();
        ((count(0), count(2)) == (calls, endpoints)).then_some(())
    });
}

pub fn killed(server: Server) -> tempfile::TempDir {
    let Server { mut process, folder, .. } = server;
    process.signal(Signal::SIGKILL);
    process.wait();
    folder
}

pub fn records(server: &Server) -> Vec<Value> {
    let text = fs::read_to_string(server.folder.path().join("cdr.jsonl")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("a record")).collect()
}

#[test]
fn a_bridged_call_goes_on_after_a_kill_and_has_one_record_a_leg() {
    let [ann, bob] = ["ann", "bob"].map(Phone::new);
    let server = start(folder("127.0.79.1", &bob, ""));
    let talk = talk(&server, &ann, &bob);
    let began = Instant::now();
    hear_each_other(&ann, &bob, &talk);
    written(server.folder.path(), 1, 2);

    let server = start(killed(server));
    assert!(!ann.has_heard("BYE") && !bob.has_heard("BYE"));
    hear_each_other(&ann, &bob, &talk);
    let calls = server.get("/calls").json();
    assert_eq!(calls["calls"].as_array().map(Vec::len), Some(1), "{calls}");
    // And once more: it is written anew.
    written(server.folder.path(), 1, 2);
    let server = start(killed(server));
    hear_each_other(&ann, &bob, &talk);
    let lasted = began.elapsed();
    std::thread::scope(|scope| {
        scope.spawn(|| bob.let_go());
        ann.hang_up(&talk.of_ann);
    });
    let records = until("the records", || Some(records(&server)).filter(|all| all.len() == 2));
    assert!(records.iter().all(|record| record["disposition"] == "ANSWERED"), "{records:?}");
    assert!(records.iter().all(|record| record["resumed"] == 2), "{records:?}");
    // It has lasted through both restarts; each rounds to milliseconds.
    let least = u64::try_from(lasted.as_millis()).expect("a time") - 10;
    assert!(records.iter().all(|record| record["duration_ms"].as_u64() >= Some(least)), "{records:?}");
    // What is over stays over.
    until("no call", || server.get("/calls").json()["calls"].as_array().filter(|it| it.is_empty()).map(drop));
    written(server.folder.path(), 0, 0);
    let server = start(killed(server));
    assert_eq!(server.get("/calls").json()["calls"].as_array().map(Vec::len), Some(0));
}

#[test]
fn a_call_that_is_too_old_ends_and_a_party_whose_port_has_gone_is_told_another() {
    let [ann, bob] = ["ann", "bob"].map(Phone::new);
    let server = start(folder("127.0.79.2", &bob, "max_age_s = 1\n"));
    let _talk = talk(&server, &ann, &bob);
    written(server.folder.path(), 1, 2);
    let folder = killed(server);
    // Only time makes it too old.
    std::thread::sleep(Duration::from_millis(1_500));
    let server = start(folder);
    ann.let_go();
    bob.let_go();
    let lost = until("the records", || Some(records(&server)).filter(|all| all.len() == 2));
    assert!(lost.iter().all(|record| record["hangup_cause_q850"] == 41), "{lost:?}");

    let text = fs::read_to_string(server.folder.path().join("b2bua.toml")).expect("a configuration");
    let text = text.replace("max_age_s = 1\n", "");
    fs::write(server.folder.path().join("b2bua.toml"), text).expect("a configuration");
    let server = start(killed(server));
    let (cat, gone) = (Phone::new("cat"), talk(&server, &ann, &bob));
    // Bob has a second line.
    let stays = talk(&server, &cat, &bob);
    hear_each_other(&ann, &bob, &gone);
    written(server.folder.path(), 2, 4);
    let folder = killed(server);
    let taken = std::net::UdpSocket::bind(gone.rtp[1]).expect("the port of the call");
    let server = start(folder);
    let to_bob = rtp_of(&bob.answer_again("sendrecv"));
    assert_ne!(to_bob, gone.rtp[1]);
    drop(taken);
    hear_each_other(&ann, &bob, &Talk { rtp: [gone.rtp[0], to_bob], ..gone });
    hear_each_other(&cat, &bob, &stays);

    // A server that is told to stop ends its calls.
    let Server { mut process, folder, .. } = server;
    process.signal(Signal::SIGTERM);
    for phone in [&ann, &cat, &bob, &bob] {
        phone.let_go();
    }
    process.wait();
    let server = start(folder);
    assert_eq!(server.get("/calls").json()["calls"].as_array().map(Vec::len), Some(0));
}

#[test]
fn a_ringing_call_is_answered_after_a_kill() {
    let [ann, bob] = ["ann", "bob"].map(Phone::new);
    let server = start(folder("127.0.79.3", &bob, ""));
    let asked = ann.ask_for(server.sip, "200");
    let (invite, peer) = bob.hear("INVITE");
    bob.ring_to(&invite, peer);
    ann.hear("SIP/2.0 180");
    written(server.folder.path(), 1, 2);
    let server = start(killed(server));
    let talk = answered(&server, (&ann, asked), (&bob, &invite));
    hear_each_other(&ann, &bob, &talk);
    std::thread::scope(|scope| {
        scope.spawn(|| bob.let_go());
        ann.hang_up(&talk.of_ann);
    });
    let records = until("the records", || Some(records(&server)).filter(|all| all.len() == 2));
    assert!(records.iter().all(|record| record["disposition"] == "ANSWERED"), "{records:?}");
    written(server.folder.path(), 0, 0);
}

/// A menu at 8000: its tone sounds until a key is pressed; 1 leads to bob.
const MENU: &str = "[[route]]\ncalled = \"8000\"\napp = \"ivr/menu\"\n[[ivr]]\nname = \"menu\"\n\
    [[ivr.node]]\nname = \"ask\"\nkind = \"menu\"\nprompt = \"tone:440:60000\"\nchoices = { 1 = \"on\" }\n\
    [[ivr.node]]\nname = \"on\"\nkind = \"transfer\"\nto = \"200\"\n";

#[test]
fn a_caller_in_a_menu_hears_it_again_after_a_kill_and_is_led_on() {
    let [ann, bob] = ["ann", "bob"].map(Phone::new);
    let folder = folder("127.0.79.4", &bob, "");
    let path = folder.path().join("b2bua.toml");
    let text = fs::read_to_string(&path).expect("a configuration") + MENU;
    fs::write(&path, text).expect("a configuration");
    let server = start(folder);
    let of_ann = ann.call(server.sip, "8000");
    let sounds = |packet: &Vec<u8>| packet[12..].iter().any(|sample| *sample != 0xd5);
    assert!(ann.listen(5).iter().all(sounds));
    written(server.folder.path(), 1, 1);
    let server = start(killed(server));
    ann.packets_by_now();
    assert!(ann.listen(5).iter().all(sounds), "the menu is played again");
    let (invite, peer) = std::thread::scope(|scope| {
        scope.spawn(|| ann.press(&of_ann, 2, '1'));
        bob.hear("INVITE")
    });
    bob.answer_to(&invite, peer);
    std::thread::scope(|scope| {
        scope.spawn(|| bob.let_go());
        ann.hang_up(&of_ann);
    });
    written(server.folder.path(), 0, 0);
}

/// Says this A-law octet for some seconds, from the packet of this number on.
fn says(ann: &Phone, to: SocketAddr, octet: u8, first: u16, seconds: u16) {
    for n in first..first + seconds * 50 {
        ann.sound(to, n, &[octet; 160]);
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The first channel of a WAV file has a second of each of these A-law octets, which were said before and after a kill, and
/// silence in between.
fn has_both(path: &Path, [before, after]: [u8; 2]) {
    let wav = hound::WavReader::open(path).expect("a WAV");
    let channels = usize::from(wav.spec().channels);
    let samples = wav.into_samples().step_by(channels);
    let samples: Vec<i16> = samples.map(|sample| sample.expect("a sample")).collect();
    let value = |octet: u8| {
        // G.711: every other bit is inverted, the first one is the sign, then come exponent and mantissa.
        let octet = octet ^ 0x55;
        let size = i16::from(octet & 0xf) << 4 | 8;
        let size = match octet >> 4 & 7 {
            0 => size,
            exponent => (size + 0x100) << (exponent - 1),
        };
        if octet & 0x80 == 0 { -size } else { size }
    };
    let [before, after] = [before, after].map(|octet| {
        let said = |sample: &i16| *sample == value(octet);
        let first = samples.iter().position(said).expect("what was said");
        (first, samples.iter().rposition(said).unwrap_or(first))
    });
    // A second of each is in there, and in between is silence; what came last before the kill was not written.
    assert!(before.1 - before.0 > 8_000 && after.1 - after.0 > 16_000, "{before:?} {after:?}");
    let gap = samples.get(before.1 + 1..after.0).expect("what was said after comes later");
    assert!(gap.len() > 6_400 && gap.iter().filter(|it| **it != 0).count() < 400, "{}", gap.len());
}

#[test]
fn a_message_that_is_being_left_has_what_is_said_before_and_after_a_kill() {
    let [ann, bob] = ["ann", "bob"].map(Phone::new);
    let mailbox = "[voicemail]\nfolder = \"mail\"\n[[mailbox]]\nname = \"1001\"\npin = \"4711\"\n\
                   [[route]]\ncalled = \"300\"\napp = \"voicemail/1001\"\n";
    let server = start(folder("127.0.79.5", &bob, mailbox));
    let asked = ann.ask_for(server.sip, "300");
    let answer = ann.hear("SIP/2.0 200").0;
    let (rtp, of_ann) = (rtp_of(&answer), ann.confirmed(&answer, asked, server.sip));
    let folder_of = |server: &Server, which: &str| server.folder.path().join("mail/1001").join(which);
    let files = |folder: &Path| -> Vec<_> {
        fs::read_dir(folder).into_iter().flatten().map(|entry| entry.expect("an entry").path()).collect()
    };
    until("a recording", || (files(&folder_of(&server, "tmp")).len() == 1).then_some(()));
    let (before, after) = (0x11, 0x22);
    says(&ann, rtp, before, 0, 3);
    written(server.folder.path(), 1, 1);

    let server = start(killed(server));
    until("the recording again", || (files(&folder_of(&server, "tmp")).len() == 1).then_some(()));
    assert_eq!(files(&folder_of(&server, "new")).len(), 0, "it is not complete");
    says(&ann, rtp, after, 200, 3);
    ann.hang_up(&of_ann);
    let kept = until("the message", || files(&folder_of(&server, "new")).pop());
    has_both(&kept, [before, after]);
    assert_eq!(records(&server).len(), 1);
}

#[test]
fn a_recorded_call_is_recorded_in_the_same_file_after_a_kill() {
    let [ann, bob] = ["ann", "bob"].map(Phone::new);
    let folder = folder("127.0.79.7", &bob, "");
    let path = folder.path().join("b2bua.toml");
    let text = fs::read_to_string(&path).expect("a configuration");
    let text = text.replace("[media]\n", "[recording]\nfolder = \"rec\"\n[media]\n");
    fs::write(&path, text + "record = true\n").expect("a configuration");
    let server = start(folder);
    let talk = talk(&server, &ann, &bob);
    let (before, after) = (0x11, 0x22);
    says(&ann, talk.rtp[0], before, 0, 3);
    written(server.folder.path(), 1, 2);
    let server = start(killed(server));
    says(&ann, talk.rtp[0], after, 200, 3);
    std::thread::scope(|scope| {
        scope.spawn(|| bob.let_go());
        ann.hang_up(&talk.of_ann);
    });
    let records = until("the records", || Some(records(&server)).filter(|all| all.len() == 2));
    let named = records[0]["variables"]["recording"].as_str().expect("a recording");
    assert!(!named.contains(' '), "{named}: one file");
    let file = server.folder.path().join(named);
    until("the whole recording", || file.exists().then_some(()));
    has_both(&file, [before, after]);
}

#[test]
fn a_member_who_was_muted_just_before_a_kill_is_muted_in_the_room() {
    let [ann, bob, cat] = ["ann", "bob", "cat"].map(Phone::new);
    let room = "[[conference]]\nname = \"blue\"\nshort_pin = true\npin = \"1\"\nmoderator_pin = \"9\"\n\
                [[route]]\ncalled = \"300\"\napp = \"conference/blue\"\n";
    let server = start(folder("127.0.79.6", &cat, room));
    let view = |server: &Server| server.get("/rooms/blue").json();
    let members = |server: &Server, count: usize| {
        until("the members", || {
            let view = view(server);
            (view["members"].as_array()?.len() == count).then_some(view)
        })
    };
    let dialogs = [(&ann, '9'), (&bob, '1')].map(|(phone, pin)| {
        let dialog = phone.call(server.sip, "300");
        phone.press(&dialog, 2, pin);
        phone.press(&dialog, 3, '#');
        dialog
    });
    members(&server, 2);
    // A second: the prompt for the first member is over, and keys have a function.
    ann.listen(50);
    let presses = |server: &Server, first: u32, keys: &str, what: &str| {
        for (cseq, key) in (first..).zip(keys.chars()) {
            ann.press(&dialogs[0], cseq, key);
        }
        until(what, || view(server).to_string().contains(what).then_some(()));
    };
    presses(&server, 4, "*5", "\"locked\":true");
    presses(&server, 6, "*7", "\"muted\":true");
    written(server.folder.path(), 2, 2);
    let before = view(&server);
    // Bob's call is written because the moderator has muted him, not because five seconds have passed.
    std::thread::sleep(Duration::from_millis(300));

    let server = start(killed(server));
    assert_eq!(members(&server, 2), before);
    presses(&server, 8, "*8", "\"muted\":false");
    for (phone, dialog) in [&ann, &bob].into_iter().zip(&dialogs) {
        phone.hang_up(dialog);
    }
    until("the records", || Some(records(&server)).filter(|all| all.len() == 2));
}

#[test]
fn an_agent_who_talks_across_a_kill_is_offered_no_other_caller() {
    let [ann, bob, cat] = ["ann", "bob", "cat"].map(Phone::new);
    let queue = format!(
        "[[agent]]\nname = \"bob\"\ntarget = \"{}\"\n[[queue]]\nname = \"sales\"\nagents = [\"bob\"]\nwrap_up_s = 0\n\
         [[route]]\ncalled = \"300\"\napp = \"queue/sales\"\n",
        bob.uri()
    );
    let server = start(folder("127.0.79.10", &bob, &queue));
    let bob_is = |server: &Server, state: &str| {
        until(state, || (server.get("/agents/bob").json()["state"] == state).then_some(()));
    };
    bob_is(&server, "available");
    let of_ann = ann.call(server.sip, "300");
    let (invite, peer) = bob.hear("INVITE");
    bob.answer_to(&invite, peer);
    // He is busy before they are joined, too.
    until("their talk", || {
        let call = server.get("/calls").json()["calls"][0].clone();
        (call["variables"]["queue_agent"] == "bob").then_some(())
    });
    written(server.folder.path(), 1, 2);

    let server = start(killed(server));
    bob_is(&server, "busy");
    let of_cat = cat.call(server.sip, "300");
    until("a caller", || (server.get("/queues/sales").json()["waiting"] == 1).then_some(()));
    assert!(!bob.has_heard("INVITE"), "he talks to ann");
    std::thread::scope(|scope| {
        scope.spawn(|| bob.let_go());
        ann.hang_up(&of_ann);
    });
    let (invite, peer) = bob.hear("INVITE");
    assert!(invite.contains("cat"), "{invite}");
    bob.answer_to(&invite, peer);
    std::thread::scope(|scope| {
        scope.spawn(|| bob.let_go());
        cat.hang_up(&of_cat);
    });
    written(server.folder.path(), 0, 0);
}

#[test]
fn calls_that_fit_into_the_memory_go_on_after_a_kill_and_the_others_are_told() {
    let bob = Phone::new("bob");
    let server = start(folder("127.0.79.9", &bob, ""));
    let callers: Vec<Phone> = (0..40).map(|_| Phone::new("ann")).collect();
    for caller in &callers {
        caller.ask_for(server.sip, "200");
        let (invite, peer) = bob.hear("INVITE");
        bob.ring_to(&invite, peer);
    }
    // 14 KB each, of half a megabyte.
    written(server.folder.path(), 36, 72);
    let survive = server.get("/survive").json();
    assert_eq!((&survive["covered"], &survive["not_covered"]), (&json!(36), &json!(4)), "{survive}");
    let server = start(killed(server));
    let survive = server.get("/survive").json();
    assert_eq!(survive["before"]["went_on"], 36, "{survive}");
}

#[test]
fn a_command_that_is_repeated_after_a_kill_has_its_first_answer_and_calls_nobody_again() {
    let bob = Phone::new("bob");
    let server = start(folder("127.0.79.8", &bob, ""));
    let originate = json!({ "command": "originate", "from": bob.uri(), "id": "once" });
    let commands = |server: &Server, body: &Value| server.post("/commands", body).json();
    let wait = |server: &Server, id: &str| server.get(&format!("/commands/{id}?wait=60")).json();
    assert_eq!(commands(&server, &originate)["state"], "running");
    let (invite, peer) = bob.hear("INVITE");
    bob.answer_to(&invite, peer);
    let first = wait(&server, "once");
    assert_eq!(first["state"], "completed", "{first}");
    let call = first["result"]["call"].clone();
    let play =
        json!({ "command": "play", "call": call, "sound": { "tone": 440, "ms": 60000 }, "id": "long" });
    assert_eq!(commands(&server, &play)["state"], "running");
    written(server.folder.path(), 1, 1);

    let server = start(killed(server));
    assert_eq!(commands(&server, &originate), first);
    let other = json!({ "command": "originate", "from": "user/1001", "id": "once" });
    assert_eq!(server.post("/commands", &other).status, 409, "another one has this id");
    let long = wait(&server, "long");
    assert_eq!((&long["state"], &long["reason"]), (&json!("failed"), &json!("gone")), "{long}");
    assert!(!bob.has_heard("INVITE"));
    std::thread::scope(|scope| {
        scope.spawn(|| bob.let_go());
        assert_eq!(server.post(&format!("/calls/{call}/hangup?wait=60"), &json!({})).status, 200);
    });
    let server = start(killed(server));
    assert_eq!(wait(&server, "once"), first, "twice");
}
