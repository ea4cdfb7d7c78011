//! The mixer, with the test as both far ends.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::MixerConfig;
use crate::role::UaOptions;
use crate::role::fake_ua::{Asked, Stage, exit_of};
use b2b_base::metrics::MetricsLine;
use b2b_base::util::exit::Exit;
use b2b_base::util::ntp::NtpTime;
use b2b_ua::{Audio, CallId, EndCause, FrameKind, InFrame, OutFrame};

fn config() -> MixerConfig {
    MixerConfig {
        ua: UaOptions::default(),
        target: "sip:sink@127.0.0.1:5070".into(),
        dtmf_seq: Some("+442083661177".parse().unwrap()),
        dtmf_period: Duration::from_millis(2_000),
        gain_in: 0.5,
        gain_dtmf: 0.5,
    }
}

fn start(config: MixerConfig) -> Stage {
    let options = config.ua.clone();
    Stage::start("mixer", &options, move |life, ua| config.live(life, ua))
}

/// A call arrives; the mixer dials and answers.
fn both_legs(stage: &Stage) -> (CallId, Audio, CallId, Audio) {
    stage.incoming(1);
    let (outbound, target, outward) = stage.dialled();
    assert_eq!(target, "sip:sink@127.0.0.1:5070");
    let (inbound, inward) = stage.answered();
    assert_eq!(inbound, CallId(1));
    (inbound, inward, outbound, outward)
}

#[test]
fn what_comes_in_goes_out_with_tones_and_a_hang_up_of_the_caller_ends_both() {
    let stage = start(config());
    let (inbound, mut inward, outbound, mut outward) = both_legs(&stage);
    let mut sent = [0; 160];
    for _ in 0..50 {
        let captured_at = Some(NtpTime(9 << 32));
        inward.sink.frame(&InFrame { samples: &[4_000; 160], captured_at, kind: FrameKind::Audio });
        let mut frame = OutFrame { samples: &mut sent, captured_at: NtpTime(0) };
        outward.source.fill(&mut frame);
        assert_eq!(frame.captured_at, NtpTime(9 << 32));
    }
    stage.ended(inbound, EndCause::RemoteHangup);
    assert_eq!(stage.hung_up(), outbound);
    stage.ended(outbound, EndCause::LocalHangup);
    assert!(matches!(stage.next(), Asked::Shutdown));
    let (result, lines) = stage.finish();
    assert_eq!(exit_of(&result), Exit::Ok);
    assert_eq!(lines[0], "READY role=mixer sip=127.0.0.1:5060 codec=pcmu ptime=20ms");
    let last: MetricsLine = serde_json::from_str(lines.last().unwrap()).unwrap();
    assert_eq!(last.duration_s, 1.0);
    let (received, sent) = (last.rms_in_dbov.unwrap(), last.rms_out_dbov.unwrap());
    assert!((received + 18.27).abs() < 0.1 && (sent - received).abs() < 3.0, "{received} {sent}");
}

#[test]
fn the_set_up_is_that_of_the_leg_that_it_places() {
    for answers in [0, 1] {
        let stage = start(config());
        let (inbound, _, outbound, _) = both_legs(&stage);
        stage.is_up([inbound, outbound][answers]);
        stage.ended(outbound, EndCause::RemoteHangup);
        assert_eq!(stage.hung_up(), inbound);
        stage.ended(inbound, EndCause::LocalHangup);
        let (_, lines) = stage.finish();
        let last: MetricsLine = serde_json::from_str(lines.last().unwrap()).unwrap();
        assert_eq!(last.setup_ms.is_some(), answers == 1, "{last:?}");
    }
}

#[test]
fn a_hang_up_of_the_far_end_ends_both() {
    let stage = start(config());
    let (inbound, _, outbound, _) = both_legs(&stage);
    stage.ended(outbound, EndCause::RemoteHangup);
    assert_eq!(stage.hung_up(), inbound);
    stage.ended(inbound, EndCause::LocalHangup);
    assert_eq!(exit_of(&stage.finish().0), Exit::Ok);
}

#[test]
fn a_failed_dial_hangs_the_caller_up_and_is_a_sip_error() {
    let stage = start(config());
    let (inbound, _, outbound, _) = both_legs(&stage);
    stage.ended(outbound, EndCause::Failed { status: 480, reason: "Temporarily Unavailable".into() });
    assert_eq!(stage.hung_up(), inbound);
    stage.ended(inbound, EndCause::LocalHangup);
    let (result, _) = stage.finish();
    assert_eq!(exit_of(&result), Exit::Sip);
    assert!(result.unwrap_err().to_string().contains("480 Temporarily Unavailable"));
}

#[test]
fn a_caller_that_gives_up_cancels_the_dial() {
    let stage = start(config());
    let (inbound, _, outbound, _) = both_legs(&stage);
    stage.ended(inbound, EndCause::RemoteHangup);
    assert_eq!(stage.hung_up(), outbound);
    stage.ended(outbound, EndCause::Failed { status: 487, reason: "Request Terminated".into() });
    assert_eq!(exit_of(&stage.finish().0), Exit::Ok);
}

#[test]
fn a_leg_without_rtp_ends_both_with_a_sip_error() {
    let stage = start(config());
    let (inbound, _, outbound, _) = both_legs(&stage);
    stage.ended(inbound, EndCause::MediaTimeout);
    assert_eq!(stage.hung_up(), outbound);
    stage.ended(outbound, EndCause::LocalHangup);
    assert_eq!(exit_of(&stage.finish().0), Exit::Sip);
}

#[test]
fn a_second_caller_is_told_busy() {
    let stage = start(config());
    let (inbound, _, outbound, _) = both_legs(&stage);
    stage.incoming(2);
    assert_eq!(stage.rejected(), (CallId(2), 486));
    stage.ended(inbound, EndCause::RemoteHangup);
    assert_eq!(stage.hung_up(), outbound);
    stage.ended(outbound, EndCause::LocalHangup);
    assert_eq!(exit_of(&stage.finish().0), Exit::Ok);
}

#[test]
fn a_bad_target_refuses_the_caller() {
    let mut config = config();
    config.target = "nowhere".into();
    let stage = start(config);
    stage.incoming(1);
    assert_eq!(stage.rejected(), (CallId(1), 500));
    assert_eq!(exit_of(&stage.finish().0), Exit::Usage);
}

#[test]
fn a_signal_hangs_both_up_or_just_ends() {
    let stage = start(config());
    stage.signals.send(Signal::SIGTERM).unwrap();
    assert_eq!(exit_of(&stage.finish().0), Exit::Ok);

    let stage = start(config());
    let (inbound, _, outbound, _) = both_legs(&stage);
    stage.signals.send(Signal::SIGINT).unwrap();
    assert_eq!((stage.hung_up(), stage.hung_up()), (inbound, outbound));
    stage.ended(inbound, EndCause::LocalHangup);
    stage.ended(outbound, EndCause::LocalHangup);
    assert_eq!(exit_of(&stage.finish().0), Exit::Ok);
}

#[test]
fn a_leg_whose_end_is_never_confirmed_does_not_hang() {
    let stage = start(config());
    let (inbound, _, outbound, _) = both_legs(&stage);
    stage.ringing(outbound);
    stage.ended(inbound, EndCause::RemoteHangup);
    assert_eq!(stage.hung_up(), outbound);
    assert_eq!(exit_of(&stage.finish().0), Exit::Sip);
}
