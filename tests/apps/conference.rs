//! Conference rooms: a member hears all others, whatever their codecs, but not itself.

use std::time::{Duration, Instant};

use b2b::client::{CallState, Codec, EndCause};

use crate::apps::parties::{Party, client, server, within};
use crate::common::child::PATIENCE;

const ROOM: &str = "[[conference]]\nname = \"blue\"\nannounced = false\n";
const ROUTE: &str = "[[route]]\nname = \"rooms\"\ncalled = \"8000\"\napp = \"conference/blue\"\n";
const ANN: f64 = 440.0;
const BOB: f64 = 700.0;
const CAT: f64 = 1_150.0;

#[tokio::test]
async fn three_codecs_in_a_room_hear_each_other_and_not_themselves() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_server, at) = server(folder.path(), &[ROOM, ROUTE].concat());
    let ann = Party::calls("ann", Codec::Pcma, "8000", at, ANN).await;
    let bob = Party::calls("bob", Codec::Opus, "8000", at, BOB).await;
    let cat = Party::calls("cat", Codec::G722, "8000", at, CAT).await;
    ann.hears(&[BOB, CAT], &[ANN]).await;
    bob.hears(&[ANN, CAT], &[BOB]).await;
    cat.hears(&[ANN, BOB], &[CAT]).await;
    // Muted, then unmuted.
    ann.presses("*1").await;
    bob.hears(&[CAT], &[ANN, BOB]).await;
    ann.hears(&[BOB, CAT], &[ANN]).await;
    ann.presses("*1").await;
    bob.hears(&[ANN, CAT], &[BOB]).await;
    // A member that has left is no longer heard.
    cat.hangs_up().await;
    bob.hears(&[ANN], &[BOB, CAT]).await;
    ann.presses("*2").await;
    assert_eq!(within("sent away", ann.call.wait_for_end()).await, EndCause::RemoteHangup);
    bob.hears(&[], &[ANN, BOB, CAT]).await;
    bob.hangs_up().await;
}

#[tokio::test]
async fn a_pin_opens_three_wrong_ones_do_not_and_a_moderator_sends_away() {
    let folder = tempfile::tempdir().expect("a folder");
    let pins = "pin = \"4711\"\nmoderator_pin = \"8150\"\n";
    let (_server, at) = server(folder.path(), &[ROOM, pins, ROUTE].concat());
    let ann = Party::calls("ann", Codec::Pcma, "8000", at, ANN).await;
    ann.presses("8150#").await;
    let bob = Party::calls("bob", Codec::Pcmu, "8000", at, BOB).await;
    bob.presses("4711#").await;
    ann.hears(&[BOB], &[ANN]).await;
    let cat = client("cat", Codec::Pcma);
    let cat = cat.call(format!("sip:8000@{at}")).await.expect("a call");
    within("answered", cat.wait_for_answer()).await.expect("answered");
    let until = Instant::now() + PATIENCE;
    while cat.state() == CallState::Answered {
        assert!(Instant::now() < until, "three wrong ones are enough");
        // The prompt comes at no fixed time; digits that Cat presses before it count, too.
        let _ = cat.send_digits("1#", None).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(cat.wait_for_end().await, EndCause::RemoteHangup);
    ann.hears(&[BOB], &[ANN]).await;
    ann.presses("*9").await;
    assert_eq!(within("sent away", bob.call.wait_for_end()).await, EndCause::RemoteHangup);
    ann.hangs_up().await;
}

#[tokio::test]
async fn a_rooms_recording_has_all_that_was_said() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("rec")).expect("a folder");
    let records = "rate_hz = 8000\nrecordings = \"rec\"\nrecorded = true\n";
    let (_server, at) = server(folder.path(), &[ROOM, records, ROUTE].concat());
    let ann = Party::calls("ann", Codec::Pcma, "8000", at, ANN).await;
    let bob = Party::calls("bob", Codec::Pcma, "8000", at, BOB).await;
    ann.hears(&[BOB], &[ANN]).await;
    bob.hears(&[ANN], &[BOB]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    ann.hangs_up().await;
    bob.hangs_up().await;
    let until = Instant::now() + PATIENCE;
    let file = loop {
        let found = std::fs::read_dir(folder.path().join("rec")).expect("a folder").flatten();
        let found =
            found.map(|entry| entry.path()).find(|path| path.extension().is_some_and(|it| it == "wav"));
        if let Some(file) = found {
            break file;
        }
        assert!(Instant::now() < until, "no recording");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let mut reader = hound::WavReader::open(file).expect("a WAV");
    assert_eq!((reader.spec().channels, reader.spec().sample_rate), (1, 8_000));
    let samples: Vec<i16> = reader.samples::<i16>().map(|sample| sample.expect("a sample")).collect();
    let both = samples
        .chunks_exact(1_600)
        .filter(|it| [ANN, BOB].iter().all(|hz| b2b::media::dtmf::goertzel(it, *hz, 8_000) > 1e7));
    assert!(both.count() >= 4, "a second of both in {} samples", samples.len());
}
