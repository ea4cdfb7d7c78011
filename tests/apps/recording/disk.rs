//! Recordings on disk and server failures, and the removal of old ones.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::{ANN, BOB, FOLDER, Voice, channels, files, records, runs, talk, with_tone};
use crate::server_support::captured::Lab;
use crate::server_support::phone::Phone;
use crate::server_support::{configured, server, start, start_by, until};

fn route(bob: &Phone, tables: &str) -> String {
    format!("{tables}[[route]]\ncalled = \".*\"\nto = \"{}\"\nrecord = true\n", bob.uri())
}

fn voices(lab: &Lab) -> [Voice<'_>; 2] {
    [Voice::new(&lab.ann, lab.for_ann, ANN), Voice::new(&lab.bob, lab.for_bob, BOB)]
}

#[test]
fn a_killed_server_leaves_a_valid_file_and_the_next_one_gives_it_its_name() {
    let lab = Lab::with(FOLDER, "record = true\n");
    runs(&lab);
    let folder = lab.server.folder.path().join("rec");
    let mut both = voices(&lab);
    let part = until("a second of sound", || {
        talk(&mut both, 10);
        let part = files(&folder).pop()?;
        (fs::metadata(&part).ok()?.len() > 40_000).then_some(part)
    });
    assert!(part.to_string_lossy().ends_with(".wav.part"), "{part:?}");
    let Lab { mut server, .. } = lab;
    server.process.signal(Signal::SIGKILL);
    until("its end", || (!server.process.is_running()).then_some(()));
    let [left, _] = channels(&part);
    assert!(left.len() > 8_000 && with_tone(&left, ANN) > 10, "{}", left.len());
    let again = start(server.folder);
    let named = files(&again.folder.path().join("rec"));
    assert_eq!((named.len(), channels(&named[0])[0].len()), (1, left.len()));
    assert_eq!(named[0].extension().and_then(|end| end.to_str()), Some("wav"));
}

#[test]
fn a_full_disk_ends_the_recording_and_not_the_call_and_says_so() {
    let bob = Phone::new("bob");
    let folder = configured(&route(&bob, "[recording]\nfolder = \"rec\"\nfree_mb = 0\n"));
    let (rec, config) = (folder.path().join("rec"), folder.path().join("b2bua.toml"));
    fs::create_dir(&rec).expect("a folder");
    // A disk of 96 KiB, three seconds of audio, visible only to this process.
    let mut command = Command::new("unshare");
    command
        .args(["--map-root-user", "--mount", "sh", "-c"])
        .arg("mount -t tmpfs -o size=96k tmpfs \"$1\" && exec \"$2\" --role b2bua --config \"$3\"");
    command.arg("sh").arg(&rec).arg(env!("CARGO_BIN_EXE_b2b")).arg(&config);
    let lab = Lab::at(start_by(&mut command, folder), bob);
    runs(&lab);
    let mut both = voices(&lab);
    until("the end of the recording", || {
        talk(&mut both, 25);
        lab.server.get(&lab.path).json()["now"]["recording"].is_null().then_some(())
    });
    // The parties still hear each other.
    let before = lab.ann.listen(1).len();
    talk(&mut both, 10);
    assert_eq!((before, lab.ann.listen(10).len()), (1, 10));
    let now = lab.server.get(&lab.path).json();
    assert_eq!(now["now"]["state"], "bridged", "{now}");
    // The folder as the server process sees it.
    let root = Path::new("/proc").join(lab.server.process.pid().to_string()).join("root");
    let seen = root.join(rec.strip_prefix("/").expect("a whole path"));
    let named = until("the name", || {
        files(&seen).pop().filter(|path| path.extension().is_some_and(|end| end == "wav"))
    });
    let [left, right] = channels(&named);
    assert!(left.len() > 8_000 && with_tone(&left, ANN) > 10 && with_tone(&right, BOB) > 10);
    lab.end();
    let said = |record: &Value| record["variables"]["recording_error"].as_str().map(str::to_owned);
    let errors: Vec<_> = records(&lab, 2).iter().filter_map(said).collect();
    assert!(errors.len() == 2 && errors[0].contains("No space left"), "{errors:?}");
}

#[test]
fn without_the_room_that_is_to_stay_free_calls_go_on_unrecorded() {
    let bob = Phone::new("bob");
    let config = route(&bob, "[recording]\nfolder = \"rec\"\nfree_mb = 1000000000\n");
    let lab = Lab::at(server(&config), bob);
    talk(&mut voices(&lab), 5);
    assert_eq!(lab.ann.listen(5).len(), 5);
    lab.end();
    let record = records(&lab, 2).remove(0);
    let error = record["variables"]["recording_error"].as_str().expect("a reason");
    assert!(error.contains("must stay free"), "{error}");
    assert!(files(&lab.server.folder.path().join("rec")).is_empty());
}

#[test]
fn old_recordings_go_and_what_is_being_written_stays() {
    let folder = configured("[recording]\nfolder = \"rec\"\nkeep_days = 2\n");
    let day = folder.path().join("rec/2020-01-01");
    fs::create_dir_all(&day).expect("a folder");
    let file = |name: &str, days: u64| {
        let file = fs::File::create(day.join(name)).expect("a file");
        file.set_modified(SystemTime::now() - Duration::from_secs(days * 86_400)).expect("a date");
    };
    file("old.wav", 3);
    file("young.wav", 1);
    file("notes.txt", 9);
    let server = start(folder);
    until("the old one to go", || (!day.join("old.wav").exists()).then_some(()));
    assert!(day.join("young.wav").exists() && day.join("notes.txt").exists());
    // A second server may not share the folder: it would take files in progress for leftovers.
    let config = server.folder.path().join("b2bua.toml");
    let second =
        Command::new(env!("CARGO_BIN_EXE_b2b")).args(["--role", "b2bua", "--config"]).arg(config).output();
    let second = second.expect("it ends");
    assert_eq!(second.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&second.stderr).contains("another server records there"));
}
