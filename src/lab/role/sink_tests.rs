//! The sink, with the test as its far end.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::fake_ua::{Asked, Stage, exit_of};
use super::sink::{Output, SinkConfig};
use super::{RecordDir, UaOptions};
use b2b_base::metrics::MetricsLine;
use b2b_base::util::exit::Exit;
use b2b_base::util::ntp::NtpTime;
use b2b_ua::{Audio, CallId, Codec, EndCause, FrameKind, InFrame, UaEvent};

fn config() -> SinkConfig {
    SinkConfig {
        ua: UaOptions::default(),
        output: Output::Null,
        player: Default::default(),
        wav: None,
        calls: 1,
    }
}

fn start(config: SinkConfig) -> Stage {
    let options = config.ua.clone();
    Stage::start("sink", &options, move |life, ua| config.live(life, ua))
}

fn play(audio: &mut Audio, value: i16, frames: usize) {
    let captured_at = Some(NtpTime::from_system(std::time::SystemTime::now() - Duration::from_millis(80)));
    for _ in 0..frames {
        audio.sink.frame(&InFrame { samples: &[value; 160], captured_at, kind: FrameKind::Audio });
    }
}

fn answered(stage: &Stage, call: u64) -> Audio {
    stage.incoming(call);
    let (id, audio) = stage.answered();
    assert_eq!(id, CallId(call));
    let remote_rtp = ([127, 0, 0, 1], 9).into();
    stage.events.send(UaEvent::Answered { call: id, codec: Codec::Pcmu, ptime_ms: 20, remote_rtp }).unwrap();
    audio
}

fn wav(path: &std::path::Path) -> Vec<i16> {
    hound::WavReader::open(path).unwrap().samples::<i16>().map(|sample| sample.unwrap()).collect()
}

#[test]
fn answers_records_and_ends_with_its_call() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config();
    config.wav = Some(dir.path().join("out/heard.wav"));
    config.ua.record = Some(RecordDir(dir.path().to_path_buf()));
    let stage = start(config);
    let mut audio = answered(&stage, 1);
    play(&mut audio, 5, 50);
    drop(audio);
    stage.ended(CallId(1), EndCause::RemoteHangup);
    assert!(matches!(stage.next(), Asked::Shutdown));
    let (result, lines) = stage.finish();
    assert_eq!(exit_of(&result), Exit::Ok);
    assert_eq!(lines[0], "READY role=sink sip=127.0.0.1:5060 codec=pcmu ptime=20ms");
    let last: MetricsLine = serde_json::from_str(lines.last().unwrap()).unwrap();
    assert_eq!(last.duration_s, 1.0);
    assert!(last.latency_ms_p50.is_some_and(|latency| latency >= 79.0), "{last:?}");
    assert_eq!(wav(&dir.path().join("out/heard.wav")), [5; 8_000]);
    assert_eq!(wav(&dir.path().join("sink.received.wav")), [5; 8_000]);
}

#[test]
fn a_second_caller_is_told_busy() {
    let stage = start(config());
    let audio = answered(&stage, 1);
    stage.incoming(2);
    assert_eq!(stage.rejected(), (CallId(2), 486));
    stage.ended(CallId(2), EndCause::Rejected { status: 486 });
    drop(audio);
    stage.ended(CallId(1), EndCause::RemoteHangup);
    assert_eq!(exit_of(&stage.finish().0), Exit::Ok);
}

#[test]
fn several_calls_go_one_after_the_other_into_one_recording() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config();
    (config.calls, config.wav) = (3, Some(dir.path().join("heard.wav")));
    let stage = start(config);
    for call in 1..=3 {
        let mut audio = answered(&stage, call);
        play(&mut audio, call as i16, 2);
        drop(audio);
        stage.ended(CallId(call), EndCause::RemoteHangup);
    }
    assert_eq!(exit_of(&stage.finish().0), Exit::Ok);
    let expected = [[1i16; 320], [2; 320], [3; 320]].concat();
    assert_eq!(wav(&dir.path().join("heard.wav")), expected);
}

#[test]
fn a_caller_who_gives_up_does_not_count() {
    let stage = start(config());
    stage.incoming(1);
    drop(stage.answered());
    stage.ended(CallId(1), EndCause::Cancelled);
    drop(answered(&stage, 2));
    stage.ended(CallId(2), EndCause::RemoteHangup);
    assert_eq!(exit_of(&stage.finish().0), Exit::Ok);
}

#[test]
fn a_signal_hangs_up_or_just_ends() {
    let stage = start(config());
    stage.signals.send(Signal::SIGTERM).unwrap();
    assert_eq!(exit_of(&stage.finish().0), Exit::Ok);

    let stage = start(config());
    let audio = answered(&stage, 1);
    stage.signals.send(Signal::SIGTERM).unwrap();
    assert_eq!(stage.hung_up(), CallId(1));
    drop(audio);
    stage.ended(CallId(1), EndCause::LocalHangup);
    assert_eq!(exit_of(&stage.finish().0), Exit::Ok);
}

#[test]
fn a_peer_that_goes_silent_is_a_sip_error() {
    let stage = start(config());
    drop(answered(&stage, 1));
    stage.ended(CallId(1), EndCause::MediaTimeout);
    let (result, _) = stage.finish();
    assert_eq!(exit_of(&result), Exit::Sip);
    assert!(result.unwrap_err().to_string().contains("no RTP"));
}

#[test]
fn a_missing_player_is_an_audio_error_before_ready() {
    let mut config = config();
    (config.output, config.player) = (Output::Aplay, "no-such-player-anywhere".parse().unwrap());
    let (result, lines) = start(config).finish();
    assert_eq!(exit_of(&result), Exit::Audio);
    assert!(lines.is_empty());
}

#[test]
fn auto_goes_on_without_a_player() {
    let mut config = config();
    (config.output, config.player) = (Output::Auto, "no-such-player-anywhere".parse().unwrap());
    let stage = start(config);
    drop(answered(&stage, 1));
    stage.ended(CallId(1), EndCause::RemoteHangup);
    assert_eq!(exit_of(&stage.finish().0), Exit::Ok);
}

#[test]
fn a_player_that_dies_ends_the_call_with_an_audio_error() {
    let mut config = config();
    (config.output, config.player) = (Output::Aplay, "sh -c 'sleep 0.6; exit 1'".parse().unwrap());
    let stage = start(config);
    let audio = answered(&stage, 1);
    assert_eq!(stage.hung_up(), CallId(1));
    drop(audio);
    stage.ended(CallId(1), EndCause::LocalHangup);
    assert_eq!(exit_of(&stage.finish().0), Exit::Audio);
}

#[test]
fn what_is_heard_goes_to_the_player() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("heard.raw");
    let mut config = config();
    config.output = Output::Aplay;
    config.player = format!("dd of={}", path.display()).parse().unwrap();
    let stage = start(config);
    let mut audio = answered(&stage, 1);
    play(&mut audio, 258, 10);
    drop(audio);
    stage.ended(CallId(1), EndCause::RemoteHangup);
    assert_eq!(exit_of(&stage.finish().0), Exit::Ok);
    assert_eq!(std::fs::read(path).unwrap(), [2, 1].repeat(1_600));
}

#[test]
fn a_recording_that_cannot_be_made_is_an_audio_error_before_ready() {
    let mut config = config();
    config.wav = Some("/dev/full".into());
    let (result, lines) = start(config).finish();
    assert_eq!(exit_of(&result), Exit::Audio);
    assert!(lines.is_empty());
    assert!(result.unwrap_err().to_string().contains("No space left"));
}
