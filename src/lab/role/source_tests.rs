//! The source, with the test as its far end.

use nix::sys::signal::Signal;

use super::fake_ua::{Asked, Stage, exit_of};
use super::source::SourceConfig;
use super::{RecordDir, UaOptions};
use b2b_base::metrics::MetricsLine;
use b2b_base::util::exit::Exit;
use b2b_base::util::ntp::NtpTime;
use b2b_ua::{Audio, EndCause, Fill, OutFrame, UaEvent};
use std::path::{Path, PathBuf};
use std::time::Duration;

fn tone() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/audio/tone.mp3")
}

fn config() -> SourceConfig {
    SourceConfig {
        ua: UaOptions::default(),
        target: "sip:sink@127.0.0.1:5060".into(),
        audio_file: tone(),
        prebuffer: Duration::from_millis(1_000),
        resampler: Default::default(),
        repeat: false,
        duration: None,
    }
}

fn start(config: SourceConfig) -> Stage {
    let options = config.ua.clone();
    Stage::start("source", &options, move |life, ua| config.live(life, ua))
}

/// Takes frames until the source ends, at most `limit` of them; waits when it is late.
fn pull(audio: &mut Audio, limit: usize) -> Vec<i16> {
    let mut all = Vec::new();
    while all.len() < limit * 160 {
        let mut samples = [0; 160];
        let mut frame = OutFrame { samples: &mut samples, captured_at: NtpTime(1 << 40) };
        match audio.source.fill(&mut frame) {
            Fill::End => break,
            Fill::Underrun => std::thread::sleep(Duration::from_millis(2)),
            _ => all.extend_from_slice(&samples),
        }
    }
    all
}

#[test]
fn plays_the_file_then_hangs_up_and_ends_well() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config();
    config.ua.record = Some(RecordDir(dir.path().to_path_buf()));
    let stage = start(config);
    let (call, target, mut audio) = stage.dialled();
    assert_eq!(target, "sip:sink@127.0.0.1:5060");
    let sent = pull(&mut audio, 1_000);
    assert_eq!(sent.len(), 4_000, "half a second");
    stage.events.send(UaEvent::SourceEnded { call }).unwrap();
    assert_eq!(stage.hung_up(), call);
    drop(audio);
    stage.ended(call, EndCause::LocalHangup);
    assert!(matches!(stage.next(), Asked::Shutdown));
    let (result, lines) = stage.finish();
    assert_eq!(exit_of(&result), Exit::Ok);
    assert_eq!(lines[0], "READY role=source sip=127.0.0.1:5060 codec=pcmu ptime=20ms");
    assert_eq!(lines.iter().filter(|line| line.starts_with("READY")).count(), 1);
    let last: MetricsLine = serde_json::from_str(lines.last().unwrap()).unwrap();
    assert!(last.last && last.role == "source" && last.packets_tx == 7);
    assert_eq!(last.duration_s, 0.5);
    let mut wav = hound::WavReader::open(dir.path().join("source.sent.wav")).unwrap();
    assert_eq!(wav.samples::<i16>().map(|s| s.unwrap()).collect::<Vec<_>>(), sent);
}

#[test]
fn the_set_up_lasts_from_dialling_to_the_answer() {
    let wait = Duration::from_millis(30);
    for is_answered in [true, false] {
        let stage = start(config());
        let (call, _, audio) = stage.dialled();
        stage.ringing(call);
        std::thread::sleep(wait);
        if is_answered {
            stage.is_up(call);
        }
        drop(audio);
        stage.ended(call, EndCause::RemoteHangup);
        let (_, lines) = stage.finish();
        let last: MetricsLine = serde_json::from_str(lines.last().unwrap()).unwrap();
        assert_eq!(last.setup_ms.map(|ms| ms >= 30.0), is_answered.then_some(true), "{last:?}");
    }
}

#[test]
fn the_duration_ends_the_audio_before_the_file_does() {
    let mut config = config();
    (config.duration, config.repeat) = (Some(Duration::from_millis(1_300)), true);
    config.prebuffer = Duration::from_secs(4);
    let stage = start(config);
    let (call, _, mut audio) = stage.dialled();
    assert_eq!(pull(&mut audio, 1_000).len(), 10_400);
    stage.ended(call, EndCause::RemoteHangup);
    assert_eq!(exit_of(&stage.finish().0), Exit::Ok);
}

#[test]
fn a_failed_dial_is_a_sip_error_with_status_and_reason() {
    let stage = start(config());
    let (call, ..) = stage.dialled();
    stage.ended(call, EndCause::Failed { status: 404, reason: "Not Found".into() });
    let (result, _) = stage.finish();
    assert_eq!(exit_of(&result), Exit::Sip);
    assert!(result.unwrap_err().to_string().contains("404 Not Found"));
}

#[test]
fn an_unreadable_file_is_an_audio_error_before_ready() {
    let mut config = config();
    config.audio_file = "no/such/file.mp3".into();
    let (result, lines) = start(config).finish();
    assert_eq!(exit_of(&result), Exit::Audio);
    assert!(lines.is_empty(), "{lines:?}");
}

#[test]
fn a_bad_target_is_a_usage_error() {
    let mut config = config();
    config.target = "sink".into();
    assert_eq!(exit_of(&start(config).finish().0), Exit::Usage);
}

#[test]
fn a_signal_hangs_up_and_ends_well() {
    let stage = start(config());
    let (call, ..) = stage.dialled();
    stage.signals.send(Signal::SIGTERM).unwrap();
    assert_eq!(stage.hung_up(), call);
    stage.ended(call, EndCause::Failed { status: 487, reason: "Request Terminated".into() });
    assert_eq!(exit_of(&stage.finish().0), Exit::Ok);
}

#[test]
fn a_silent_peer_and_an_unanswered_bye_are_sip_errors() {
    for cause in [EndCause::MediaTimeout, EndCause::ByeUnanswered] {
        let stage = start(config());
        let (call, ..) = stage.dialled();
        stage.ended(call, cause);
        assert_eq!(exit_of(&stage.finish().0), Exit::Sip);
    }
}

#[test]
fn a_hang_up_that_is_never_confirmed_does_not_hang() {
    let stage = start(config());
    let (call, ..) = stage.dialled();
    stage.ringing(call);
    stage.signals.send(Signal::SIGINT).unwrap();
    assert_eq!(stage.hung_up(), call);
    assert_eq!(exit_of(&stage.finish().0), Exit::Sip);
}

#[test]
fn a_signal_while_nobody_is_there_at_all_ends_well() {
    let stage = start(config());
    let (call, ..) = stage.dialled();
    stage.signals.send(Signal::SIGTERM).unwrap();
    assert_eq!(stage.hung_up(), call);
    assert_eq!(exit_of(&stage.finish().0), Exit::Ok);
}

#[test]
fn nobody_can_call_a_source() {
    let stage = start(config());
    let (call, ..) = stage.dialled();
    stage.incoming(5);
    assert_eq!(stage.rejected().1, 486);
    stage.ended(call, EndCause::RemoteHangup);
    assert_eq!(exit_of(&stage.finish().0), Exit::Ok);
}

#[test]
fn an_engine_that_gives_up_is_a_sip_error() {
    let stage = start(config());
    stage.dialled();
    stage.events.send(UaEvent::Fatal { message: "out of sockets".into() }).unwrap();
    assert_eq!(exit_of(&stage.finish().0), Exit::Sip);
}
