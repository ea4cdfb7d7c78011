//! baresip calls the sink and is called by the source; received audio is compared with sent audio.
//! `cargo test -- --ignored interop`; needs `baresip` (Debian: baresip-core).

use std::thread;
use std::time::Duration;

use crate::interop::support::baresip::{Baresip, Setup};
use crate::interop::support::{Running, assert_arrived, file, samples, signal, write_wav};

#[test]
#[ignore = "needs baresip; .ci/run installs it"]
fn interop_baresip_calls_the_sink() {
    let folder = tempfile::tempdir().expect("dir");
    let wav = folder.path().join("heard.wav");
    let (sink, at) = Running::role("sink", &["--output", "null", "--wav", wav.to_str().expect("UTF-8")]);
    let said = signal(30);
    let dial = format!("/dial sip:sink@{at}");
    let baresip = Baresip::start(folder.path(), &Setup::saying(&said), &["-e", &dial]);
    thread::sleep(Duration::from_secs(6));
    baresip.end();
    let metrics = sink.wait_ok().metrics();
    assert!(metrics["packets_rx"].as_u64().is_some_and(|packets| packets > 150), "{metrics}");
    assert_eq!(metrics["rtp_loss"], 0);
    let heard = samples(&wav);
    assert!(heard.len() > 3 * 8_000, "only {} samples", heard.len());
    // In the first half second the jitter buffer may adapt to baresip's clock.
    assert_arrived(&said[..heard.len().min(said.len()) - 8_000], &heard, 0.7);
}

#[test]
#[ignore = "needs baresip; .ci/run installs it"]
fn interop_the_source_calls_baresip() {
    let folder = tempfile::tempdir().expect("dir");
    let baresip = Baresip::start(folder.path(), &Setup::saying(&signal(30)), &[]);
    let said = signal(5);
    let voice = folder.path().join("voice.wav");
    write_wav(&voice, &said);
    let (source, _) = Running::role(
        "source",
        &["--target", &baresip.uri(), "--audio-file", voice.to_str().expect("UTF-8")],
    );
    let metrics = source.wait_ok().metrics();
    assert!(metrics["packets_tx"].as_u64().is_some_and(|packets| packets >= 250), "{metrics}");
    assert!(metrics["packets_rx"].as_u64().is_some_and(|packets| packets > 150), "{metrics}");
    thread::sleep(Duration::from_millis(500));
    let dump = baresip.end().0.expect("baresip's recording of what it heard");
    assert_arrived(&said, &samples(&dump), 0.7);
}

#[test]
#[ignore = "needs baresip; .ci/run installs it"]
fn interop_baresip_hangs_up_on_the_source() {
    let folder = tempfile::tempdir().expect("dir");
    let baresip = Baresip::start(folder.path(), &Setup::saying(&signal(30)), &[]);
    let sample = file("assets/sample.mp3");
    let (source, _) = Running::role(
        "source",
        &["--target", &baresip.uri(), "--audio-file", sample.to_str().expect("UTF-8")],
    );
    thread::sleep(Duration::from_secs(3));
    baresip.end();
    source.wait_ok();
}
