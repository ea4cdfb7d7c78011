//! Failures in voicemail: callers that hang up at each step, missing greetings, full disks.

use std::process::Command;

use super::*;
use crate::server_support::{Server, configured, start, start_by, until};

/// A personal greeting, and a message.
const GREETING: f64 = 620.0;
const MESSAGE: f64 = 1_500.0;
/// The PIN prompt, and the prompt that explains the keys; a new message is counted.
const PIN: f64 = 660.0;
const ONE_NEW: f64 = 880.0;

fn tone(path: &Path, hz: f64, seconds: f64) {
    let sample =
        |n| (9_000.0 * (std::f64::consts::TAU * hz * f64::from(n) / f64::from(RATE_HZ)).sin()) as i16;
    let samples: Vec<i16> = (0..(seconds * f64::from(RATE_HZ)) as u32).map(sample).collect();
    wav(path, &samples);
}

/// All held resources are back to zero.
fn nothing_is_held(server: &Server) {
    for what in ["calls", "legs", "media_endpoints", "timers", "tasks"] {
        let series = format!("b2b_held{{what=\"{what}\"}}");
        until(what, || (server.metric(&series) < 0.5).then_some(()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hears_messages_may_hang_up_at_each_step() {
    let folder = configured(CONFIG);
    let new = folder.path().join("voicemail/1001/new");
    std::fs::create_dir_all(&new).expect("a folder");
    tone(&new.join("20260101T000000Z-call-1.wav"), MESSAGE, 30.0);
    let server = start(folder);
    let in_message = [(ASKED, "1001#"), (PIN, "4711#"), (ONE_NEW, ""), (MESSAGE, "")];
    let in_choices = [(ASKED, "1001#"), (PIN, "4711#"), (ONE_NEW, ""), (MESSAGE, "8"), (PIN, "")];
    let steps: [&[(f64, &str)]; 5] =
        [&in_message[..1], &in_message[..2], &in_message[..3], &in_message, &in_choices];
    for step in steps {
        let [(first, keys), more @ ..] = step else { unreachable!("steps") };
        let bob = until_tone("bob", "hear", server.sip, *first).await;
        let mut pressed = *keys;
        for (hz, keys) in more {
            bob.hears_after(pressed, *hz).await;
            pressed = keys;
        }
        bob.hangs_up().await;
    }
    nothing_is_held(&server);
    assert_eq!(messages(server.folder.path(), "new").len(), 1, "nobody has heard it to its end");
    assert!(messages(server.folder.path(), "old").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_greeting_is_heard_before_the_beep_and_one_that_has_gone_is_passed_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let mine = folder.path().join("mine.wav");
    tone(&mine, GREETING, 1.0);
    let prompts = format!("[prompts]\nfolder = {:?}\n", folder.path());
    let config = CONFIG.replace("pin = \"4711\"\n", "pin = \"4711\"\ngreeting = \"mine.wav\"\n");
    let server = start(configured(&format!("{prompts}{config}")));
    std::fs::remove_file(&mine).expect("removed");
    let ann = until_tone("ann", "leave", server.sip, BEEP).await;
    ann.says(700.0).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    ann.presses("#").await;
    assert_eq!(within("the end", ann.call.wait_for_end()).await, EndCause::RemoteHangup);
    has(server.folder.path(), "new", 1).await;
    // The greeting is there again.
    tone(&mine, GREETING, 1.0);
    let cat = until_tone("cat", "leave", server.sip, GREETING).await;
    assert!(messages(server.folder.path(), "tmp").is_empty(), "nothing of it is recorded");
    cat.hears_a_bit_of(BEEP).await;
    cat.hangs_up().await;
    nothing_is_held(&server);
    assert_eq!(messages(server.folder.path(), "new").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_ends_the_message_and_what_there_is_of_it_is_kept() {
    let recording = "[recording]\nfolder = \"rec\"\nfree_mb = 0\n";
    let folder = configured(&format!("{recording}{CONFIG}"));
    let (voicemail, config) = (folder.path().join("voicemail"), folder.path().join("b2bua.toml"));
    std::fs::create_dir(&voicemail).expect("a folder");
    // A disk of 64 KiB, four seconds of audio, visible only to this process.
    let mut command = Command::new("unshare");
    command
        .args(["--map-root-user", "--mount", "sh", "-c"])
        .arg("mount -t tmpfs -o size=64k tmpfs \"$1\" && exec \"$2\" --role b2bua --config \"$3\"");
    command.arg("sh").arg(&voicemail).arg(env!("CARGO_BIN_EXE_b2b")).arg(&config);
    let server = start_by(&mut command, folder);
    let ann = until_tone("ann", "leave", server.sip, BEEP).await;
    ann.says(700.0).await;
    // The message was cut off: the goodbye prompt.
    ann.hears_a_bit_of(330.0).await;
    assert_eq!(within("the end", ann.call.wait_for_end()).await, EndCause::RemoteHangup);
    // The folder as the server process sees it.
    let root = Path::new("/proc").join(server.process.pid().to_string()).join("root");
    let seen = root.join(server.folder.path().strip_prefix("/").expect("a whole path"));
    let kept = has(&seen, "new", 1).await;
    let samples = hound::WavReader::open(&kept[0]).expect("a whole file").duration();
    assert!((2 * RATE_HZ..5 * RATE_HZ).contains(&samples), "{samples} samples");
    let error = until("the record", || {
        let text = std::fs::read_to_string(server.folder.path().join("cdr.jsonl")).ok()?;
        text.contains("voicemail_error").then_some(text)
    });
    assert!(error.contains("No space left"), "{error}");
}
